//! Any bytes as a query: resolving it must neither panic nor run without bound, and what stands around a
//! query changes nothing about its columns.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use pipeline::{LabelCatalog, LabelRule, Protocol, SqlKind, Target};
use proto_pg::analysis::{Analysis, Ctx, Limits, Taint, analyse};
use proto_pg::catalog::{Rows, SessionState, Snapshot};

struct World {
    snapshot: Snapshot,
    state: SessionState,
    labels: LabelCatalog,
    target: Arc<Target>,
    database: Arc<str>,
    limits: Limits,
}

/// Tables `t` and `emp` with a labelled column each, `dept` with none, a view, a partition, and some
/// functions.
fn world() -> World {
    let mut results: Vec<Rows> = vec![Vec::new(); Snapshot::QUERIES.len()];
    let mut add = |query: usize, values: &[&str]| {
        let row = values.iter().map(|v| Some((*v).to_owned()));
        results[query].push(row.collect());
    };
    add(0, &["11", "pg_catalog"]);
    add(0, &["2200", "public"]);
    let relations = [
        ("16400", "t", "r", &["ssn"][..]),
        ("16401", "emp", "p", &["id", "name", "ssn", "dept"]),
        ("16402", "emp_1", "r", &["name", "id", "dept", "ssn"]),
        ("16403", "dept", "r", &["id", "title"]),
        ("16404", "seen", "v", &["id", "who", "code"]),
    ];
    for (oid, name, kind, columns) in relations {
        add(1, &[oid, "2200", name, kind]);
        for (i, column) in columns.iter().enumerate() {
            let number = (i + 1).to_string();
            let kind = if matches!(*column, "id" | "dept") { "23" } else { "25" };
            let collation = if kind == "25" { "100" } else { "0" };
            add(2, &[oid, &number, column, kind, "f", "", "", collation]);
        }
    }
    add(3, &["16402", "16401"]);
    add(4, &["16500", "16404", "1", "700"]);
    add(5, &["2618", "16500", "0", "1259", "16401", "0", "n"]);
    for (i, name) in FUNCTIONS.iter().enumerate() {
        let oid = (1_000 + i).to_string();
        add(6, &[&oid, "11", name, "i", "f", "12", "f", "25", "f"]);
    }
    add(7, &["12", "internal"]);
    for (oid, name) in [("23", "int4"), ("25", "text"), ("16", "bool"), ("2249", "record")] {
        add(10, &[oid, "11", name, if name == "record" { "p" } else { "b" }, "0", "0", "0"]);
    }
    add(11, &["16404", "SELECT emp.id, emp.name AS who, emp.ssn AS code FROM emp WHERE emp.dept > 1;"]);
    let path = ["{pg_catalog,public}", "u", "u", "read committed"].map(|v| Some(v.to_owned()));
    World {
        snapshot: Snapshot::build(&results).expect("the rows above are well-formed"),
        state: SessionState::new(&path).expect("the row above is well-formed"),
        labels: LabelCatalog::new(vec![LabelRule {
            target: "*".into(),
            schema: "*".into(),
            table: "*".into(),
            column: "ssn".into(),
            labels: [Arc::from("pii")].into(),
        }]),
        target: Arc::new(Target {
            name: "t".into(),
            protocol: Protocol::Postgres,
            env: "dev".into(),
            tags: Default::default(),
        }),
        database: "d".into(),
        limits: Limits {
            max_text: 1 << 16,
            max_nodes: 100_000,
            max_statements: 100,
        },
    }
}

const FUNCTIONS: &[&str] = &[
    "count", "min", "max", "sum", "lower", "upper", "length", "concat", "md5", "row_to_json",
    "unnest", "generate_series", "array_agg", "row_number", "coalesce", "left",
];

impl World {
    fn analyse(&self, sql: &[u8]) -> Analysis {
        analyse(
            sql,
            &Ctx {
                snapshot: &self.snapshot,
                state: &self.state,
                labels: &self.labels,
                target: &self.target,
                database: &self.database,
                read_only_txn: false,
                settled: false,
                limits: &self.limits,
            },
        )
    }

    /// What the columns of a text's only result can hold.
    fn taints(&self, analysis: &Analysis) -> Option<Vec<bool>> {
        let [shape] = analysis.statements.as_slice() else {
            return None;
        };
        let known = shape.kind() == SqlKind::Select
            && analysis.facts.parsed
            && analysis.refuse.is_none()
            && !analysis.unknown_names;
        let fields = shape.described(&self.snapshot).filter(|_| known)?;
        let taints = shape.taints(&fields, &self.snapshot, &analysis.labelled);
        assert_eq!(taints.len(), fields.len());
        Some(taints.iter().map(|t| *t != Taint::Clean).collect())
    }
}

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(world);
    let analysis = world.analyse(data);
    assert!(!analysis.accesses.is_empty());
    for column in &analysis.computed {
        assert!(analysis.labelled.contains(column));
    }
    let Some(columns) = world.taints(&analysis) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A comment at the end, or a quote that is open, would take in what stands behind it.
    let query = text.trim().trim_end_matches(';');
    for around in [
        format!("SELECT * FROM (\n{query}\n) AS fuzz_s"),
        format!("WITH fuzz_c AS (\n{query}\n) SELECT * FROM fuzz_c"),
        format!("(\n{query}\n) UNION ALL (\n{query}\n)"),
    ] {
        let wrapped = world.analyse(around.as_bytes());
        let Some(taints) = world.taints(&wrapped) else {
            continue;
        };
        // What cannot be resolved, because it is too deep at last, may do anything: nothing in it counts as
        // less than before.
        if wrapped.is_foreign() {
            let kept = taints.iter().zip(&columns).all(|(now, before)| now >= before);
            assert!(kept, "{around}");
        } else {
            assert_eq!(taints, columns, "{around}");
        }
    }
});
