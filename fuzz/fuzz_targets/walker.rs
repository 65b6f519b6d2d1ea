//! Any bytes as a statement: the analysis must neither panic nor run without bound.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use pipeline::{LabelCatalog, LabelRule, Protocol, Target};
use proto_pg::analysis::{Ctx, Limits, analyse};
use proto_pg::catalog::{Rows, SessionState, Snapshot};

struct World {
    snapshot: Snapshot,
    state: SessionState,
    labels: LabelCatalog,
    target: Arc<Target>,
    database: Arc<str>,
    limits: Limits,
}

/// One table `public.t (ssn)`, labelled.
fn world() -> World {
    let row = |values: &[&str]| {
        values
            .iter()
            .map(|v| Some((*v).to_owned()))
            .collect::<Vec<_>>()
    };
    let mut results: Vec<Rows> = vec![Vec::new(); Snapshot::QUERIES.len()];
    for (query, values) in [
        (0, row(&["2200", "public"])),
        (1, row(&["16400", "2200", "t", "r"])),
        (2, row(&["16400", "1", "ssn", "25", "f", "", "", "100"])),
    ] {
        results[query].push(values);
    }
    let path = row(&["{pg_catalog,public}", "u", "u", "read committed"]);
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

fuzz_target!(|data: &[u8]| {
    weir_fuzz::let_pass_what_is_caught();
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(world);
    let analysis = analyse(
        data,
        &Ctx {
            snapshot: &world.snapshot,
            state: &world.state,
            labels: &world.labels,
            target: &world.target,
            database: &world.database,
            read_only_txn: false,
            settled: false,
            limits: &world.limits,
        },
    );
    assert!(!analysis.accesses.is_empty());
    for shape in &analysis.statements {
        shape.taints(&[], &world.snapshot, &analysis.labelled);
    }
});
