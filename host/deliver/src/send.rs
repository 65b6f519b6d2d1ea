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
    /// The receiver, or something before it, has failed in a way that can hang on what was sent: a filter that
    /// does not like a name in it, for one. Whether it does, is seen by what else is taken.
    #[error("{why}")]
    Doubtful {
        why: String,
        after: Option<Duration>,
        /// It looks like a fault that passes, so it is waited for longer.
        may_pass: bool,
    },
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
    /// All of them are taken when it returns, or it is not known of any. Where a receiver does not
    /// acknowledge, they are only on their way.
    async fn send(&mut self, events: &[&Event], purpose: Purpose) -> Result<(), Failure>;

    /// Why it can never be sent, if that is so.
    fn unfit(&self, _: &Event) -> Option<String> {
        None
    }

    /// Does the receiver say that it has taken something? Otherwise `confirm` finds out.
    fn acknowledges(&self) -> bool {
        true
    }

    /// An error if what is on its way may be lost.
    async fn look(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Everything that was sent since the last time is taken when it returns, or it is not known of any.
    async fn confirm(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    why
}
