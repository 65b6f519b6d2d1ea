//! Tokens and blocks by their form, one byte after another.
//!
//! What tells a token (its prefix) is shown; what follows is held back until it is long enough, and from then on
//! replaced as it comes. Whatever makes a form fail lets go of what was held.

use detect::{ASSIGNED, ASSIGNMENTS, GAP_WORD, TOKENS, Token, WIDEST_GAP};
use detect::{is_base64, is_base64url, is_between, is_nucleotide};

use self::key::DASHES;
use super::source::Around;

mod key;

/// The longest part of a token that is held back. What is longer is no longer in doubt.
pub(super) const MAX_TOKEN: u16 = 4096;
/// A token is not let go of any more once this much of it has come behind its prefix.
pub(super) const STICKY: u16 = 4;
/// What may stand between two long lines of a private key at most, each of those that go on together. Behind more than that
/// the rest is shown.
const MAX_BLOCK: u16 = u16::MAX;
const MAX_TITLE: u16 = 80;
/// Of Vault. The detectors do not know them: nearly every text has a full stop, so each would be searched for them.
pub(super) const VAULT: &[Token] = &[
    Token {
        prefix: b"hvs.",
        least: 24,
        most: 255,
        alphabet: is_base64url,
    },
    Token {
        prefix: b"hvb.",
        least: 24,
        most: 255,
        alphabet: is_base64url,
    },
];
const BLOCK: &[u8] = b"-----BEGIN ";
const TITLE: &[u8] = b"PRIVATE KEY";
/// `openssh-key-v1` in base 64: a key of OpenSSH whose first line was cut off.
const HEADLESS: &[u8] = b"b3BlbnNzaC1rZXktdjE";
/// `-----BEGIN ` in base 64, by how many bytes of something else stand before it in what was encoded: what of it is
/// the same whatever they are, and what of the last byte has been read with it: how many bits, and which.
const ENCODED: [(&[u8], u8, u8); 3] = [
    (b"LS0tLS1CRUdJTi", 4, 2),
    (b"0tLS0tQkVHSU4g", 0, 0),
    (b"tLS0tLUJFR0lOI", 6, 8),
];
/// Prefixes of tokens that names end with, too.
const WORDS: [&[u8]; 4] = [b"xapp-", b"sk-ant-", b"sk-proj-", b"tskey-"];
/// Words behind which a key of WireGuard stands, how long it is, and what of it is no word that a line ends with
/// (`PrivateKey: true`). The detectors do not know them, either.
const WIREGUARD: &[&[u8]] = &[b"PrivateKey", b"PresharedKey"];
const WIREGUARD_KEY: usize = 44;
const LEAST_KEY: u16 = 16;
const JWT: &[u8] = b"eyJ";
/// Characters of a token's header behind `eyJ`, and of its payload.
const LEAST_HEADER: u16 = 7;
/// A header is no secret. Of one that has so many it may be base 64 of any JSON, and is shown; what follows it is not.
const MAX_HEADER: u16 = 1024;
const LEAST_PAYLOAD: u16 = 2;
/// A space may stand for the end of a line that has so many characters.
const LEAST_LINE: u8 = 16;
/// So many characters in a row are hardly anything else than a line of a key.
const SURE_LINE: u8 = 48;

