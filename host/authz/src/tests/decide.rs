//! Rulings: the chain, approvals, errors, what is unknown, and the cache.

use std::net::IpAddr;
use std::time::Duration;

use pipeline::ports::Policy;
use pipeline::{Access, Action, LabelSet, Resource, Ruling, SqlKind};

use super::kit::{
    Ask, agent, column, default_bundle, on_prod, only, reason, short, table, target, user, with,
};

fn select() -> Access {
    on_prod(Action::PostgresSelect, table("orders"))
}

fn update() -> Access {
    on_prod(Action::PostgresUpdate, table("orders"))
}

#[test]
fn every_access_must_be_permitted() {
    let bundle = default_bundle();
    let erin = || user("erin", &["engineering"]);
    for (accesses, expect) in [
        (vec![], "deny"),
        (vec![select()], "permit"),
        (vec![select(), update()], "deny"),
        (vec![update(), select()], "deny"),
    ] {
        let ruling = Ask::new(erin(), &accesses).of(&bundle);
        assert_eq!(short(&ruling), expect, "{accesses:?}");
    }
    let ruling = Ask::new(erin(), &[select()]).of(&bundle);
    let Ruling::Permit { policies } = ruling else {
        panic!("{ruling:?}");
    };
    assert_eq!(policies, ["grant.engineering.prod-read".into()]);
}

#[test]
fn every_link_of_the_chain_must_be_permitted() {
    let bundle = default_bundle();
    let dora = || user("dora", &["dba"]);
    let stranger = || user("nobody", &[]);
    let bot = || agent("bot", &["agents"]);
    for (actor, chain, expect) in [
        (bot(), vec![dora()], "permit"),
        (bot(), vec![stranger()], "deny"),
        (agent("x", &[]), vec![dora()], "deny"),
        (bot(), vec![dora(), agent("x", &[])], "deny"),
        (bot(), vec![dora(), agent("between", &["agents"])], "permit"),
        (dora(), vec![stranger()], "deny"),
    ] {
        let ask = Ask::new(actor, &[select()]).on_behalf_of(&chain);
        assert_eq!(short(&ask.of(&bundle)), expect, "{chain:?}");
    }
    // Approvals of all links together.
    let risky = Ask::new(bot(), &[update()])
        .on_behalf_of(&[dora()])
        .facts(|f| f.has_where = false);
    assert_eq!(
        short(&risky.of(&bundle)),
        "needs agent-write, prod-bulk-write"
    );
    // One name with other groups elsewhere in the chain does not lend them.
    let twice = Ask::new(user("dora", &[]), &[select()]).on_behalf_of(&[dora()]);
    assert_eq!(short(&twice.of(&bundle)), "deny");
}

