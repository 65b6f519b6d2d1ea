//! What is asked for: Cedar actions on Cedar resources, without Cedar.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::session::{SessionId, Target};

/// Labels of a table or column, such as `pii`.
pub type LabelSet = BTreeSet<Arc<str>>;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Every action that Weir can ask Cedar about. The schema in `policies/` declares the same
        /// names; `authz` refuses a bundle whose schema lacks one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $variant,)* }

        impl Action {
            pub const ALL: &'static [Action] = &[$(Action::$variant,)*];

            /// The id of the Cedar `Action` entity.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$variant => $name,)* }
            }
        }
    };
}

actions! {
    PostgresConnect = "postgres:connect",
    /// Transaction control, cursors, prepared statements, harmless settings: on the database.
    PostgresSession = "postgres:session",
    PostgresSelect = "postgres:select",
    PostgresCopyOut = "postgres:copy_out",
    PostgresInsert = "postgres:insert",
    PostgresUpdate = "postgres:update",
    PostgresMerge = "postgres:merge",
    PostgresDelete = "postgres:delete",
    PostgresTruncate = "postgres:truncate",
    PostgresCreate = "postgres:create",
    PostgresAlter = "postgres:alter",
    PostgresDrop = "postgres:drop",
    PostgresCall = "postgres:call",
    /// SET ROLE, SET SESSION AUTHORIZATION: going on as another role of the server.
    PostgresAssumeRole = "postgres:assume_role",
    /// Anything else: VACUUM, GRANT, DO, LISTEN, server files.
    PostgresUtility = "postgres:utility",
    SshConnect = "ssh:connect",
    /// Nobody reads beforehand what is typed into it.
    SshShell = "ssh:shell",
    /// A shell whose every command is asked about, as `ssh:exec`.
    SshGatedShell = "ssh:gated_shell",
    /// Running one program; a command line is permitted when everything that it runs is.
    SshExec = "ssh:exec",
    /// A subsystem other than sftp.
    SshSubsystem = "ssh:subsystem",
    SshPty = "ssh:pty",
    SshEnv = "ssh:env",
    /// Names, sizes and attributes: directories, stat, links.
    SshSftpList = "ssh:sftp_list",
    SshSftpRead = "ssh:sftp_read",
    /// Contents, names, attributes: also remove and rename.
    SshSftpWrite = "ssh:sftp_write",
    SshScpRead = "ssh:scp_read",
    SshScpWrite = "ssh:scp_write",
    SshRsyncRead = "ssh:rsync_read",
    SshRsyncWrite = "ssh:rsync_write",
    SshGitRead = "ssh:git_read",
    SshGitWrite = "ssh:git_write",
    /// direct-tcpip: `-L`, `-D`, `-W`.
    SshForwardLocal = "ssh:forward_local",
    /// tcpip-forward: `-R`.
    SshForwardRemote = "ssh:forward_remote",
    /// direct-streamlocal@openssh.com.
    SshForwardLocalSocket = "ssh:forward_local_socket",
    /// streamlocal-forward@openssh.com.
    SshForwardRemoteSocket = "ssh:forward_remote_socket",
    SshForwardAgent = "ssh:forward_agent",
    SshForwardX11 = "ssh:forward_x11",
    /// tun@openssh.com: `-w`.
    SshTunnel = "ssh:tunnel",
    /// Relief: denied means that secrets in the output of terminals and commands are masked.
    SshReveal = "ssh:reveal",
    /// Relief: denied means that what is typed is recorded too.
    SshInputUnrecorded = "ssh:input_unrecorded",
    /// Relief: denied means that the column stays masked.
    DataReveal = "data:reveal",
    /// Relief: a labelled column may decide rows, their order, branches and errors. Whoever may see the
    /// column may also compute with it, unless a policy forbids that by name.
    DataCompute = "data:compute",
    BundleRead = "bundle:read",
    BundleUpload = "bundle:upload",
    BundleActivate = "bundle:activate",
    PluginRead = "plugin:read",
    PluginUpload = "plugin:upload",
    PluginRemove = "plugin:remove",
    TargetRead = "target:read",
    ApprovalRead = "approval:read",
    ApprovalVote = "approval:vote",
    SessionObserve = "session:observe",
    SessionTerminate = "session:terminate",
    /// Seeing what a live session does while it does it.
    SessionWatch = "session:watch",
    /// Searching the record.
    AuditRead = "audit:read",
    /// How far the receivers of the record are.
    DeliveryRead = "delivery:read",
    /// Destroying what was recorded of a session.
    RecordErase = "record:erase",
    /// Getting a package of evidence.
    EvidenceExport = "evidence:export",
    /// Getting an SSH certificate that stands for one's token.
    CertificateIssue = "certificate:issue",
    /// Making certificates and keys of callers count no more.
    CredentialRevoke = "credential:revoke",
    /// Registering a public key of one's own, to come in by it over SSH.
    KeyRegister = "key:register",
    /// Saying that a host key is the right one, or is not.
    HostKeyApprove = "host_key:approve",
}

