//! The Wasm engine that all plugins of one process share.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use tokio::sync::Semaphore;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::bindings::base;
use crate::cache::ArtifactCache;
use crate::limits::{
    self, CORE_INSTANCES, FIBER_STACK, Limits, MEMORIES, MEMORY_KEPT, TABLE_ELEMENTS, TABLE_KEPT,
    TABLES, WASM_PAGE, WASM_STACK,
};
use crate::state::CallState;
use crate::ticker::Ticker;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("the Wasm engine cannot be made with these limits: {0}")]
    Engine(String),
    #[error("the epoch thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("plugin limits: {0} must not be zero")]
    Zero(&'static str),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<CallState>,
    limits: Limits,
    slots: Semaphore,
    ticker: Ticker,
    cache: Option<ArtifactCache>,
    /// Of everything that decides whether an artifact fits this engine.
    compatibility: [u8; 32],
}

impl Runtime {
    /// Without a cache every component is compiled when it is added.
    pub fn new(limits: Limits, cache: Option<ArtifactCache>) -> Result<Self, RuntimeError> {
        if limits.concurrent_calls == 0 {
            return Err(RuntimeError::Zero("concurrent_calls"));
        }
        if limits.memory_bytes == 0 {
            return Err(RuntimeError::Zero("memory_bytes"));
        }
        let engine_error = |e: wasmtime::Error| RuntimeError::Engine(format!("{e:#}"));
        let engine = Engine::new(&config(&limits)).map_err(engine_error)?;
        let mut linker = Linker::new(&engine);
        base::Base::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut CallState| state)
            .map_err(engine_error)?;
        let ticker = Ticker::start(&engine).map_err(RuntimeError::Thread)?;
        let mut hasher = Sha256(digest::Context::new(&SHA256));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = array(hasher.0.finish());
        Ok(Self(Arc::new(Inner {
            slots: Semaphore::new(limits.concurrent_calls as usize),
            engine,
            linker,
            limits,
            ticker,
            cache,
            compatibility,
        })))
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn slots(&self) -> &Semaphore {
        &self.0.slots
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }

    /// Compiles a component, or takes it from the cache. Blocks for as long as Cranelift takes.
    pub(crate) fn compile(&self, wasm: &[u8], digest: &[u8; 32]) -> wasmtime::Result<Component> {
        let Some(cache) = &self.0.cache else {
            return Component::from_binary(&self.0.engine, wasm);
        };
        if let Some(artifact) = cache.load(digest, &self.0.compatibility) {
            match deserialize(&self.0.engine, &artifact) {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::warn!(%error, "a cached plugin does not fit: it is compiled again");
                }
            }
        }
        let component = Component::from_binary(&self.0.engine, wasm)?;
        cache.store(digest, &self.0.compatibility, &component.serialize()?);
        Ok(component)
    }

    /// Checks the types of the imports.
    pub(crate) fn link(&self, component: &Component) -> wasmtime::Result<InstancePre<CallState>> {
        self.0.linker.instantiate_pre(component)
    }
}

/// Native code from the cache.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must come from `Component::serialize`. The cache gives bytes only if their
    // HMAC under the host's key proves that this host stored them, which it does right after
    // serializing, for the same component and an engine with the same compatibility hash.
    unsafe { Component::deserialize(engine, artifact) }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest::digest(&SHA256, bytes))
}

fn array(digest: digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

fn config(limits: &Limits) -> wasmtime::Config {
    let n = limits.concurrent_calls;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(n)
        .total_core_instances(n.saturating_mul(CORE_INSTANCES))
        .total_memories(n.saturating_mul(MEMORIES))
        .total_tables(n.saturating_mul(TABLES))
        .total_stacks(n)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(limits.memory_bytes)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(MEMORY_KEPT)
        .table_keep_resident(TABLE_KEPT)
        .max_unused_warm_slots(n)
        .pagemap_scan(Enabled::Auto);
    let mut config = wasmtime::Config::new();
    config
        // Component-model async would cost every call and is not part of the contract.
        .concurrency_support(false)
        .epoch_interruption(true)
        .compiler_inlining(wasmtime::Inlining::Yes)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_backtrace_max_frames(NonZeroUsize::new(16))
        .memory_init_cow(true)
        // Four GiB, so that no access needs a bounds check.
        .memory_reservation(4 << 30)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Does a component fit into a slot?
pub(crate) fn fits(component: &Component, limits: &Limits) -> Result<(), String> {
    let Some(needs) = component.resources_required() else {
        return Err("it brings modules that only an embedder could link".into());
    };
    // The engine counts it in pages.
    let pages = needs.max_initial_memory_size.unwrap_or(0);
    let memory = pages.saturating_mul(WASM_PAGE);
    if needs.num_memories > MEMORIES {
        return Err(format!(
            "{} memories, at most {MEMORIES}",
            needs.num_memories
        ));
    }
    if needs.num_tables > TABLES {
        return Err(format!("{} tables, at most {TABLES}", needs.num_tables));
    }
    if memory > limits.memory_bytes as u64 {
        let limit = limits.memory_bytes;
        return Err(format!(
            "{memory} bytes of memory at start, at most {limit}"
        ));
    }
    let table = needs.max_initial_table_size.unwrap_or(0);
    if table > limits::TABLE_ELEMENTS as u64 {
        return Err(format!("a table of {table}, at most {TABLE_ELEMENTS}"));
    }
    Ok(())
}

/// Feeds a `Hash` into SHA-256.
struct Sha256(digest::Context);

impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: the digest is taken as a whole.
    fn finish(&self) -> u64 {
        0
    }
}
