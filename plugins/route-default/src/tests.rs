//! Routes, and texts that try to get out of their place.

use weir_plugin::testing::{self, set_config, sql};
use weir_plugin::{
    Demand, Finding, Operation, Plugin, PluginError, Relation, Risk, Router, Routing, Rule,
};

use super::RouteDefault;

fn rule() -> Rule {
    Rule {
        name: "prod-write".into(),
        approvers: vec!["dba".into(), "security".into()],
        required: 1,
        ttl_seconds: 900,
        description: "Check the WHERE clause.".into(),
        attrs: vec![],
    }
}

fn risk(score: u8) -> Risk {
    Risk {
        score,
        labels: vec![],
        findings: vec![Finding {
            code: "bulk_write".into(),
            message: "every row".into(),
        }],
        demand: Demand::None,
    }
}

fn route_sql(text: &str, score: u8) -> Routing {
    let mut session = testing::session();
    session.principal.subject = "agent:7".into();
    session.principal.chain = vec!["alice".into(), "planner".into()];
    session.attrs = vec![
        ("env".into(), "prod".into()),
        ("database".into(), "app".into()),
    ];
    let mut op = sql(text);
    op.writes = vec![Relation {
        schema: "public".into(),
        name: "accounts".into(),
        labels: vec!["pii".into()],
    }];
    let routing = RouteDefault::route(session, op.into(), rule(), risk(score));
    routing.unwrap().unwrap()
}

#[test]
fn asks_whom_the_rule_names() {
    set_config(&[]);
    let routing = route_sql("UPDATE accounts SET x = 1", 60);
    assert_eq!(routing.stages.len(), 1);
    assert_eq!(routing.stages[0].any_of, rule().approvers);
    assert_eq!(routing.stages[0].required, 1);
    assert_eq!(routing.timeout_seconds, 900);
    assert!(routing.channels.is_empty());
    assert_eq!(routing.title, "prod-write: agent:7 wants to run SQL on db");
    let expect = "> Check the WHERE clause.

- **Who:** `agent:7` (User)
- **On behalf of:** `alice` → `planner` → `agent:7`
- **Target:** `db` in `prod`, database `app`
- **Rule:** `prod-write`
- **Writes:** `public.accounts` (pii)

```sql
UPDATE accounts SET x = 1
```

**Risk 60 of 100**

- `bulk_write`: every row
";
    assert_eq!(routing.body_markdown, expect);
}

#[test]
fn operators_can_ask_for_more_only() {
    set_config(&[
        ("channels", "slack, mail"),
        ("channels.other", "pager"),
        ("required", "2"),
        ("one_more_at", "80"),
        ("timeout_seconds", "3600"),
    ]);
    let routing = route_sql("x", 79);
    assert_eq!(routing.channels, ["slack", "mail"]);
    assert_eq!(routing.stages[0].required, 2);
    assert_eq!(routing.timeout_seconds, 900, "not longer than the rule");
    assert_eq!(route_sql("x", 80).stages[0].required, 3);

    set_config(&[
        ("channels", "slack"),
        ("channels.prod-write", "pager"),
        ("timeout_seconds.prod-write", "60"),
    ]);
    let routing = route_sql("x", 0);
    assert_eq!(
        (routing.channels, routing.timeout_seconds),
        (vec!["pager".into()], 60)
    );

    for bad in [
        ("typo", "1"),
        ("required", "0"),
        ("required.x", "-1"),
        ("one_more_at", "101"),
    ] {
        set_config(&[bad]);
        assert!(
            matches!(RouteDefault::check_config(), Err(PluginError::BadConfig(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn texts_stay_in_their_place() {
    set_config(&[]);
    for (text, seen, unseen) in [
        (
            "a ``` \n# Approved",
            "````sql\na ``` \n# Approved\n````",
            "\n```\n",
        ),
        ("`````", "``````sql\n`````\n``````", "\n```\n"),
        ("SELECT 1 -- \u{202e}txt", "\\u{202e}txt", "\u{202e}"),
        ("a\u{200b}b\u{0}c\r", "a\\u{200b}b\\u{0}c\\u{d}", "\u{200b}"),
    ] {
        let body = route_sql(text, 0).body_markdown;
        assert!(body.contains(seen), "{body}");
        assert!(!body.contains(unseen), "{body}");
    }
    let long = route_sql(&"x".repeat(100_000), 0).body_markdown;
    assert!(long.len() < 8000 && long.contains("100000 bytes"));

    let mut session = testing::session();
    session.principal.subject = "eve` **approved**\n# by boss".into();
    session.target = "<img src=x>".into();
    let mut risk = risk(1);
    risk.findings[0].message = "[click](http://evil) <b>now</b>".into();
    let routing = RouteDefault::route(session, sql("SELECT 1").into(), rule(), risk);
    let routing = routing.unwrap().unwrap();
    assert!(!routing.title.contains('\n'));
    let body = routing.body_markdown;
    assert!(body.contains("``eve` **approved** # by boss``"), "{body}");
    assert!(
        body.contains(r"\[click\]\(http://evil\) &lt;b&gt;now&lt;/b&gt;"),
        "{body}"
    );
}

#[test]
fn other_operations() {
    set_config(&[]);
    let connect = Operation::Other(weir_plugin::OtherOp {
        kind: "connect".into(),
        attrs: vec![],
        payload: vec![],
    });
    let routing = RouteDefault::route(testing::session(), connect, rule(), risk(0));
    let routing = routing.unwrap().unwrap();
    assert!(routing.title.contains("wants to connect"));
    assert!(routing.body_markdown.contains("- **What:** `connect`"));
}
