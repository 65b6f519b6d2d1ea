//! What is looked for: secrets that are known, whatever they are encoded in, and tokens by their form.

use std::fmt;

use aho_corasick::AhoCorasick;
use aho_corasick::packed::{MatchKind, Searcher};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::token;
use super::trie::{Full, MAX_NODES, Trie};

/// Shorter ones would be found in ordinary text.
pub const MIN_SECRET: usize = 8;
pub const MAX_SECRET: usize = 2048;
/// How many secrets one set has at most.
pub const MAX_SECRETS: usize = 512;
/// Of what is longer when it is encoded, this much is replaced.
pub(super) const MAX_WORD: usize = 4096;
/// By so many bytes a secret is found in plain text: those that text has most rarely, and not far from its beginning.
const HEAD: usize = MIN_SECRET;
const FARTHEST: usize = 24;
/// The searchers look for so many of these first, and compare the others then.
const FINGERPRINT: usize = 4;
/// A secret is not let go of any more once so much of it has come; of a short one, half of it.
const STICKY: usize = 8;
/// What the searcher for few words takes.
const GROUP: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternsError {
    #[error(
        "secret number {index} has {got} bytes; between {MIN_SECRET} and {MAX_SECRET} can be masked"
    )]
    Length { index: usize, got: usize },
    #[error(
        "secret number {index} has control characters, which terminals do not show: it cannot be masked"
    )]
    Control { index: usize },
    #[error(
        "there are more than {MAX_SECRETS} secrets to mask, or they need more than {MAX_NODES} states; mask fewer"
    )]
    TooMany,
    #[error("searching for the patterns cannot be prepared: {0}")]
    Search(String),
}

impl From<Full> for PatternsError {
    fn from(_: Full) -> Self {
        Self::TooMany
    }
}

/// A set of patterns; made once, used by many maskers.
///
/// Invariant: what is kept of secrets is overwritten when it is dropped, but for four bytes of each of the ways in which it
/// may look: by those the searchers look, which are not ours.
pub struct Patterns {
    pub(super) trie: Trie,
    heads: Vec<Heads>,
    /// Which two bytes can stand beside each other in what a pattern is found by, one bit each.
    pairs: Zeroizing<Vec<u64>>,
    /// Which two that can begin with, and which three can stand in it.
    firsts: Few<2>,
    threes: Few<3>,
    /// Which three it can end with.
    lasts: Few<3>,
    /// How much of a pattern there is at most behind which it is certain to have been found.
    pub(super) longest_head: usize,
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns").finish_non_exhaustive()
    }
}

/// Some bytes beside each other, in order.
struct Few<const N: usize>(Zeroizing<Vec<[u8; N]>>);

impl<const N: usize> Few<N> {
    /// At most so many of them.
    fn new(most: usize, all: impl Iterator<Item = [u8; N]>) -> Self {
        // What grows leaves copies behind.
        let mut few = Zeroizing::new(Vec::with_capacity(most));
        few.extend(all.take(most));
        few.sort_unstable();
        few.dedup();
        Self(few)
    }

    fn has(&self, one: [u8; N]) -> bool {
        self.0.binary_search(&one).is_ok()
    }
}

/// Finds what patterns are found by in plain text.
struct Heads {
    searcher: Find,
    /// What it is really about: it looks for how they begin. So many are forms, the others of secrets, in order.
    words: Vec<Head>,
    forms: usize,
}

struct Head {
    word: Zeroizing<Vec<u8>>,
    secret: bool,
}

impl Head {
    /// What a searcher is told of it.
    fn sought(&self) -> &[u8] {
        match self.secret {
            true => self.word.get(..FINGERPRINT).unwrap_or(&self.word),
            false => &self.word,
        }
    }
}

enum Find {
    Few(Searcher),
    Any(AhoCorasick),
}

impl Heads {
    fn new(words: Vec<Head>) -> Result<Self, PatternsError> {
        let mut sought: Vec<&[u8]> = words.iter().map(Head::sought).collect();
        sought.sort_unstable();
        sought.dedup();
        let mut config = aho_corasick::packed::Config::new();
        let mut builder = config.match_kind(MatchKind::LeftmostFirst).builder();
        let searcher = match builder.extend(&sought).build() {
            Some(few) => Find::Few(few),
            // On processors without the instructions for it.
            None => {
                let any = AhoCorasick::new(&sought);
                Find::Any(any.map_err(|e| PatternsError::Search(e.to_string()))?)
            }
        };
        let forms = words.iter().take_while(|head| !head.secret).count();
        Ok(Self {
            searcher,
            words,
            forms,
        })
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let rest = text.get(from..)?;
            let at = from
                + match &self.searcher {
                    Find::Few(few) => few.find(rest)?.start(),
                    Find::Any(any) => any.find(rest)?.start(),
                };
            if self.begins(text.get(at..)?) {
                return Some(at);
            }
            from = at + 1;
        }
    }

    fn begins(&self, here: &[u8]) -> bool {
        let (forms, secrets) = self.words.split_at_checked(self.forms).unwrap_or_default();
        // All of secrets have one length.
        let next = secrets.partition_point(|head| head.word.as_slice() <= here);
        let last = next.checked_sub(1).and_then(|last| secrets.get(last));
        let mut both = last.into_iter().chain(forms);
        both.any(|head| here.starts_with(&head.word))
    }
}

