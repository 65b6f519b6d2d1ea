//! Another bundle becomes active while something is open: what is labelled now is hidden now, and what
//! was not followed does not go on.

use pipeline::memory::MemoryPolicy;
use pipeline::{BundleRef, LabelCatalog};

use super::protocol::Bench;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::wire::encode;

const SETUP: &str = "CREATE TABLE emp (id int, ssn text); GRANT ALL ON emp TO weir;
    INSERT INTO emp SELECT n, '111-22-000' || n FROM generate_series(1, 9) n;
    CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO weir;";
const SECRET: &[u8] = b"111-22";

fn bundle(digest: &str, labels: LabelCatalog, indifferent: bool) -> MemoryPolicy {
    MemoryPolicy {
        bundle: BundleRef {
            name: "memory".into(),
            version: 2,
            digest: digest.into(),
        },
        labels,
        indifferent,
        ..MemoryPolicy::permit_all()
    }
}

/// Nothing is labelled, and policy cares what texts mean.
fn plain(digest: &str) -> MemoryPolicy {
    bundle(digest, LabelCatalog::default(), false)
}

fn cares(digest: &str) -> MemoryPolicy {
    bundle(digest, super::compute::policy().labels, false)
}

fn free(digest: &str) -> MemoryPolicy {
    bundle(digest, LabelCatalog::default(), true)
}

fn no_secret(b: &Bench, what: &str) {
    let seen = b.memory.journal.to_client();
    let leaked = seen.windows(SECRET.len()).any(|w| w == SECRET);
    assert!(!leaked, "{what}: {}", String::from_utf8_lossy(&seen));
}

/// The session was ended, whether or not the client said anything more.
async fn is_ended(c: &mut Client, what: &str) {
    let mut code = String::new();
    while let Some(m) = c.next().await {
        if m.tag == 'E' {
            code = m.field(b'C');
        }
    }
    assert_eq!(code, "28000", "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_cursor_goes_by_the_labels_of_now() {
    let b = Bench::new("act_cursors", plain("p"), SETUP);
    for (i, (declare, fetch, rows)) in [
        ("DECLARE c CURSOR FOR SELECT ssn FROM emp", "FETCH c", 1),
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            "FETCH ALL c",
            9,
        ),
        (
            "DECLARE c CURSOR FOR SELECT ssn || '' FROM emp",
            "FETCH c",
            1,
        ),
        ("DECLARE c CURSOR FOR SELECT emp FROM emp", "FETCH c", 1),
        (
            "DECLARE c BINARY CURSOR FOR SELECT ssn, id FROM emp",
            "FETCH 2 IN c",
            2,
        ),
        // Which rows there are tells.
        (
            "DECLARE c CURSOR FOR SELECT id FROM emp WHERE ssn LIKE '111%'",
            "FETCH c",
            0,
        ),
        // What the names meant has moved away: nothing is known.
        (
            "DECLARE c CURSOR FOR SELECT ssn || '' FROM emp;
             SET LOCAL search_path = other; CREATE TABLE emp (id int, ssn text)",
            "FETCH c",
            0,
        ),
        ("PREPARE p AS SELECT ssn FROM emp", "EXECUTE p", 9),
        (
            "SET LOCAL search_path = other, public; PREPARE p AS SELECT ssn || '' FROM emp;
             EXECUTE p; CREATE TABLE other.emp (id int, ssn text)",
            "EXECUTE p",
            0,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = plain(&format!("plain{i}"));
        b.memory.authorizer.activate(policy);
        let mut c = b.client().await;
        c.query("BEGIN").await;
        for sql in declare.split(';') {
            let a = c.query(sql).await;
            assert_eq!(a.code(), "", "{sql}: {a:?}");
        }
        let before = b.memory.journal.to_client().len();
        b.memory.authorizer.activate(MemoryPolicy {
            decide: super::compute::policy().decide,
            ..cares(&format!("cares{i}"))
        });
        let a = c.query(fetch).await;
        assert_eq!(a.rows.len(), rows, "{declare}: {a:?}");
        assert_eq!(a.code(), if rows == 0 { "42501" } else { "" }, "{declare}");
        let seen = b.memory.journal.to_client();
        let after = seen.get(before..).unwrap_or_default();
        assert!(!after.windows(6).any(|w| w == SECRET), "{declare}: {a:?}");
        c.query("ROLLBACK").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_portal_goes_by_the_labels_of_now() {
    let b = Bench::new("act_portals", plain("p"), SETUP);
    let mut c = b.client().await;
    c.query("BEGIN").await;
    encode::parse(&mut c.out, b"s", b"SELECT ssn || '' FROM emp", &[]);
    c.bind("p", "s", &[], false);
    c.bind("q", "s", &[], false);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.code(), "");
    b.memory.authorizer.activate(cares("cares"));
    encode::execute(&mut c.out, b"p", 1);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    let a = c.answer().await;
    assert_eq!((a.code(), a.rows.len(), a.value()), ("", 1, None), "{a:?}");
    // The same portal by SQL, and the statement again.
    let a = c.query("FETCH 3 FROM q").await;
    assert_eq!((a.code(), a.rows.len()), ("", 3), "{a:?}");
    c.bind("", "s", &[], false);
    encode::execute(&mut c.out, b"", 0);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.rows.len(), 9);
    no_secret(&b, "portals");
}

/// What it means was not followed, and there is no way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_strayed_ends_with_the_activation() {
    let b = Bench::new("act_strayed", plain("p"), SETUP);
    let pg = Postgres::shared();
    for (i, stray) in [
        "SELECT 1",
        "LISTEN news",
        "COPY emp FROM STDIN",
        "SELECT pg_sleep(60)",
    ]
    .into_iter()
    .enumerate()
    {
        b.memory.authorizer.activate(plain(&format!("plain{i}")));
        let mut c = b.client().await;
        let mut ordinary = b.client().await;
        // Prepared before anything strayed.
        encode::parse(&mut c.out, b"s", b"SELECT ssn FROM emp", &[]);
        encode::empty(&mut c.out, b'S');
        c.send().await;
        assert_eq!(c.answer().await.code(), "");
        b.memory.authorizer.activate(free(&format!("free{i}")));
        encode::query(&mut c.out, stray.as_bytes());
        c.send().await;
        if stray.starts_with("COPY") {
            while c.next().await.is_some_and(|m| m.tag != 'G') {}
            encode::frame(&mut c.out, b'd', |b| b.extend_from_slice(b"10\tx\n"));
            c.send().await;
        } else if stray.starts_with("SELECT pg_sleep") {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            let running = "SELECT count(*) FROM pg_stat_activity
                WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'";
            while pg.sql("postgres", running) == "0" {
                assert!(std::time::Instant::now() < deadline);
            }
        } else {
            assert_eq!(c.answer().await.code(), "");
        }
        b.memory.authorizer.activate(plain(&format!("strict{i}")));
        is_ended(&mut c, stray).await;
        assert_eq!(ordinary.query("SELECT 1").await.value(), Some("1"));
    }
    assert_eq!(pg.sql("act_strayed", "SELECT count(*) FROM emp"), "9");
}

