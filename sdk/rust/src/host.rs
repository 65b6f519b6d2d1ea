//! What the host offers a plugin. Natively, [`crate::testing`] answers instead.

/// Writes to the host's log. Long messages are cut, and too many are dropped.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    imp::log(level, message, fields);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The operator's configuration of this plugin.
pub mod config {
    use crate::PluginError;

    pub fn get(key: &str) -> Option<String> {
        super::imp::config_get(key)
    }

    pub fn all() -> Vec<(String, String)> {
        super::imp::config_all()
    }

    /// The value of `key` parsed, or `default` when it is not set.
    pub fn parse<T: std::str::FromStr>(key: &str, default: T) -> Result<T, PluginError> {
        match get(key) {
            None => Ok(default),
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| PluginError::BadConfig(format!("{key}: {text:?} is not valid"))),
        }
    }

    /// The comma-separated values of `key`, trimmed; `None` when it is not set.
    pub fn list(key: &str) -> Option<Vec<String>> {
        let text = get(key)?;
        let items = text.split(',').map(str::trim).filter(|s| !s.is_empty());
        Some(items.map(str::to_owned).collect())
    }
}

/// A small store that outlives a call; in the memory of one Weir process.
pub mod kv {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Error {
        Quota,
        TooLarge,
        Unavailable,
    }

    pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        super::imp::kv_get(key)
    }

    pub fn set(key: &str, value: &[u8], ttl_seconds: Option<u32>) -> Result<(), Error> {
        super::imp::kv_set(key, value, ttl_seconds)
    }

    pub fn delete(key: &str) -> Result<(), Error> {
        super::imp::kv_delete(key)
    }

    /// A value that is not a counter counts as 0.
    pub fn increment(key: &str, delta: i64, ttl_seconds: Option<u32>) -> Result<i64, Error> {
        super::imp::kv_increment(key, delta, ttl_seconds)
    }
}

/// Seconds since 1970; the same all through one call.
pub fn now_unix() -> u64 {
    imp::now_unix()
}

#[cfg(not(target_arch = "wasm32"))]
use crate::testing as imp;

#[cfg(target_arch = "wasm32")]
mod imp {
    use super::Level;
    use super::kv::Error;
    use crate::bindings::base::weir::plugin::{clock, config, kv, log as host_log};

    pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
        let level = match level {
            Level::Trace => host_log::Level::Trace,
            Level::Debug => host_log::Level::Debug,
            Level::Info => host_log::Level::Info,
            Level::Warn => host_log::Level::Warn,
            Level::Error => host_log::Level::Error,
        };
        let fields: Vec<_> = fields
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        host_log::log(level, message, &fields);
    }

    pub fn config_get(key: &str) -> Option<String> {
        config::get(key)
    }

    pub fn config_all() -> Vec<(String, String)> {
        config::get_all()
    }

    fn error(error: kv::Error) -> Error {
        match error {
            kv::Error::Quota => Error::Quota,
            kv::Error::TooLarge => Error::TooLarge,
            kv::Error::Unavailable => Error::Unavailable,
        }
    }

    pub fn kv_get(key: &str) -> Result<Option<Vec<u8>>, Error> {
        kv::get(key).map_err(error)
    }

    pub fn kv_set(key: &str, value: &[u8], ttl_seconds: Option<u32>) -> Result<(), Error> {
        kv::set(key, value, ttl_seconds).map_err(error)
    }

    pub fn kv_delete(key: &str) -> Result<(), Error> {
        kv::delete(key).map_err(error)
    }

    pub fn kv_increment(key: &str, delta: i64, ttl_seconds: Option<u32>) -> Result<i64, Error> {
        kv::increment(key, delta, ttl_seconds).map_err(error)
    }

    pub fn now_unix() -> u64 {
        clock::now_unix()
    }
}
