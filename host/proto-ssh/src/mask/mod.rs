//! Hides secrets in text that passes, at the same length, whatever packets and escape sequences it is cut by.

mod guard;
mod lexer;
mod masker;
mod patterns;
mod plain;
mod spans;
#[cfg(test)]
mod tests;
mod token;
mod trie;
mod view;

pub use guard::Verdict;
pub use masker::{MAX_HELD, MAX_REMEMBERED, Masker};
pub use patterns::{MAX_SECRET, MAX_SECRETS, MIN_SECRET, Patterns, PatternsError};
pub use spans::{MAX_BATCH, MAX_SPAN, MAX_WAITING, Spans, column};

/// What stands for a byte that may not be seen.
const STAR: u8 = b'*';

/// Who reads what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A terminal: somebody may be typing.
    Terminal,
    /// Output of a command without one.
    Pipe,
}
