//! What is said of something that was held when Weir was killed, whichever wire it came by.

use std::time::Duration;

use serde_json::Value;
use weir_tests::proc::eventually;
use weir_tests::weir::Weir;

const SOON: Duration = Duration::from_secs(40);

/// Weir runs again. `text` was held under `hold`, and is the only one that was.
pub fn is_on_record_without_an_end(weir: &Weir, token: &str, hold: &str, text: &str) {
    let entry = eventually("the hold to be found by the API", SOON, || {
        let args = [
            "audit",
            "--format",
            "jsonl",
            "--approval",
            hold,
            "--outcome",
            "no-end",
        ];
        let out = weir.cli(Some(token), &args)?;
        let first = out.stdout.lines().next();
        Ok(first.map(serde_json::from_str::<Value>).transpose()?)
    })
    .unwrap();
    assert_eq!(entry["kind"], "hold", "{entry}");
    assert_eq!(entry["decision"], "held", "{entry}");
    assert_eq!(entry["approval"]["hold"], hold, "{entry}");
    let session = entry["stream"].as_str().unwrap();
    let replayed = |format: &'static str| {
        eventually("the whole session", SOON, || {
            let out = weir.cli(None, &["replay", session, "--format", format])?;
            let whole = out.ok() && out.stdout.contains("interrupted");
            Ok(whole.then_some(out.stdout))
        })
        .unwrap()
    };
    let told = replayed("text");
    let end = format!("held (hold {hold}): nobody saw the end of that, and it was not forwarded");
    for part in [
        text,
        "decision     held",
        &format!("hold         {hold}"),
        "under rule",
        &end,
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let records = replayed("jsonl");
    let records: Vec<Value> = records
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let at = records.iter().position(|r| r["kind"] == "held").unwrap();
    let seq = &records[at]["seq"];
    assert_eq!(records[at]["held"]["hold"], hold);
    // Nothing became of it, and nothing says that anything did.
    assert!(
        records[at + 1..].iter().all(|r| r["seq"] != *seq),
        "{records:#?}"
    );
    let said = eventually("all of it to be verified", SOON, || {
        let out = weir.cli(None, &["verify"])?;
        Ok((out.ok()
            && out
                .stdout
                .contains(" held before that (1 of them without an end"))
        .then_some(out.stdout))
    })
    .unwrap();
    assert!(said.contains(", 1 held before that"), "{said}");
}
