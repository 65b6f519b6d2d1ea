//! The record on its way to a SIEM: real statements as OCSF events, none lost by a crash or an outage.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use weir_tests::http::base64;
use weir_tests::proc::eventually;
use weir_tests::receiver::{Receiver, Request};

use crate::packages::ocsf;
use crate::shop::{ALICE, MALLORY, OLGA, Shop, shop_with};

pub const LIMIT: Duration = Duration::from_secs(40);

pub fn webhook(name: &str, port: u16) -> String {
    format!(
        "[[delivery]]\nname = \"{name}\"\nkind = \"webhook\"\n\
         url = \"http://127.0.0.1:{port}/siem\"\nsecret = {{ env = \"SIEM_SECRET\" }}\n"
    )
}

pub fn stage(name: &str, tables: String, secret: &str) -> Shop {
    shop_with(
        name,
        |_| {},
        |setup| {
            setup.extra = tables;
            setup.vars.push(("SIEM_SECRET".into(), secret.into()));
        },
    )
}

pub fn events(request: &Request) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    if let Some(records) = records.as_array() {
        let event = |record: &Value| {
            let text = record["body"]["stringValue"].as_str().unwrap();
            serde_json::from_str(text).unwrap()
        };
        return records.iter().map(event).collect();
    }
    assert_eq!(body["type"], "ocsf.events", "{body}");
    body["data"].as_array().unwrap().clone()
}

/// What counts as delivered: the events of a request that was answered with yes.
pub fn taken(request: &Request) -> Vec<Value> {
    let events = events(request);
    match (200..300).contains(&request.status) {
        true => events,
        false => Vec::new(),
    }
}

