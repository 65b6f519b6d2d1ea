//! `weir erase`: what a session said is in no byte that Weir keeps, everything else verifies, and the evidence
//! shows that it was erased.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use weir_tests::proc::eventually;
use weir_tests::weir::Weir;

use crate::evidence::{transcript, verify};
use crate::shop::{ALICE, BOB, MALLORY, OLGA, Person, Shop, shop};

const SOON: Duration = Duration::from_secs(60);
/// Has sessions erased.
const PAULA: Person = ("paula@example.test", &["data-protection"]);
const WHY: &str = "request 4711";
/// Stands for what somebody wants to have forgotten.
const SECRET: &str = "zebraQ7secret";

/// A session that says it in every way: as a value, a comment, a name, a parameter, in a statement that people
/// were shown, and in what they wrote about it. Gives its id.
fn secret_session(shop: &Shop) -> String {
    let script = format!(
        "SELECT '{SECRET}' AS {SECRET} /* {SECRET} */;\n\
         SET application_name = '{SECRET}';\n\
         PREPARE p(text) AS SELECT $1 || '{SECRET}';\n\
         EXECUTE p('{SECRET}');\n\
         SELECT repeat('{SECRET} ', 20000);\n\
         UPDATE accounts SET balance = balance + 1 WHERE id = 7 /* {SECRET} */;\n\
         SELECT 'the end';\n"
    );
    let psql = shop.psql(ALICE).spawn(&script).unwrap();
    let hold = shop.weir.open_hold(&shop.token(BOB)).unwrap();
    let id = hold["id"].as_str().unwrap();
    // Who decides writes about it, too.
    let path = format!("/approvals/{id}/approve");
    let reason = json!({"reason": format!("{SECRET} is harmless")});
    let approved = shop.weir.api(&shop.token(BOB), "POST", &path, Some(reason));
    approved.unwrap().ok().unwrap();
    let out = psql.wait(Duration::from_secs(40)).unwrap();
    assert!(out.stdout.contains("the end"), "{}", out.all());
    shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap()
}

/// What each zstd frame begins with.
const FRAME: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The most that is unpacked of one frame: no frame of Weir has more.
const MAX_FRAME: u64 = 4 << 20;

fn holds(bytes: &[u8], needle: &str) -> bool {
    let mut windows = bytes.windows(needle.len());
    windows.any(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

/// In one of the zstd frames that are somewhere in these bytes. What is not whole is unpacked as far as it
/// goes.
fn holds_packed(bytes: &[u8], needle: &str) -> bool {
    let starts = bytes
        .windows(FRAME.len())
        .enumerate()
        .filter(|(_, w)| *w == FRAME);
    starts.map(|(at, _)| &bytes[at..]).any(|rest| {
        let mut out = Vec::new();
        if let Ok(frame) = zstd::stream::read::Decoder::with_buffer(rest) {
            frame
                .single_frame()
                .take(MAX_FRAME)
                .read_to_end(&mut out)
                .ok();
        }
        holds(&out, needle)
    })
}

/// Files that hold it, plain or in zstd frames somewhere in them.
fn files_with(dir: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(bytes) = std::fs::read(&path)
                && (holds(&bytes, needle) || holds_packed(&bytes, needle))
            {
                found.push(path);
            }
        }
    }
    found
}

/// Before anything is erased: plain, and where the recorder has packed it. Otherwise that nothing is found
/// afterwards would say nothing.
fn finds_what_is_there(shop: &Shop, data: &Path) {
    let found = files_with(data, SECRET);
    let state = |path: &&PathBuf| path.to_string_lossy().contains("state.");
    assert!(found.iter().any(|path| state(&path)), "{found:?}");
    let wal = |path: &&PathBuf| path.extension().is_some_and(|e| e == "wal");
    let logs: Vec<&PathBuf> = found.iter().filter(wal).collect();
    let packed = |path: &&&PathBuf| holds_packed(&std::fs::read(path).unwrap(), SECRET);
    assert!(logs.iter().any(|path| packed(&path)), "{found:?}");
    // Also where it is nothing but packed, behind other bytes.
    let place = shop.weir.home.join("packed");
    std::fs::create_dir(&place).unwrap();
    let text = format!("{} {SECRET}", "other ".repeat(2000));
    let frame = zstd::bulk::compress(text.as_bytes(), 1).unwrap();
    std::fs::write(place.join("file"), [b"head", &frame[..], b"tail"].concat()).unwrap();
    assert!(!holds(&frame, SECRET) || holds_packed(&frame, SECRET));
    assert_eq!(files_with(&place, SECRET), [place.join("file")]);
    assert_eq!(files_with(&place, "zebraQ8secret"), [] as [PathBuf; 0]);
}

fn erase(weir: &Weir, token: &str, session: &str) -> (bool, String) {
    let args = ["erase", session, "--reason", WHY];
    let out = weir.cli(Some(token), &args).unwrap();
    (out.ok(), out.all())
}

