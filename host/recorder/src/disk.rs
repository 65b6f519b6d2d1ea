//! The few file operations that durability depends on, behind a trait, so that tests can make each
//! of them fail. Reading goes to the file system directly.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Where the spool is written.
pub trait Disk: Send + Sync {
    /// A new file; an existing one is an error.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// An existing file, to be written from its start.
    fn reopen(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Cuts a torn tail off, durably.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Makes a file's content durable that an earlier process wrote, and perhaps never synced.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// One file being written. It can be synced while more is appended to it.
pub trait DiskFile: Send + Sync {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()>;
    /// `fdatasync`. After an error the file must not be used again: the kernel may have dropped the
    /// dirty pages, and a second call would lie.
    fn sync(&self) -> io::Result<()>;
    /// Asks for so many bytes, of zeros, before anything is written: a sync then has to make no new
    /// length durable. It saves time only; the file works as well without it. After an error nothing was
    /// taken.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Writes so many zeros from there on, durably. What is written next still begins where it would have.
    fn fill(&self, from: u64, len: u64) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(private().create_new(true).open(path)?))
    }

    fn reopen(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Writes a file under another name first: under its own it is there whole or not at all. Its content is
/// durable afterwards, its name after the next sync of the directory.
pub fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    if temporary.exists() {
        disk.remove(temporary)?;
    }
    let file = disk.create(temporary)?;
    file.write_all(bytes)?;
    file.sync()?;
    disk.rename(temporary, path)
}

/// Recordings hold statements and rows: only this user may read them, whatever the umask is.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A directory, with those above it, that only this user may enter. One that is there already
/// is made so when `tighten` is set.
pub fn private_dir(path: &Path, tighten: bool) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700).create(path)?;
        let mut permissions = std::fs::metadata(path)?.permissions();
        if tighten && permissions.mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "others could enter this directory; it is private now");
            permissions.set_mode(0o700);
            std::fs::set_permissions(path, permissions)?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(path)
}

/// As [`private_dir`], and durable: a directory that is lost with the power takes everything in it
/// along, however often that was synced.
pub fn durable_dir(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let missing = |p: &&Path| !p.as_os_str().is_empty() && !p.exists();
    let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
    private_dir(path, true)?;
    for dir in made {
        let above = dir.parent().filter(|p| !p.as_os_str().is_empty());
        disk.sync_dir(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

impl DiskFile for File {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        Write::write_all(&mut file, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        Ok(fallocate(self, FallocateFlags::empty(), 0, len)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(unix)]
    fn fill(&self, from: u64, len: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let (mut at, end) = (from, from.saturating_add(len));
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..left).unwrap_or(&ZEROS);
            std::os::unix::fs::FileExt::write_all_at(self, zeros, at)?;
            at += zeros.len() as u64;
        }
        // With its length, and where its blocks are.
        self.sync_all()
    }

    #[cfg(not(unix))]
    fn fill(&self, _from: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
