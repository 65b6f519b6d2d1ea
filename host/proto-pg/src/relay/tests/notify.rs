//! Notifications: what code on the server tells those who listen.

use std::sync::Arc;

use pipeline::LabelCatalog;
use pipeline::memory::MemoryPolicy;

use super::holds::labelled;
use super::protocol::Bench;
use crate::testing::client::{Client, Message};
use crate::testing::postgres::Postgres;
use crate::wire::{backend, encode};

const SECRET: &str = "111-22-3333";
const SETUP: &str = "CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text);
    INSERT INTO emp VALUES (1, 'Ann', '111-22-3333');
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('ears', to_json(NEW)::text); RETURN NEW; END $$;
    CREATE TRIGGER t AFTER UPDATE ON emp FOR EACH ROW EXECUTE FUNCTION tell();
    CREATE FUNCTION say(n int) RETURNS int LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('ears', (SELECT ssn FROM emp WHERE id = n)); RETURN n; END $$;
    GRANT ALL ON emp TO weir";

async fn ask(c: &mut Client, sql: &str) -> Vec<Message> {
    encode::query(&mut c.out, sql.as_bytes());
    c.send().await;
    c.until_ready().await
}

/// Channels and payloads.
fn heard(messages: &[Message]) -> Vec<(String, String)> {
    let notifications = messages.iter().filter(|m| m.tag == 'A');
    notifications
        .map(|m| {
            let (process, channel, payload) = backend::notification(&m.body).unwrap();
            assert_ne!(process, 0);
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            (text(channel), text(payload))
        })
        .collect()
}

/// What one session hears when itself and when others cause a notification.
async fn all(database: &'static str, policy: MemoryPolicy) -> Vec<(String, String)> {
    let b = Bench::new(database, policy, SETUP);
    let (mut c, mut other) = (b.client().await, b.client().await);
    ask(&mut c, "LISTEN ears").await;
    let mut heard_all = Vec::new();
    for sql in [
        "SELECT say(1)",
        "UPDATE emp SET name = 'Eve' WHERE id = 1",
        "NOTIFY ears, 'a constant'",
        "NOTIFY ears",
    ] {
        heard_all.extend(heard(&ask(&mut c, sql).await));
    }
    ask(&mut other, "SELECT say(1)").await;
    // It comes whenever the server likes, if need be before the next answer.
    while heard_all.len() < 5 {
        heard_all.extend(heard(&[c.next().await.expect("the session goes on")]));
    }
    Postgres::shared().sql(database, "NOTIFY ears, '111-22-3333'");
    heard_all.extend(heard(&[c.next().await.expect("the session goes on")]));
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    heard_all
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_labelled_columns_hears_no_payload() {
    let all = all("a_hidden", labelled()).await;
    assert_eq!(all.len(), 6);
    assert!(
        all.iter().all(|(c, p)| c == "ears" && p.is_empty()),
        "{all:?}"
    );
}

/// Also where only one of several columns is hidden.
#[tokio::test(flavor = "multi_thread")]
async fn one_hidden_column_is_enough() {
    let labels = ["ssn", "name"].map(|column| pipeline::LabelRule {
        target: "*".into(),
        schema: "*".into(),
        table: "emp".into(),
        column: column.into(),
        labels: [Arc::from("pii")].into(),
    });
    let policy = MemoryPolicy {
        labels: LabelCatalog::new(labels.into()),
        reveal: Arc::new(|column| &*column.column != "name"),
        ..MemoryPolicy::permit_all()
    };
    let all = all("a_partly", policy).await;
    assert!(all.iter().all(|(_, p)| p.is_empty()), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_hidden_they_come_as_they_are() {
    let revealed = MemoryPolicy {
        reveal: Arc::new(|_| true),
        ..labelled()
    };
    for (database, policy) in [
        ("a_plain", MemoryPolicy::permit_all()),
        ("a_free", MemoryPolicy::indifferent()),
        ("a_shown", revealed),
    ] {
        let all = all(database, policy).await;
        let payloads: Vec<&str> = all.iter().map(|(_, p)| p.as_str()).collect();
        let row = format!(r#"{{"id":1,"name":"Eve","ssn":"{SECRET}"}}"#);
        let expect = [SECRET, &row, "a constant", "", SECRET, SECRET];
        assert_eq!(payloads, expect, "{database}");
    }
}
