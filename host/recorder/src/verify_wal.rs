//! Checks a spool without changing it: the write-ahead log and the segments that wait. Meant for a
//! recorder that is not running; beside a running one, the last block may be half written.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::crypt::container;
use crate::record::NO_STREAM;
use crate::segment::Segment;
use crate::spool::{Spool, present};
use crate::wal::format::Block;
use crate::wal::scan::{self, Tail};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalReport {
    pub files: u64,
    pub blocks: u64,
    pub records: u64,
    pub bytes: u64,
    pub waiting_segments: u64,
    /// The chain at the end of the log, in hex.
    pub chain: Option<String>,
    pub findings: Vec<WalFinding>,
}

impl WalReport {
    /// Nothing is wrong. A write that never finished is what a crash leaves, and not wrong.
    pub fn is_ok(&self) -> bool {
        self.findings
            .iter()
            .all(|f| matches!(f, WalFinding::Torn { .. }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalFinding {
    #[error("{file}: {bytes} bytes at its end are a write that never finished")]
    Torn { file: PathBuf, bytes: u64 },
    #[error("{file} is damaged at byte {at}: {why}")]
    Damaged { file: PathBuf, at: u64, why: String },
    #[error("{file} does not continue the log file before it")]
    Broken { file: PathBuf },
    #[error("{file}: record {found} of {stream} stands where {expected} should")]
    Order {
        file: PathBuf,
        stream: Uuid,
        expected: u64,
        found: u64,
    },
    #[error("the waiting segment {file} is damaged: {why}")]
    Segment { file: PathBuf, why: String },
}

/// Verifies the spool of a recorder.
pub async fn verify_wal(spool: &Path) -> io::Result<WalReport> {
    let spool = spool.to_path_buf();
    tokio::task::spawn_blocking(move || check(&spool))
        .await
        .map_err(io::Error::other)?
}

fn check(spool: &Path) -> io::Result<WalReport> {
    let mut report = WalReport::default();
    check_log(&scan::files(&spool.join("wal"))?, &mut report)?;
    check_segments(spool, &mut report)?;
    Ok(report)
}

/// Some of the files may be gone by now.
fn check_log(files: &[(u64, PathBuf)], report: &mut WalReport) -> io::Result<()> {
    let mut before: Option<(u64, Hash, u64)> = None;
    let mut next: HashMap<u128, u64> = HashMap::new();
    for (position, (number, path)) in files.iter().enumerate() {
        let mut wrong = Vec::new();
        let scanned = scan::scan_file(path, &mut |block| {
            follow(&mut next, block, path, &mut wrong);
        });
        let Some(scan) = present(scanned)? else {
            // A recorder that runs removed it, and so all before it: what follows is a beginning.
            before = None;
            next.clear();
            continue;
        };
        report.files += 1;
        report.blocks += scan.blocks;
        report.records += scan.records;
        report.bytes += scan.len;
        let continues = scan.header.map(|h| (h.file_no, h.prev_chain, h.first_seq));
        let fits = match (before, continues) {
            (None, Some((file_no, _, _))) => file_no == *number,
            (Some((n, chain, seq)), Some(this)) => (n + 1, chain, seq) == this && this.0 == *number,
            (_, None) => true,
        };
        if !fits {
            let file = path.clone();
            report.findings.push(WalFinding::Broken { file });
        }
        report.findings.extend(wrong);
        let file = path.clone();
        let last = position + 1 == files.len();
        match scan.tail {
            Tail::Clean => {}
            Tail::Torn { bytes, .. } if last => {
                report.findings.push(WalFinding::Torn { file, bytes });
            }
            Tail::Torn { at, .. } => report.findings.push(WalFinding::Damaged {
                file,
                at,
                why: "it is cut off, and another file follows".into(),
            }),
            Tail::Damaged { at, why, .. } => report.findings.push(WalFinding::Damaged {
                file,
                at,
                why: why.to_string(),
            }),
        }
        if let Some(chain) = scan.chain {
            before = Some((*number, chain, scan.next_seq));
        }
    }
    report.chain = before.map(|(_, chain, _)| hex::encode(chain));
    Ok(())
}

fn follow(next: &mut HashMap<u128, u64>, block: &Block, path: &Path, wrong: &mut Vec<WalFinding>) {
    for record in block.records() {
        if record.stream == NO_STREAM {
            continue;
        }
        // The first record of a stream that is seen may be any: older files are gone.
        let expected = next.insert(record.stream, record.index + 1);
        if let Some(expected) = expected.filter(|e| *e != record.index) {
            wrong.push(WalFinding::Order {
                file: path.to_path_buf(),
                stream: Uuid::from_u128(record.stream),
                expected,
                found: record.index,
            });
        }
    }
}

fn check_segments(spool: &Path, report: &mut WalReport) -> io::Result<()> {
    for (key, file) in Spool::new(spool).waiting()? {
        // It was stored and removed, or marked and renamed, while we looked.
        let Some(bytes) = present(std::fs::read(&file))? else {
            continue;
        };
        report.waiting_segments += 1;
        let why = if chain::sha256(&bytes) != key.sha256 {
            Some("its content does not have the hash in its name".into())
        } else if container::is_sealed(&bytes) {
            // What is in it is for whoever has the key.
            let fits = container::read_header(&bytes).is_ok_and(|(h, _)| container::fits(&h, &key));
            (!fits).then(|| "its header is not what its name says".into())
        } else {
            Segment::parse(&bytes).err().map(|e| e.to_string())
        };
        if let Some(why) = why {
            report.findings.push(WalFinding::Segment { file, why });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pipeline::ports::Journal;

    use super::*;
    use crate::tests::support::{SHORT, TempDir, session, start};

    /// A recorder that runs removes its oldest log files while they are checked.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_goes_while_one_looks_is_no_damage() {
        let dir = TempDir::new();
        for _ in 0..2 {
            let (recorder, _) = dir.open().await;
            let open = recorder.open(start()).await;
            session(&recorder, 20, 8000).await;
            drop(open);
            recorder.shutdown(SHORT).await;
        }
        let files = scan::files(&dir.spool().join("wal")).unwrap();
        let path = dir.spool().join("wal/000000000000.wal");
        let listed = [vec![(0, path)], files].concat();
        let mut report = WalReport::default();
        check_log(&listed, &mut report).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        assert_eq!(report.files as usize, listed.len() - 1);
        assert!(report.chain.is_some());
    }
}
