//! How sessions begin and end: settings that stay, the end of the process, logins to the target.

use pipeline::memory::{Memory, MemoryPolicy};

use super::protocol::Bench;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::{Weir, options, target};

#[tokio::test(flavor = "multi_thread")]
async fn pinned_settings_and_shutdown() {
    let b = Bench::new("p_pinned", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    for sql in [
        "SET client_encoding = 'LATIN1'",
        "SET standard_conforming_strings = off",
    ] {
        assert_eq!(c.query(sql).await.code(), "42501", "{sql}");
    }
    // An idle session ends with the process, a busy one after its transaction.
    let mut busy = b.client().await;
    busy.query("BEGIN").await;
    b.weir.shutdown.cancel();
    let m = c.next().await.unwrap();
    assert_eq!((m.tag, m.field(b'C').as_str()), ('E', "57P01"));
    assert_eq!(busy.query("SELECT 1").await.value(), Some("1"));
    let a = busy.query("COMMIT").await;
    assert_eq!(a.tags, ["COMMIT"]);
    assert_eq!(busy.next().await.unwrap().field(b'C'), "57P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_logins() {
    use crate::config::AuthMethod;
    let pg = Postgres::shared();
    for (user, allowed, works) in [
        ("weir", AuthMethod::ScramSha256, true),
        ("weir", AuthMethod::Md5, false),
        ("weir_md5", AuthMethod::Md5, true),
        ("weir_md5", AuthMethod::ScramSha256, false),
        ("weir_clear", AuthMethod::Cleartext, true),
        ("weir_clear", AuthMethod::ScramSha256, false),
        ("postgres", AuthMethod::None, true),
        ("postgres", AuthMethod::ScramSha256, false),
    ] {
        let mut t = target(pg);
        t.user = user.into();
        t.require_auth = vec![allowed];
        let memory = Memory::new(MemoryPolicy::permit_all());
        let weir = Weir::start(options(t, memory.ports()));
        let result = Client::connect(weir.addr, "db/postgres").await;
        match result {
            Ok(mut c) => {
                assert!(works, "{user} by {allowed:?}");
                assert_eq!(c.query("SELECT current_user").await.value(), Some(user));
            }
            Err(m) => {
                assert!(!works, "{user} by {allowed:?}: {m:?}");
                assert_eq!(m.field(b'C'), "08004");
                assert!(!m.field(b'M').contains("upstream-secret"));
            }
        }
    }
    let mut t = target(pg);
    t.password = Some(crate::Secret::new("wrong"));
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::start(options(t, memory.ports()));
    let m = Client::connect(weir.addr, "db/postgres")
        .await
        .err()
        .unwrap();
    assert_eq!(m.field(b'C'), "08004");
    let m = Client::connect(weir.addr, "db/nowhere")
        .await
        .err()
        .unwrap();
    assert_eq!(m.field(b'C'), "08004");
    let m = Client::connect(weir.addr, "other/x").await.err().unwrap();
    assert_eq!(m.field(b'C'), "3D000");
}

/// A row of a question of our own is read as a whole, however long it is: it is no row of the client's
/// that could be passed on in parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_view_does_not_end_sessions() {
    let setup = "CREATE FUNCTION long_view() RETURNS void LANGUAGE plpgsql AS $$BEGIN
            EXECUTE pg_catalog.format('CREATE VIEW long AS SELECT %L::text AS x',
                pg_catalog.repeat('x', 5 << 20));
        END$$;
        GRANT ALL ON SCHEMA public TO weir";
    let b = Bench::new("p_long_view", MemoryPolicy::permit_all(), setup);
    let mut c = b.client().await;
    // In a transaction the catalogue is read over the session's own connection.
    for sql in ["BEGIN", "SELECT long_view()", "CREATE TABLE made (n int)"] {
        assert_eq!(c.query(sql).await.error, None, "{sql}");
    }
    let a = c.query("SELECT count(*) FROM made").await;
    assert_eq!((a.error.clone(), a.value()), (None, Some("0")));
    let a = c.query("SELECT length(x) FROM long").await;
    assert_eq!((a.error.clone(), a.value()), (None, Some("5242880")));
    assert_eq!(c.query("COMMIT").await.tags, ["COMMIT"]);
    let mut other = b.client().await;
    let a = other.query("SELECT length(x) FROM long").await;
    assert_eq!(a.value(), Some("5242880"));
    // The client's own are still passed on.
    let a = c.query("SELECT x FROM long").await;
    assert_eq!(a.value().map(str::len), Some(5 << 20));
}
