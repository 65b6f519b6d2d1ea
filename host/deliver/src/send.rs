//! What all kinds of receivers have in common.

use std::time::Duration;

use async_trait::async_trait;

use crate::batch::Event;

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may be taken later, as it is.
    #[error("{why}")]
    Later {
        why: String,
        /// The receiver asks for so long a pause.
        after: Option<Duration>,
    },
    /// The receiver says that something is wrong with what it was sent.
    #[error("{why}")]
    Refused { why: String },
}

impl Failure {
    pub fn later(why: impl Into<String>) -> Self {
        Self::Later {
            why: why.into(),
            after: None,
        }
    }
}

/// What something is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Deliver,
    /// To see if the receiver takes anything. It has had the event before, and must not say yes because it
    /// remembers that it did.
    Probe,
}

/// Takes events. Text of errors names no secret, and no part of a URL but its host.
#[async_trait]
pub trait Send: std::marker::Send + Sync {
    /// All of them are taken when it returns, or it is not known of any.
    async fn send(&mut self, events: &[&Event], purpose: Purpose) -> Result<(), Failure>;
}
