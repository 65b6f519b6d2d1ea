//! What the protocol core knows about an action: input of policies, plugins and people.

use std::sync::Arc;

use crate::action::LabelSet;
use crate::parameter::Parameter;
use crate::session::Protocol;
use crate::ssh::SshFacts;

/// Facts by protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// The session itself is asked for.
    Connect {
        protocol: Protocol,
        /// See [`crate::SessionInfo::scope`].
        scope: Arc<str>,
    },
    Sql(Arc<SqlFacts>),
    Ssh(Arc<SshFacts>),
}

impl Facts {
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Connect { protocol, .. } => *protocol,
            Self::Sql(_) => Protocol::Postgres,
            Self::Ssh(_) => Protocol::Ssh,
        }
    }

    /// What the action runs besides its own text.
    pub fn runs(&self) -> &[Named] {
        match self {
            Self::Connect { .. } | Self::Ssh(_) => &[],
            Self::Sql(sql) => &sql.runs,
        }
    }
}

/// The kind of a statement; of several statements, the most consequential one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SqlKind {
    /// Nothing but whitespace and comments.
    Empty,
    Transaction,
    /// SET, SHOW, cursors, prepared statements.
    Session,
    Select,
    Copy,
    Call,
    Insert,
    Update,
    Merge,
    Delete,
    Ddl,
    /// GRANT, REVOKE, roles.
    Dcl,
    Utility,
    Unknown,
}

impl SqlKind {
    pub const ALL: [Self; 14] = [
        Self::Empty,
        Self::Transaction,
        Self::Session,
        Self::Select,
        Self::Copy,
        Self::Call,
        Self::Insert,
        Self::Update,
        Self::Merge,
        Self::Delete,
        Self::Ddl,
        Self::Dcl,
        Self::Utility,
        Self::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Select => "select",
            Self::Copy => "copy",
            Self::Call => "call",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Merge => "merge",
            Self::Delete => "delete",
            Self::Ddl => "ddl",
            Self::Dcl => "dcl",
            Self::Utility => "utility",
            Self::Unknown => "unknown",
        }
    }
}

/// A relation that a statement touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    pub schema: Arc<str>,
    pub name: Arc<str>,
    pub labels: LabelSet,
}

/// Something that a text runs by its name alone: a prepared statement, a cursor, a portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    /// The text that made it, as it was sent.
    pub text: Arc<str>,
    /// The values that were bound when it was made.
    pub parameters: Arc<[Parameter]>,
}

/// Facts about one SQL text, which may hold several statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlFacts {
    pub text: Arc<str>,
    /// Whatever a name in the text can stand for: people, classifiers and the record must see it, and
    /// approvals are bound to it.
    pub runs: Vec<Named>,
    pub kind: SqlKind,
    /// Every UPDATE and DELETE in it has a WHERE clause (true when there is none of them).
    pub has_where: bool,
    pub has_limit: bool,
    /// The constant LIMIT of a single statement.
    pub limit: Option<i64>,
    pub multi_statement: bool,
    pub touches_catalog: bool,
    pub writes: bool,
    /// LOCK, SELECT … FOR UPDATE and its relatives.
    pub locks: bool,
    /// It reads or begins a transaction, does nothing else, and all code in it is the server's own, as
    /// far as can be told: any other code can write, whatever it is declared as.
    pub only_reads: bool,
    /// False: it could not be parsed or resolved in full, and a guard refuses it.
    pub parsed: bool,
    pub read_only_txn: bool,
    pub reads: Vec<Relation>,
    pub writes_to: Vec<Relation>,
    /// `schema.name`, canonical.
    pub functions: Vec<Arc<str>>,
}

impl SqlFacts {
    /// Facts about a text of which nothing is known but the text.
    pub fn opaque(text: Arc<str>) -> Self {
        Self {
            text,
            runs: Vec::new(),
            kind: SqlKind::Unknown,
            has_where: false,
            has_limit: false,
            limit: None,
            multi_statement: false,
            touches_catalog: false,
            writes: true,
            locks: true,
            only_reads: false,
            parsed: false,
            read_only_txn: false,
            reads: Vec::new(),
            writes_to: Vec::new(),
            functions: Vec::new(),
        }
    }
}
