//! What a component must be before it becomes a plugin.

use std::sync::Arc;

use pipeline::{PluginRef, Protocol};
use wasmtime::component::Component;

use crate::bindings::{
    CLASSIFY, IMPORTS, LIFECYCLE, MASK, ROUTE, SCOPE, classify, lifecycle, mask, route, scope,
    types,
};
use crate::call::until;
use crate::convert;
use crate::events::Hook;
use crate::fault::Fault;
use crate::kv;
use crate::limits::{
    COMPONENT_BYTES, CONFIG_BYTES, CONFIG_ENTRIES, FAILURE_LOGS_PER_SECOND, LABEL_BYTES, LABELS,
    LOGS_PER_SECOND, NAME_BYTES, PLUGINS, PROTOCOLS,
};
use crate::log::{Gate, cut};
use crate::plugins::Config;
use crate::runtime::{Runtime, fits, sha256};
use crate::state::{CallState, Shared};

/// What a plugin implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    Classify,
    Mask,
    Route,
}

impl Capability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Mask => "mask",
            Self::Route => "route",
        }
    }
}

/// A plugin as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginInfo {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// What it calls itself.
    pub component: String,
    pub version: Arc<str>,
    /// SHA-256 of the component, in hex.
    pub digest: Arc<str>,
    pub capabilities: Vec<Capability>,
    pub labels: Vec<String>,
    /// Whose actions it classifies. None: all.
    pub protocols: Option<Vec<Protocol>>,
    /// Of the component, in bytes.
    pub size: usize,
}

/// Why a component does not become a plugin. What was active stays active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error(
        "the name {0:?} is not valid: 1 to {NAME_BYTES} characters out of a-z, 0-9, '-', '_' and '.'"
    )]
    BadName(String),
    #[error("the component has {size} bytes, more than the limit of {COMPONENT_BYTES}")]
    TooLarge { size: usize },
    #[error("the configuration has more than {CONFIG_ENTRIES} entries or {CONFIG_BYTES} bytes")]
    ConfigTooLarge,
    #[error("there are {PLUGINS} plugins already; remove one first")]
    TooMany,
    #[error("this is no WebAssembly file")]
    NotWasm,
    #[error(
        "this is a core module, not a component; make one of it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("the component is not valid: {0}")]
    Invalid(String),
    #[error(
        "the component imports {}; a plugin gets weir:plugin/{{log,config,kv,clock}} and nothing else",
        .0.join(", ")
    )]
    ForeignImports(Vec<String>),
    #[error("the component does not export {LIFECYCLE}")]
    NoLifecycle,
    #[error("the component exports none of {CLASSIFY}, {MASK} and {ROUTE}")]
    NoCapability,
    #[error("the component does not keep to the contract in wit/: {0}")]
    Incompatible(String),
    #[error("the component needs more than a plugin gets: {0}")]
    TooHungry(String),
    #[error("the plugin failed while it was looked at: {0}")]
    Failed(#[source] Fault),
    #[error("the plugin describes itself badly: {0}")]
    BadInfo(String),
    #[error("the plugin does not accept its configuration: {0}")]
    BadConfig(String),
    #[error("the plugin cannot be kept beside the recordings: {0}")]
    NotKept(String),
}

/// A plugin, ready to be called.
pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    pub(crate) reference: PluginRef,
    pub(crate) shared: Arc<Shared>,
    pub(crate) classify: Option<classify::OnlyClassifyPre<CallState>>,
    pub(crate) mask: Option<mask::OnlyMaskPre<CallState>>,
    pub(crate) route: Option<route::OnlyRoutePre<CallState>>,
}

