//! Whoever follows the log misses nothing, whatever happens, and holds nobody up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::ports::Journal;
use uuid::Uuid;

use super::support::*;
use crate::wal::scan;
use crate::{
    Days, Followed, FollowedBody, Follower, Following, Limits, Place, Recorder, RecorderOptions,
    TakeHistory, history,
};

/// Keeps what it is told, as an index would.
#[derive(Default)]
struct Keeper(Mutex<Kept>);

#[derive(Default, Clone)]
struct Kept {
    place: Option<Place>,
    records: BTreeMap<(Uuid, u64), Followed>,
    /// Parcels that it still takes; all when there is none.
    left: Option<u64>,
    /// Records that came again.
    again: u64,
}

impl Follower for Keeper {
    fn place(&self) -> Option<Place> {
        self.0.lock().place
    }

    fn take(&self, records: &[Followed], place: Place) -> Result<(), String> {
        let mut kept = self.0.lock();
        if kept.left == Some(0) {
            return Err("it is full".into());
        }
        kept.left = kept.left.map(|n| n - 1);
        for record in records {
            let key = (record.stream, record.n);
            let known = kept.records.insert(key, record.clone());
            kept.again += u64::from(known.is_some());
            assert!(known.is_none_or(|known| known == *record));
        }
        kept.place = Some(place);
        Ok(())
    }
}

impl Keeper {
    fn with(kept: Kept) -> Arc<Self> {
        Arc::new(Self(Mutex::new(kept)))
    }

    fn set_left(&self, left: Option<u64>) {
        self.0.lock().left = left;
    }

    fn kept(&self) -> Kept {
        self.0.lock().clone()
    }

    /// The numbers of this stream's records.
    fn numbers(&self, stream: Uuid) -> Vec<u64> {
        let kept = self.0.lock();
        let of = |(s, n): &(Uuid, u64)| (*s == stream).then_some(*n);
        kept.records.keys().filter_map(of).collect()
    }

    fn outcomes(&self) -> usize {
        let kept = self.0.lock();
        let is = |r: &&Followed| matches!(r.body, FollowedBody::Outcome(_));
        kept.records.values().filter(is).count()
    }
}

#[derive(Default)]
struct Stored(BTreeMap<(Uuid, u64), Followed>);

#[async_trait]
impl TakeHistory for Stored {
    async fn take(&mut self, _: &str, records: Vec<Followed>) -> Result<(), String> {
        let keyed = records.into_iter().map(|r| ((r.stream, r.n), r));
        self.0.extend(keyed);
        Ok(())
    }
}

fn options(dir: &TempDir, keeper: &Arc<Keeper>, set: impl FnOnce(&mut Limits)) -> RecorderOptions {
    let mut options = dir.options();
    set(&mut options.limits);
    options.follower = Some(Following(keeper.clone()));
    options
}

fn wal_files(dir: &TempDir) -> usize {
    scan::files(&dir.spool().join("wal")).unwrap().len()
}

