//! Weir before PostgreSQL 18: a session as any other, what only this version has, and its catalogue.

use std::time::Duration;

use weir_tests::postgres::{self, Server};
use weir_tests::proc::{Signal, eventually};

use crate::shop::{ALICE, CAROL, Person, Shop, assert_no_leak, shop_on};

/// May change the structure of the database, and sees no labelled column.
const DORA: Person = ("dora@example.test", &["staff", "dba"]);
const SECRET: Option<&str> = Some("[redacted]");

fn shop(name: &str) -> Shop {
    let cluster = postgres::shared_of(Server::Eighteen).unwrap();
    // Not in production: there DDL waits for people.
    let shop = shop_on(cluster, name, |_| {}, |setup| setup.env = "staging".into());
    assert!(shop.direct("SHOW server_version").starts_with("18"));
    shop
}

#[test]
fn a_session_on_18_does_what_a_session_does() {
    let shop = shop("eighteen-session");
    let out = shop
        .psql(CAROL)
        .run(
            "SHOW server_version_num;\n\
             SELECT id FROM customers ORDER BY id LIMIT 2;\n\
             BEGIN; INSERT INTO probe VALUES ('a'), ('b'); ROLLBACK;\n\
             INSERT INTO probe VALUES ('c');\n\
             SELECT count(*) FROM probe;\n\
             SELECT no_such_column FROM customers;\n\
             PREPARE p AS SELECT $1::int + 1; EXECUTE p(41);\n\
             \\copy probe from program 'printf \"d\\ne\\n\"'\n\
             \\copy (select v from probe order by v) to stdout\n",
        )
        .unwrap();
    for line in [
        "1800",
        "1\n2\n",
        "INSERT 0 1\n1\n",
        "\n42\n",
        "COPY 2\nc\nd\ne\n",
    ] {
        assert!(
            out.stdout.contains(line),
            "{line:?} is not in {}",
            out.all()
        );
    }
    assert!(out.stderr.contains("42703"), "{}", out.all());
}

#[test]
fn labelled_columns_are_masked_on_18_in_text_and_binary() {
    let shop = shop("eighteen-masked");
    let mut alice = shop.connect(ALICE);
    let mut carol = shop.connect(CAROL);
    for sql in [
        "SELECT ssn FROM customers WHERE id = 5",
        "SELECT code FROM customer_view WHERE id = 5",
    ] {
        for format in [0, 1] {
            let reply = alice.extended(sql, &[], format).unwrap();
            assert_no_leak(sql, &reply);
            assert_eq!(reply.rows.len(), 1, "{sql}: {reply:?}");
            let seen = carol.extended(sql, &[], format).unwrap();
            assert_eq!(seen.text(0, 0).as_deref(), Some("912-45-7005"), "{seen:?}");
        }
    }
    let plain = alice.query("SELECT ssn FROM customers LIMIT 1").unwrap();
    assert_eq!(plain.text(0, 0).as_deref(), SECRET, "{plain:?}");
}

#[test]
fn returning_old_and_new_is_masked_like_any_result() {
    let shop = shop("eighteen-returning");
    let mut dora = shop.connect(DORA);
    let reply = dora
        .query("UPDATE orders SET amount = 7 WHERE id = 3 RETURNING old.amount, new.amount")
        .unwrap();
    assert!(reply.error().is_none(), "{reply:?}");
    assert_eq!(reply.text(0, 0).as_deref(), Some("10.50"), "{reply:?}");
    assert_eq!(reply.text(0, 1).as_deref(), Some("7.00"), "{reply:?}");
    for returning in [
        "old.ssn, new.ssn",
        "WITH (OLD AS o, NEW AS n) o.ssn, n.ssn",
        "old.ssn AS a, new.email || 'x' AS b",
        "old, new",
        "old.*, new.*",
    ] {
        for verb in [
            "UPDATE customers SET notes = 'n' WHERE id = 4",
            "INSERT INTO customers VALUES (4, 'n', 'e', 's', 'c', NULL, 0) \
             ON CONFLICT (id) DO UPDATE SET notes = 'c'",
            "DELETE FROM customers WHERE id = 4",
        ] {
            let sql = format!("{verb} RETURNING {returning}");
            for format in [0, 1] {
                dora.query("BEGIN").unwrap();
                let reply = dora.extended(&sql, &[], format).unwrap();
                assert_no_leak(&sql, &reply);
                dora.query("ROLLBACK").unwrap();
            }
        }
    }
    // The first of those is a plain reference: it comes, masked.
    let sql = "UPDATE customers SET notes = 'n' WHERE id = 4 RETURNING old.ssn, new.ssn";
    let reply = dora.query(sql).unwrap();
    assert_eq!(reply.text(0, 0).as_deref(), SECRET, "{reply:?}");
    assert_eq!(reply.text(0, 1).as_deref(), SECRET, "{reply:?}");
}

#[test]
fn what_ddl_makes_on_18_is_known_at_once() {
    let shop = shop("eighteen-ddl");
    // A virtual column is made of a labelled one when it is read.
    shop.direct(
        "ALTER TABLE customers ADD COLUMN hint text GENERATED ALWAYS AS (left(ssn, 9)) VIRTUAL",
    );
    let mut dora = shop.connect(DORA);
    for sql in [
        "CREATE TABLE fresh (id integer NOT NULL, v text, w text GENERATED ALWAYS AS (upper(v)) VIRTUAL)",
        "INSERT INTO fresh VALUES (1, 'one')",
        "SELECT w FROM fresh",
        "ALTER TABLE fresh ADD CONSTRAINT later CHECK (id > 0) NOT ENFORCED",
        "ALTER TABLE fresh ADD COLUMN more uuid DEFAULT uuidv7()",
        "SELECT more FROM fresh",
    ] {
        let reply = dora.query(sql).unwrap();
        assert!(reply.error().is_none(), "{sql}: {reply:?}");
    }
    for format in [0, 1] {
        for sql in ["SELECT hint FROM customers", "SELECT * FROM customers"] {
            let reply = dora.extended(sql, &[], format).unwrap();
            assert_no_leak(sql, &reply);
        }
    }
    let mut carol = shop.connect(CAROL);
    let seen = carol
        .query("SELECT hint FROM customers WHERE id = 5")
        .unwrap();
    assert_eq!(seen.text(0, 0).as_deref(), Some("912-45-70"), "{seen:?}");
}

#[test]
fn a_statement_that_runs_on_18_can_be_cancelled() {
    let shop = shop("eighteen-cancel");
    let psql = shop
        .psql(DORA)
        .spawn("SELECT count(*) FROM generate_series(1, 20000000000) /* mark-long-18 */;\nSELECT 'after';")
        .unwrap();
    eventually("the statement to run", Duration::from_secs(20), || {
        Ok(shop.reached("mark-long-18").then_some(()))
    })
    .unwrap();
    psql.signal(Signal::Int).unwrap();
    let out = psql.wait(Duration::from_secs(20)).unwrap();
    assert!(out.stderr.contains("57014"), "{}", out.all());
}
