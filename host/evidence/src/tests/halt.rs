//! What ends a making early, ends it wherever it is, and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::*;
use crate::archive::{ArchiveError, Reader};
use crate::check::{CheckError, check_watched};
use crate::derive::Sink;
use crate::halt::{EVERY, Halt, Steps, Watch, of_io};
use crate::make::Spool;
use crate::{make, make_unnamed};

/// Says no from this time on.
fn until(times: usize) -> (Watch, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let watch: Watch = Arc::new(
        move || match counted.fetch_add(1, Ordering::SeqCst) < times {
            true => Ok(()),
            false => Err(full()),
        },
    );
    (watch, asked)
}

fn full() -> Halt {
    Halt::NoRoom { free: 1, needed: 2 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_package_is_begun_without_room() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 1).await;
    stop(recorder).await;
    let mut order = setup.order(always());
    order.watch = until(0).0;
    let files = || std::fs::read_dir(setup.dir.path()).unwrap().count();
    let before = files();
    let error = make(&setup.store(), &order, &setup.out("full.zip")).await;
    assert_eq!(error.unwrap_err().halt(), Some(&full()));
    let error = make_unnamed(&setup.store(), &order, setup.dir.path()).await;
    assert_eq!(error.unwrap_err().halt(), Some(&full()));
    assert_eq!(files(), before);
    order.watch = until(usize::MAX).0;
    assert!(
        make(&setup.store(), &order, &setup.out("room.zip"))
            .await
            .is_ok()
    );
}

/// Verifying takes as long as making, and nothing in it waits for anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_ends_as_well() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 20).await;
    stop(recorder).await;
    let order = setup.order(always());
    let (path, _) = setup.package(&order, "whole.zip").await;
    let trusted = setup.trusted();
    let (watch, asked) = until(usize::MAX);
    check_watched(&path, &trusted, &watch).unwrap();
    // Whenever it is asked: also at the end, where what could not be read would look like what is not there.
    let times = asked.load(Ordering::SeqCst);
    assert!(times >= 1);
    for permitted in 0..times {
        let error = check_watched(&path, &trusted, &until(permitted).0).unwrap_err();
        let halted =
            matches!(&error, CheckError::Archive(ArchiveError::Halt(halt)) if *halt == full());
        assert!(halted, "{permitted}: {error}");
    }
    // It is passed on by whoever makes a package.
    let (watch, asked) = until(usize::MAX);
    let mut order = setup.order(always());
    order.watch = watch;
    setup.package(&order, "again.zip").await;
    let times = asked.load(Ordering::SeqCst);
    order.watch = until(times - 1).0;
    let out = setup.out("never.zip");
    let error = make(&setup.store(), &order, &out).await.unwrap_err();
    assert_eq!(error.halt(), Some(&full()), "{error}");
    assert!(!out.exists());
}

/// A file that unpacks to much is as long as it is, though it is one.
#[test]
fn reading_asks_as_bytes_go_by() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.zip");
    let files = [("population.csv".to_owned(), vec![b' '; 16 << 20])];
    pack_as(&files.into(), &path, zip::CompressionMethod::Deflated);
    let mut reader = Reader::open(&path, until(2).0).unwrap();
    let mut read = 0;
    let error = reader.each("population.csv", &mut |piece| read += piece.len() as u64);
    assert!(matches!(error, Err(ArchiveError::Halt(halt)) if halt == full()));
    assert!((2 * EVERY..3 * EVERY).contains(&read), "{read}");
}

/// Both where the zip is written and where its derived files wait.
#[test]
fn it_is_asked_again_while_bytes_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let piece = vec![7; 1 << 20];
    let (watch, asked) = until(1);
    let file = tempfile::tempfile_in(dir.path()).unwrap();
    let mut zip = crate::archive::Writer::new(file, u64::MAX, watch);
    let written = (0..64).take_while(|n| zip.add(&format!("f{n}"), &piece).is_ok());
    // One step was permitted; the second ends it.
    let written = written.count() as u64 * (1 << 20);
    assert!((EVERY..2 * EVERY).contains(&written), "{written}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let (watch, asked) = until(1);
    let mut spool = Spool::new(dir.path(), u64::MAX, Steps::new(watch));
    let mut error = None;
    let written = (0..64).take_while(|_| {
        error = spool.write("population.csv", &piece).err();
        error.is_none()
    });
    assert_eq!(written.count() as u64 * (1 << 20), 2 * EVERY - (1 << 20));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(of_io(&error.unwrap()), Some(&full()));
}
