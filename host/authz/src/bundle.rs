//! A bundle as its author writes it: named texts, nothing understood yet.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::problem::{BundleErrors, Problem, Problems};

pub const MANIFEST: &str = "bundle.toml";
pub const SCHEMA: &str = "schema.cedarschema";

pub const MAX_FILES: usize = 1_000;
pub const MAX_TOTAL_BYTES: usize = 8 << 20;
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// A policy file of a generated bundle may be larger than what people write.
pub const MAX_POLICY_FILE_BYTES: usize = 4 << 20;
const MAX_PATH_BYTES: usize = 200;
/// Directories below each other that `from_dir` follows; also ends a loop of links.
const MAX_DEPTH: usize = 8;

/// What a file of a bundle is for, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Manifest,
    Schema,
    Policy,
    TestToml,
    TestJson,
}

impl FileKind {
    pub fn of(path: &str) -> Option<Self> {
        let test = path.starts_with("tests/");
        match path {
            MANIFEST => Some(Self::Manifest),
            SCHEMA => Some(Self::Schema),
            _ if test && path.ends_with(".toml") => Some(Self::TestToml),
            _ if test && path.ends_with(".json") => Some(Self::TestJson),
            _ if path.ends_with(".cedar") => Some(Self::Policy),
            _ => None,
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::Policy => MAX_POLICY_FILE_BYTES,
            _ => MAX_FILE_BYTES,
        }
    }
}

/// A set of files: path → text. Within the limits, and of known kinds; nothing else is checked
/// before it is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    files: BTreeMap<String, String>,
    digest: Arc<str>,
}

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../policies/", $path)))),*]
    };
}

/// The files of the default bundle, in `policies/`.
pub(crate) const DEFAULT_FILES: &[(&str, &str)] = embedded![
    "bundle.toml",
    "schema.cedarschema",
    "control.cedar",
    "grants.cedar",
    "guards.cedar",
    "hosts.cedar",
    "relief.cedar",
    "tests/agents.toml",
    "tests/compute.toml",
    "tests/control.toml",
    "tests/hosts.toml",
    "tests/people.toml",
    "tests/reveal.toml",
];

impl Bundle {
    /// The default bundle, built into the program.
    pub fn embedded_default() -> Result<Self, BundleErrors> {
        Self::from_files(
            DEFAULT_FILES
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// Checks paths, kinds and sizes.
    pub fn from_files(files: BTreeMap<String, String>) -> Result<Self, BundleErrors> {
        let mut problems = Problems::default();
        if files.len() > MAX_FILES {
            let message = format!("{} files; at most {MAX_FILES} are allowed", files.len());
            return Err(Problem::file("", message).into());
        }
        let total: usize = files.values().map(String::len).sum();
        if total > MAX_TOTAL_BYTES {
            let message = format!("{total} bytes; at most {MAX_TOTAL_BYTES} are allowed");
            return Err(Problem::file("", message).into());
        }
        for (path, text) in &files {
            check_file(path, text, &mut problems);
        }
        for required in [MANIFEST, SCHEMA] {
            if !files.contains_key(required) {
                problems.push(Problem::file("", format!("the file {required} is missing")));
            }
        }
        problems.check()?;
        let digest = digest_of(&files);
        Ok(Self { files, digest })
    }

    /// Reads a directory. Hidden files, `.md` files and directories that hold a bundle of their own
    /// are left out.
    pub fn from_dir(dir: &Path) -> Result<Self, BundleErrors> {
        let mut files = BTreeMap::new();
        let mut total = 0;
        read_dir(dir, "", 0, &mut files, &mut total)?;
        Self::from_files(files)
    }

    /// The bundle as one object, whose SHA-256 is the bundle's digest: `weir.bundle.v1`, then path and
    /// text of each file in order, each behind its length as a big-endian u64.
    pub fn archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_archive(&self.files, |part| out.extend_from_slice(part));
        out
    }

    /// Reads what [`Bundle::archive`] wrote. Whoever wants a certain bundle compares its digest.
    pub fn from_archive(archive: &[u8]) -> Result<Self, BundleErrors> {
        let wrong = || BundleErrors::from(Problem::file("", "this is not the archive of a bundle"));
        let mut rest = archive.strip_prefix(ARCHIVE).ok_or_else(wrong)?;
        let mut files = BTreeMap::new();
        while !rest.is_empty() {
            let path = take_part(&mut rest).ok_or_else(wrong)?;
            let text = take_part(&mut rest).ok_or_else(wrong)?;
            // In order and without doubles, so that a bundle has one archive.
            let last: Option<(&String, _)> = files.last_key_value();
            if last.is_some_and(|(before, _)| **before >= *path) || files.len() >= MAX_FILES {
                return Err(wrong());
            }
            files.insert(path.to_owned(), text.to_owned());
        }
        Self::from_files(files)
    }

    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// SHA-256 over the sorted files, in hex.
    pub fn digest(&self) -> &Arc<str> {
        &self.digest
    }

    pub(crate) fn of_kind(&self, kind: FileKind) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(move |(path, _)| FileKind::of(path) == Some(kind))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

fn check_file(path: &str, text: &str, problems: &mut Problems) {
    let clean = path.len() <= MAX_PATH_BYTES
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        });
    if !clean {
        let message = format!("{path:?} is not a path that a bundle may have");
        problems.push(
            Problem::file("", message)
                .help("relative, with letters, digits, '-', '_' and '.' between slashes"),
        );
        return;
    }
    let Some(kind) = FileKind::of(path) else {
        problems.push(
            Problem::file(path, "this file has no place in a bundle").help(
                "a bundle has bundle.toml, schema.cedarschema, *.cedar and tests/*.toml or *.json",
            ),
        );
        return;
    };
    if text.len() > kind.max_bytes() {
        let (size, max) = (text.len(), kind.max_bytes());
        problems.push(Problem::file(
            path,
            format!("{size} bytes; at most {max} are allowed"),
        ));
    }
}

