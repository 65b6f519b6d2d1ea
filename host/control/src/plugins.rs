//! Administration of plugins: uploaded, admitted by the host, kept for the next start.
//!
//! A new plugin can only make things stricter: one person may add it. What could loosen them, taking
//! another one's place, a removal, or filling the place of one that is missed, waits for a second
//! person. What should be in force and is not is missed by the engine, and that fails closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pipeline::Principal;
use tokio::sync::Semaphore;
use uuid::Uuid;
use weir_client::{PluginChangeKind, PluginInfo, PluginSummary, Timestamp};

use crate::convert;
use crate::error::ApiError;
use crate::guard::{Recorded, involved_in, only_people};
use crate::ports::PluginEngine;
use crate::store::{Millis, PluginChangeRow, PluginRow, Store, StoreError, write_is_over};

/// The longest name of a plugin.
const MAX_NAME: usize = 64;
/// Entries of a plugin's configuration, and the bytes of all of them.
const MAX_CONFIG: usize = 64;
const MAX_CONFIG_BYTES: usize = 64 * 1024;
/// Changes that wait for a second person, each of another plugin.
const MAX_PENDING: u32 = 8;
/// How long a change waits.
const PENDING_FOR: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone)]
pub(crate) struct Plugins {
    store: Arc<dyn Store>,
    engine: Arc<dyn PluginEngine>,
    /// Those that came with the configuration: nobody replaces or removes them here.
    configured: Arc<BTreeSet<String>>,
    /// Uploaded ones that should be in force and are not, and why.
    broken: Arc<Mutex<BTreeMap<String, String>>>,
    max_bytes: usize,
    /// One change at a time; nobody waits for it.
    changing: Arc<Semaphore>,
}

