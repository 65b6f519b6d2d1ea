//! `weir audit`: what passed is found by whatever is asked, nothing of anybody's data is in the index,
//! and no crash or loss of it loses a row.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_tests::dataset::leaks;
use weir_tests::proc::eventually;
use weir_tests::weir::Weir;

use crate::shop::{ALICE, BOB, CAROL, MALLORY, OLGA, OTTO, Shop, shop, shop_with};

const SOON: Duration = Duration::from_secs(30);
/// Stands for what somebody types.
const TYPED: &str = "Hunter2secret";

fn audit(weir: &Weir, token: &str, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["audit", "--format", "jsonl", "--limit", "1000"];
    all.extend(args);
    let out = weir.cli(Some(token), &all).unwrap();
    assert!(out.ok(), "{}", out.all());
    let parse = |line| serde_json::from_str(line).unwrap();
    out.stdout.lines().map(parse).collect()
}

/// Waits until so many entries are found.
fn found(weir: &Weir, token: &str, args: &[&str], count: usize) -> Vec<Value> {
    let what = format!("{count} entries of weir audit {}", args.join(" "));
    let look = || {
        let entries = audit(weir, token, args);
        Ok((entries.len() >= count).then_some(entries))
    };
    let entries = eventually(&what, SOON, look).unwrap();
    assert_eq!(entries.len(), count, "{what}: {entries:#?}");
    entries
}

fn in_files(dir: &Path, needle: &str) -> bool {
    files(dir).iter().any(|bytes| {
        let bytes = bytes.to_ascii_lowercase();
        let needle = needle.to_ascii_lowercase();
        bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
    })
}

/// Everything that belongs to the index.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("audit-index.sqlite") && !name.ends_with(".lock") {
            out.push(std::fs::read(path).unwrap());
        }
    }
    assert!(!out.is_empty());
    out
}

/// A session with something of everything; gives its id and the hold's.
fn traffic(shop: &Shop) -> (String, String) {
    let script = format!(
        "SET application_name = '{TYPED}';\n\
         SELECT id, name, ssn FROM customers WHERE id = 3 /* {TYPED} */;\n\
         SELECT name FROM customers WHERE name = '{TYPED}';\n\
         SELECT name FROM customers WHERE name = {TYPED};\n\
         SELECT 1/0 AS \"{TYPED}\";\n\
         SELECT '{TYPED}'::int;\n\
         DROP TABLE orders;\n\
         UPDATE accounts SET balance = balance + 1 WHERE id = 7 /* {TYPED} */;\n\
         SELECT 'the end';\n"
    );
    let psql = shop.psql(ALICE).spawn(&script).unwrap();
    let hold = shop.weir.open_hold(&shop.token(BOB)).unwrap();
    let id = hold["id"].as_str().unwrap().to_owned();
    let answer = shop.weir.approve(&shop.token(BOB), &id).unwrap();
    answer.ok().unwrap();
    let out = psql.wait(Duration::from_secs(40)).unwrap();
    assert!(out.stdout.contains("the end"), "{}", out.all());
    let session = shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap();
    (session, id)
}

