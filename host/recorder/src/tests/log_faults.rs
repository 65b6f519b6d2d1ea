//! The transparency log when something goes wrong: in the spool, in the store, at a bad moment.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::ports::Journal;
use pipeline::{Access, Action, Resource};
use uuid::Uuid;

use super::log::{a_stored_log, check, failures, leaves, log_objects, trusted};
use super::support::*;
use crate::disk::RealDisk;
use crate::log::check::LogFinding;
use crate::log::key::Keys;
use crate::log::left::left_behind;
use crate::log::names::{self, Part};
use crate::log::spool;
use crate::{
    Finding, KeptCheckpoint, Severity, StoreConfig, VerifyOptions, VerifyReport, verify_store,
};

/// As whoever stands at Weir's own machine.
async fn check_with_spool(dir: &TempDir) -> VerifyReport {
    let options = VerifyOptions {
        log_keys: trusted(dir),
        spool: Some(dir.spool()),
        ..VerifyOptions::default()
    };
    verify_store(&dir.store(), &options).await.unwrap()
}

/// The spool excuses what it has itself, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn with_the_spool_at_hand_everything_is_found_all_the_same() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let open = recorder.open(start()).await.unwrap();
    session(&recorder, 80, 10).await;
    session(&recorder, 80, 10).await;
    assert!(recorder.flush(SHORT).await);
    let log = recorder.control_stream();
    let report = check_with_spool(&dir).await;
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    let needed = |part: &Part| match part {
        Part::Checkpoint => true,
        Part::Tile(tile) => tile.is_full(),
        Part::Archived(_) | Part::Vkey => false,
    };
    let mut tried = 0;
    for (path, _, _) in log_objects(&dir).into_iter().filter(|(_, _, p)| needed(p)) {
        let good = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let report = check_with_spool(&dir).await;
        assert!(!report.is_ok(), "{}", path.display());
        std::fs::write(&path, good).unwrap();
        tried += 1;
    }
    assert!(tried >= 3, "{tried}");
    // The log as a whole, and every checkpoint of it.
    let at = dir.stored().join(names::prefix(log));
    let aside = dir.spool().join("aside");
    std::fs::rename(&at, &aside).unwrap();
    let back = |f: &Finding| matches!(f, Finding::Log(LogFinding::RolledBack { .. }));
    let found = check_with_spool(&dir).await.findings;
    assert!(found.iter().any(back), "{found:?}");
    std::fs::rename(&aside, &at).unwrap();
    // And a session that nobody recorded.
    let invented = TempDir::new();
    invented.share_key(&dir);
    let (elsewhere, _) = invented.open().await;
    session(&elsewhere, 2, 10).await;
    elsewhere.shutdown(SHORT).await;
    session(&recorder, 1, 10).await;
    assert!(recorder.flush(SHORT).await);
    let from = objects(&invented.stored().join("rec")).remove(0);
    dir.take_from(&invented, &from);
    tokio::time::sleep(Duration::from_secs(11)).await;
    session(&recorder, 1, 10).await;
    assert!(recorder.flush(SHORT).await);
    let found = check_with_spool(&dir).await.findings;
    let unlogged = |f: &Finding| matches!(f, Finding::Unlogged { first: 0, .. });
    assert!(found.iter().any(unlogged), "{found:?}");
    open.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
}

/// A session's start is written when its connection is permitted, and that can take people a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_began_long_before_its_record_is_no_false_alarm() {
    let dir = TempDir::new();
    let mut options = dir.options();
    options.limits.publish_every = Duration::from_secs(3600);
    let (recorder, _) = crate::Recorder::open(options).await.unwrap();
    session(&recorder, 1, 10).await;
    assert!(recorder.flush(SHORT).await);
    let mut held = start();
    let mut info = (*held.info).clone();
    info.started = SystemTime::now() - Duration::from_secs(900);
    held.info = Arc::new(info);
    let journal = recorder.open(held).await.unwrap();
    act(&*journal, 0..2, 10).await;
    journal.close(end()).await.unwrap();
    // Stored, and its leaves are not.
    eventually("a second session", || {
        objects(&dir.stored())
            .iter()
            .filter(|p| p.to_string_lossy().contains("/rec/"))
            .count()
            == 2
    })
    .await;
    let report = dir.verify().await;
    assert_eq!(report.severity(), Severity::Note, "{:?}", report.findings);
    let early = |f: &Finding| matches!(f, Finding::NotLoggedYet { .. });
    assert!(report.findings.iter().any(early), "{:?}", report.findings);
    recorder.shutdown(SHORT).await;
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}

