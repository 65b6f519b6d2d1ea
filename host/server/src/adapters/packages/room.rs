//! Room on the disk for packages that are made: what the record may still need comes first, since without
//! room for it every session ends.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::Halt;
use recorder::Recorder;

/// What stays free besides: for other files of Weir, and for what all makings write between two looks, which is
/// some MiB for each of the few that there are.
const RESERVE: u64 = 256 << 20;

pub(super) struct Room {
    recorder: Arc<Recorder>,
    /// Where packages are made.
    dir: PathBuf,
    /// Does the spool take from the same room?
    is_shared: bool,
}

impl Room {
    pub(super) fn new(recorder: Arc<Recorder>, dir: &Path, spool: &Path) -> io::Result<Self> {
        let device = |path: &Path| std::fs::metadata(path).map(|of| of.dev());
        Ok(Self {
            recorder,
            dir: dir.to_path_buf(),
            is_shared: device(dir)? == device(spool)?,
        })
    }

    /// May something be written? What other makings have written is gone from what is free.
    pub(super) fn look(&self) -> Result<(), Halt> {
        let stats = self.recorder.stats();
        let spool = self
            .is_shared
            .then_some((stats.spool_limit, stats.spool_used));
        let free = free(&self.dir).map_err(|error| Halt::Unknown(error.to_string()))?;
        enough(free, needed(spool))
    }
}

/// What whoever runs Weir may still write there.
fn free(dir: &Path) -> io::Result<u64> {
    let of = rustix::fs::statvfs(dir)?;
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}

/// What must stay free, where the spool with this limit has used so much of it.
fn needed(spool: Option<(u64, u64)>) -> u64 {
    let Some((limit, used)) = spool else {
        return RESERVE;
    };
    // What has begun is recorded to its end: the spool can grow by an eighth beyond its limit.
    let most = limit.saturating_add(limit / 8);
    most.saturating_sub(used).saturating_add(RESERVE)
}

fn enough(free: u64, needed: u64) -> Result<(), Halt> {
    match free > needed {
        true => Ok(()),
        false => Err(Halt::NoRoom { free, needed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_the_spool_may_still_take_stays_free() {
        for (spool, free, fits) in [
            (Some((8 * GIB, 0)), 9 * GIB + RESERVE + 1, true),
            (Some((8 * GIB, 0)), 9 * GIB + RESERVE, false),
            (Some((8 * GIB, 8 * GIB)), GIB + RESERVE + 1, true),
            (Some((8 * GIB, 8 * GIB)), GIB, false),
            // It has all that it may ever have, and more.
            (Some((8 * GIB, 20 * GIB)), RESERVE + 1, true),
            (Some((8 * GIB, 20 * GIB)), RESERVE, false),
            (Some((u64::MAX, 0)), u64::MAX, false),
            (None, RESERVE + 1, true),
            (None, RESERVE, false),
            (None, 0, false),
        ] {
            assert_eq!(
                enough(free, needed(spool)).is_ok(),
                fits,
                "{spool:?} {free}"
            );
        }
    }

    #[test]
    fn what_is_free_is_asked_of_the_disk() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let free = free(here).unwrap();
        assert!(free > 0 && free < 1 << 50, "{free}");
        assert!(super::free(&here.join("gone")).is_err());
    }
}
