//! Holds, and what became of them.

use super::*;

fn held(stream: u8, n: u64, hold: &str) -> IndexEntry {
    let held = IndexAction {
        decision: "held".into(),
        hold: Some(hold.into()),
        rules: vec!["risky".into()],
        ..action("delete from orders where hunter2", "orders")
    };
    at(stream, n, 1_000, Some(n), Indexed::Held(Box::new(held)))
}

/// What the hold of `seq` came to.
fn answer(stream: u8, n: u64, seq: u64, hold: &str, decision: &str) -> IndexEntry {
    let action = IndexAction {
        decision: decision.into(),
        hold: Some(hold.into()),
        ..action("delete from orders where hunter2", "orders")
    };
    at(
        stream,
        n,
        2_000,
        Some(seq),
        Indexed::Action(Box::new(action)),
    )
}

fn ended(stream: u8, n: u64) -> IndexEntry {
    at(stream, n, 3_000, None, Indexed::Ended("interrupted".into()))
}

async fn outcomes(index: &Index) -> Vec<(u64, Option<String>)> {
    let found = find(index, |q| q.decision = Some("held".into())).await;
    let items = found.items.into_iter().rev();
    items.map(|e| (e.record, e.outcome)).collect()
}

#[tokio::test]
async fn a_hold_is_found_with_what_became_of_it_or_without_an_end() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let entries = [
        start(1, who("alice"), 900),
        held(1, 1, "hold-a"),
        held(1, 2, "hold-b"),
        held(1, 3, "hold-c"),
        answer(1, 4, 1, "hold-a", "permit"),
        answer(1, 5, 2, "hold-b", "hold-denied"),
    ];
    index.take(&entries, PLACE).unwrap();
    let decided = || Some("decided".to_owned());
    let open = [(1, decided()), (2, decided()), (3, None)];
    assert_eq!(outcomes(&index).await, open);
    index.take(&[ended(1, 6)], PLACE).unwrap();
    let over = [
        (1, decided()),
        (2, decided()),
        (3, Some("no-end".to_owned())),
    ];
    assert_eq!(outcomes(&index).await, over);
    // Told again, nothing changes.
    index.take(&entries, PLACE).unwrap();
    assert_eq!(outcomes(&index).await, over);
    let left = find(&index, |q| q.outcome = Some("no-end".into())).await;
    assert_eq!(places(&left.items), ["1/3"]);
    let hold = left.items[0].approval.as_ref().unwrap();
    assert_eq!(
        (hold.hold.as_deref(), &*hold.rules),
        (Some("hold-c"), &["risky".to_owned()][..])
    );
    assert_eq!(left.items[0].kind, "hold");
    // It was not refused: nobody did that.
    let refused = find(&index, |q| q.decision = Some("refused".into())).await;
    assert_eq!(places(&refused.items), ["1/5"]);
    let by_hold = find(&index, |q| q.approval = Some("hold-a".into())).await;
    assert_eq!(places(&by_hold.items), ["1/4", "1/1"]);
    drop(index);
    // What may be a value is in no file before the server has shown that it is a name.
    assert!(!bytes_hold(dir.path(), "hunter2"));
}
