//! Statements that compute with labelled columns, on the wire.

use std::sync::Arc;

use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::{Action, LabelCatalog, LabelRule, Resource, Ruling};

use super::hostile::{script, tags};
use crate::testing::Weir;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;

const EMP: &str = "CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text);
     INSERT INTO emp VALUES (1, 'Ann', '111-22-3333'), (2, 'Bob', '444-55-6666');
     CREATE SCHEMA x; CREATE TABLE x.emp (id int, ssn text);
     GRANT USAGE ON SCHEMA x TO weir; GRANT ALL ON emp, x.emp TO weir";

/// Everything is permitted but to compute.
pub(super) fn policy() -> MemoryPolicy {
    MemoryPolicy {
        decide: Arc::new(|q| {
            let computes = q.accesses.iter().find(|a| a.action == Action::DataCompute);
            match computes.map(|a| &a.resource) {
                Some(Resource::PgColumn { column, .. }) => Ruling::Deny {
                    policies: Vec::new(),
                    reason: format!("no grant permits data:compute on column {}", column.column),
                },
                _ => Ruling::Permit {
                    policies: Vec::new(),
                },
            }
        }),
        labels: LabelCatalog::new(vec![LabelRule {
            target: "*".into(),
            schema: "public".into(),
            table: "emp".into(),
            column: "ssn".into(),
            labels: [Arc::from("pii")].into(),
        }]),
        ..MemoryPolicy::permit_all()
    }
}

async fn client(memory: &Memory, database: &str) -> (Weir, Client) {
    let pg = Postgres::shared();
    pg.database(database);
    pg.sql(database, EMP);
    let weir = Weir::to(pg, memory.ports());
    let client = Client::connect(weir.addr, &format!("db/{database}")).await;
    (weir, client.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mask_hides_cannot_be_asked_for() {
    let memory = Memory::new(policy());
    let (_weir, mut c) = client(&memory, "k_ask").await;
    for sql in [
        "SELECT id FROM emp WHERE ssn LIKE '1%'",
        "SELECT id FROM emp ORDER BY ssn",
        "SELECT count(*) FROM emp GROUP BY ssn",
        "SELECT DISTINCT ssn FROM emp",
        "SELECT 1 FROM emp a JOIN emp b USING (ssn)",
        "UPDATE emp SET name = 'x' WHERE ssn LIKE '1%'",
        "DELETE FROM emp WHERE ssn LIKE '1%' RETURNING id",
        "EXPLAIN SELECT 1 FROM emp WHERE ssn < '2'",
        "DECLARE k CURSOR WITH HOLD FOR SELECT id FROM emp WHERE ssn LIKE '1%'",
        "PREPARE k AS SELECT id FROM emp WHERE ssn LIKE $1",
        "COPY (SELECT id FROM emp WHERE ssn LIKE '1%') TO STDOUT",
        "CREATE TEMP TABLE k AS SELECT id FROM emp WHERE ssn LIKE '1%'",
        // The one bit that an error is.
        "SELECT 1 FROM emp WHERE 1 / (CASE WHEN ssn LIKE '1%' THEN 0 ELSE 1 END) = 1",
        "SELECT 1; SELECT id FROM emp WHERE ssn LIKE '1%'",
    ] {
        let a = c.query(sql).await;
        let (code, text) = a
            .error
            .clone()
            .unwrap_or_else(|| panic!("{sql} ran: {a:?}"));
        assert_eq!(code, "42501", "{sql}");
        assert!(text.contains("data:compute on column ssn"), "{sql}: {text}");
        // Before the server plans it, which can run operators over statistics.
        let m = script().parse("", sql).sync().ask(&mut c).await;
        if sql.contains(';') {
            continue;
        }
        assert_eq!(tags(&m), "EZ", "{sql}: {m:?}");
        assert_eq!(m[0].field(b'C'), "42501");
        let hint = m[0].field(b'H');
        assert!(hint.contains("permission data:compute"), "{hint}");
    }
    // The session goes on, and what does not compute with it is shown masked.
    let a = c.query("SELECT id, ssn FROM emp WHERE id = 1").await;
    assert_eq!(a.rows.len(), 1, "{a:?}");
    assert_ne!(a.rows[0][1].as_deref(), Some("111-22-3333"));
    let refused = memory.journal.refusals();
    let named = refused.last().unwrap().accesses.iter();
    assert!(named.clone().any(|a| a.action == Action::DataCompute));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_to_mean_a_labelled_column_is_asked_about_again() {
    let memory = Memory::new(policy());
    let (_weir, mut c) = client(&memory, "k_name").await;
    assert_eq!(c.query("SET search_path = x, public").await.tags, ["SET"]);
    let find = "SELECT id FROM emp WHERE ssn LIKE '4%'";
    assert_eq!(c.query(find).await.tags, ["SELECT 0"]);
    script().parse("p", find).sync().ask(&mut c).await;
    c.query("PREPARE q AS SELECT id FROM emp WHERE ssn LIKE '4%'")
        .await;
    assert_eq!(c.query("EXECUTE q").await.tags, ["SELECT 0"]);
    c.query("SET search_path = public").await;
    assert_eq!(c.query(find).await.code(), "42501");
    assert_eq!(c.query("EXECUTE q").await.code(), "42501");
    let m = script().bind("", "p").execute("").sync().ask(&mut c).await;
    assert_eq!(tags(&m), "EZ", "{m:?}");
    assert_eq!(m[0].field(b'C'), "42501", "{m:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_lets_one_statement_compute() {
    let memory = Memory::new(MemoryPolicy {
        labels: policy().labels,
        ..MemoryPolicy::hold(&[Action::DataCompute])
    });
    let (_weir, mut c) = client(&memory, "k_hold").await;
    let find = "SELECT id FROM emp WHERE ssn LIKE '4%'";
    for _ in 0..2 {
        let approve = async {
            let id = memory.approver.next().await;
            let computed = memory.approver.computed(&id);
            assert_eq!(computed.len(), 1);
            assert_eq!(&*computed[0].column, "ssn");
            memory.approver.approve(&id, "bob");
        };
        let (a, ()) = tokio::join!(c.query(find), approve);
        assert_eq!(a.value(), Some("2"), "{a:?}");
    }
    let intents = memory.journal.intents();
    let intent = intents.last().unwrap();
    assert!(intent.approval.is_some());
    let columns = intent.accesses.iter();
    assert!(columns.clone().any(|a| a.action == Action::DataCompute));
}
