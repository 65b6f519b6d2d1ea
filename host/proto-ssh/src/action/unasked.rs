//! What is refused without a decision, for the record.

use std::sync::Arc;

use pipeline::{Facts, SshFacts, SshKind, Unasked};

use super::ask::{Parts, parts};
use super::text::readable;
use super::{Asked, What};
use crate::terms::Place;

/// Of a text that may be the reason of the refusal, the record keeps this much.
const KEPT: usize = 4 << 10;

/// Something of a client, or of a host, that is refused without policy being asked.
#[derive(Debug, Clone)]
pub(crate) struct Turned {
    pub tried: Tried,
    pub reason: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Tried {
    /// It is known what was asked for.
    Known(Box<Asked>),
    /// A request or a channel of a type that is not known or has no place: what it is, and its name.
    Named {
        what: &'static str,
        name: Vec<u8>,
        channel: Option<u32>,
    },
}

impl Turned {
    pub fn known(asked: Asked, reason: impl Into<String>) -> Self {
        Self {
            tried: Tried::Known(Box::new(asked)),
            reason: reason.into(),
        }
    }

    pub fn named(
        what: &'static str,
        name: &[u8],
        channel: Option<u32>,
        reason: impl Into<String>,
    ) -> Self {
        let name = name.get(..KEPT).unwrap_or(name).to_vec();
        Self {
            tried: Tried::Named {
                what,
                name,
                channel,
            },
            reason: reason.into(),
        }
    }

    pub fn unasked(&self, place: &Place) -> Unasked {
        let login = &place.login;
        let (mut facts, accesses, canonical) = match &self.tried {
            Tried::Known(asked) => match parts(asked, place) {
                Ok(Parts {
                    facts,
                    accesses,
                    canonical,
                }) => (facts, accesses, canonical),
                Err(why) => {
                    let facts = SshFacts {
                        channel: asked.channel,
                        ..unknown(login, format!("{}: {why}", name_of(&asked.what)))
                    };
                    (facts, Vec::new(), Vec::new())
                }
            },
            Tried::Named {
                what,
                name,
                channel,
            } => {
                let facts = SshFacts {
                    channel: *channel,
                    ..unknown(login, format!("{what} {}", readable(name)))
                };
                (facts, Vec::new(), name.clone())
            }
        };
        if facts.text.len() > KEPT {
            let end = facts.text.floor_char_boundary(KEPT);
            let start = facts.text.get(..end).unwrap_or_default();
            // What is read of so long a text is not worth more than the text.
            facts = SshFacts {
                channel: facts.channel,
                ..SshFacts::opaque(
                    facts.kind,
                    login.clone(),
                    format!("{start}…").into(),
                    "it is longer than what is kept of a refusal",
                )
            };
        }
        Unasked {
            facts: Facts::Ssh(Arc::new(facts)),
            accesses,
            canonical,
            reason: self.reason.clone(),
        }
    }
}

fn unknown(login: &Arc<str>, text: String) -> SshFacts {
    let why = "nobody knows what it would do";
    SshFacts::opaque(SshKind::Unknown, login.clone(), text.into(), why)
}

fn name_of(what: &What) -> &'static str {
    match what {
        What::DirectTcp { .. } => "direct-tcpip",
        What::ListenTcp { .. } => "tcpip-forward",
        _ => "request",
    }
}