#[test]
fn approvals_are_found_by_asking_again() {
    let bundle = only(
        r#"
        @id("grant.a") permit (principal in Group::"g", action in Action::"write", resource);
        @id("grant.b") permit (principal in Group::"h", action in Action::"write", resource)
        when { context.base.approvals.contains(ApprovalRule::"risky") };
        @id("guard.either") @reason("either") forbid (principal, action == Action::"postgres:update", resource)
        unless { context.base.approvals.containsAny([ApprovalRule::"agent-write", ApprovalRule::"prod-ddl"]) };
        @id("guard.both") @reason("both") forbid (principal, action == Action::"postgres:delete", resource)
        unless { context.base.approvals.containsAll([ApprovalRule::"agent-write", ApprovalRule::"prod-ddl"]) };
        @id("guard.one") @reason("one") forbid (principal, action == Action::"postgres:insert", resource)
        unless { context.base.approvals.contains(ApprovalRule::"prod-ddl") };
        @id("guard.never") @reason("never") forbid (principal, action == Action::"postgres:truncate", resource)
        when { context.base.risk.score < 50 };
        "#,
    );
    let on = |action| on_prod(action, table("t"));
    let (update, delete, insert, truncate) = (
        on(Action::PostgresUpdate),
        on(Action::PostgresDelete),
        on(Action::PostgresInsert),
        on(Action::PostgresTruncate),
    );
    for (group, accesses, given, expect, because) in [
        // The manifest names prod-ddl before agent-write, so that one is asked for.
        ("g", vec![&update], vec![], "needs prod-ddl", "either"),
        ("g", vec![&update], vec!["agent-write"], "permit", ""),
        (
            "g",
            vec![&delete],
            vec![],
            "needs agent-write, prod-ddl",
            "both",
        ),
        (
            "g",
            vec![&delete],
            vec!["prod-ddl"],
            "needs agent-write",
            "both",
        ),
        (
            "g",
            vec![&delete],
            vec!["prod-ddl", "agent-write"],
            "permit",
            "",
        ),
        // Together, the fewest rules that do.
        (
            "g",
            vec![&update, &insert],
            vec![],
            "needs prod-ddl",
            "either; one",
        ),
        (
            "g",
            vec![&update, &delete],
            vec![],
            "needs agent-write, prod-ddl",
            "both; either",
        ),
        // No approval helps: nobody is asked.
        ("g", vec![&truncate], vec![], "deny", "never"),
        ("g", vec![&update, &truncate], vec![], "deny", "never"),
        (
            "x",
            vec![&update],
            vec![],
            "deny",
            "no grant permits postgres:update on table public.t of shop-prod to User::\"erin\"",
        ),
        // An approval can be what a grant waits for.
        ("h", vec![&insert], vec![], "needs prod-ddl, risky", "one"),
        (
            "h",
            vec![&on(Action::PostgresMerge)],
            vec![],
            "needs risky",
            "no grant permits",
        ),
        // An approval that no rule knows changes nothing.
        (
            "g",
            vec![&insert],
            vec!["unheard-of"],
            "needs prod-ddl",
            "one",
        ),
    ] {
        let accesses: Vec<Access> = accesses.into_iter().cloned().collect();
        let ask = Ask::new(user("erin", &[group]), &accesses).approved(&given);
        for round in ["fresh", "cached"] {
            let ruling = ask.of(&bundle);
            assert_eq!(
                short(&ruling),
                expect,
                "{round} {group} {accesses:?} {given:?}"
            );
            assert!(
                reason(&ruling).contains(because),
                "{:?} lacks {because:?}",
                reason(&ruling)
            );
        }
    }
}

#[test]
fn the_policies_and_reasons_of_a_refusal() {
    let bundle = default_bundle();
    let ask = Ask::new(user("dora", &["dba"]), &[update()])
        .facts(|f| f.has_where = false)
        .risk(90);
    let Ruling::NeedsApproval {
        rules,
        policies,
        reason,
    } = ask.of(&bundle)
    else {
        panic!("not held");
    };
    assert_eq!(rules, ["prod-bulk-write".into(), "risky".into()]);
    assert_eq!(
        policies,
        ["guard.prod-bulk-write".into(), "guard.risky".into()]
    );
    assert!(
        reason.starts_with("UPDATE or DELETE without WHERE") && reason.contains("; a classifier"),
        "{reason}"
    );
    // Denied for good: only what no approval lifts is named.
    let ask = ask.facts(|f| {
        f.has_where = false;
        f.parsed = false;
    });
    let Ruling::Deny { policies, reason } = ask.of(&bundle) else {
        panic!("not denied");
    };
    assert_eq!(policies, ["guard.unresolved-statement".into()]);
    assert_eq!(reason, "the statement could not be understood in full");
}

#[test]
fn a_policy_that_fails_denies() {
    // Overflow passes validation in a permit; that one failing policy makes all of it a denial.
    let bundle = only(
        r#"
        @id("grant.good") permit (principal in Group::"g", action in Action::"read", resource);
        @id("grant.bad") permit (principal in Group::"g", action in Action::"read", resource)
        when { context.base.risk.score * 9223372036854775807 > 0 };
        "#,
    );
    let ask = Ask::new(user("erin", &["g"]), &[select()]);
    assert_eq!(
        short(&ask.of(&bundle)),
        "permit",
        "0 times anything does not overflow"
    );
    let ruling = ask.clone().risk(2).of(&bundle);
    assert_eq!(short(&ruling), "deny");
    assert_eq!(reason(&ruling), "policy grant.bad could not be evaluated");
    let Ruling::Deny { policies, .. } = ruling else {
        panic!("not denied");
    };
    assert_eq!(policies, ["grant.bad".into()]);
}

