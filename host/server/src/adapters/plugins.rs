//! Plugin administration for the control plane, over the plugin host.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use plugin_host::{PluginInfo, Plugins};
use weir_client::PluginSummary;

use crate::config::Required;

pub(crate) struct PluginAdmin {
    pub(crate) plugins: Arc<Plugins>,
    pub(crate) pins: Pins,
}

/// The components that the configuration insists on, by name: no other one is admitted under it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(BTreeMap<String, String>);

impl Pins {
    pub(crate) fn new(required: &[Required]) -> Self {
        let pinned = required.iter().filter_map(|r| {
            let digest = r.sha256.clone()?;
            Some((r.name.clone(), digest))
        });
        Self(pinned.collect())
    }

    /// Loads a component unless another one is pinned.
    pub(crate) async fn add(
        &self,
        plugins: &Plugins,
        name: &str,
        component: Vec<u8>,
        config: BTreeMap<String, String>,
    ) -> Result<PluginInfo, String> {
        if self.0.contains_key(name) {
            let info = plugins.inspect(name, component.clone(), config.clone());
            self.check(name, &info.await.map_err(|e| chain(&e))?.digest)?;
        }
        let added = plugins.add(name, component, config).await;
        added.map_err(|e| chain(&e))
    }

    fn check(&self, name: &str, digest: &str) -> Result<(), String> {
        match self.0.get(name) {
            Some(pinned) if pinned != digest => Err(format!(
                "its sha256 is {digest}, but plugins.required of the configuration pins {pinned}"
            )),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl control::PluginEngine for PluginAdmin {
    async fn admit(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String> {
        let component = component.to_vec();
        let added = self.pins.add(&self.plugins, name, component, config).await;
        added.map(|info| summary(&info))
    }

    async fn inspect(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String> {
        let inspected = self.plugins.inspect(name, component.to_vec(), config);
        let info = inspected.await.map_err(|e| chain(&e))?;
        self.pins.check(name, &info.digest)?;
        Ok(summary(&info))
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        self.plugins.remove(name).map(|_| ())
    }

    fn expect(&self, name: &str) {
        self.plugins.expect(name);
    }

    fn missing(&self) -> Vec<String> {
        let missing = self.plugins.missing();
        missing.iter().map(ToString::to_string).collect()
    }

    fn list(&self) -> Vec<PluginSummary> {
        self.plugins.list().iter().map(summary).collect()
    }
}

pub(crate) fn summary(info: &PluginInfo) -> PluginSummary {
    PluginSummary {
        name: info.name.to_string(),
        version: info.version.to_string(),
        digest: info.digest.to_string(),
        capabilities: info
            .capabilities
            .iter()
            .map(|c| c.as_str().to_owned())
            .collect(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_name_takes_one_component_only() {
        let entry = |name: &str, sha256: Option<&str>| Required {
            name: name.into(),
            sha256: sha256.map(str::to_owned),
        };
        let pins = Pins::new(&[entry("pinned", Some("aa")), entry("named", None)]);
        for (name, digest, taken) in [
            ("pinned", "aa", true),
            ("pinned", "bb", false),
            ("named", "bb", true),
            ("other", "bb", true),
        ] {
            assert_eq!(pins.check(name, digest).is_ok(), taken, "{name} {digest}");
        }
    }
}
