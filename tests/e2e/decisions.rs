//! Recorded decisions, made again: by the bundle and plugins of the time, and by another bundle.

use std::time::Duration;

use serde_json::Value;
use weir_tests::bundle::Bundle;
use weir_tests::proc::{Scratch, eventually};
use weir_tests::weir::Weir;

use crate::evidence::{a_session, transcript};
use crate::shop::{ALICE, shop};

/// Executes every recorded decision again.
pub fn decided_again(weir: &Weir) {
    // What a running Weir has just written may be on its way.
    eventually("decisions as recorded", Duration::from_secs(30), || {
        let out = weir.cli(None, &["verify", "--decisions"])?;
        let said = out.all();
        let same = said.contains(", 0 differ, 0 could not be executed again");
        assert!(!said.contains("\n0 decision"), "{said}");
        Ok((out.ok() && same).then_some(()))
    })
    .unwrap();
}

const PLANTED: &str = r#"
@id("guard.planted")
@reason("planted: nobody reads customers")
forbid (principal, action == Action::"postgres:select", resource is Pg::Table)
when { resource.name == "customers" };
"#;

#[test]
fn another_bundle_is_tried_on_what_was_recorded() {
    let mut shop = shop("backtest");
    let session = a_session(&shop);
    let psql = shop.psql(ALICE);
    let steers = "SELECT id FROM customers WHERE id = 4 /* \x1b[31m */;\n";
    psql.run(&format!("{steers}SELECT 'over';\n")).unwrap();
    transcript(&shop.weir, &session, "the end");
    decided_again(&shop.weir);
    shop.weir.stop();
    decided_again(&shop.weir);

    let dir = Scratch::new("backtest-bundles").unwrap();
    let mut bundle = Bundle::for_tests().unwrap();
    let same = bundle.write(&dir.join("same")).unwrap();
    bundle.add("planted.cedar", PLANTED);
    let new = bundle.write(&dir.join("new")).unwrap();
    let (same, new) = (same.display().to_string(), new.display().to_string());
    let backtest = |args: &[&str]| {
        let out = shop.weir.cli(None, &[&["backtest"], args].concat());
        let out = out.unwrap();
        (out.status.code(), out.stdout, out.stderr)
    };

    let (code, out, err) = backtest(&["--bundle", &same]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("0 would change, in 0 way(s); 0 could not"),
        "{out}"
    );

    let (code, out, err) = backtest(&["--bundle", &new]);
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(
        out.contains("deny by guard.planted (planted: nobody"),
        "{out}"
    );
    assert!(
        out.contains("\\u{1b}[31m") && !out.contains('\x1b'),
        "{out}"
    );

    let (code, out, err) = backtest(&["--bundle", &new, "--format", "jsonl"]);
    assert_eq!(code, Some(4), "{out}{err}");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let changes: Vec<&Value> = lines.iter().filter(|l| l["type"] == "change").collect();
    assert_eq!(changes.len(), 2, "{out}");
    for change in changes {
        assert!(
            change["statement"]
                .as_str()
                .unwrap()
                .contains("FROM customers")
        );
        assert!(
            change["was"].as_str().unwrap().starts_with("permit"),
            "{change}"
        );
        assert_eq!(change["times"], 1);
        assert!(change["who"].as_str().unwrap().contains(ALICE.0));
    }
    assert_eq!(lines.last().unwrap()["changed"], 2);

    // Nothing of it is in a window before it, and a window that ends before it begins is none.
    let before = ["--bundle", &new, "--to", "2020-01-01"];
    assert_eq!(backtest(&before).0, Some(0));
    let (code, _, err) = backtest(&[
        "--bundle",
        &new,
        "--from",
        "2020-01-02",
        "--to",
        "2020-01-01",
    ]);
    assert!(code == Some(1) && err.contains("--from"), "{err}");
    for wrong in [
        &["--bundle", "/no/such/bundle"][..],
        &["--plugin", "risk-sql=/no/such.wasm"],
        &["--plugin", "risk-sql"],
        &[],
    ] {
        let (code, out, err) = backtest(wrong);
        assert!(!matches!(code, Some(0 | 3 | 4)), "{wrong:?}: {out}{err}");
    }
}
