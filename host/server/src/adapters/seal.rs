//! The policy that sessions are judged by: the engine's, or none at all while what people activated
//! cannot be read.

use std::sync::Arc;

use authz::Engine;
use parking_lot::Mutex;
use pipeline::ports::{Authorizer, Policy, Question, Ruling};
use pipeline::{ApprovalRule, BundleRef, Column, LabelCatalog};
use tokio::sync::watch;

/// Stands before the engine for sessions. The API asks the engine itself: somebody must be able to
/// bring another bundle.
pub(crate) struct Seal {
    engine: Arc<Engine>,
    /// Why everything is denied.
    reason: Mutex<Option<Arc<str>>>,
}

impl Seal {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            reason: Mutex::default(),
        }
    }

    pub(crate) fn close(&self, reason: &str) {
        *self.reason.lock() = Some(reason.into());
    }

    pub(crate) fn open(&self) {
        *self.reason.lock() = None;
    }
}

impl Authorizer for Seal {
    fn pin(&self) -> Arc<dyn Policy> {
        let policy = self.engine.pin();
        match self.reason.lock().clone() {
            None => policy,
            Some(reason) => Arc::new(Nothing {
                // No bundle decides, so none is named.
                none: BundleRef {
                    name: "".into(),
                    version: 0,
                    digest: "".into(),
                },
                policy,
                reason,
            }),
        }
    }

    fn watch(&self) -> watch::Receiver<BundleRef> {
        self.engine.watch()
    }
}

/// Permits and reveals nothing.
struct Nothing {
    none: BundleRef,
    policy: Arc<dyn Policy>,
    reason: Arc<str>,
}

impl Policy for Nothing {
    fn bundle(&self) -> &BundleRef {
        &self.none
    }

    fn authorize(&self, _: &Question<'_>) -> Ruling {
        Ruling::Deny {
            policies: Vec::new(),
            reason: format!("Weir has no policies to decide by: {}", self.reason),
        }
    }

    fn reveal(&self, _: &Question<'_>, _: &Column, _: &str) -> bool {
        false
    }

    fn labels(&self) -> &LabelCatalog {
        self.policy.labels()
    }

    fn approval_rule(&self, _: &str) -> Option<&ApprovalRule> {
        None
    }

    /// What was tried is kept as long as the engine's bundle says: longer harms nobody.
    fn retention_days(&self, target: &str) -> Option<u32> {
        self.policy.retention_days(target)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, SystemTime};

    use authz::{Bundle, CompiledBundle};
    use control::BundleEngine;
    use pipeline::{Access, Action, Actor, Principal, PrincipalKind, Resource, Risk};

    use super::*;
    use crate::adapters::Bundles;

    #[test]
    fn a_closed_seal_denies_sessions_until_a_bundle_is_activated() {
        let bundle = Bundle::embedded_default().unwrap();
        let files = bundle.files().clone();
        let engine = Arc::new(Engine::new(CompiledBundle::compile(bundle, 1).unwrap()));
        let seal = Arc::new(Seal::new(engine.clone()));
        let bundles = Bundles {
            engine: engine.clone(),
            seal: seal.clone(),
            snapshots: Arc::default(),
            vault_days: None,
        };
        let admin = Actor::new(PrincipalKind::User, "olga", &["weir-admins"]);
        let expires = SystemTime::now() + Duration::from_secs(60);
        let principal = Principal::direct(admin, "test", expires);
        let access = [Access {
            action: Action::BundleRead,
            resource: Resource::Target,
            target: None,
        }];
        let permits = |authorizer: &dyn Authorizer| {
            let ruling = authorizer.pin().authorize(&Question {
                principal: &principal,
                source: [127, 0, 0, 1].into(),
                session: "",
                now: SystemTime::now(),
                facts: None,
                risk: &Risk::default(),
                approvals: &BTreeSet::new(),
                accesses: &access,
            });
            matches!(ruling, Ruling::Permit { .. })
        };
        assert!(permits(&*seal));
        bundles.seal("it no longer validates");
        assert!(!permits(&*seal));
        assert!(seal.pin().bundle().digest.is_empty(), "no bundle decides");
        assert!(permits(&*engine), "the API still answers");
        assert!(
            bundles
                .activate(&control::Files::new(), 2, control::Coming::New)
                .is_err()
        );
        assert!(!permits(&*seal), "what does not compile opens nothing");
        bundles.activate(&files, 3, control::Coming::New).unwrap();
        assert!(permits(&*seal));
    }
}
