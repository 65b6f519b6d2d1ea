//! Bundles and plugins as they were kept, each compiled once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use authz::{Bundle, CompiledBundle};
use pipeline::ports::SystemClock;
use plugin_host::{Limits, NoArchive, NoEvents, Plugins, Runtime, RuntimeError};
use recorder::{Snapshot, Store, waiting_snapshot};
use tokio::sync::Mutex;

use crate::set::{SetDoc, SetPluginDoc};

/// Calls at the same time.
const CALLS: u32 = 16;
/// A call had to end in time when it was recorded; here it only has to end.
const CALL_TIME: Duration = Duration::from_secs(10);
/// A plugin that needed more than it was given failed, and that is taken from its record.
const MEMORY: usize = 512 << 20;
/// Bundles, or sets of plugins, that are compiled at the same time.
const MAX_LOADED: usize = 64;

/// Why something is not to be had.
pub type Missing = Arc<str>;
type Loaded<T> = Result<Arc<T>, Missing>;

/// Components that take the place of those of the time, by name.
pub type Others = HashMap<String, Vec<u8>>;

pub struct Library {
    store: Store,
    spool: Option<PathBuf>,
    runtime: Runtime,
    others: Others,
    bundles: Mutex<HashMap<String, Loaded<CompiledBundle>>>,
    sets: Mutex<HashMap<String, Loaded<Plugins>>>,
}

impl Library {
    /// `spool`: of the Weir that writes to the store, if it is at hand.
    pub fn new(store: Store, spool: Option<PathBuf>, others: Others) -> Result<Self, RuntimeError> {
        let limits = Limits {
            memory_bytes: MEMORY,
            concurrent_calls: CALLS,
            classify: CALL_TIME,
            admission: CALL_TIME,
            wall: 6 * CALL_TIME,
            ..Limits::default()
        };
        Ok(Self {
            store,
            spool,
            runtime: Runtime::new(limits, None)?,
            others,
            bundles: Mutex::default(),
            sets: Mutex::default(),
        })
    }

    pub async fn bundle(&self, digest: &str) -> Loaded<CompiledBundle> {
        let mut bundles = self.bundles.lock().await;
        make_room(&mut bundles);
        match bundles.entry(digest.to_owned()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let loaded = self.load_bundle(digest).await;
                let loaded = loaded.map_err(|why| format!("bundle {digest}: {why}").into());
                place.insert(loaded).clone()
            }
        }
    }

    /// The plugins of a set, with the others in the place of those of their names, or behind them.
    pub async fn set(&self, digest: &str) -> Loaded<Plugins> {
        let mut sets = self.sets.lock().await;
        make_room(&mut sets);
        match sets.entry(digest.to_owned()) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(place) => {
                let loaded = self.load_set(digest).await;
                let loaded = loaded.map_err(|why| format!("set of plugins {digest}: {why}").into());
                place.insert(loaded).clone()
            }
        }
    }

    async fn object(&self, kind: Snapshot, digest: &str) -> Result<bytes::Bytes, String> {
        // Things move from the spool to the store, so this is the order to look in.
        if let Some(spool) = self.spool.clone() {
            let digest = digest.to_owned();
            let look = move || waiting_snapshot(&spool, kind, &digest);
            let waits = tokio::task::spawn_blocking(look).await;
            if let Some(bytes) = waits.map_err(|e| e.to_string())? {
                return Ok(bytes);
            }
        }
        let found = self.store.snapshot(kind, digest).await;
        let found = found.map_err(|e| e.to_string())?;
        found.ok_or_else(|| {
            let key = kind.key(digest).unwrap_or_default();
            format!("the store has no {key}")
        })
    }

    async fn load_bundle(&self, digest: &str) -> Result<Arc<CompiledBundle>, String> {
        let archive = self.object(Snapshot::Bundle, digest).await?;
        let compile = move || {
            let bundle = Bundle::from_archive(&archive)?;
            CompiledBundle::compile(bundle, 0)
        };
        let compiled = tokio::task::spawn_blocking(compile).await;
        let compiled = compiled.map_err(|e| e.to_string())?;
        compiled
            .map(Arc::new)
            .map_err(|e| format!("it does not compile with this Weir: {e}"))
    }

    async fn load_set(&self, digest: &str) -> Result<Arc<Plugins>, String> {
        let doc = SetDoc::parse(&self.object(Snapshot::PluginSet, digest).await?)?;
        let known = |name: &String| doc.plugins.iter().any(|p| p.name == *name);
        let mut added: Vec<&String> = self.others.keys().filter(|name| !known(name)).collect();
        added.sort();
        let options = plugin_host::Options {
            archive: Arc::new(NoArchive),
            require: doc.missing.clone(),
            events: Arc::new(NoEvents),
            clock: Arc::new(SystemClock),
        };
        let plugins = Plugins::new(self.runtime.clone(), options);
        for plugin in &doc.plugins {
            let wasm = match self.others.get(&plugin.name) {
                Some(other) => other.clone(),
                None => self
                    .object(Snapshot::Plugin, &plugin.digest)
                    .await?
                    .to_vec(),
            };
            add(&plugins, plugin, wasm).await?;
        }
        for name in added {
            let plugin = SetPluginDoc {
                name: name.clone(),
                digest: String::new(),
                config: Default::default(),
            };
            let wasm = self.others.get(name).cloned().unwrap_or_default();
            add(&plugins, &plugin, wasm).await?;
        }
        Ok(Arc::new(plugins))
    }
}

async fn add(plugins: &Plugins, plugin: &SetPluginDoc, wasm: Vec<u8>) -> Result<(), String> {
    let added = plugins.add(&plugin.name, wasm, plugin.config.clone()).await;
    added
        .map(|_| ())
        .map_err(|e| format!("plugin {}: {e}", plugin.name))
}

/// A window with more is read all the same: what was loaded is loaded again.
fn make_room<T>(loaded: &mut HashMap<String, T>) {
    if loaded.len() >= MAX_LOADED {
        loaded.clear();
    }
}
