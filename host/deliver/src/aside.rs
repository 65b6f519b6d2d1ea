//! Events that a receiver refuses alone, again and again, while it takes others, and those that cannot be sent:
//! they are kept in a file beside the cursor, one JSON object in a line, for people to look at.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use recorder::disk::private;
use serde_json::{Value, json};

/// The file of one receiver. When it is full, delivery waits until somebody has moved it away.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is full of events that were set aside: look at them, and move it away")]
    Full { path: PathBuf },
}

/// One of them.
pub struct Kept {
    pub why: String,
    pub event: Value,
}

pub fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.refused.jsonl"))
}

/// Durably, and each once: what a crash has left half written is replaced, and what is there already, because
/// the cursor did not move any more, is not added.
pub fn keep(path: &Path, all: &[Kept]) -> Result<(), AsideError> {
    let wrong = |source| AsideError::Write {
        path: path.to_owned(),
        source,
    };
    let full = || AsideError::Full {
        path: path.to_owned(),
    };
    let is_new = !path.exists();
    let mut file = private()
        .read(true)
        .create(true)
        .append(true)
        .open(path)
        .map_err(wrong)?;
    let mut had = Vec::new();
    let read = (&mut file).take(MAX_FILE + 1).read_to_end(&mut had);
    read.map_err(wrong)?;
    if had.len() as u64 > MAX_FILE {
        return Err(full());
    }
    let whole = whole_lines(&had);
    let (mut text, size) = match whole {
        Some(whole) => (String::new(), whole),
        // Somebody's editor has taken the end of the last line.
        None => ("\n".to_owned(), had.len()),
    };
    let known: BTreeSet<String> = had.split(|b| *b == b'\n').filter_map(uid_of).collect();
    let is_known = |event: &Value| uid(event).is_some_and(|uid| known.contains(uid));
    for Kept { why, event } in all.iter().filter(|kept| !is_known(&kept.event)) {
        let line = json!({ "why": why, "event": event });
        text.push_str(&format!("{line}\n"));
    }
    if (size as u64).saturating_add(text.len() as u64) > MAX_FILE {
        return Err(full());
    }
    if size < had.len() {
        file.set_len(size as u64).map_err(wrong)?;
    }
    file.write_all(text.as_bytes()).map_err(wrong)?;
    file.sync_all().map_err(wrong)?;
    if is_new && let Some(dir) = path.parent() {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(wrong)?;
    }
    Ok(())
}

/// How much of it is whole lines. None: all of it, but for the end of the last line.
fn whole_lines(bytes: &[u8]) -> Option<usize> {
    let end = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let rest = bytes.get(end..).unwrap_or_default();
    match rest.is_empty() || uid_of(rest).is_none() {
        true => Some(end),
        false => None,
    }
}

fn uid_of(line: &[u8]) -> Option<String> {
    let kept: Value = serde_json::from_slice(line).ok()?;
    uid(kept.get("event")?).map(str::to_owned)
}

fn uid(event: &Value) -> Option<&str> {
    event.pointer("/metadata/uid")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(uid: &str) -> Kept {
        Kept {
            why: "it is refused".into(),
            event: json!({ "metadata": { "uid": uid } }),
        }
    }

    fn uids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        let lines = text.lines().map(|line| uid_of(line.as_bytes()).unwrap());
        lines.collect()
    }

    #[test]
    fn wherever_a_crash_was_each_is_there_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "siem");
        keep(&path, &[kept("a"), kept("b")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            keep(&path, &[kept("a"), kept("b")]).unwrap();
            keep(&path, &[kept("b"), kept("c")]).unwrap();
            assert_eq!(uids(&path), ["a", "b", "c"], "{cut}");
        }
    }

    #[test]
    fn a_full_file_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "siem");
        let file = File::create(&path).unwrap();
        for size in [MAX_FILE, MAX_FILE + 1] {
            file.set_len(size - 1).unwrap();
            let mut text = std::fs::OpenOptions::new()
                .append(true)
                .open(&path)
                .unwrap();
            text.write_all(b"\n").unwrap();
            let error = keep(&path, &[kept("a")]).unwrap_err();
            assert!(matches!(error, AsideError::Full { .. }), "{error}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
        }
    }
}
