//! What the helper of a gated shell says, line by line.

use std::collections::HashMap;

use bytes::Bytes;

use super::Place;
use super::seal::Key;

/// The longest line. Asks come in pieces that are shorter.
const MAX_LINE: usize = 8 << 10;
/// Asks that are under way in pieces at a time, and the longest of them.
const MAX_PARTIAL: usize = 64;
const MAX_ASK: usize = 128 << 10;
/// Bytes of all of those.
const MAX_PIECES: usize = 256 << 10;
/// What is kept of what was said by nobody who knows the secret: it is for whoever looks for the mistake.
const MAX_ODD: usize = 200;

/// A command that waits for its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Which of the pipes on the host the answer goes to.
    pub to: String,
    pub id: String,
    /// The process that asks.
    pub pid: u32,
    /// How many functions deep it stands.
    pub depth: u32,
    /// As bash writes it.
    pub text: Bytes,
    pub place: Place,
    /// It was longer, and this is its beginning: nobody may say yes to that.
    pub cut: bool,
    /// What a yes has to say, so that the shell takes it for this.
    pub seal: i64,
}

impl Ask {
    /// The verdict, as it goes to the helper.
    pub fn answer(&self, yes: bool) -> String {
        let Self { to, id, seal, .. } = self;
        match yes {
            true => format!("{to} {id} yes {seal}\n"),
            false => format!("{to} {id} no\n"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Everything that a shell needs is there.
    Made,
    /// It cannot be done on this host.
    No(String),
    Ask(Ask),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the gate of this shell said more than {MAX_LINE} bytes without an end")]
    Line,
    #[error("the gate of this shell has more than {MAX_PARTIAL} commands under way in pieces")]
    Partial,
    #[error("a command of this shell has more than {MAX_ASK} bytes")]
    Ask,
    #[error(
        "commands of this shell that are under way in pieces have more than {MAX_PIECES} bytes"
    )]
    Pieces,
    #[error("the gate of this shell said something that is nothing of it")]
    Malformed,
}

#[derive(Debug)]
pub(crate) struct Asks {
    secret: String,
    key: Key,
    line: Vec<u8>,
    partial: HashMap<String, Vec<u8>>,
    /// Bytes in there.
    pieces: usize,
    odd: String,
}

impl Asks {
    pub fn new(secret: &str, key: Key) -> Self {
        Self {
            secret: secret.into(),
            key,
            line: Vec::new(),
            partial: HashMap::new(),
            pieces: 0,
            odd: String::new(),
        }
    }