impl Patterns {
    /// Tokens by their form, and these secrets.
    pub fn new(
        secrets: impl IntoIterator<Item = Zeroizing<Vec<u8>>>,
    ) -> Result<Self, PatternsError> {
        let mut trie = Trie::new();
        let mut heads: Vec<Head> = Vec::new();
        for (number, prefix) in token::prefixes() {
            trie.prefix(prefix, number)?;
            heads.push(Head {
                word: Zeroizing::new(prefix.to_vec()),
                secret: false,
            });
        }
        let forms = heads.len();
        let mut longest_head = heads.iter().map(|h| h.word.len()).max().unwrap_or(0);
        for (index, secret) in secrets.into_iter().enumerate() {
            if index >= MAX_SECRETS {
                return Err(PatternsError::TooMany);
            }
            for word in words(&secret, index)? {
                let sticky = STICKY.min(word.len() / 2);
                trie.secret(&word, u16::try_from(sticky).unwrap_or(u16::MAX))?;
                let (at, head) = rarest(&word);
                longest_head = longest_head.max(at + head.len());
                heads.push(Head {
                    word: Zeroizing::new(head.to_vec()),
                    secret: true,
                });
            }
        }
        trie.finish();
        if let Some(of_secrets) = heads.get_mut(forms..) {
            of_secrets.sort_unstable_by(|a, b| a.word.as_slice().cmp(&b.word));
        }
        heads.dedup_by(|a, b| a.word.as_slice() == b.word.as_slice());
        let mut pairs = Zeroizing::new(vec![0; (1 << 16) / 64]);
        for head in &heads {
            for pair in head.word.windows(2) {
                if let [a, b] = pair {
                    let bit = usize::from(*a) << 8 | usize::from(*b);
                    if let Some(word) = pairs.get_mut(bit / 64) {
                        *word |= 1_u64 << (bit % 64);
                    }
                }
            }
        }
        let words = || heads.iter().map(|head| head.word.as_slice());
        let bytes = words().map(<[u8]>::len).sum();
        let threes = words().flat_map(|word| word.windows(3));
        let threes = threes.filter_map(|three| three.try_into().ok());
        let (firsts, threes, lasts) = (
            Few::new(
                heads.len(),
                words().filter_map(|w| w.first_chunk().copied()),
            ),
            Few::new(bytes, threes),
            Few::new(heads.len(), words().filter_map(|w| w.last_chunk().copied())),
        );
        let mut groups = Vec::new();
        while !heads.is_empty() {
            let rest = heads.split_off(GROUP.min(heads.len()));
            groups.push(Heads::new(std::mem::replace(&mut heads, rest))?);
        }
        Ok(Self {
            trie,
            heads: groups,
            pairs,
            firsts,
            threes,
            lasts,
            longest_head,
        })
    }

    /// Can what a pattern is found by have begun in these bytes and go on with `after`? They are what stands before it in
    /// one piece; `next` is what stands behind it in the same piece, if that is certain.
    pub(super) fn joins(&self, before: &[u8], after: u8, next: Option<u8>) -> bool {
        let Some(&b) = before.last() else {
            return false;
        };
        let bit = usize::from(b) << 8 | usize::from(after);
        let word = self.pairs.get(bit / 64).copied().unwrap_or(u64::MAX);
        if word >> (bit % 64) & 1 == 0 {
            return false;
        }
        match before {
            [.., a, b] => {
                let goes_on = next.is_none_or(|next| self.threes.has([*b, after, next]));
                let three = [*a, *b, after];
                match goes_on {
                    true => self.firsts.has([*b, after]) || self.threes.has(three),
                    false => self.lasts.has(three),
                }
            }
            _ => true,
        }
    }

    /// Where the next one may be found in one piece, for each group: what is before `from` is out of date.
    pub(super) fn look(&self, text: &[u8], from: usize, found: &mut Vec<usize>) -> usize {
        found.resize(self.heads.len(), 0);
        let rest = text.get(from..).unwrap_or_default();
        for (heads, at) in self.heads.iter().zip(found.iter_mut()) {
            if *at <= from {
                *at = heads.find(rest).map_or(usize::MAX, |i| from + i);
            }
        }
        found.iter().copied().min().unwrap_or(usize::MAX)
    }
}

/// By which bytes a secret is found, and how far from its beginning they stand.
fn rarest(word: &[u8]) -> (usize, &[u8]) {
    let cost = |head: &[u8]| -> u32 { head.iter().take(FINGERPRINT).map(|c| common(*c)).sum() };
    let heads = (0..=FARTHEST).zip(word.windows(HEAD));
    heads
        .min_by_key(|(_, head)| cost(head))
        .unwrap_or((0, word))
}