pub fn uid(event: &Value) -> String {
    event["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// What `weir deliveries` says of one receiver.
pub fn status(shop: &Shop, token: &str, name: &str) -> Value {
    let out = shop.weir.cli(Some(token), &["deliveries", "--json"]);
    let out = out.unwrap();
    assert!(out.ok(), "{}", out.all());
    let page: Value = serde_json::from_str(&out.stdout).unwrap();
    let items = page["items"].as_array().unwrap();
    items.iter().find(|d| d["name"] == name).unwrap().clone()
}

/// Everything on record up to now is delivered.
pub fn caught_up(shop: &Shop, token: &str, name: &str) {
    eventually("the receiver has everything", LIMIT, || {
        Ok((status(shop, token, name)["lag_leaves"] == 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_crash_between_sending_and_noting_it_loses_nothing() {
    // Some are not heard, so that there is always something on its way.
    let receiver = Receiver::start(vec![204, 500, 204, 503, 204, 500]).unwrap();
    let secret = format!("whsec_{}", base64(b"key of the deliveries' e2e test 1"));
    // And one that nobody listens at, which is nobody else's trouble.
    let tables = webhook("siem", receiver.port) + &webhook("nobody", 1);
    let mut shop = stage("deliveries", tables, &secret);
    for round in 0..3 {
        for n in 0..10 {
            let sql = format!("SELECT 'hidden-{round}-{n}', name FROM customers WHERE id = {n}");
            let out = shop.psql(ALICE).run(&sql).unwrap();
            assert!(out.ok(), "{}", out.all());
        }
        shop.psql(MALLORY).run("SELECT 1").unwrap();
        shop.weir.kill_9().unwrap();
        shop.weir.launch().unwrap();
    }
    let token = shop.token(OLGA);
    shop.psql(ALICE).run("SELECT 1").unwrap();
    // What is recorded is signed, and then delivered, about a second later.
    let mut all = Vec::new();
    let told = eventually("everything is told", LIMIT, || {
        while let Ok(request) = receiver.next(Duration::from_millis(50)) {
            assert!(request.header("webhook-signature").starts_with("v1,"));
            all.extend(taken(&request));
        }
        let starts: BTreeSet<String> = all.iter().filter(|e| is_start(e)).map(uid).collect();
        Ok((starts.len() == 4).then_some(()))
    });
    let kinds: Vec<String> = all
        .iter()
        .map(|e| format!("{} {}", uid(e), e["unmapped"]["leaf"]))
        .collect();
    assert!(told.is_ok(), "{kinds:#?}");
    caught_up(&shop, &token, "siem");
    shop.weir.stop();
    while let Ok(request) = receiver.next(Duration::from_secs(1)) {
        all.extend(taken(&request));
    }
    let text = whole(&shop, all);
    assert!(!text.contains(&secret), "the secret has left the house");
    let selects = text.lines().filter(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["unmapped"]["leaf"] == "request" && event["activity_id"] == 1
    });
    let selects = selects.count();
    assert!(selects >= 31, "{selects} of 31 statements");
    assert!(!shop.weir.log().contains(&secret));
}

/// All of the record was delivered, as a package has it, and nothing else; gives it as lines.
pub fn whole(shop: &Shop, mut all: Vec<Value>) -> String {
    // Once each, in the order of each log; no leaf of any log that has events is missing.
    let mut seen = BTreeSet::new();
    all.retain(|event| seen.insert(uid(event)));
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let text = lines.join("\n") + "\n";
    ocsf(&text, &["3002", "3003", "6002", "6003", "6005"]);
    for hidden in ["hidden-", ALICE.0, MALLORY.0] {
        assert!(!text.contains(hidden), "{hidden} has left the house");
    }
    assert!(!text.contains("\"missing\""));
    // What a package says of the same logs is the same, up to where this one went.
    let packaged = packaged(shop);
    let delivered: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = packaged.lines().collect();
    assert!(
        delivered.is_subset(&known),
        "an event is another than in the package"
    );
    // What is left was recorded while Weir ended.
    for line in known.difference(&delivered) {
        let event: Value = serde_json::from_str(line).unwrap();
        let kind = event["unmapped"]["leaf"].as_str().unwrap();
        let late = ["control", "recorder.stop", "session.end", "result"];
        assert!(late.contains(&kind), "not delivered: {line}");
    }
    text
}

/// The events of a package of everything.
fn packaged(shop: &Shop) -> String {
    let zip = zip(shop);
    std::fs::remove_file(&zip).ok();
    let config = shop.weir.config.display().to_string();
    let range = ["--from", "2020-01-01", "--to", "2099-01-01"];
    let args = [
        "evidence",
        "--offline",
        "--config",
        &config,
        "--sample",
        "0",
        "--out",
        &zip,
    ];
    let out = shop.weir.bare_cli(&[&args[..], &range[..]].concat());
    let out = out.unwrap();
    assert!(out.ok(), "{}", out.all());
    let unzip = std::process::Command::new("python3")
        .args(["-c", "import sys,zipfile; sys.stdout.write(zipfile.ZipFile(sys.argv[1]).read('ocsf.jsonl').decode())"])
        .arg(&zip)
        .output()
        .unwrap();
    String::from_utf8(unzip.stdout).unwrap()
}

pub fn is_start(event: &Value) -> bool {
    event["unmapped"]["leaf"] == "recorder.start"
}

fn zip(shop: &Shop) -> String {
    shop.weir.home.join("all.zip").display().to_string()
}

#[test]
fn who_may_see_how_far_they_are() {
    let secret = format!("whsec_{}", base64(b"key of the deliveries' e2e test 2"));
    let shop = stage("deliveries-status", webhook("nobody", 1), &secret);
    shop.psql(ALICE).run("SELECT 1").unwrap();
    let refused = shop
        .weir
        .cli(Some(&shop.token(ALICE)), &["deliveries"])
        .unwrap();
    assert!(
        !refused.ok() && refused.all().contains("403"),
        "{}",
        refused.all()
    );
    let token = shop.token(OLGA);
    let waiting = eventually("it waits", LIMIT, || {
        let status = status(&shop, &token, "nobody");
        Ok((status["state"] == "waiting").then_some(status))
    })
    .unwrap();
    assert!(waiting["lag_leaves"].as_u64() > Some(0), "{waiting}");
    assert_eq!(waiting["set_aside"], 0, "{waiting}");
    assert!(waiting["last_error"].is_string(), "{waiting}");
    let text = shop.weir.cli(Some(&token), &["deliveries"]).unwrap().all();
    assert!(text.contains("nobody  webhook  Waiting  lag "), "{text}");
    assert!(!shop.weir.log().contains(&secret));
}
