//! By what somebody came in: what policies can ask of it, and bundles from before they could.

use pipeline::{Access, Action, Login, Proof, Resource};

use super::kit::{Ask, default_files, host, only, short, small, user, with};

const SCHEMA: &str = "schema.cedarschema";
/// As in the README.
const CERTIFICATE: &str = r#"
    @id("grant.all") permit (principal in Group::"g", action in Action::"any", resource);
    @id("guard.prod-certificate")
    @reason("production is open to certificates only: weir login, then ssh as before")
    forbid (principal, action in Action::"ssh", resource)
    when { resource.env == Env::"prod" }
    unless { context.base has login && context.base.login == Login::"certificate" };
"#;
const HARDWARE: &str = r#"
    @id("grant.all") permit (principal in Group::"g", action in Action::"any", resource);
    @id("guard.hardware") @reason("r") forbid (principal, action in Action::"ssh", resource)
    unless {
      context.base.amr.contains("hwk") || context.base has acr && context.base.acr == "gold"
    };
"#;

fn ask(env: &str, proof: Proof) -> Ask {
    let account = Access {
        action: Action::SshConnect,
        resource: Resource::SshAccount {
            login: "app".into(),
        },
        target: Some(host(env)),
    };
    let mut ask = Ask::new(user("erin", &["g"]), &[account]);
    ask.principal.proof = proof;
    ask.facts = None;
    ask
}

/// Asked in turns, so that no decision is that of another login.
#[test]
fn production_only_by_certificate() {
    let bundle = only(CERTIFICATE);
    let logins = Login::ALL.into_iter().map(Some).chain([None]);
    for _ in 0..2 {
        for login in logins.clone() {
            let proof = Proof {
                login,
                ..Proof::default()
            };
            let expect = match login {
                Some(Login::Certificate) => "permit",
                _ => "deny",
            };
            let ruling = ask("prod", proof.clone()).of(&bundle);
            assert_eq!(short(&ruling), expect, "{login:?}");
            assert_eq!(short(&ask("dev", proof).of(&bundle)), "permit", "{login:?}");
        }
    }
}

#[test]
fn what_the_token_says_of_its_persons_login() {
    let bundle = only(HARDWARE);
    for (amr, acr, expect) in [
        (&["hwk", "pin"][..], None, "permit"),
        (&["pwd"], None, "deny"),
        (&["hw", "k"], None, "deny"),
        (&["pwd"], Some("gold"), "permit"),
        (&["gold"], None, "deny"),
        (&[], None, "deny"),
    ] {
        let proof = Proof {
            login: Some(Login::Token),
            amr: amr.iter().map(|method| (*method).into()).collect(),
            acr: acr.map(Into::into),
        };
        let ruling = ask("prod", proof).of(&bundle);
        assert_eq!(short(&ruling), expect, "{amr:?} {acr:?}");
    }
}

/// What there is of it in the schema.
const DECLARED: [&str; 4] = ["entity Login ", "  login?: ", "  amr: ", "  acr?: "];

/// The schema without the lines that begin so.
fn without(gone: &[&str]) -> String {
    let schema = default_files()[SCHEMA].clone();
    let stays = |line: &&str| !gone.iter().any(|begin| line.starts_with(begin));
    schema
        .lines()
        .filter(stays)
        .map(|l| format!("{l}\n"))
        .collect()
}

#[test]
fn a_schema_from_before_is_told_nothing_of_logins() {
    let grant =
        r#"@id("grant.g") permit (principal in Group::"g", action in Action::"any", resource);"#;
    let files = [(SCHEMA, &*without(&DECLARED)), ("g.cedar", grant)];
    let bundle = small(&files).unwrap_or_else(|e| panic!("{e}"));
    let by = ask("prod", Login::Key.into());
    assert_eq!(short(&by.of(&bundle)), "permit");
    with(&[(SCHEMA, &without(&DECLARED))]).unwrap_or_else(|e| panic!("{e}"));
    // Whole or not at all.
    let few = default_files()[SCHEMA].replace(", \"mtls\"]", "]");
    for (schema, expect) in [
        (few, "the enumeration Login lacks \"mtls\""),
        (without(&["  amr: "]), "does not fit: context"),
        (without(&["  acr?: "]), "does not fit: context"),
        (without(&["  login?: "]), "does not fit: context"),
    ] {
        let made = small(&[(SCHEMA, &schema)]).map(|_| ());
        let error = made.expect_err(expect).to_string();
        assert!(error.contains(expect), "{expect}: {error}");
    }
}

/// A bundle's own tests say by what somebody came in.
#[test]
fn tests_of_a_bundle_name_logins() {
    let test = |how: &str, expect: &str| {
        format!(
            "[[test]]\nname = \"x\"\nas = {{ user = \"erin\", groups = [\"g\"] }}\n{how}\n\
             action = \"ssh:connect\"\non = {{ host = {{ account = true }} }}\nexpect = \"{expect}\"\n"
        )
    };
    let run = |policies: &str, how: &str, expect: &str| {
        let files = [("x.cedar", policies), ("tests/x.toml", &test(how, expect))];
        small(&files).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(run(CERTIFICATE, "by = \"certificate\"", "permit"), Ok(()));
    assert_eq!(run(CERTIFICATE, "by = \"key\"", "deny"), Ok(()));
    assert_eq!(run(CERTIFICATE, "", "deny"), Ok(()));
    assert!(run(CERTIFICATE, "by = \"key\"", "permit").is_err());
    let error = run(CERTIFICATE, "by = \"passwort\"", "deny").unwrap_err();
    assert!(error.contains("one of certificate, key"), "{error}");
    assert_eq!(run(HARDWARE, "amr = [\"hwk\"]", "permit"), Ok(()));
    assert_eq!(run(HARDWARE, "acr = \"gold\"", "permit"), Ok(()));
    assert_eq!(run(HARDWARE, "amr = [\"gold\"]", "deny"), Ok(()));
}
