//! Weir's vocabulary as Cedar entities: type names, ids, and what each action can be asked about.
//!
//! Ids are built from parts, never by formatting text that Cedar parses.

use cedar_policy_core::ast::{Eid, EntityType, EntityUID};
use cedar_policy_core::pst::SmolStr;
use pipeline::{Action, PrincipalKind, Resource};

use crate::problem::Problem;

macro_rules! types {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)*) => {
        /// The entity types that Weir builds.
        #[derive(Debug, Clone)]
        pub(crate) struct Types { $($(#[$doc])* pub $field: EntityType,)* }

        impl Types {
            pub fn new() -> Result<Self, Problem> {
                Ok(Self { $($field: entity_type($name)?,)* })
            }
        }
    };
}

types! {
    user = "User",
    agent = "Agent",
    workload = "Workload",
    group = "Group",
    login = "Login",
    env = "Env",
    label = "Label",
    risk_label = "RiskLabel",
    approval_rule = "ApprovalRule",
    sql_kind = "SqlKind",
    ssh_kind = "SshKind",
    target = "Target",
    pg_database = "Pg::Database",
    pg_schema = "Pg::Schema",
    pg_table = "Pg::Table",
    pg_column = "Pg::Column",
    pg_function = "Pg::Function",
    pg_role = "Pg::Role",
    ssh_account = "Ssh::Account",
    ssh_program = "Ssh::Program",
    ssh_file = "Ssh::File",
    ssh_endpoint = "Ssh::Endpoint",
    ssh_variable = "Ssh::Variable",
    ssh_subsystem = "Ssh::Subsystem",
    system = "Weir::System",
    session = "Weir::Session",
    bundle = "Weir::Bundle",
    plugin = "Weir::Plugin",
    action = "Action",
}

fn entity_type(name: &str) -> Result<EntityType, Problem> {
    EntityType::from_normalized_str(name)
        .map_err(|error| Problem::file("", format!("the type name {name}: {error}")))
}

/// An entity id from its parts.
pub(crate) fn uid(ty: &EntityType, id: impl Into<SmolStr>) -> EntityUID {
    EntityUID::from_components(ty.clone(), Eid::new(id), None)
}

/// The id of the one `Weir::System`.
pub(crate) const SYSTEM_ID: &str = "weir";

/// What kind of entity a resource becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    Database,
    Schema,
    Table,
    Column,
    Function,
    Role,
    Account,
    Program,
    File,
    Endpoint,
    Variable,
    Subsystem,
    Target,
    System,
    Session,
    Bundle,
    Plugin,
    ApprovalRule,
}

impl ResourceKind {
    pub const ALL: &'static [Self] = &[
        Self::Database,
        Self::Schema,
        Self::Table,
        Self::Column,
        Self::Function,
        Self::Role,
        Self::Account,
        Self::Program,
        Self::File,
        Self::Endpoint,
        Self::Variable,
        Self::Subsystem,
        Self::Target,
        Self::System,
        Self::Session,
        Self::Bundle,
        Self::Plugin,
        Self::ApprovalRule,
    ];

    /// A target that is not named stands for the system as a whole.
    pub fn of(resource: &Resource, has_target: bool) -> Self {
        match resource {
            Resource::PgDatabase { .. } => Self::Database,
            Resource::PgSchema { .. } => Self::Schema,
            Resource::PgTable { .. } => Self::Table,
            Resource::PgColumn { .. } => Self::Column,
            Resource::PgFunction { .. } => Self::Function,
            Resource::PgRole { .. } => Self::Role,
            Resource::SshAccount { .. } => Self::Account,
            Resource::SshProgram { .. } => Self::Program,
            Resource::SshFile { .. } => Self::File,
            Resource::SshEndpoint { .. } => Self::Endpoint,
            Resource::SshVariable { .. } => Self::Variable,
            Resource::SshSubsystem { .. } => Self::Subsystem,
            Resource::Target if has_target => Self::Target,
            Resource::Target => Self::System,
            Resource::Session { .. } => Self::Session,
            Resource::Bundle { .. } => Self::Bundle,
            Resource::Plugin { .. } => Self::Plugin,
            Resource::ApprovalRule { .. } => Self::ApprovalRule,
        }
    }

    pub fn entity_type(self, types: &Types) -> &EntityType {
        match self {
            Self::Database => &types.pg_database,
            Self::Schema => &types.pg_schema,
            Self::Table => &types.pg_table,
            Self::Column => &types.pg_column,
            Self::Function => &types.pg_function,
            Self::Role => &types.pg_role,
            Self::Account => &types.ssh_account,
            Self::Program => &types.ssh_program,
            Self::File => &types.ssh_file,
            Self::Endpoint => &types.ssh_endpoint,
            Self::Variable => &types.ssh_variable,
            Self::Subsystem => &types.ssh_subsystem,
            Self::Target => &types.target,
            Self::System => &types.system,
            Self::Session => &types.session,
            Self::Bundle => &types.bundle,
            Self::Plugin => &types.plugin,
            Self::ApprovalRule => &types.approval_rule,
        }
    }

    /// Lives in an upstream, so it cannot be asked about without a target.
    pub fn needs_target(self) -> bool {
        matches!(
            self,
            Self::Database
                | Self::Schema
                | Self::Table
                | Self::Column
                | Self::Function
                | Self::Role
                | Self::Account
                | Self::Program
                | Self::File
                | Self::Endpoint
                | Self::Variable
                | Self::Subsystem
        )
    }
}

