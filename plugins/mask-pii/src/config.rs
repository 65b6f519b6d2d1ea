//! The operator's settings.

use std::collections::BTreeMap;

use detect::{Detector, Detectors};
use weir_plugin::host::config;
use weir_plugin::{Action, PluginError};

use crate::plan::Class;

#[derive(Debug)]
pub struct Settings {
    /// `detectors`: what values are searched for; all by default, `none` for none.
    pub detectors: Detectors,
    /// `inspect = on`: values come into the sandbox and are searched here, not by the host.
    pub inspect: bool,
    /// `names = off`: a name alone masks nothing.
    pub names: bool,
    /// `columns.skip`: names of columns that are never searched; `*` at either end is a wildcard.
    skip: Vec<String>,
    /// `columns.only`: nothing else is searched.
    only: Option<Vec<String>>,
    /// `action.<class>`
    actions: BTreeMap<Class, Action>,
}

impl Settings {
    /// Every key must be known: a typo that is ignored would unmask something unseen.
    pub fn read() -> Result<Self, PluginError> {
        let mut out = Self {
            detectors: Detectors::ALL,
            inspect: false,
            names: true,
            skip: Vec::new(),
            only: None,
            actions: BTreeMap::new(),
        };
        for (key, value) in config::all() {
            match key.as_str() {
                "detectors" => out.detectors = detectors(&config::list(&key).unwrap_or_default())?,
                "inspect" => out.inspect = switch(&key, &value)?,
                "names" => out.names = switch(&key, &value)?,
                "columns.skip" => out.skip = lower(config::list(&key).unwrap_or_default()),
                "columns.only" => out.only = config::list(&key).map(lower),
                _ => {
                    let class = key.strip_prefix("action.").and_then(Class::by_name);
                    let Some(class) = class else {
                        return bad(format!("{key}: there is no such setting"));
                    };
                    out.actions.insert(class, action(&key, &value)?);
                }
            }
        }
        Ok(out)
    }

    /// What is done to columns of a class.
    pub fn action(&self, class: Class) -> Action {
        match self.actions.get(&class) {
            Some(action) => action.clone(),
            None => class.default_action(),
        }
    }

    /// Are columns of this name searched?
    pub fn searches(&self, name: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|p| glob(p, name));
        !matches(&self.skip) && self.only.as_deref().is_none_or(matches)
    }
}

fn switch(key: &str, value: &str) -> Result<bool, PluginError> {
    match value.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        other => bad(format!("{key}: {other:?} is neither on nor off")),
    }
}

fn detectors(names: &[String]) -> Result<Detectors, PluginError> {
    let mut out = Detectors::NONE;
    for name in names {
        match name.as_str() {
            "none" => {}
            "all" => out = Detectors::ALL,
            name => match Detector::by_name(name) {
                Some(one) => out = out.with(one),
                None => return bad(format!("detectors: there is none of the name {name:?}")),
            },
        }
    }
    Ok(out)
}

/// `redact`, `redact:<text>`, `null`, `hash:<key>`, `pseudonym:<key>`, `keep-first:<n>`,
/// `keep-last:<n>`: all of them hide.
fn action(key: &str, value: &str) -> Result<Action, PluginError> {
    let (name, argument) = match value.trim().split_once(':') {
        Some((name, argument)) => (name, Some(argument)),
        None => (value.trim(), None),
    };
    let number = |text: &str| match text.parse() {
        Ok(n @ 1..=16) => Ok(n),
        _ => bad(format!("{key}: {text:?} is not a number from 1 to 16")),
    };
    match (name, argument) {
        ("redact", None) => Ok(Action::Redact("[redacted]".into())),
        ("redact", Some(text)) => Ok(Action::Redact(text.into())),
        ("null", None) => Ok(Action::NullOut),
        ("hash", Some(k)) if !k.is_empty() => Ok(Action::Hash(k.into())),
        ("pseudonym", Some(k)) if !k.is_empty() => Ok(Action::Pseudonym(k.into())),
        ("keep-first", Some(n)) => Ok(Action::KeepFirst(number(n)?)),
        ("keep-last", Some(n)) => Ok(Action::KeepLast(number(n)?)),
        _ => bad(format!("{key}: {value:?} is no action that hides a value")),
    }
}

fn bad<T>(message: String) -> Result<T, PluginError> {
    Err(PluginError::BadConfig(message))
}

fn lower(names: Vec<String>) -> Vec<String> {
    names.iter().map(|n| n.to_ascii_lowercase()).collect()
}

fn glob(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => name.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(tail), None) => name.ends_with(tail),
        (None, Some(head)) => name.starts_with(head),
        (None, None) => pattern == name,
    }
}