/// An upload, as it came.
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) component: Bytes,
    pub(crate) config: BTreeMap<String, String>,
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
            broken: Arc::default(),
            max_bytes,
            changing: Arc::new(Semaphore::new(1)),
        }
    }

    /// Admits every uploaded plugin again. One that fails is missed: without it, Weir would be less
    /// strict than people believe. One whose name the configuration has taken since stays out: it
    /// must not take the place of what the operator configured.
    pub(crate) async fn restore(&self) -> Result<(), StoreError> {
        for row in self.store.plugins().await? {
            let name = row.summary.name.clone();
            if self.configured.contains(&name) {
                tracing::warn!(
                    plugin = name,
                    "an uploaded plugin is not used: the configuration has one of this name"
                );
                continue;
            }
            self.load(&name, Some(row)).await;
        }
        Ok(())
    }

    /// Brings the engine to what the store says of this plugin.
    async fn load(&self, name: &str, row: Option<PluginRow>) {
        let Some(row) = row else {
            // That there is none is what is wanted.
            self.engine.remove(name).await.ok();
            self.broken.lock().remove(name);
            return;
        };
        let loaded = match self.store.plugin_component(name).await {
            Ok(component) => {
                let component = component.unwrap_or_default();
                self.engine.admit(name, component, row.config).await
            }
            Err(error) => Err(error.to_string()),
        };
        match loaded {
            Ok(_) => {
                self.broken.lock().remove(name);
            }
            Err(reason) => {
                tracing::error!(
                    plugin = name,
                    reason,
                    "an uploaded plugin cannot be loaded: until it is replaced or removed, what it \
                     would look at is refused or redacted"
                );
                self.engine.remove(name).await.ok();
                self.engine.expect(name);
                self.broken.lock().insert(name.to_owned(), reason);
            }
        }
    }

    /// Uploaded ones, those that came with the configuration, and those that are missed.
    pub(crate) async fn list(&self, now: Millis) -> Result<Vec<PluginInfo>, StoreError> {
        let mut all: BTreeMap<String, PluginInfo> = self
            .engine
            .list()
            .into_iter()
            .map(|summary| (summary.name.clone(), convert::loaded_plugin(summary)))
            .collect();
        for name in self.engine.missing() {
            all.insert(name.clone(), convert::missing_plugin(&name));
        }
        let broken = self.broken.lock().clone();
        for row in self.store.plugins().await? {
            let name = row.summary.name.clone();
            if !self.configured.contains(&name) {
                let problem = broken.get(&name).cloned();
                all.insert(name, convert::plugin(row, problem));
            }
        }
        for change in self.store.plugin_changes().await? {
            if now < change.expires_at
                && let Some(info) = all.get_mut(&change.summary.name)
            {
                info.pending = Some(convert::plugin_change(change));
            }
        }
        Ok(all.into_values().collect())
    }

    pub(crate) async fn one(&self, name: &str, now: Millis) -> Result<PluginInfo, ApiError> {
        let all = self.list(now).await?;
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

    /// Does an upload of this name wait for a second person?
    pub(crate) async fn waits(&self, name: &str) -> Result<bool, ApiError> {
        let taken = self.uploaded(name).await?.is_some();
        Ok(taken || self.engine.missing().iter().any(|missing| missing == name))
    }

    /// Admits a new plugin and keeps it. On any error, nothing has changed.
    pub(crate) async fn add(
        &self,
        recorded: &Recorded,
        upload: Upload,
    ) -> Result<PluginInfo, ApiError> {
        let _changing = self.change()?;
        let Upload {
            name,
            component,
            config,
        } = upload;
        if self.waits(&name).await? {
            return Err(ApiError::conflict("the plugins changed meanwhile").retry_after(1));
        }
        let summary = self
            .engine
            .admit(&name, component.clone(), config.clone())
            .await
            .map_err(not_admitted)?;
        let row = PluginRow {
            summary: PluginSummary {
                name: name.clone(),
                ..summary
            },
            size: component.len() as u64,
            config,
            uploaded_by: recorded.by().actor.subject.to_string(),
            uploaded_at: Timestamp::from(recorded.at()).millis(),
            confirmed_by: None,
        };
        let written = self.store.add_plugin(row.clone(), component).await;
        self.settle(&name, written, |present| present == Some(&row))
            .await?;
        Ok(convert::plugin(row, None))
    }

    /// Keeps an upload for somebody else to confirm. Nothing changes until then.
    pub(crate) async fn stage(
        &self,
        recorded: &Recorded,
        upload: Upload,
    ) -> Result<PluginInfo, ApiError> {
        let _changing = self.change()?;
        let Upload {
            name,
            component,
            config,
        } = upload;
        let summary = self
            .engine
            .inspect(&name, component.clone(), config.clone())
            .await
            .map_err(not_admitted)?;
        let change = PluginChangeRow {
            summary: PluginSummary {
                name: name.clone(),
                ..summary
            },
            size: component.len() as u64,
            config,
            ..self
                .change_of(recorded, &name, PluginChangeKind::Put)
                .await?
        };
        self.wait(change, component).await
    }

    /// Asks for the removal of an uploaded plugin. Nothing changes until somebody else confirms it.
    pub(crate) async fn remove(
        &self,
        recorded: &Recorded,
        name: String,
    ) -> Result<PluginInfo, ApiError> {
        let _changing = self.change()?;
        if self.uploaded(&name).await?.is_none() {
            return Err(ApiError::not_found("there is no plugin of this name"));
        }
        let change = self.change_of(recorded, &name, PluginChangeKind::Remove);
        self.wait(change.await?, Bytes::new()).await
    }

    async fn change_of(
        &self,
        recorded: &Recorded,
        name: &str,
        kind: PluginChangeKind,
    ) -> Result<PluginChangeRow, ApiError> {
        let present = self.uploaded(name).await?;
        let author = recorded.by();
        let created_at = Timestamp::from(recorded.at()).millis();
        Ok(PluginChangeRow {
            id: Uuid::now_v7().to_string(),
            kind,
            summary: convert::missing_plugin(name).summary,
            size: 0,
            config: BTreeMap::new(),
            replaces: present.map(|row| row.edition()).unwrap_or_default(),
            author: author.actor.subject.to_string(),
            involved: convert::involved(author),
            created_at,
            expires_at: created_at.saturating_add(convert::millis(PENDING_FOR)),
        })
    }

    async fn wait(
        &self,
        change: PluginChangeRow,
        component: Bytes,
    ) -> Result<PluginInfo, ApiError> {
        let (name, now) = (change.summary.name.clone(), change.created_at);
        if !self
            .store
            .stage_plugin(change, component, MAX_PENDING)
            .await?
        {
            let text = format!("{MAX_PENDING} changes of plugins wait for their confirmation");
            return Err(ApiError::conflict(text).hint("Confirm one of them first; they expire."));
        }
        self.one(&name, now).await
    }

    /// The change that waits, by its id.
    pub(crate) async fn pending(
        &self,
        name: &str,
        id: &str,
        now: Millis,
    ) -> Result<PluginChangeRow, ApiError> {
        let changes = self.store.plugin_changes().await?;
        changes
            .into_iter()
            .find(|c| c.summary.name == name && c.id == id && now < c.expires_at)
            .ok_or_else(|| {
                ApiError::not_found("no such change of this plugin waits")
                    .hint("A newer request may have taken its place; look at the plugin again.")
            })
    }

    /// The second pair of eyes: a person, and not one who is involved in the request.
    pub(crate) fn may_confirm(change: &PluginChangeRow, who: &Principal) -> Result<(), ApiError> {
        only_people(who, "confirm changes of plugins")?;
        if involved_in(&change.involved, who) {
            return Err(ApiError::forbidden(
                "who asked for a change of a plugin may not confirm it",
            )
            .hint("Ask somebody else who may change plugins."));
        }
        Ok(())
    }

    /// Does what the change says. On any error, what was in force stays in force.
    pub(crate) async fn confirm(
        &self,
        recorded: &Recorded,
        change: PluginChangeRow,
    ) -> Result<PluginInfo, ApiError> {
        Self::may_confirm(&change, recorded.by())?;
        let _changing = self.change()?;
        let name = change.summary.name.clone();
        let present = self.uploaded(&name).await?;
        if present.as_ref().map(PluginRow::edition).unwrap_or_default() != change.replaces {
            return Err(ApiError::conflict(
                "the plugin is not the one any more that the change was asked for",
            ));
        }
        let (by, at) = (
            recorded.by().actor.subject.to_string(),
            Timestamp::from(recorded.at()).millis(),
        );
        let after = self.switch(&change, &by, at).await?;
        let written = self.store.apply_plugin_change(&change.id, &by, at).await;
        self.settle(&name, written, |row| row == after.as_ref())
            .await?;
        self.broken.lock().remove(&name);
        match (after, present) {
            (Some(row), _) => Ok(convert::plugin(row, None)),
            (None, Some(row)) => Ok(convert::removed_plugin(row)),
            (None, None) => Err(ApiError::not_found("there is no plugin of this name")),
        }
    }

    /// Switches the engine, and gives what the store must say afterwards.
    async fn switch(
        &self,
        change: &PluginChangeRow,
        by: &str,
        at: Millis,
    ) -> Result<Option<PluginRow>, ApiError> {
        let name = &change.summary.name;
        if change.kind == PluginChangeKind::Remove {
            let removed = self.engine.remove(name).await;
            removed
                .map_err(|reason| ApiError::conflict(format!("it cannot be removed: {reason}")))?;
            return Ok(None);
        }
        let component = self.store.plugin_change_component(&change.id).await?;
        self.engine
            .admit(name, component.unwrap_or_default(), change.config.clone())
            .await
            .map_err(not_admitted)?;
        Ok(Some(PluginRow {
            summary: change.summary.clone(),
            size: change.size,
            config: change.config.clone(),
            uploaded_by: change.author.clone(),
            uploaded_at: at,
            confirmed_by: Some(by.to_owned()),
        }))
    }

    /// After the engine was switched: if the store did not follow, the engine goes back. A store
    /// that did not answer in time may have followed all the same, so it is asked.
    async fn settle(
        &self,
        name: &str,
        written: Result<bool, StoreError>,
        done: impl Fn(Option<&PluginRow>) -> bool,
    ) -> Result<(), ApiError> {
        let failed = match written {
            Ok(true) => return Ok(()),
            Ok(false) => ApiError::conflict("the plugins changed meanwhile").retry_after(1),
            Err(error) => {
                let late = matches!(error, StoreError::Timeout);
                if late && !write_is_over(&*self.store).await {
                    tracing::error!(plugin = name, "the store may differ from the engine");
                }
                error.into()
            }
        };
        let present = self.store.plugin(name).await?;
        if done(present.as_ref()) {
            return Ok(());
        }
        self.load(name, present).await;
        Err(failed)
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
}

fn not_admitted(reason: String) -> ApiError {
    ApiError::rejected(format!("the plugin is not admitted: {reason}"))
}

fn well_formed(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.starts_with('-')
}
