//! Plugin administration for the control plane, over the plugin host.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use plugin_host::{PluginInfo, Plugins};
use weir_client::PluginSummary;

pub(crate) struct PluginAdmin(pub(crate) Arc<Plugins>);

#[async_trait]
impl control::PluginEngine for PluginAdmin {
    async fn admit(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String> {
        let info = self.0.add(name, component.to_vec(), config).await;
        info.map(|info| summary(&info)).map_err(|e| chain(&e))
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        self.0.remove(name);
        Ok(())
    }

    fn list(&self) -> Vec<PluginSummary> {
        self.0.list().iter().map(summary).collect()
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
