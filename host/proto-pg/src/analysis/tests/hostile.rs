//! Texts made to crash, exhaust or confuse.

use super::{World, show};
use crate::catalog::{SessionState, Snapshot};

const SEEDS: &[&str] = &[
    "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM a) SELECT a.*, (b).c FROM a JOIN LATERAL f(x) b(c) ON true WINDOW w AS (ORDER BY x)",
    "INSERT INTO t AS q (a, b[1].c) VALUES (1, DEFAULT), ($1, E'\\'x') ON CONFLICT (a) WHERE b DO UPDATE SET a = excluded.a RETURNING *",
    "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (1) WHEN MATCHED THEN DELETE RETURNING merge_action()",
    "COPY (SELECT xmlelement(name a, xmlattributes(b)) FROM x) TO STDOUT WITH (FORMAT csv, HEADER)",
    "SELECT JSON_OBJECT('a': 1), (ARRAY[1,2])[1:2], x::text COLLATE \"C\" FROM JSON_TABLE(a, '$' COLUMNS (b int PATH '$')) j, ROWS FROM (f(1), g(2)) z",
    "CREATE TABLE t (a int DEFAULT f(), b text GENERATED ALWAYS AS (upper(a)) STORED, CHECK (a > 0)) INHERITS (p)",
    "ALTER TABLE t ADD COLUMN x int, ALTER COLUMN y TYPE text USING z; ALTER TABLE t DETACH PARTITION q",
    "EXPLAIN (ANALYZE, VERBOSE) EXECUTE p(1, 2); FETCH ALL IN c; SET LOCAL x.y = 'z'",
];

fn world() -> World {
    let empty: Vec<crate::catalog::Rows> = vec![Vec::new(); Snapshot::QUERIES.len()];
    let state = [
        Some("{pg_catalog,public}".to_owned()),
        Some("u".into()),
        Some("u".into()),
    ];
    World::new(
        Snapshot::build(&empty).unwrap(),
        SessionState::new(&state).unwrap(),
    )
}

/// On the stack that a task of the proxy has.
fn on_a_small_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

#[test]
fn deep_texts() {
    on_a_small_stack(|| {
        let world = world();
        for (sql, parsed) in [
            (format!("SELECT 1{}", "+1".repeat(100_000)), true),
            (
                format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
                false,
            ),
            (
                format!("SELECT {}1{}", "(SELECT ".repeat(1_000), ")".repeat(1_000)),
                true,
            ),
            (
                format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000)),
                false,
            ),
            (
                format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)),
                true,
            ),
            (
                format!(
                    "SELECT {}1{}",
                    "CASE WHEN true THEN ".repeat(1_000),
                    " END".repeat(1_000)
                ),
                true,
            ),
            (
                format!("SELECT 1 FROM a{}", " JOIN b ON true".repeat(5_000)),
                true,
            ),
            (format!("SELECT {} true", "NOT ".repeat(5_000)), true),
            (format!("SELECT 1 IN ({}1)", "1,".repeat(100_000)), true),
            (
                format!(
                    "WITH {} SELECT * FROM a0",
                    (0..2_000)
                        .map(|i| format!("a{i} AS (SELECT * FROM a{})", i + 1))
                        .collect::<Vec<_>>()
                        .join(",")
                ),
                true,
            ),
            (";".repeat(100_000), true),
            ("SELECT 1;".repeat(999), true),
            ("SELECT 1;".repeat(1_001), false),
        ] {
            let analysis = world.analyse(&sql);
            let head: String = sql.chars().take(40).collect();
            assert_eq!(
                analysis.facts.parsed, parsed,
                "{head}: {:?}",
                analysis.refuse
            );
            assert!(!analysis.accesses.is_empty());
        }
    });
}

#[test]
fn too_much() {
    let mut world = world();
    world.limits.max_nodes = 100;
    let analysis = world.analyse(&format!("SELECT 1{}", "+1".repeat(200)));
    assert!(analysis.refuse.is_some());
    world.limits.max_text = 10;
    assert!(world.analyse("SELECT 1234567").refuse.is_some());
    for bytes in [&b"SELECT '\xff'"[..], b"SELECT 1\0", b"\xf0\x28\x8c\xbc"] {
        let analysis = world.analyse_bytes(bytes);
        assert!(analysis.refuse.is_some() && !analysis.facts.parsed);
    }
}

/// PostgreSQL's own walker is the oracle: every function and relation that it meets is known here.
#[test]
fn the_walk_misses_nothing() {
    let world = world();
    let (mut functions, mut relations) = (0, 0);
    let texts = super::bypass::LEAKS
        .iter()
        .flat_map(|case| case.split(";;"));
    for sql in texts.chain(SEEDS.iter().copied()) {
        let tree = pg_raw_parse::parse(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
        let analysis = world.analyse(sql);
        let named: Vec<&str> = analysis.accesses.iter().filter_map(table).collect();
        for stmt in tree.stmts() {
            use pg_raw_parse::Node;
            if !matches!(
                stmt,
                Node::SelectStmt(_)
                    | Node::InsertStmt(_)
                    | Node::UpdateStmt(_)
                    | Node::DeleteStmt(_)
                    | Node::MergeStmt(_)
            ) {
                continue;
            }
            let ctes = ctes(stmt);
            pg_raw_parse::walk::walk(stmt, |node| match node {
                Node::FuncCall(call) => {
                    let name = call
                        .funcname()
                        .iter()
                        .next_back()
                        .and_then(Node::as_str)
                        .unwrap();
                    let met = analysis.facts.functions.iter().any(|f| f.ends_with(name));
                    assert!(met, "{name} in {sql}");
                    functions += 1;
                }
                Node::RangeVar(r) => {
                    let name = r.relname().unwrap();
                    let into = sql.contains(&format!("INTO {name} FROM"));
                    assert!(
                        into || ctes.contains(&name) || named.contains(&name),
                        "{name} in {sql}"
                    );
                    relations += 1;
                }
                _ => {}
            });
        }
    }
    assert!(functions > 40 && relations > 100, "{functions} {relations}");
}

fn table(access: &pipeline::Access) -> Option<&str> {
    match &access.resource {
        pipeline::Resource::PgTable { table, .. } => Some(table),
        _ => None,
    }
}

fn ctes(stmt: pg_raw_parse::Node<'_>) -> Vec<&str> {
    let mut names = Vec::new();
    pg_raw_parse::walk::walk(stmt, |node| {
        if let pg_raw_parse::Node::CommonTableExpr(cte) = node {
            names.extend(cte.ctename());
        }
    });
    names
}

/// Deterministic mutations of real statements.
#[test]
fn mutations_never_panic() {
    let world = world();
    let mut state = 42u32;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % limit.max(1)
    };
    for round in 0..20_000 {
        let seed = SEEDS[round % SEEDS.len()];
        let mut words: Vec<&str> = seed.split(' ').collect();
        let other: Vec<&str> = SEEDS[next(SEEDS.len())].split(' ').collect();
        for _ in 0..=next(3) {
            let at = next(words.len());
            match next(4) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, other[next(other.len())]),
                2 => words[at] = other[next(other.len())],
                _ => words.truncate(at + 1),
            }
            if words.is_empty() {
                words.push("SELECT");
            }
        }
        let mut sql = words.join(" ").into_bytes();
        if next(4) == 0 && !sql.is_empty() {
            let at = next(sql.len());
            sql[at] = next(256) as u8;
        }
        assert!(!show(&world.analyse_bytes(&sql)).is_empty());
    }
}
