//! The tests' own ground: without Weir the planted values are there to be seen.

use weir_tests::dataset::leaks;
use weir_tests::postgres;
use weir_tests::s3::S3;

#[test]
fn without_weir_the_planted_values_are_seen() {
    let cluster = postgres::shared().unwrap();
    let database = cluster.database().unwrap();
    for sql in [
        "SELECT * FROM customers",
        "SELECT code FROM customer_view",
        "SELECT ssn_of(3)",
        "SELECT row_to_json(c) FROM customers c",
        "SELECT encode(convert_to(ssn, 'UTF8'), 'base64') FROM customers",
        "SELECT encode(convert_to(email, 'UTF8'), 'hex') FROM customers",
        "SELECT reverse(ssn) FROM customers",
        "SELECT replace(ssn, '-', '') FROM customers",
        "SELECT card FROM customers",
        "SELECT right(card, 14) FROM customers",
        "SELECT reverse(card) FROM customers",
        "SELECT replace(card, '-', '')::numeric FROM customers",
        "SELECT encode(convert_to(card, 'UTF8'), 'base64') FROM customers",
    ] {
        let seen = cluster.sql(&database, sql).unwrap();
        assert!(
            leaks(seen.as_bytes()).is_some(),
            "{sql} should show a planted value: {seen}"
        );
    }
}

#[test]
fn the_object_store_keeps_what_it_is_given() {
    let s3 = S3::start().unwrap();
    assert!(s3.objects().unwrap().is_empty());
}
