//! Bundles that must not compile, and that the refusal says where and why.

use std::path::Path;

use pipeline::ports::Policy;
use pipeline::{Access, Action, Resource};

use super::kit::{Ask, column, compile, default_files, on_prod, short, small, table, user, with};
use crate::{Bundle, CompiledBundle};

const SCOPE: &str = "(principal, action in Action::\"read\", resource)";

/// A bundle with one more policy.
fn policy(text: &str) -> Result<(), String> {
    small(&[("zz.cedar", text)])
        .map(|_| ())
        .map_err(|e| e.to_string())
}

fn guard(rest: &str) -> String {
    format!("@id(\"guard.x\") @reason(\"r\") forbid {rest};")
}

fn grant(rest: &str) -> String {
    format!("@id(\"grant.x\") permit {rest};")
}

#[test]
fn the_default_bundle_compiles() {
    let bundle = compile(default_files()).unwrap_or_else(|e| panic!("{e}"));
    let summary = bundle.summary();
    assert_eq!(summary.name, "default");
    assert!(summary.tests > 80, "{} tests", summary.tests);
    assert!(summary.guards > 10 && summary.grants > 10 && summary.reliefs > 2);
}

/// For benchmarks: no guard at all, but only for one group, and never by accident.
#[test]
fn the_permit_all_example_does_what_it_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/examples/permit-all");
    let source = Bundle::from_dir(&dir).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        source.files()["schema.cedarschema"],
        default_files()["schema.cedarschema"],
        "copy policies/schema.cedarschema to the example"
    );
    let bundle = CompiledBundle::compile(source, 1).unwrap_or_else(|e| panic!("{e}"));
    let opaque = |group: &str| {
        let access = on_prod(Action::PostgresDrop, table("orders"));
        Ask::new(user("bench", &[group]), &[access]).facts(|f| f.parsed = false)
    };
    let ssn = column("ssn", &["pii"]);
    assert_eq!(short(&opaque("weir-permit-all").of(&bundle)), "permit");
    assert!(bundle.reveal(&opaque("weir-permit-all").question(), &ssn, "shop"));
    assert_eq!(short(&opaque("dba").of(&bundle)), "deny");
    assert!(!bundle.reveal(&opaque("dba").question(), &ssn, "shop"));
}

