//! Texts made to crash, exhaust or confuse.

use super::{World, show};
use crate::analysis::resolve::{Rows, resolve};
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
        None,
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
            (
                format!(
                    "SELECT * FROM {}t JOIN t ON true{}",
                    "t JOIN (".repeat(800),
                    ") ON true".repeat(800)
                ),
                true,
            ),
            (
                format!(
                    "SELECT * FROM {}t CROSS JOIN t{}",
                    "t CROSS JOIN (".repeat(500),
                    ")".repeat(500)
                ),
                true,
            ),
            (
                format!(
                    "SELECT * FROM {}t{}",
                    "LATERAL (SELECT * FROM ".repeat(500),
                    ") x".repeat(500)
                ),
                true,
            ),
            (
                format!("SELECT {}1{}", "coalesce(f(".repeat(800), "))".repeat(800)),
                true,
            ),
            (
                format!(
                    "SELECT {}1{}",
                    "CASE WHEN (SELECT f(".repeat(300),
                    ") FROM g(1)) THEN 1 END".repeat(300)
                ),
                true,
            ),
            (
                format!(
                    "WITH RECURSIVE {} a500 AS (SELECT 1) SELECT * FROM a0",
                    (0..500)
                        .map(|i| format!("a{i} AS (SELECT * FROM a{}),", i + 1))
                        .collect::<String>()
                ),
                true,
            ),
            // The name of the column has to be looked for inside.
            (format!("SELECT 1{}", "::text".repeat(5_000)), true),
            (format!("SELECT a{} FROM t", "::text".repeat(5_000)), true),
            (
                format!(
                    "SELECT {}a{} FROM t",
                    "CASE WHEN true THEN 1 ELSE ".repeat(800),
                    " END".repeat(800)
                ),
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
            (
                format!("CREATE TABLE n (a int DEFAULT 1{})", "+1".repeat(100_000)),
                false,
            ),
            (
                format!("CREATE TABLE n (a int DEFAULT 1{})", "+1".repeat(100)),
                true,
            ),
            (
                format!(
                    "CREATE TABLE n (a int CHECK (a IN (1{})))",
                    ",1".repeat(100_000)
                ),
                true,
            ),
            (
                format!(
                    "CREATE TABLE n (a int CHECK (true{}))",
                    " OR a = 1".repeat(10_000)
                ),
                true,
            ),
            (
                format!(
                    "CREATE TABLE n ({})",
                    (0..1_600)
                        .map(|i| format!("a{i} int DEFAULT f()"))
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
                    let met = last_parts(&analysis).contains(&name);
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

/// The names of all functions that an analysis says are called.
fn last_parts(analysis: &crate::analysis::Analysis) -> std::collections::BTreeSet<&str> {
    let functions = analysis.facts.functions.iter();
    functions.filter_map(|f| f.rsplit('.').next()).collect()
}

/// The parser's debug output is the oracle for definitions: exactly the functions that stand in it.
#[test]
fn definitions_hide_no_calls() {
    let world = world();
    let mut calls = 0;
    let texts = super::hidden::DEFINITIONS
        .iter()
        .chain(super::hidden::DEFINES);
    for sql in texts.chain(SEEDS).chain(MORE_DEFINITIONS) {
        let tree = pg_raw_parse::parse(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
        let shown = tree
            .stmts()
            .map(|stmt| format!("{stmt:?}"))
            .collect::<String>();
        let analysis = world.analyse(sql);
        let mut met = last_parts(&analysis);
        // By `keyword`, or because of a field: more than the oracle knows is no harm, less is.
        let names = shown
            .split("FuncCall { funcname: [")
            .skip(1)
            .filter_map(|rest| {
                let list = rest.split(']').next()?;
                list.split('"').rev().nth(1).map(str::to_owned)
            });
        let names: std::collections::BTreeSet<String> = names.collect();
        for name in &names {
            assert!(met.remove(name.as_str()), "{name} in {sql}: {met:?}");
            calls += 1;
        }
        assert!(met.is_empty(), "{met:?} in {sql}");
    }
    assert!(calls > 50, "{calls}");
}

const MORE_DEFINITIONS: &[&str] = &[
    "CREATE TABLE n (a int DEFAULT f1(), b int CHECK (f2(b)), c int GENERATED ALWAYS AS (f3(a)) STORED, CHECK (f4(a) > f5()), EXCLUDE USING gist (f6(a) WITH &&) WHERE (f7(a)))",
    "CREATE TABLE n (a int) PARTITION BY RANGE (f1(a), (f2(a) + 1))",
    "CREATE TABLE n PARTITION OF p FOR VALUES FROM (f1()) TO (f2() || 'x')",
    "CREATE TABLE n PARTITION OF p (a DEFAULT f1(), CHECK (f2(a))) FOR VALUES IN (f3(), ARRAY[f4()])",
    "ALTER TABLE p ATTACH PARTITION q FOR VALUES FROM (f1()) TO (f2())",
    "ALTER TABLE t ADD COLUMN c int DEFAULT f1() CHECK (f2(c)), ADD CHECK (f3(a)), ALTER d SET DEFAULT f4(), ALTER e TYPE text USING f5(e), ADD EXCLUDE (f6(a) WITH =)",
    "ALTER TABLE t ALTER a SET EXPRESSION AS (f1(b)), ALTER c ADD GENERATED ALWAYS AS IDENTITY",
    "CREATE INDEX ON t (f1(a), (f2(b) || 'x') text_pattern_ops) INCLUDE (c) WHERE f3(a)",
    "CREATE POLICY p ON t FOR ALL USING (f1(a)) WITH CHECK (EXISTS (SELECT f2(b) FROM u WHERE f3(u.c)))",
    "ALTER POLICY p ON t USING (f1(a)) WITH CHECK (f2(a))",
    "CREATE STATISTICS s ON (f1(a)), b FROM t",
    "CREATE DOMAIN d AS text DEFAULT f1() CHECK (f2(VALUE)) CHECK (f3(VALUE) IS NOT NULL)",
    "ALTER DOMAIN d ADD CHECK (f1(VALUE)); ALTER DOMAIN d SET DEFAULT f2()",
    "CREATE FUNCTION g(a int DEFAULT f1()) RETURNS int BEGIN ATOMIC SELECT f2(a); INSERT INTO t VALUES (f3(a)); END",
    "CREATE TRIGGER x BEFORE UPDATE ON t FOR EACH ROW WHEN (f1(NEW.a) <> f2(OLD.a)) EXECUTE FUNCTION g()",
    "CREATE RULE r AS ON UPDATE TO t WHERE f1(NEW.a) DO INSTEAD (INSERT INTO u VALUES (f2(NEW.a)); SELECT f3(OLD.a) FROM u)",
    "CREATE VIEW v AS SELECT f1(a) FROM t WHERE f2(b)",
    "CREATE MATERIALIZED VIEW v AS SELECT f1(a) FROM t",
    "CREATE PUBLICATION p FOR TABLE t WHERE (f1(a) = 1)",
    "CREATE TYPE r AS RANGE (SUBTYPE = int, SUBTYPE_DIFF = f1)",
    "CREATE TABLE n (LIKE t INCLUDING ALL, a int DEFAULT CASE WHEN f1() THEN (ARRAY[f2()])[f3()] ELSE coalesce(f4(), f5(f6())) END)",
    "CREATE TABLE n (a text DEFAULT (JSON_OBJECT('a': f1()) IS JSON), b xml DEFAULT xmlelement(name x, f2()))",
];

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

/// What resolving costs grows with the text, not with its square.
#[test]
fn resolving_is_linear() {
    let server = crate::catalog::tests::server::Server::start("linear");
    let mut client = server.connect();
    client.run("CREATE TABLE emp (id int, name text, ssn text)");
    let world = World::new(client.snapshot(), client.state());
    let work = |sql: &str| {
        let tree = pg_raw_parse::parse(sql).unwrap();
        let node = crate::analysis::walk::only_statement(&tree).unwrap();
        let resolved = resolve(
            node,
            Rows::Shown,
            &world.snapshot,
            world.state.path(),
            false,
        );
        assert!(!resolved.partial && resolved.unknown.is_empty());
        resolved.work
    };
    let list = |n: usize, item: fn(usize) -> String| {
        let items: Vec<String> = (0..n).map(item).collect();
        items.join(",")
    };
    type Text = fn(usize) -> String;
    let texts: &[(&str, Text)] = &[
        ("sub-selects", |i| {
            format!("(SELECT e.name FROM emp e WHERE {i} = 1)")
        }),
        ("labelled", |i| {
            format!("(SELECT e.ssn AS s{i} FROM emp e LIMIT 1)")
        }),
        ("aliases", |i| format!("(SELECT e{i}.ssn FROM emp e{i})")),
        ("cases", |i| {
            format!("CASE WHEN true THEN ssn ELSE name END || '{i}'")
        }),
        ("unions", |i| {
            format!("(SELECT name FROM emp UNION SELECT ssn FROM emp LIMIT {i})")
        }),
    ];
    for (name, item) in texts {
        let sql = |n| format!("SELECT {} FROM emp", list(n, *item));
        let (small, large) = (work(&sql(500)), work(&sql(5_000)));
        assert!(
            large < small * 12,
            "{name}: {small} for 500, {large} for 5000"
        );
        assert!(large < 5_000 * 40, "{name}: {large}");
    }
    // Each renames what the one before it gives.
    let chain = |n: usize| {
        let ctes: Vec<String> = (1..n)
            .map(|i| format!("c{i} AS (SELECT n{} AS n{i} FROM c{})", i - 1, i - 1))
            .collect();
        let last = n - 1;
        format!(
            "WITH c0 AS (SELECT ssn AS n0 FROM emp), {} SELECT n{last} FROM c{last}",
            ctes.join(",")
        )
    };
    let (small, large) = (work(&chain(200)), work(&chain(2_000)));
    assert!(large < small * 12, "chain: {small}, {large}");
}
