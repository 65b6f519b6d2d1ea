//! The operator's settings. Each may be given for one rule alone: `channels.<rule>`.

use weir_plugin::PluginError;
use weir_plugin::host::config;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `channels`: names of notifiers, comma-separated.
    pub channels: Vec<String>,
    /// `required`: at least so many people.
    pub required: Option<u32>,
    /// `timeout_seconds`: at most so long.
    pub timeout_seconds: Option<u32>,
    /// `one_more_at`: one person more from this risk score on.
    pub one_more_at: Option<u8>,
}

const KEYS: &[&str] = &["channels", "required", "timeout_seconds", "one_more_at"];

impl Settings {
    pub fn read(rule: &str) -> Result<Self, PluginError> {
        for (key, value) in config::all() {
            let name = key.split('.').next().unwrap_or_default();
            if !KEYS.contains(&name) {
                return Err(PluginError::BadConfig(format!(
                    "{key}: there is no such setting"
                )));
            }
            let good = match name {
                "channels" => true,
                "one_more_at" => value.trim().parse::<u8>().is_ok_and(|score| score <= 100),
                _ => value.trim().parse::<u32>().is_ok_and(|n| n > 0),
            };
            if !good {
                return Err(PluginError::BadConfig(format!(
                    "{key}: {value:?} is not valid"
                )));
            }
        }
        let key = |name: &str| {
            let own = format!("{name}.{rule}");
            if config::get(&own).is_some() {
                own
            } else {
                name.to_owned()
            }
        };
        let number = |name: &str| {
            let key = key(name);
            match config::get(&key) {
                None => Ok(None),
                Some(_) => config::parse(&key, 0).map(Some),
            }
        };
        let score = key("one_more_at");
        Ok(Self {
            channels: config::list(&key("channels")).unwrap_or_default(),
            required: number("required")?,
            timeout_seconds: number("timeout_seconds")?,
            one_more_at: match config::get(&score) {
                None => None,
                Some(_) => Some(config::parse(&score, 0)?),
            },
        })
    }
}