/// A column by its canonical name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Column {
    pub schema: Arc<str>,
    pub table: Arc<str>,
    pub column: Arc<str>,
    pub labels: LabelSet,
}

/// One thing that an action touches. Names are canonical: folded, resolved through the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    PgDatabase {
        database: Arc<str>,
    },
    PgSchema {
        database: Arc<str>,
        schema: Arc<str>,
    },
    PgTable {
        database: Arc<str>,
        schema: Arc<str>,
        table: Arc<str>,
        /// False when the catalogue snapshot has no such relation.
        known: bool,
        /// The union of the labels of its columns.
        labels: LabelSet,
    },
    PgColumn {
        database: Arc<str>,
        column: Column,
    },
    PgFunction {
        database: Arc<str>,
        schema: Arc<str>,
        function: Arc<str>,
        /// False when the catalogue snapshot has no such function.
        known: bool,
        volatile: bool,
        security_definer: bool,
        /// It runs SQL text, reads files, reaches other servers or changes server state: one of a
        /// fixed list in `proto-pg`.
        dangerous: bool,
    },
    /// A role of the server: of all its databases.
    PgRole {
        role: Arc<str>,
    },
    /// A login of an SSH host.
    SshAccount {
        login: Arc<str>,
    },
    /// A program that a command line runs.
    SshProgram {
        login: Arc<str>,
        /// The last part of its path.
        name: Arc<str>,
        /// As it is written, quotes removed.
        path: Arc<str>,
        /// False: what is run cannot be told by reading the command line.
        known: bool,
    },
    /// A file or directory on the host, as its path is written; `.` and `..` resolved where that can be done
    /// without asking the host.
    SshFile {
        login: Arc<str>,
        path: Arc<str>,
        /// It begins at the root, and no part of it is to be expanded by a shell.
        known: bool,
    },
    /// Where a forwarded connection goes, or where it is listened for.
    SshEndpoint {
        host: Arc<str>,
        port: u16,
        /// The host itself, by any of its usual names.
        loopback: bool,
        /// The port is that of the target's own SSH. Whatever the host is called here, it may be the target itself:
        /// what names mean there, and which addresses it has, only it knows.
        own_ssh: bool,
    },
    /// A variable of the environment.
    SshVariable {
        login: Arc<str>,
        name: Arc<str>,
        /// What is not UTF-8 is escaped.
        value: Arc<str>,
    },
    SshSubsystem {
        login: Arc<str>,
        name: Arc<str>,
    },
    Target,
    Session {
        id: SessionId,
        owner: Arc<str>,
    },
    Bundle {
        digest: Arc<str>,
        author: Option<Arc<str>>,
    },
    Plugin {
        name: Arc<str>,
    },
    /// A vote on a hold under `rule`, asked for by the subjects in `requesters`.
    ApprovalRule {
        rule: Arc<str>,
        requesters: Vec<Arc<str>>,
    },
}

/// One (action, resource) pair; a statement is permitted when all of its accesses are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub action: Action,
    pub resource: Resource,
    /// The upstream that the resource belongs to; none for the control plane's own things.
    pub target: Option<Arc<Target>>,
}

impl Access {
    /// To compute with a column of `target`'s `database`.
    pub fn compute(column: &Column, database: &Arc<str>, target: &Arc<Target>) -> Self {
        Self {
            action: Action::DataCompute,
            resource: Resource::PgColumn {
                database: database.clone(),
                column: column.clone(),
            },
            target: Some(target.clone()),
        }
    }
}