/// Names that are no more than what a client wrote, or a person's, are not in leaves.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_name_no_unknown_thing_and_no_role() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    let mut typed = intent(0, "select 1");
    let access = |action, resource| Access {
        action,
        resource,
        target: None,
    };
    typed.accesses = vec![
        access(
            Action::PostgresSelect,
            Resource::PgTable {
                database: "shop".into(),
                schema: "public".into(),
                table: "typed@example.com".into(),
                known: false,
                labels: Default::default(),
            },
        ),
        access(
            Action::PostgresSelect,
            Resource::PgRole {
                role: "john.doe".into(),
            },
        ),
    ];
    let risk = pipeline::Risk {
        labels: ["sql-injection".into(), "seen: SELECT * FROM x".into()].into(),
        ..Default::default()
    };
    typed.risk = Arc::new(risk);
    journal.intent(typed).await.unwrap();
    journal.close(end()).await.unwrap();
    let mut on_host = start();
    let info = Arc::make_mut(&mut on_host.info);
    info.id = Default::default();
    info.scope = "john.doe".into();
    info.target = Arc::new(pipeline::Target {
        protocol: pipeline::Protocol::Ssh,
        ..(*info.target).clone()
    });
    let journal = recorder.open(on_host).await.unwrap();
    for (seq, name) in ["john.doe", "rm", "/etc/john", "LD_PRELOAD"]
        .iter()
        .enumerate()
    {
        let mut typed = intent(seq as u64, "");
        typed.facts = super::support::on_host("typed@example.com");
        typed.accesses = super::support::of_host(name);
        journal.intent(typed).await.unwrap();
    }
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let mut seen = String::new();
    for path in objects(&dir.stored().join("log")) {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        for plain in ["typed@", "john", "seen: ", "alice", "bob"] {
            assert!(!text.contains(plain), "{plain}: {text}");
        }
        seen.push_str(&text);
    }
    for there in [
        "PgTable::?",
        "sql-injection",
        "\"protocol\":\"ssh\"",
        "SshProgram::?",
        "SshProgram::rm",
        "SshFile::/etc",
        "SshEndpoint::loopback:65535",
        "SshVariable::LD_PRELOAD",
        "SshSubsystem::?",
    ] {
        assert!(seen.contains(there), "{there}");
    }
}

fn log_dir(dir: &TempDir, log: Uuid) -> PathBuf {
    dir.spool().join(names::prefix(log))
}

/// A Weir that could store nothing and was killed; gives its log.
async fn killed_before_it_was_stored(dir: &TempDir) -> Uuid {
    let (recorder, _) = dir.open().await;
    block_store(dir);
    session(&recorder, 2, 10).await;
    recorder.shutdown(Duration::from_millis(300)).await;
    std::fs::remove_file(dir.stored()).unwrap();
    recorder.control_stream()
}

/// Any bit of what a log's end is known by: it is put aside, and what the write-ahead log still has gets
/// its leaves from the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_edge_is_not_believed() {
    for part in ["next_record", "ts_ns", "size", "root", "note", "tiles", ""] {
        let dir = TempDir::new();
        let log = killed_before_it_was_stored(&dir).await;
        let path = log_dir(&dir, log).join("edge");
        let mut bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let at = text
            .find(&format!("\"{part}\":"))
            .map_or(3, |at| at + part.len() + 6);
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (recorder, report) = dir.open().await;
        assert!(
            report.gaps.iter().any(|g| g.contains("log")),
            "{part}: {report:?}"
        );
        recorder.shutdown(SHORT).await;
        assert!(!log_dir(&dir, log).exists());
        let found = check(&dir, trusted(&dir)).await;
        let unlogged = |f: &&Finding| matches!(f, Finding::Unlogged { .. });
        let all_unlogged = found.iter().filter(unlogged).count();
        // Segments that were sealed are not in the write-ahead log any more, perhaps.
        assert!(all_unlogged <= 2, "{part}: {found:?}");
    }
}

