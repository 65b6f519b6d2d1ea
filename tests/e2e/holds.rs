//! Statements that wait for people: approved, denied, expired, cancelled, left behind.

use std::time::Duration;

use serde_json::Value;
use weir_tests::proc::{Signal, eventually};
use weir_tests::psql::{Output, Running};

use crate::shop::{ALICE, BOB, OLGA, Shop, shop, shop_with};

const SOON: Duration = Duration::from_secs(20);

/// The statement that is held, with a mark to look for in the server's log.
fn update(mark: &str) -> String {
    format!("UPDATE accounts SET balance = balance + 1 WHERE id = 7 /* {mark} */")
}

fn balance(shop: &Shop) -> String {
    shop.direct("SELECT balance FROM accounts WHERE id = 7")
}

/// Runs the statement in psql up to where it is held; gives the hold's id.
fn held(shop: &Shop, mark: &str) -> (Running, String) {
    let mut psql = shop
        .psql(ALICE)
        .spawn(&format!("{};\nSELECT 'after';", update(mark)))
        .unwrap();
    let hold = shop.weir.open_hold(&shop.token(BOB)).unwrap();
    let id = hold["id"].as_str().unwrap().to_owned();
    assert_eq!(hold["principal"], ALICE.0, "{hold}");
    psql.wait_for(&id, SOON).unwrap();
    assert!(!shop.reached(mark), "forwarded while held");
    (psql, id)
}

fn state(shop: &Shop, id: &str) -> Value {
    let token = shop.token(BOB);
    shop.weir
        .api(&token, "GET", &format!("/approvals/{id}"), None)
        .unwrap()
        .ok()
        .unwrap()["state"]
        .clone()
}

fn finish(psql: Running) -> Output {
    psql.wait(Duration::from_secs(40)).unwrap()
}

/// A statement that somebody else approved, and that ran.
pub fn approved(shop: &Shop, mark: &str) {
    let (psql, id) = held(shop, mark);
    let voted = shop.weir.approve(&shop.token(BOB), &id).unwrap();
    assert_eq!(voted.status, 200, "{voted:?}");
    let out = finish(psql);
    assert!(out.ok(), "{}", out.all());
}

#[test]
fn approved_by_another_person_it_runs_once() {
    let shop = shop("approved");
    let (psql, id) = held(&shop, "mark-approved-51c2");

    // What the approver is shown is what runs.
    let path = format!("/approvals/{id}");
    let detail = shop
        .weir
        .api(&shop.token(BOB), "GET", &path, None)
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(
        detail["statement"]["text"],
        format!("{};", update("mark-approved-51c2")),
        "{detail}"
    );
    assert!(
        detail["fingerprint"].as_str().unwrap().len() == 64,
        "{detail}"
    );

    // Not by the one who asks, whatever groups she is in.
    let also_approver = shop.weir.token(ALICE.0, &["staff", "approvers"]).unwrap();
    let own = shop.weir.approve(&also_approver, &id).unwrap();
    assert!((400..500).contains(&own.status), "{own:?}");
    assert!(!shop.reached("mark-approved-51c2"));

    let voted = shop.weir.approve(&shop.token(BOB), &id).unwrap();
    assert_eq!(voted.status, 200, "{voted:?}");
    let out = finish(psql);
    assert!(
        out.ok() && out.stdout == "UPDATE 1\nafter\n",
        "{}",
        out.all()
    );
    assert_eq!(balance(&shop), "1001");
    assert_eq!(state(&shop, &id), "used");

    // An approval is for one execution: the same text is held again.
    let (again, second) = held(&shop, "mark-approved-51c2-again");
    assert_ne!(second, id);
    drop(again);
}

#[test]
fn denied_it_is_refused_with_the_reason() {
    let shop = shop("denied");
    let (psql, id) = held(&shop, "mark-denied-51c2");
    let voted = shop
        .weir
        .deny(&shop.token(BOB), &id, "not on a Friday")
        .unwrap();
    assert_eq!(voted.status, 200, "{voted:?}");
    let out = finish(psql);
    assert!(
        out.stderr.contains("42501") && out.stderr.contains("not on a Friday"),
        "{}",
        out.all()
    );
    assert!(
        out.stdout.contains("after"),
        "the connection works on: {}",
        out.all()
    );
    assert!(!shop.reached("mark-denied-51c2"));
    assert_eq!(balance(&shop), "1000");
    // A denial is final.
    assert!(shop.weir.approve(&shop.token(OLGA), &id).unwrap().status >= 400);
    assert!(!shop.reached("mark-denied-51c2"));
}

#[test]
fn expired_it_is_refused() {
    let shop = shop_with(
        "expired",
        |bundle| bundle.rules("ttl_seconds", "10"),
        |_| {},
    );
    let (psql, id) = held(&shop, "mark-expired-51c2");
    let out = finish(psql);
    assert!(out.stderr.contains("42501"), "{}", out.all());
    assert!(out.stdout.contains("after"), "{}", out.all());
    assert_eq!(state(&shop, &id), "expired");
    assert!(shop.weir.approve(&shop.token(BOB), &id).unwrap().status >= 400);
    assert!(!shop.reached("mark-expired-51c2"));
    assert_eq!(balance(&shop), "1000");
}

