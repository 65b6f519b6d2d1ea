//! Tests over whole bundles.

use crate::{Bundle, CompiledBundle};

/// The default bundle, compiled.
pub(crate) fn default_bundle() -> CompiledBundle {
    let bundle = Bundle::embedded_default().unwrap_or_else(|e| panic!("{e}"));
    CompiledBundle::compile(bundle, 1).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_default_bundle_compiles() {
    let summary = default_bundle().summary();
    assert_eq!(summary.name, "default");
    assert!(summary.tests > 80, "{} tests", summary.tests);
}
