//! Paths, as far as their letters tell where they lead.

use std::sync::Arc;

/// The longest path, in bytes: what Linux takes.
pub const PATH_MAX: usize = 4096;

/// A path on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// From the root on, without `.`, `..` and doubled slashes, where that can be told; else as it was sent, with
    /// what is not UTF-8 escaped.
    pub text: Arc<str>,
    /// `text` begins at the root and is what was meant, symbolic links aside.
    pub known: bool,
    /// It goes up from a directory that it names. Was that one a symbolic link, the server ends up elsewhere.
    pub climbs: bool,
}

impl Path {
    /// A path about which nothing is known.
    pub fn unknown() -> Self {
        Self {
            text: "".into(),
            known: false,
            climbs: false,
        }
    }

    /// What `raw` means for a server whose current directory is `cwd`.
    pub fn resolve(raw: &[u8], cwd: Option<&str>) -> Self {
        let Ok(given) = std::str::from_utf8(raw) else {
            return Self {
                text: printable(raw).into(),
                known: false,
                climbs: false,
            };
        };
        match (given.starts_with('/'), cwd) {
            (true, _) => Self::rooted(given.split('/')),
            (false, Some(cwd)) => Self::rooted(cwd.split('/').chain(given.split('/'))),
            (false, None) => Self {
                text: given.into(),
                known: false,
                climbs: given.split('/').any(|part| part == ".."),
            },
        }
    }

    fn rooted<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut kept: Vec<&str> = Vec::new();
        let mut climbs = false;
        for part in parts {
            match part {
                "" | "." => {}
                ".." => climbs |= kept.pop().is_some(),
                name => kept.push(name),
            }
        }
        Self {
            text: format!("/{}", kept.join("/")).into(),
            known: true,
            climbs,
        }
    }

    /// The entry `name` of this directory.
    pub fn entry(&self, name: &str) -> Self {
        let slash = if self.text.ends_with('/') { "" } else { "/" };
        Self {
            text: format!("{}{slash}{name}", self.text).into(),
            ..*self
        }
    }

    /// The directory that it is in, and its own name.
    pub fn split(&self) -> Option<(Self, &str)> {
        let (directory, name) = self.text.rsplit_once('/')?;
        let text = if directory.is_empty() { "/" } else { directory };
        let directory = Self {
            text: text.into(),
            ..*self
        };
        (!name.is_empty()).then_some((directory, name))
    }
}

/// Bytes for people to read: neither what is no UTF-8 nor what moves a cursor or turns the direction of writing
/// is left in them.
pub fn printable(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() || turns(c) {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02x}");
        }
    }
    text
}

/// Marks and overrides of direction, and what has no width.
fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
