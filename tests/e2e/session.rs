//! A session of stock psql: let through, refused, and what else must work as ever.

use crate::shop::{ALICE, CAROL, MALLORY, assert_refused, shop};

#[test]
fn a_session_does_what_a_session_does() {
    let shop = shop("session");
    let out = shop
        .psql(CAROL)
        .run(
            "SELECT id FROM customers ORDER BY id LIMIT 2;\n\
             BEGIN; INSERT INTO probe VALUES ('a'), ('b'); ROLLBACK;\n\
             INSERT INTO probe VALUES ('c');\n\
             SELECT count(*) FROM probe;\n\
             SELECT no_such_column FROM customers;\n\
             PREPARE p AS SELECT $1::int + 1; EXECUTE p(41);\n\
             \\copy probe from program 'printf \"d\\ne\\n\"'\n\
             \\copy (select v from probe order by v) to stdout\n",
        )
        .unwrap();
    for line in ["1\n2\n", "INSERT 0 1\n1\n", "\n42\n", "COPY 2\nc\nd\ne\n"] {
        assert!(
            out.stdout.contains(line),
            "{line:?} is not in {}",
            out.all()
        );
    }
    assert!(out.stderr.contains("42703"), "{}", out.all());
}

#[test]
fn what_policy_does_not_permit_is_refused_and_never_arrives() {
    let shop = shop("refused");
    let mut alice = shop.connect(ALICE);
    for (sql, mark) in [
        ("DROP TABLE orders /* mark-drop-7f3a */", "mark-drop-7f3a"),
        (
            "SELECT * FROM nowhere /* mark-unknown-7f3a */",
            "mark-unknown-7f3a",
        ),
        (
            "SELECT 1 FROM (VALUES (1) /* mark-syntax-7f3a */",
            "mark-syntax-7f3a",
        ),
        (
            "SELECT * FROM pg_catalog.pg_authid /* mark-authid-7f3a */",
            "mark-authid-7f3a",
        ),
        (
            "SELECT pg_read_file('/etc/passwd') /* mark-file-7f3a */",
            "mark-file-7f3a",
        ),
        (
            "COPY probe TO PROGRAM 'true' /* mark-program-7f3a */",
            "mark-program-7f3a",
        ),
        (
            "DO $$ BEGIN NULL; END $$ /* mark-do-7f3a */",
            "mark-do-7f3a",
        ),
        (
            "SELECT 1; DROP TABLE probe /* mark-second-7f3a */",
            "mark-second-7f3a",
        ),
        (
            "SET session_authorization = 'postgres' /* mark-set-7f3a */",
            "mark-set-7f3a",
        ),
    ] {
        let reply = alice.query(sql).unwrap();
        if mark == "mark-syntax-7f3a" {
            // What is no SQL at all is told as PostgreSQL tells it.
            assert_eq!(reply.error().unwrap().sqlstate(), "42601", "{reply:?}");
        } else {
            assert_refused(sql, &reply);
        }
        assert_eq!(reply.status, b'I', "{sql}");
        let extended = alice.extended(sql, &[], 0).unwrap();
        assert!(extended.error().is_some(), "{sql}: {extended:?}");
        assert!(!shop.reached(mark), "{sql} reached the server");
        let after = alice.query("SELECT 1").unwrap();
        assert_eq!(after.text(0, 0).as_deref(), Some("1"), "after {sql}");
    }
    assert_eq!(shop.direct("SELECT count(*) FROM orders"), "300");
}

#[test]
fn a_refusal_in_a_transaction_fails_the_transaction() {
    let shop = shop("refused-in-transaction");
    let mut alice = shop.connect(ALICE);
    assert_eq!(alice.query("BEGIN").unwrap().status, b'T');
    alice.query("INSERT INTO probe VALUES ('lost')").unwrap();
    let refused = alice.query("DROP TABLE probe").unwrap();
    assert_refused("DROP", &refused);
    assert_eq!(refused.status, b'E');
    assert_eq!(
        alice.query("SELECT 1").unwrap().error().unwrap().sqlstate(),
        "25P02"
    );
    assert_eq!(alice.query("COMMIT").unwrap().tags, ["ROLLBACK"]);
    assert_eq!(shop.direct("SELECT count(*) FROM probe"), "0");
}

#[test]
fn who_is_granted_nothing_does_not_get_in() {
    let shop = shop("stranger");
    let out = shop.psql(MALLORY).run("SELECT 1").unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", out.all());
    assert!(!out.stdout.contains('1'), "{}", out.all());
    // Nor is the target's own credential good for anything here.
    let psql = shop.weir.psql("weir", weir_tests::postgres::LOGIN_PASSWORD);
    assert_eq!(psql.run("SELECT 1").unwrap().status.code(), Some(2));
}

#[test]
fn the_targets_credential_is_nowhere_to_be_found() {
    let shop = shop("credential");
    let out = shop
        .psql(CAROL)
        .run("SHOW ALL; SELECT * FROM nowhere; \\conninfo")
        .unwrap();
    let secret = weir_tests::postgres::LOGIN_PASSWORD;
    assert!(!out.all().contains(secret));
    assert!(!shop.weir.log().contains(secret));
    assert!(!shop.weir.log().contains(&shop.token(CAROL)[..40]));
}
