//! `[ssh.device]`: who may be sent where to log in.

use std::time::Duration;

use super::{GOOD, ISSUER, parse};

const LISTENER: &str =
    "[[ssh.listener]]\nlisten = \"127.0.0.1:2222\"\nauth = [\"certificate\", \"device\"]\n";
const SECOND: &str = "[[identity.issuer]]\nissuer = \"https://ci.example\"\naudience = \"weir\"\n\
                      subject_prefix = \"ci:\"\ngroup_prefix = \"ci:\"\n";
const DEVICE: &str = "[ssh.device]\nclient_id = \"weir-ssh\"\n";

#[test]
fn the_one_issuer_is_meant_and_others_are_named() {
    let ssh = parse(&format!("{GOOD}{ISSUER}{LISTENER}{DEVICE}"))
        .unwrap()
        .ssh;
    let device = ssh.device.unwrap();
    assert_eq!(device.issuer, "https://login.example");
    assert_eq!(
        (device.client_id.as_str(), device.scope.as_str()),
        ("weir-ssh", "openid")
    );
    assert_eq!(device.wait, Duration::from_secs(300));
    let more = "issuer = \"https://ci.example\"\nscope = \"openid groups\"\nwait_seconds = 60\n\
                audience = \"weir\"\nclient_secret = \"hunter2-of-the-provider\"\n";
    let config = parse(&format!("{GOOD}{ISSUER}{SECOND}{LISTENER}{DEVICE}{more}")).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let device = config.ssh.device.unwrap();
    assert_eq!(device.issuer, "https://ci.example");
    assert_eq!(
        device.client_secret.unwrap().expose(),
        "hunter2-of-the-provider"
    );
    assert_eq!(device.wait, Duration::from_secs(60));
    // Nobody is sent anywhere unless it is written down.
    let listener = LISTENER.replace("auth = [\"certificate\", \"device\"]\n", "");
    let ssh = parse(&format!("{GOOD}{ISSUER}{listener}")).unwrap().ssh;
    assert!(ssh.device.is_none());
    assert!(
        !ssh.listeners[0]
            .logins
            .contains(&proto_ssh::ClientLogin::Device)
    );
}

#[test]
fn what_nobody_could_come_in_by_is_refused() {
    let jwks = "[[identity.issuer]]\nissuer = \"urn:of:nobody\"\naudience = \"weir\"\n\
                jwks_uri = \"https://keys.example\"\n";
    let listener = LISTENER.replace("[\"certificate\", \"device\"]", "\"certificate\"");
    for (what, text, expect) in [
        (
            "no table",
            format!("{ISSUER}{LISTENER}"),
            "ssh.listener[0].auth: \"device\" needs [ssh.device]",
        ),
        (
            "no listener",
            format!("{ISSUER}{listener}{DEVICE}"),
            "ssh.device: no [[ssh.listener]] has",
        ),
        (
            "no issuer",
            format!("{LISTENER}{DEVICE}"),
            "ssh.device.issuer: name the one",
        ),
        (
            "two issuers",
            format!("{ISSUER}{SECOND}{LISTENER}{DEVICE}"),
            "ssh.device.issuer: name the one",
        ),
        (
            "a foreign issuer",
            format!("{ISSUER}{LISTENER}{DEVICE}issuer = \"https://evil.example\"\n"),
            "ssh.device.issuer: this is not one of",
        ),
        (
            "an issuer that is no place",
            format!("{jwks}{LISTENER}{DEVICE}"),
            "ssh.device.issuer: nobody can",
        ),
        (
            "no client",
            format!("{ISSUER}{LISTENER}[ssh.device]\nscope = \"openid\"\n"),
            "client_id",
        ),
        (
            "an empty client",
            format!("{ISSUER}{LISTENER}[ssh.device]\nclient_id = \"\"\n"),
            "ssh.device.client_id: it is empty",
        ),
        (
            "too long a wait",
            format!("{ISSUER}{LISTENER}{DEVICE}wait_seconds = 901\n"),
            "ssh.device.wait_seconds: 901 is not between 30 and 900",
        ),
    ] {
        let error = parse(&format!("{GOOD}{text}")).expect_err(what).to_string();
        assert!(error.contains(expect), "{what}: {error}");
    }
}
