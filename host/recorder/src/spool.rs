//! A spool as a reader sees it, also while its recorder runs: what waits for the store, and what the
//! log holds. Files may go at any moment: the store has what was in them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::crypt::container;
use crate::crypt::key::StreamKey;
use crate::keys::SegmentKey;
use crate::pending;
use crate::record::Record;
use crate::segment::Segment;
use crate::wal::scan;

#[derive(Debug, Clone)]
pub struct Spool(PathBuf);

impl Spool {
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_path_buf())
    }

    /// The segments that wait, and their files.
    pub fn waiting(&self) -> io::Result<Vec<(SegmentKey, PathBuf)>> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(self.0.join("segments"))? {
            let file = entry?.path();
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned());
            if let Some((key, _)) = name.as_deref().and_then(pending::parse_name) {
                out.push((key, file));
            }
        }
        out.sort();
        Ok(out)
    }

    /// Every record of control streams that is in the spool, be it in a waiting segment or in the log.
    /// Gives how many records the log has altogether. Segments without a key among `keys` are passed over.
    pub fn control_records(
        &self,
        keys: &HashMap<Uuid, Arc<StreamKey>>,
        on_record: &mut dyn FnMut(&Record<'_>),
    ) -> io::Result<u64> {
        let mut records = 0;
        for (_, path) in scan::files(&self.0.join("wal"))? {
            let scanned = scan::scan_file(&path, &mut |block| {
                block.records().for_each(|r| on_record(&r));
            });
            records += present(scanned)?.map_or(0, |scan| scan.records);
        }
        for (key, file) in self.waiting()?.iter().filter(|(key, _)| key.control) {
            // What is wrong with a waiting segment, `verify_wal` tells.
            let bytes = present(std::fs::read(file))?;
            let bytes = match (bytes, keys.get(&key.stream)) {
                (Some(bytes), Some(with)) if container::is_sealed(&bytes) => {
                    container::open(with, &bytes).ok()
                }
                (bytes, _) => bytes,
            };
            if let Some(segment) = bytes.and_then(|b| Segment::parse(&b).ok()) {
                segment.records().for_each(|r| on_record(&r));
            }
        }
        Ok(records)
    }
}

/// None: it went while we looked.
pub fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
