//! A bundle has the recordings of a target kept for longer than the vault keeps everything: from the upload
//! by one, over the activation by another, to what the store says of each object.

use std::time::Duration;

use serde_json::json;
use weir_tests::bundle::Bundle;
use weir_tests::proc::eventually;
use weir_tests::stores::{ACCESS_KEY, Make, SECRET_KEY, Server};

use crate::evidence::{transcript, verify};
use crate::shop::{ALICE, OLGA, OTTO, Person, Shop, not_installed, shop_with};

const LIVE: &str = "live";
const VAULT: &str = "vault";
const SOON: Duration = Duration::from_secs(60);
/// Has sessions erased.
const PAULA: Person = ("paula@example.test", &["data-protection"]);

fn retention(target: &str, days: u32) -> String {
    format!("\n[[retention]]\ntarget = \"{target}\"\ndays = {days}\n")
}

/// Both buckets on one server; everything is kept for three days.
fn recording(server: &Server) -> String {
    let bucket = |name: &str| {
        format!(
            "{{ s3 = {{ bucket = \"{name}\", endpoint = \"http://127.0.0.1:{}\", region = \"us-east-1\", \
             access_key_id = \"{ACCESS_KEY}\", secret_access_key = \"{SECRET_KEY}\", allow_http = true }}",
            server.port
        )
    };
    format!(
        "segment_seconds = 1\nstore = {} }}\n\
         vault = {}, retention = {{ mode = \"governance\", days = 3 }} }}\n",
        bucket(LIVE),
        bucket(VAULT)
    )
}

/// In how many days each object of the vault whose key holds this may go, and whether it may go now.
fn kept(server: &Server, holds: &str) -> Vec<(u32, String)> {
    let said = server.boto(&format!(
        "import datetime\n\
         from botocore.exceptions import ClientError\n\
         now = datetime.datetime.now(datetime.timezone.utc)\n\
         pages = s3.get_paginator('list_objects_v2').paginate(Bucket='{VAULT}')\n\
         for o in [o for p in pages for o in p.get('Contents', []) if '{holds}' in o['Key']]:\n\
         \x20 head = s3.head_object(Bucket='{VAULT}', Key=o['Key'])\n\
         \x20 gone = 'gone'\n\
         \x20 try: s3.delete_object(Bucket='{VAULT}', Key=o['Key'], VersionId=head['VersionId'])\n\
         \x20 except ClientError: gone = 'locked'\n\
         \x20 print(int((head['ObjectLockRetainUntilDate'] - now).total_seconds() / 86400), gone)\n"
    ));
    let said = said.unwrap();
    let lines = said.lines().map(|line| {
        let (days, gone) = line.split_once(' ').unwrap();
        (days.parse().unwrap(), gone.to_owned())
    });
    lines.collect()
}

/// Uploads it; gives its version, or what is wrong with it.
fn upload(shop: &Shop, bundle: &Bundle) -> Result<u64, String> {
    let body = Some(bundle.upload("from a test"));
    let answer = shop.weir.api(&shop.token(OLGA), "POST", "/bundles", body);
    let answer = answer.unwrap();
    let info = answer.ok().map_err(|error| error.to_string())?;
    Ok(info["version"].as_u64().unwrap())
}

fn session(shop: &Shop, mark: &str) -> String {
    let out = shop.psql(ALICE).run(&format!("SELECT '{mark}';\n"));
    assert!(out.unwrap().stdout.contains(mark));
    shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap()
}

