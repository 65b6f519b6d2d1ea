//! Whatever is done to a package is found, also by whoever can sign its manifest again.

use super::support::*;
use crate::derive::{EVENTS, GAPS, POPULATION};
use crate::manifest::{MANIFEST, NOTE};
use crate::{MakeError, Window, make};

/// A package of two logs, of which the first has several bundles. More people are in it than a sample has
/// actions: whatever it draws, it does not name all of them.
async fn made(setup: &Setup) -> Files {
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 200).await;
    stop(recorder).await;
    let recorder = setup.start().await;
    session(&recorder, "shop", "bert", 3).await;
    for who in ["carl", "dora", "emil", "fritz"] {
        session(&recorder, "shop", who, 1).await;
    }
    operator(&recorder).await;
    stop(recorder).await;
    let (path, _) = setup.package(&setup.order(always()), "made.zip").await;
    unpack(&path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_counts() {
    let setup = Setup::new();
    let files = made(&setup).await;
    assert_eq!(judge(&setup, &files), [""; 0]);
    for name in files.keys() {
        let mut less = files.clone();
        less.remove(name);
        assert_ne!(judge(&setup, &less), [""; 0], "without {name}");
        let mut changed = files.clone();
        let bytes = changed.get_mut(name).unwrap();
        match bytes.len() / 2 {
            0 => bytes.push(b' '),
            middle => bytes[middle] ^= 1,
        }
        assert_ne!(judge(&setup, &changed), [""; 0], "another {name}");
    }
    let mut more = files.clone();
    more.insert("more.txt".into(), b"more".to_vec());
    let said = judge(&setup, &more);
    assert!(said[0].contains("does not name it"), "{said:?}");
}

type Edit = fn(&mut Files, &mut crate::Manifest);

fn edit_text(files: &mut Files, path: &str, edit: impl FnOnce(&mut Vec<String>)) {
    let text = String::from_utf8(files[path].clone()).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    edit(&mut lines);
    assert_ne!(lines.concat(), text);
    files.insert(path.to_owned(), lines.concat().into_bytes());
}

fn paths(files: &Files, with: &str) -> Vec<String> {
    files
        .keys()
        .filter(|path| path.contains(with))
        .cloned()
        .collect()
}

fn path(files: &Files, with: &str) -> String {
    paths(files, with).remove(0)
}

/// Takes an entry out of a bundle, or puts other bytes into it.
fn edit_bundle(files: &mut Files, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let path = path(files, "tile/entries/");
    let bundle = &files[&path];
    let mut entries: Vec<Vec<u8>> = tlog::entries(bundle).map(|e| e.unwrap().to_vec()).collect();
    edit(&mut entries);
    let mut out = Vec::new();
    for entry in entries {
        tlog::push_entry(&mut out, &entry).unwrap();
    }
    files.insert(path, out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_signed_again_hides_nothing() {
    let setup = Setup::new();
    let files = made(&setup).await;
    let mut same = files.clone();
    sign_again(&mut same, manifest_of(&files), &setup.key);
    assert_eq!(judge(&setup, &same), [""; 0]);
    let edits: [(&str, Edit); 34] = [
        ("another policy", |f, _| {
            let path = path(f, ".bundle");
            f.get_mut(&path).unwrap().push(b' ');
        }),
        ("another text of a policy", |f, _| {
            let path = paths(f, "policies/")
                .into_iter()
                .find(|p| p.ends_with(".txt") && !p.contains("changes"));
            edit_text(f, &path.unwrap(), |l| {
                l[1] = l[1].replace("permit", "forbid")
            });
        }),
        ("a row less", |f, _| {
            edit_text(f, POPULATION, |l| drop(l.remove(3)))
        }),
        ("a row more", |f, _| {
            edit_text(f, POPULATION, |l| l.push(l[3].clone()))
        }),
        ("another cell", |f, _| {
            edit_text(f, POPULATION, |l| l[3] = l[3].replace("shop", "shoq"))
        }),
        ("rows in another order", |f, _| {
            edit_text(f, POPULATION, |l| l.swap(3, 4))
        }),
        ("no line end", |f, _| {
            edit_text(f, POPULATION, |l| l[3] = l[3].replace("\r\n", "\n"))
        }),
        ("an event less", |f, _| {
            edit_text(f, EVENTS, |l| drop(l.pop()))
        }),
        ("no gaps", |f, _| {
            edit_text(f, GAPS, |l| l[1] = l[1].replace("none", "nome"))
        }),
        ("another table", |f, _| {
            edit_text(f, "grants.csv", |l| drop(l.pop()))
        }),
        ("a table less", |f, _| drop(f.remove("masking.csv"))),
        ("a stranger", |f, _| {
            f.insert("notes.txt".into(), b"all is well".to_vec());
        }),
        ("other people", |f, _| {
            edit_text(f, "people.csv", |l| drop(l.pop()))
        }),
        ("another sample", |f, _| {
            edit_text(f, "sample.csv", |l| drop(l.remove(2)))
        }),
        ("a smaller sample", |_, m| m.sample -= 1),
        ("names", |_, m| m.names = true),
        ("a leaf less", |f, _| edit_bundle(f, |e| drop(e.remove(5)))),
        ("another leaf", |f, _| {
            edit_bundle(f, |e| e[5] = e[6].clone())
        }),
        ("leaves in another order", |f, _| {
            edit_bundle(f, |e| e.swap(5, 6))
        }),
        ("a bundle less", |f, _| {
            drop(f.remove(&path(f, "tile/entries/001")))
        }),
        ("a tile less", |f, _| drop(f.remove(&path(f, "tile/1/")))),
        ("another tile", |f, _| {
            let path = path(f, "tile/1/");
            f.get_mut(&path).unwrap()[0] ^= 1;
        }),
        ("the other log's checkpoint", |f, _| {
            let both = paths(f, "/checkpoint");
            let second = f[&both[1]].clone();
            f.insert(both[0].clone(), second);
        }),
        ("a range that begins later", |_, m| m.logs[0].first += 1),
        ("a range that ends earlier", |_, m| m.logs[0].end -= 1),
        ("another key beside a log", |f, _| {
            let path = path(f, "/vkey");
            f.get_mut(&path).unwrap().push(b' ');
        }),
        ("an empty range", |_, m| {
            (m.logs[0].first, m.logs[0].end) = (0, 0)
        }),
        ("a log less", |f, m| {
            let log = m.logs.remove(0);
            f.retain(|path, _| !path.starts_with(&format!("log/{}", log.id)));
        }),
        ("a log left out that the store has not", |_, m| {
            let left_out = crate::LeftOut::new(uuid::Uuid::nil(), false, "planted");
            m.left_out.push(left_out);
        }),
        ("a log left out that is there", |_, m| {
            let left_out = crate::LeftOut::new(m.logs[0].id, true, "damaged");
            m.left_out.push(left_out);
        }),
        ("more logs left out", |_, m| m.more_left_out = 1),
        ("another window", |_, m| {
            m.to = "2001-01-01T00:00:00.000000Z".into()
        }),
        ("one target", |_, m| m.targets = vec!["hr".into()]),
        ("another record", |f, _| {
            let path = path(f, "records/");
            let text = String::from_utf8(f[&path].clone()).unwrap();
            f.insert(path, text.replacen("salt", "sald", 1).into_bytes());
        }),
    ];
    for (what, edit) in edits {
        let mut edited = files.clone();
        let mut manifest = manifest_of(&files);
        edit(&mut edited, &mut manifest);
        sign_again(&mut edited, manifest, &setup.key);
        let said = judge(&setup, &edited);
        assert_ne!(said, [""; 0], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_are_those_of_their_leaves() {
    let setup = Setup::new();
    let files = made(&setup).await;
    let proofs = paths(&files, ".tlog-proof");
    let (one, other) = (&proofs[0], &proofs[1]);
    let mut swapped = files.clone();
    swapped.insert(one.clone(), files[other].clone());
    sign_again(&mut swapped, manifest_of(&files), &setup.key);
    assert_eq!(judge(&setup, &swapped).len(), 1);
    let mut leaf = files.clone();
    let path = one.replace(".tlog-proof", ".leaf.json");
    leaf.get_mut(&path).unwrap().push(b' ');
    sign_again(&mut leaf, manifest_of(&files), &setup.key);
    assert_eq!(judge(&setup, &leaf).len(), 1);
    // A record that is not there is told of.
    let mut less = files.clone();
    let record = paths(&files, "records/").remove(0);
    less.remove(&record);
    sign_again(&mut less, manifest_of(&files), &setup.key);
    assert!(!judge(&setup, &less).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_of_this_manifest_and_by_this_key() {
    let setup = Setup::new();
    let files = made(&setup).await;
    let mut unsigned = files.clone();
    unsigned.remove(NOTE);
    assert!(judge(&setup, &unsigned)[0].contains("not signed"));
    let mut forged = files.clone();
    sign_again(
        &mut forged,
        manifest_of(&files),
        &recorder::SeedKey::new([9; 32]),
    );
    assert_eq!(judge(&setup, &forged).len(), 1);
    let mut later = files.clone();
    let text = String::from_utf8(files[MANIFEST].clone()).unwrap();
    later.insert(
        MANIFEST.into(),
        text.replacen("\"made\": \"20", "\"made\": \"21", 1)
            .into_bytes(),
    );
    assert!(judge(&setup, &later)[0].contains("another manifest"));
    let mut format = files.clone();
    format.insert(
        MANIFEST.into(),
        text.replacen("evidence.v4", "evidence.v5", 1).into_bytes(),
    );
    assert!(judge(&setup, &format)[0].contains("the Weir that made it"));
    // A checkpoint's signature is none of a manifest.
    let mut note = files.clone();
    note.insert(NOTE.into(), files[&path(&files, "/checkpoint")].clone());
    assert_ne!(judge(&setup, &note), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_ends_before_it_begins_makes_no_package() {
    let setup = Setup::new();
    made(&setup).await;
    let out = setup.out("none.zip");
    let order = setup.order(Window::new(5_000_000, 1_000_000));
    let made = make(&setup.store(), &order, &out).await;
    assert!(matches!(made, Err(MakeError::Window)));
}

#[test]
fn what_is_no_package() {
    let setup = Setup::new();
    let judge = |files: &[(&str, &[u8])]| {
        let files = files.iter().map(|(n, b)| ((*n).to_owned(), b.to_vec()));
        judge(&setup, &files.collect())
    };
    for files in [
        &[][..],
        &[("manifest.json", &b"{}"[..])],
        &[("manifest.json", b"{\"format\":\"weir.evidence.v4\"}")],
        &[("manifest.json", b"x"), ("../../etc/passwd", b"x")],
        &[("manifest.json", b"x"), ("/etc/passwd", b"x")],
        &[("a\\b", b"x")],
    ] {
        assert_eq!(judge(files).len(), 1, "{files:?}");
    }
    // A file that says it is small and is not.
    let path = setup.out("bomb.zip");
    let files = [("manifest.json".to_owned(), vec![b' '; 100_000])];
    pack_as(&files.into(), &path, zip::CompressionMethod::Deflated);
    let mut bytes = std::fs::read(&path).unwrap();
    let length = 100_000u32.to_le_bytes();
    let small = 10u32.to_le_bytes();
    while let Some(at) = bytes.windows(4).position(|w| w == length) {
        bytes[at..at + 4].copy_from_slice(&small);
    }
    std::fs::write(&path, bytes).unwrap();
    let error = crate::check_package(&path, &[]).unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

/// The range of a log says which of its leaves are of the window. One that is empty, and before them all,
/// would hide them: its ends must be seen to lie on both sides of the window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_leaves_the_window_out_is_found() {
    let setup = Setup::new();
    let recorder = setup.start().await;
    session(&recorder, "shop", "alice", 20).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let from = now_ns();
    session(&recorder, "shop", "bert", 3).await;
    let to = now_ns();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    session(&recorder, "shop", "carl", 3).await;
    stop(recorder).await;
    let order = setup.order(Window::new(from, to));
    let (path, report) = setup.package(&order, "window.zip").await;
    assert!(report.counts.sessions >= 1, "{report:?}");
    let files = unpack(&path);
    let hidden = |first: u64, end: u64| {
        let mut manifest = manifest_of(&files);
        (manifest.logs[0].first, manifest.logs[0].end) = (first, end);
        let mut edited = files.clone();
        sign_again(&mut edited, manifest, &setup.key);
        judge(&setup, &edited)
    };
    let size = manifest_of(&files).logs[0].size;
    for (first, end) in [(0, 0), (1, 1), (size, size), (size - 1, size - 1)] {
        let said = hidden(first, end);
        let sides = said.iter().any(|s| s.contains("left out beside it"));
        assert!(sides, "{first}..{end}: {said:?}");
    }
}

/// Programs that read from the start of a zip find what its directory does not name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_hidden_between_the_files_of_a_zip() {
    let setup = Setup::new();
    let files = [("population.csv".to_owned(), b"as it is".to_vec())];
    let (good, other) = (setup.out("good.zip"), setup.out("other.zip"));
    pack_as(&files.clone().into(), &good, zip::CompressionMethod::Stored);
    let forged = [("population.csv".to_owned(), b"as I like".to_vec())];
    pack_as(&forged.into(), &other, zip::CompressionMethod::Stored);
    let bytes = std::fs::read(&good).unwrap();
    assert!(crate::archive::Reader::open(&good, crate::unwatched()).is_ok());
    // A local file of the same name before the directory, which does not name it.
    let directory = |bytes: &[u8]| bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let (at, forged) = (directory(&bytes), std::fs::read(&other).unwrap());
    let local = &forged[..directory(&forged)];
    let mut hidden = [&bytes[..at], local, &bytes[at..]].concat();
    let end = hidden.len() - 22;
    let moved = u32::try_from(at + local.len()).unwrap().to_le_bytes();
    hidden[end + 16..end + 20].copy_from_slice(&moved);
    // Another name where the file begins.
    let mut renamed = bytes.clone();
    renamed[30] = b'q';
    for (what, bytes) in [("hidden", hidden), ("renamed", renamed)] {
        std::fs::write(&other, bytes).unwrap();
        let opened = crate::archive::Reader::open(&other, crate::unwatched());
        assert!(
            matches!(opened, Err(crate::archive::ArchiveError::Ambiguous)),
            "{what}"
        );
    }
}
