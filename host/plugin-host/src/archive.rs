//! Where plugins are kept, so that what they said can be asked for again.

use std::sync::Arc;

use crate::plugins::Config;

/// A set of plugins, as it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetInfo {
    /// In the order in which they are asked.
    pub plugins: Vec<SetPlugin>,
    /// Required ones that are not in it.
    pub missing: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPlugin {
    pub name: Arc<str>,
    /// SHA-256 of the component, in hex.
    pub digest: Arc<str>,
    pub config: Config,
}

/// Keeps components and sets before they come into force. What cannot be kept does not, but for what
/// only makes things stricter. May block for a sync of the disk.
pub trait Archive: Send + Sync {
    fn component(&self, wasm: &[u8]) -> Result<(), String>;
    /// Gives the digest under which the set is kept; None if nothing is kept at all.
    fn set(&self, set: &SetInfo) -> Result<Option<Arc<str>>, String>;
}

/// Keeps nothing: for tests, and for who only looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoArchive;

impl Archive for NoArchive {
    fn component(&self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn set(&self, _: &SetInfo) -> Result<Option<Arc<str>>, String> {
        Ok(None)
    }
}

/// A set that comes into force in any case.
pub(crate) fn kept_or_told(archive: &dyn Archive, set: &crate::plugins::Set) -> Option<Arc<str>> {
    archive.set(&set.info()).unwrap_or_else(|error| {
        tracing::error!(%error, "the set of plugins cannot be kept: what it says cannot be asked for again");
        None
    })
}
