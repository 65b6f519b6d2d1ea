//! What is done to the logs of a store ends no package, and does not go unsaid in one.

use std::path::{Path, PathBuf};

use recorder::{SeedKey, Severity};
use uuid::Uuid;

use super::support::*;
use crate::derive::GAPS;
use crate::finding::Finding;
use crate::{LeftOut, MakeError, PackageReport, Window, check_package, make};

fn logs(setup: &Setup) -> PathBuf {
    setup.dir.path().join("store/log")
}

fn ids(setup: &Setup) -> Vec<Uuid> {
    let all = std::fs::read_dir(logs(setup)).unwrap();
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut ids: Vec<Uuid> = all.map(|e| name(e.unwrap()).parse().unwrap()).collect();
    ids.sort();
    ids
}

fn plant(setup: &Setup, log: Uuid, path: &str, bytes: &[u8]) {
    let path = logs(setup).join(log.to_string()).join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// What the report tells of logs that are left out; there is nothing else in it.
fn told(report: &PackageReport) -> Vec<(Uuid, bool)> {
    let of = |finding: &Finding| match finding {
        Finding::LeftOut { log, signed, .. } => (*log, *signed),
        other => panic!("{other}"),
    };
    let mut all: Vec<(Uuid, bool)> = report.findings.iter().map(of).collect();
    all.sort();
    all
}

fn in_gaps(path: &Path) -> Vec<LeftOut> {
    let gaps: serde_json::Value = serde_json::from_slice(&unpack(path)[GAPS]).unwrap();
    let left: Vec<LeftOut> = serde_json::from_value(gaps["left_out"].clone()).unwrap();
    assert_eq!(
        gaps["verdict"],
        if left.is_empty() { "none" } else { "gaps" }
    );
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_ends_no_package_and_is_told() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 3).await;
    stop(recorder).await;
    let own = ids(&setup)[0];
    let [hello, none, copied, long] = [1, 2, 3, 4].map(Uuid::from_u128);
    plant(&setup, hello, "checkpoint", b"hello");
    plant(&setup, none, "checkpoint/hello", b"hello");
    let real = std::fs::read(logs(&setup).join(own.to_string()).join("checkpoint")).unwrap();
    plant(&setup, copied, "checkpoint", &real);
    // It could be as long as the store takes.
    plant(&setup, long, "checkpoint", b"");
    let path = logs(&setup).join(long.to_string()).join("checkpoint");
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(256 * (65_535 + 2) + 1).unwrap();
    // A key that is anybody's to write is not asked.
    plant(&setup, own, "vkey", b"hello");
    let other = setup.start_other("other", SeedKey::new([8; 32])).await;
    session(&other, "shop", "bert", 2).await;
    stop(other).await;
    let theirs = *ids(&setup)
        .iter()
        .find(|id| ![own, hello, none, copied, long].contains(id))
        .unwrap();
    let (path, report) = setup.package(&setup.order(always()), "own.zip").await;
    let mut expect = [hello, none, copied, long, theirs]
        .map(|id| (id, false))
        .to_vec();
    expect.sort();
    assert_eq!(told(&report), expect);
    assert_eq!(
        (report.counts.permitted, report.severity()),
        (3, Severity::Gap)
    );
    assert_eq!(in_gaps(&path), report.manifest.left_out);
    assert_eq!(report.manifest.left_out.len(), 5);
    let too_long = |out: &LeftOut| out.log == long && out.why.contains("long");
    assert!(report.manifest.left_out.iter().any(too_long));
    // Whoever verifies it is told the same, with keys and without.
    for keys in [setup.trusted(), Vec::new()] {
        assert_eq!(told(&check_package(&path, &keys).unwrap()), expect);
    }
    // With the key of the other, its log is one of the package.
    let mut order = setup.order(always());
    // Records of the other are encrypted with keys that are not here.
    order.selection.sample = 0;
    let key = SeedKey::new([8; 32]);
    order.trusted = vec![recorder::LogKey::vkey(&key, NAME).unwrap().parse().unwrap()];
    let (_, report) = setup.package(&order, "both.zip").await;
    assert_eq!(report.counts.permitted, 5);
    assert!(!told(&report).contains(&(theirs, false)));
    assert_eq!(told(&report).len(), 4);
    // Nothing of the window counts: there is no package, and it is said why.
    let order = setup.order(Window::new(0, 1_000_000));
    let error = make(&setup.store(), &order, &setup.out("never.zip")).await;
    let error = error.unwrap_err();
    assert!(matches!(&error, MakeError::NoLog(left) if left.len() == 5));
    assert!(error.to_string().contains(&hello.to_string()), "{error}");
}

