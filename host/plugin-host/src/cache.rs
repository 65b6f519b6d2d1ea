//! Precompiled artifacts on disk.
//!
//! An artifact is native code that will run in this process, so a file counts only if it carries an
//! HMAC under the host's key over everything that it claims: which component it was compiled from,
//! and for which engine. Any other file, whatever is wrong with it, is as good as none: the component
//! is compiled again.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::{hmac, rand};

use crate::limits::ARTIFACT_BYTES;

const MAGIC: &[u8; 8] = b"WEIRCW01";
const DIGEST: usize = 32;
const TAG: usize = 32;
const HEADER: usize = MAGIC.len() + TAG;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}: a host key is 32 bytes in hex; remove the file to have a new one made")]
    BadKey(PathBuf),
    #[error("{0}: others can read the host key; make it readable by Weir alone (chmod 600)")]
    OpenKey(PathBuf),
    #[error("the system gave no randomness for a host key")]
    NoRandomness,
}

/// The secret that makes artifacts of this host its own.
pub struct HostKey([u8; 32]);

impl HostKey {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the key from `path`, or makes one there that only this user can read. Keep it out of
    /// the cache's directory.
    pub fn load_or_create(path: &Path) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io {
            path: path.to_owned(),
            source,
        };
        match fs::read_to_string(path) {
            Ok(text) => {
                if readable_by_others(path).map_err(io)? {
                    return Err(CacheError::OpenKey(path.to_owned()));
                }
                let mut key = [0; 32];
                hex::decode_to_slice(text.trim(), &mut key)
                    .map_err(|_| CacheError::BadKey(path.to_owned()))?;
                Ok(Self(key))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut key = [0; 32];
                rand::fill(&mut key).map_err(|_| CacheError::NoRandomness)?;
                let mut file = create_private(path).map_err(io)?;
                file.write_all(hex::encode(key).as_bytes()).map_err(io)?;
                file.sync_all().map_err(io)?;
                Ok(Self(key))
            }
            Err(e) => Err(io(e)),
        }
    }
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> std::io::Result<bool> {
    Ok(false)
}

fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A directory of artifacts.
pub struct ArtifactCache {
    dir: PathBuf,
    key: hmac::Key,
}

/// Keeps parallel writers of one process apart.
static PARTS: AtomicU64 = AtomicU64::new(0);

impl ArtifactCache {
    pub fn open(dir: &Path, key: HostKey) -> Result<Self, CacheError> {
        fs::create_dir_all(dir).map_err(|source| CacheError::Io {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key.0),
        })
    }

    /// The artifact of `component` for `engine`, if this host wrote it.
    pub(crate) fn load(&self, component: &[u8; DIGEST], engine: &[u8; DIGEST]) -> Option<Vec<u8>> {
        let path = self.path(component, engine);
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                if let Err(error) = file.take(ARTIFACT_BYTES + 1).read_to_end(&mut bytes) {
                    tracing::warn!(path = %path.display(), %error, "a cached plugin cannot be read");
                    return None;
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a cached plugin cannot be opened");
                return None;
            }
        }
        let genuine = (|| {
            let rest = bytes.strip_prefix(MAGIC)?;
            let (tag, body) = rest.split_at_checked(TAG)?;
            hmac::verify(&self.key, &claims(component, engine, body), tag).ok()
        })();
        if genuine.is_none() {
            tracing::warn!(
                path = %path.display(),
                "a cached plugin was not written by this host, or was changed: it is compiled again"
            );
            return None;
        }
        bytes.drain(..HEADER);
        Some(bytes)
    }

    /// Remembers an artifact. A cache that cannot be written costs time, nothing else.
    pub(crate) fn store(&self, component: &[u8; DIGEST], engine: &[u8; DIGEST], body: &[u8]) {
        let path = self.path(component, engine);
        let n = PARTS.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{}-{n}.part", std::process::id()));
        let tag = hmac::sign(&self.key, &claims(component, engine, body));
        let written = create_private(&part).and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(tag.as_ref())?;
            file.write_all(body)?;
            fs::rename(&part, &path)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin could not be cached");
            fs::remove_file(&part).ok();
        }
    }

    fn path(&self, component: &[u8; DIGEST], engine: &[u8; DIGEST]) -> PathBuf {
        let engine = engine.split_at(8).0;
        let name = format!("{}-{}.cwasm", hex::encode(component), hex::encode(engine));
        self.dir.join(name)
    }
}

/// What the tag vouches for. The digests have a fixed length, so nothing can be shifted.
fn claims(component: &[u8; DIGEST], engine: &[u8; DIGEST], body: &[u8]) -> Vec<u8> {
    [b"weir.artifact.v1".as_slice(), component, engine, body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weir-cache-{name}-{}", std::process::id()));
        fs::remove_dir_all(&dir).ok();
        dir
    }

    #[test]
    fn loads_only_its_own() {
        let dir = dir("own");
        let cache = ArtifactCache::open(&dir, HostKey::from_bytes([1; 32])).unwrap();
        let (component, engine) = ([2; 32], [3; 32]);
        assert_eq!(cache.load(&component, &engine), None);
        cache.store(&component, &engine, b"native code");
        assert_eq!(
            cache.load(&component, &engine).as_deref(),
            Some(b"native code".as_slice())
        );

        let path = cache.path(&component, &engine);
        let good = fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert_eq!(
                cache.load(&component, &engine),
                None,
                "byte {i} was changed"
            );
        }
        for bad in [
            &good[..0],
            &good[..HEADER - 1],
            &good[..HEADER],
            &good[..good.len() - 1],
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(
                cache.load(&component, &engine),
                None,
                "cut to {}",
                bad.len()
            );
        }
        // Moved to the name of another component, or of another engine.
        for (c, e) in [([9; 32], engine), (component, [9; 32])] {
            fs::write(cache.path(&c, &e), &good).unwrap();
            assert_eq!(cache.load(&c, &e), None);
        }
        // Same first eight bytes of the engine, so the same name.
        let mut twin = engine;
        twin[31] = 9;
        fs::write(&path, &good).unwrap();
        assert_eq!(cache.load(&component, &twin), None);
        // Another host.
        let other = ArtifactCache::open(&dir, HostKey::from_bytes([4; 32])).unwrap();
        assert_eq!(other.load(&component, &engine), None);
        assert!(cache.load(&component, &engine).is_some());
        fs::remove_dir_all(&dir).ok();
    }

    #[test]
    fn keys_are_private() {
        let dir = dir("key");
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("host.key");
        let made = HostKey::load_or_create(&path).unwrap();
        assert_eq!(HostKey::load_or_create(&path).unwrap().0, made.0);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(
                HostKey::load_or_create(&path),
                Err(CacheError::OpenKey(_))
            ));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, "short").unwrap();
        assert!(matches!(
            HostKey::load_or_create(&path),
            Err(CacheError::BadKey(_))
        ));
        fs::remove_dir_all(&dir).ok();
    }
}