#[test]
fn the_record_is_searched_by_whatever_is_asked() {
    let shop = shop("audit");
    let (weir, olga) = (&shop.weir, shop.token(OLGA));
    let (session, hold) = traffic(&shop);
    shop.psql(CAROL)
        .run("SELECT ssn FROM customers WHERE id = 3;")
        .unwrap();
    let ends = ["--kind", "session-end"];
    found(weir, &olga, &ends, 2);

    let alice = audit(weir, &olga, &["--user", ALICE.0, "--kind", "action"]);
    let of = |args: &[&str]| {
        let mut all = vec!["--user", ALICE.0, "--kind", "action"];
        all.extend(args);
        audit(weir, &olga, &all)
    };
    assert!(alice.iter().all(|e| e["stream"] == session.as_str()));
    let dropped = of(&["--decision", "refused"]);
    let is_drop = |e: &&Value| e["statement"] == "DROP TABLE orders";
    assert_eq!(dropped.iter().filter(is_drop).count(), 1, "{dropped:#?}");
    assert_eq!(of(&["--text", "drop orders"]).len(), 1);
    let updated = of(&["--approval", BOB.0]);
    assert_eq!(updated, of(&["--approval", &hold]));
    assert_eq!(updated.len(), 1, "{updated:#?}");
    assert_eq!(
        updated[0]["statement"],
        "UPDATE accounts SET balance = balance + ? WHERE id = ?"
    );
    assert_eq!(updated[0]["approval"]["hold"], hold.as_str());
    assert_eq!(
        updated,
        of(&["--resource", "accounts", "--outcome", "done"])
    );
    assert_eq!(
        updated,
        of(&["--action", "postgres:update", "--decision", "permit"])
    );
    assert!(of(&["--resource", "customers"]).len() >= 2);
    assert!(!of(&["--plugin", "risk-sql"]).is_empty());
    assert!(!of(&["--risk", "1"]).is_empty());
    let policy = updated[0]["policies"][0].as_str().unwrap();
    assert!(of(&["--policy", policy]).contains(&updated[0]));
    assert_eq!(
        alice,
        audit(weir, &olga, &["--session", &session, "--kind", "action"])
    );
    assert_eq!(
        audit(weir, &olga, &["--since", "2999-01-01"]),
        [] as [Value; 0]
    );
    assert_eq!(audit(weir, &olga, &["--until", "-2h"]), [] as [Value; 0]);
    assert!(!audit(weir, &olga, &["--since", "-2h", "--target", "orders-prod"]).is_empty());
    assert_eq!(of(&["--text", TYPED]), [] as [Value; 0]);

    // In words, and the refusals of the API itself.
    let table = weir
        .cli(Some(&olga), &["audit", "--user", ALICE.0])
        .unwrap();
    assert!(
        table.stdout.contains("DROP TABLE orders"),
        "{}",
        table.all()
    );
    let mallory = weir.cli(Some(&shop.token(MALLORY)), &["audit"]).unwrap();
    assert!(
        !mallory.ok() && mallory.stderr.contains("403"),
        "{}",
        mallory.all()
    );
    let refused = [
        "--user",
        MALLORY.0,
        "--action",
        "audit:read",
        "--decision",
        "refused",
    ];
    found(weir, &olga, &refused, 1);
    for wrong in [["--since", "tomorrow"], ["--kind", "x"], ["--session", "x"]] {
        let out = weir
            .cli(Some(&olga), &["audit", wrong[0], wrong[1]])
            .unwrap();
        let name = wrong[0].trim_start_matches('-');
        assert!(!out.ok() && out.stderr.contains(name), "{}", out.all());
    }
    // Each search is a leaf of the log, with what was asked.
    let otto = shop.token(OTTO);
    let asked = ["--user", OLGA.0, "--action", "audit:read"];
    assert!(audit(weir, &otto, &asked).len() >= 10);

    // Whatever was masked or typed is in no byte of the index.
    let data = weir.home.join("data");
    assert!(
        in_files(&data, "balance = balance"),
        "the test looks at the index"
    );
    assert!(!in_files(&data, TYPED), "what was typed is in the index");
    for bytes in files(&data) {
        assert_eq!(leaks(&bytes), None);
    }
}

/// Killed while it is at it, again and again, and the index thrown away at the end: every statement is
/// there once.
#[test]
fn no_crash_and_no_loss_of_the_index_loses_a_row() {
    let mut shop = shop_with("audit-crash", |_| {}, |_| {});
    let mut last = 0;
    for round in 0..3 {
        let mut script = String::new();
        for n in 0..40 {
            script.push_str(&format!("SELECT count(*) AS r{round}n{n} FROM orders;\n"));
        }
        let out = shop.psql(ALICE).run(&script).unwrap();
        assert!(out.ok(), "{}", out.all());
        last = round;
        std::thread::sleep(Duration::from_millis(40 * round));
        shop.weir.kill_9().unwrap();
        shop.weir.launch().unwrap();
    }
    let olga = shop.token(OLGA);
    let all = ["--user", ALICE.0, "--text", "orders", "--outcome", "done"];
    let whole = [
        "--user",
        ALICE.0,
        "--resource",
        "orders",
        "--action",
        "postgres:select",
    ];
    let expected = found(&shop.weir, &olga, &whole, 40 * (last as usize + 1));
    let mut places: Vec<String> = expected
        .iter()
        .map(|e| format!("{}/{}", e["stream"], e["number"]))
        .collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), expected.len());
    let before = audit(&shop.weir, &olga, &all).len();
    shop.weir.stop();

    // Lost, and then damaged.
    let index = shop.weir.home.join("data/audit-index.sqlite");
    for damage in [
        None,
        Some("this is no index any more, but it is long enough to be read as one"),
    ] {
        for end in ["", "-wal", "-shm"] {
            std::fs::remove_file(format!("{}{end}", index.display())).ok();
        }
        if let Some(text) = damage {
            std::fs::write(&index, text).unwrap();
        }
        shop.weir.launch().unwrap();
        found(&shop.weir, &olga, &whole, expected.len());
        eventually("the older records to be indexed", SOON, || {
            let page = shop
                .weir
                .api(&olga, "GET", "/audit/actions?limit=1", None)?
                .ok()?;
            Ok((page["rebuilding"] == false).then_some(()))
        })
        .unwrap();
        found(&shop.weir, &olga, &whole, expected.len());
        // Now also with the words of statements whose end came just before a crash.
        assert!(audit(&shop.weir, &olga, &all).len() >= before);
        shop.weir.stop();
    }
    let args = ["audit", "--rebuild"];
    let out = shop.weir.cli(None, &args).unwrap();
    assert!(out.ok(), "{}", out.all());
    shop.weir.launch().unwrap();
    let out = shop.weir.cli(None, &args).unwrap();
    assert!(
        !out.ok() && out.stderr.contains("another process"),
        "{}",
        out.all()
    );
    found(&shop.weir, &olga, &whole, expected.len());
}
