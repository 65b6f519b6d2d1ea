//! From a word as it is written to the words that a program gets: braces are expanded, quotes removed. What only a
//! running shell knows stays as it is written, and is said to be so.

use crate::Word;
use crate::ast::{Part, Word as Written};
use crate::parse::is_name;
use crate::reason::Opaque;

/// How many words one may become.
const MAX_EXPANDED: usize = 256;

#[derive(Clone, Copy, PartialEq)]
enum Atom<'a> {
    Char(char, bool),
    Part(&'a str, bool),
}

impl Atom<'_> {
    fn is(self, c: char) -> bool {
        self == Atom::Char(c, false)
    }
}

/// All words, in order.
pub(crate) fn words(written: &[Written]) -> Result<Vec<Word>, Opaque> {
    let mut out = Vec::new();
    for word in written {
        out.extend(expand(word)?.into_iter().map(|(word, _)| word));
        if out.len() > MAX_EXPANDED * 16 {
            return Err(Opaque::TooMany(MAX_EXPANDED * 16));
        }
    }
    Ok(out)
}

/// Without braces: for assignments, redirections and the like.
pub(crate) fn single(word: &Written) -> Word {
    finish(&atoms(word))
}

/// Each word that braces make of this one, with its parts as they were written, for `canonical`.
pub(crate) fn expand(word: &Written) -> Result<Vec<(Word, Vec<Part>)>, Opaque> {
    let atoms = atoms(word);
    let listed = atoms.iter().any(|a| a.is('{')) && atoms.iter().any(|a| a.is('}'));
    let several = atoms.iter().any(|a| a.is(',') || a.is('.'));
    if !listed || !several {
        return Ok(vec![(finish(&atoms), word.parts.clone())]);
    }
    let alternatives = braces(&atoms, 0)?;
    if let [same] = &alternatives[..]
        && *same == atoms
    {
        return Ok(vec![(finish(&atoms), word.parts.clone())]);
    }
    alternatives
        .into_iter()
        .map(|atoms| {
            if atoms.is_empty() {
                // Bash drops such a word, unless a quote stands in it.
                return Err(unread("an empty alternative between braces"));
            }
            let parts = parts(&atoms, word);
            Ok((finish(&atoms), parts))
        })
        .collect()
}

fn unread(what: &'static str) -> Opaque {
    Opaque::Unread { at: 0, what }
}

fn atoms(word: &Written) -> Vec<Atom<'_>> {
    let mut out = Vec::new();
    for part in &word.parts {
        match part {
            Part::Lit { text, quoted } => out.extend(text.chars().map(|c| Atom::Char(c, *quoted))),
            Part::Param { raw, quoted, .. }
            | Part::Subst { raw, quoted, .. }
            | Part::Arith { raw, quoted } => out.push(Atom::Part(raw, *quoted)),
            Part::Process { raw, .. } => out.push(Atom::Part(raw, true)),
        }
    }
    out
}

fn parts(atoms: &[Atom<'_>], word: &Written) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    for atom in atoms {
        match (atom, out.last_mut()) {
            (Atom::Char(c, q), Some(Part::Lit { text, quoted })) if quoted == q => text.push(*c),
            (Atom::Char(c, q), _) => out.push(Part::Lit {
                text: (*c).into(),
                quoted: *q,
            }),
            (Atom::Part(raw, quoted), _) => {
                let is = |p: &&Part| p.raw() == Some(raw) && p.is_quoted() == *quoted;
                out.extend(word.parts.iter().find(is).cloned())
            }
        }
    }
    out
}

impl Part {
    fn is_quoted(&self) -> bool {
        match self {
            Self::Lit { quoted, .. }
            | Self::Param { quoted, .. }
            | Self::Subst { quoted, .. }
            | Self::Arith { quoted, .. } => *quoted,
            Self::Process { .. } => true,
        }
    }

    fn raw(&self) -> Option<&str> {
        match self {
            Self::Lit { .. } => None,
            Self::Param { raw, .. }
            | Self::Subst { raw, .. }
            | Self::Arith { raw, .. }
            | Self::Process { raw, .. } => Some(raw),
        }
    }
}

