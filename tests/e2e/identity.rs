//! Who somebody is, by tokens of a certified OpenID provider: people, machines, agents that act for
//! people, and keys that change.

use std::time::Duration;

use weir_tests::oidc::Provider;
use weir_tests::proc::eventually;
use weir_tests::psql::{Output, Psql};

use crate::shop::{OLGA, Shop, shop_with};

/// An unknown key makes Weir ask the provider again, at most every ten seconds.
const KEYS_ARE_OLD: Duration = Duration::from_secs(11);
const SOON: Duration = Duration::from_secs(20);

/// bob's groups reach one table; ci-job is let in.
const GRANTS: &str = r#"
@id("grant.e2e.eng")
permit (principal in Group::"eng",
        action in [Action::"connect", Action::"read"], resource in Target::"orders-prod")
unless { resource is Pg::Table && resource.name == "customers" };

@id("grant.e2e.robots")
permit (principal in Group::"robots",
        action in [Action::"connect", Action::"read"], resource in Target::"orders-prod");
"#;

/// Weir that trusts the provider, and knows the agent `copilot`.
fn openid(name: &str) -> (Provider, Shop) {
    let provider = Provider::start().unwrap();
    let shop = shop_with(
        name,
        |bundle| bundle.add("openid.cedar", GRANTS),
        |setup| {
            setup.tls = true;
            setup.extra = provider.configuration()
                + "[[identity.actor]]\nsubject = \"copilot\"\ngroups = [\"agents\"]\n";
        },
    );
    (provider, shop)
}

fn ask(shop: &Shop, token: &str, sql: &str) -> Output {
    shop.weir.psql("whoever", token).run(sql).unwrap()
}

fn assert_let_in(shop: &Shop, token: &str) {
    let out = ask(shop, token, "SELECT 'in'");
    assert!(out.ok() && out.stdout == "in\n", "{}", out.all());
}

fn assert_kept_out(shop: &Shop, token: &str) {
    let out = ask(shop, token, "SELECT 'in'");
    assert_eq!(out.status.code(), Some(2), "{}", out.all());
    assert!(out.stdout.is_empty(), "{}", out.all());
}

#[test]
fn psql_with_a_token_of_a_real_openid_provider() {
    let (provider, shop) = openid("openid");
    let token = provider.login("alice").unwrap();
    let psql = shop.weir.psql("alice", &token);
    let out = psql
        .run("SELECT 'in', count(*) FROM customers; SELECT id, name FROM customers WHERE id = 3;");
    let out = out.unwrap();
    assert!(out.ok(), "{}", out.all());
    assert_eq!(out.stdout, "in|20\n3|Customer 3\n");
    assert_let_in(&shop, &provider.machine("ci-job").unwrap());

    // The provider's word is needed for every part of it.
    let stranger = provider.login("eve").unwrap();
    let (head, _) = token.rsplit_once('.').unwrap();
    for (who, password) in [
        ("no token", String::new()),
        ("not a token", "hunter2".into()),
        ("a token without signature", format!("{head}.")),
        (
            "somebody else's signature",
            format!("{head}.{}", stranger.rsplit_once('.').unwrap().1),
        ),
        ("no group", stranger.clone()),
    ] {
        let out = Psql {
            password,
            ..psql.clone()
        }
        .run("SELECT 1")
        .unwrap();
        assert_eq!(out.status.code(), Some(2), "{who}: {}", out.all());
        assert!(out.stdout.is_empty(), "{who}: {}", out.all());
    }
}

#[test]
fn keys_that_the_provider_rotates() {
    let (provider, shop) = openid("rotation");
    let first = provider.login("alice").unwrap();
    assert_let_in(&shop, &first);

    // A new key, of which Weir learns by the first token that it signed.
    provider.rotate(true).unwrap();
    let second = provider.login("alice").unwrap();
    std::thread::sleep(KEYS_ARE_OLD);
    assert_let_in(&shop, &second);
    assert_let_in(&shop, &first);

    // Another one, and the old ones are withdrawn: what they signed is worth nothing any more.
    provider.rotate(false).unwrap();
    let third = provider.login("alice").unwrap();
    std::thread::sleep(KEYS_ARE_OLD);
    assert_let_in(&shop, &third);
    assert_kept_out(&shop, &second);
    assert_kept_out(&shop, &first);
}

