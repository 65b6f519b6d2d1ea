//! Plans and batches.

use weir_plugin::testing::{self, set_config};
use weir_plugin::{Action, Batch, Column, Encoding, Masker, Plugin, PluginError};

use super::MaskPii;

fn column(name: &str, oid: u32, labels: &[&str], must_mask: bool) -> Column {
    Column {
        name: name.into(),
        type_name: String::new(),
        type_oid: oid,
        origin: None,
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        encoding: Encoding::Text,
        must_mask,
        attrs: vec![],
    }
}

fn plan_one(column: Column) -> Action {
    let plan = MaskPii::make_plan(testing::session(), vec![column]).unwrap();
    assert_eq!(plan.actions.len(), 1);
    plan.actions.into_iter().next().unwrap()
}

fn hides(action: &Action) -> bool {
    !matches!(action, Action::Pass | Action::Inspect | Action::Detect(_))
}

const TEXT: u32 = 25;
const INT8: u32 = 20;
const DATE: u32 = 1082;
const JSONB: u32 = 3802;
const TEXTS: u32 = 1009;

/// What becomes of text that nothing covers.
fn searched() -> Action {
    let all = [
        "email",
        "pan",
        "iban",
        "us-ssn",
        "phone",
        "jwt",
        "private-key",
        "cloud-key",
    ];
    Action::Detect(all.map(str::to_owned).to_vec())
}

#[test]
fn plans_by_label_name_and_type() {
    set_config(&[]);
    let redact = || Action::Redact("[redacted]".into());
    for (column, expect) in [
        // Must be masked: label first, then name, and always hidden.
        (column("password", TEXT, &["secret"], true), Action::NullOut),
        (
            column("email", TEXT, &["secret", "pii"], true),
            Action::NullOut,
        ),
        (column("email", TEXT, &["pii", "pii.email"], true), redact()),
        (
            column("card_number", TEXT, &["pci"], true),
            Action::KeepLast(4),
        ),
        (column("cvv", TEXT, &["pci"], true), Action::NullOut),
        (column("cardCvc2", TEXT, &["pci"], true), Action::NullOut),
        (column("whatever", TEXT, &["pci"], true), redact()),
        (
            column("iban", TEXT, &["pii", "pci"], true),
            Action::KeepLast(4),
        ),
        (column("phone", TEXT, &["pii"], true), Action::KeepLast(2)),
        (column("born", DATE, &["pii"], true), redact()),
        (column("x", INT8, &[], true), redact()),
        // Labelled and shown: policy lifted it.
        (column("email", TEXT, &["pii"], false), Action::Pass),
        // By name alone.
        (column("userPassword", TEXT, &[], false), Action::NullOut),
        (column("api_key", TEXT, &[], false), Action::NullOut),
        (column("apikey", TEXT, &[], false), Action::NullOut),
        (column("Home-Phone", TEXT, &[], false), Action::KeepLast(2)),
        (column("ssn", TEXT, &[], false), redact()),
        (column("e_mail", TEXT, &[], false), redact()),
        // Alike.
        (column("password_changed", DATE, &[], false), Action::Pass),
        (column("email_count", INT8, &[], false), Action::Pass),
        (column("company", TEXT, &[], false), searched()),
        (column("class_name", TEXT, &[], false), searched()),
        (column("pantry", TEXT, &[], false), searched()),
        (column("tokens", TEXT, &[], false), searched()),
        (column("phone_type", TEXT, &[], false), searched()),
        // By type.
        (column("note", JSONB, &[], false), searched()),
        (column("notes", TEXTS, &[], false), searched()),
        (column("id", INT8, &[], false), Action::Pass),
        (column("day", DATE, &[], false), Action::Pass),
    ] {
        let name = column.name.clone();
        let must = column.must_mask;
        let action = plan_one(column);
        assert_eq!(action, expect, "{name}");
        assert!(!must || hides(&action), "{name}");
    }
}

#[test]
fn an_alias_hides_no_name() {
    set_config(&[]);
    let aliased = Column {
        origin: Some("public.users.password".into()),
        ..column("x", TEXT, &[], false)
    };
    assert_eq!(plan_one(aliased), Action::NullOut);
    let harmless = Column {
        origin: Some("public.users.nick".into()),
        ..column("password", TEXT, &[], false)
    };
    assert_eq!(plan_one(harmless), searched());
}

