//! Conditions, joins and sorting by labelled columns: a permission of their own.

use std::time::Duration;

use crate::shop::{ALICE, ANNA, BOB, CAROL, Person, assert_no_leak, shop};

/// May, for one statement, when somebody agrees.
const ASKER: Person = ("asker@example.test", &["staff", "askers"]);

const FIND: &str = "SELECT id FROM customers WHERE ssn LIKE '912%'";

#[test]
fn nobody_searches_by_a_masked_column_unless_permitted() {
    let shop = shop("compute");
    let mut alice = shop.connect(ALICE);
    for sql in [
        FIND,
        "SELECT name FROM customers ORDER BY card",
        "SELECT count(*) FROM customers GROUP BY email",
        "SELECT DISTINCT card FROM customers",
        "SELECT 1 FROM customers a JOIN customers b USING (email)",
        "UPDATE customers SET notes = 'x' WHERE ssn = '912'",
        "SELECT id FROM customer_view WHERE code LIKE '912%'",
    ] {
        for reply in [alice.query(sql), alice.extended(sql, &[], 1)] {
            let reply = reply.unwrap();
            let error = reply.error().unwrap_or_else(|| panic!("{sql} ran"));
            assert_eq!(error.sqlstate(), "42501", "{sql}: {error:?}");
            let text = format!("{error:?}");
            assert!(
                text.contains("data:compute on column public.customers."),
                "{text}"
            );
            assert!(
                text.contains("ask for the permission data:compute"),
                "{text}"
            );
        }
    }
    // Not by what is masked, but beside it.
    let beside = "SELECT ssn FROM customers WHERE id = 4 ORDER BY id";
    let reply = alice.query(beside).unwrap();
    assert_eq!(reply.rows.len(), 1, "{reply:?}");

    // Who may compute sees no more than before, who may see may compute.
    for (person, sees) in [(ANNA, false), (CAROL, true)] {
        let mut client = shop.connect(person);
        let reply = client
            .query("SELECT id, ssn FROM customers ORDER BY ssn")
            .unwrap();
        assert!(reply.rows.len() > 1, "{person:?}: {reply:?}");
        match sees {
            true => assert!(weir_tests::dataset::leaks(&reply.bytes()).is_some()),
            false => assert_no_leak("an analyst's", &reply),
        }
    }
}

#[test]
fn one_statement_may_when_somebody_agrees() {
    let shop = shop("compute-hold");
    let psql = shop.psql(ASKER).spawn(&format!("{FIND};")).unwrap();
    let hold = shop.weir.open_hold(&shop.token(BOB)).unwrap();
    let id = hold["id"].as_str().unwrap();
    let computes = &hold["statement"]["computes"];
    assert_eq!(computes[0], "public.customers.ssn", "{hold}");
    assert!(hold["reason"].as_str().unwrap().contains("data:compute"));
    assert_eq!(shop.weir.approve(&shop.token(BOB), id).unwrap().status, 200);
    let out = psql.wait(Duration::from_secs(40)).unwrap();
    assert!(out.ok(), "{}", out.all());
}
