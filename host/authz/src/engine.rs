//! The active bundle, and how it is exchanged.

use std::sync::Arc;

use arc_swap::ArcSwap;
use pipeline::BundleRef;
use pipeline::ports::{Authorizer, Policy};
use tokio::sync::watch;

use crate::compile::CompiledBundle;

/// Holds one compiled bundle at a time. Cheap to ask, safe to exchange while it is asked.
#[derive(Debug)]
pub struct Engine {
    active: ArcSwap<CompiledBundle>,
    changed: watch::Sender<BundleRef>,
}

impl Engine {
    pub fn new(bundle: CompiledBundle) -> Self {
        let (changed, _) = watch::channel(bundle.reference.clone());
        Self {
            active: ArcSwap::from_pointee(bundle),
            changed,
        }
    }

    /// Makes `bundle` the active one and tells every session. Only what compiled can get here, so
    /// an error never takes the place of a bundle that works.
    pub fn activate(&self, bundle: CompiledBundle) {
        let reference = bundle.reference.clone();
        self.active.store(Arc::new(bundle));
        self.changed.send_replace(reference);
    }

    pub fn active(&self) -> Arc<CompiledBundle> {
        self.active.load_full()
    }
}

impl Authorizer for Engine {
    fn pin(&self) -> Arc<dyn Policy> {
        self.active()
    }

    fn watch(&self) -> watch::Receiver<BundleRef> {
        self.changed.subscribe()
    }
}
