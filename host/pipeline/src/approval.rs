//! Holds: actions that wait for people.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;

/// An approval rule of the bundle: the floor of what a hold under it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRule {
    pub name: Arc<str>,
    /// Groups whose members may vote; who may vote is also asked of Cedar (`approval:vote`).
    pub approvers: Vec<Arc<str>>,
    /// Distinct people.
    pub required: u32,
    /// How long a hold waits before it expires.
    pub ttl: Duration,
    /// Text for the approver.
    pub description: String,
}

/// How people are asked: the rule's floor, made stricter by router plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub rule: Arc<str>,
    /// A vote counts when the voter is in one of these groups.
    pub approvers: Vec<Arc<str>>,
    pub required: u32,
    pub timeout: Duration,
    pub channels: Vec<String>,
    pub title: String,
    pub body_markdown: String,
}

impl Route {
    /// The route that a rule gives by itself.
    pub fn from_rule(rule: &ApprovalRule, title: String) -> Self {
        Self {
            rule: rule.name.clone(),
            approvers: rule.approvers.clone(),
            required: rule.required,
            timeout: rule.ttl,
            channels: Vec::new(),
            title,
            body_markdown: rule.description.clone(),
        }
    }

    /// Holds `asked` to the floor of `rule`: never fewer people, never other groups than the rule
    /// names (it may name fewer), never more time.
    pub fn at_least(rule: &ApprovalRule, asked: Route) -> Self {
        let approvers: Vec<_> = asked
            .approvers
            .iter()
            .filter(|g| rule.approvers.contains(g))
            .cloned()
            .collect();
        Self {
            rule: rule.name.clone(),
            approvers: if approvers.is_empty() {
                rule.approvers.clone()
            } else {
                approvers
            },
            required: asked.required.max(rule.required),
            timeout: asked.timeout.min(rule.ttl),
            ..asked
        }
    }
}

/// Binds an approval to exactly one request: SHA-256 over principal, target, the exact bytes and
/// the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Hashes the parts with their lengths, so that no two lists of parts collide.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut ctx = digest::Context::new(&digest::SHA256);
        ctx.update(b"weir.approval.v1");
        for part in parts {
            ctx.update(&(part.len() as u64).to_be_bytes());
            ctx.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(ctx.finish().as_ref());
        Self(out)
    }

    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

/// What the client is told about a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldInfo {
    pub id: String,
    /// Where a person can decide it.
    pub url: String,
    pub rules: Vec<Arc<str>>,
    pub reason: String,
    pub expires_at: SystemTime,
}

/// How a hold ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldOutcome {
    /// By these distinct people, for this fingerprint, once.
    Approved {
        approvers: Vec<String>,
        fingerprint: Fingerprint,
    },
    Denied {
        by: String,
        reason: String,
    },
    Expired,
    /// The client cancelled or went away, or the session ended.
    Abandoned,
}
