//! The named plugins of one process, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pipeline::mask::{MaskColumn, MaskPlan};
use pipeline::ports::Clock;
use pipeline::{PluginRef, SessionId};

use crate::admission::{AdmissionError, Loaded, PluginInfo};
use crate::archive::{Archive, SetInfo, SetPlugin, kept_or_told};
use crate::events::{Events, Hook, PluginFailure};
use crate::fault::Fault;
use crate::limits::{FAILURE_LOGS_PER_SECOND, PLANS, PLUGINS};
use crate::log::Gate;
use crate::risks::Risks;
use crate::runtime::Runtime;

/// What an operator tells a plugin.
pub type Config = BTreeMap<String, String>;

pub struct Options {
    /// Where what is asked is kept, so that it can be asked again.
    pub archive: Arc<dyn Archive>,
    /// Plugins without which nothing may pass: while one is not loaded, every action is as if a
    /// classifier had failed, and every result is redacted.
    pub require: Vec<String>,
    pub events: Arc<dyn Events>,
    pub clock: Arc<dyn Clock>,
}

/// The plugins. A call works with the set that was active when it began.
pub struct Plugins {
    pub(crate) runtime: Runtime,
    pub(crate) set: ArcSwap<Set>,
    require: Vec<Arc<str>>,
    archive: Arc<dyn Archive>,
    events: Arc<dyn Events>,
    clock: Arc<dyn Clock>,
    /// Names that are required beside the configured ones. Held while the set is replaced; never
    /// across an await.
    expected: Mutex<BTreeSet<Arc<str>>>,
    missing: Gate,
}

/// One immutable set.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) plugins: Vec<Arc<Loaded>>,
    /// Required ones that are not in it.
    pub(crate) missing: Vec<Arc<str>>,
    /// Plans of this set, and so of these versions and configurations. A plan depends on who asks,
    /// so the session is part of the key.
    pub(crate) plans: Mutex<HashMap<(SessionId, Vec<MaskColumn>), MaskPlan>>,
    /// What this set's classifiers said of a statement, where that cannot change.
    pub(crate) risks: Risks,
    /// Under which digest it is kept.
    pub(crate) kept: Option<Arc<str>>,
}

impl Set {
    fn new<'a>(plugins: Vec<Arc<Loaded>>, require: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let missing: BTreeSet<Arc<str>> = require
            .into_iter()
            .filter(|name| !plugins.iter().any(|p| p.info.name == **name))
            .cloned()
            .collect();
        let missing = missing.into_iter().collect();
        Self {
            plugins,
            missing,
            plans: Mutex::default(),
            risks: Risks::default(),
            kept: None,
        }
    }

    pub(crate) fn info(&self) -> SetInfo {
        let plugin = |p: &Arc<Loaded>| SetPlugin {
            name: p.info.name.clone(),
            digest: p.info.digest.clone(),
            config: p.shared.config.clone(),
        };
        SetInfo {
            plugins: self.plugins.iter().map(plugin).collect(),
            missing: self.missing.clone(),
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.plugins.iter().find(|p| &*p.info.name == name)
    }

    pub(crate) fn remember(&self, key: (SessionId, Vec<MaskColumn>), plan: MaskPlan) {
        let mut plans = self.plans.lock();
        if plans.len() >= PLANS {
            plans.clear();
        }
        plans.insert(key, plan);
    }
}

impl Plugins {
    /// Starts without any plugin.
    pub fn new(runtime: Runtime, options: Options) -> Self {
        let require: Vec<Arc<str>> = options.require.into_iter().map(Arc::from).collect();
        let mut set = Set::new(Vec::new(), &require);
        set.kept = kept_or_told(&*options.archive, &set);
        Self {
            runtime,
            set: ArcSwap::from_pointee(set),
            require,
            archive: options.archive,
            events: options.events,
            clock: options.clock,
            expected: Mutex::default(),
            missing: Gate::new(FAILURE_LOGS_PER_SECOND),
        }
    }

    /// In the order in which they are asked.
    pub fn list(&self) -> Vec<PluginInfo> {
        let set = self.set.load();
        set.plugins.iter().map(|p| p.info.clone()).collect()
    }

    /// Required plugins that are not loaded.
    pub fn missing(&self) -> Vec<Arc<str>> {
        self.set.load().missing.clone()
    }

    /// Looks at a component and its configuration as `add` does, and changes nothing.
    pub async fn inspect(
        &self,
        name: &str,
        wasm: Vec<u8>,
        config: Config,
    ) -> Result<PluginInfo, AdmissionError> {
        let now = self.now_unix();
        let loaded = self
            .runtime
            .admit(name, wasm, config, now, |_| None)
            .await?;
        Ok(loaded.info)
    }

