//! What a record becomes in the transparency log: one small JSON document, with its names in the order
//! of RFC 8785.
//!
//! A leaf stays for ever, whatever is erased. So it names principals by pseudonyms, and says of a record
//! only its length and its hash, which is salted by what the record itself holds.

use std::borrow::Cow;

use pipeline::Protocol;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chain::Hash;
use crate::commit::Item;
use crate::convert::hex_of;
use crate::doc::{
    BundleDoc, ControlDoc, ControlStartDoc, EndDoc, ErasureDoc, GapDoc, MarkDoc, SessionPart,
    StartDoc, WhoPart,
};
use crate::hosts;
use crate::keys::timestamp;
use crate::log::subject::Subjects;
use crate::record::{HEADER, Kind};

/// The version of the documents below.
pub const LEAF_VERSION: u32 = 1;
/// Longer lists are cut, and `more` says by how many.
const MOST: usize = 16;
/// Longer names are cut.
const LONGEST: usize = 200;

/// Text that is borrowed where it can be, also within lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A leaf, with its names in the order of RFC 8785.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leaf<'a> {
    /// Cedar actions; of an operator's act, what was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub actions: Vec<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalPart>,
    /// The record that it stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyPart>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub bundle: Option<BundlePart<'a>>,
    /// The record's own time, where that is before the leaf before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Cow<'a, str>>,
    /// `permit`, how it was refused, or `held`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub decision: Option<Text<'a>>,
    /// The session whose key is destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Uuid>,
    /// Of what waits for people from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldPart>,
    /// Of what is permitted: labelled columns that stay masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub masked: Vec<Text<'a>>,
    /// Of accesses, policies, plugins and masked columns: how many are not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
    /// The record's number in its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// `done`, `failed`, `cancelled` or `unknown`; why a session ended; what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub outcome: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub plugins: Vec<PluginPart<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub policies: Vec<Text<'a>>,
    /// Of a log: the one before it, as far as it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<PrevPart>,
    /// Of the session's target, where that is not PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub protocol: Option<Cow<'a, str>>,
    /// The segment that was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rec: Option<AnchorPart>,
    /// Cedar resources, with their type.
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub resources: Vec<Text<'a>>,
    /// Of a session's start: for how many days at least its segments are to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub risk: Option<RiskPart<'a>>,
    /// The action's number in its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The session, or the control stream of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Cow<'a, str>>,
    /// Never before the leaf before.
    pub time: Cow<'a, str>,
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    pub v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Cow<'a, WhoPart>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalPart {
    /// Pseudonyms, as in `who`.
    pub approvers: Vec<String>,
    pub hold: String,
    pub rules: Vec<String>,
}

/// A hold, and the rules under which people are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPart {
    pub id: String,
    pub rules: Vec<String>,
}

/// A record's length and the hash of `FORMAT.md`, section "Chains".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPart {
    pub len: u64,
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorPart {
    /// Its object, with its SHA-256.
    pub key: String,
    /// Records of the stream up to its end.
    pub records: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskPart<'a> {
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub labels: Vec<Text<'a>>,
    pub score: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundlePart<'a> {
    #[serde(borrow)]
    pub digest: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub version: u64,
}

impl From<BundleDoc> for BundlePart<'_> {
    fn from(doc: BundleDoc) -> Self {
        Self {
            digest: doc.digest.into(),
            name: doc.name.into(),
            version: doc.version,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginPart<'a> {
    #[serde(borrow)]
    pub digest: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub version: Cow<'a, str>,
}

/// The last checkpoint of another log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrevPart {
    pub origin: String,
    /// In base64, as in its checkpoint.
    pub root: String,
    pub size: u64,
    /// Of its last leaf.
    pub time: String,
}

/// Whose record it is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// An instance of Weir.
    Control,
    Session(SessionPart),
    /// A session of which the start is lost.
    Unknown,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Of an intent's or a refusal's JSON, what its leaf needs; the rest is passed over.
#[derive(Deserialize)]
struct ActionView<'a> {
    #[serde(borrow, default)]
    accesses: Vec<AccessView<'a>>,
    #[serde(borrow)]
    risk: RiskView<'a>,
    #[serde(borrow)]
    bundle: BundlePart<'a>,
    #[serde(borrow, default)]
    policies: Vec<Text<'a>>,
    #[serde(borrow, default)]
    decision: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(default)]
    approval: Option<ApprovalView>,
    #[serde(borrow, default)]
    masked: Vec<Text<'a>>,
}

#[derive(Deserialize)]
struct AccessView<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    path: Vec<Text<'a>>,
    #[serde(borrow, default)]
    flags: Vec<Text<'a>>,
}

