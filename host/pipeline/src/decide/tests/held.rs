//! What waits is on record from its hold on.

use super::*;

/// What is on record of the action that was asked for last, in order.
fn story(memory: &Memory) -> Vec<String> {
    let entries = memory.journal.entries();
    let told = entries.iter().skip_while(|e| !matches!(e, Entry::Held(_)));
    told.map(|entry| match entry {
        Entry::Held(h) => format!("{} held {} by {:?}", h.seq, h.hold, h.basis.rules),
        Entry::Intent(i) => format!(
            "{} permitted {:?}",
            i.seq,
            i.approval.as_ref().map(|a| &a.hold)
        ),
        Entry::Refused(r) => format!("{} {:?} {:?}", r.seq, r.kind, r.hold),
        other => format!("{other:?}"),
    })
    .collect()
}

#[tokio::test]
async fn the_hold_comes_first_and_then_what_became_of_it() {
    for (answer, then) in [
        (None, "permitted"),
        (Some(HoldOutcome::Expired), "HoldExpired"),
        (Some(HoldOutcome::Abandoned), "Abandoned"),
    ] {
        let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresUpdate]));
        let session = open(&memory).await;
        let cancel = CancellationToken::new();
        let caller = Caller {
            cancel: &cancel,
            // Whoever is told can look it up on the record by then.
            on_hold: &|info| {
                let held = memory.journal.holds().pop().unwrap();
                assert_eq!((&held.hold, held.expires_at), (&info.id, info.expires_at));
                match &answer {
                    None => memory.approver.approve(&info.id, "bob"),
                    Some(outcome) => memory.approver.end(&info.id, outcome.clone()),
                }
            },
            survey: None,
        };
        let asked = request(&session, "update");
        let fingerprint = fingerprint(&session, &asked);
        let decided = decide(&session, asked, caller).await;
        assert_eq!(decided.is_ok(), answer.is_none());
        let held = memory.journal.holds().pop().unwrap();
        assert_eq!(held.fingerprint, fingerprint);
        assert!(matches!(&held.facts, Facts::Sql(sql) if &*sql.text == "update"));
        let (seq, id) = (held.seq, held.hold);
        let begins = format!("{seq} held {id} by [\"test-rule\"]");
        assert_eq!(
            story(&memory),
            [begins, format!("{seq} {then} Some({id:?})")]
        );
    }
}

/// Without its record nobody waits, nobody is told to, and an approval that came all the same is good for nothing.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_held() {
    let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresUpdate]));
    let session = open(&memory).await;
    memory.journal.break_quietly();
    let cancel = CancellationToken::new();
    let caller = Caller {
        cancel: &cancel,
        on_hold: &|info| panic!("told of {info:?}"),
        survey: None,
    };
    let refusal = decide(&session, request(&session, "x"), caller)
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotRecorded);
    assert_eq!(refusal.fault, Fault::Storage);
    assert_eq!(memory.approver.abandoned().len(), 1);
    assert!(memory.journal.holds().is_empty());
}
