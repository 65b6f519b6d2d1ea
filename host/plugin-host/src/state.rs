//! What one instance sees of the host: the four imports, and its memory limit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;

use crate::bindings::base::weir::plugin::{clock, config, kv as wit_kv, log as wit_log, types};
use crate::fault::OutOfMemory;
use crate::kv::{self, KvError};
use crate::limits::{LOG_BYTES, LOG_FIELDS, TABLE_ELEMENTS};
use crate::log::{Gate, cut};

/// What all calls of one plugin share.
pub(crate) struct Shared {
    /// The operator's name for it.
    pub(crate) name: Arc<str>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) kv: Arc<kv::Store>,
    pub(crate) logs: Gate,
    pub(crate) failures: Gate,
}

/// The state of one call.
pub(crate) struct CallState {
    shared: Arc<Shared>,
    /// Stands still during the call.
    now: u64,
    memory_left: usize,
    memory_limit: usize,
    /// Epochs that the call may still be running for.
    pub(crate) ticks_left: u64,
    /// It used what changes from call to call: its store, or the clock.
    pub(crate) asked: bool,
}

impl CallState {
    pub(crate) fn new(shared: Arc<Shared>, now: u64, memory_limit: usize, ticks: u64) -> Self {
        Self {
            shared,
            now,
            memory_left: memory_limit,
            memory_limit,
            ticks_left: ticks,
            asked: false,
        }
    }
}

impl ResourceLimiter for CallState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        match self.memory_left.checked_sub(more) {
            Some(left) => {
                self.memory_left = left;
                Ok(true)
            }
            None => Err(OutOfMemory(self.memory_limit).into()),
        }
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

impl types::Host for CallState {}

impl wit_log::Host for CallState {
    fn log(&mut self, level: wit_log::Level, message: String, fields: Vec<(String, String)>) {
        let Some(dropped) = self.shared.logs.pass(Instant::now()) else {
            return;
        };
        let plugin = &*self.shared.name;
        let message = cut(&message, LOG_BYTES);
        let fields: Vec<String> = fields
            .iter()
            .take(LOG_FIELDS)
            .map(|(k, v)| format!("{}={}", cut(k, LOG_BYTES / 8), cut(v, LOG_BYTES / 8)))
            .collect();
        let fields = fields.join(" ");
        match level {
            wit_log::Level::Trace => {
                tracing::trace!(target: "plugin", plugin, dropped, fields, "{message}");
            }
            wit_log::Level::Debug => {
                tracing::debug!(target: "plugin", plugin, dropped, fields, "{message}");
            }
            wit_log::Level::Info => {
                tracing::info!(target: "plugin", plugin, dropped, fields, "{message}");
            }
            // ERROR means that a human must look; a plugin does not decide that.
            wit_log::Level::Warn | wit_log::Level::Error => {
                tracing::warn!(target: "plugin", plugin, dropped, fields, "{message}");
            }
        }
    }
}

impl config::Host for CallState {
    fn get(&mut self, key: String) -> Option<String> {
        self.shared.config.get(&key).cloned()
    }

    fn get_all(&mut self) -> Vec<(String, String)> {
        self.shared.config.clone().into_iter().collect()
    }
}

impl wit_kv::Host for CallState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, wit_kv::Error> {
        self.asked = true;
        Ok(self.shared.kv.get(&key, self.now))
    }

    fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        ttl_seconds: Option<u32>,
    ) -> Result<(), wit_kv::Error> {
        self.asked = true;
        Ok(self.shared.kv.set(key, value, ttl_seconds, self.now)?)
    }

    fn delete(&mut self, key: String) -> Result<(), wit_kv::Error> {
        self.asked = true;
        self.shared.kv.delete(&key);
        Ok(())
    }

    fn increment(
        &mut self,
        key: String,
        delta: i64,
        ttl_seconds: Option<u32>,
    ) -> Result<i64, wit_kv::Error> {
        self.asked = true;
        Ok(self
            .shared
            .kv
            .increment(key, delta, ttl_seconds, self.now)?)
    }
}

impl From<KvError> for wit_kv::Error {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Quota => Self::Quota,
            KvError::TooLarge => Self::TooLarge,
        }
    }
}

impl clock::Host for CallState {
    fn now_unix(&mut self) -> u64 {
        self.asked = true;
        self.now
    }
}