/// Which form it is.
#[derive(Debug, Clone, Copy)]
enum Form {
    Run(&'static Token),
    Jwt,
    Assigned,
    Wireguard(&'static [u8]),
    Block,
    Headless,
    Encoded,
}

/// All forms by number, with what they begin with.
pub(super) fn prefixes() -> impl Iterator<Item = (u8, &'static [u8])> {
    let runs = TOKENS.iter().chain(VAULT).map(|token| token.prefix);
    let others = [JWT, BLOCK, HEADLESS].into_iter();
    let encoded = ENCODED.iter().map(|(prefix, ..)| *prefix);
    let all = runs
        .chain(others)
        .chain(encoded)
        .chain(ASSIGNMENTS.iter().chain(WIREGUARD).copied());
    (0..=u8::MAX).zip(all)
}

fn form(number: u8) -> Form {
    let number = usize::from(number);
    let vault = number.wrapping_sub(TOKENS.len());
    match TOKENS.get(number).or_else(|| VAULT.get(vault)) {
        Some(token) => Form::Run(token),
        None => match vault.wrapping_sub(VAULT.len()) {
            0 => Form::Jwt,
            1 => Form::Block,
            2 => Form::Headless,
            3..=5 => Form::Encoded,
            named => match WIREGUARD.get(named.wrapping_sub(6 + ASSIGNMENTS.len())) {
                Some(name) => Form::Wireguard(name),
                None => Form::Assigned,
            },
        },
    }
}

/// May the form begin where these bytes have been read last, with its prefix? Of what is certain by its length alone, yes.
/// What a prefix of mere letters begins, or one that ends words (`task-proj-`), stands behind no letter or digit that is
/// not of an escape of its own.
pub(super) fn is_alone(number: u8, last: u128) -> bool {
    let prefix = match form(number) {
        Form::Run(token) if token.is_exact() || WORDS.contains(&token.prefix) => token.prefix,
        Form::Wireguard(name) => name,
        _ => return true,
    };
    let before = last >> (u8::BITS as usize * prefix.len());
    let c = |back: u32| (before >> (u8::BITS * back)).to_le_bytes()[0];
    !c(0).is_ascii_alphanumeric() || is_escape(c)
}

/// Is the letter before a place (0 is the last one) the end of what stands for another character (`\n`, `\u003d`, `%3D`,
/// `^I`, `M-i`), or for a colour (`[0m`), which may begin before what is known?
fn is_escape(c: impl Fn(u32) -> u8) -> bool {
    let hex = |n: u32| (0..n).all(|back| c(back).is_ascii_hexdigit());
    let colour = || {
        let numbers = (1..16).find(|back| !matches!(c(*back), b'0'..=b'9' | b';'));
        let before = numbers.map_or(0, &c);
        matches!(c(0), b'm' | b'K') && (before == b'[' || before == 0 && numbers > Some(1))
    };
    matches!(c(1), b'\\' | b'^')
        || c(2) == b'M' && c(1) == b'-'
        || matches!(c(2), b'%' | b'=') && hex(2)
        || c(4) == b'%' && c(3) == b'2' && c(2) == b'5' && hex(2)
        || c(3) == b'\\' && c(2) == b'x' && hex(2)
        || matches!(c(3), b'\\' | b'#') && hex(3)
        || c(5) == b'\\' && c(4) == b'u' && hex(4)
        || colour()
}

/// How the place before a byte looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    None,
    /// The line was full: what follows belongs to it.
    Wrap,
    Break,
}

/// A form that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Thread {
    number: u8,
    phase: u8,
    kind: u8,
    run: u8,
    count: u16,
    /// How many shown bytes are held for it.
    pub held: u16,
    /// Of a private key: which of the remembered beginnings of lines is its own, whether this line has it, whether one
    /// had it that was long enough, and how many lines of others came since.
    pub lead: u8,
    same: bool,
    led: bool,
    others: u8,
    /// How many more keys have begun on lines that begin as its own, how often as much has come as one key can have since
    /// one of them ended, and how much was seen of this line's title.
    keys: u8,
    full: u8,
    title: u8,
    /// A line of it has come that does not begin as its first one, or nothing stands before that one. A last line has come
    /// of which nobody knows that it was its own.
    bare: bool,
    doubt: bool,
    /// The line of its first one has not ended.
    first: bool,
    /// This line has gone on in another column.
    column: bool,
    /// Which of the sources whose lines begin so have begun a key, and which one ends it on this line.
    pub open: u16,
    ends: u16,
}

/// What a byte means for a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Goes(Thread),
    /// So many bytes, the last of them this one, are replaced.
    Hides(Thread, u16),
    /// The same, and it is over.
    Ends(u16),
    /// It is over before this byte; so many before it are replaced.
    Over(u16),
}

const OVER: Next = Next::Over(0);
/// Phases of a JSON Web Token.
const HEADER: u8 = 0;
const OPENS: u8 = 1;
const PAYLOAD: u8 = 2;
const SIGNATURE: u8 = 3;
const ENDLESS: u8 = 4;
/// The kind of a token of exact length that is no sequence of nucleotides.
const KEY: u8 = 1;
/// What begins as the first line of a key in base 64 may be a line of that which stands behind nothing, or the rest of one.
const OPEN: u8 = 1;
const FULL: u8 = 2;
/// The phase of a private key behind the first line, and kinds of places there.
const BODY: u8 = 12;
const LEADING: u8 = 0;
const LINE: u8 = 1;
const NAMED: u8 = 2;
/// As before the first line, which is still told from what may stand there anyway.
const SAME: u8 = 7;

