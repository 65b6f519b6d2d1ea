//! Weir is killed in the middle of a session: what happened until then is on record, and what nobody saw the end of
//! is said to be unknown.

use weir_tests::proc::eventually;

use super::{
    PEOPLE, Person, SOON, expect, is_missing, replayed, rig, security, session_of, shell, typed,
};

#[test]
fn after_kill_9_what_was_seen_is_on_record_and_its_end_is_unknown() {
    if is_missing() {
        return;
    }
    let (mut rig, _bundle) = rig("ssh-kill-9");
    let way = rig.way("kim", PEOPLE).unwrap();
    let steps = [
        &shell()[..],
        &[
            typed("echo before-$((40+2)); sleep 60\r"),
            expect("before-42"),
        ],
    ]
    .concat();
    let mut person = Person::logs_in(&way, "killed", &steps);
    person.waits_for("before-42");
    let id = session_of(&rig.weir, "kim");
    rig.weir.kill_9().unwrap();
    let seen = person.ends_within(SOON);
    assert_eq!(seen.code, Some(255), "{} {}", seen.said, seen.text());
    rig.weir.launch().unwrap();
    let text = replayed(&rig.weir, &id, "text");
    // What the client saw is there, and what became of the shell nobody knows.
    for part in ["before-42", " unknown: nobody saw its end", "end: "] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let cast = replayed(&rig.weir, &id, "asciicast-v2");
    assert!(cast.contains("before-42"), "{cast}");
    eventually("all of it to be verified", SOON, || {
        let out = rig.weir.cli(None, &["verify"])?;
        let says =
            out.stdout.contains("with unknown outcome") && !out.stdout.contains("(0 with unknown");
        Ok((out.ok() && says).then_some(()))
    })
    .unwrap();
    let token = security(&rig.weir);
    eventually("the shell to be found by its outcome", SOON, || {
        let args = [
            "audit",
            "--format",
            "jsonl",
            "--action",
            "ssh:shell",
            "--outcome",
            "unknown",
        ];
        let out = rig.weir.cli(Some(&token), &args)?;
        Ok(out.stdout.contains(&id).then_some(()))
    })
    .unwrap();
}