#[test]
fn an_erased_session_is_in_no_byte_and_everything_else_verifies() {
    let mut shop = shop("erasure");
    let session = secret_session(&shop);
    let said = transcript(&shop.weir, &session, "the end");
    assert!(said.contains(SECRET));
    let out = shop.psql(BOB).run("SELECT 1;").unwrap();
    let other = shop.psql(ALICE).run("SELECT 'stays here';").unwrap();
    assert!(other.ok(), "{} {}", out.all(), other.all());
    let other = shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap();
    assert_ne!(session, other);
    transcript(&shop.weir, &other, "stays here");
    let data = shop.weir.home.join("data");
    finds_what_is_there(&shop, &data);

    // Not even the owner of the session.
    for person in [ALICE, BOB, MALLORY] {
        let (ok, said) = erase(&shop.weir, &shop.token(person), &session);
        assert!(!ok && said.contains("403"), "{person:?}: {said}");
    }
    let paula = shop.token(PAULA);
    let (ok, said) = erase(&shop.weir, &paula, "0190a0a0-0000-7000-8000-000000000000");
    assert!(!ok && said.contains("there is no recording"), "{said}");
    // One that runs.
    let running = shop.connect(ALICE);
    let live = shop.weir.live_sessions(&shop.token(OLGA)).unwrap();
    let id = live[0]["id"].as_str().unwrap().to_owned();
    let (ok, said) = erase(&shop.weir, &paula, &id);
    assert!(!ok && said.contains("is running"), "{said}");
    assert!(files_with(&data, SECRET).len() > 1);

    // It is erased while the other goes on.
    let (ok, said) = erase(&shop.weir, &paula, &session);
    assert!(ok && said.contains("is erased: leaf "), "{said}");
    let leaf = said
        .split("leaf ")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(files_with(&data, SECRET), [] as [PathBuf; 0]);
    let replayed = shop.weir.cli(None, &["replay", &session]).unwrap();
    assert!(!replayed.ok(), "{}", replayed.all());
    assert!(
        replayed.stderr.contains("was erased at"),
        "{}",
        replayed.all()
    );
    assert!(
        replayed.stderr.contains(&leaf),
        "{leaf}: {}",
        replayed.all()
    );
    let (ok, said) = erase(&shop.weir, &paula, &session);
    assert!(
        !ok && said.contains("was erased at") && said.contains(&leaf),
        "{said}"
    );
    drop(running);
    transcript(&shop.weir, &other, "stays here");
    let (ok, said) = verify(&shop.weir);
    assert!(ok && said.contains("was erased at"), "{said}");
    // Who asked for it, and when, is found.
    let found = eventually("the erasure in the index", SOON, || {
        let args = ["audit", "--user", PAULA.0, "--format", "jsonl"];
        let out = shop.weir.cli(Some(&shop.token(OLGA)), &args)?;
        Ok(Some(out.stdout).filter(|out| out.contains("record:erased")))
    });
    assert!(found.unwrap().contains(&session));
    rebuilt_and_packaged(&mut shop, &session, &leaf);
}

/// Neither a new index nor a restart brings anything back, and a package shows the erasure.
fn rebuilt_and_packaged(shop: &mut Shop, session: &str, leaf: &str) {
    shop.weir.stop();
    let data = shop.weir.home.join("data");
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("audit-index.sqlite") {
            std::fs::remove_file(path).unwrap();
        }
    }
    shop.weir.launch().unwrap();
    eventually("the index is made again", SOON, || {
        let args = ["audit", "--user", PAULA.0, "--format", "jsonl"];
        let out = shop.weir.cli(Some(&shop.token(OLGA)), &args)?;
        Ok(out.stdout.contains("record:erased").then_some(()))
    })
    .unwrap();
    shop.weir.stop();
    assert_eq!(files_with(&data, SECRET), [] as [PathBuf; 0]);
    let package = shop.weir.home.join("evidence.zip").display().to_string();
    let made = shop
        .weir
        .cli(
            None,
            &[
                "evidence",
                "--offline",
                "--from",
                "2020-01-01",
                "--out",
                &package,
                "--sample",
                "50",
            ],
        )
        .unwrap();
    assert!(made.ok(), "{}", made.all());
    let key = made
        .stdout
        .lines()
        .find_map(|l| l.strip_prefix("package signed with the key you trust: "))
        .unwrap_or_else(|| panic!("{}", made.stdout))
        .to_owned();
    let files = crate::packages::unzip(Path::new(&package));
    let erasures = files
        .iter()
        .find(|(name, _)| name == "erasures.csv")
        .unwrap();
    let erasures = String::from_utf8_lossy(&erasures.1).into_owned();
    let number = leaf.split(' ').next().unwrap();
    let row = erasures
        .lines()
        .find(|l| l.contains(&format!(",\"{number}\",")));
    assert!(row.is_some_and(|row| row.contains(session)), "{erasures}");
    assert!(erasures.contains("done"), "{erasures}");
    for (name, bytes) in &files {
        assert!(!String::from_utf8_lossy(bytes).contains(SECRET), "{name}");
    }
    let out = shop
        .weir
        .bare_cli(&["verify", &package, "--log-key", &key])
        .unwrap();
    assert!(
        out.ok() && out.stdout.ends_with("verified\n"),
        "{}",
        out.all()
    );
    assert!(out.all().contains("was erased"), "{}", out.all());
    let (ok, said) = verify(&shop.weir);
    assert!(ok && said.contains("was erased at"), "{said}");
}