/// Start, intents and outcomes, end: the numbers of all records but the bytes, of which each action has
/// one.
fn without_bytes(actions: u64) -> Vec<u64> {
    let of = |a| [1 + 3 * a, 3 + 3 * a];
    let mut out = vec![0];
    out.extend((0..actions).flat_map(of));
    out.push(1 + 3 * actions);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_told_and_files_wait_for_it() {
    let dir = TempDir::new();
    let keeper = Keeper::with(Kept {
        left: Some(2),
        ..Kept::default()
    });
    let (recorder, _) = Recorder::open(options(&dir, &keeper, |_| {}))
        .await
        .unwrap();
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(session(&recorder, 20, 4 << 10).await);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert!(recorder.flush(SHORT).await);
    eventually("it is in trouble", || {
        recorder.stats().follower_trouble.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(wal_files(&dir) >= 4, "files went that were not followed");
    keeper.set_left(None);
    for id in &sessions {
        let expected = without_bytes(20);
        eventually("it has caught up", || keeper.numbers(*id) == expected).await;
    }
    eventually("files go again", || wal_files(&dir) <= 2).await;
    eventually("the trouble is over", || {
        recorder.stats().follower_trouble.is_none()
    })
    .await;
    recorder.shutdown(SHORT).await;
    assert!(findings(&dir.verify().await).is_empty());
    // What is stored says the same.
    let mut stored = Stored::default();
    let store = dir.store();
    let unread = history(&store, Days::default(), None, &mut stored);
    assert_eq!(unread.await.unwrap(), 0);
    for (key, record) in keeper.kept().records {
        assert_eq!(stored.0.get(&key), Some(&record));
    }
}

/// Killed again and again while the follower is behind: what it has durably taken and what is told after
/// the next start are everything, and what it had taken is not all told again.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_after_a_crash() {
    let mut kept = Kept::default();
    let mut sessions = Vec::new();
    let mut dir = TempDir::new();
    for round in 0..5 {
        let keeper = Keeper::with(Kept {
            left: Some(round),
            ..kept
        });
        let (recorder, _) = Recorder::open(options(&dir, &keeper, |_| {}))
            .await
            .unwrap();
        for _ in 0..2 {
            sessions.push(session(&recorder, 15, 3 << 10).await);
            tokio::time::sleep(Duration::from_millis(130)).await;
        }
        assert!(recorder.flush(SHORT).await);
        kill(&recorder).await;
        // In this order: the index can be ahead of a copy of the log by no more than it was told.
        kept = keeper.kept();
        let next = TempDir::new();
        crash_copy(&dir.spool(), &next.spool());
        copy_all(&dir.stored(), &next.stored());
        drop(recorder);
        dir = next;
    }
    let before = kept.records.len() as u64;
    let keeper = Keeper::with(Kept {
        left: None,
        again: 0,
        ..kept
    });
    let (recorder, _) = Recorder::open(options(&dir, &keeper, |_| {}))
        .await
        .unwrap();
    for id in &sessions {
        let expected = without_bytes(15);
        eventually("all are there", || keeper.numbers(*id) == expected).await;
    }
    assert!(before > 0 && keeper.kept().again < before);
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_another_log_is_not_believed() {
    let dir = TempDir::new();
    let keeper = Keeper::with(Kept {
        place: Some(Place {
            file: 1,
            chain: [9; 32],
        }),
        ..Kept::default()
    });
    let (recorder, _) = Recorder::open(options(&dir, &keeper, |_| {}))
        .await
        .unwrap();
    let id = session(&recorder, 3, 10).await;
    recorder.shutdown(SHORT).await;
    assert_eq!(keeper.numbers(id), without_bytes(3), "also at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_follower_fills_the_spool_and_then_sessions_are_refused() {
    let dir = TempDir::new();
    let keeper = Keeper::with(Kept {
        left: Some(0),
        ..Kept::default()
    });
    let small = |limits: &mut Limits| {
        limits.spool_bytes = 512 << 10;
        limits.full_wait = Duration::from_millis(50);
    };
    let (recorder, _) = Recorder::open(options(&dir, &keeper, small)).await.unwrap();
    let mut refused = false;
    for _ in 0..60 {
        let Ok(journal) = recorder.open(start()).await else {
            refused = true;
            break;
        };
        for seq in 0..4 {
            if journal.intent(intent(seq, "select 1")).await.is_err() {
                break;
            }
            let bytes = noise(seq, 8 << 10);
            let to = pipeline::Direction::ToClient;
            if journal.bytes(seq, to, bytes).await.is_err() {
                break;
            }
        }
        journal.close(end()).await.ok();
    }
    assert!(refused, "sessions are refused");
    keeper.set_left(None);
    let mut opened = false;
    for _ in 0..200 {
        opened |= recorder.open(start()).await.is_ok();
        if opened {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(opened, "and accepted again when it gets on");
    eventually("outcomes are told", || keeper.outcomes() > 0).await;
    recorder.shutdown(SHORT).await;
}
