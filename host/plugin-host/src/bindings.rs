//! The glue that wasmtime generates from `wit/`, one private world per interface, because a
//! component exports only what it implements.
#![allow(
    unsafe_code,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub(crate) mod base {
    wasmtime::component::bindgen!({
        inline: r#"
            package weir:host;
            world base {
                import weir:plugin/types@0.1.0;
                import weir:plugin/log@0.1.0;
                import weir:plugin/config@0.1.0;
                import weir:plugin/kv@0.1.0;
                import weir:plugin/clock@0.1.0;
            }
        "#,
        path: "../../wit/0.1.0",
        world: "weir:host/base",
    });
}

macro_rules! part {
    ($name:ident, $world:literal, $wit:literal) => {
        pub(crate) mod $name {
            wasmtime::component::bindgen!({
                inline: $wit,
                path: "../../wit/0.1.0",
                world: $world,
                exports: { default: async },
                with: { "weir:plugin/types@0.1.0": crate::bindings::base::weir::plugin::types },
            });
        }
    };
}

part!(
    lifecycle,
    "weir:host/only-lifecycle",
    "package weir:host; world only-lifecycle { export weir:plugin/lifecycle@0.1.0; }"
);
part!(
    scope,
    "weir:host/only-scope",
    "package weir:host; world only-scope { export weir:plugin/scope@0.1.0; }"
);
part!(
    classify,
    "weir:host/only-classify",
    "package weir:host; world only-classify { export weir:plugin/classify@0.1.0; }"
);
part!(
    mask,
    "weir:host/only-mask",
    "package weir:host; world only-mask { export weir:plugin/mask@0.1.0; }"
);
part!(
    route,
    "weir:host/only-route",
    "package weir:host; world only-route { export weir:plugin/route@0.1.0; }"
);

pub(crate) use base::weir::plugin::types;

/// The interfaces by name, as an engine looks them up: semver-aware.
pub(crate) const LIFECYCLE: &str = "weir:plugin/lifecycle@0.1.0";
pub(crate) const SCOPE: &str = "weir:plugin/scope@0.1.0";
pub(crate) const CLASSIFY: &str = "weir:plugin/classify@0.1.0";
pub(crate) const MASK: &str = "weir:plugin/mask@0.1.0";
pub(crate) const ROUTE: &str = "weir:plugin/route@0.1.0";

/// What a component may import, without the version.
pub(crate) const IMPORTS: &[&str] = &[
    "weir:plugin/types",
    "weir:plugin/log",
    "weir:plugin/config",
    "weir:plugin/kv",
    "weir:plugin/clock",
];