#[test]
fn an_agent_that_acts_for_a_person_is_both() {
    let (provider, shop) = openid("agent");
    let alice = provider.login("alice").unwrap();
    let for_alice = provider.exchange("copilot", &alice).unwrap();
    // What both may do, masked, on record with both.
    let out = ask(
        &shop,
        &for_alice,
        "SELECT id, name, ssn FROM customers WHERE id = 3",
    );
    assert_eq!(out.stdout, "3|Customer 3|[redacted]\n", "{}", out.all());
    let olga = shop.token(OLGA);
    let session = shop.weir.session_of(&olga, "copilot").unwrap();
    let text = eventually("the transcript", SOON, || {
        let out = shop.weir.cli(None, &["replay", &session])?;
        Ok(out.stdout.contains("Customer 3").then_some(out.stdout))
    })
    .unwrap();
    for told in [
        "Agent copilot [agents]\n",
        "on behalf of User alice [approvers, staff]\n",
        "by policy    grant.agents.read, grant.e2e.staff\n",
    ] {
        assert!(text.contains(told), "{told:?} is not in\n{text}");
    }

    // What the person may do and the agent may not: a change waits for somebody else.
    let psql = shop
        .weir
        .psql("copilot", &for_alice)
        .spawn("INSERT INTO probe VALUES ('by an agent')")
        .unwrap();
    let hold = shop.weir.open_hold(&olga).unwrap();
    assert_eq!(hold["principal"], "copilot", "{hold}");
    let id = hold["id"].as_str().unwrap();
    let detail = shop
        .weir
        .api(&olga, "GET", &format!("/approvals/{id}"), None)
        .unwrap()
        .ok()
        .unwrap();
    assert!(detail["chain"].to_string().contains("alice"), "{detail}");
    // That is not the person whom it acts for, though she is one of the approvers.
    let own = shop.weir.approve(&alice, id).unwrap();
    assert_eq!(own.status, 403, "{own:?}");
    assert!(own.text.contains("in their name"), "{own:?}");
    assert_eq!(shop.direct("SELECT count(*) FROM probe"), "0");
    shop.weir.approve(&olga, id).unwrap().ok().unwrap();
    let out = psql.wait(SOON).unwrap();
    assert_eq!(out.stdout, "INSERT 0 1\n", "{}", out.all());
}

#[test]
fn an_agent_may_not_do_what_its_person_may_not() {
    let (provider, shop) = openid("agent-refused");
    let bob = provider.login("bob").unwrap();
    let for_bob = provider.exchange("copilot", &bob).unwrap();
    let out = ask(
        &shop,
        &for_bob,
        "SELECT count(*) FROM orders; SELECT count(*) FROM customers;",
    );
    assert_eq!(out.stdout, "300\n", "{}", out.all());
    assert!(out.stderr.contains("42501"), "{}", out.all());
    assert!(out.stderr.contains("bob"), "{}", out.all());

    // Who has no right to connect lends none, and an agent that nobody knows is let in for nobody.
    let eve = provider.login("eve").unwrap();
    assert_kept_out(&shop, &provider.exchange("copilot", &eve).unwrap());
    assert_kept_out(&shop, &provider.exchange("planner", &bob).unwrap());
    // A chain: the planner let the copilot act for alice. One unknown link is enough.
    let alice = provider.login("alice").unwrap();
    let planner = provider.exchange("planner", &alice).unwrap();
    assert_kept_out(&shop, &provider.exchange("copilot", &planner).unwrap());
    assert_let_in(&shop, &provider.exchange("copilot", &alice).unwrap());
}
