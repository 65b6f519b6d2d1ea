//! The policies of a window: the archives of bundles, each the bytes that its digest is of, their text, and
//! what changed from one version to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::archive::digest;
use crate::leaf::Bundle;

/// How an archive begins; the recorder's `FORMAT.md` describes it.
const MAGIC: &[u8] = b"weir.bundle.v1";
/// The most lines of a file that are compared line by line.
const MAX_LINES: usize = 4000;

/// The largest archive that is taken in.
pub const MAX_ARCHIVE: u64 = 16 << 20;

pub const CHANGES: &str = "policies/changes.txt";

/// The files of a bundle, by their paths.
pub type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("it is not what its name says")]
    Digest,
    #[error("it is not the archive of a bundle")]
    Form,
}

/// Only what is a digest names a file.
pub fn is_digest(text: &str) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == 64 && text.bytes().all(hex)
}

pub fn archive_path(digest: &str) -> String {
    format!("policies/{digest}.bundle")
}

pub fn text_path(digest: &str) -> String {
    format!("policies/{digest}.txt")
}

/// What is in the archive with this digest.
pub fn read(of: &str, archive: &[u8]) -> Result<Texts, PolicyError> {
    if hex::encode(digest(archive).sha256) != of {
        return Err(PolicyError::Digest);
    }
    let mut rest = archive.strip_prefix(MAGIC).ok_or(PolicyError::Form)?;
    let mut out = Texts::new();
    while !rest.is_empty() {
        let path = part(&mut rest).ok_or(PolicyError::Form)?;
        let text = part(&mut rest).ok_or(PolicyError::Form)?;
        out.insert(path, text);
    }
    Ok(out)
}

fn part(rest: &mut &[u8]) -> Option<String> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

/// The files one after the other, to be read.
pub fn text(files: &Texts) -> String {
    let mut out = String::new();
    for (path, text) in files {
        out.push_str(&format!("===== {path}\n{text}"));
        if !text.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// What changed from each version of a bundle to the next, as far as their texts are there.
#[derive(Default)]
pub struct Changes {
    last: Option<(Bundle, Texts)>,
    out: String,
}

impl Changes {
    /// The next bundle, in the order of names and versions.
    pub fn push(&mut self, new: Bundle, after: Texts) {
        if let Some((old, before)) = self.last.take().filter(|(old, _)| old.name == new.name) {
            self.out.push_str(&format!(
                "{} version {} ({}) to version {} ({})\n",
                old.name, old.version, old.digest, new.version, new.digest
            ));
            let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for path in paths {
                let text = |files: &Texts| files.get(path).cloned().unwrap_or_default();
                let (was, is) = (text(&before), text(&after));
                if was != is {
                    self.out
                        .push_str(&format!("===== {path}\n{}", lines(&was, &is)));
                }
            }
            self.out.push('\n');
        }
        self.last = Some((new, after));
    }

    pub fn write(self) -> String {
        match self.out.is_empty() {
            true => "No bundle of which the package has two versions.\n".to_owned(),
            false => self.out,
        }
    }
}

/// The lines that are gone, and those that are new, in order.
fn lines(was: &str, is: &str) -> String {
    let (was, is): (Vec<&str>, Vec<&str>) = (was.lines().collect(), is.lines().collect());
    let mut out = String::new();
    if was.len() > MAX_LINES || is.len() > MAX_LINES {
        return format!("{} lines became {} lines\n", was.len(), is.len());
    }
    // The length of the longest common subsequence from each place on.
    let width = is.len() + 1;
    let mut common = vec![0u16; (was.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    for (i, old) in was.iter().enumerate().rev() {
        for (j, new) in is.iter().enumerate().rev() {
            let get = |place: usize| common.get(place).copied().unwrap_or_default();
            let best = match old == new {
                true => get(at(i + 1, j + 1)) + 1,
                false => get(at(i + 1, j)).max(get(at(i, j + 1))),
            };
            if let Some(place) = common.get_mut(at(i, j)) {
                *place = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    loop {
        let get = |place: usize| common.get(place).copied().unwrap_or_default();
        match (was.get(i), is.get(j)) {
            (Some(old), Some(new)) if old == new => (i, j) = (i + 1, j + 1),
            (Some(old), new) if new.is_none() || get(at(i + 1, j)) >= get(at(i, j + 1)) => {
                out.push_str(&format!("- {old}\n"));
                i += 1;
            }
            (_, Some(new)) => {
                out.push_str(&format!("+ {new}\n"));
                j += 1;
            }
            (_, None) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for part in files.iter().flat_map(|(path, text)| [path, text]) {
            out.extend((part.len() as u64).to_be_bytes());
            out.extend(part.as_bytes());
        }
        out
    }

    #[test]
    fn an_archive_is_read_if_it_is_the_one() {
        let bytes = archive(&[("a.cedar", "permit();"), ("b/c.toml", "x = 1\n")]);
        let of = hex::encode(digest(&bytes).sha256);
        let texts = read(&of, &bytes).unwrap();
        assert_eq!(
            text(&texts),
            "===== a.cedar\npermit();\n===== b/c.toml\nx = 1\n"
        );
        assert_eq!(read(&"0".repeat(64), &bytes), Err(PolicyError::Digest));
        for cut in (0..bytes.len()).filter(|cut| *cut != MAGIC.len()) {
            let part = &bytes[..cut];
            let of = hex::encode(digest(part).sha256);
            // Between two files, it is a shorter archive.
            let whole = cut == archive(&[("a.cedar", "permit();")]).len();
            assert_eq!(read(&of, part).is_ok(), whole, "{cut}");
        }
        assert!(is_digest(&of) && !is_digest("../x") && !is_digest(&of.to_uppercase()));
    }

    #[test]
    fn changes_are_lines() {
        let check = |was: &str, is: &str, expect: &str| assert_eq!(lines(was, is), expect);
        check("a\nb\nc\n", "a\nc\nd\n", "- b\n+ d\n");
        check("", "a\n", "+ a\n");
        check("a\n", "", "- a\n");
        check("a\nb\n", "b\na\n", "- a\n+ a\n");
        let bundle = |version| Bundle {
            name: "x".into(),
            version,
            digest: "d".into(),
        };
        let texts = |text: &str| Texts::from([("p".to_owned(), text.to_owned())]);
        let mut changes = Changes::default();
        changes.push(bundle(1), texts("one\n"));
        assert!(Changes::default().write().starts_with("No bundle"));
        changes.push(bundle(2), texts("two\n"));
        let expect = "x version 1 (d) to version 2 (d)\n===== p\n- one\n+ two\n\n";
        assert_eq!(changes.write(), expect);
    }
}
