//! A real server behind, a scripted client in front.

use pipeline::memory::{Memory, MemoryPolicy};

use crate::testing::Weir;
use crate::testing::client::Client;
use crate::testing::postgres::{self, Postgres};

mod activation;
mod binary;
mod cancels;
mod compute;
mod conformance;
mod holds;
mod hostile;
mod hostile_stream;
mod indifferent;
mod names;
mod notify;
mod parsing;
mod planning;
mod protocol;
mod record;
mod replaced;
mod sessions;
mod syntax;

#[tokio::test(flavor = "multi_thread")]
async fn psql_runs_a_query() {
    let pg = Postgres::shared();
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(pg, memory.ports());
    let out = tokio::process::Command::new(postgres::bin().join("psql"))
        .env("PGPASSWORD", crate::testing::TOKEN)
        .args(["-h", "127.0.0.1", "-p", &weir.addr.port().to_string()])
        .args(["-U", "me", "-d", "db/postgres", "-X", "-A", "-t"])
        .args(["-c", "SELECT 41 + 1", "-c", "SELECT current_user"])
        .output()
        .await
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&out.stdout),
        "42\nweir\n",
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_bytes() {
    let pg = Postgres::shared();
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(pg, memory.ports());
    let mut c = Client::connect(weir.addr, "db/postgres").await.unwrap();
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    assert_eq!(
        c.prepared("SELECT $1::int + 1", &[Some("2")], false)
            .await
            .value(),
        Some("3")
    );
}

/// A program of PostgreSQL's own, through Weir.
async fn stock(weir: &Weir, program: &str, args: &[&str]) -> String {
    let out = tokio::process::Command::new(postgres::bin().join(program))
        .env("PGPASSWORD", crate::testing::TOKEN)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", weir.addr.port().to_string())
        .env("PGUSER", "me")
        .args(args)
        .output()
        .await
        .unwrap();
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_programs_work() {
    let pg = Postgres::shared();
    pg.database("stock");
    pg.sql("stock", "GRANT ALL ON SCHEMA public TO weir");
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(pg, memory.ports());
    stock(&weir, "pgbench", &["-i", "-q", "-s", "1", "db/stock"]).await;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["-S", "-N"] {
            let args = [
                script, "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "25", "db/stock",
            ];
            let out = stock(&weir, "pgbench", &args).await;
            assert!(out.contains("100/100"), "{out}");
        }
    }
    let rows = stock(
        &weir,
        "psql",
        &[
            "-X",
            "-A",
            "-t",
            "-d",
            "db/stock",
            "-c",
            "\\d pgbench_accounts",
        ],
    )
    .await;
    assert!(rows.contains("aid|integer"), "{rows}");
    let intents = memory.journal.intents().len();
    assert_eq!(memory.journal.outcomes().len(), intents);
}