/// A spool as it was some time ago: the store's newest checkpoint does not go back.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_never_goes_back() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 1, 10).await;
    assert!(recorder.flush(SHORT).await);
    let earlier = TempDir::new();
    crash_copy(&dir.spool(), &earlier.spool());
    session(&recorder, 1, 10).await;
    assert!(recorder.flush(SHORT).await);
    kill(&recorder).await;
    let path = dir
        .stored()
        .join(names::object(recorder.control_stream(), names::CHECKPOINT));
    let later = std::fs::read(&path).unwrap();
    let mut options = earlier.options();
    options.store = StoreConfig::Directory(dir.stored());
    let (restored, _) = crate::Recorder::open(options).await.unwrap();
    eventually("the conflict is noticed", || {
        objects(&earlier.spool().join("quarantine")).len() > 1
    })
    .await;
    restored.shutdown(SHORT).await;
    assert_eq!(std::fs::read(&path).unwrap(), later);
    let found = check(&dir, trusted(&dir)).await;
    let gap = |f: &Finding| matches!(f, Finding::Gap { what, .. } if what.contains("log"));
    assert!(found.iter().any(gap), "{found:?}");
    assert!(failures(&found) > 0, "two histories: {found:?}");
}

/// The write-ahead log is damaged, and leaves tell of what was in it: a gap, which is on record.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_lost_behind_their_leaves_are_a_gap() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    act(&*journal, 0..10, 100).await;
    journal.settle().await.unwrap();
    // Until all of it is under a durable checkpoint.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let crashed = TempDir::new();
    kill(&recorder).await;
    crash_copy(&dir.spool(), &crashed.spool());
    let wal = objects(&crashed.spool().join("wal")).pop().unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    bytes[6000] ^= 4;
    std::fs::write(&wal, bytes).unwrap();
    let mut options = crashed.options();
    options.store = StoreConfig::Directory(dir.stored());
    let (recorder, report) = crate::Recorder::open(options).await.unwrap();
    assert!(!report.gaps.is_empty());
    recorder.shutdown(SHORT).await;
    let options = VerifyOptions {
        log_keys: trusted(&crashed),
        ..VerifyOptions::default()
    };
    let report = verify_store(&dir.store(), &options).await.unwrap();
    assert_eq!(report.severity(), Severity::Gap, "{:?}", report.findings);
    let lost = |f: &Finding| matches!(f, Finding::Lost { .. });
    assert!(report.findings.iter().any(lost), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_with_a_huge_number_does_no_harm() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 1, 10).await;
    recorder.shutdown(SHORT).await;
    let (path, log, _) = log_objects(&dir).remove(0);
    let bytes = std::fs::read(path).unwrap();
    let huge = dir.stored().join(names::prefix(log));
    let huge = huge.join("tile/0/x018/x446/x744/x073/x709/x551/615");
    std::fs::create_dir_all(huge.parent().unwrap()).unwrap();
    std::fs::write(huge, bytes).unwrap();
    let found = check(&dir, trusted(&dir)).await;
    let strange = |f: &Finding| {
        matches!(
            f,
            Finding::Log(LogFinding::Beyond { .. } | LogFinding::Stranger(_))
        )
    };
    assert!(found.len() == 1 && found.iter().any(strange), "{found:?}");
}

/// Everything of a full file of leaves is stored, and the process dies before the next leaf.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_with_a_full_file_is_not_damaged() {
    let dir = TempDir::new();
    a_stored_log(&dir, spool::CHUNK, u64::MAX).await;
    let logs = dir.spool().join("log");
    let found = spool::find(&RealDisk, &logs).unwrap();
    assert!(found.damaged.is_empty());
    for (dir, edge) in found.edges {
        assert_eq!(edge.size, spool::CHUNK);
        let left = left_behind(dir, edge).unwrap();
        assert!(left.is_ok(), "{:?}", left.err());
    }
}

async fn check_against(dir: &TempDir, kept: Vec<u8>) -> Vec<Finding> {
    let options = VerifyOptions {
        log_keys: trusted(dir),
        kept: vec![KeptCheckpoint {
            name: "kept".into(),
            note: kept,
        }],
        ..VerifyOptions::default()
    };
    verify_store(&dir.store(), &options).await.unwrap().findings
}

/// Everything as it was some time ago, and consistent: who kept a later checkpoint can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_checkpoint_shows_that_everything_was_rolled_back() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    assert!(recorder.flush(SHORT).await);
    let log = recorder.control_stream();
    let path = dir.stored().join(names::object(log, names::CHECKPOINT));
    let earlier = std::fs::read(&path).unwrap();
    let before = TempDir::new();
    copy_all(&dir.stored(), &before.stored());
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    let later = std::fs::read(&path).unwrap();
    assert_eq!(check_against(&dir, earlier).await, []);
    assert_eq!(check_against(&dir, later.clone()).await, []);
    std::fs::remove_dir_all(dir.stored()).unwrap();
    copy_all(&before.stored(), &dir.stored());
    let back = |f: &Finding| matches!(f, Finding::Log(LogFinding::RolledBack { .. }));
    let found = check_against(&dir, later.clone()).await;
    assert!(failures(&found) == 1 && found.iter().any(back), "{found:?}");
    // And without the log at all.
    std::fs::remove_dir_all(dir.stored().join("log")).unwrap();
    let found = check_against(&dir, later).await;
    assert!(found.iter().any(back), "{found:?}");
    // What is none is told of, too.
    let none = check_against(&dir, b"hello".to_vec()).await;
    let no = |f: &Finding| matches!(f, Finding::Log(LogFinding::Kept { .. }));
    assert!(none.iter().any(no), "{none:?}");
}