    /// Takes bytes of the helper; what they say is appended.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<Said>) -> Result<(), AskError> {
        for piece in data.split_inclusive(|b| *b == b'\n') {
            if self.line.len() + piece.len() > MAX_LINE {
                return Err(AskError::Line);
            }
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                out.extend(self.line(line)?);
            }
        }
        Ok(())
    }

    /// The shell is over: what was under way is not kept.
    pub fn clear(&mut self) {
        self.line = Vec::new();
        self.partial = HashMap::new();
        self.pieces = 0;
    }

    /// What was said that is not ours, such as an error of a host on which nothing could be started.
    pub fn odd(&self) -> &str {
        &self.odd
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Said>, AskError> {
        let ours = line.strip_prefix(self.secret.as_bytes());
        let Some(said) = ours.and_then(|rest| rest.strip_prefix(b" ")) else {
            self.keep_odd(line);
            return Ok(None);
        };
        if said == b"made" {
            return Ok(Some(Said::Made));
        }
        if let Some(why) = said.strip_prefix(b"no ") {
            return Ok(Some(Said::No(String::from_utf8_lossy(why).into_owned())));
        }
        let ask = said.strip_prefix(b"ask ").ok_or(AskError::Malformed)?;
        self.piece(ask)
    }

    pub fn keep_odd(&mut self, line: &[u8]) {
        if self.odd.is_empty() {
            let text = String::from_utf8_lossy(line);
            self.odd = text.trim().chars().take(MAX_ODD).collect();
        }
    }

    /// `to id pid depth more text`
    fn piece(&mut self, ask: &[u8]) -> Result<Option<Said>, AskError> {
        let mut words = ask.splitn(6, |b| *b == b' ');
        let mut word = || {
            let word = words.next().and_then(|word| str::from_utf8(word).ok());
            word.ok_or(AskError::Malformed)
        };
        let (to, id) = (word()?, word()?);
        let number = |word: &str| word.parse::<u32>().map_err(|_| AskError::Malformed);
        let (pid, depth) = (number(word()?)?, number(word()?)?);
        let more = number(word()?)? == 1;
        let text = words.next().ok_or(AskError::Malformed)?;
        // They stand in paths and lines on the host.
        let plain = |word: &str| {
            !word.is_empty()
                && word.len() <= 64
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !plain(to) || !plain(id) || to == "live" {
            return Err(AskError::Malformed);
        }
        if !self.partial.contains_key(id) && self.partial.len() >= MAX_PARTIAL {
            return Err(AskError::Partial);
        }
        let whole = self.partial.entry(id.to_owned()).or_default();
        whole.extend_from_slice(text);
        self.pieces += text.len();
        // Of what is longer, the shell tells one byte more, and that is the end.
        let cut = whole.len() > MAX_ASK;
        if whole.len() > MAX_ASK + 1 || cut && more {
            return Err(AskError::Ask);
        }
        if more {
            return match self.pieces > MAX_PIECES {
                true => Err(AskError::Pieces),
                false => Ok(None),
            };
        }
        let whole = self.partial.remove(id).unwrap_or_default();
        self.pieces -= whole.len();
        let asked = [format!("{to} {id} {pid} {depth} ").as_bytes(), &whole].concat();
        let seal = self.key.seal(&asked);
        let mut fields = whole.split(|b| *b == b'\t').map(unescaped);
        let directory = fields.next().ok_or(AskError::Malformed)?;
        let text = fields.next().ok_or(AskError::Malformed)?;
        let directory = String::from_utf8(directory).ok();
        let open = fields.map(|file| String::from_utf8_lossy(&file).into_owned());
        Ok(Some(Said::Ask(Ask {
            to: to.to_owned(),
            id: id.to_owned(),
            pid,
            depth,
            text: text.into(),
            place: Place {
                // The host's own word for it has no way up in it.
                directory: directory
                    .filter(|d| d.starts_with('/') && !d.split('/').any(|name| name == "..")),
                open: open.collect(),
            },
            cut,
            seal,
        })))
    }
}

/// `\n`, `\t` and `\\` are what the startup file writes for these.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(b't') => out.push(b'\t'),
                other => out.extend(other),
            },
            b => out.push(*b),
        }
    }
    out
}

#[cfg(fuzzing)]
pub(super) mod fuzzing {
    //! What is kept, as only this module can see it.

    use super::*;

    impl Asks {
        fn check(&self) {
            assert!(self.line.len() <= MAX_LINE && !self.line.contains(&b'\n'));
            assert!(self.partial.len() <= MAX_PARTIAL);
            assert!(
                self.partial
                    .values()
                    .all(|whole| whole.len() <= MAX_ASK + 1)
            );
            let pieces: usize = self.partial.values().map(Vec::len).sum();
            assert_eq!(pieces, self.pieces);
            assert!(pieces <= MAX_PIECES);
            assert!(self.odd.chars().count() <= MAX_ODD);
        }
    }

    /// What is said by these bytes in pieces of so many.
    pub fn read(data: &[u8], size: usize) -> (Vec<Said>, Option<AskError>, String) {
        let mut asks = Asks::new("s", Key::fixed(1, 2));
        let mut out = Vec::new();
        for piece in data.chunks(size) {
            if let Err(error) = asks.push(piece, &mut out) {
                return (out, Some(error), asks.odd);
            }
            asks.check();
        }
        (out, None, asks.odd)
    }
}
