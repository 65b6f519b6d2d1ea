//! A set of plugins as it is kept: `plugin-sets/<sha256>.json`.

use std::collections::BTreeMap;

use plugin_host::SetInfo;
use serde::{Deserialize, Serialize};

/// The version of the document.
const VERSION: u32 = 1;

/// Which plugins were in force together, and how they were configured. Its names are in order, so that
/// equal sets are equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDoc {
    pub v: u32,
    /// In the order in which they are asked.
    pub plugins: Vec<SetPluginDoc>,
    /// Required ones that were not loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPluginDoc {
    pub name: String,
    /// Of the component, which is kept as `plugins/<digest>.wasm`.
    pub digest: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
}

impl SetDoc {
    pub fn of(set: &SetInfo) -> Self {
        let plugins = set.plugins.iter().map(|p| SetPluginDoc {
            name: p.name.to_string(),
            digest: p.digest.to_string(),
            config: p.config.clone(),
        });
        Self {
            v: VERSION,
            plugins: plugins.collect(),
            missing: set.missing.iter().map(ToString::to_string).collect(),
        }
    }

    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let doc: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match doc.v {
            VERSION => Ok(doc),
            v => Err(format!("it is of version {v}; this Weir knows {VERSION}")),
        }
    }
}