/// Whoever has the key signs another history: it does not hold against a checkpoint of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_checkpoint_shows_another_history() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    session(&recorder, 2, 10).await;
    recorder.shutdown(SHORT).await;
    let log = recorder.control_stream();
    let path = dir.stored().join(names::object(log, names::CHECKPOINT));
    let kept = std::fs::read(&path).unwrap();
    assert_eq!(check_against(&dir, kept.clone()).await, []);
    let keys = Keys::open(&dir.options().log).unwrap();
    let origin = recorder.log_origin();
    let other = tlog::Checkpoint {
        origin: origin.to_owned(),
        size: 5,
        root: [7; 32],
        extensions: Vec::new(),
    };
    let signer = keys.log.signer(origin).unwrap();
    let signed = tlog::sign_checkpoint(&other, &*signer).unwrap();
    let found = check_against(&dir, signed.into_bytes()).await;
    let differs = |f: &Finding| matches!(f, Finding::Log(LogFinding::Checkpoint { what, .. }) if what == "kept");
    assert!(
        failures(&found) == 1 && found.iter().any(differs),
        "{found:?}"
    );
    // A bit of the kept one itself.
    let mut bad = kept;
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    assert!(failures(&check_against(&dir, bad).await) > 0);
}

/// There is no room for every resource, but what is done is said: the last access may be the one that
/// matters.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_has_the_actions_of_all_accesses() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let journal = recorder.open(start()).await.unwrap();
    let mut many = intent(0, "with … delete");
    let one = many.accesses[0].clone();
    many.accesses = vec![one.clone(); 20];
    many.accesses.push(Access {
        action: Action::PostgresDelete,
        ..one
    });
    journal.intent(many).await.unwrap();
    journal.outcome(outcome(0)).await.unwrap();
    journal.close(end()).await.unwrap();
    recorder.shutdown(SHORT).await;
    let leaves = leaves(&dir);
    let request = leaves
        .iter()
        .find(|leaf| leaf["type"] == "request")
        .unwrap();
    let actions = serde_json::json!(["postgres:select", "postgres:delete"]);
    assert_eq!(request["actions"], actions);
    assert_eq!(request["resources"].as_array().unwrap().len(), 16);
    assert_eq!(request["more"], 5);
}

/// A process that is killed again and again, before it has stored all that those before it have left, gets on
/// all the same.
#[tokio::test(flavor = "multi_thread")]
async fn logs_of_earlier_processes_leave_the_spool_before_all_of_them_are_stored() {
    let dir = TempDir::new();
    // The store takes no log.
    let in_the_way = dir.stored().join(names::ROOT);
    std::fs::create_dir_all(dir.stored()).unwrap();
    std::fs::write(&in_the_way, b"").unwrap();
    let mut logs = Vec::new();
    for _ in 0..12 {
        let (recorder, _) = dir.open().await;
        logs.push(recorder.control_stream());
        session(&recorder, 1, 10).await;
        recorder.shutdown(Duration::from_millis(10)).await;
    }
    let spooled = |log: &Uuid| spool::dir_of(&dir.spool().join("log"), *log).exists();
    assert!(logs.iter().all(spooled));
    // Now all but the last one.
    std::fs::remove_file(&in_the_way).unwrap();
    let [first @ .., last] = &logs[..] else {
        panic!("{logs:?}");
    };
    let in_the_way = dir.stored().join(names::prefix(*last));
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, b"").unwrap();
    let (recorder, _) = dir.open().await;
    eventually("the first logs leave", || {
        first.iter().filter(|log| !spooled(log)).count() >= 8
    })
    .await;
    assert!(spooled(last));
    std::fs::remove_file(&in_the_way).unwrap();
    eventually("the last one leaves", || !spooled(last)).await;
    recorder.shutdown(SHORT).await;
    assert_eq!(check(&dir, trusted(&dir)).await, []);
}
