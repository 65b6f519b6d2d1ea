//! data:compute: who may use labelled columns to choose, sort and compare rows.

use pipeline::{Access, Action, Actor};

use super::kit::{
    Ask, agent, column, compile, default_bundle, default_files, on_prod, only, reason, short,
    table, target, user,
};

#[test]
fn who_may_see_may_compute_unless_that_is_forbidden() {
    let ssn = || Access::compute(&column("ssn", &["pii"]), &"shop".into(), &target("prod"));
    let reveal = "@id(\"relief.r\") permit (principal in Group::\"g\", action == Action::\"data:reveal\", resource);";
    let compute = "@id(\"relief.c\") permit (principal in Group::\"h\", action == Action::\"data:compute\", resource);";
    let with_approval = "@id(\"relief.a\") permit (principal in Group::\"g\", action == Action::\"data:compute\", resource) when { context.base.approvals.contains(ApprovalRule::\"risky\") };";
    let forbid = "@id(\"guard.c\") @reason(\"never\") forbid (principal, action == Action::\"data:compute\", resource);";
    let broken = "@id(\"relief.b\") permit (principal in Group::\"g\", action == Action::\"data:compute\", resource) when { context.base.risk.score * 9223372036854775807 > 0 };";
    let grant =
        "@id(\"grant.g\") permit (principal in Group::\"g\", action in Action::\"any\", resource);";
    for (policies, groups, expect, why) in [
        (
            vec![grant],
            vec!["g"],
            "deny",
            "no grant permits data:compute on column public.customers.ssn of shop-prod",
        ),
        (vec![reveal], vec!["g"], "permit", ""),
        (vec![reveal], vec!["h"], "deny", "no grant"),
        (vec![compute], vec!["h"], "permit", ""),
        (vec![reveal, compute], vec!["g"], "permit", ""),
        (
            vec![reveal, forbid],
            vec!["g"],
            "deny",
            "never: data:compute on column public.customers.ssn",
        ),
        (vec![compute, forbid], vec!["h"], "deny", "never"),
        (vec![with_approval], vec!["g"], "needs risky", "no grant"),
        (vec![with_approval, forbid], vec!["g"], "deny", "never"),
        // What cannot be evaluated is not helped by what could be.
        (
            vec![reveal, broken],
            vec!["g"],
            "deny",
            "could not be evaluated",
        ),
    ] {
        let bundle = only(&policies.join("\n"));
        let ask = Ask::new(user("erin", &groups), &[ssn()]).risk(2);
        let ruling = ask.of(&bundle);
        assert_eq!(short(&ruling), expect, "{policies:?}");
        assert!(reason(&ruling).contains(why), "{}", reason(&ruling));
    }
    // Every link of the chain by itself: one may see, the other may compute.
    let bundle = only(&[reveal, compute].join("\n"));
    for (bot, person, expect) in [("g", "h", "permit"), ("g", "", "deny"), ("", "g", "deny")] {
        let ask = Ask::new(agent("bot", &[bot]), &[ssn()]).on_behalf_of(&[user("erin", &[person])]);
        assert_eq!(short(&ask.of(&bundle)), expect, "{bot} for {person}");
    }
}

#[test]
fn the_example_grants_computing_to_a_group_or_with_an_approval() {
    let mut files = default_files();
    // What the default bundle promises is what the example changes.
    files.remove("tests/compute.toml");
    let readme = include_str!("../../../../policies/README.md");
    let (_, section) = readme
        .split_once("## Searching by labelled columns")
        .unwrap();
    for block in section.split("```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap();
        let file = match kind {
            "cedar" => "compute.cedar",
            "toml" => "bundle.toml",
            other => panic!("{other}"),
        };
        files.entry(file.into()).or_default().push_str(text);
    }
    let schema = files.get_mut("schema.cedarschema").unwrap();
    *schema = schema.replace("\"risky\"\n]", "\"risky\", \"labelled-search\"]");
    let bundle = compile(files).unwrap_or_else(|e| panic!("{e}"));
    let of = |actor: Actor, name: &str, labels: &[&str]| {
        let access = Access::compute(&column(name, labels), &"shop".into(), &target("prod"));
        short(&Ask::new(actor, &[access]).of(&bundle))
    };
    let email: &[&str] = &["pii", "pii.email"];
    assert_eq!(of(user("ona", &["on-call"]), "email", email), "permit");
    assert_eq!(of(user("ona", &["on-call"]), "ssn", &["pii"]), "deny");
    let erin = || user("erin", &["engineering"]);
    assert_eq!(of(erin(), "ssn", &["pii"]), "needs labelled-search");
    assert_eq!(of(erin(), "api_key", &["secret"]), "deny");
    assert_eq!(of(user("x", &[]), "ssn", &["pii"]), "deny");
    assert_eq!(
        of(agent("bot", &["agents", "engineering"]), "ssn", &["pii"]),
        "deny"
    );
}

#[test]
fn a_refusal_names_a_bounded_number_of_reasons() {
    let accesses: Vec<Access> = (0..1_000)
        .map(|i| on_prod(Action::PostgresSelect, table(&format!("t{i}"))))
        .collect();
    let ruling = Ask::new(user("x", &[]), &accesses).of(&default_bundle());
    assert!(
        reason(&ruling).ends_with("; and 984 more reasons"),
        "{}",
        reason(&ruling)
    );
    assert!(reason(&ruling).len() < 4_096);
}
