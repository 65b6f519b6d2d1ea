//! How a call of a plugin fails.

use wasmtime::Trap;

/// One failed call. Whatever it is, the outcome is the strict one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The plugin is broken: it panicked, or read memory that it does not have.
    #[error("it trapped: {0}")]
    Trap(String),
    #[error("it used up its stack")]
    Stack,
    #[error("it wanted more memory than the limit")]
    Memory,
    /// It kept a thread busy for longer than its deadline.
    #[error("it ran past its deadline")]
    Deadline,
    /// No slot and no thread was free for it in time.
    #[error("it could not be run in time: the host is too busy")]
    Busy,
    /// It answered something that the contract forbids.
    #[error("its answer breaks the contract: {0}")]
    Answer(String),
    /// It said itself that it cannot answer.
    #[error("it cannot answer: {0}")]
    Said(String),
    #[error("it is required, but it is not loaded")]
    Missing,
    /// The host could not run it.
    #[error("the host could not run it: {0}")]
    Host(String),
}

impl Fault {
    /// A short name of the kind of fault, for metrics and records.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Stack => "stack",
            Self::Memory => "memory",
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::Answer(_) => "answer",
            Self::Said(_) => "said",
            Self::Missing => "missing",
            Self::Host(_) => "host",
        }
    }

    pub(crate) fn from_wasmtime(error: &wasmtime::Error) -> Self {
        if error.is::<OutOfMemory>() {
            return Self::Memory;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Deadline,
            Some(Trap::StackOverflow) => Self::Stack,
            Some(trap) => Self::Trap(trap.to_string()),
            // The root cause: the outer ones are wasmtime's own context.
            None => Self::Host(error.root_cause().to_string()),
        }
    }
}

/// Raised by the memory limiter, so that it is told apart from a trap.
#[derive(Debug, thiserror::Error)]
#[error("the memory limit of {0} bytes is reached")]
pub(crate) struct OutOfMemory(pub(crate) usize);
