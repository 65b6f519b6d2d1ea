//! What is recorded: complete, replayable, verifiable, wherever it is kept, whatever happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_tests::dataset::leaks;
use weir_tests::proc::{Scratch, eventually};
use weir_tests::s3::S3;
use weir_tests::weir::Weir;
use weir_tests::wire::Client;

use crate::shop::{ALICE, OLGA, Shop, shop, shop_with, skipped};

const SOON: Duration = Duration::from_secs(30);

fn replay(weir: &Weir, session: &str) -> Option<String> {
    let out = weir.cli(None, &["replay", session]).unwrap();
    out.ok().then_some(out.stdout)
}

/// The transcript of a session, once it is where replay looks.
pub fn transcript(weir: &Weir, session: &str, holds: &str) -> String {
    eventually(&format!("a replay that holds {holds:?}"), SOON, || {
        Ok(replay(weir, session).filter(|text| text.contains(holds)))
    })
    .unwrap()
}

/// The transcripts of all sessions.
fn transcripts(weir: &Weir, token: &str) -> anyhow::Result<String> {
    let page = weir.api(token, "GET", "/sessions?limit=200", None)?.ok()?;
    let sessions = page["items"].as_array().cloned().unwrap_or_default();
    Ok(sessions
        .iter()
        .filter_map(|s| replay(weir, s["id"].as_str()?))
        .collect())
}

pub fn verify(weir: &Weir) -> (bool, String) {
    let out = weir.cli(None, &["verify"]).unwrap();
    (out.ok(), out.all())
}

pub fn a_session(shop: &Shop) -> String {
    let out = shop
        .psql(ALICE)
        .run(
            "SELECT id, name, ssn FROM customers WHERE id = 3;\n\
             DROP TABLE orders;\n\
             INSERT INTO probe VALUES ('recorded');\n\
             SELECT 'the end';\n",
        )
        .unwrap();
    assert!(out.stdout.contains("the end"), "{}", out.all());
    shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap()
}

fn assert_whole(text: &str) {
    for part in [
        ALICE.0,
        "SELECT id, name, ssn FROM customers WHERE id = 3",
        "Customer 3",
        "DROP TABLE orders",
        "nothing is dropped here",
        "INSERT INTO probe VALUES ('recorded')",
        "the end",
    ] {
        assert!(
            text.contains(part),
            "{part:?} is not in the transcript:\n{text}"
        );
    }
    assert!(
        leaks(text.as_bytes()).is_none(),
        "the transcript shows what the client did not see"
    );
}

#[test]
fn a_session_is_replayed_and_verified_from_a_directory() {
    let shop = shop("replay");
    let session = a_session(&shop);
    assert_whole(&transcript(&shop.weir, &session, "the end"));
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");
    crate::decisions::decided_again(&shop.weir);
    assert!(replay(&shop.weir, "0190a0a0-0000-7000-8000-000000000000").is_none());
    // In the other formats as well.
    for (format, holds) in [
        ("jsonl", "\"kind\":\"intent\""),
        ("asciicast-v2", "\"version\":2"),
        ("asciicast-v3", "\"version\":3"),
    ] {
        let out = shop
            .weir
            .cli(None, &["replay", &session, "--format", format]);
        let out = out.unwrap();
        assert!(out.ok() && out.stdout.contains(holds), "{}", out.all());
        assert!(out.stdout.contains("nothing is dropped here"));
        assert!(leaks(out.stdout.as_bytes()).is_none(), "{format}");
        for line in out.stdout.lines() {
            let value: Result<serde_json::Value, _> = serde_json::from_str(line);
            assert!(value.is_ok(), "{format}: {line}");
        }
    }
    let args = ["replay", &session, "--format", "tape"];
    assert!(!shop.weir.cli(None, &args).unwrap().ok());
}

