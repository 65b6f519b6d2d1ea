//! Holds and the rules by which they move. Pure: an implementation of the store loads a row, asks
//! here, and writes what comes back, in one transaction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use weir_client::{Actor, BundleRef, Impact, Parameter, Risk, Statement, TargetInfo, VoteKind};

use super::Millis;
use crate::convert;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldState {
    Open,
    /// Enough people approved; the waiting action has not taken it.
    Approved,
    /// Taken by the waiting action, once.
    Used,
    Denied,
    Expired,
    Abandoned,
}

impl HoldState {
    pub const ALL: [Self; 6] = [
        Self::Open,
        Self::Approved,
        Self::Used,
        Self::Denied,
        Self::Expired,
        Self::Abandoned,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Somebody may still wait for it.
    pub fn pending(self) -> bool {
        matches!(self, Self::Open | Self::Approved)
    }
}

/// One rule that must be satisfied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    pub rule: String,
    pub approvers: Vec<String>,
    pub required: u32,
    pub channels: Vec<String>,
    pub title: String,
    pub body_markdown: String,
}

/// What people are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldDocument {
    pub session: String,
    pub seq: u64,
    pub chain: Vec<Actor>,
    pub issuer: String,
    pub source: String,
    pub target: TargetInfo,
    pub database: String,
    pub reason: String,
    pub statement: Statement,
    #[serde(default)]
    pub impact: Option<Impact>,
    pub parameters: Vec<Parameter>,
    pub risk: Risk,
    pub bundle: BundleRef,
    pub routes: Vec<RouteRecord>,
}

/// What is kept of a hold that ended. In full it is in the evidence.
const KEPT_TEXT: usize = 2_000;
const KEPT_PARAMETERS: usize = 2_000;
const KEPT_NAMES: usize = 32;
const KEPT_FINDINGS: usize = 16;

impl HoldDocument {
    /// What is kept once nobody can decide it any more: enough to know it again.
    pub fn shrunk(mut self) -> Self {
        self.statement = convert::cut(&self.statement, KEPT_TEXT);
        for names in [
            &mut self.statement.reads,
            &mut self.statement.writes,
            &mut self.statement.functions,
            &mut self.statement.computes,
            &mut self.risk.labels,
            &mut self.risk.plugins,
        ] {
            shorten_all(names);
        }
        if let Some(impact) = &mut self.impact {
            impact.tables.truncate(KEPT_NAMES);
            impact.held.truncate(KEPT_NAMES);
            shorten_all(&mut impact.gaps);
            for table in &mut impact.tables {
                shorten_all(&mut table.triggers);
                table.cascades.truncate(KEPT_NAMES);
            }
        }
        for actor in &mut self.chain {
            shorten_all(&mut actor.groups);
        }
        let size: usize = self.parameters.iter().map(size_of_parameter).sum();
        if size > KEPT_PARAMETERS {
            self.parameters = Vec::new();
        }
        self.risk.findings.truncate(KEPT_FINDINGS);
        for finding in &mut self.risk.findings {
            shorten(&mut finding.message);
        }
        self.routes.truncate(KEPT_NAMES);
        for route in &mut self.routes {
            shorten(&mut route.body_markdown);
            shorten(&mut route.title);
            shorten_all(&mut route.approvers);
            shorten_all(&mut route.channels);
        }
        shorten(&mut self.reason);
        self
    }
}

/// In place of what was erased.
pub(super) const ERASED: &str = "(erased)";

impl HoldDocument {
    /// What is kept when the session is erased: who asked for what kind of thing on which target, under which
    /// rules.
    pub fn forgotten(self) -> Self {
        Self {
            database: String::new(),
            reason: ERASED.to_owned(),
            statement: Statement {
                kind: self.statement.kind,
                text: ERASED.to_owned(),
                truncated: true,
                runs: Vec::new(),
                reads: Vec::new(),
                writes: Vec::new(),
                functions: Vec::new(),
                computes: Vec::new(),
                has_where: self.statement.has_where,
                parsed: self.statement.parsed,
                opaque: Vec::new(),
            },
            impact: None,
            parameters: Vec::new(),
            risk: Risk {
                score: self.risk.score,
                labels: Vec::new(),
                findings: Vec::new(),
                plugins: self.risk.plugins,
            },
            routes: self
                .routes
                .into_iter()
                .map(|route| RouteRecord {
                    title: String::new(),
                    body_markdown: String::new(),
                    ..route
                })
                .collect(),
            ..self
        }
    }
}

fn size_of_parameter(parameter: &Parameter) -> usize {
    match parameter {
        Parameter::Null => 1,
        Parameter::Text(text) | Parameter::Binary(text) => text.len() + 1,
        Parameter::Encoded(value) => {
            let texts = [&value.of, &value.text].into_iter().flatten();
            value.hex.len() + texts.map(String::len).sum::<usize>() + 1
        }
    }
}

fn shorten(text: &mut String) {
    let kept = convert::prefix(text, KEPT_TEXT).len();
    text.truncate(kept);
}

fn shorten_all(names: &mut Vec<String>) {
    names.truncate(KEPT_NAMES);
    names.iter_mut().for_each(shorten);
}