/// Notifications that were asked for under indifference are not delivered any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_strayed_session_listens_to_does_not_arrive() {
    let b = Bench::new("act_listens", free("free"), SETUP);
    let mut c = b.client().await;
    assert_eq!(c.query("LISTEN news").await.code(), "");
    b.memory.authorizer.activate(cares("cares"));
    let pg = Postgres::shared();
    pg.sql("act_listens", "NOTIFY news, '111-22-3333'");
    let mut payloads = 0;
    while let Some(m) = c.next().await {
        payloads += usize::from(m.tag == 'A');
    }
    assert_eq!(payloads, 0);
}

/// Where nothing hangs on it still, or labels did not change, nothing is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn other_activations_are_not_noticed() {
    let b = Bench::new("act_quiet", free("free"), SETUP);
    let mut c = b.client().await;
    assert_eq!(c.query("LISTEN news").await.code(), "");
    b.memory.authorizer.activate(free("free too"));
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));

    let b = Bench::new("act_same", cares("a"), SETUP);
    let mut c = b.client().await;
    c.query("BEGIN").await;
    c.query("DECLARE c CURSOR FOR SELECT id FROM emp ORDER BY id")
        .await;
    b.memory.authorizer.activate(cares("b"));
    assert_eq!(c.query("FETCH c").await.value(), Some("1"));
    let other = pipeline::LabelRule {
        target: "*".into(),
        schema: "public".into(),
        table: "emp".into(),
        column: "ssn".into(),
        labels: ["pii".into()].into(),
    };
    b.memory.authorizer.activate(MemoryPolicy {
        decide: super::compute::policy().decide,
        ..bundle("c", LabelCatalog::new(vec![other]), false)
    });
    // The text is looked at again, and has nothing labelled in it.
    assert_eq!(c.query("FETCH c").await.value(), Some("2"));
}
