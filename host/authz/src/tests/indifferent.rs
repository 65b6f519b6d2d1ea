//! When is it proven that nothing hangs on what a text means?

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use pipeline::ports::Policy;
use pipeline::{Actor, Principal};

use super::kit::{agent, compile, default_bundle, default_files, host, only, target, user};
use crate::{Bundle, CompiledBundle};

const ALL: &str =
    r#"@id("grant.all") permit (principal in Group::"g", action in Action::"any", resource);"#;

fn indifferent(bundle: &CompiledBundle, actor: Actor, env: &str) -> bool {
    let principal = Principal::direct(actor, "test", UNIX_EPOCH);
    bundle.is_indifferent(&principal, &target(env))
}

/// The default bundle's schema without labels, and these policies.
fn unlabelled(policies: &str) -> CompiledBundle {
    compile(files(policies)).unwrap_or_else(|e| panic!("{e}"))
}

fn files(policies: &str) -> BTreeMap<String, String> {
    let mut files = default_files();
    files.retain(|path, _| !path.starts_with("tests/") && !path.ends_with(".cedar"));
    if let Some(manifest) = files.get_mut("bundle.toml") {
        let rules = manifest.split("[[label]]").next().unwrap_or_default();
        *manifest = rules.to_owned();
    }
    files.insert("only.cedar".into(), policies.into());
    files
}

/// What matches nobody, or nothing that is in the target, is no proof; no bundle has it in the first
/// place.
#[test]
fn a_scope_that_is_exactly_a_group_or_the_target() {
    for grant in [
        r#"@id("grant.a") permit (principal == Group::"g", action in Action::"any", resource);"#,
        r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource == Target::"shop-dev");"#,
    ] {
        match compile(files(grant)) {
            Err(_) => {}
            Ok(bundle) => assert!(!indifferent(&bundle, user("a", &["g"]), "dev"), "{grant}"),
        }
    }
}

#[test]
fn the_bundle_for_benchmarks_is() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/examples/permit-all");
    let bundle = Bundle::from_dir(&dir).unwrap_or_else(|e| panic!("{e}"));
    let bundle = CompiledBundle::compile(bundle, 1).unwrap_or_else(|e| panic!("{e}"));
    assert!(indifferent(
        &bundle,
        user("a", &["weir-permit-all", "x"]),
        "dev"
    ));
    assert!(!indifferent(&bundle, user("a", &["x"]), "dev"));
    assert!(!indifferent(&bundle, user("a", &[]), "dev"));
    // Not known to the bundle: everything is refused.
    assert!(!indifferent(
        &bundle,
        user("a", &["weir-permit-all"]),
        "nowhere"
    ));
    // Every link of the chain is asked about.
    let mut delegated = Principal::direct(agent("bot", &["weir-permit-all"]), "test", UNIX_EPOCH);
    delegated.on_behalf_of = vec![user("a", &["x"])];
    assert!(!bundle.is_indifferent(&delegated, &target("dev")));
    delegated.on_behalf_of = vec![user("a", &["weir-permit-all"])];
    assert!(bundle.is_indifferent(&delegated, &target("dev")));
}

/// With the guard under which the end to end tests run every client of SSH, so that what is said there depends on
/// what is read.
#[test]
fn what_clients_of_ssh_are_tested_under_is_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = root.join("policies/examples/permit-all");
    let bundle = Bundle::from_dir(&dir).unwrap_or_else(|e| panic!("{e}"));
    let mut files = bundle.files().clone();
    let person = Principal::direct(user("a", &["weir-permit-all"]), "test", UNIX_EPOCH);
    let is = |files: &BTreeMap<String, String>| {
        let bundle = compile(files.clone()).unwrap_or_else(|e| panic!("{e}"));
        bundle.is_indifferent(&person, &host("prod"))
    };
    assert!(is(&files));
    let guard = std::fs::read_to_string(root.join("tests/ssh/reading.cedar"));
    files.insert("reading.cedar".into(), guard.unwrap());
    assert!(!is(&files));
}

#[test]
fn the_default_bundle_never_is() {
    let bundle = default_bundle();
    for group in ["engineering", "dba", "security", "agents", "ci"] {
        for env in ["dev", "staging", "prod"] {
            assert!(
                !indifferent(&bundle, user("a", &[group]), env),
                "{group} {env}"
            );
        }
    }
}

#[test]
fn labels_anywhere_in_the_target_matter() {
    // The default manifest labels columns of every target.
    assert!(!indifferent(&only(ALL), user("a", &["g"]), "dev"));
    assert!(indifferent(&unlabelled(ALL), user("a", &["g"]), "dev"));
}

#[test]
fn only_permits_without_conditions_prove_it() {
    for (more, expect) in [
        // About somebody else, or about what is no statement.
        (
            r#"@id("guard.b") @reason("r") forbid (principal in Group::"other", action, resource);"#,
            true,
        ),
        (
            r#"@id("guard.b") @reason("r") forbid (principal, action == Action::"bundle:activate", resource);"#,
            true,
        ),
        (
            r#"@id("grant.b") permit (principal in Group::"g", action in Action::"read", resource);"#,
            true,
        ),
        // Whatever its condition is, it could hold.
        (
            r#"@id("guard.b") @reason("r") forbid (principal, action in Action::"any", resource) when { context has sql && !context.sql.parsed };"#,
            false,
        ),
        (
            r#"@id("guard.b") @reason("r") forbid (principal is User, action == Action::"postgres:call", resource) when { resource.dangerous };"#,
            false,
        ),
        (
            r#"@id("guard.b") @reason("r") forbid (principal, action == Action::"postgres:drop", resource in Target::"elsewhere");"#,
            false,
        ),
        // A condition that is an error denies, in a permit as well.
        (
            r#"@id("grant.b") permit (principal in Group::"g", action in Action::"read", resource) when { resource.env != Env::"prod" };"#,
            false,
        ),
    ] {
        let bundle = unlabelled(&format!("{ALL}\n{more}"));
        let got = indifferent(&bundle, user("a", &["g"]), "dev");
        assert_eq!(got, expect, "{more}");
    }
}

#[test]
fn every_action_on_everything_in_the_target() {
    for (grant, expect) in [
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource in Target::"shop-dev");"#,
            true,
        ),
        (
            r#"@id("grant.a") permit (principal == User::"a", action in Action::"any", resource);"#,
            true,
        ),
        (
            r#"@id("grant.a") permit (principal == User::"b", action in Action::"any", resource);"#,
            false,
        ),
        (
            r#"@id("grant.a") permit (principal in User::"a", action in Action::"any", resource);"#,
            true,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource in Target::"shop-prod");"#,
            false,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource in Pg::Database::"shop-dev/shop");"#,
            false,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource is Pg::Table);"#,
            false,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in [Action::"connect", Action::"read", Action::"write", Action::"exec"], resource);"#,
            false,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in [Action::"connect", Action::"read", Action::"write", Action::"exec", Action::"admin"], resource);"#,
            true,
        ),
        (
            r#"@id("grant.a") permit (principal in Group::"g", action in Action::"any", resource) when { true };"#,
            false,
        ),
    ] {
        let got = indifferent(&unlabelled(grant), user("a", &["g"]), "dev");
        assert_eq!(got, expect, "{grant}");
    }
}