#[test]
fn a_session_is_replayed_and_verified_from_an_s3_store() {
    let s3 = S3::start().unwrap();
    let mut shop = shop_with(
        "s3",
        |_| {},
        |setup| {
            setup.recording = s3_store(&s3);
            // What `--store s3://…` takes from the environment.
            for (name, value) in [
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test-secret"),
            ] {
                setup.vars.push((name.into(), value.into()));
            }
        },
    );
    let session = a_session(&shop);
    assert_whole(&transcript(&shop.weir, &session, "the end"));
    // From the store alone: nothing of it comes from this machine's spool.
    let elsewhere = Scratch::new("elsewhere").unwrap();
    let config = std::fs::read_to_string(&shop.weir.config).unwrap();
    let home = shop.weir.home.join("data").display().to_string();
    let config = config.replace(&home, &elsewhere.join("data").display().to_string());
    let path = elsewhere.join("weir.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_string_lossy().into_owned();
    // But for what wraps the keys.
    let keys = ["replay", &session, "--config", &path];
    let out = shop.weir.cli(None, &keys).unwrap();
    assert!(
        !out.ok() && out.all().contains("--key-file"),
        "{}",
        out.all()
    );
    let key = "data/keys/segments.key";
    std::fs::create_dir_all(elsewhere.join("data/keys")).unwrap();
    std::fs::copy(shop.weir.home.join(key), elsewhere.join(key)).unwrap();
    let out = shop
        .weir
        .cli(None, &["replay", &session, "--config", &path])
        .unwrap();
    assert!(out.ok(), "{}", out.all());
    assert_whole(&out.stdout);
    // It is over when Weir is: what was open at the last look is sealed and uploaded.
    shop.weir.stop();
    let verify = || shop.weir.cli(None, &["verify", "--config", &path]).unwrap();
    let out = verify();
    assert!(out.ok(), "{}", out.all());
    assert_eq!(count(&out.stdout, "session(s)"), 1, "{}", out.all());
    assert_eq!(count(&out.stdout, "complete"), 1, "{}", out.all());
    let objects = s3.objects().unwrap();
    let segments = objects.iter().filter(|key| key.ends_with(".rec")).count();
    assert_eq!(count(&out.stdout, "segments"), segments, "{objects:?}");
    let of_session = |key: &&String| key.contains(&session);
    // Without a configuration, too.
    let url = format!(
        "s3://{}?region=us-east-1&endpoint={}&allow_http=true",
        s3.bucket,
        s3.endpoint()
    );
    let by_url = shop.weir.bare_cli(&["verify", "--store", &url]).unwrap();
    assert!(by_url.ok(), "{}", by_url.all());
    assert_eq!(
        count(&by_url.stdout, "segments"),
        segments,
        "{}",
        by_url.all()
    );
    // Any object that is gone is noticed, one after the other.
    assert!(
        objects.iter().any(|key| key.contains(&session)),
        "{objects:?}"
    );
    for key in objects.iter().filter(of_session) {
        let whole = s3.take(key).unwrap();
        let out = verify();
        assert!(
            !out.ok(),
            "{key} is gone, and that was not noticed: {}",
            out.all()
        );
        s3.put(key, &whole).unwrap();
        assert!(verify().ok(), "{key} put back");
    }
}

/// The number before this word.
fn count(said: &str, word: &str) -> usize {
    let words: Vec<&str> = said
        .split([' ', ',', ';', '\n'])
        .filter(|w| !w.is_empty())
        .collect();
    let at = words.iter().position(|w| *w == word);
    at.and_then(|at| words.get(at.wrapping_sub(1))?.parse().ok())
        .unwrap_or_else(|| panic!("no number of {word} in {said}"))
}

fn s3_store(s3: &S3) -> String {
    format!(
        "store = {{ s3 = {{ bucket = \"{}\", endpoint = \"{}\", region = \"us-east-1\", \
         access_key_id = \"test\", secret_access_key = \"test-secret\", allow_http = true }} }}\n\
         segment_seconds = 1",
        s3.bucket,
        s3.endpoint()
    )
}

/// What is final is in the vault, and only there; both are read as one, and neither is enough.
#[test]
fn a_vault_has_what_is_final() {
    let vault = Scratch::new("vault").unwrap();
    let mut shop = shop_with(
        "in-a-vault",
        |_| {},
        |setup| setup.recording = format!("vault = {{ dir = \"{}\" }}", vault.path().display()),
    );
    let session = a_session(&shop);
    assert_whole(&transcript(&shop.weir, &session, "the end"));
    shop.weir.stop();
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");
    let live = shop.weir.home.join("data/recordings");
    let (final_ones, changing) = (recordings(vault.path()), recordings(&live));
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "rec");
    assert!(final_ones.iter().any(is_segment) && !changing.iter().any(is_segment));
    let is_newest = |path: &PathBuf| path.ends_with("checkpoint");
    assert!(changing.iter().any(is_newest) && !final_ones.iter().any(is_newest));
    let (live, vault) = (
        live.display().to_string(),
        vault.path().display().to_string(),
    );
    let read = |args: &[&str]| shop.weir.bare_cli(args).unwrap();
    let both = ["--store", &live, "--vault", &vault];
    assert!(read(&[&["verify"], &both[..]].concat()).ok());
    let key = shop.weir.home.join("data/keys/segments.key");
    let key = key.display().to_string();
    let args = [&["replay", &session, "--key-file", &key], &both[..]].concat();
    assert_whole(&read(&args).stdout);
    for alone in [&live, &vault] {
        let out = read(&["verify", "--store", alone]);
        assert!(!out.ok(), "{alone} alone: {}", out.all());
    }
    assert!(!read(&["verify", "--store", &live, "--vault", "/nowhere"]).ok());
}

