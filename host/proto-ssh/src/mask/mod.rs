//! Hides secrets in text that passes, at the same length, whatever packets and escape sequences it is cut by.
//!
//! Place in the flow: `relay` gives every stream of a channel that carries text (standard output and standard error
//! of a shell or a command, each its own, and standard error of file transfers, `git` and `rsync`) a [`Masker`], and behind
//! it [`Spans`] where plugins or detectors chosen by name look at lines. What comes out is what is recorded and sent. Not
//! for what is transferred, and forwarded connections.
//!
//! - `patterns` is what is looked for: secrets that Weir knows, also in base 64, in URLs and as hexadecimal digits,
//!   and tokens by their form (those of `detect`), private keys from their first line to their last, and in base 64.
//! - `lexer` tells shown bytes from sequences; `view` is one way of reading them, of which there are three: as a
//!   terminal shows them (what is taken back is gone), without sequences, and as they are, titles and clipboards
//!   included.
//! - `trie` and `token` follow what has begun, a byte at a time (`token/key` a private key); `plain` passes over text
//!   in which nothing has. `lead` is what stands before each line of a private key,
//!   `source` by its digits whose line it is.
//! - `guard` tells data that is no text; `noise` passes over blocks of such data. `spans` is what plugins say, with
//!   `reading` for parts of lines; `lines` is for it what `plain` is for the masker.
//!
//! The caller tells a masker the terminal's width ([`Masker::resize`]) and that something was typed
//! ([`Masker::typed`]), calls [`Masker::tick`] when it is due, [`Masker::hurry`] before the channel's other stream goes on,
//! and [`Masker::flush`] before the end of the stream, an exit code or the channel's end is passed on. A masker keeps the
//! patterns that it was made with.
//!
//! Invariants:
//! - As many bytes come out as went in. A byte that is no part of a find is not changed, one of a control sequence
//!   never; what is replaced becomes `*`. Of a token the prefix that tells what it is stays.
//! - What has been let go of is never the whole of a find: of a secret, at most its first seven bytes (three of
//!   one of eight) leave before it is complete, of a token its prefix and three more, however slowly it comes; of a JSON
//!   Web Token its header, too, where the line or the stream ends behind that or it has 1024 characters and more, of a
//!   key id what may stand for nucleotides, and of the second line of a private key in a table up to 15, see below.
//!   What is longer is replaced after two seconds, and when the stream ends or is flushed, whether it is one or not.
//! - Of what detectors find, what a line ends with and may become a find yet (`detect::lead`: four characters or so of it
//!   are there) waits until it cannot any more, or for two seconds. Then it goes out; what comes of it later is replaced
//!   once it is certain. An echo of what is typed does not wait.
//! - A byte costs a bounded number of steps, a stream at most [`MAX_REMEMBERED`] bytes, whatever is written.
//! - Nothing here is decoded as UTF-8.
//!
//! What it does not hide, and what has to be said to whoever relies on it:
//! - It is a net for accidents, not a wall against somebody who may run commands and wants a secret out: `rev`, `tr`,
//!   `gzip`, `xxd` with its columns, `fold -w 5` with a number before each line, a second base 64, all of it passes. A wall
//!   is what policy refuses.
//! - Encodings other than those above: UTF-16, quoted-printable, JSON's `\u0041`, characters without width between
//!   the others (U+200B), letters that only look alike. Single bytes 0x80 to 0x9F are read as part of
//!   UTF-8, not as control characters as a terminal without UTF-8 does.
//! - What a program draws with a cursor that it sends to lines and columns (`vim`, `less`, panes of `tmux`): bytes are
//!   compared in the order in which they come, so what is drawn from its end to its beginning, or in columns, is not
//!   found. A cursor that goes back on its line (backspaces) is followed, up to 4096 places, by characters of one column
//!   each and by tabs; one that
//!   returns to the line's beginning and writes over a part of it is not, and neither is one that moves what stands there
//!   (`CSI P`, `CSI @`), or a character that is to be shown again (`CSI b`).
//! - Letters that are struck over (`s`, a backspace and `s` again, as programs write bold): what a terminal shows is
//!   hidden, the copies below it stay in the bytes.
//! - A pattern that is split by what is taken back, where packets end between: what was let go of before is
//!   not called back, so of what only the editing makes a secret, up to all that went out before the first backspace has
//!   been seen, at most those seven bytes in one piece.
//! - A token ends with its line once it is long enough to be one; what stands on the next line belongs to it only where the
//!   terminal's width says so ([`Masker::resize`]). Of a token with a payload (JWT) that is the signature.
//! - A private key is hidden, however long it is, while what follows its first line can be one, and behind what stood before
//!   that line, up to 80 bytes (`grep -r`, `bat`, logs of containers); one that is changed line by line into something else
//!   is not. Where something else stands before its other lines (a table of `psql`, spaces of `journalctl`), its second one
//!   must have 48 characters in a row and be among the next five lines, headers aside; of it, up to 15 may leave when it
//!   comes slowly and something else came between, also behind the first line's dashes. Where nothing stands before the first line, what cannot be a part of the
//!   key ends it.
//!   Lines of others may stand between its own, up to 64 in a row, and up to 16 behind its first one, if something stands
//!   before that. Of sources whose lines begin alike but for digits (replicas), 16 are told apart by these, clocks aside;
//!   those that have the same are one, whose keys are counted by their first and last lines. A last line of none that has
//!   begun a key (`--tail`; a line's number, which counts) ends none: behind it, what may be a line of one is hidden where
//!   it begins alike, but of what is shorter than 16 characters nothing, and where too many keys have begun, it may
//!   give way to another one.
//! - A private key in base 64 of several lines is hidden in the same way, but no line of others may stand between.
//! - What a user types is only seen in its echo; a password that is not echoed is nobody's output.
//! - What is no text is masked as far as a secret stands in it in one piece. [`Verdict::Binary`] is the caller's to act
//!   upon, as the target says (`Binary`): one NUL byte is enough to be told so, and changes nothing here. Blocks of 256 bytes that are full of control
//!   characters and of what is no UTF-8 are passed over quickly (`noise`): by the masker in a stream of which that was told,
//!   by [`Spans`] in every pipe that only detectors look at, where a line begins (plugins are shown all of it). In
//!   them, and for [`Spans`] in lines of at least 32 bytes that are as full of it, nothing is found around an escape
//!   sequence, a control character or the end of a line, and an address only where it is ASCII, and ten characters long,
//!   because random bytes have shorter ones. Text behind such a block is text again. Terminals are never binary.
//! - Private keys that are not PEM, of OpenSSH or of GnuPG: PuTTY's, and those of WireGuard that stand behind no name. One
//!   without its first line, but for OpenSSH's. Of one of WireGuard fewer than 16 characters leave where a line ends in it.
//! - What is told by a prefix of mere letters and an exact length (`AKIA`), or by one that names end with (`task-proj-`), is
//!   found at the beginning of a word only; all other tokens are found behind letters and digits, too.
//! - Shorter secrets than [`MIN_SECRET`] bytes are not accepted.

mod guard;
mod lead;
mod lexer;
mod lines;
mod masker;
mod noise;
mod patterns;
mod plain;
mod reading;
mod source;
mod spans;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod trie;
mod view;

pub use guard::Verdict;
pub(crate) use guard::{Guard, has_text};
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
