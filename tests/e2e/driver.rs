//! A driver that real programs use, with server-side cursors, binary results, COPY and pipelines.

use weir_tests::dataset::leaks;

use crate::shop::{ALICE, CAROL, Shop, shop};

/// What every step of the program must give, before it is masked: its name and how many rows.
const STEPS: &[(&str, usize)] = &[
    ("text", 17),
    ("binary", 17),
    ("named cursor", 20),
    ("copy", 20),
    ("pipeline", 4),
];

#[test]
fn psycopg_reads_nothing_planted() {
    let shop = shop("psycopg");
    let masked = psycopg(&shop, &shop.token(ALICE));
    assert!(leaks(masked.as_bytes()).is_none(), "{masked}");
    assert_steps(&masked);
    for line in masked.lines().filter(|l| l.starts_with("row ")) {
        assert!(line.contains("[redacted]"), "{line}");
    }
    let seen = psycopg(&shop, &shop.token(CAROL));
    assert_steps(&seen);
    for line in seen.lines().filter(|l| l.starts_with("row ")) {
        assert!(leaks(line.as_bytes()).is_some(), "{line}");
    }
}

/// Each step gave all of its rows, each time that it ran.
fn assert_steps(said: &str) {
    assert!(said.ends_with("done (1,)\n"), "{said}");
    for (step, rows) in STEPS {
        let times = if matches!(*step, "text" | "binary") {
            7
        } else {
            1
        };
        let expect = format!("{step}: {rows} rows\n");
        assert_eq!(said.matches(&expect).count(), times, "{step}: {said}");
    }
    assert!(!said.contains("refused"), "{said}");
}

const PROGRAM: &str = r#"
import os, psycopg
dsn = f"host=127.0.0.1 port={os.environ['PORT']} dbname={os.environ['DB']} user=app sslmode=disable"
with psycopg.connect(dsn, password=os.environ['TOKEN'], autocommit=True) as conn:
    def step(name, rows):
        try:
            rows = [*rows()]
        except psycopg.errors.InsufficientPrivilege as e:
            print(f'{name}: refused {e.sqlstate}')
            return
        for row in rows:
            print('row', row)
        print(f'{name}: {len(rows)} rows')
    for name in ('text', 'binary'):
        for _ in range(7):   # after a few executions psycopg prepares by itself
            step(name, lambda: conn.execute(
                'SELECT id, email, ssn FROM customers WHERE id > %s', (3,), binary=name == 'binary'))
    def named():
        with conn.transaction(), conn.cursor('named', binary=True) as cur:
            cur.itersize = 3
            cur.execute('SELECT ssn AS x, name FROM customers')
            yield from cur
    step('named cursor', named)
    def copy():
        with conn.cursor() as cur, cur.copy('COPY (SELECT email FROM customers) TO STDOUT') as out:
            yield from out.rows()
    step('copy', copy)
    def pipeline():
        with conn.pipeline():
            curs = [conn.execute('SELECT card FROM customers WHERE id = %s', (i,)) for i in range(5)]
            for cur in curs:
                yield from cur.fetchall()
    step('pipeline', pipeline)
    print('done', conn.execute('SELECT 1').fetchone())
"#;

fn psycopg(shop: &Shop, token: &str) -> String {
    let python = weir_tests::paths::venv().join("bin/python");
    let out = std::process::Command::new(python)
        .args(["-c", PROGRAM])
        .env("PORT", shop.weir.pg_port.to_string())
        .env("DB", &shop.database)
        .env("TOKEN", token)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    said
}