pub(crate) fn principal_type(types: &Types, kind: PrincipalKind) -> &EntityType {
    match kind {
        PrincipalKind::User => &types.user,
        PrincipalKind::Agent => &types.agent,
        PrincipalKind::Workload => &types.workload,
    }
}

pub(crate) const PRINCIPAL_KINDS: &[PrincipalKind] = &[
    PrincipalKind::User,
    PrincipalKind::Agent,
    PrincipalKind::Workload,
];

/// How much an action's context says beyond `base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// `sql`, always.
    Sql,
    /// `sql`, when there is a statement.
    MaybeSql,
    /// `ssh`, always.
    Ssh,
    /// `ssh`, when something is asked for in the session.
    MaybeSsh,
    /// `requesters`, when an approval rule is asked about.
    Requesters,
}

/// What Weir knows about an action; a bundle's schema must agree.
pub(crate) struct ActionFacts {
    /// Groups that the action must be in, directly or not.
    pub groups: &'static [&'static str],
    /// What it can be asked about.
    pub resources: &'static [ResourceKind],
    pub extra: Extra,
}

/// The groups that every schema declares, and which other groups each is in.
pub(crate) const GROUPS: &[&str] = &[
    "any",
    "connect",
    "read",
    "write",
    "destroy",
    "ddl",
    "exec",
    "admin",
    "relief",
    "control",
    "control:read",
    "control:change",
];

/// Actions that are younger than bundles that are in use. A schema without one is from before it:
/// nobody is permitted it then, whatever a policy without an action says.
pub(crate) const LATER: &[Action] = &[
    Action::CertificateIssue,
    Action::CredentialRevoke,
    Action::DeliveryRead,
    Action::EvidenceExport,
    Action::HostKeyApprove,
    Action::KeyRegister,
    Action::RecordErase,
    Action::SessionWatch,
    Action::SshGatedShell,
];

/// The groups that a schema declares beside those, if it has the actions of SSH.
pub(crate) const SSH_GROUPS: &[&str] = &["ssh", "ssh:file_read", "ssh:file_write", "ssh:forward"];

/// Is it about an SSH host? A schema without any of these is from before Weir knew SSH, or for databases
/// alone: nobody is permitted anything on a host then. One that has some has all.
pub(crate) fn is_ssh(action: Action) -> bool {
    action.as_str().starts_with("ssh:")
}

/// Groups whose actions lift obligations or steer Weir itself: they share no member with `any`.
pub(crate) const APART: &[&str] = &["relief", "control"];

