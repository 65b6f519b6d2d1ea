//! A disk that waits when the process has used up its file descriptors: that passes, as soon as some
//! connections end, and nothing is lost meanwhile, since the log still has every record.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The process, or the whole system, has no descriptor left. The same numbers everywhere that Weir
/// runs (Linux, BSD, macOS).
pub const EMFILE: i32 = 24;
pub const ENFILE: i32 = 23;

/// Tries again, up to a limit, what needs a descriptor. Everything else fails at once: after a
/// failed write or sync a second try would lie.
pub struct Patient {
    pub inner: Arc<dyn Disk>,
    pub limit: Duration,
}

impl Patient {
    fn patiently<T>(&self, path: &Path, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let until = Instant::now() + self.limit;
        let mut pause = FIRST_PAUSE;
        loop {
            match act() {
                Err(error) if used_up(&error) && Instant::now() < until => {
                    if pause == FIRST_PAUSE {
                        tracing::error!(
                            path = %path.display(), %error,
                            "no file descriptor is left; the recorder waits for one. Raise the limit \
                             of open files (ulimit -n), or lower max_connections"
                        );
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }
}

fn used_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

impl Disk for Patient {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.patiently(path, || self.inner.create(path))
    }

    fn reopen(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.patiently(path, || self.inner.reopen(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.patiently(path, || self.inner.truncate(path, len))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.patiently(path, || self.inner.sync_file(path))
    }

    // Opening the directory needs a descriptor; the sync itself never says that there is none.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.patiently(path, || self.inner.sync_dir(path))
    }
}
