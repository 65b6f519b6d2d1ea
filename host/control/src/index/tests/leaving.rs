//! What leaves the index, and the index that is lost itself.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn what_is_old_or_too_much_goes() {
    let dir = tempfile::tempdir().unwrap();
    let limits = IndexLimits {
        age: Duration::from_millis(1_000),
        bytes: u64::MAX,
    };
    let index = open_with(&dir, limits);
    let mut entries = some();
    entries.push(acted(2, 5, 5_000, action("select new", "new")));
    index.take(&entries, PLACE).unwrap();
    index.tidy_up(2_300).unwrap();
    let left = find(&index, |_| {}).await;
    assert_eq!(places(&left.items), ["2/5", "1/4", "9/2", "9/1", "2/2"]);
    assert_eq!(
        find(&index, |q| q.resource = Some("orders".into()))
            .await
            .items,
        []
    );
    index.tidy_up(5_500).unwrap();
    let left = find(&index, |_| {}).await;
    assert_eq!(places(&left.items), ["2/5"]);
    assert_eq!(left.items[0].principal.as_ref().unwrap().subject, "bot");
    drop(index);
    for gone in ["delete from", "grant.orders", "olga", "target-1"] {
        assert!(!bytes_hold(dir.path(), gone), "{gone}");
    }

    let dir = tempfile::tempdir().unwrap();
    let limits = IndexLimits {
        age: Duration::from_secs(1 << 40),
        bytes: 2 << 20,
    };
    let index = open_with(&dir, limits);
    for part in 0..30 {
        let entries = (0..500).map(|n| {
            let n = part * 500 + n;
            let text = format!("select a{n} from b{n} where c = ? and d in (?) order by e");
            let refused = IndexAction {
                decision: "denied".into(),
                ..action(&text, "t")
            };
            acted(1, n, n, refused)
        });
        let entries: Vec<_> = entries.collect();
        index.take(&entries, PLACE).unwrap();
        if part == 2 {
            index.tidy_up(0).unwrap();
            let first = find(&index, |q| q.until = Some(1)).await;
            assert_eq!(first.items.len(), 1);
        }
    }
    index.tidy_up(20_000).unwrap();
    assert!(std::fs::metadata(path(&dir)).unwrap().len() < 3 << 20);
    assert_eq!(find(&index, |q| q.until = Some(1)).await.items, []);
    assert_eq!(
        find(&index, |q| q.since = Some(14_999)).await.items.len(),
        1
    );
}

#[tokio::test]
async fn a_file_of_no_use_is_made_anew() {
    for content in [
        &b"this is no database, but something of some length"[..],
        b"SQLite format 3\0xx",
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(path(&dir), content).unwrap();
        let index = open(&dir);
        assert_eq!(index.backfill().unwrap(), behind(None, 0));
        index.take(&some(), PLACE).unwrap();
        assert_eq!(find(&index, |_| {}).await.items.len(), 10);
        assert!(dir.path().join("index.db.damaged").exists());
    }
    // Of another Weir's making.
    let dir = tempfile::tempdir().unwrap();
    open(&dir).take(&some(), PLACE).unwrap();
    let connection = rusqlite::Connection::open(path(&dir)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let index = open(&dir);
    assert_eq!(index.place().unwrap(), None);
    assert!(matches!(
        Index::open(&path(&dir), IndexLimits::default()),
        Err(ControlError::InUse(_))
    ));
}

#[tokio::test]
async fn damage_while_it_runs_is_found_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let many: Vec<_> = (0..3_000)
        .map(|n| acted(1, n, n, action(&format!("select a{n}"), &format!("t{n}"))))
        .collect();
    index.take(&many, PLACE).unwrap();
    index
        .write(|w| {
            w.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(db)
        })
        .unwrap();
    // Every page but the first, under the running index.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path(&dir))
        .unwrap();
    let len = file.metadata().unwrap().len();
    let noise = vec![0x5a; usize::try_from(len).unwrap() - 4096];
    std::os::unix::fs::FileExt::write_all_at(&file, &noise, 4096).unwrap();
    index
        .write(|w| {
            w.connection
                .execute_batch("PRAGMA shrink_memory")
                .map_err(db)
        })
        .unwrap();
    let mut failed = 0;
    while index.take(&some(), PLACE).is_err() {
        failed += 1;
        assert!(failed < 3, "it does not get over it");
    }
    assert_eq!(failed, 1);
    assert_eq!(index.backfill().unwrap(), behind(None, 1));
    assert_eq!(find(&index, |_| {}).await.items.len(), 10);
}