#[test]
fn policies_that_are_fine() {
    for text in [
        guard(&format!("{SCOPE} when {{ context.base.risk.score > 50 }}")),
        guard(&format!(
            "{SCOPE} unless {{ context.base.approvals.contains(ApprovalRule::\"risky\") }}"
        )),
        guard(&format!(
            "{SCOPE} when {{ !context.base.approvals.containsAny([ApprovalRule::\"risky\"]) && resource.env == Env::\"prod\" }}"
        )),
        grant(&format!("{SCOPE} when {{ principal in Group::\"new-group\" }}")),
        grant("(principal in Group::\"g\", action in Action::\"read\", resource in Pg::Schema::\"t/d/s\")"),
        "@id(\"jit.x\") permit (principal == User::\"erin\", action in Action::\"read\", resource) when { context.base.now < datetime(\"2027-01-01T00:00:00Z\") };".to_owned(),
    ] {
        policy(&text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    }
}

#[test]
fn policies_that_are_refused() {
    let long = "x".repeat(600);
    for (name, text, expect) in [
        // Cedar's own parser and validator.
        ("syntax", "permit (principal action, resource);".to_owned(), "zz.cedar:1:"),
        ("line and column", "\n\n  permit (principl, action, resource);".to_owned(), "zz.cedar:3:"),
        ("an unheard-of attribute", guard(&format!("{SCOPE} when {{ resource.evn == Env::\"prod\" }}")), "zz.cedar:1:"),
        ("an unheard-of environment", guard(&format!("{SCOPE} when {{ resource.env == Env::\"produktion\" }}")), "produktion"),
        ("an unheard-of approval rule", guard(&format!("{SCOPE} unless {{ context.base.approvals.contains(ApprovalRule::\"rsky\") }}")), "rsky"),
        ("an unheard-of label", guard(&format!("{SCOPE} when {{ resource.labels.contains(Label::\"pi\") }}")), "\"pi\""),
        ("an unheard-of kind of statement", guard(&format!("{SCOPE} when {{ context.sql.kind == SqlKind::\"selct\" }}")), "selct"),
        ("a type error", guard(&format!("{SCOPE} when {{ context.base.risk.score > \"70\" }}")), "zz.cedar:1:"),
        ("an optional attribute without has", grant("(principal, action == Action::\"bundle:read\", resource is Weir::Bundle) when { resource.author == principal }"), "author"),
        ("a group with ==: never fires", guard("(principal, action == Action::\"ddl\", resource)"), "zz.cedar:1:"),
        ("the wrong type of resource: never fires", guard("(principal, action == Action::\"postgres:select\", resource is Pg::Function)"), "zz.cedar:1:"),
        ("a condition that is never true", guard(&format!("{SCOPE} when {{ false }}")), "zz.cedar:1:"),
        ("an unheard-of action", guard("(principal, action == Action::\"postgres:slect\", resource)"), "slect"),
        // Lints.
        ("no id", "forbid (principal, action, resource);".to_owned(), "no @id"),
        ("an id that exists", "@id(\"guard.small\") @reason(\"r\") forbid (principal, action, resource);".to_owned(), "appears twice"),
        ("no prefix", "@id(\"x\") @reason(\"r\") forbid (principal, action, resource);".to_owned(), "needs an @id"),
        ("nothing after the prefix", "@id(\"guard.\") @reason(\"r\") forbid (principal, action, resource);".to_owned(), "needs an @id"),
        ("a permit called guard", "@id(\"guard.x\") permit (principal in Group::\"g\", action in Action::\"read\", resource);".to_owned(), "for forbid"),
        ("a forbid called grant", "@id(\"grant.x\") @reason(\"r\") forbid (principal, action, resource);".to_owned(), "for forbid"),
        ("a forbid without a reason", "@id(\"guard.x\") forbid (principal, action, resource);".to_owned(), "needs a @reason"),
        ("a reason over several lines", "@id(\"guard.x\") @reason(\"a\\nb\") forbid (principal, action, resource);".to_owned(), "one line"),
        ("a long reason", format!("@id(\"guard.x\") @reason(\"{long}\") forbid (principal, action, resource);"), "one line"),
        ("an annotation that looks like an obligation", format!("@require_approval(\"x\") {}", grant("(principal in Group::\"g\", action in Action::\"read\", resource)")), "means nothing"),
        ("a misspelt annotation", "@id(\"guard.x\") @raeson(\"r\") forbid (principal, action, resource);".to_owned(), "means nothing"),
        ("permit everything", grant("(principal, action, resource)"), "not scoped"),
        ("permit an action to everybody", grant(SCOPE), "not scoped"),
        ("permit an action to everybody, in a roundabout way", grant(&format!("{SCOPE} when {{ true }} unless {{ false }}")), "not scoped"),
        ("permit any action to a group", grant("(principal in Group::\"g\", action, resource)"), "not scoped"),
        ("a grant that lifts masking", grant("(principal in Group::\"g\", action in [Action::\"read\", Action::\"relief\"], resource)"), "only relief.*"),
        ("a jit that lifts masking", "@id(\"jit.x\") permit (principal in Group::\"g\", action == Action::\"data:reveal\", resource);".to_owned(), "only relief.*"),
        ("a relief that grants", "@id(\"relief.x\") permit (principal in Group::\"g\", action in [Action::\"data:reveal\", Action::\"read\"], resource);".to_owned(), "relief.* may only"),
        ("a grant for targets and Weir itself", grant("(principal in Group::\"g\", action in [Action::\"read\", Action::\"control:read\"], resource)"), "control plane"),
        ("a template", "@id(\"jit.x\") permit (principal == ?principal, action in Action::\"read\", resource);".to_owned(), "templates"),
        ("a table without its path", grant("(principal in Group::\"g\", action in Action::\"read\", resource == Pg::Table::\"customers\")"), "can never be"),
        ("a schema without its path, in a condition", grant(&format!("{SCOPE} when {{ resource in Pg::Schema::\"public\" }}")), "can never be"),
        ("a sum", guard(&format!("{SCOPE} when {{ context.base.risk.score + 1 > 5 }}")), "overflow"),
        ("a product", guard(&format!("{SCOPE} when {{ context.base.risk.score * 2 > 5 }}")), "overflow"),
        ("a negation", guard(&format!("{SCOPE} when {{ -context.base.risk.score < 5 }}")), "overflow"),
        ("an offset", guard(&format!("{SCOPE} when {{ context.base.now.offset(duration(\"1d\")) > datetime(\"2027-01-01\") }}")), "overflow"),
        ("an approval that makes it stricter", guard(&format!("{SCOPE} when {{ context.base.approvals.contains(ApprovalRule::\"risky\") }}")), "stricter"),
        ("the same through a negation", guard(&format!("{SCOPE} unless {{ !context.base.approvals.contains(ApprovalRule::\"risky\") }}")), "stricter"),
        ("the same in a grant", grant(&format!("{SCOPE} unless {{ context.base.approvals.contains(ApprovalRule::\"risky\") }}")), "stricter"),
        ("approvals as a condition", guard(&format!("{SCOPE} unless {{ if context.base.approvals.contains(ApprovalRule::\"risky\") then resource.env == Env::\"prod\" else true }}")), "only be asked with"),
        ("approvals compared", guard(&format!("{SCOPE} unless {{ context.base.approvals == [ApprovalRule::\"risky\"] }}")), "only be asked with"),
        ("approvals counted", guard(&format!("{SCOPE} when {{ context.base.approvals.isEmpty() }}")), "only be asked with"),
        ("approvals on the right", guard(&format!("{SCOPE} unless {{ [ApprovalRule::\"risky\"].containsAll(context.base.approvals) }}")), "only be asked with"),
        ("the whole context", guard(&format!("{SCOPE} when {{ context.base == context.base }}")), "as a whole"),
        ("has, alone, on nothing", guard(&format!("{SCOPE} when {{ resource has knwon && !resource.knwon }}")), "zz.cedar:1:"),
        ("has, in an or, on nothing", guard(&format!("{SCOPE} when {{ context.base.risk.score > 90 || (resource has knwon && !resource.knwon) }}")), "knwon"),
        ("has on nothing in the context", guard(&format!("{SCOPE} when {{ context.base.risk.score > 90 || (context.base has onBehalfOff) }}")), "onBehalfOff"),
        ("has on a path that ends nowhere", guard(&format!("{SCOPE} when {{ context.base.risk.score > 90 || (context has sql.nothing) }}")), "nothing"),
        // Limits.
        ("a long policy", guard(&format!("{SCOPE} when {{ [\"{}\"].contains(resource.name) }}", "a".repeat(11_000))), "at most 10000 bytes"),
    ] {
        let error = policy(&text).expect_err(name);
        assert!(error.contains(expect), "{name}: expected {expect:?}\n{error}");
        assert!(error.contains("zz.cedar:") , "{name} has no place\n{error}");
    }
}

/// Text that ends the process when Cedar's parser sees it on an ordinary stack. This test runs on
/// such a stack.
#[test]
fn parse_bombs_are_refused() {
    let deep = 60_000;
    let condition = |text: String| guard(&format!("{SCOPE} when {{ {text} }}"));
    for (name, text) in [
        (
            "parentheses",
            condition(format!("{}true{}", "(".repeat(deep), ")".repeat(deep))),
        ),
        ("open parentheses", condition("(".repeat(deep))),
        ("sets", condition("[".repeat(deep))),
        ("records", condition("{a:".repeat(deep))),
        ("and", condition(vec!["true"; deep].join("&&"))),
        ("or", condition(vec!["true"; deep].join("||"))),
        (
            "members",
            condition(format!("context{}", ".a".repeat(deep))),
        ),
        (
            "indexes",
            condition(format!("context{}", "[\"a\"]".repeat(deep))),
        ),
        ("if", condition("if true then true else ".repeat(deep))),
        ("not", condition("!".repeat(deep))),
        ("minus", condition("-".repeat(deep))),
        ("plus", condition(vec!["1"; deep].join("+"))),
        (
            "has",
            condition(format!("context has {}", vec!["a"; deep].join("."))),
        ),
        (
            "clauses",
            guard(&format!("{SCOPE} {}", "when { true } ".repeat(deep))),
        ),
        (
            "annotations",
            format!("{} permit {SCOPE};", "@a(\"\") ".repeat(deep)),
        ),
        (
            "names",
            guard(&format!(
                "(principal is {}, action, resource)",
                vec!["A"; deep].join("::")
            )),
        ),
        ("no end", "@id(".repeat(deep)),
        ("quotes", "\"".repeat(deep + 1)),
        ("comments", format!("{} permit", "//\n".repeat(deep))),
    ] {
        let error = policy(&text).expect_err(name);
        assert!(
            error.len() < 100_000,
            "{name}: the error is {} bytes",
            error.len()
        );
    }
    for (name, schema) in [
        (
            "braces",
            "entity A { a: {".to_owned() + &"a: {".repeat(deep),
        ),
        ("sets", format!("entity A {{ a: {}", "Set<".repeat(deep))),
        ("namespaces", "namespace A { ".repeat(deep)),
        ("names", format!("entity {};", vec!["A"; deep].join("::"))),
        ("a cycle", "type A = { a: A }; entity B = A;".to_owned()),
    ] {
        small(&[("schema.cedarschema", &schema)])
            .map(|_| ())
            .expect_err(name);
    }
    let json = "[".repeat(deep);
    small(&[("tests/x.json", &json)])
        .map(|_| ())
        .expect_err("json");
    let toml = format!("test = {}", "[".repeat(deep));
    small(&[("tests/x.toml", &toml)])
        .map(|_| ())
        .expect_err("toml");
}

#[test]
fn problems_are_listed_and_capped() {
    let many: String = (0..500)
        .map(|i| format!("@id(\"x{i}\") permit (principal in Group::\"g\", action in Action::\"read\", resource);\n"))
        .collect();
    let errors = small(&[("zz.cedar", &many)])
        .map(|_| ())
        .expect_err("bad ids");
    assert_eq!(errors.problems.len(), crate::MAX_PROBLEMS);
    assert_eq!(errors.more, 400);
    assert_eq!((errors.problems[1].line, errors.problems[1].column), (2, 1));
}

/// Schemas that do not fit what Weir asks.
#[test]
fn schemas_that_are_refused() {
    let schema = default_files()["schema.cedarschema"].clone();
    for (name, from, to, expect) in [
        (
            "an action is gone",
            "action \"postgres:call\" in",
            "action \"postgres:cull\" in",
            "\"postgres:call\" is missing",
        ),
        (
            "an action that nobody asks for",
            "action \"postgres:call\" in",
            "action \"postgres:cull\", \"postgres:call\" in",
            "nothing would ever ask",
        ),
        (
            "a group is gone",
            "action \"control:change\" in",
            "action \"control:chance\" in",
            "schema.cedarschema",
        ),
        (
            "an action has left its group",
            "action \"postgres:select\" in [\"read\"]",
            "action \"postgres:select\" in [\"any\"]",
            "must be in the group \"read\"",
        ),
        (
            "a group has left any",
            "action \"write\" in [\"any\"]",
            "action \"write\"",
            "must be in the group \"any\"",
        ),
        (
            "relief is in any",
            "action \"relief\";",
            "action \"relief\" in [\"any\"];",
            "must not be in the group \"any\"",
        ),
        (
            "control is in any",
            "action \"control\";",
            "action \"control\" in [\"any\"];",
            "must not be in the group \"any\"",
        ),
        (
            "reading is relief",
            "action \"postgres:select\" in [\"read\"]",
            "action \"postgres:select\" in [\"read\", \"relief\"]",
            "must not be in the group \"relief\"",
        ),
        (
            "an attribute that Weir does not supply",
            "mfa: Bool,",
            "mfa: Bool, shoe: Long,",
            "does not fit",
        ),
        (
            "an attribute of another type",
            "known: Bool,                   // false",
            "known: Long, // false",
            "does not fit",
        ),
        (
            "an attribute that is not declared",
            "  autonomous: Bool,",
            "  //",
            "does not fit",
        ),
        (
            "no tags",
            "entity Workload in [Group] tags String;",
            "entity Workload in [Group];",
            "does not fit",
        ),
        (
            "an optional fact made required",
            "limit?: Long",
            "limit: Long",
            "does not fit",
        ),
        (
            "the context lacks a fact",
            "issuer: String,",
            "",
            "does not fit",
        ),
        (
            "a missing link above a table",
            "entity Table in [Schema]",
            "entity Table in [Database]",
            "does not fit",
        ),
        (
            "an environment that is not an enumeration",
            "entity Env enum [\"prod\", \"staging\", \"dev\"];",
            "entity Env;",
            "Env must be an enumeration",
        ),
        (
            "an approval rule that the manifest lacks",
            "\"agent-write\", \"risky\"\n]",
            "\"agent-write\", \"risky\", \"more\"]",
            "no [[approval_rule]]",
        ),
        (
            "an approval rule that the schema lacks",
            "\"agent-write\", \"risky\"\n]",
            "\"agent-write\"]",
            "lacks \"risky\"",
        ),
        (
            "a label that the schema lacks",
            "\"pii.email\", \"pci\"",
            "\"pci\"",
            "lacks \"pii.email\"",
        ),
        (
            "a kind of statement that the schema lacks",
            "\"merge\",",
            "",
            "lacks \"merge\"",
        ),
        (
            "nothing for users",
            "principal: [User], resource: [ApprovalRule]",
            "principal: [Workload], resource: [ApprovalRule]",
            "must apply to a User",
        ),
        (
            "a syntax error",
            "entity Group;",
            "entity Group",
            "schema.cedarschema:",
        ),
    ] {
        assert!(schema.contains(from), "{name}: the schema has no {from:?}");
        let changed = schema.replacen(from, to, 1);
        let error = small(&[("schema.cedarschema", &changed)])
            .map(|_| ())
            .expect_err(name)
            .to_string();
        assert!(
            error.contains(expect),
            "{name}: expected {expect:?}\n{error}"
        );
    }
}

#[test]
fn a_failing_policy_test_refuses_the_bundle() {
    let test = |body: &str| {
        let text = format!(
            "[[test]]\nname = \"t\"\nas = {{ user = \"erin\", groups = [\"engineering\"] }}\n{body}"
        );
        with(&[("tests/t.toml", &text)])
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    let select = "action = \"postgres:select\"\non = { table = \"public.t\" }\n";
    let reveal = "action = \"data:reveal\"\non = { column = \"public.t.c\", labels = [\"pii\"] }\n";
    for (body, expect) in [
        (format!("{select}expect = \"permit\""), ""),
        (format!("{select}expect = \"deny\""), "tests/t.toml:2:8: policy test \"t\": expected"),
        (format!("{select}expect = {{ needs = [\"risky\"] }}"), "expected"),
        (format!("{select}expect = {{ needs = [\"risky\"] }}\nrisk = {{ score = 90 }}"), ""),
        (format!("{select}expect = {{ needs = [] }}\nrisk = {{ score = 90 }}"), "expected"),
        (format!("{select}expect = \"permit\"\nsql = {{ parsed = false }}"), "could not be understood"),
        (format!("{select}expect = \"deny\"\nreason = \"xyz\"\nsql = {{ parsed = false }}"), "xyz"),
        (format!("{reveal}expect = \"masked\""), ""),
        (format!("{reveal}expect = \"reveal\""), "reveal"),
        (format!("{select}expect = \"masked\""), "about a column"),
        (format!("{select}expect = \"maybe\""), "tests/t.toml:"),
        (format!("{select}expect = \"permit\"\nunheard = 1"), "unheard"),
        ("action = \"postgres:selct\"\non = { table = \"public.t\" }\nexpect = \"permit\"".into(), "no action"),
        ("action = \"postgres:select\"\non = { table = \"t\" }\nexpect = \"permit\"".into(), "2 names"),
        ("action = \"postgres:select\"\non = { }\nexpect = \"permit\"".into(), "one thing"),
        ("action = \"postgres:select\"\non = { table = \"a.b\", schema = \"c\" }\nexpect = \"permit\"".into(), "one thing"),
    ] {
        match (test(&body), expect) {
            (Ok(()), "") => {}
            (Ok(()), _) => panic!("{body} passed"),
            (Err(error), "") => panic!("{body}\n{error}"),
            (Err(error), expect) => assert!(error.contains(expect), "{body}\n{error}"),
        }
    }
    let json = "[{\"name\": \"j\", \"as\": {\"user\": \"x\"}, \"action\": \"postgres:connect\", \"on\": {\"database\": true}, \"expect\": \"permit\"}]";
    let error = with(&[("tests/t.json", json)])
        .map(|_| ())
        .expect_err("a stranger connects");
    assert!(error.to_string().contains("no grant permits"), "{error}");
}

/// A bundle from before Weir had some of its actions goes on, and permits none of them to anybody.
#[test]
fn a_schema_from_before_an_action_permits_it_to_nobody() {
    let all = "@id(\"grant.all\") permit (principal in Group::\"ops\", action in Action::\"control\", resource);";
    let now = small(&[("zz.cedar", all)]).unwrap_or_else(|e| panic!("{e}"));
    let mut schema = default_files()["schema.cedarschema"].clone();
    schema = schema.replace("\"audit:read\", \"delivery:read\"", "\"audit:read\"");
    for action in [
        "session:watch",
        "record:erase",
        "evidence:export",
        "certificate:issue",
        "credential:revoke",
        "key:register",
        "host_key:approve",
    ] {
        let from = schema.find(&format!("action \"{action}\"")).unwrap();
        let to = from + schema[from..].find(';').unwrap() + 1;
        schema.replace_range(from..to, "");
    }
    let files = [("zz.cedar", all), ("schema.cedarschema", &*schema)];
    let before = small(&files).unwrap_or_else(|e| panic!("{e}"));
    let session = Resource::Session {
        id: pipeline::SessionId(Default::default()),
        owner: "erin".into(),
    };
    for (action, resource, then) in [
        (Action::SessionWatch, session, "deny"),
        (Action::RecordErase, Resource::Target, "deny"),
        (Action::EvidenceExport, Resource::Target, "deny"),
        (Action::CertificateIssue, Resource::Target, "deny"),
        (Action::CredentialRevoke, Resource::Target, "deny"),
        (Action::KeyRegister, Resource::Target, "deny"),
        (Action::HostKeyApprove, Resource::Target, "deny"),
        (Action::DeliveryRead, Resource::Target, "deny"),
        (Action::AuditRead, Resource::Target, "permit"),
    ] {
        let access = Access {
            action,
            resource,
            target: None,
        };
        let ask = Ask::new(user("olga", &["ops"]), &[access]);
        assert_eq!(short(&ask.of(&now)), "permit", "{action:?}");
        assert_eq!(short(&ask.of(&before)), then, "{action:?}");
    }
    // Older ones are still asked for.
    let schema = schema.replace("\"audit:read\"", "\"audit:write\"");
    let files = [("zz.cedar", all), ("schema.cedarschema", &*schema)];
    let refused = small(&files).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("\"audit:read\" is missing"), "{refused}");
}
