//! Administration of plugins: uploaded, admitted by the host, kept for the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use weir_client::{PluginInfo, Timestamp};

use crate::convert;
use crate::error::{ApiError, ControlError};
use crate::guard::Recorded;
use crate::ports::PluginEngine;
use crate::store::{PluginRow, Store, StoreError};

/// The longest name of a plugin.
const MAX_NAME: usize = 64;
/// Entries of a plugin's configuration, and the bytes of all of them.
const MAX_CONFIG: usize = 64;
const MAX_CONFIG_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub(crate) struct Plugins {
    store: Arc<dyn Store>,
    engine: Arc<dyn PluginEngine>,
    /// Those that came with the configuration: nobody replaces or removes them here.
    configured: Arc<BTreeSet<String>>,
    max_bytes: usize,
    /// One change at a time; nobody waits for it.
    changing: Arc<Semaphore>,
}

impl Plugins {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        engine: Arc<dyn PluginEngine>,
        max_bytes: usize,
    ) -> Self {
        let configured = engine.list().into_iter().map(|p| p.name).collect();
        Self {
            store,
            engine,
            configured: Arc::new(configured),
            max_bytes,
            changing: Arc::new(Semaphore::new(1)),
        }
    }

    /// Admits every uploaded plugin again. One that fails ends the start: without it, Weir would be
    /// less strict than people believe. One whose name the configuration has taken since stays out:
    /// it must not take the place of what the operator configured.
    pub(crate) async fn restore(&self) -> Result<(), ControlError> {
        for row in self.store.plugins().await? {
            let name = row.summary.name.clone();
            if self.configured.contains(&name) {
                tracing::warn!(
                    plugin = name,
                    "an uploaded plugin is not used: the configuration has one of this name"
                );
                continue;
            }
            let component = self.store.plugin_component(&name).await?;
            let component = component.unwrap_or_default();
            self.engine
                .admit(&name, component, row.config)
                .await
                .map_err(|reason| ControlError::Plugin { name, reason })?;
        }
        Ok(())
    }

    /// Uploaded ones, and those that came with the configuration.
    pub(crate) async fn list(&self) -> Result<Vec<PluginInfo>, StoreError> {
        let mut all: BTreeMap<String, PluginInfo> = self
            .engine
            .list()
            .into_iter()
            .map(|summary| {
                let info = PluginInfo {
                    summary,
                    size: 0,
                    config: BTreeMap::new(),
                    uploaded_by: None,
                    uploaded_at: None,
                };
                (info.summary.name.clone(), info)
            })
            .collect();
        for row in self.store.plugins().await? {
            if self.configured.contains(&row.summary.name) {
                continue;
            }
            all.insert(row.summary.name.clone(), convert::plugin(row));
        }
        Ok(all.into_values().collect())
    }

    pub(crate) async fn one(&self, name: &str) -> Result<PluginInfo, ApiError> {
        let all = self.list().await?;
        all.into_iter()
            .find(|p| p.summary.name == name)
            .ok_or_else(|| ApiError::not_found("there is no plugin of this name"))
    }

    pub(crate) fn check(
        &self,
        name: &str,
        component: &[u8],
        config: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        if !well_formed(name) {
            return Err(
                ApiError::invalid("this is not a plugin's name").hint(format!(
                    "Lower-case letters, digits and '-', at most {MAX_NAME} characters."
                )),
            );
        }
        if component.is_empty() {
            return Err(ApiError::invalid("the component is empty"));
        }
        if component.len() > self.max_bytes {
            return Err(ApiError::too_large(format!(
                "the component has {} bytes, {} are permitted",
                component.len(),
                self.max_bytes
            )));
        }
        let size: usize = config.iter().map(|(k, v)| k.len() + v.len()).sum();
        if config.len() > MAX_CONFIG || size > MAX_CONFIG_BYTES {
            return Err(ApiError::too_large(format!(
                "the configuration has more than {MAX_CONFIG} entries or {MAX_CONFIG_BYTES} bytes"
            )));
        }
        Ok(())
    }

    /// Admits the component and keeps it. On any error, what was there stays.
    pub(crate) async fn put(
        &self,
        recorded: &Recorded,
        name: String,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginInfo, ApiError> {
        let _changing = self.change()?;
        let before = self.uploaded(&name).await?;
        let summary = self
            .engine
            .admit(&name, component.clone(), config.clone())
            .await
            .map_err(|reason| {
                ApiError::rejected(format!("the plugin is not admitted: {reason}"))
            })?;
        let row = PluginRow {
            summary: weir_client::PluginSummary {
                name: name.clone(),
                ..summary
            },
            size: component.len() as u64,
            config,
            uploaded_by: recorded.by().actor.subject.to_string(),
            uploaded_at: Timestamp::from(recorded.at()).millis(),
        };
        if let Err(error) = self.store.put_plugin(row.clone(), component).await {
            self.put_back(&name, before).await;
            return Err(error.into());
        }
        Ok(convert::plugin(row))
    }

    /// Removes an uploaded plugin.
    pub(crate) async fn remove(&self, _: &Recorded, name: String) -> Result<PluginInfo, ApiError> {
        let _changing = self.change()?;
        let before = self.uploaded(&name).await?;
        let Some(row) = before.clone() else {
            return Err(ApiError::not_found("there is no plugin of this name"));
        };
        self.engine
            .remove(&name)
            .await
            .map_err(|reason| ApiError::conflict(format!("it cannot be removed: {reason}")))?;
        if let Err(error) = self.store.remove_plugin(&name).await {
            self.put_back(&name, before).await;
            return Err(error.into());
        }
        Ok(convert::plugin(row))
    }

    fn change(&self) -> Result<tokio::sync::OwnedSemaphorePermit, ApiError> {
        self.changing.clone().try_acquire_owned().map_err(|_| {
            ApiError::conflict("another change of the plugins is under way").retry_after(2)
        })
    }

    /// The uploaded plugin of this name, if any. One that came with the configuration is not ours
    /// to change: the next start would bring it back.
    async fn uploaded(&self, name: &str) -> Result<Option<PluginRow>, ApiError> {
        let row = self.store.plugin(name).await?;
        let loaded = || self.engine.list().iter().any(|p| p.name == name);
        if self.configured.contains(name) || row.is_none() && loaded() {
            return Err(
                ApiError::conflict("a plugin of this name comes with the configuration")
                    .hint("Change the configuration, or take another name."),
            );
        }
        Ok(row)
    }

    /// Brings the engine back to what the store says.
    async fn put_back(&self, name: &str, before: Option<PluginRow>) {
        let result = match before {
            None => self.engine.remove(name).await,
            Some(row) => match self.store.plugin_component(name).await {
                Ok(component) => self
                    .engine
                    .admit(name, component.unwrap_or_default(), row.config)
                    .await
                    .map(drop),
                Err(error) => Err(error.to_string()),
            },
        };
        if let Err(reason) = result {
            tracing::error!(
                plugin = name,
                reason,
                "the engine differs from the store: restart Weir"
            );
        }
    }
}

fn well_formed(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
}
