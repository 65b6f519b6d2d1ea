//! From a plugin's traits to the exports of its component.

use std::marker::PhantomData;

use crate::bindings::{classify, lifecycle, mask, route, scope};
use crate::{
    Batch, Classifier, Column, Edits, Info, Masker, Operation, Plan, Plugin, PluginError, Protocol,
    Risk, Router, Routing, Rule, Session,
};

/// Carries a plugin type across the generated export macros.
pub struct Exported<T>(PhantomData<T>);

impl<T: Plugin> lifecycle::exports::weir::plugin::lifecycle::Guest for Exported<T> {
    fn describe() -> Info {
        T::info()
    }

    fn check_config() -> Result<(), PluginError> {
        T::check_config()
    }
}

impl<T: Plugin> scope::exports::weir::plugin::scope::Guest for Exported<T> {
    fn protocols() -> Vec<Protocol> {
        T::protocols()
    }
}

impl<T: Classifier> classify::exports::weir::plugin::classify::Guest for Exported<T> {
    fn classify(session: Session, op: Operation) -> Result<Risk, PluginError> {
        T::classify(session, op)
    }
}

impl<T: Masker> mask::exports::weir::plugin::mask::Guest for Exported<T> {
    fn make_plan(session: Session, columns: Vec<Column>) -> Result<Plan, PluginError> {
        T::make_plan(session, columns)
    }

    fn mask_batch(state: Vec<u8>, batch: Batch) -> Result<Edits, PluginError> {
        T::mask_batch(state, batch)
    }
}

impl<T: Router> route::exports::weir::plugin::route::Guest for Exported<T> {
    fn route_approval(
        session: Session,
        op: Operation,
        rule: Rule,
        risk: Risk,
    ) -> Result<Option<Routing>, PluginError> {
        T::route(session, op, rule, risk)
    }
}

/// Makes a component out of a plugin type: `export!(MyPlugin: classifier, masker, router);` with the
/// capabilities that it has. Natively it only checks that the type implements them.
#[macro_export]
macro_rules! export {
    ($plugin:ty : $($capability:ident),+ $(,)?) => {
        const _: () = {
            #[allow(dead_code)]
            type WeirExported = $crate::__private::Exported<$plugin>;
            $crate::__part!(lifecycle, WeirExported, $plugin);
            $($crate::__part!($capability, WeirExported, $plugin);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __part {
    (lifecycle, $exported:ident, $plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        $crate::__private::bindings::lifecycle::export!(
            $exported with_types_in $crate::__private::bindings::lifecycle
        );
        #[cfg(target_arch = "wasm32")]
        $crate::__private::bindings::scope::export!(
            $exported with_types_in $crate::__private::bindings::scope
        );
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() -> $crate::Info = <$plugin as $crate::Plugin>::info;
    };
    (classifier, $exported:ident, $plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        $crate::__private::bindings::classify::export!(
            $exported with_types_in $crate::__private::bindings::classify
        );
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($crate::Session, $crate::Operation) -> Result<$crate::Risk, $crate::PluginError> =
            <$plugin as $crate::Classifier>::classify;
    };
    (masker, $exported:ident, $plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        $crate::__private::bindings::mask::export!(
            $exported with_types_in $crate::__private::bindings::mask
        );
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(Vec<u8>, $crate::Batch) -> Result<$crate::Edits, $crate::PluginError> =
            <$plugin as $crate::Masker>::mask_batch;
    };
    (router, $exported:ident, $plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        $crate::__private::bindings::route::export!(
            $exported with_types_in $crate::__private::bindings::route
        );
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            fn implements<T: $crate::Router>() {}
            let _: fn() = implements::<$plugin>;
        };
    };
}