/// The files of a log, by what their path holds.
fn objects(setup: &Setup, log: Uuid, with: &str) -> Vec<PathBuf> {
    let mut dirs = vec![logs(setup).join(log.to_string())];
    let mut files = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.to_string_lossy().contains(with) => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

fn edit(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(from.len()).rposition(|w| w == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(path, bytes).unwrap();
}

type Harm = fn(&Setup, Uuid);

/// Whoever writes to the store can do this to a log that is ours. The package has the log after it, and says
/// of this one that it is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_log_that_is_harmed_is_told_as_one() {
    let harms: [(&str, Harm); 7] = [
        ("another statement's target in a full bundle", |s, log| {
            let bundles = objects(s, log, "tile/entries/");
            edit(
                bundles.iter().find(|p| p.ends_with("001")).unwrap(),
                b"shop",
                b"shoq",
            );
        }),
        ("no bundle", |s, log| {
            let bundles = objects(s, log, "tile/entries/");
            std::fs::remove_file(bundles.iter().find(|p| p.ends_with("001")).unwrap()).unwrap();
        }),
        ("no tiles", |s, log| {
            for tile in objects(s, log, "tile/") {
                std::fs::remove_file(tile).unwrap();
            }
        }),
        // Otherwise it would look as if it had begun after the window.
        ("a first leaf of another time", |s, log| {
            let bundles = objects(s, log, "tile/entries/000");
            let mut bytes = std::fs::read(&bundles[0]).unwrap();
            let time = b"\"time\":\"2";
            let at = bytes.windows(time.len()).position(|w| w == time).unwrap();
            bytes[at + 8] = b'9';
            std::fs::write(&bundles[0], bytes).unwrap();
        }),
        ("no checkpoint", |s, log| {
            std::fs::remove_file(logs(s).join(log.to_string()).join("checkpoint")).unwrap();
        }),
        ("a checkpoint that nobody signed", |s, log| {
            plant(s, log, "checkpoint", b"hello");
        }),
        ("nothing of it", |s, log| {
            std::fs::remove_dir_all(logs(s).join(log.to_string())).unwrap();
        }),
    ];
    let whole = Setup::new();
    let recorder = whole.start().await;
    session(&recorder, "shop", "alice", 300).await;
    stop(recorder).await;
    let recorder = whole.start().await;
    session(&recorder, "shop", "bert", 3).await;
    stop(recorder).await;
    let first = ids(&whole)[0];
    for (what, harm) in harms {
        let setup = Setup::new();
        copy(whole.dir.path(), setup.dir.path());
        harm(&setup, first);
        let (path, report) = setup.package(&setup.order(always()), "left.zip").await;
        let unsigned = what.contains("checkpoint");
        assert_eq!(told(&report), [(first, !unsigned)], "{what}");
        assert_eq!(report.counts.permitted, 3, "{what}");
        assert_eq!(in_gaps(&path).len(), 1, "{what}");
    }
}

/// A log that nothing goes on after, of another instance with the same key: only its own leaves tell when it
/// was, and they must be those that were signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_is_moved_out_of_the_window() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 3).await;
    stop(recorder).await;
    let own = ids(&setup)[0];
    let recorder = setup.start_other("second", SeedKey::new([7; 32])).await;
    session(&recorder, "shop", "bert", 2).await;
    stop(recorder).await;
    let second = *ids(&setup).iter().find(|id| **id != own).unwrap();
    for bundle in objects(&setup, second, "tile/entries/") {
        let text = String::from_utf8_lossy(&std::fs::read(&bundle).unwrap()).into_owned();
        let year = text.split("\"time\":\"").nth(1).unwrap()[..4].to_owned();
        let mut bytes = std::fs::read(&bundle).unwrap();
        let time = format!("\"time\":\"{year}");
        while let Some(at) = bytes.windows(time.len()).position(|w| w == time.as_bytes()) {
            bytes[at + 8..at + 12].copy_from_slice(b"9998");
        }
        std::fs::write(&bundle, bytes).unwrap();
    }
    let (_, report) = setup.package(&setup.order(always()), "moved.zip").await;
    assert_eq!(told(&report), [(second, true)]);
    assert_eq!(report.counts.permitted, 3);
}

/// The checkpoint of an earlier time is signed, too. The log after it knows how many leaves there were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_checkpoint_is_not_taken_for_the_last() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 3).await;
    flush(&recorder).await;
    let first = ids(&setup)[0];
    let older = logs(&setup).join(first.to_string()).join("checkpoint");
    let older = std::fs::read(older).unwrap();
    session(&recorder, "shop", "bert", 3).await;
    stop(recorder).await;
    let recorder = setup.start().await;
    session(&recorder, "shop", "carl", 2).await;
    stop(recorder).await;
    plant(&setup, first, "checkpoint", &older);
    let (_, report) = setup.package(&setup.order(always()), "older.zip").await;
    assert_eq!(told(&report), [(first, true)]);
    assert_eq!(report.counts.permitted, 2);
}
