//! What an outside system is told of holds: signed as Standard Webhooks ask for, checked here by
//! openssl and not by anything of Weir's.

use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use weir_tests::http::base64;
use weir_tests::receiver::{Receiver, Request};

use crate::shop::{ALICE, BOB, shop_with};

const KEY: &[u8; 32] = b"key of the webhook's e2e test 01";
/// The second attempt comes after five seconds.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_hold_is_told_signed_and_told_again_when_it_was_not_heard() {
    let receiver = Receiver::start(vec![500]).unwrap();
    let secret = format!("whsec_{}", base64(KEY));
    let shop = shop_with(
        "webhook",
        |_| {},
        |setup| {
            setup.extra = format!(
                "[webhook]\nurl = \"http://127.0.0.1:{}/weir\"\n\
                 secret = {{ env = \"WEBHOOK_SECRET\" }}\n",
                receiver.port
            );
            setup.vars.push(("WEBHOOK_SECRET".into(), secret.clone()));
        },
    );
    let sql = "UPDATE accounts SET balance = 0 WHERE id = 9";
    let psql = shop.psql(ALICE).spawn(sql).unwrap();
    let hold = shop.weir.open_hold(&shop.token(BOB)).unwrap();
    let id = hold["id"].as_str().unwrap();

    let first = receiver.next(SOON).unwrap();
    let again = receiver.next(SOON).unwrap();
    assert_eq!(
        (first.header("webhook-id"), &first.body),
        (again.header("webhook-id"), &again.body),
        "a second attempt is the same message"
    );
    for request in [&first, &again] {
        assert_eq!(request.path, "/weir");
        assert_signed(request);
    }
    let told: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(told["type"], "hold.opened", "{told}");
    let data = &told["data"];
    assert_eq!(data["id"], id, "{told}");
    assert_eq!(data["principal"], ALICE.0, "{told}");
    assert_eq!(data["target"], "orders-prod", "{told}");
    assert_eq!(data["rules"][0], "prod-bulk-write", "{told}");
    assert_eq!(data["statement"]["text"], sql, "{told}");

    shop.weir
        .deny(&shop.token(BOB), id, "not now")
        .unwrap()
        .ok()
        .unwrap();
    let decided = receiver.next(SOON).unwrap();
    assert_signed(&decided);
    assert_ne!(decided.header("webhook-id"), first.header("webhook-id"));
    let told: Value = serde_json::from_slice(&decided.body).unwrap();
    assert_eq!(told["type"], "hold.decided", "{told}");
    assert_eq!(told["data"]["id"], id, "{told}");
    assert_eq!(told["data"]["outcome"], "denied", "{told}");
    assert_eq!(told["data"]["decided_by"], BOB.0, "{told}");
    let out = psql.wait(SOON).unwrap();
    assert!(out.stderr.contains("not now"), "{}", out.all());
    assert!(!shop.weir.log().contains(&secret));
}

/// The signature is that of `id.timestamp.body`, the time is now, and anything else has another.
fn assert_signed(request: &Request) {
    let id = request.header("webhook-id");
    let timestamp = request.header("webhook-timestamp");
    let signature = request.header("webhook-signature");
    assert!(!id.is_empty(), "{request:?}");
    let sent = Duration::from_secs(timestamp.parse().unwrap());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(now.abs_diff(sent) < Duration::from_secs(60), "{timestamp}");
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert_eq!(signature, sign(&format!("{id}.{timestamp}.{body}")));
    assert_ne!(signature, sign(&format!("{id}.{timestamp}.{body} ")));
}

/// What openssl says.
fn sign(message: &str) -> String {
    let hex: String = KEY.iter().map(|b| format!("{b:02x}")).collect();
    let out = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-binary", "-macopt"])
        .arg(format!("hexkey:{hex}"))
        .stdin(Stdio::from(weir_tests::postgres::input(message).unwrap()))
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    format!("v1,{}", base64(&out.stdout))
}