#[test]
fn an_error_while_revealing_masks() {
    let bundle = only(
        r#"
        @id("relief.good") permit (principal in Group::"g", action == Action::"data:reveal", resource);
        @id("relief.bad") permit (principal in Group::"g", action == Action::"data:reveal", resource)
        when { context.base.risk.score * 9223372036854775807 > 0 };
        "#,
    );
    let ask = Ask::new(user("erin", &["g"]), &[select()]);
    let email = column("email", &["pii"]);
    assert!(bundle.reveal(&ask.question(), &email, "shop"));
    assert!(!bundle.reveal(&ask.risk(2).question(), &email, "shop"));
}

#[test]
fn reveal_asks_every_link_and_needs_a_target() {
    let bundle = default_bundle();
    let email = column("email", &["pii", "pii.email"]);
    let sam = || user("sam", &["support"]);
    let ask = Ask::new(sam(), &[select()]);
    assert!(bundle.reveal(&ask.question(), &email, "shop"));
    assert!(
        !bundle.reveal(&Ask::new(sam(), &[]).question(), &email, "shop"),
        "no target"
    );
    for chain in [user("erin", &["engineering"]), agent("bot", &["support"])] {
        let ask = ask.clone().on_behalf_of(&[chain]);
        assert!(!bundle.reveal(&ask.question(), &email, "shop"));
    }
    let unheard = column("x", &["label-that-nobody-declared"]);
    assert!(!bundle.reveal(&ask.question(), &unheard, "shop"));
}

#[test]
fn what_is_unknown_or_missing_is_refused() {
    let bundle = default_bundle();
    let dora = || user("dora", &["dba"]);
    let ghost = Resource::PgTable {
        database: "shop".into(),
        schema: "public".into(),
        table: "ghost".into(),
        known: false,
        labels: LabelSet::new(),
    };
    let function = |known| Resource::PgFunction {
        database: "shop".into(),
        schema: "public".into(),
        function: "f".into(),
        known,
        volatile: false,
        security_definer: false,
        dangerous: false,
    };
    let strange_env = Access {
        target: Some(target("preprod")),
        ..select()
    };
    let no_target = Access {
        target: None,
        ..select()
    };
    for (access, expect) in [
        (
            on_prod(Action::PostgresSelect, ghost),
            "not in the database's catalogue",
        ),
        (
            on_prod(Action::PostgresCall, function(false)),
            "not in the database's catalogue",
        ),
        (strange_env, "environment \"preprod\""),
        (no_target, "without its target"),
        (
            on_prod(Action::PostgresSelect, function(true)),
            "cannot be asked for",
        ),
        (
            on_prod(Action::BundleUpload, table("t")),
            "cannot be asked for",
        ),
    ] {
        let ruling = Ask::new(dora(), std::slice::from_ref(&access)).of(&bundle);
        assert_eq!(short(&ruling), "deny", "{access:?}");
        assert!(
            reason(&ruling).contains(expect),
            "{expect:?}: {}",
            reason(&ruling)
        );
    }
    assert_eq!(
        short(&Ask::new(dora(), &[on_prod(Action::PostgresCall, function(true))]).of(&bundle)),
        "permit"
    );
    let mut no_facts = Ask::new(dora(), &[select()]);
    no_facts.facts = None;
    assert!(reason(&no_facts.of(&bundle)).contains("facts about the statement are missing"));
}

