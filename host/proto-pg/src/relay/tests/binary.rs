//! Detectors find in binary format what they find in text.

use std::sync::Arc;

use pipeline::mask::{MaskAction, MaskColumn, MaskPlan};
use pipeline::memory::MemoryPolicy;

use super::protocol::Bench;

/// Of 51 bytes: the length before it ends in what is a 3 in ASCII.
const CARD: &str = "4111111111111111 and more text, up to such a length";

const SETUP: &str = "CREATE TYPE comp AS (n int, t text); CREATE DOMAIN d AS text;
    CREATE TYPE textrange AS RANGE (subtype = text); CREATE TYPE mood AS ENUM ('4111111111111111');
    CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext;";

/// `$` is the card. All of them are NULL.
const FOUND: &[&str] = &[
    "SELECT ARRAY['$']",
    "SELECT ARRAY['x', '$', NULL]",
    "SELECT ARRAY[['x', 'y'], ['z', '$']]",
    "SELECT ARRAY['$']::varchar[]",
    "SELECT ARRAY['$'::d]",
    "SELECT '[2:3]={x,\"$\"}'::text[]",
    "SELECT ROW(1, '$')",
    "SELECT (1, '$')::comp",
    "SELECT ARRAY[(1, '$')::comp]",
    "SELECT ROW(ROW(ARRAY['$']))",
    "SELECT ROW('\\x000000'::bytea, '$')",
    "SELECT textrange('$', 'z', '[]')",
    "SELECT textrange(NULL, '$')",
    "SELECT textmultirange(textrange('1', '2'), textrange('$', 'z'))",
    "SELECT hstore('k', '$')",
    "SELECT hstore('$', NULL)",
    "SELECT ARRAY[hstore('k', '$')]",
    "SELECT '$'::citext",
    "SELECT ARRAY['$'::citext]",
    "SELECT array_to_tsvector(ARRAY['a', '$'])",
    "SELECT '4111111111111111:12337 b'::tsvector",
    "SELECT '4111111111111111'::ltree",
    "SELECT ARRAY['4111111111111111'::ltree]",
    "SELECT ARRAY[jsonb_build_object('a', '$')]",
    "SELECT ARRAY[to_json('$'::text)]",
    "SELECT 4111111111111111::numeric",
    "SELECT ARRAY[4111111111111111::numeric]",
    "SELECT ARRAY[4111111111111111]",
    "SELECT ROW(4111111111111111)",
    "SELECT ARRAY['4111111111111111'::mood]",
    "SELECT '<a>$</a>'::xml",
];

/// None of them is.
const CLEAN: &[&str] = &[
    "SELECT ARRAY['x', NULL]",
    "SELECT '{}'::text[]",
    "SELECT ARRAY[1, 2, 4111]",
    "SELECT (1, 'x')::comp",
    "SELECT 'empty'::textrange",
    "SELECT '{}'::textmultirange",
    "SELECT ''::hstore",
    "SELECT ''::tsvector",
    "SELECT 12.5",
    "SELECT 'NaN'::numeric",
    "SELECT true",
    "SELECT now()",
    "SELECT '1 2'::int2vector",
    "SELECT point(1, 2)",
    "SELECT ARRAY[point(1, 2)]",
    "SELECT '10.0.0.1'::inet",
    "SELECT int4range(1, 5)",
    "SELECT ARRAY[now()]",
    "SELECT NULL::mood",
];

type Planner = Arc<dyn Fn(&[MaskColumn]) -> MaskPlan + Send + Sync>;

fn plan(action: MaskAction) -> Planner {
    Arc::new(move |columns| MaskPlan {
        actions: columns.iter().map(|_| vec![action.clone()]).collect(),
        ..MaskPlan::pass(columns.len())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inside_of_binary_values_is_found() {
    let b = Bench::new("binary_found", MemoryPolicy::permit_all(), SETUP);
    let mut c = b.client().await;
    *b.memory.hooks.plan.lock() = Some(plan(MaskAction::Detect(vec!["pan".to_owned()])));
    for (texts, found) in [(FOUND, true), (CLEAN, false)] {
        for sql in texts {
            let sql = sql.replace('$', CARD);
            let direct = c.query(&format!("SELECT ({sql}) IS NULL")).await;
            for binary in [false, true] {
                let a = c.prepared(&sql, &[], binary).await;
                assert_eq!(a.code(), "", "{sql}: {a:?}");
                let row = a.rows.first().unwrap();
                let null = found || direct.value() == Some("t");
                if binary {
                    assert_eq!(row[0].is_none(), null, "{sql}: {a:?}");
                } else if found {
                    let shown = row[0].clone().unwrap_or_default();
                    assert!(!shown.contains("4111111111111111"), "{sql}: {shown}");
                }
            }
        }
    }
}

/// A plugin is shown the texts, not the bytes between them.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_see_what_is_inside_of_binary_values() {
    let b = Bench::new("binary_plugins", MemoryPolicy::permit_all(), SETUP);
    let mut c = b.client().await;
    *b.memory.hooks.plan.lock() = Some(plan(MaskAction::Inspect));
    for (sql, found) in [
        ("SELECT ARRAY['x', 'a secret']", true),
        ("SELECT (1, 'a secret')::comp", true),
        ("SELECT hstore('secret', NULL)", true),
        ("SELECT ARRAY['x', 'sec', 'ret']", false),
        ("SELECT (1, 'none')::comp", false),
    ] {
        let a = c.prepared(sql, &[], true).await;
        assert_eq!(a.rows[0][0].is_none(), found, "{sql}: {a:?}");
    }
}