#[test]
fn a_bundle_keeps_the_sessions_of_a_target_longer() {
    if !Make::Moto.is_installed() {
        return not_installed("moto");
    }
    let server = Server::start(Make::Moto).unwrap();
    server.make_bucket(LIVE, false).unwrap();
    server.make_bucket(VAULT, true).unwrap();
    let mut shop = shop_with(
        "retention",
        |bundle| bundle.add("bundle.toml", &retention("orders-*", 40)),
        |setup| setup.recording = recording(&server),
    );
    // Open while the bundle changes.
    let mut alice = shop.connect(ALICE);
    alice.query("SELECT 'before'").unwrap();
    let first = shop.weir.session_of(&shop.token(OLGA), ALICE.0).unwrap();

    let mut bundle = shop.bundle.clone();
    bundle.add("bundle.toml", &retention("*", 2));
    let refused = upload(&shop, &bundle).unwrap_err();
    assert!(refused.contains("less than the vault's 3"), "{refused}");
    assert!(refused.contains("bundle.toml"), "{refused}");
    let mut bundle = shop.bundle.clone();
    bundle.add("bundle.toml", &retention("ORDERS-prod", 90));
    bundle.add("bundle.toml", &retention("no-such", 5));
    let version = upload(&shop, &bundle).unwrap();
    let otto = shop.token(OTTO);
    let diff = format!("/bundles/{version}/diff");
    let diff = shop.weir.api(&otto, "GET", &diff, None).unwrap().ok();
    let diff = diff.unwrap()["changes"].to_string();
    assert!(
        diff.contains("retention of ORDERS-prod") && diff.contains("90 days"),
        "{diff}"
    );
    let activate = format!("/bundles/{version}/activate");
    let body = Some(json!({"reason": "reviewed"}));
    let done = shop.weir.api(&otto, "POST", &activate, body).unwrap();
    assert_eq!(done.status, 200, "{done:?}");

    alice.query("SELECT 'after'").unwrap();
    drop(alice);
    let second = session(&shop, "the second");
    for (id, holds, days) in [(&first, "'after'", 40), (&second, "the second", 90)] {
        let text = transcript(&shop.weir, id, holds);
        let said = format!("at least {days} days");
        assert!(text.contains(&said), "{text}");
        let stored = eventually("its segments in the vault", SOON, || {
            let stored = kept(&server, id);
            Ok((!stored.is_empty()).then_some(stored))
        });
        for (left, gone) in stored.unwrap() {
            assert!(
                (days..=days + 1).contains(&left) && gone == "locked",
                "{id}: {left}"
            );
        }
    }
    // However long its segments are kept, a session can be erased.
    let paula = shop.token(PAULA);
    let args = ["erase", &second, "--reason", "request 4711"];
    eventually("the second is erased", SOON, || {
        let out = shop.weir.cli(Some(&paula), &args)?;
        Ok(out.all().contains("is erased: leaf ").then_some(()))
    })
    .unwrap();
    assert!(!kept(&server, &second).is_empty());
    shop.weir.stop();
    // Of what is of no session nothing is kept for longer.
    for (left, gone) in ["log/", "ctl/", "registry/", "bundles/", "plugins/"]
        .iter()
        .flat_map(|root| kept(&server, root))
    {
        assert!((3..=4).contains(&left) && gone == "locked", "{left} {gone}");
    }
    let (ok, said) = verify(&shop.weir);
    assert!(ok, "{said}");

    // What people activated is held to what the vault is at the next start, too.
    let config = std::fs::read_to_string(&shop.weir.config).unwrap();
    let longer = config.replace("days = 3 ", "days = 7 ");
    assert_ne!(config, longer);
    std::fs::write(&shop.weir.config, longer).unwrap();
    let out = shop.weir.cli(None, &["check-config"]).unwrap();
    let said = out.all();
    assert!(
        !out.ok() && said.contains("less than the vault's 7"),
        "{said}"
    );
    shop.weir.launch().unwrap();
    let out = shop.psql(ALICE).run("SELECT 'in spite of it';\n").unwrap();
    let said = out.all();
    assert!(
        !out.ok() && said.contains("no policies to decide by"),
        "{said}"
    );
    shop.weir.stop();
    // And so is what the configuration brings.
    std::fs::write(&shop.weir.config, config.replace("days = 3 ", "days = 41 ")).unwrap();
    assert!(shop.weir.launch().is_err());
    let log = shop.weir.log();
    assert!(log.contains("less than the vault's 41"), "{log}");
}
