//! A plugin engine in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use weir_client::PluginSummary;

use crate::PluginEngine;

/// A component is admitted unless it says BROKEN.
#[derive(Default)]
pub(crate) struct FakePlugins {
    loaded: Mutex<BTreeMap<String, Plugin>>,
    expected: Mutex<BTreeSet<String>>,
}

/// The component and its configuration.
type Plugin = (Bytes, BTreeMap<String, String>);

impl FakePlugins {
    pub(crate) fn component(&self, name: &str) -> Option<Bytes> {
        self.loaded.lock().get(name).map(|(bytes, _)| bytes.clone())
    }

    pub(crate) fn preload(&self, name: &str) {
        let plugin = (Bytes::from_static(b"built in"), BTreeMap::new());
        self.loaded.lock().insert(name.into(), plugin);
    }
}

fn plugin_summary(name: &str, component: &[u8]) -> PluginSummary {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, component);
    PluginSummary {
        name: name.into(),
        version: "1.0.0".into(),
        digest: hex::encode(digest.as_ref()),
        capabilities: vec!["classifier".into()],
    }
}

#[async_trait]
impl PluginEngine for FakePlugins {
    async fn admit(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String> {
        let summary = self
            .inspect(name, component.clone(), config.clone())
            .await?;
        self.loaded.lock().insert(name.into(), (component, config));
        Ok(summary)
    }

    async fn inspect(
        &self,
        name: &str,
        component: Bytes,
        _: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String> {
        if component.starts_with(b"BROKEN") {
            return Err("it is not a component".into());
        }
        Ok(plugin_summary(name, &component))
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        let removed = self.loaded.lock().remove(name).is_some();
        if self.expected.lock().remove(name) || removed {
            Ok(())
        } else {
            Err("unknown".into())
        }
    }

    fn expect(&self, name: &str) {
        self.expected.lock().insert(name.into());
    }

    fn missing(&self) -> Vec<String> {
        let (expected, loaded) = (self.expected.lock(), self.loaded.lock());
        let missing = expected.iter().filter(|name| !loaded.contains_key(*name));
        missing.cloned().collect()
    }

    fn list(&self) -> Vec<PluginSummary> {
        let plugins = self.loaded.lock();
        plugins
            .iter()
            .map(|(name, (component, _))| plugin_summary(name, component))
            .collect()
    }
}