impl AccessView<'_> {
    /// What is called so, unless the name is no more than what a client wrote, or is a person's.
    fn resource(&self, subjects: &Subjects) -> String {
        let name = &self.resource;
        let has = |name: &str| self.flags.iter().any(|flag| flag.0 == name);
        if self.kind.starts_with("Ssh") {
            return self.on_host(has("loopback"), subjects);
        }
        match &*self.kind {
            kind if has("unknown") => [kind, "::?"].concat(),
            "PgRole" => ["PgRole::", &subjects.role(name)].concat(),
            kind => [kind, "::", name].concat(),
        }
    }

    /// Whatever a client may have made up has no name, whether it is known or not.
    fn on_host(&self, loopback: bool, subjects: &Subjects) -> String {
        let parts: Vec<&str> = match (&*self.path, &*self.kind) {
            ([], "SshAccount") => vec![&*self.resource],
            ([], _) => self.resource.split('.').collect(),
            (path, _) => path.iter().map(|part| &*part.0).collect(),
        };
        let login = |login: &str| subjects.login(login);
        hosts::resource(&self.kind, &parts, loopback, login)
            .unwrap_or_else(|| [&self.kind, "::?"].concat())
    }
}

#[derive(Deserialize)]
struct RiskView<'a> {
    score: u8,
    #[serde(borrow, default)]
    labels: Vec<Text<'a>>,
    #[serde(borrow, default)]
    plugins: Vec<PluginPart<'a>>,
}

#[derive(Deserialize)]
struct ApprovalView {
    hold: String,
    rules: Vec<String>,
    approvers: Vec<String>,
}

#[derive(Deserialize)]
struct HoldView {
    hold: String,
    #[serde(default)]
    basis: RulesView,
}

#[derive(Deserialize, Default)]
struct RulesView {
    #[serde(default)]
    rules: Vec<String>,
}

#[derive(Deserialize)]
struct OutcomeView<'a> {
    #[serde(borrow)]
    outcome: Cow<'a, str>,
}

impl<'a> Leaf<'a> {
    pub fn new(kind: &'static str, ts_ns: u64) -> Self {
        Self {
            actions: Vec::new(),
            approval: None,
            body: None,
            bundle: None,
            clock: None,
            decision: None,
            erased: None,
            hold: None,
            masked: Vec::new(),
            more: 0,
            n: None,
            outcome: None,
            plugins: Vec::new(),
            policies: Vec::new(),
            prev: None,
            protocol: None,
            rec: None,
            resources: Vec::new(),
            retention_days: None,
            risk: None,
            seq: None,
            sid: None,
            software: None,
            target: None,
            time: timestamp(ts_ns).into(),
            kind: kind.into(),
            v: LEAF_VERSION,
            who: None,
        }
    }

    /// Does it say that a session's key is destroyed from here on?
    pub fn begins_erasure(&self) -> bool {
        self.kind == "erasure" && self.outcome.is_none()
    }

    /// The leaf of a record at this time, if it gets one: recorded bytes are in what their segment's
    /// leaf says.
    pub fn of(
        item: &Item,
        encoded: &'a [u8],
        ts_ns: u64,
        of: &'a Owner,
        subjects: &Subjects,
    ) -> Option<Result<Self, serde_json::Error>> {
        let mut leaf = Leaf::bare(item, encoded, ts_ns, of)?;
        let payload = encoded.get(HEADER..).unwrap_or_default();
        let body = match item.seq {
            Some(_) => payload.get(8..).unwrap_or_default(),
            None => payload,
        };
        Some(leaf.fill(item.kind, body, subjects).map(|()| leaf))
    }

    /// As [`Leaf::of`], without what the record says.
    pub fn bare(item: &Item, encoded: &[u8], ts_ns: u64, of: &'a Owner) -> Option<Self> {
        let kind = name(item.kind, matches!(of, Owner::Control))?;
        let mut leaf = Leaf::new(kind, ts_ns);
        if item.ts_ns < ts_ns {
            leaf.clock = Some(timestamp(item.ts_ns).into());
        }
        if item.stream != crate::record::NO_STREAM {
            leaf.sid = Some(Uuid::from_u128(item.stream));
            leaf.n = Some(item.index);
            leaf.seq = item.seq;
            leaf.body = Some(BodyPart {
                len: encoded.len() as u64,
                sha256: hex_of(&item.leaf),
            });
        }
        if let Owner::Session(session) = of {
            leaf.protocol = session.protocol.as_deref().map(Cow::Borrowed);
            leaf.target = Some(Cow::Borrowed(&session.target));
            leaf.who = Some(Cow::Borrowed(&session.who));
        }
        Some(leaf)
    }

