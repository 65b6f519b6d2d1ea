//! Events that a receiver refuses alone, again and again, while it takes others: they are kept in a file
//! beside the cursor, one JSON object in a line, for people to look at.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use recorder::disk::private;
use serde_json::{Value, json};

/// The file of one receiver. When it is full, delivery waits until somebody has moved it away.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is full of events that the receiver refused: look at them, and move it away")]
    Full { path: PathBuf },
}

pub fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.refused.jsonl"))
}

/// Durably. A line may be there twice, after a crash.
pub fn keep(path: &Path, why: &str, events: &[Value]) -> Result<(), AsideError> {
    let wrong = |source| AsideError::Write {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    for event in events {
        let line = json!({ "why": why, "event": event });
        text.push_str(&format!("{line}\n"));
    }
    let is_new = !path.exists();
    let mut file = private()
        .create(true)
        .append(true)
        .open(path)
        .map_err(wrong)?;
    let size = file.metadata().map_err(wrong)?.len();
    if size.saturating_add(text.len() as u64) > MAX_FILE {
        return Err(AsideError::Full {
            path: path.to_owned(),
        });
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