fn read_dir(
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
    total: &mut usize,
) -> Result<(), BundleErrors> {
    let fail = |error: std::io::Error| {
        BundleErrors::from(Problem::file(prefix, format!("{}: {error}", dir.display())))
    };
    if depth > MAX_DEPTH {
        return Err(Problem::file(prefix, "directories are nested too deeply").into());
    }
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Problem::file(prefix, "a file name is not UTF-8").into());
        };
        if name.starts_with('.') || name.ends_with(".md") {
            continue;
        }
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let meta = std::fs::metadata(entry.path()).map_err(fail)?;
        if meta.is_dir() {
            if !entry.path().join(MANIFEST).exists() {
                read_dir(&entry.path(), &path, depth + 1, files, total)?;
            }
            continue;
        }
        *total = total.saturating_add(usize::try_from(meta.len()).unwrap_or(usize::MAX));
        if files.len() >= MAX_FILES || *total > MAX_TOTAL_BYTES {
            let message = format!(
                "too large: at most {MAX_FILES} files and {MAX_TOTAL_BYTES} bytes are allowed"
            );
            return Err(Problem::file("", message).into());
        }
        let text = std::fs::read_to_string(entry.path()).map_err(fail)?;
        files.insert(path, text);
    }
    Ok(())
}

/// How an archive begins.
const ARCHIVE: &[u8] = b"weir.bundle.v1";

/// Paths and texts with their lengths, so that no two bundles are hashed alike.
fn digest_of(files: &BTreeMap<String, String>) -> Arc<str> {
    let mut ctx = digest::Context::new(&digest::SHA256);
    write_archive(files, |part| ctx.update(part));
    hex::encode(ctx.finish().as_ref()).into()
}

fn write_archive(files: &BTreeMap<String, String>, mut write: impl FnMut(&[u8])) {
    write(ARCHIVE);
    for (path, text) in files {
        for part in [path.as_bytes(), text.as_bytes()] {
            write(&(part.len() as u64).to_be_bytes());
            write(part);
        }
    }
}