/// How common a byte is in what machines write. Only the order counts, and only for speed.
fn common(c: u8) -> u32 {
    match c {
        b'0'..=b'9' | b' ' => 12,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 9,
        b'a'..=b'z' => 7,
        b':' | b'.' | b'/' | b'-' | b'=' | b'_' | b'"' | b',' => 6,
        b'A'..=b'Z' => 4,
        b'!'..=b'~' => 2,
        _ => 1,
    }
}

/// How a secret may look: as it is, in base 64 wherever it begins in what was encoded, in a URL, as hexadecimal
/// digits, in a string of JSON.
pub(super) fn words(secret: &[u8], index: usize) -> Result<Vec<Zeroizing<Vec<u8>>>, PatternsError> {
    let got = secret.len();
    // Lines of a secret are found however they are broken, so it has none.
    let mut plain = Zeroizing::new(Vec::with_capacity(got));
    let lines = secret.split(|c| matches!(c, b'\r' | b'\n'));
    lines.for_each(|line| plain.extend_from_slice(line));
    if got > MAX_SECRET || plain.len() < MIN_SECRET {
        return Err(PatternsError::Length { index, got });
    }
    if has_control(&plain) {
        return Err(PatternsError::Control { index });
    }
    let mut out = vec![plain];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for shift in 0..3 {
            out.push(encoded(&engine, secret, shift));
        }
    }
    for table in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        out.push(hex(secret, table));
        out.push(url(secret, table));
    }
    out.push(json(secret, b""));
    out.push(json(secret, b"/"));
    out.push(json(secret, b"<>&"));
    for word in &mut out {
        word.truncate(MAX_WORD);
    }
    out.retain(|word| word.len() >= MIN_SECRET);
    out.sort_unstable_by(|a, b| a.as_slice().cmp(b));
    out.dedup_by(|a, b| a.as_slice() == b.as_slice());
    Ok(out)
}

/// Control characters of one byte, or of two (U+0080 to U+009F).
fn has_control(text: &[u8]) -> bool {
    let one = text.iter().any(|c| c.is_ascii_control() && *c != b'\t');
    one || text
        .windows(2)
        .any(|two| matches!(two, [0xC2, 0x80..=0x9F]))
}

/// The characters that the secret alone decides, when `shift` bytes of something else stand before it.
fn encoded(engine: &impl Engine, secret: &[u8], shift: usize) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(vec![0; shift]);
    padded.extend_from_slice(secret);
    let text = Zeroizing::new(engine.encode(&*padded));
    let first = (shift * 8).div_ceil(6);
    // The last character has bits of what follows, unless the bits come out even.
    let last = padded.len() * 8 / 6;
    Zeroizing::new(
        text.as_bytes()
            .get(first..last)
            .unwrap_or_default()
            .to_vec(),
    )
}

fn hex(secret: &[u8], table: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 2));
    for c in secret {
        out.extend(digits(*c, table));
    }
    out
}

/// What RFC 3986 does not reserve stands for itself.
fn url(secret: &[u8], table: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 3));
    for c in secret {
        if c.is_ascii_alphanumeric() || b"-._~".contains(c) {
            out.push(*c);
        } else {
            out.push(b'%');
            out.extend(digits(*c, table));
        }
    }
    out
}

/// Some writers put a backslash before slashes, others numbers for what means something in HTML.
fn json(secret: &[u8], also: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
    for c in secret {
        match c {
            b'"' | b'\\' => out.extend([b'\\', *c]),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'/' if also.contains(c) => out.extend(b"\\/"),
            _ if also.contains(c) => {
                out.extend(b"\\u00");
                out.extend(digits(*c, b"0123456789abcdef"));
            }
            _ => out.push(*c),
        }
    }
    out
}

fn digits(c: u8, table: &[u8; 16]) -> [u8; 2] {
    let digit = |n: u8| table.get(usize::from(n)).copied().unwrap_or(b'0');
    [digit(c >> 4), digit(c & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A searcher is given four bytes of a secret, and finds all of what it is found by and nothing else.
    #[test]
    fn a_searcher_knows_little_of_a_secret() {
        let secret = b"hunter22-and-more".to_vec();
        let patterns = Patterns::new([Zeroizing::new(secret.clone())]).unwrap();
        let heads = || patterns.heads.iter().flat_map(|heads| &heads.words);
        let of_secrets: Vec<&Head> = heads().filter(|head| head.secret).collect();
        assert!(of_secrets.len() > 5 && of_secrets.iter().all(|h| h.word.len() == HEAD));
        assert!(of_secrets.iter().all(|h| h.sought().len() == FINGERPRINT));
        assert!(
            heads()
                .filter(|h| !h.secret)
                .all(|h| h.sought() == h.word.as_slice())
        );
        for head in of_secrets {
            let alike = [head.sought(), b"\0\0\0\0"].concat();
            let text = [&alike[..], b"..", &alike, b".", &head.word, b"."].concat();
            let mut found = Vec::new();
            let at = patterns.look(&text, 0, &mut found);
            assert_eq!(at, 2 * alike.len() + 3);
            assert_eq!(patterns.look(&alike, 0, &mut Vec::new()), usize::MAX);
        }
    }
}
