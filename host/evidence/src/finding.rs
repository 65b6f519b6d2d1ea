//! What verification says about a package.

use recorder::Severity;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("the manifest is not signed")]
    Unsigned { wanted: bool },
    #[error("{0}")]
    Signature(String),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{0} is in the package, and its manifest does not name it")]
    Unnamed(String),
    #[error("{0} is nothing that a package has")]
    Stranger(String),
    #[error("{0} is not what the manifest says")]
    Changed(String),
    #[error("{path} is not what the leaves say{how}")]
    Derived { path: String, how: String },
    #[error("log {log}: {why}")]
    Log { log: Uuid, why: String },
    #[error("log {log}: leaf {leaf}: {why}")]
    Leaf { log: Uuid, leaf: u64, why: String },
    #[error("{path}: {why}")]
    Item { path: String, why: String },
    /// Of a record that stands behind a leaf.
    #[error("the record {n} of {stream} is not in the package: {why}")]
    NoRecord {
        stream: Uuid,
        n: u64,
        why: String,
        erased: bool,
    },
    #[error("the text of bundle {name} version {version} is not in the package; its digest is")]
    NoBundle { name: String, version: u64 },
    #[error("log {log}, which {} key that counts has signed, is left out: {why}", if *.signed { "a" } else { "no" })]
    LeftOut {
        log: Uuid,
        signed: bool,
        why: String,
    },
    #[error("log {log} may have more leaves of the window: {why}")]
    Open { log: Uuid, why: String },
    #[error("leaf {leaf} of log {log}, {time}: {what}")]
    Gap {
        log: Uuid,
        leaf: u64,
        time: String,
        what: String,
    },
    #[error("{0}")]
    Said(String),
}

impl Finding {
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoRecord { erased: true, .. } => Severity::Note,
            Self::Open { .. }
            | Self::NoBundle { .. }
            | Self::Unsigned { wanted: false }
            | Self::Gap { .. }
            | Self::Said(_)
            | Self::LeftOut { .. }
            | Self::NoRecord { .. } => Severity::Gap,
            _ => Severity::Failure,
        }
    }
}