#[test]
fn a_changed_or_missing_recording_is_noticed() {
    let mut shop = shop("tampered");
    let session = a_session(&shop);
    transcript(&shop.weir, &session, "the end");
    shop.weir.stop();
    assert!(verify(&shop.weir).0);
    let files = recordings(&shop.weir.home.join("data/recordings"));
    assert!(!files.is_empty());
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        // Bundles and plugins have a hash over all and nothing else: one change stands for every one.
        let path = file.display().to_string();
        let kept = path.contains("/bundles/") || path.contains("/plugin");
        let tried = if kept { 1 } else { usize::MAX };
        for (what, changed) in [
            ("a flipped bit", Some(flipped(&whole))),
            ("cut short", Some(whole[..whole.len() / 2].to_vec())),
            ("lengthened", Some([whole.as_slice(), b"x"].concat())),
            ("emptied", Some(Vec::new())),
        ]
        .into_iter()
        .take(tried)
        {
            writable(&file);
            std::fs::write(&file, changed.unwrap()).unwrap();
            let (ok, said) = verify(&shop.weir);
            assert!(!ok, "{what} in {} was not noticed: {said}", file.display());
        }
        std::fs::write(&file, &whole).unwrap();
        let (ok, said) = verify(&shop.weir);
        assert!(ok, "put back: {said}");
    }
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x10;
    changed
}

fn writable(path: &Path) {
    let status = Command::new("chmod").arg("u+w").arg(path).status().unwrap();
    assert!(status.success());
}

pub fn recordings(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(recordings(&path));
        } else if entry.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found
}

/// Lets clients do what they do for a while, and until it is enough: however busy this machine is.
fn traffic(is_enough: impl Fn() -> bool) {
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(900));
    while !is_enough() && begin.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Clients write as fast as they can, Weir is killed in the middle, and starts again: every