impl Runtime {
    /// Looks at a component from all sides, and lets it look at its configuration. `kept` may give
    /// the store of the plugin that this one replaces.
    pub(crate) async fn admit(
        &self,
        name: &str,
        wasm: Vec<u8>,
        config: Config,
        now_unix: u64,
        kept: impl FnOnce(&str) -> Option<Arc<kv::Store>>,
    ) -> Result<Loaded, AdmissionError> {
        check_name(name)?;
        check_config_size(&config)?;
        check_header(&wasm)?;
        let size = wasm.len();
        let digest = sha256(&wasm);
        let runtime = self.clone();
        let component = tokio::task::spawn_blocking(move || runtime.compile(&wasm, &digest))
            .await
            .map_err(|e| AdmissionError::Invalid(e.to_string()))?
            .map_err(|e| AdmissionError::Invalid(cut(&format!("{e:#}"), 1024)))?;
        self.check_imports(&component)?;
        let capabilities = capabilities(&component)?;
        fits(&component, self.limits()).map_err(AdmissionError::TooHungry)?;

        let digest: Arc<str> = hex::encode(digest).into();
        let name: Arc<str> = name.into();
        let shared = Arc::new(Shared {
            name: name.clone(),
            config,
            kv: kept(&digest).unwrap_or_default(),
            logs: Gate::new(LOGS_PER_SECOND),
            failures: Gate::new(FAILURE_LOGS_PER_SECOND),
        });
        let incompatible = |e: wasmtime::Error| AdmissionError::Incompatible(format!("{e:#}"));
        let pre = self.link(&component).map_err(incompatible)?;
        let has = |capability| capabilities.contains(&capability);
        let classify = has(Capability::Classify)
            .then(|| classify::OnlyClassifyPre::new(pre.clone()))
            .transpose()
            .map_err(incompatible)?;
        let mask = has(Capability::Mask)
            .then(|| mask::OnlyMaskPre::new(pre.clone()))
            .transpose()
            .map_err(incompatible)?;
        let route = has(Capability::Route)
            .then(|| route::OnlyRoutePre::new(pre.clone()))
            .transpose()
            .map_err(incompatible)?;
        let scope = exports(&component, SCOPE)
            .then(|| scope::OnlyScopePre::new(pre.clone()))
            .transpose()
            .map_err(incompatible)?;
        let lifecycle = lifecycle::OnlyLifecyclePre::new(pre).map_err(incompatible)?;
        let about = self.describe(&lifecycle, &shared, now_unix).await?;
        let protocols = match scope {
            Some(scope) => self.protocols(&scope, &shared, now_unix).await?,
            None => None,
        };
        self.check_config(&lifecycle, &shared, now_unix).await?;

        let version: Arc<str> = about.version.into();
        Ok(Loaded {
            reference: PluginRef {
                name: name.clone(),
                version: version.clone(),
                digest: digest.clone(),
            },
            info: PluginInfo {
                name,
                component: about.name,
                version,
                digest,
                capabilities,
                labels: about.labels,
                protocols,
                size,
            },
            shared,
            classify,
            mask,
            route,
        })
    }

    fn check_imports(&self, component: &Component) -> Result<(), AdmissionError> {
        let foreign: Vec<String> = component
            .component_type()
            .imports(self.engine())
            .map(|(name, _)| name)
            .filter(|name| !IMPORTS.contains(&name.split('@').next().unwrap_or_default()))
            .take(LABELS)
            .map(|name| cut(name, LABEL_BYTES))
            .collect();
        match foreign.is_empty() {
            true => Ok(()),
            false => Err(AdmissionError::ForeignImports(foreign)),
        }
    }

