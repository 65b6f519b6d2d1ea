//! Puts marks in the place of what is found.

use super::{Detectors, Findings};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Gives the text to `put` in pieces, with every finding replaced by its mark. Gives nothing, and
/// false, when there is no finding.
pub fn redact(on: Detectors, text: &[u8], form: Form, mut put: impl FnMut(&[u8])) -> bool {
    let mut at = 0;
    let mut found = false;
    let mut strings = Strings::default();
    for find in Findings::new(on, text) {
        found = true;
        // A number outside a string of JSON: a bare word would break the document.
        let bare = form == Form::Json && {
            strings.skip(text.get(..find.start).unwrap_or_default());
            !strings.inside
        };
        let before = text.get(at..find.start).unwrap_or_default();
        put(match before {
            [before @ .., b'-'] if bare => before,
            before => before,
        });
        put(match bare {
            true => b"null",
            false => find.what.mark().as_bytes(),
        });
        at = find.end;
    }
    if found {
        put(text.get(at..).unwrap_or_default());
    }
    found
}

/// Knows whether a position of a JSON text is inside a string.
#[derive(Default)]
struct Strings {
    at: usize,
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Goes on to the end of `text`, of which the part before has been seen.
    fn skip(&mut self, text: &[u8]) {
        for byte in text.get(self.at..).unwrap_or_default() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.inside => self.escaped = true,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
        self.at = self.at.max(text.len());
    }
}
