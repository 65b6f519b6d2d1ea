//! What stands before a private key on its first line, and stands before every other line of it, too: the name of a
//! file, of a container, a line's number, a time, a frame.

use detect::is_base64;

use super::token::is_encoded;

/// How much of it is remembered. Before more than that no key is told from other text.
pub(super) const MOST: usize = 96;
/// Stands for spaces and digits, however many: they count, or fill up to where a column begins.
const FILL: u8 = b'0';
/// Of a key itself.
pub(super) const DASHES: &[u8] = b"-----";

/// Where a line begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    text: [u8; MOST],
    len: u8,
    /// There was more, or it is not known.
    over: bool,
}

impl Default for Lead {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl Lead {
    /// Nothing is known to stand there.
    pub const UNKNOWN: Self = Self {
        text: [0; MOST],
        len: 0,
        over: false,
    };

    /// A new line.
    pub fn begin(&mut self) {
        (self.len, self.over) = (0, false);
    }

    /// Nobody knows any more how this line looks.
    pub fn lose(&mut self) {
        self.over = true;
    }

    pub fn push(&mut self, c: u8) {
        if self.over {
            return;
        }
        let c = if is_fill(c) { FILL } else { c };
        let last = usize::from(self.len).checked_sub(1);
        if c == FILL && last.and_then(|last| self.text.get(last)) == Some(&FILL) {
            return;
        }
        match self.text.get_mut(usize::from(self.len)) {
            Some(slot) => (*slot, self.len) = (c, self.len + 1),
            None => self.over = true,
        }
    }

    /// What stood before this on the line, which it ends with.
    pub fn before(&self, what: &[u8]) -> Self {
        let mut end = Self::default();
        what.iter().for_each(|c| end.push(*c));
        let before = self.known().strip_suffix(end.known());
        // What is encoded, too, begins no line.
        let encoded = is_encoded(what);
        let is_word = |c: &u8| !encoded || !is_base64(*c);
        let before = before.map(|before| {
            let word = before.iter().rposition(is_word).map_or(0, |last| last + 1);
            before.get(..word).unwrap_or_default()
        });
        let before = before.filter(|before| !before.windows(DASHES.len()).any(|w| w == DASHES));
        let mut new = Self::default();
        if !self.over {
            before.unwrap_or_default().iter().for_each(|c| new.push(*c));
        }
        new
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has it nothing but spaces, digits, tabs and frames (Box Drawing and Block Elements, U+2500 to U+25BF)?
    pub fn is_nameless(&self) -> bool {
        let mut rest = self.known();
        while let Some((c, behind)) = rest.split_first() {
            rest = match (*c, behind) {
                (FILL | b'\t', _) => behind,
                (0xE2, [0x94..=0x96, 0x80..=0xBF, behind @ ..]) => behind,
                _ => return false,
            };
        }
        self.len > 0
    }

    /// The byte `c` where so much of a line was as here: how much then is; or it is not as here.
    pub fn next(&self, at: u8, c: u8) -> Option<u8> {
        let of = |at: u8| self.known().get(usize::from(at)).copied();
        match of(at) {
            Some(FILL) if is_fill(c) => Some(at),
            // As many as there are, or none.
            Some(FILL) => (of(at + 1)? == c).then_some(at + 2),
            Some(same) => (same == c).then_some(at + 1),
            None => None,
        }
    }

    /// Is so much of it all?
    pub fn is_whole(&self, at: u8) -> bool {
        let rest = self.known().get(usize::from(at)..).unwrap_or_default();
        matches!(rest, [] | [FILL])
    }

    fn known(&self) -> &[u8] {
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn is_fill(c: u8) -> bool {
    c == b' ' || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(line: &str, what: &str) -> Lead {
        let mut lead = Lead::default();
        line.bytes().for_each(|c| lead.push(c));
        lead.before(what.as_bytes())
    }

    /// How many bytes of the line are as in the first one.
    fn same(lead: &Lead, line: &str) -> usize {
        let mut at = 0;
        let going_on = line.bytes().map_while(|c| {
            at = lead.next(at, c)?;
            Some(())
        });
        going_on.count()
    }

    #[test]
    fn numbers_and_columns_differ() {
        let key = "-----BEGIN ";
        for (first, line, same_bytes) in [
            ("a.key:", "a.key:MII", 6),
            ("a.key:9:", "a.key:10:MII", 9),
            ("web-1  | ", "web-10 | MII", 9),
            (
                "Nov 28 00:59:59 h a[77]: ",
                "Nov 29 01:00:00 h a[77]: x",
                25,
            ),
            ("   1   \u{2502} ", "  12   \u{2502} x", 11),
            ("a.key:", "b.key:MII", 0),
            ("", "MII", 0),
        ] {
            let lead = lead(&format!("{first}{key}"), key);
            assert_eq!(same(&lead, line), same_bytes, "{first:?}");
        }
    }

    #[test]
    fn names_are_letters_of_any_script() {
        let key = "-----BEGIN ";
        for (before, nameless) in [
            ("   1   \u{2502} ", true),
            (" 7\t", true),
            ("\u{258f} ", true),
            ("", false),
            ("web-1 | ", false),
            ("\u{44f}-1 ", false),
            ("\u{65e5}\u{672c} ", false),
        ] {
            let lead = lead(&format!("{before}{key}"), key);
            assert_eq!(lead.is_nameless(), nameless, "{before:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_a_key_itself_is_none() {
        let key = "-----BEGIN ";
        assert!(lead(&format!("{}{key}", "x".repeat(90)), key).is_empty());
        assert!(!lead(&format!("{}{key}", "x".repeat(80)), key).is_empty());
        assert!(lead(&format!("-----END CERTIFICATE-----{key}"), key).is_empty());
        let mut lost = Lead::default();
        lost.push(b'x');
        lost.lose();
        assert!(lost.before(b"").is_empty());
    }
}
