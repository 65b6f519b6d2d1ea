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

const WORDS: u64 = 4_000;

/// Words of some length, in no order, of which none is in another's.
fn some_words(of: u64, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |n| {
        let mixed = (of << 32 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let letters = (0..8).map(|at| char::from(b'a' + (mixed >> (8 * at)) as u8 % 26));
        format!("{}x{of}x{n}", letters.collect::<String>())
    })
}

/// The words that are left, the lines of FTS5's directory without what comes before each word, and whether
/// FTS5 finds that all is as it has to be.
fn look_at_words(index: &Index) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let look = |w: &mut Writing| {
        let c = &w.connection;
        c.execute_batch(
            "INSERT INTO words (words, rank) VALUES ('integrity-check', 1);
             CREATE VIRTUAL TABLE IF NOT EXISTS temp.all_words USING fts5vocab('main', 'words', 'row');",
        )
        .map_err(db)?;
        let column = |sql: &str| {
            let mut statement = c.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<Vec<u8>>>>()
        };
        let words = column("SELECT CAST(term AS BLOB) FROM temp.all_words").map_err(db)?;
        let lines = column("SELECT coalesce(substr(term, 2), x'') FROM words_idx").map_err(db)?;
        Ok((words, lines))
    };
    index.write(look).unwrap()
}

#[tokio::test]
async fn no_beginning_of_a_word_stays_behind() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    // In parcels, so that FTS5 has several trees and merges them meanwhile.
    for part in 0..10_u64 {
        let entries = (1..=4_u8).flat_map(|stream| {
            let words: Vec<_> = some_words(u64::from(stream), WORDS).collect();
            let texts: Vec<_> = words.chunks(10).map(|words| words.join(" ")).collect();
            let each = texts.len() / 10;
            let texts = texts.into_iter().skip(part as usize * each).take(each);
            texts.zip(1_u64..).map(move |(text, n)| {
                let refused = IndexAction {
                    decision: "denied".into(),
                    ..action(&text, "t")
                };
                acted(stream, part * 1_000 + n, 10, refused)
            })
        });
        let entries: Vec<_> = entries.collect();
        index.take(&entries, PLACE).unwrap();
    }
    let upper = |word: &[u8]| String::from_utf8(word.to_vec()).unwrap();
    let begins = |words: &[Vec<u8>], line: &Vec<u8>| words.iter().any(|w| w.starts_with(line));
    let mut stayed = 0;
    for gone in [2, 3, 1, 4] {
        let mut leaving = index.leaving([gone; 16]).unwrap();
        while matches!(leaving.left, forget::Left::Entries) {
            assert!(leaving.step().unwrap());
        }
        let (words, lines) = look_at_words(&index);
        stayed += lines
            .iter()
            .filter(|l| !l.is_empty() && !begins(&words, l))
            .count();
        while leaving.step().unwrap() {}
        index.settle().unwrap();
        let (words, lines) = look_at_words(&index);
        for line in &lines {
            assert!(
                line.is_empty() || begins(&words, line),
                "{:?} stays",
                upper(line)
            );
        }
        for word in some_words(u64::from(gone), WORDS) {
            let known = word.to_uppercase();
            assert!(!words.contains(&word.into_bytes()), "{known}");
            if known.ends_with("77") {
                assert!(!bytes_hold(dir.path(), &known[..10]), "{known}");
            }
        }
        // What others have said is found as before.
        for word in words.iter().step_by(97) {
            let found = find(&index, |q| q.words = super::words(&upper(word))).await;
            assert_eq!(found.items.len(), 1, "{}", upper(word));
        }
        assert_eq!(words.len() as u64 % WORDS, 0);
    }
    // The entries alone leave beginnings of words: otherwise this shows nothing.
    assert!(stayed > 10, "{stayed}");
}

/// A session of any size is taken out in pieces, between which whoever writes has its turn.
#[tokio::test]
async fn a_session_goes_at_once_and_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let many = forget::ENTRIES as u64 * 2 + 1;
    let entries: Vec<_> = (0..many)
        .map(|n| acted(1, n, n, action(&format!("select a{n}"), "t")))
        .collect();
    index.take(&entries, PLACE).unwrap();
    let left = || {
        index
            .write(|w| {
                let count = "SELECT count(*) FROM entries WHERE stream = \
                             (SELECT id FROM streams WHERE uuid = ?1)";
                let found = w.connection.query_row(count, [[1_u8; 16]], |r| r.get(0));
                found.map_err(db)
            })
            .unwrap()
    };
    let mut leaving = index.leaving([1; 16]).unwrap();
    assert!(leaving.step().unwrap());
    let after: i64 = left();
    assert_eq!(after, forget::ENTRIES + 1, "one piece is one piece");
    // What is still there is not found, and no more comes.
    assert_eq!(find(&index, |_| {}).await.items, []);
    index.take(&entries, PLACE).unwrap();
    assert_eq!(left(), after);
    while leaving.step().unwrap() {}
    assert_eq!(left(), 0_i64);
}

/// Somebody who reads the file keeps what is beside it, and nothing else: the record is indexed on.
#[tokio::test]
async fn who_reads_the_file_does_not_stop_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.take(&some(), PLACE).unwrap();
    let reads = rusqlite::Connection::open(path(&dir)).unwrap();
    reads.execute_batch("BEGIN; SELECT * FROM meta;").unwrap();
    assert!(index.forget([1; 16]).unwrap());
    assert!(matches!(index.settle(), Err(StoreError::InUse)));
    reads.execute_batch("COMMIT").unwrap();
    index.settle().unwrap();
    assert!(!bytes_hold(dir.path(), "grant.orders"));
}

/// A file that is damaged meanwhile is put aside, with what has not left it yet: the session has not gone.
#[tokio::test]
async fn what_is_put_aside_meanwhile_is_not_said_to_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let made_anew = || {
        let damaged = rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            None,
        );
        index.write::<()>(|_| Err(db(damaged))).unwrap_err();
    };
    index.take(&some(), PLACE).unwrap();
    let mut leaving = index.leaving([1; 16]).unwrap();
    made_anew();
    assert!(leaving.step().is_err());
    assert!(leaving.settle().is_err());
    assert!(bytes_hold(dir.path(), "grant.orders"));
    // Whoever begins again removes it.
    let mut leaving = index.leaving([1; 16]).unwrap();
    while leaving.step().unwrap() {}
    leaving.settle().unwrap();
    assert!(!bytes_hold(dir.path(), "grant.orders"));
    // After the last step as before it.
    made_anew();
    assert!(leaving.settle().is_err());
}
