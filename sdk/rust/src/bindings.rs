//! The glue that `wit-bindgen` generates from `wit/`, one private world per interface, so that a
//! plugin can export any combination of them. The component encoder joins the worlds again.
//!
//! The canonical ABI passes raw pointers, which is why unsafe code is allowed here and nowhere else.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

/// Types and host imports, shared by all other worlds.
pub mod base {
    wit_bindgen::generate!({
        inline: r#"
            package weir:sdk;
            world base {
                import weir:plugin/types@0.1.0;
                import weir:plugin/log@0.1.0;
                import weir:plugin/config@0.1.0;
                import weir:plugin/kv@0.1.0;
                import weir:plugin/clock@0.1.0;
            }
        "#,
        path: "../../wit/0.1.0",
        world: "weir:sdk/base",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

macro_rules! part {
    ($(#[$doc:meta])* $name:ident, $world:literal, $wit:literal) => {
        $(#[$doc])*
        pub mod $name {
            wit_bindgen::generate!({
                inline: $wit,
                path: "../../wit/0.1.0",
                world: $world,
                with: { "weir:plugin/types@0.1.0": crate::bindings::base::weir::plugin::types },
                pub_export_macro: true,
                generate_unused_types: true,
                additional_derives: [PartialEq],
            });
        }
    };
}

part!(
    lifecycle,
    "weir:sdk/part-lifecycle",
    "package weir:sdk; world part-lifecycle { export weir:plugin/lifecycle@0.1.0; }"
);
part!(
    scope,
    "weir:sdk/part-scope",
    "package weir:sdk; world part-scope { export weir:plugin/scope@0.1.0; }"
);
part!(
    classify,
    "weir:sdk/part-classify",
    "package weir:sdk; world part-classify { export weir:plugin/classify@0.1.0; }"
);
part!(
    mask,
    "weir:sdk/part-mask",
    "package weir:sdk; world part-mask { export weir:plugin/mask@0.1.0; }"
);
part!(
    route,
    "weir:sdk/part-route",
    "package weir:sdk; world part-route { export weir:plugin/route@0.1.0; }"
);
