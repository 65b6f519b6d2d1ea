//! A leaf of a transparency log, as the recorder's `FORMAT.md` describes it: what a package reads of it.

use serde::Deserialize;
use uuid::Uuid;

/// The version of leaves that is understood.
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Leaf {
    #[serde(default)]
    pub actions: Vec<String>,
    #[serde(default)]
    pub approval: Option<Approval>,
    #[serde(default)]
    pub body: Option<Body>,
    #[serde(default)]
    pub bundle: Option<Bundle>,
    #[serde(default)]
    pub clock: Option<String>,
    #[serde(default)]
    pub decision: Option<String>,
    /// Of an erasure: the session.
    #[serde(default)]
    pub erased: Option<Uuid>,
    /// Of a hold, which is no request yet.
    #[serde(default)]
    pub hold: Option<Hold>,
    #[serde(default)]
    pub masked: Vec<String>,
    #[serde(default)]
    pub more: u64,
    #[serde(default)]
    pub n: Option<u64>,
    #[serde(default)]
    pub outcome: Option<String>,
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default)]
    pub prev: Option<Prev>,
    /// Of the session's target; none for PostgreSQL.
    #[serde(default)]
    pub protocol: Option<String>,
    #[serde(default)]
    pub rec: Option<Anchor>,
    #[serde(default)]
    pub resources: Vec<String>,
    #[serde(default)]
    pub risk: Option<Risk>,
    #[serde(default)]
    pub seq: Option<u64>,
    #[serde(default)]
    pub sid: Option<Uuid>,
    #[serde(default)]
    pub software: Option<String>,
    #[serde(default)]
    pub target: Option<String>,
    pub time: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub v: u32,
    #[serde(default)]
    pub who: Option<Who>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Approval {
    pub approvers: Vec<String>,
    pub hold: String,
    pub rules: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Hold {
    pub id: String,
    pub rules: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Body {
    pub len: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Bundle {
    pub name: String,
    pub version: u64,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Plugin {
    pub name: String,
    pub version: String,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prev {
    pub origin: String,
    pub root: String,
    pub size: u64,
    pub time: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Anchor {
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Risk {
    #[serde(default)]
    pub labels: Vec<String>,
    pub score: u8,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Who {
    #[serde(default)]
    pub act: Vec<String>,
    pub id: String,
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("it is not a leaf: {0}")]
    Json(String),
    #[error("it is a leaf of version {0}, which this Weir does not know")]
    Version(u32),
    #[error("{0:?} is not a time")]
    Time(String),
}

impl Leaf {
    pub fn parse(entry: &[u8]) -> Result<Self, LeafError> {
        let leaf: Self =
            serde_json::from_slice(entry).map_err(|e| LeafError::Json(e.to_string()))?;
        match leaf.v {
            VERSION => Ok(leaf),
            other => Err(LeafError::Version(other)),
        }
    }

    /// Nanoseconds since 1970.
    pub fn time_ns(&self) -> Result<u64, LeafError> {
        recorder::parse_timestamp(&self.time).ok_or_else(|| LeafError::Time(self.time.clone()))
    }

    pub fn is_hold(&self) -> bool {
        self.kind == "hold"
    }

    pub fn is_request(&self) -> bool {
        self.kind == "request"
    }

    pub fn is_permitted(&self) -> bool {
        self.decision.as_deref() == Some("permit")
    }

    /// Of an action: its session and number.
    pub fn action(&self) -> Option<(Uuid, u64)> {
        Some((self.sid?, self.seq?))
    }

    /// The hash of the record that it stands for.
    pub fn body_hash(&self) -> Option<[u8; 32]> {
        let mut out = [0; 32];
        hex::decode_to_slice(&self.body.as_ref()?.sha256, &mut out).ok()?;
        Some(out)
    }
}