/// statement that reached the server is on record.
#[test]
fn after_kill_9_every_forwarded_statement_is_on_record() {
    let mut shop = shop("kill-9");
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    for round in 0..3 {
        let clients: Vec<_> = (0..4).map(|_| shop.connect(ALICE)).collect();
        stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for (n, mut client) in clients.into_iter().enumerate() {
                let (stop, answered) = (&stop, &answered);
                scope.spawn(move || {
                    for i in 0.. {
                        let sql = format!("INSERT INTO probe VALUES ('row-{round}-{n}-{i}')");
                        let asked = match i % 2 {
                            0 => client.query(&sql),
                            _ => client.extended(&sql, &[], 0),
                        };
                        if asked.is_err() || stop.load(Ordering::Relaxed) {
                            return;
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            traffic(|| answered.load(Ordering::Relaxed) > 12 * (round + 1));
            shop.weir.kill_9().unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        shop.weir.launch().unwrap();
    }
    // Statements that were on the server's side of the socket may still be running.
    let quiet = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND usename = 'weir'";
    eventually("the server to be done", SOON, || {
        Ok((shop.direct(quiet) == "0").then_some(()))
    })
    .unwrap();
    let arrived = shop.direct("SELECT v FROM probe");
    let arrived: BTreeSet<&str> = arrived.lines().collect();
    assert!(
        arrived.len() > 30,
        "only {} statements: no traffic to speak of",
        arrived.len()
    );

    let olga = shop.token(OLGA);
    let recorded = eventually("every statement to be on record", SOON, || {
        let all = transcripts(&shop.weir, &olga)?;
        let missing = arrived
            .iter()
            .filter(|v| !all.contains(&format!("'{v}'")))
            .count();
        Ok((missing == 0).then_some(all))
    })
    .unwrap();
    assert!(
        recorded.contains("unknown"),
        "statements cut off by the kill have no outcome"
    );
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");
}

/// A bundle that does not wait for the disk before it lets reads through still loses none of them when
/// Weir is killed: whatever was answered is on record.
#[test]
fn after_kill_9_every_answered_read_is_on_record_also_when_none_is_synced() {
    let mut shop = shop_with(
        "kill-9-os",
        |bundle| {
            let manifest = bundle.files.get_mut("bundle.toml").unwrap();
            manifest.push_str("\n[recording]\nreads = \"os\"\nsync_within_ms = 1000\n");
        },
        |_| {},
    );
    let answered = std::sync::Mutex::new(BTreeSet::new());
    for round in 0..3 {
        let clients: Vec<_> = (0..4).map(|_| shop.connect(ALICE)).collect();
        std::thread::scope(|scope| {
            for (n, mut client) in clients.into_iter().enumerate() {
                let answered = &answered;
                scope.spawn(move || {
                    for i in 0.. {
                        let mark = format!("read-{round}-{n}-{i}.");
                        let sql = format!("SELECT id, '{mark}' FROM orders LIMIT 1");
                        let asked = match i % 2 {
                            0 => client.query(&sql),
                            _ => client.extended(&sql, &[], 0),
                        };
                        match asked {
                            Ok(reply) if reply.error().is_none() => {
                                answered.lock().unwrap().insert(mark);
                            }
                            Ok(reply) => panic!("{reply:?}"),
                            Err(_) => return,
                        }
                    }
                });
            }
            traffic(|| answered.lock().unwrap().len() > 12 * (round + 1));
            shop.weir.kill_9().unwrap();
        });
        shop.weir.launch().unwrap();
    }
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() > 30, "only {} reads", answered.len());
    let olga = shop.token(OLGA);
    eventually("every read to be on record", SOON, || {
        let all = transcripts(&shop.weir, &olga)?;
        let missing = answered.iter().filter(|mark| !all.contains(*mark)).count();
        Ok((missing == 0).then_some(()))
    })
    .unwrap();
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");
}

/// While the store is away, recordings wait on disk; when that is full, nothing more passes.
#[test]
fn without_a_store_sessions_go_on_until_the_spool_is_full() {
    let mut s3 = S3::start().unwrap();
    let store = format!(
        "{}\nspool_limit_bytes = 2097152\nsegment_bytes = 65536",
        s3_store(&s3)
    );
    let shop = shop_with("spool", |_| {}, |setup| setup.recording = store);
    s3.stop();
    let mut alice = shop.connect(ALICE);
    assert_eq!(
        alice.query("SELECT 1").unwrap().rows.len(),
        1,
        "a slow store stalls nobody"
    );

    // Large records first, then small ones into whatever room they left.
    let big = "SELECT string_agg(md5(random()::text || n), '') FROM generate_series(1, 3000) AS n";
    fill(&shop, big);
    fill(&shop, "SELECT 1");
    // Full is not for ever: sealing a log into compressed segments makes room again. So whether one
    // more statement passes is open; what must hold is that a refused one was not forwarded.
    // That it was full and refused, `fill` has seen.
    for n in 0..50 {
        let mark = format!("mark-spool-after-{n}-20fe");
        if asked(&mut alice, &format!("SELECT 1 /* {mark} */")).is_err() {
            assert!(!shop.reached(&mark), "unrecorded, but forwarded");
            let Ok(next) = shop.weir.connect("alice", &shop.token(ALICE)) else {
                break;
            };
            alice = next;
        }
    }
}

/// Asks until it is refused, five times over, by sessions old and new.
fn fill(shop: &Shop, sql: &str) {
    let token = shop.token(ALICE);
    let mut refused = 0;
    for _ in 0..40 {
        let session = shop.weir.connect("alice", &token);
        let passed = session.is_ok_and(|mut client| {
            (0..200)
                .take_while(|_| asked(&mut client, sql).is_ok())
                .count()
                > 0
        });
        refused = if passed { 0 } else { refused + 1 };
        if refused == 5 {
            return;
        }
    }
    panic!("the spool never filled up with {sql}");
}

/// One statement; an error if it did not run to its end.
fn asked(client: &mut Client, sql: &str) -> anyhow::Result<()> {
    let reply = client.query(sql)?;
    match reply.error() {
        None if reply.status != 0 => Ok(()),
        other => anyhow::bail!("{other:?}"),
    }
}

#[test]
fn on_a_full_disk_nothing_passes() {
    let home = Scratch::new("full-disk").unwrap();
    let Some(_mount) = Mount::new(home.path()) else {
        skipped("a full disk: a small file system could not be mounted (this needs root)");
        return;
    };
    let mut shop = shop_with(
        "full-disk",
        |_| {},
        |setup| setup.home = Some(home.path().to_path_buf()),
    );
    let mut alice = shop.connect(ALICE);
    assert_eq!(alice.query("SELECT 1").unwrap().rows.len(), 1);
    // Somebody else fills the disk to the last byte.
    let ballast = home.join("ballast");
    let fill = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k"])
        .arg(format!("of={}", ballast.display()))
        .stderr(std::process::Stdio::null())
        .status();
    assert!(fill.is_ok());
    let insert = |i: i32| format!("INSERT INTO probe VALUES ('{i}-' || repeat('x', 2000))");
    let mut passed = 0;
    let refused = (0..400).find_map(|i| match alice.query(&insert(i)) {
        Ok(reply) if reply.error().is_none() && reply.status != 0 => {
            passed += 1;
            None
        }
        Ok(reply) => Some((i, reply.error().cloned())),
        Err(_) => Some((i, None)),
    });
    let (i, error) = refused.expect("statements passed with no room to record them");
    let arrived = shop.direct("SELECT split_part(v, '-', 1) FROM probe");
    let arrived: BTreeSet<String> = arrived.lines().map(str::to_owned).collect();
    assert!(
        !arrived.contains(&i.to_string()) && !shop.reached(&format!("VALUES ('{i}-'")),
        "{i} was refused with {error:?} and ran"
    );
    assert_eq!(arrived.len(), passed, "what passed is on the server");

    // Nobody gets anything through any more, and a Weir that cannot record ends: with an error, so that
    // whatever runs it knows, and in good order.
    let again = shop.weir.connect("alice", &shop.token(ALICE));
    let again = again.and_then(|mut c| c.query("SELECT 1 /* mark-disk-after-77aa */"));
    assert!(again.is_err() || again.is_ok_and(|r| r.error().is_some()));
    assert!(!shop.reached("mark-disk-after-77aa"));
    let status = shop.weir.ended(SOON).unwrap();
    assert_eq!(status.code(), Some(1), "{status}: {}", shop.weir.log());
    assert!(!shop.weir.log().contains("panicked"), "{}", shop.weir.log());

    // With room again, a restart is all that it takes, and nothing that ran is missing.
    std::fs::remove_file(&ballast).unwrap();
    shop.weir.launch().unwrap();
    let session = a_session(&shop);
    assert_whole(&transcript(&shop.weir, &session, "the end"));
    let olga = shop.token(OLGA);
    eventually("what ran to be on record", SOON, || {
        let all = transcripts(&shop.weir, &olga)?;
        let on_record = |i: &String| all.contains(&format!("VALUES ('{i}-'"));
        Ok(arrived.iter().all(on_record).then_some(()))
    })
    .unwrap();
    shop.weir.stop();
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");
}

/// A file system of 24 MiB.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path) -> Option<Self> {
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "weir-test"])
            .arg(at)
            .status()
            .is_ok_and(|s| s.success())
            .then(|| Self(at.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