/// A hold as it was opened; its document shrinks when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRecord {
    /// A UUIDv7: sorts by time.
    pub id: String,
    pub opened_at: Millis,
    pub expires_at: Millis,
    /// The actor's subject.
    pub principal: String,
    /// Everybody who may not vote: the chain, and who answers for its links.
    pub involved: Vec<String>,
    pub fingerprint: [u8; 32],
    pub document: HoldDocument,
    /// Announce its opening and its end.
    pub announce: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteRecord {
    pub rule: String,
    pub voter: String,
    pub kind: VoteKind,
    pub reason: String,
    pub at: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    pub record: HoldRecord,
    pub state: HoldState,
    /// When the state last changed, and by whose vote.
    pub decided_at: Option<Millis>,
    pub decided_by: Option<String>,
    pub decision_reason: Option<String>,
    /// In the order in which they came.
    pub votes: Vec<VoteRecord>,
}

impl HoldRow {
    /// The state that it is in at `now`, though nobody may have written it down yet.
    pub fn state_at(&self, now: Millis) -> HoldState {
        if self.state.pending() && now >= self.record.expires_at {
            HoldState::Expired
        } else {
            self.state
        }
    }
}

/// One person's vote on a hold, for the rules that the person may vote under.
#[derive(Debug, Clone)]
pub struct Ballot {
    pub hold: String,
    pub voter: String,
    pub kind: VoteKind,
    pub reason: String,
    pub rules: Vec<String>,
    pub at: Millis,
}

/// What a ballot does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cast {
    Counted {
        votes: Vec<VoteRecord>,
        /// The state after it.
        state: HoldState,
    },
    /// It is not open any more.
    Closed(HoldState),
    /// This person has voted under every rule that it may vote under.
    Again,
    /// The ballot names no rule of this hold, or its voter is involved in the request.
    Void,
}

/// The store's answer to a ballot: what it did, and the hold after it.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub cast: Cast,
    pub row: HoldRow,
}

/// Decides a ballot. A denial is final; an approval counts once per person and rule; the hold is
/// approved when every rule has as many distinct people as it needs.
pub fn cast(row: &HoldRow, ballot: &Ballot) -> Cast {
    let state = row.state_at(ballot.at);
    if state != HoldState::Open {
        return Cast::Closed(state);
    }
    let routes = &row.record.document.routes;
    let rules: BTreeSet<&str> = ballot
        .rules
        .iter()
        .map(String::as_str)
        .filter(|rule| routes.iter().any(|r| r.rule == *rule))
        .collect();
    if rules.is_empty() || row.record.involved.contains(&ballot.voter) {
        return Cast::Void;
    }
    // A denial is heard even from somebody who approved before.
    let voted = |rule: &str| {
        ballot.kind == VoteKind::Approve
            && row
                .votes
                .iter()
                .any(|v| v.voter == ballot.voter && v.rule == rule)
    };
    let votes: Vec<VoteRecord> = rules
        .into_iter()
        .filter(|rule| !voted(rule))
        .map(|rule| VoteRecord {
            rule: rule.to_owned(),
            voter: ballot.voter.clone(),
            kind: ballot.kind,
            reason: ballot.reason.clone(),
            at: ballot.at,
        })
        .collect();
    if votes.is_empty() {
        return Cast::Again;
    }
    let state = if ballot.kind == VoteKind::Deny {
        HoldState::Denied
    } else {
        let satisfied = |route: &RouteRecord| {
            approved_by(row.votes.iter().chain(&votes), &route.rule).len()
                >= route.required.max(1) as usize
        };
        if !routes.is_empty() && routes.iter().all(satisfied) {
            HoldState::Approved
        } else {
            HoldState::Open
        }
    };
    Cast::Counted { votes, state }
}

/// The distinct people who approved under `rule`.
pub fn approved_by<'a>(
    votes: impl IntoIterator<Item = &'a VoteRecord>,
    rule: &str,
) -> BTreeSet<&'a str> {
    votes
        .into_iter()
        .filter(|v| v.kind == VoteKind::Approve && v.rule == rule)
        .map(|v| v.voter.as_str())
        .collect()
}

/// What the waiting action learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Pending,
    /// Taken now; never again.
    Approved {
        approvers: Vec<String>,
    },
    Denied {
        by: String,
        reason: String,
    },
    Expired,
    /// Abandoned, unknown, or taken before.
    Gone,
    /// Approved, but for something else: void.
    Mismatch,
}

/// The next state of a hold whose waiter asks, and the waiter's answer. The state is to be written
/// if it differs from the row's.
pub fn settle(row: &HoldRow, fingerprint: &[u8; 32], now: Millis) -> (HoldState, Settled) {
    match row.state_at(now) {
        HoldState::Open => (HoldState::Open, Settled::Pending),
        HoldState::Approved if row.record.fingerprint == *fingerprint => {
            let approvers: BTreeSet<&str> = row
                .votes
                .iter()
                .filter(|v| v.kind == VoteKind::Approve)
                .map(|v| v.voter.as_str())
                .collect();
            let approvers = approvers.into_iter().map(str::to_owned).collect();
            (HoldState::Used, Settled::Approved { approvers })
        }
        HoldState::Approved => (HoldState::Abandoned, Settled::Mismatch),
        HoldState::Denied => {
            let by = row.decided_by.clone().unwrap_or_default();
            let reason = row.decision_reason.clone().unwrap_or_default();
            (HoldState::Denied, Settled::Denied { by, reason })
        }
        HoldState::Expired => (HoldState::Expired, Settled::Expired),
        state @ (HoldState::Used | HoldState::Abandoned) => (state, Settled::Gone),
    }
}