/// Everything that a decision depends on changes it, also when the other answer is in the cache.
#[test]
fn the_cache_never_answers_for_another_question() {
    let bundle = only(
        r#"
        @id("grant.g") permit (principal in Group::"g", action in Action::"any", resource);
        @id("grant.ip") permit (principal in Group::"ip", action in Action::"read", resource)
        when { context.base.sourceIp.isInRange(ip("10.0.0.0/8")) };
        @id("grant.session") permit (principal in Group::"session", action in Action::"read", resource)
        when { context.base.session == "s1" };
        @id("grant.tables") permit (principal in Group::"tables", action in Action::"read", resource)
        when { context has sql && context.sql.tables.contains(Pg::Table::"shop-prod/shop/public/a") };
        @id("grant.owner") permit (principal in Group::"owner", action in Action::"read", resource)
        when { principal is Agent && principal has owner && principal.owner in Group::"bosses" };
        @id("guard.risk") @reason("risk") forbid (principal, action in Action::"any", resource)
        when { context.base.risk.score > 50 };
        @id("guard.write") @reason("write") forbid (principal, action in Action::"write", resource)
        unless { context.base.approvals.contains(ApprovalRule::"risky") };
        @id("guard.hours") @reason("hours") forbid (principal, action in Action::"admin", resource)
        unless { context.base.clock.minute < 600 };
        @id("guard.year") @reason("year") forbid (principal, action in Action::"exec", resource)
        when { context.base.now >= datetime("2030-01-01T00:00:00Z") };
        @id("guard.mfa") @reason("mfa") forbid (principal is User, action in Action::"connect", resource)
        unless { principal.mfa };
        "#,
    );
    let g = |group: &str| Ask::new(user("erin", &[group]), &[select()]);
    let utility = || {
        let database = Resource::PgDatabase {
            database: "shop".into(),
        };
        Ask::new(
            user("erin", &["g"]),
            &[on_prod(Action::PostgresUtility, database)],
        )
    };
    let relation = |name: &str| pipeline::Relation {
        schema: "public".into(),
        name: name.into(),
        labels: LabelSet::new(),
    };
    let connect = |mfa| {
        let database = Resource::PgDatabase {
            database: "shop".into(),
        };
        let mut ask = Ask::new(
            user("erin", &["g"]),
            &[on_prod(Action::PostgresConnect, database)],
        );
        ask.principal.actor.mfa = mfa;
        ask
    };
    let owned = |owner: &str| {
        let mut bot = agent("bot", &["owner"]);
        bot.owner = Some(owner.into());
        Ask::new(bot, &[select()]).on_behalf_of(&[user("boss", &["bosses", "g"])])
    };
    let later = |hours: u64, mut ask: Ask| {
        ask.now += Duration::from_secs(hours * 3600);
        ask
    };
    let from = |ip: &str, mut ask: Ask| {
        ask.source = ip.parse::<IpAddr>().expect("an address");
        ask
    };
    let session = |name: &str, mut ask: Ask| {
        ask.session = name.into();
        ask
    };
    let write = |ask: Ask| Ask {
        accesses: vec![update()],
        ..ask
    };
    let cases: Vec<(&str, Ask, &str)> = vec![
        ("group", g("g"), "permit"),
        ("no group", g("other"), "deny"),
        ("low risk", g("g").risk(50), "permit"),
        ("high risk", g("g").risk(51), "deny"),
        ("no approval", write(g("g")), "needs risky"),
        ("approval", write(g("g")).approved(&["risky"]), "permit"),
        (
            "other approval",
            write(g("g")).approved(&["prod-ddl"]),
            "needs risky",
        ),
        ("in time", utility(), "permit"),
        ("later", later(2, utility()), "deny"),
        ("in time again", utility(), "permit"),
        ("inside", from("10.1.2.3", g("ip")), "permit"),
        ("outside", from("192.0.2.1", g("ip")), "deny"),
        (
            "inside, written as IPv6",
            from("::ffff:10.1.2.3", g("ip")),
            "permit",
        ),
        ("outside, IPv6", from("fd00::1", g("ip")), "deny"),
        ("this session", session("s1", g("session")), "permit"),
        ("another session", session("s2", g("session")), "deny"),
        (
            "the table",
            g("tables").facts(|f| f.reads = vec![relation("a")]),
            "permit",
        ),
        (
            "written to",
            g("tables").facts(|f| f.writes_to = vec![relation("a")]),
            "permit",
        ),
        (
            "another table",
            g("tables").facts(|f| f.reads = vec![relation("b")]),
            "deny",
        ),
        ("mfa", connect(true), "permit"),
        ("no mfa", connect(false), "deny"),
        ("owner in the chain", owned("boss"), "permit"),
        ("owner not in the chain", owned("somebody"), "deny"),
    ];
    for round in 0..3 {
        for (name, ask, expect) in &cases {
            assert_eq!(short(&ask.of(&bundle)), *expect, "{name}, round {round}");
        }
    }
    let before = bundle.cache.len();
    assert!(before > 0, "nothing is cached");
    for _ in 0..10 {
        later(7, utility()).of(&bundle);
        later(100_000, utility()).of(&bundle);
    }
    assert_eq!(
        bundle.cache.len(),
        before,
        "what reads the clock is not kept"
    );
}