    async fn describe(
        &self,
        pre: &lifecycle::OnlyLifecyclePre<CallState>,
        shared: &Arc<Shared>,
        now_unix: u64,
    ) -> Result<lifecycle::exports::weir::plugin::lifecycle::Info, AdmissionError> {
        let info = async {
            let mut call = self.begin(shared, Hook::Admission, now_unix).await?;
            let store = &mut call.store;
            until(call.deadline, async {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.weir_plugin_lifecycle().call_describe(store).await
            })
            .await
        };
        let info = info.await.map_err(AdmissionError::Failed)?;
        let bad = |what: &str| Err(AdmissionError::BadInfo(what.into()));
        if check_name(&info.name).is_err() {
            return bad("its name is not one");
        }
        let printable = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_graphic());
        if info.version.len() > NAME_BYTES || !printable(&info.version) {
            return bad("its version is not one");
        }
        let good = |l: &String| l.len() <= LABEL_BYTES && printable(l);
        if info.labels.len() > LABELS || !info.labels.iter().all(good) {
            return bad("too many labels, or ones that are not printable");
        }
        Ok(info)
    }

    /// What it says that it classifies.
    async fn protocols(
        &self,
        pre: &scope::OnlyScopePre<CallState>,
        shared: &Arc<Shared>,
        now_unix: u64,
    ) -> Result<Option<Vec<Protocol>>, AdmissionError> {
        let said = async {
            let mut call = self.begin(shared, Hook::Admission, now_unix).await?;
            let store = &mut call.store;
            until(call.deadline, async {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance.weir_plugin_scope().call_protocols(store).await
            })
            .await
        };
        let said = said.await.map_err(AdmissionError::Failed)?;
        if said.len() > PROTOCOLS {
            return Err(AdmissionError::BadInfo("too many protocols".into()));
        }
        // Of those that this Weir does not have, it will not be asked.
        let known = |protocol: &Protocol| said.contains(&convert::protocol(*protocol));
        let protocols = Protocol::ALL.into_iter().filter(known).collect();
        Ok((!said.is_empty()).then_some(protocols))
    }

    async fn check_config(
        &self,
        pre: &lifecycle::OnlyLifecyclePre<CallState>,
        shared: &Arc<Shared>,
        now_unix: u64,
    ) -> Result<(), AdmissionError> {
        let verdict = async {
            let mut call = self.begin(shared, Hook::Admission, now_unix).await?;
            let store = &mut call.store;
            until(call.deadline, async {
                let instance = pre.instantiate_async(&mut *store).await?;
                instance
                    .weir_plugin_lifecycle()
                    .call_check_config(store)
                    .await
            })
            .await
        };
        match verdict.await.map_err(AdmissionError::Failed)? {
            Ok(()) => Ok(()),
            Err(types::PluginError::Unsupported) => {
                Err(AdmissionError::BadConfig("unsupported".into()))
            }
            Err(types::PluginError::BadConfig(text) | types::PluginError::Internal(text)) => {
                Err(AdmissionError::BadConfig(cut(&text, 1024)))
            }
        }
    }
}

impl Loaded {
    /// Is it asked about what is done over this protocol?
    pub(crate) fn classifies(&self, protocol: Protocol) -> bool {
        self.classify.is_some() && self.info.is_for(protocol)
    }
}

impl PluginInfo {
    pub fn is_for(&self, protocol: Protocol) -> bool {
        let named = self.protocols.as_ref();
        named.is_none_or(|named| named.contains(&protocol))
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), AdmissionError> {
    let good = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(good) {
        return Err(AdmissionError::BadName(cut(name, NAME_BYTES)));
    }
    Ok(())
}

fn check_config_size(config: &Config) -> Result<(), AdmissionError> {
    let bytes: usize = config.iter().map(|(k, v)| k.len() + v.len()).sum();
    if config.len() > CONFIG_ENTRIES || bytes > CONFIG_BYTES {
        return Err(AdmissionError::ConfigTooLarge);
    }
    Ok(())
}

/// Tells the two kinds of WebAssembly file apart by their version and layer fields.
fn check_header(wasm: &[u8]) -> Result<(), AdmissionError> {
    if wasm.len() > COMPONENT_BYTES {
        return Err(AdmissionError::TooLarge { size: wasm.len() });
    }
    match wasm.split_at_checked(8) {
        Some((b"\0asm\x0d\0\x01\0", _)) => Ok(()),
        Some((b"\0asm\x01\0\0\0", _)) => Err(AdmissionError::CoreModule),
        Some((head, _)) if head.starts_with(b"\0asm") => Err(AdmissionError::Invalid(
            "an unknown version of WebAssembly".into(),
        )),
        _ => Err(AdmissionError::NotWasm),
    }
}

fn exports(component: &Component, interface: &str) -> bool {
    component.get_export_index(None, interface).is_some()
}

/// By exported interface; the lookup follows semantic versions.
fn capabilities(component: &Component) -> Result<Vec<Capability>, AdmissionError> {
    if !exports(component, LIFECYCLE) {
        return Err(AdmissionError::NoLifecycle);
    }
    let all = [
        (CLASSIFY, Capability::Classify),
        (MASK, Capability::Mask),
        (ROUTE, Capability::Route),
    ];
    let found: Vec<_> = all
        .into_iter()
        .filter(|(name, _)| exports(component, name))
        .map(|(_, capability)| capability)
        .collect();
    match found.is_empty() {
        true => Err(AdmissionError::NoCapability),
        false => Ok(found),
    }
}