impl Thread {
    /// Behind its prefix.
    pub fn new(number: u8) -> Self {
        let new = Self {
            number,
            ..Self::default()
        };
        match form(number) {
            Form::Headless => Self {
                phase: BODY,
                kind: LINE,
                run: LEAST_LINE,
                bare: true,
                ..new
            },
            Form::Encoded => {
                let all = prefixes().find(|(n, _)| *n == number);
                let of = ENCODED.iter().find(|e| all.is_some_and(|(_, p)| p == e.0));
                let (_, kind, run) = of.copied().unwrap_or_default();
                Self { kind, run, ..new }
            }
            _ => new,
        }
    }

    /// Of a private key, what its first line begins with.
    pub fn begins_lines(&self) -> Option<&'static [u8]> {
        match form(self.number) {
            Form::Block => Some(BLOCK),
            Form::Headless => Some(HEADLESS),
            Form::Encoded => ENCODED.map(|e| e.0).into_iter().find(|p| {
                let mut all = prefixes();
                all.any(|(number, prefix)| number == self.number && prefix == *p)
            }),
            _ => None,
        }
    }

    /// With no room for it: so many bytes are hidden instead, and what goes on behind them in one piece.
    pub fn most(&self) -> u16 {
        match form(self.number) {
            Form::Run(_) | Form::Jwt | Form::Assigned | Form::Wireguard(_) => MAX_TOKEN,
            Form::Block | Form::Headless | Form::Encoded => MAX_BLOCK,
        }
    }

    /// Does this one hide, for as long as it goes on, all that the other one would?
    pub fn outlasts(&self, other: &Self) -> bool {
        if other.waits() && (other.doubt || other.others > 0) {
            return true;
        }
        let alphabet = |thread: &Self| match form(thread.number) {
            Form::Run(token) if !token.is_exact() && usize::from(thread.count) >= token.least => {
                Some(token.alphabet)
            }
            _ => None,
        };
        match (alphabet(self), alphabet(other)) {
            (Some(wide), Some(narrow)) => (0..=u8::MAX).all(|c| wide(c) || !narrow(c)),
            _ => false,
        }
    }

    /// Says one that goes on already all that a new one of the same form could say?
    pub fn covers(&self, new: &Self) -> bool {
        if self.number != new.number {
            return false;
        }
        match form(self.number) {
            Form::Run(token) => !token.is_exact(),
            Form::Jwt => matches!(self.phase, HEADER | ENDLESS),
            // Of another source there are other lines.
            Form::Block | Form::Headless | Form::Encoded => {
                self.phase == BODY && self.lead == new.lead
            }
            Form::Assigned | Form::Wireguard(_) => false,
        }
    }

    /// Is it too likely to let go of what is held? Not where all that has come is a header and the line or the stream
    /// has ended, nor a sequence of nucleotides.
    pub fn is_sticky(&self, ended: bool) -> bool {
        let least = match self.is_block() && self.others > 0 && self.least() > LEAST_LINE {
            // A word in the line of another one, as a prompt has.
            true => LEAST_LINE.into(),
            false => STICKY,
        };
        self.held >= least
            && match form(self.number) {
                Form::Jwt => !(ended && self.phase <= OPENS),
                Form::Run(token) => !token.is_exact() || self.kind == KEY,
                Form::Wireguard(_) => !ended || self.held >= LEAST_KEY,
                _ => true,
            }
    }

    fn is_block(&self) -> bool {
        self.phase == BODY && matches!(form(self.number), Form::Block | Form::Headless)
    }

    /// Is nothing known of a key but its first line, which stands behind something, or is it perhaps over?
    fn waits(&self) -> bool {
        self.doubt || !self.led && !self.bare
    }

    /// What in a row is no word any more, but a line of it.
    fn least(&self) -> u8 {
        let word = self.first && self.kind == LINE;
        match self.waits() && !self.same && !word {
            true => SURE_LINE,
            false => LEAST_LINE,
        }
    }

    /// `edge` is as `gap` is, and a full line's also where something stands before the byte that is not shown.
    pub fn next(self, c: u8, (gap, edge): (Gap, Gap), around: Around<'_>) -> Next {
        match form(self.number) {
            Form::Run(token) if token.is_exact() => self.exact(token, c, edge),
            Form::Run(token) => self.run(token, c, gap),
            Form::Jwt => self.jwt(c, gap),
            Form::Assigned => self.assigned(ASSIGNED, c, edge),
            Form::Wireguard(_) => self.assigned(WIREGUARD_KEY, c, edge),
            Form::Block | Form::Headless if self.phase == BODY => self.block(c, gap, around),
            Form::Block | Form::Headless => self.title(c, gap, around),
            Form::Encoded if self.phase == BODY => self.encoded(c, gap, around),
            Form::Encoded => self.encoded_title(c, gap, around),
        }
    }

    fn run(mut self, token: &Token, c: u8, gap: Gap) -> Next {
        let enough = usize::from(self.count) >= token.least;
        if !(token.alphabet)(c) || (enough && gap == Gap::Break) {
            return OVER;
        }
        self.count = self.count.saturating_add(1);
        self.held += 1;
        self.decide(usize::from(self.count) >= token.least)
    }

    /// Nothing of its alphabet may follow, and it is no sequence of nucleotides.
    fn exact(mut self, token: &Token, c: u8, gap: Gap) -> Next {
        if usize::from(self.count) == token.least {
            // Behind a full line, nobody knows whether it goes on.
            let alone = gap != Gap::None || !c.is_ascii_alphanumeric();
            let hides = alone && self.kind == KEY;
            return Next::Over(if hides { self.held } else { 0 });
        }
        if !(token.alphabet)(c) {
            return OVER;
        }
        if !is_nucleotide(c) {
            self.kind = KEY;
        }
        self.count += 1;
        self.held += 1;
        Next::Goes(self)
    }

    fn decide(mut self, hides: bool) -> Next {
        if !hides {
            return Next::Goes(self);
        }
        let held = self.held;
        self.held = 0;
        Next::Hides(self, held)
    }

    fn jwt(mut self, c: u8, gap: Gap) -> Next {
        self.held += 1;
        if self.held >= MAX_TOKEN {
            self.phase = ENDLESS;
        }
        let letter = is_base64url(c);
        match self.phase {
            HEADER if letter && self.count >= MAX_HEADER => self.held = 0,
            HEADER | PAYLOAD if letter => self.count = self.count.saturating_add(1),
            HEADER if c == b'.' && self.count >= LEAST_HEADER => self.phase = OPENS,
            OPENS if c == b'e' => (self.phase, self.count) = (PAYLOAD, 1),
            PAYLOAD if c == b'.' && self.count >= LEAST_PAYLOAD => self.phase = SIGNATURE,
            SIGNATURE if letter && gap != Gap::Break => {}
            ENDLESS if letter || c == b'.' => {}
            _ => return OVER,
        }
        self.decide(self.phase >= SIGNATURE)
    }

    /// `run` counts what stands between, `kind` what was seen of the word that may be among it.
    fn assigned(mut self, length: usize, c: u8, gap: Gap) -> Next {
        let between = is_between(c) && usize::from(self.run) < WIDEST_GAP;
        let word = GAP_WORD.get(usize::from(self.kind));
        match self.phase {
            0 if between => {
                self.run += 1;
                Next::Goes(self)
            }
            // The word, and not what is assigned.
            1 if between
                && usize::from(self.kind) == GAP_WORD.len()
                && usize::from(self.count) == GAP_WORD.len() =>
            {
                (self.phase, self.count, self.held) = (0, 0, 0);
                (self.run, self.kind) = (self.run + 1, u8::MAX);
                Next::Goes(self)
            }
            1 if usize::from(self.count) == length => {
                let alone = gap != Gap::None || !is_base64(c);
                Next::Over(if alone { self.held } else { 0 })
            }
            0 if self.run == 0 => OVER,
            0 | 1 if is_base64(c) => {
                let on = word.is_some_and(|w| w.eq_ignore_ascii_case(&c));
                if on && usize::from(self.count) == usize::from(self.kind) {
                    self.kind += 1;
                }
                self.phase = 1;
                self.count += 1;
                self.held += 1;
                Next::Goes(self)
            }
            _ => OVER,
        }
    }

    /// The same in base 64; `kind` bits of a byte have been read, which are `run`.
    fn encoded_title(mut self, c: u8, gap: Gap, around: Around<'_>) -> Next {
        // How it goes on behind what stands before its next line, nobody knows.
        if gap != Gap::None && is_title(self.phase) && !around.lead().is_empty() {
            (self.phase, self.kind, self.run) = (BODY, LINE, LEAST_LINE);
            (self.title, self.count) = (0, 0);
            return self.encoded(c, gap, around);
        }
        self.count += 1;
        // Lines may be indented, and end as in strings of JSON.
        let indent = (self.first || gap != Gap::None) && matches!(c, b' ' | b'\t');
        let escape = c == b'\\' || self.bare && matches!(c, b'n' | b'r');
        (self.first, self.bare) = (indent, c == b'\\');
        if (indent || escape) && self.count <= MAX_TITLE {
            return Next::Goes(self);
        }
        let Some(six) = digit(c).filter(|_| self.count <= MAX_TITLE) else {
            return OVER;
        };
        let (bits, read) = (self.kind + 6, u16::from(self.run) << 6 | u16::from(six));
        let low = |bits: u16| bits.to_be_bytes()[1];
        let Some(more) = bits.checked_sub(8) else {
            (self.kind, self.run) = (bits, low(read));
            return Next::Goes(self);
        };
        (self.kind, self.run) = (more, low(read & ((1 << more) - 1)));
        match low(read >> more) {
            c if !is_title(self.phase) => self.phase = titled(self.phase, c),
            // Of a key of GnuPG.
            b' ' | b'A'..=b'Z' if self.title == 0 => {}
            b'-' if self.title < DASHES => self.title += 1,
            // Behind NUL, only if it goes on as keys do: programs have the words alone.
            0 if self.title == DASHES => self.title += 1,
            c @ (b'\t'..=b'\r' | b' '..=b'~')
                if self.title == DASHES || self.title > DASHES && matches!(c, b'M' | b'b') =>
            {
                (self.phase, self.kind, self.run) = (BODY, LINE, LEAST_LINE);
                (self.title, self.count) = (0, 0);
            }
            _ => return OVER,
        }
        Next::Goes(self)
    }

    /// Behind that: what goes on on the next line, which begins as the first one did, is hidden once that is too long for a
    /// word. `title` says what the line may be whose beginning is as that of the first one so far.
    fn encoded(mut self, c: u8, gap: Gap, around: Around<'_>) -> Next {
        let lead = around.lead();
        if self.count == MAX_BLOCK {
            return OVER;
        }
        self.count += 1;
        let begins = lead.next(0, c).is_some();
        if gap == Gap::Break || gap == Gap::Wrap && begins {
            if self.run < LEAST_LINE {
                return OVER;
            }
            self.title = if gap == Gap::Wrap { FULL } else { OPEN };
            (self.kind, self.run) = (if begins { SAME } else { LEADING }, 0);
        }
        if self.kind == SAME {
            if let Some(run) = lead.next(self.run, c) {
                // Blanks may be those that any line is indented by.
                let blank = matches!(c, b' ' | b'\t');
                if !is_base64(c) && !blank {
                    (self.title, self.held) = (0, 0);
                }
                let held = self.title > 0 && !blank;
                (self.run, self.held) = (run, self.held + u16::from(held));
                return Next::Goes(self);
            }
            let held = u8::try_from(self.held).unwrap_or(LEAST_LINE);
            (self.kind, self.run) = match (lead.is_whole(self.run), self.title) {
                (true, _) => (LEADING, 0),
                (_, FULL) => (LEADING, held.max(LEAST_LINE - 1)),
                (_, OPEN) => (LEADING, held),
                _ => return OVER,
            };
            self.held = if self.run > 0 { self.held } else { 0 };
        }
        match self.kind {
            // As lines end in strings of JSON.
            LINE if c == b'\\' => self.kind = NAMED,
            NAMED if matches!(c, b'n' | b'r' | b'\\') => self.kind = LINE,
            LEADING if self.run == 0 && matches!(c, b' ' | b'\t') => {}
            LINE if is_base64(c) => {
                (self.run, self.count) = (self.run.saturating_add(1), 0);
                return Next::Hides(self, 1);
            }
            LEADING if is_base64(c) => {
                (self.run, self.held) = (self.run.saturating_add(1), self.held + 1);
                if self.run >= LEAST_LINE {
                    (self.kind, self.run) = (LINE, LEAST_LINE);
                    return self.decide(true);
                }
            }
            _ => return OVER,
        }
        Next::Goes(self)
    }
}

/// How much was seen of `PRIVATE KEY`, behind one more byte.
fn titled(seen: u8, c: u8) -> u8 {
    match TITLE.get(usize::from(seen)) {
        None => seen,
        Some(next) if *next == c => seen + 1,
        Some(_) => u8::from(TITLE.first() == Some(&c)),
    }
}

fn is_title(seen: u8) -> bool {
    usize::from(seen) == TITLE.len()
}

/// Is it a private key's first line in base 64? In that, something else may stand before it.
pub(super) fn is_encoded(prefix: &[u8]) -> bool {
    ENCODED.iter().any(|(encoded, ..)| *encoded == prefix)
}

/// May a token have it?
pub(super) fn is_part(c: u8) -> bool {
    is_base64(c) || is_base64url(c) || c == b'.'
}

/// What a digit of base 64 stands for.
fn digit(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
