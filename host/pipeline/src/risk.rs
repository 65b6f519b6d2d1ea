//! What classifiers say about an action. They can make things stricter, never looser.

use std::collections::BTreeSet;
use std::sync::Arc;

/// A plugin that took part in a decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginRef {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// SHA-256 of the component, in hex.
    pub digest: Arc<str>,
}

/// One thing that a classifier noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: String,
    pub message: String,
}

/// What a classifier demands beyond the score.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Demand {
    #[default]
    None,
    /// Ask for the named approval rule even if policy would not.
    Escalate(String),
    Refuse(String),
}

/// The risk of one action: the maximum over all classifiers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Risk {
    /// 0..=100.
    pub score: u8,
    pub labels: BTreeSet<String>,
    pub findings: Vec<Finding>,
    /// Every classifier's demand; all must be met.
    pub demands: Vec<Demand>,
    pub plugins: Vec<PluginRef>,
    /// The set of plugins that was asked, by the digest under which it is kept.
    pub set: Option<Arc<str>>,
    /// A classifier used what changes from call to call, or failed: asked again, it may say something
    /// else.
    pub fleeting: bool,
}

/// The label that a failed classifier leaves.
pub const PLUGIN_FAILED: &str = "plugin-failed";

impl Risk {
    /// What a classifier that trapped, timed out or hit a limit amounts to.
    pub fn plugin_failed(plugin: Option<PluginRef>, message: &str) -> Self {
        Self {
            score: 100,
            labels: BTreeSet::from([PLUGIN_FAILED.to_owned()]),
            findings: vec![Finding {
                code: PLUGIN_FAILED.into(),
                message: message.into(),
            }],
            demands: Vec::new(),
            plugins: plugin.into_iter().collect(),
            set: None,
            fleeting: true,
        }
    }

    /// Joins two classifiers' results: always at least as strict as either.
    pub fn join(&mut self, other: Risk) {
        self.score = self.score.max(other.score).min(100);
        self.labels.extend(other.labels);
        self.findings.extend(other.findings);
        self.demands
            .extend(other.demands.into_iter().filter(|d| *d != Demand::None));
        self.plugins.extend(other.plugins);
        self.fleeting |= other.fleeting;
    }
}