    fn fill(
        &mut self,
        kind: Kind,
        body: &'a [u8],
        subjects: &Subjects,
    ) -> Result<(), serde_json::Error> {
        match kind {
            Kind::SessionStart => {
                let doc: StartDoc = serde_json::from_slice(body)?;
                self.bundle = Some(doc.bundle.into());
                self.retention_days = doc.retention_days;
            }
            Kind::Intent | Kind::Refused => self.action(serde_json::from_slice(body)?, subjects),
            Kind::Held => {
                let doc: HoldView = serde_json::from_slice(body)?;
                self.action(serde_json::from_slice(body)?, subjects);
                self.hold = Some(HoldPart {
                    id: doc.hold,
                    rules: first(doc.basis.rules, &mut self.more).collect(),
                });
            }
            Kind::Outcome => {
                let doc: OutcomeView<'a> = serde_json::from_slice(body)?;
                self.outcome = Some(Text(doc.outcome));
            }
            Kind::SessionEnd => {
                let doc: EndDoc = serde_json::from_slice(body)?;
                self.outcome = Some(Text(doc.reason.into()));
            }
            Kind::ControlStart => {
                let doc: ControlStartDoc = serde_json::from_slice(body)?;
                self.software = Some(doc.software.into());
            }
            Kind::Control => {
                let doc: ControlDoc = serde_json::from_slice(body)?;
                self.who = doc.who.as_ref().map(|who| Cow::Owned(subjects.who(who)));
                self.actions.push(Text(short(doc.action.into())));
                self.resources.push(Text(short(doc.resource.into())));
                let decision = if doc.refused.is_some() {
                    "deny"
                } else {
                    "permit"
                };
                self.decision = Some(Text(decision.into()));
            }
            Kind::Sealed => {
                let mark: MarkDoc = serde_json::from_slice(body)?;
                self.rec = Some(AnchorPart {
                    key: mark.key.unwrap_or_default(),
                    records: mark.records,
                });
            }
            Kind::Erasure => {
                let doc: ErasureDoc = serde_json::from_slice(body)?;
                self.who = doc.who.as_ref().map(|who| Cow::Owned(subjects.who(who)));
                self.erased = doc.session.parse().ok();
                self.outcome = doc.outcome.map(|what| Text(short(what.into())));
            }
            Kind::Gap => {
                let doc: GapDoc = serde_json::from_slice(body)?;
                self.outcome = Some(Text(short(doc.what.into())));
            }
            Kind::ToClient | Kind::ToUpstream | Kind::Carry => {}
        }
        Ok(())
    }

    fn action(&mut self, doc: ActionView<'a>, subjects: &Subjects) {
        self.bundle = Some(doc.bundle);
        self.decision = doc.decision.or(doc.kind);
        let mut more = 0;
        // Of all accesses: there are few actions, and the last may be the one that matters.
        for access in &doc.accesses {
            let action = Text(short(access.action.clone()));
            if self.actions.len() < MOST && !self.actions.contains(&action) {
                self.actions.push(action);
            }
        }
        for access in first(doc.accesses, &mut more) {
            let resource = access.resource(subjects);
            self.resources.push(Text(short(resource.into())));
        }
        self.policies = first(doc.policies, &mut more)
            .map(|p| Text(short(p.0)))
            .collect();
        self.plugins = first(doc.risk.plugins, &mut more).collect();
        self.masked = first(doc.masked, &mut more)
            .map(|column| Text(short(column.0)))
            .collect();
        // A plugin's label can be any text.
        let (labels, texts): (Vec<_>, Vec<_>) = doc
            .risk
            .labels
            .into_iter()
            .partition(|label| is_word(&label.0));
        more += texts.len() as u64;
        self.risk = Some(RiskPart {
            labels: first(labels, &mut more).collect(),
            score: doc.risk.score,
        });
        self.approval = doc.approval.map(|a| ApprovalPart {
            approvers: first(a.approvers, &mut more)
                .map(|name| subjects.approver(&name))
                .collect(),
            hold: a.hold,
            rules: first(a.rules, &mut more).collect(),
        });
        self.more = more;
    }
}

/// The first few; `more` counts the rest.
fn first<T>(list: Vec<T>, more: &mut u64) -> impl Iterator<Item = T> {
    *more += list.len().saturating_sub(MOST) as u64;
    list.into_iter().take(MOST)
}

fn is_word(label: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_:.".contains(&c);
    label.len() <= 64 && label.bytes().all(fits)
}

fn short(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text;
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

/// Does a record of this kind get a leaf?
pub fn has_leaf(kind: Kind, control: bool) -> bool {
    name(kind, control).is_some()
}

fn name(kind: Kind, control: bool) -> Option<&'static str> {
    Some(match kind {
        Kind::SessionStart => "session.start",
        Kind::Intent | Kind::Refused => "request",
        Kind::Held => "hold",
        Kind::Outcome => "result",
        Kind::SessionEnd if control => "recorder.stop",
        Kind::SessionEnd => "session.end",
        Kind::ControlStart => "recorder.start",
        Kind::Control => "control",
        Kind::Sealed => "rec.anchor",
        Kind::Gap => "gap",
        Kind::Erasure => "erasure",
        Kind::ToClient | Kind::ToUpstream | Kind::Carry => return None,
    })
}

/// What a session's start says for all its leaves.
pub fn session_part(encoded: &[u8], subjects: &Subjects) -> Option<SessionPart> {
    let doc: StartDoc = serde_json::from_slice(encoded.get(HEADER..)?).ok()?;
    let protocol = doc.target.protocol;
    Some(SessionPart {
        protocol: (protocol != Protocol::Postgres.as_str())
            .then(|| short(protocol.into()).into_owned()),
        retention_days: doc.retention_days,
        target: short(doc.target.name.into()).into_owned(),
        who: subjects.who(&doc.who),
    })
}

/// The hash in a leaf's body.
pub fn body_hash(body: &BodyPart) -> Option<Hash> {
    let mut out = [0; 32];
    hex::decode_to_slice(&body.sha256, &mut out).ok()?;
    Some(out)
}