pub(crate) fn action_facts(action: Action) -> ActionFacts {
    use Action as A;
    use ResourceKind as R;
    const OBJECTS: &[ResourceKind] = &[R::Database, R::Schema, R::Table, R::Function];
    let (groups, resources, extra): (&[&str], &[R], Extra) = match action {
        A::PostgresConnect => (&["any", "connect"], &[R::Database], Extra::None),
        A::PostgresSession => (&["any", "connect"], &[R::Database], Extra::Sql),
        A::PostgresSelect => (&["any", "read"], &[R::Table], Extra::Sql),
        A::PostgresCopyOut => (&["any", "read"], &[R::Table, R::Database], Extra::Sql),
        A::PostgresInsert | A::PostgresUpdate | A::PostgresMerge => {
            (&["any", "write"], &[R::Table], Extra::Sql)
        }
        A::PostgresDelete | A::PostgresTruncate => {
            (&["any", "write", "destroy"], &[R::Table], Extra::Sql)
        }
        A::PostgresCreate | A::PostgresAlter => (&["any", "write", "ddl"], OBJECTS, Extra::Sql),
        A::PostgresDrop => (&["any", "write", "ddl", "destroy"], OBJECTS, Extra::Sql),
        A::PostgresCall => (&["any", "exec"], &[R::Function], Extra::Sql),
        A::PostgresAssumeRole => (&["any", "admin"], &[R::Role], Extra::Sql),
        A::PostgresUtility => (&["any", "admin"], OBJECTS, Extra::Sql),
        A::SshConnect => (&["any", "ssh", "connect"], &[R::Account], Extra::None),
        A::SshPty => (&["any", "ssh", "connect"], &[R::Account], Extra::Ssh),
        A::SshEnv => (&["any", "ssh", "connect"], &[R::Variable], Extra::Ssh),
        A::SshShell | A::SshGatedShell => (&["any", "ssh", "exec"], &[R::Account], Extra::Ssh),
        A::SshExec => (&["any", "ssh", "exec"], &[R::Program], Extra::Ssh),
        A::SshSubsystem => (&["any", "ssh", "exec"], &[R::Subsystem], Extra::Ssh),
        A::SshSftpList | A::SshSftpRead | A::SshScpRead | A::SshRsyncRead | A::SshGitRead => (
            &["any", "ssh", "read", "ssh:file_read"],
            &[R::File],
            Extra::Ssh,
        ),
        A::SshSftpWrite | A::SshScpWrite | A::SshRsyncWrite | A::SshGitWrite => (
            &["any", "ssh", "write", "ssh:file_write"],
            &[R::File],
            Extra::Ssh,
        ),
        // In no group but the widest and their own: whoever was given a group of actions was not given these.
        A::SshForwardLocal | A::SshForwardRemote => {
            (&["any", "ssh", "ssh:forward"], &[R::Endpoint], Extra::Ssh)
        }
        A::SshForwardLocalSocket | A::SshForwardRemoteSocket => {
            (&["any", "ssh", "ssh:forward"], &[R::File], Extra::Ssh)
        }
        A::SshForwardAgent | A::SshForwardX11 | A::SshTunnel => {
            (&["any", "ssh", "ssh:forward"], &[R::Account], Extra::Ssh)
        }
        A::SshReveal | A::SshInputUnrecorded => (&["relief"], &[R::Account], Extra::MaybeSsh),
        A::DataReveal | A::DataCompute => (&["relief"], &[R::Column], Extra::MaybeSql),
        A::BundleRead | A::PluginRead => (
            &["control", "control:read"],
            &[R::System, R::Bundle, R::Plugin],
            Extra::None,
        ),
        A::TargetRead => (
            &["control", "control:read"],
            &[R::System, R::Target],
            Extra::None,
        ),
        A::ApprovalRead => (
            &["control", "control:read"],
            &[R::System, R::ApprovalRule],
            Extra::Requesters,
        ),
        A::SessionObserve => (
            &["control", "control:read"],
            &[R::System, R::Session],
            Extra::None,
        ),
        A::AuditRead | A::DeliveryRead => (&["control", "control:read"], &[R::System], Extra::None),
        A::BundleUpload => (
            &["control", "control:change"],
            &[R::System, R::Bundle],
            Extra::None,
        ),
        A::RecordErase
        | A::EvidenceExport
        | A::CertificateIssue
        | A::CredentialRevoke
        | A::KeyRegister => (&["control"], &[R::System], Extra::None),
        A::HostKeyApprove => (&["control"], &[R::System, R::Target], Extra::None),
        A::BundleActivate => (&["control", "control:change"], &[R::Bundle], Extra::None),
        A::PluginUpload | A::PluginRemove => (
            &["control", "control:change"],
            &[R::System, R::Plugin],
            Extra::None,
        ),
        A::ApprovalVote => (
            &["control", "control:change"],
            &[R::ApprovalRule],
            Extra::Requesters,
        ),
        // In no group but the widest: whoever was given a group of actions was not given this.
        A::SessionWatch => (&["control"], &[R::Session], Extra::None),
        A::SessionTerminate => (&["control", "control:change"], &[R::Session], Extra::None),
    };
    ActionFacts {
        groups,
        resources,
        extra,
    }
}

/// Joins names into a path. A slash inside a name is escaped, so that schema `a/b` with table `c`
/// is not schema `a` with table `b/c`.
pub(crate) fn path(parts: &[&str]) -> SmolStr {
    if parts.iter().all(|part| !part.contains(['/', '%'])) {
        return parts.join("/").into();
    }
    let escaped: Vec<String> = parts
        .iter()
        .map(|part| part.replace('%', "%25").replace('/', "%2F"))
        .collect();
    escaped.join("/").into()
}

/// How many names an id of this type has, for types whose ids are paths.
pub(crate) fn path_len(type_name: &str) -> Option<usize> {
    match type_name {
        "Pg::Database" | "Pg::Role" | "Ssh::Account" => Some(2),
        "Pg::Schema" | "Ssh::Variable" | "Ssh::Subsystem" | "Ssh::Endpoint" | "Ssh::File" => {
            Some(3)
        }
        "Pg::Table" | "Pg::Function" | "Ssh::Program" => Some(4),
        "Pg::Column" => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_collide() {
        let a = path(&["t", "d", "a/b", "c"]);
        let b = path(&["t", "d", "a", "b/c"]);
        let c = path(&["t", "d", "a%2Fb", "c"]);
        assert_eq!(a, "t/d/a%2Fb/c");
        assert_eq!(b, "t/d/a/b%2Fc");
        assert_eq!(c, "t/d/a%252Fb/c");
    }
}