#[test]
fn cancelled_with_ctrl_c_it_is_abandoned() {
    let shop = shop("ctrl-c");
    let (psql, id) = held(&shop, "mark-cancelled-51c2");
    psql.signal(Signal::Int).unwrap();
    let out = finish(psql);
    assert!(out.stderr.contains("57014"), "{}", out.all());
    abandoned(&shop, &id, "mark-cancelled-51c2");
}

#[test]
fn a_client_that_vanishes_abandons_it() {
    let shop = shop("vanished");
    let (psql, id) = held(&shop, "mark-vanished-51c2");
    psql.signal(Signal::Kill).unwrap();
    abandoned(&shop, &id, "mark-vanished-51c2");
}

fn abandoned(shop: &Shop, id: &str, mark: &str) {
    eventually("the hold to be abandoned", SOON, || {
        Ok((state(shop, id) == "abandoned").then_some(()))
    })
    .unwrap();
    // People who come late change nothing.
    assert!(shop.weir.approve(&shop.token(BOB), id).unwrap().status >= 400);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!shop.reached(mark));
    assert_eq!(balance(shop), "1000");
}

#[test]
fn a_held_statement_does_not_hold_up_others() {
    let shop = shop("neighbours");
    let (psql, _id) = held(&shop, "mark-neighbour-51c2");
    let other = shop.psql(ALICE).run("SELECT 'through'").unwrap();
    assert_eq!(other.stdout, "through\n", "{}", other.all());
    drop(psql);
}

/// The approval is for this statement with these parameters: what is bound differently waits anew.
#[test]
fn parameters_are_part_of_what_is_approved() {
    let shop = shop("parameters");
    let token = shop.token(BOB);
    let sql = "UPDATE accounts SET balance = $1 WHERE id = 7";
    let mut alice = shop.connect(ALICE);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| alice.extended(sql, &[Some("5")], 0).unwrap());
        let hold = shop.weir.open_hold(&token).unwrap();
        let id = hold["id"].as_str().unwrap();
        let detail = shop
            .weir
            .api(&token, "GET", &format!("/approvals/{id}"), None)
            .unwrap()
            .ok()
            .unwrap();
        assert_eq!(detail["parameters"][0]["value"], "5", "{detail}");
        shop.weir.approve(&token, id).unwrap().ok().unwrap();
        let reply = first.join().unwrap();
        assert_eq!(reply.tags, ["UPDATE 1"], "{reply:?}");
    });
    assert_eq!(balance(&shop), "5");
}

/// What it would touch is shown to those who decide, and in the record.
#[test]
fn people_see_what_it_would_touch() {
    let shop = shop("touches");
    let (psql, id) = held(&shop, "mark-touches-51c2");
    let bob = shop.token(BOB);
    let path = format!("/approvals/{id}");
    let detail = shop
        .weir
        .api(&bob, "GET", &path, None)
        .unwrap()
        .ok()
        .unwrap();
    let impact = &detail["impact"];
    assert_eq!(impact["rows"], 1, "{impact}");
    let table = &impact["tables"][0];
    assert_eq!(table["table"], "public.accounts", "{impact}");
    assert_eq!(table["lock"], "ROW EXCLUSIVE", "{impact}");
    assert!(table["bytes"].as_u64().unwrap() > 0, "{impact}");
    let shown = shop
        .weir
        .cli(Some(&bob), &["approvals", "show", &id])
        .unwrap();
    assert!(
        shown.stdout.contains("lock ROW EXCLUSIVE"),
        "{}",
        shown.all()
    );
    shop.weir.approve(&bob, &id).unwrap();
    assert!(finish(psql).ok());
}

/// Nobody has decided when Weir is killed: what was held is on record all the same, and nobody can approve it now.
#[test]
fn held_when_weir_is_killed_it_is_on_record_without_an_end() {
    let mut shop = shop("held-kill-9");
    let mark = "mark-killed-51c2";
    let (psql, id) = held(&shop, mark);
    shop.weir.kill_9().unwrap();
    let out = finish(psql);
    assert!(!out.ok() && !out.stdout.contains("UPDATE"), "{}", out.all());
    shop.weir.launch().unwrap();
    let text = "UPDATE accounts SET balance = balance + 1 WHERE id = 7";
    crate::held::is_on_record_without_an_end(&shop.weir, &shop.token(OLGA), &id, text);
    assert_eq!(state(&shop, &id), "abandoned");
    assert!(shop.weir.approve(&shop.token(BOB), &id).unwrap().status >= 400);
    assert!(!shop.reached(mark));
    assert_eq!(balance(&shop), "1000");
}
