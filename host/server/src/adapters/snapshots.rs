//! What decisions are made by is kept beside their recordings before it comes into force.
//!
//! Plugins of the configuration are loaded before there is a recorder: until then, what is to be kept
//! waits here. Nothing decides anything meanwhile.

use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use plugin_host::{Archive, SetInfo};
use recorder::{KeepError, Recorder, Snapshot};
use rerun::SetDoc;

#[derive(Default)]
pub(crate) struct Snapshots(Mutex<Place>);

enum Place {
    Here(Vec<(Snapshot, Vec<u8>)>),
    With(Recorder),
}

impl Default for Place {
    fn default() -> Self {
        Self::Here(Vec::new())
    }
}

impl Snapshots {
    /// From here on the recorder keeps them, and what waited.
    pub(crate) fn attach(&self, recorder: &Recorder) -> anyhow::Result<()> {
        let before = std::mem::replace(&mut *self.0.lock(), Place::With(recorder.clone()));
        if let Place::Here(waiting) = before {
            for (kind, bytes) in waiting {
                recorder
                    .keep(kind, &bytes)
                    .context("what decisions are made by cannot be kept beside the recordings")?;
            }
        }
        Ok(())
    }

    /// The recorder, once there is one.
    pub(crate) fn recorder(&self) -> Option<Recorder> {
        match &*self.0.lock() {
            Place::Here(_) => None,
            Place::With(recorder) => Some(recorder.clone()),
        }
    }

    /// Gives its digest. Blocks for a sync of the disk.
    pub(crate) fn keep(&self, kind: Snapshot, bytes: &[u8]) -> Result<String, KeepError> {
        let recorder = match &mut *self.0.lock() {
            Place::Here(waiting) => {
                // Of the sets only the last one will be asked.
                waiting.retain(|(k, _)| (*k, kind) != (Snapshot::PluginSet, Snapshot::PluginSet));
                waiting.push((kind, bytes.to_vec()));
                return Ok(Snapshot::digest(bytes));
            }
            Place::With(recorder) => recorder.clone(),
        };
        recorder.keep(kind, bytes)
    }
}

impl Archive for Snapshots {
    fn component(&self, wasm: &[u8]) -> Result<(), String> {
        let kept = self.keep(Snapshot::Plugin, wasm);
        kept.map(|_| ()).map_err(|e| e.to_string())
    }

    fn set(&self, set: &SetInfo) -> Result<Option<Arc<str>>, String> {
        let doc = SetDoc::of(set).to_bytes()?;
        let kept = self.keep(Snapshot::PluginSet, &doc);
        kept.map(|digest| Some(digest.into()))
            .map_err(|e| e.to_string())
    }
}
