//! What `check-config` says about the state: what people activated and uploaded counts, not only the
//! configuration.

use authz::{Bundle, CompiledBundle};
use control::PluginEngine;
use control::store::{Stored, peek};

use super::{Parts, vault_days};
use crate::adapters::{Pins, PluginAdmin};
use crate::config::Config;

/// Lines for whoever checks, and what keeps Weir from serving as people believe.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) lines: Vec<String>,
    pub(crate) problems: Vec<String>,
}

impl Parts {
    /// Looks at the state, and tries what is in it as a start would.
    pub(crate) async fn stored(&self) -> Findings {
        let required = &self.config.plugin_limits.required;
        let plugins = PluginAdmin {
            plugins: self.plugins.clone(),
            pins: Pins::new(required),
        };
        let mut found = Findings::default();
        let mut there: Vec<String> = plugins.list().into_iter().map(|p| p.name).collect();
        match peek(&self.config.data_dir.join("state.sqlite")) {
            Ok(None) => {}
            Ok(Some(stored)) => {
                let configured = self.bundle.summary().digest;
                found.bundle(&stored, &configured, vault_days(&self.config));
                found.plugins(stored, &plugins, &mut there).await;
            }
            Err(error) => found
                .lines
                .push(format!("the state cannot be looked at: {error}")),
        }
        for entry in required.iter().filter(|r| !there.contains(&r.name)) {
            found.problems.push(format!(
                "plugins.required: {:?} is neither a [[plugin]] nor uploaded: until it is, everything \
                 is refused",
                entry.name
            ));
        }
        found
    }
}

/// Will the bundle of the configuration be in force? Of a state that cannot be looked at it is said here as well:
/// what is proved too much only keeps a start from going on that would end there anyway.
pub(super) fn configuration_counts(config: &Config, bundle: &CompiledBundle) -> bool {
    match peek(&config.data_dir.join("state.sqlite")) {
        Ok(Some(stored)) => !people_count(&stored, &bundle.summary().digest),
        Ok(None) | Err(_) => true,
    }
}

/// Until people activate one, the configuration's is followed.
fn people_count(stored: &Stored, configured: &str) -> bool {
    let row = stored.bundle.as_ref().map(|(row, _)| row);
    row.is_some_and(|row| row.author.is_some() && row.summary.digest != configured)
}

impl Findings {
    fn bundle(&mut self, stored: &Stored, configured: &str, vault_days: Option<u32>) {
        let Some((row, files)) = &stored.bundle else {
            return;
        };
        if !people_count(stored, configured) {
            return;
        }
        self.lines.push(format!(
            "the bundle in force is version {}, which people activated (sha256 {}); the one of the \
             configuration is not used",
            row.version, row.summary.digest
        ));
        let compiled = Bundle::from_files(files.clone())
            .and_then(|bundle| CompiledBundle::compile(bundle, row.version))
            .and_then(|compiled| compiled.check_retention(vault_days));
        if let Err(errors) = compiled {
            self.problems.push(format!(
                "bundle version {}, which is in force, no longer validates: every session will be \
                 refused until another one is activated: {errors}",
                row.version
            ));
        }
    }

    async fn plugins(&mut self, stored: Stored, host: &PluginAdmin, there: &mut Vec<String>) {
        let configured = there.clone();
        for (row, component) in stored.plugins {
            let name = row.summary.name;
            if configured.contains(&name) {
                let text = "is not used: the configuration has one of this name";
                self.lines
                    .push(format!("the uploaded plugin {name} {text}"));
                continue;
            }
            match host.inspect(&name, component, row.config).await {
                Ok(summary) => self.lines.push(format!(
                    "uploaded plugin {name} {} by {}",
                    summary.version, row.uploaded_by
                )),
                Err(reason) => self.problems.push(format!(
                    "the uploaded plugin {name} is no longer admitted: what it would look at will be \
                     refused until it is replaced or removed: {reason}"
                )),
            }
            there.push(name);
        }
    }
}
