//! The client matrix: each client does the same things on a direct connection and through Weir, and
//! must see the same.
//!
//! A client is a script in `tests/clients` that prints what it saw, or a Rust module here that does.
//! Neither knows whom it talks to. What may differ is said in `verdict`, and nothing else may.

mod people;
mod programs;
mod run;
mod rust;
mod sqlx;
mod stage;
mod tls;
mod tokio_pg;
mod verdict;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use run::{Can, Client, Program};
use stage::{Stage, Way};
use verdict::Line;

/// Everything that is checked, in the order of the columns.
const CHECKS: &[&str] = &[
    "connect",
    "startup",
    "text",
    "binary",
    "prepared",
    "params",
    "transaction",
    "errors",
    "cursor",
    "copy",
    "pipeline",
    "large",
    "notify",
    "cancel",
    "reset",
    "introspect",
    "multi",
    "masked",
    "approved",
    "denied",
    "cancelled",
];

/// The clients, and what each of them has a way to do.
const CLIENTS: &[Client] = &[
    client(
        "psql",
        Program::Rust(programs::run_psql),
        Can::AllBut(&["binary", "pipeline"]),
    ),
    Client {
        // What is masked cannot be restored: only who may see everything can make a dump of it.
        way: Way::Open,
        ..client(
            "pg_dump, pg_restore",
            Program::Rust(programs::run_pg_dump),
            Can::Only(&["text", "cursor", "copy"]),
        )
    },
    client(
        "pgbench",
        Program::Rust(programs::run_pgbench),
        Can::Only(&[
            "connect",
            "text",
            "prepared",
            "params",
            "transaction",
            "copy",
            "pipeline",
        ]),
    ),
    client("psycopg 3", Program::Python("psycopg3.py", &[]), Can::All),
    client(
        "psycopg2",
        Program::Python("psycopg_2.py", &[]),
        Can::AllBut(&["binary", "pipeline"]),
    ),
    client("asyncpg", Program::Python("asyncpg_.py", &[]), Can::All),
    client(
        "pg8000",
        Program::Python("pg_8000.py", &[]),
        Can::AllBut(&["binary", "pipeline", "introspect", "cancelled"]),
    ),
    client(
        "SQLAlchemy, psycopg",
        Program::Python("sqlalchemy_.py", &["psycopg"]),
        SQLALCHEMY,
    ),
    client(
        "SQLAlchemy, asyncpg",
        Program::Python("sqlalchemy_.py", &["asyncpg"]),
        SQLALCHEMY,
    ),
    client("node pg", Program::Node("pg.cjs"), Can::All),
    client(
        "postgres.js",
        Program::Node("postgres.cjs"),
        Can::AllBut(&["binary"]),
    ),
    client("JDBC", Program::Java("Matrix.java"), Can::All),
    client("tokio-postgres", Program::Rust(tokio_pg::run), Can::All),
    client(
        "sqlx",
        Program::Rust(sqlx::run),
        Can::AllBut(&["pipeline", "cancelled"]),
    ),
];

const SQLALCHEMY: Can = Can::AllBut(&["binary", "copy", "notify", "cancel", "multi", "cancelled"]);

const fn client(name: &'static str, program: Program, can: Can) -> Client {
    Client {
        name,
        program,
        can,
        way: Way::Weir,
    }
}

/// Clients that run at a time.
const AT_ONCE: usize = 4;

#[test]
fn every_client_sees_the_same_through_weir() {
    let only = std::env::var("WEIR_CLIENT").ok();
    let clients: Vec<&Client> = CLIENTS
        .iter()
        .filter(|c| only.as_ref().is_none_or(|name| c.name == name))
        .collect();
    let stage = Stage::new();
    let next = AtomicUsize::new(0);
    let lines: Mutex<Vec<(usize, Line)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(client) = clients.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let line = verdict::of(client, &stage);
                    let place = CLIENTS.iter().position(|c| c.name == client.name);
                    lines.lock().unwrap().push((place.unwrap(), line));
                }
            });
        }
    });
    stage.end();
    let mut lines = lines.into_inner().unwrap();
    lines.sort_by_key(|(place, _)| *place);
    let lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    verdict::show(&lines);
    let wrong: Vec<&str> = lines
        .iter()
        .flat_map(|l| &l.wrong)
        .map(String::as_str)
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    if lines.len() == CLIENTS.len() {
        // What comes from the operating system is newer on some machines than on others.
        let pinned = |name: &str| {
            let client = CLIENTS.iter().find(|c| c.name == name).unwrap();
            matches!(client.program, Program::Python(..) | Program::Node(_))
        };
        verdict::document(&lines, pinned);
    }
}