fn finish(atoms: &[Atom<'_>]) -> Word {
    let mut word = Word::default();
    let mut bracket = false;
    let mut before = None;
    for atom in atoms {
        let behind = before.is_none_or(|b: &Atom<'_>| b.is('=') || b.is(':'));
        word.home |= behind && atom.is('~');
        before = Some(atom);
        match atom {
            Atom::Char(c, quoted) => {
                word.gives_number = false;
                word.text.push(*c);
                if !quoted {
                    word.glob |= matches!(c, '*' | '?') || (*c == ']' && bracket);
                    bracket |= *c == '[';
                }
            }
            Atom::Part(raw, quoted) => {
                let named = word.text.strip_suffix('=').is_some_and(is_name);
                word.single = word.text.is_empty() && atoms.len() == 1;
                word.number = word.single && is_number(raw);
                word.gives_number = named && !word.dynamic && is_number(raw);
                word.leads |= word.text.is_empty();
                word.text.push_str(raw);
                word.dynamic = true;
                word.splits |= !quoted || is_several(raw);
            }
        }
    }
    word
}

/// May it become several words, or none, though it is in quotes? Where `$@` stands anywhere between braces
/// (`"${1+$@}"`), all of its words come of it; what stands for the names of others is taken for one that does.
fn is_several(raw: &str) -> bool {
    raw.starts_with("$@") || raw.starts_with("${") && raw.contains(['@', '!'])
}

/// `$#`, `$?`, `$((…))`.
fn is_number(raw: &str) -> bool {
    let inside = raw.strip_prefix("$((").and_then(|r| r.strip_suffix("))"));
    let computed = |c: char| c.is_ascii_alphanumeric() || "_ +-*/%()<>=&|^!~?:,".contains(c);
    let special = ["$#", "$?", "$$", "$!", "${#}", "${?}", "${$}", "${!}"];
    special.contains(&raw) || inside.is_some_and(|inside| inside.chars().all(computed))
}

/// Braces as bash expands them, as long as they are balanced.
fn braces<'a>(atoms: &[Atom<'a>], depth: usize) -> Result<Vec<Vec<Atom<'a>>>, Opaque> {
    if depth > 8 {
        return Err(unread("braces nested so deep"));
    }
    let Some(open) = atoms.iter().position(|a| a.is('{')) else {
        if atoms.iter().any(|a| a.is('}')) {
            return Err(unread("braces that are not balanced"));
        }
        return Ok(vec![atoms.to_vec()]);
    };
    let (before, rest) = atoms.split_at(open);
    if before.iter().any(|a| a.is('}')) {
        return Err(unread("braces that are not balanced"));
    }
    let rest = rest.get(1..).unwrap_or_default();
    let mut level = 0usize;
    let mut commas = Vec::new();
    let mut close = None;
    for (i, atom) in rest.iter().enumerate() {
        if atom.is('{') {
            level += 1;
        } else if atom.is('}') {
            if level == 0 {
                close = Some(i);
                break;
            }
            level -= 1;
        } else if atom.is(',') && level == 0 {
            commas.push(i);
        }
    }
    let Some(close) = close else {
        return Err(unread("braces that are not balanced"));
    };
    let (inner, after) = rest.split_at(close);
    let after = braces(after.get(1..).unwrap_or_default(), depth + 1)?;
    let mut middle: Vec<Vec<Atom<'a>>> = Vec::new();
    if commas.is_empty() {
        match sequence(inner)? {
            Some(found) => middle.extend(found),
            None => {
                for alternative in braces(inner, depth + 1)? {
                    let mut whole = vec![Atom::Char('{', false)];
                    whole.extend(alternative);
                    whole.push(Atom::Char('}', false));
                    middle.push(whole);
                }
            }
        }
    } else {
        let mut start = 0;
        for comma in commas.into_iter().chain([inner.len()]) {
            middle.extend(braces(
                inner.get(start..comma).unwrap_or_default(),
                depth + 1,
            )?);
            start = comma + 1;
        }
    }
    if middle.len().saturating_mul(after.len()) > MAX_EXPANDED {
        return Err(Opaque::TooMany(MAX_EXPANDED));
    }
    let mut out = Vec::new();
    for alternative in &middle {
        for tail in &after {
            out.push([before, alternative, tail].concat());
        }
    }
    Ok(out)
}

/// `1..5`, `a..e`.
fn sequence<'a>(inner: &[Atom<'a>]) -> Result<Option<Vec<Vec<Atom<'a>>>>, Opaque> {
    let dots = inner.windows(2).any(|w| w.iter().all(|a| a.is('.')));
    if !dots {
        return Ok(None);
    }
    let mut text = String::new();
    for atom in inner {
        match atom {
            Atom::Char(c, false) => text.push(*c),
            _ => return Err(unread("a sequence between braces that is not plain")),
        }
    }
    let ends: Vec<&str> = text.split("..").collect();
    let [from, to] = ends.as_slice() else {
        return Err(unread("a sequence between braces that is not plain"));
    };
    let number = |text: &str| -> Option<i64> {
        let n: i64 = text.parse().ok()?;
        (n.to_string() == text && n.abs() < 1_000_000).then_some(n)
    };
    let letter = |text: &str| -> Option<i64> {
        let mut chars = text.chars();
        let c = chars.next().filter(char::is_ascii_lowercase)?;
        chars.next().is_none().then_some(i64::from(u32::from(c)))
    };
    let letters = letter(from).is_some();
    let (Some(from), Some(to)) = (if letters {
        (letter(from), letter(to))
    } else {
        (number(from), number(to))
    }) else {
        return Err(unread("a sequence between braces that is not plain"));
    };
    if from.abs_diff(to) >= MAX_EXPANDED as u64 {
        return Err(Opaque::TooMany(MAX_EXPANDED));
    }
    let one = |n: i64| -> Vec<Atom<'a>> {
        if letters {
            let c = u32::try_from(n)
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('?');
            vec![Atom::Char(c, false)]
        } else {
            n.to_string()
                .chars()
                .map(|c| Atom::Char(c, false))
                .collect()
        }
    };
    Ok(Some(if from <= to {
        (from..=to).map(one).collect()
    } else {
        (to..=from).rev().map(one).collect()
    }))
}