/// The next part of an archive, as text.
fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (len, after) = rest.split_first_chunk::<8>()?;
    let len = usize::try_from(u64::from_be_bytes(*len)).ok()?;
    let (part, after) = after.split_at_checked(len)?;
    *rest = after;
    std::str::from_utf8(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|(p, t)| ((*p).into(), (*t).into()))
            .collect()
    }

    #[test]
    fn the_embedded_bundle_is_the_directory() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
        let from_dir = Bundle::from_dir(&dir).expect("the directory is a bundle");
        let embedded = Bundle::embedded_default().expect("the default bundle is a bundle");
        assert_eq!(
            from_dir.files().keys().collect::<Vec<_>>(),
            embedded.files().keys().collect::<Vec<_>>(),
            "list every file of policies/ in DEFAULT_FILES"
        );
        assert_eq!(from_dir.digest(), embedded.digest());
    }

    #[test]
    fn the_digest_tells_files_apart() {
        let base = [(MANIFEST, "a"), (SCHEMA, "b")];
        let digest = |list: &[(&str, &str)]| {
            let bundle = Bundle::from_files(files(list)).expect("within the limits");
            bundle.digest().to_string()
        };
        let same = digest(&base);
        assert_eq!(
            same,
            digest(&[(SCHEMA, "b"), (MANIFEST, "a")]),
            "order does not matter"
        );
        for other in [
            vec![(MANIFEST, "ab"), (SCHEMA, "")],
            vec![(MANIFEST, "a"), (SCHEMA, "b"), ("x.cedar", "")],
            vec![(MANIFEST, "a"), (SCHEMA, "b\n")],
        ] {
            assert_ne!(same, digest(&other), "{other:?}");
        }
    }

    #[test]
    fn an_archive_is_what_the_digest_is_of() {
        let bundle = Bundle::embedded_default().expect("the default bundle is a bundle");
        let archive = bundle.archive();
        let hash = hex::encode(digest::digest(&digest::SHA256, &archive).as_ref());
        assert_eq!(hash, **bundle.digest());
        assert_eq!(Bundle::from_archive(&archive).expect("its own"), bundle);
        for cut in (0..archive.len()).step_by(97) {
            let part = archive.get(..cut).expect("within");
            let read = Bundle::from_archive(part);
            // A cut between two files leaves a bundle, but another one.
            assert!(read.is_err() || read.is_ok_and(|b| b.digest() != bundle.digest()));
        }
        let two = |a: &str, b: &str| {
            let mut out = ARCHIVE.to_vec();
            for part in [a, "x", b, "y"] {
                out.extend_from_slice(&(part.len() as u64).to_be_bytes());
                out.extend_from_slice(part.as_bytes());
            }
            Bundle::from_archive(&out)
                .expect_err("no bundle")
                .to_string()
        };
        let text = "not the archive";
        assert!(two(SCHEMA, MANIFEST).contains(text), "out of order");
        assert!(two(MANIFEST, MANIFEST).contains(text), "twice");
        assert!(
            !two("../x", MANIFEST).contains(text),
            "checked like any bundle"
        );
        let mut long = ARCHIVE.to_vec();
        long.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(Bundle::from_archive(&long).is_err());
    }

    #[test]
    fn paths_and_kinds_and_sizes() {
        let long = "x".repeat(MAX_FILE_BYTES + 1);
        for (path, text, expect) in [
            ("../x.cedar", "", "not a path"),
            ("/etc/x.cedar", "", "not a path"),
            ("a//b.cedar", "", "not a path"),
            ("a\\b.cedar", "", "not a path"),
            (".hidden.cedar", "", "not a path"),
            ("x.rego", "", "no place"),
            ("sub/bundle.toml", "", "no place"),
            ("tests/t.yaml", "", "no place"),
            ("tests/t.toml", long.as_str(), "at most"),
        ] {
            let list = [(MANIFEST, ""), (SCHEMA, ""), (path, text)];
            let error = Bundle::from_files(files(&list))
                .expect_err(path)
                .to_string();
            assert!(error.contains(expect), "{path}: {error}");
        }
        let missing = Bundle::from_files(files(&[(MANIFEST, "")])).expect_err("no schema");
        assert!(missing.to_string().contains(SCHEMA), "{missing}");
    }
}
