//! Exchange of the active bundle, summaries and differences.

use pipeline::ports::Authorizer;
use pipeline::{Action, Ruling};

use super::kit::{Ask, compile, default_bundle, default_files, on_prod, short, table, user};
use crate::{Bundle, CompiledBundle, Engine};

#[test]
fn activation_reaches_the_next_statement_and_the_watchers() {
    let engine = Engine::new(default_bundle());
    let mut watch = engine.watch();
    let pinned = engine.pin();
    let ask = Ask::new(
        user("erin", &["engineering"]),
        &[on_prod(Action::PostgresSelect, table("orders"))],
    );
    assert_eq!(short(&pinned.authorize(&ask.question())), "permit");

    let mut files = default_files();
    files.retain(|path, _| !path.starts_with("tests/"));
    let grants = files["grants.cedar"].replace("Group::\"engineering\"", "Group::\"engineers\"");
    files.insert("grants.cedar".into(), grants);
    let bundle = Bundle::from_files(files).unwrap_or_else(|e| panic!("{e}"));
    let next = CompiledBundle::compile(bundle, 2).unwrap_or_else(|e| panic!("{e}"));
    let reference = next.reference().clone();
    assert!(!watch.has_changed().expect("the engine lives"));
    engine.activate(next);

    assert!(watch.has_changed().expect("the engine lives"));
    assert_eq!(*watch.borrow_and_update(), reference);
    assert_eq!(reference.version, 2);
    assert_eq!(engine.pin().bundle(), &reference);
    assert_eq!(short(&engine.pin().authorize(&ask.question())), "deny");
    let old = pinned.authorize(&ask.question());
    assert!(
        matches!(old, Ruling::Permit { .. }),
        "a pinned bundle stays as it was"
    );
}

#[test]
fn differences() {
    let old = default_bundle();
    assert!(old.diff(&default_bundle()).is_empty());

    let mut files = default_files();
    files.retain(|path, _| !path.starts_with("tests/"));
    let guards = files["guards.cedar"].replace("score >= 85", "score >= 90");
    let (gone, kept) =
        guards.split_at(guards.find("@id(\"guard.unknown-object\")").expect("there"));
    assert!(gone.contains("guard.unresolved-statement"));
    // A policy that moves to another file is the same policy.
    files.insert("guards.cedar".into(), String::new());
    files.insert("moved.cedar".into(), format!("// moved\n\n{kept}"));
    files.insert(
        "more.cedar".into(),
        "@id(\"grant.more\") permit (principal in Group::\"more\", action in Action::\"read\", resource);".into(),
    );
    let manifest = files["bundle.toml"]
        .replacen("ttl_seconds = 900", "ttl_seconds = 60", 1)
        .replace(
            "column = \"*_dob\"\nlabels = [\"pii\"]",
            "column = \"*_dob\"\nlabels = [\"pci\"]",
        )
        .replace("column = \"*msisdn*\"", "column = \"*msisdn_nr*\"");
    let retention =
        |target: &str, days| format!("\n[[retention]]\ntarget = \"{target}\"\ndays = {days}\n");
    let kept = |rules: &[String]| format!("{manifest}{}", rules.concat());
    let mut older = files.clone();
    older.insert(
        "bundle.toml".into(),
        kept(&[
            retention("pay*", 2555),
            retention("hr", 900),
            retention("x", 9),
        ]),
    );
    let older = compile(older).unwrap_or_else(|e| panic!("{e}"));
    // Two of the same: the longer one counts, wherever it stands.
    let rules = [
        retention("hr", 900),
        retention("pay*", 400),
        retention("pay*", 1),
        retention("hr", 90),
        retention("*", 500),
    ];
    files.insert("bundle.toml".into(), kept(&rules));
    let new = compile(files).unwrap_or_else(|e| panic!("{e}"));
    let diff = older.diff(&new);
    assert_eq!(diff.retention.added, ["*"]);
    assert_eq!(diff.retention.removed, ["x"]);
    assert_eq!(diff.retention.changed, ["pay*"]);
    assert_eq!(new.by_retention()["pay*"], 400);
    assert!(!diff.is_empty());
    let diff = old.diff(&new);
    assert_eq!(diff.policies.added, ["grant.more"]);
    assert_eq!(diff.policies.removed, ["guard.unresolved-statement"]);
    assert_eq!(diff.policies.changed, ["guard.risky"]);
    assert_eq!(diff.approval_rules.changed, ["prod-bulk-write"]);
    assert_eq!(diff.labels.changed, ["*.*.*.*_dob"]);
    assert_eq!(diff.labels.added, ["*.*.*.*msisdn_nr*"]);
    assert_eq!(diff.labels.removed, ["*.*.*.*msisdn*"]);
    assert_eq!(diff.files.added, ["more.cedar", "moved.cedar"]);
    assert_eq!(diff.files.changed, ["bundle.toml", "guards.cedar"]);
    assert_eq!(diff.files.removed.len(), 6, "the tests");
}

#[test]
fn the_summary_lists_what_is_there() {
    let bundle = default_bundle();
    let summary = bundle.summary();
    assert_eq!(summary.files.len(), bundle.source().files().len());
    assert_eq!(summary.approval_rules[0], "prod-bulk-write");
    assert_eq!(
        summary.grants + summary.guards + summary.reliefs,
        bundle.policies().len()
    );
    let risky = bundle
        .policies()
        .iter()
        .find(|p| &*p.id == "guard.risky")
        .expect("there");
    assert_eq!(
        (risky.file.as_str(), risky.effect),
        ("guards.cedar", "forbid")
    );
    assert!(risky.text.starts_with("@id(\"guard.risky\")") && risky.text.ends_with(';'));
    assert!(risky.line > 1);
}