#[test]
fn operators_can_change_it() {
    set_config(&[
        ("action.email", "pseudonym:default"),
        ("action.pan", "null"),
    ]);
    let email = column("email", TEXT, &["pii"], true);
    assert_eq!(plan_one(email), Action::Pseudonym("default".into()));
    assert_eq!(
        plan_one(column("pan", TEXT, &["pci"], true)),
        Action::NullOut
    );

    set_config(&[("columns.skip", "sku, *_Hash"), ("names", "off")]);
    assert_eq!(plan_one(column("SKU", TEXT, &[], false)), Action::Pass);
    assert_eq!(
        plan_one(column("file_hash", TEXT, &[], false)),
        Action::Pass
    );
    assert_eq!(plan_one(column("password", TEXT, &[], false)), searched());
    assert!(
        hides(&plan_one(column("sku", TEXT, &["pii"], true))),
        "skipping lifts nothing"
    );

    set_config(&[("columns.only", "note")]);
    assert_eq!(plan_one(column("note", TEXT, &[], false)), searched());
    assert_eq!(plan_one(column("text", TEXT, &[], false)), Action::Pass);

    set_config(&[("detectors", "none")]);
    assert_eq!(plan_one(column("note", TEXT, &[], false)), Action::Pass);

    set_config(&[("detectors", "email, ssn")]);
    let two = ["email", "us-ssn"].map(str::to_owned).to_vec();
    assert_eq!(
        plan_one(column("note", TEXT, &[], false)),
        Action::Detect(two)
    );

    set_config(&[("inspect", "on")]);
    assert_eq!(plan_one(column("note", TEXT, &[], false)), Action::Inspect);
    assert_eq!(plan_one(column("n", INT8, &[], false)), Action::Pass);
    assert!(hides(&plan_one(column("note", TEXT, &["pii"], true))));

    for bad in [
        ("detectors", "email, typo"),
        ("names", "maybe"),
        ("inspect", "yes"),
        ("typo", "x"),
        ("action.typo", "null"),
        ("action.email", "pass"),
        ("action.email", "inspect"),
        ("action.email", "hash"),
        ("action.email", "hash:"),
        ("action.email", "keep-last:0"),
        ("action.email", "keep-last:17"),
        ("action.email", "keep-last:x"),
    ] {
        set_config(&[bad]);
        assert!(
            matches!(MaskPii::check_config(), Err(PluginError::BadConfig(_))),
            "{bad:?}"
        );
        let plan = MaskPii::make_plan(testing::session(), vec![]);
        assert!(plan.is_err(), "{bad:?}");
    }
}

/// The values after masking; `None` is NULL.
fn mask(columns: Vec<Column>, values: &[(&str, u16)]) -> Vec<Option<String>> {
    set_config(&[("inspect", "on")]);
    let plan = MaskPii::make_plan(testing::session(), columns).unwrap();
    let mut batch = Batch {
        data: vec![],
        ends: vec![],
        cols: vec![],
    };
    for (value, col) in values {
        batch.data.extend_from_slice(value.as_bytes());
        batch.ends.push(batch.data.len() as u32);
        batch.cols.push(*col);
    }
    let edits = MaskPii::mask_batch(plan.state, batch).unwrap();
    let mut out: Vec<_> = values.iter().map(|(v, _)| Some((*v).to_owned())).collect();
    let mut start = 0;
    for (index, end) in edits.indexes.iter().zip(&edits.ends) {
        let value = &edits.data[start..*end as usize];
        start = *end as usize;
        out[*index as usize] = Some(String::from_utf8(value.to_vec()).unwrap());
    }
    for index in edits.nulls {
        out[index as usize] = None;
    }
    out
}

#[test]
fn batches() {
    let binary = Column {
        encoding: Encoding::Binary,
        ..column("list", TEXTS, &[], false)
    };
    let columns = vec![
        column("id", INT8, &[], false),
        column("note", TEXT, &[], false),
        column("doc", JSONB, &[], false),
        column("tags", TEXTS, &[], false),
        binary,
    ];
    for (value, col, expect) in [
        ("nothing here", 1, Some("nothing here")),
        ("", 1, Some("")),
        (
            "mail a@b.co or +49 30 123456",
            1,
            Some("mail [email] or [phone]"),
        ),
        (
            r#"{"m": "a@b.co", "n": 1}"#,
            2,
            Some(r#"{"m": "[email]", "n": 1}"#),
        ),
        (r#"{"pan": 4111111111111111}"#, 2, Some(r#"{"pan": null}"#)),
        (
            r#"{"pan": "4111111111111111"}"#,
            2,
            Some(r#"{"pan": "[card]"}"#),
        ),
        (
            r#"{"q": "\"", "pan": 4111111111111111}"#,
            2,
            Some(r#"{"q": "\"", "pan": null}"#),
        ),
        (
            r#"[4111111111111111,"a@b.co",5555555555554444]"#,
            2,
            Some(r#"[null,"[email]",null]"#),
        ),
        (r#"{a@b.co,"x y"}"#, 3, Some(r#"{[email],"x y"}"#)),
        ("\u{0}\u{0}a@b.co", 4, None),
        ("\u{0}\u{0}fine", 4, Some("\u{0}\u{0}fine")),
    ] {
        let out = mask(columns.clone(), &[("x", 1), (value, col), ("y", 1)]);
        assert_eq!(out[1].as_deref(), expect, "{value}");
        assert_eq!(
            (out[0].as_deref(), out[2].as_deref()),
            (Some("x"), Some("y"))
        );
    }
}

#[test]
fn batches_that_do_not_fit_their_plan_fail() {
    set_config(&[("inspect", "on")]);
    let columns = vec![
        column("id", INT8, &[], false),
        column("note", TEXT, &[], false),
    ];
    let plan = MaskPii::make_plan(testing::session(), columns).unwrap();
    let batch = |ends: &[u32], cols: &[u16]| Batch {
        data: b"a@b.co".to_vec(),
        ends: ends.to_vec(),
        cols: cols.to_vec(),
    };
    assert!(MaskPii::mask_batch(plan.state.clone(), batch(&[6], &[1])).is_ok());
    for (ends, cols) in [([7], [1]), ([6], [0]), ([6], [2])] {
        assert!(MaskPii::mask_batch(plan.state.clone(), batch(&ends, &cols)).is_err());
    }
    for state in [
        vec![],
        vec![9, 0, 0, 1],
        vec![1, 255, 255, 1],
        vec![1, 1, 0, 9],
    ] {
        assert!(MaskPii::mask_batch(state, batch(&[6], &[1])).is_err());
    }
}
