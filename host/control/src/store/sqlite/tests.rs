//! The suite on SQLite, and what is SQLite's own.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{Sqlite, peek};
use crate::error::ControlError;
use crate::store::conformance::{self, Maker};
use crate::store::{Store, StoreError};

#[derive(Default)]
struct Files(Mutex<Vec<TempDir>>);

#[async_trait]
impl Maker for Files {
    async fn make(&self) -> Arc<dyn Store> {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&dir.path().join("state.db")).unwrap();
        self.0.lock().push(dir);
        Arc::new(store)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn passes_the_suite() {
    conformance::run(&Files::default()).await;
}

#[tokio::test]
async fn what_is_forgotten_is_in_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("state.db")).unwrap();
    conformance::zebras(&store).await;
    // As a Weir has left it that did not overwrite what it deleted: in no row any more.
    let earlier = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    earlier
        .execute_batch(
            "PRAGMA secure_delete = OFF; CREATE TABLE old (text TEXT);
             INSERT INTO old SELECT replace(hex(zeroblob(10000)), '00', 'zebra ');
             DROP TABLE old; PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    drop(earlier);
    let holds = || {
        std::fs::read_dir(dir.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(5).any(|w| w == b"zebra")
        })
    };
    assert!(holds());
    // Whoever reads meanwhile keeps what is beside the file: then it is not done, and says so.
    let reads = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    reads.execute_batch("BEGIN; SELECT * FROM holds;").unwrap();
    // However often it is tried, the file is not written anew for that: nothing comes beside it.
    let beside = || {
        std::fs::metadata(dir.path().join("state.db-wal"))
            .unwrap()
            .len()
    };
    let mut before = None;
    for _ in 0..3 {
        let forgotten = store.forget_session("one").await;
        assert!(matches!(forgotten, Err(StoreError::InUse)), "{forgotten:?}");
        let grown = beside() - *before.get_or_insert_with(beside);
        assert!(grown < 64 << 10, "{grown}");
    }
    let whole = std::fs::metadata(dir.path().join("state.db"))
        .unwrap()
        .len();
    assert!(beside() < whole / 2, "{} of {whole}", beside());
    reads.execute_batch("COMMIT").unwrap();
    store.forget_session("one").await.unwrap();
    assert!(!holds());
}

#[tokio::test]
async fn settings_are_what_durability_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&dir.path().join("state.db")).unwrap();
    for (pragma, expected) in [("synchronous", "2"), ("journal_mode", "wal")] {
        let found = store
            .write(move |c| {
                let value = c.pragma_query_value(None, pragma, |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                });
                value.map_err(super::db("reading a pragma"))
            })
            .await
            .unwrap();
        let found = match found {
            rusqlite::types::Value::Integer(n) => n.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{pragma}");
    }
    let written = store
        .read(|c| c.execute("DELETE FROM meta", []).map_err(super::db("x")))
        .await;
    assert!(written.is_err(), "the reading connection writes");
    store.ping().await.unwrap();
}

#[test]
fn refuses_files_that_it_does_not_understand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(Sqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    drop(connection);
    let error = Sqlite::open(&path).err().unwrap();
    assert!(matches!(
        error,
        ControlError::Store(StoreError::Newer { found: 999, .. })
    ));
    let path = dir.path().join("not-a-database");
    std::fs::write(&path, "certainly no database, but long enough to look at").unwrap();
    assert!(matches!(
        Sqlite::open(&path).err().unwrap(),
        ControlError::Store(StoreError::Database { .. })
    ));
    assert!(matches!(
        Sqlite::open(&dir.path().join("no/such/dir/state.db"))
            .err()
            .unwrap(),
        ControlError::File { .. }
    ));
}

/// A check beside a Weir that runs, or after it: it sees what counts, and leaves no trace.
#[tokio::test]
async fn a_look_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state ?#%.db");
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert!(peek(&path).unwrap().is_none());
    assert!(names().is_empty());
    let store = Sqlite::open(&path).unwrap();
    let running = conformance::an_active_bundle(&store).await;
    let seen = |path: &std::path::Path| {
        let (row, files) = peek(path).unwrap().unwrap().bundle.unwrap();
        (row.version, files.len())
    };
    let before = names();
    assert_eq!(seen(&path), (running, 1), "while it runs");
    assert_eq!(names(), before);
    drop(store);
    for _ in 0..100 {
        if !names()
            .iter()
            .any(|n| n.to_string_lossy().ends_with("-wal"))
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let before = names();
    assert_eq!(seen(&path), (running, 1), "afterwards");
    assert_eq!(names(), before);
}

#[tokio::test]
async fn a_damaged_row_is_an_error_not_a_guess() {
    let files = Files::default();
    let store = files.make().await;
    let path = files.0.lock()[0].path().join("state.db");
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "INSERT INTO holds VALUES ('h', 'perhaps', 1, 2, 'p', 't', '[]', x'00', '{}', 0, \
             NULL, NULL, NULL, 2)",
        )
        .unwrap();
    let error = store.hold("h").await.err().unwrap();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}