    /// Adds a plugin at the end, or replaces the one of that name in its place. Calls that are
    /// running end with the plugin they began with. If it fails, what was active stays active.
    pub async fn add(
        &self,
        name: &str,
        wasm: Vec<u8>,
        config: Config,
    ) -> Result<PluginInfo, AdmissionError> {
        // The same component with another configuration keeps its store; another one starts anew.
        let kept = |digest: &str| {
            let set = self.set.load();
            let old = set.find(name).filter(|p| &*p.info.digest == digest)?;
            Some(old.shared.kv.clone())
        };
        let now = self.now_unix();
        let component = wasm.clone();
        let loaded = Arc::new(self.runtime.admit(name, wasm, config, now, kept).await?);
        let info = loaded.info.clone();
        let archive = self.archive.clone();
        let kept = tokio::task::spawn_blocking(move || archive.component(&component)).await;
        kept.map_err(|e| AdmissionError::NotKept(e.to_string()))?
            .map_err(AdmissionError::NotKept)?;
        self.swap(AdmissionError::NotKept, |plugins, _| {
            let full = plugins.len() >= PLUGINS;
            match plugins.iter_mut().find(|p| p.info.name == info.name) {
                Some(slot) => *slot = loaded,
                None if full => return Err(AdmissionError::TooMany),
                None => plugins.push(loaded),
            }
            Ok(())
        })?;
        tracing::info!(plugin = %info.name, version = %info.version, digest = %info.digest, "plugin added");
        Ok(info)
    }

    /// Requires a plugin of this name until it is removed: one that was in force and cannot be
    /// loaded. Without it, what passes would be judged by less than people believe.
    pub fn expect(&self, name: &str) {
        // What makes things stricter cannot fail: a set that is not kept is told of.
        let mut expected = self.expected.lock();
        expected.insert(name.into());
        let mut set = self.set_of(self.set.load().plugins.clone(), &expected);
        set.kept = kept_or_told(&*self.archive, &set);
        self.set.store(Arc::new(set));
    }

    /// True when there was one of that name, or one was expected. An error leaves it in force.
    pub fn remove(&self, name: &str) -> Result<bool, String> {
        let removed = self.swap(Some, |plugins, expected| {
            let before = plugins.len();
            plugins.retain(|p| &*p.info.name != name);
            let awaited = expected.remove(name);
            if plugins.len() < before || awaited {
                Ok(())
            } else {
                Err(None)
            }
        });
        match removed {
            Ok(()) => {
                tracing::info!(plugin = name, "plugin removed");
                Ok(true)
            }
            Err(None) => Ok(false),
            Err(Some(why)) => Err(format!("the plugins without it cannot be kept: {why}")),
        }
    }

    /// Puts a changed set into force, once it is kept. On an error nothing changes.
    fn swap<E>(
        &self,
        not_kept: impl FnOnce(String) -> E,
        change: impl FnOnce(&mut Vec<Arc<Loaded>>, &mut BTreeSet<Arc<str>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut expected = self.expected.lock();
        let mut plugins = self.set.load().plugins.clone();
        let mut wanted = expected.clone();
        change(&mut plugins, &mut wanted)?;
        let mut set = self.set_of(plugins, &wanted);
        set.kept = self.archive.set(&set.info()).map_err(not_kept)?;
        *expected = wanted;
        self.set.store(Arc::new(set));
        Ok(())
    }

    fn set_of(&self, plugins: Vec<Arc<Loaded>>, expected: &BTreeSet<Arc<str>>) -> Set {
        Set::new(plugins, self.require.iter().chain(expected))
    }

    pub(crate) fn now_unix(&self) -> u64 {
        self.clock
            .now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    }

    /// Tells everybody who must know of a failure.
    pub(crate) fn failed(&self, plugin: &Loaded, hook: Hook, fault: &Fault, session: SessionId) {
        let passed = plugin.shared.failures.pass(std::time::Instant::now());
        self.report(&plugin.reference, hook, fault, session, passed);
    }

    /// Tells everybody that a required plugin is not there.
    pub(crate) fn absent(&self, name: &Arc<str>, hook: Hook, session: SessionId) {
        let plugin = PluginRef {
            name: name.clone(),
            version: "".into(),
            digest: "".into(),
        };
        let passed = self.missing.pass(std::time::Instant::now());
        self.report(&plugin, hook, &Fault::Missing, session, passed);
    }

    fn report(
        &self,
        plugin: &PluginRef,
        hook: Hook,
        fault: &Fault,
        session: SessionId,
        log: Option<u64>,
    ) {
        if let Some(unlogged) = log {
            tracing::error!(
                plugin = %plugin.name, digest = %plugin.digest, %hook, %fault, %session, unlogged,
                "a plugin failed; the strict outcome holds"
            );
        }
        self.events.plugin_failed(PluginFailure {
            plugin: plugin.clone(),
            hook,
            fault: fault.clone(),
            session,
        });
    }
}