#[test]
fn the_cache_is_bounded() {
    let bundle = default_bundle();
    for i in 0..50_000 {
        let ask = Ask::new(
            user("nobody", &[]),
            &[on_prod(Action::BundleUpload, table(&i.to_string()))],
        );
        assert_eq!(short(&ask.of(&bundle)), "deny");
    }
    assert!(
        bundle.cache.len() <= 16 * 2 * 1_024,
        "{}",
        bundle.cache.len()
    );
    let wide = Ask::new(
        user("dora", &["dba"]),
        &[on_prod(Action::PostgresSelect, table(&"x".repeat(10_000)))],
    );
    let before = bundle.cache.len();
    assert_eq!(short(&wide.of(&bundle)), "permit");
    assert_eq!(bundle.cache.len(), before, "a long key is not kept");
}

#[test]
fn bundles_answer_for_labels_and_rules() {
    let bundle = default_bundle();
    for (column, expect) in [
        ("email", "pii pii.email"),
        ("billing_email_2", "pii pii.email"),
        ("ssn", "pii"),
        ("tax_ssn", "pii"),
        ("class_name", ""),
        ("password_hash", "secret"),
        ("iban", "pci pii"),
        ("refresh_token", "secret"),
        ("maptokentype", ""),
        ("quantity", ""),
    ] {
        let labels = bundle.labels().labels("shop-prod", "public", "t", column);
        let labels: Vec<&str> = labels.iter().map(|l| &**l).collect();
        assert_eq!(labels.join(" "), expect, "{column}");
    }
    let rule = bundle.approval_rule("prod-bulk-write").expect("a rule");
    assert_eq!((rule.required, rule.ttl), (1, Duration::from_secs(900)));
    assert!(bundle.approval_rule("nope").is_none());
}

#[test]
fn names_from_clients_are_never_syntax() {
    let bundle = with(&[(
        "zz.cedar",
        "@id(\"grant.one\") permit (principal in Group::\"odd\", action == Action::\"postgres:select\", resource == Pg::Table::\"shop-prod/shop/public/a%2Fb\");",
    )])
    .unwrap_or_else(|e| panic!("{e}"));
    let odd = |resource| {
        Ask::new(
            user("erin", &["odd"]),
            &[on_prod(Action::PostgresSelect, resource)],
        )
    };
    let in_schema = |schema: &str, name: &str| Resource::PgTable {
        database: "shop".into(),
        schema: schema.into(),
        table: name.into(),
        known: true,
        labels: LabelSet::new(),
    };
    for (schema, name, expect) in [
        ("public", "a/b", "permit"),
        ("public/a", "b", "deny"),
        ("public", "a%2Fb", "deny"),
        (
            "public",
            "\"; permit(principal, action, resource); //",
            "deny",
        ),
        ("public", "a/b\0", "deny"),
        ("PUBLIC", "a/b", "deny"),
    ] {
        let ruling = odd(in_schema(schema, name)).of(&bundle);
        assert_eq!(short(&ruling), expect, "{schema:?} {name:?}");
    }
    let quoted = Ask::new(user("x\" in Group::\"dba", &[]), &[select()]);
    assert_eq!(short(&quoted.of(&bundle)), "deny");
    // Facts of a statement that is not a SELECT still type-check.
    let merge = odd(table("t")).facts(|f| f.kind = SqlKind::Merge);
    assert_eq!(short(&merge.of(&bundle)), "deny");
}
