//! `[ssh.authority]`, and how callers log in.

use std::time::Duration;

use proto_ssh::Binary;

use super::{GOOD, parse};

#[test]
fn an_authority_is_there_only_where_it_is_written_down() {
    assert!(parse(GOOD).unwrap().ssh_authority.is_none());
    let config = parse(&format!("{GOOD}[ssh.authority]\n")).unwrap();
    let authority = config.ssh_authority.unwrap();
    assert_eq!(
        authority.options.caller_validity,
        Duration::from_secs(8 * 3600)
    );
    assert!(authority.options.directory.ends_with("data/ssh"));
    assert!(!authority.any_source);
    let more = "[ssh.authority]\ncertificate_seconds = 3600\nany_source = true\n\
                host_names = [\"GW.example\", \"::1\"]\nrevoked = [\"00000000000000ff\"]\n";
    let config = parse(&format!("{GOOD}{more}")).unwrap();
    let authority = config.ssh_authority.unwrap();
    assert_eq!(authority.options.caller_validity, Duration::from_secs(3600));
    assert_eq!(authority.options.revoked, [255]);
    assert_eq!(authority.host_names, ["gw.example", "::1"]);
    assert!(authority.any_source);
}

#[test]
fn what_would_not_be_meant_is_refused() {
    for (line, expect) in [
        (
            "certificate_seconds = 43201",
            "ssh.authority.certificate_seconds: 43201 is not between",
        ),
        (
            "certificate_seconds = 59",
            "ssh.authority.certificate_seconds: 59 is not between",
        ),
        (
            "revoked = [\"ff\"]",
            "ssh.authority.revoked[0]: a serial number",
        ),
        (
            "revoked = [\"+0000000000000ff\"]",
            "ssh.authority.revoked[0]: a serial number",
        ),
        (
            "host_names = [\"gw example\"]",
            "ssh.authority.host_names[0]: \"gw example\" is",
        ),
        (
            "host_names = [\"*\"]",
            "ssh.authority.host_names[0]: \"*\" is",
        ),
        ("caller_key = \"/not/there\"", "ssh.authority.caller_key: "),
        ("listen = \"x\"", "unknown field `listen`"),
    ] {
        let error = parse(&format!("{GOOD}[ssh.authority]\n{line}\n")).unwrap_err();
        assert!(error.to_string().contains(expect), "{line}: {error}");
    }
}

/// With this login, and with this beside it.
fn with_login(
    auth: &str,
    more: &str,
) -> Result<crate::config::Config, crate::config::ConfigErrors> {
    let target = "[[target]]\nname = \"web1\"\nprotocol = \"ssh\"\nenv = \"dev\"\nhost = \"web1\"\n\
                  host_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQGzGIbw5rDs62SawzN7l6SBBqa0kzYX/JWCsCyRC6j\"]\n";
    let listen = format!("[[ssh.listener]]\nlisten = \"127.0.0.1:2222\"\nauth = {auth}\n");
    parse(&format!("{GOOD}{target}{listen}[ssh.authority]\n{more}"))
}

#[test]
fn a_login_that_nothing_stands_behind_is_refused() {
    with_login("[\"certificate\", \"token\"]", "").unwrap();
    for (none, why) in [("key", "[ssh.registered_keys]"), ("device", "[ssh.device]")] {
        let error = with_login(&format!("[\"{none}\"]"), "").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("ssh.listener[0].auth: "), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn registered_keys_count_for_a_day_and_never_for_more_than_a_month() {
    let both = "[\"certificate\", \"key\"]";
    let keys = |more: &str| {
        let config = with_login(both, &format!("[ssh.registered_keys]\n{more}"));
        config.map(|config| config.ssh.registered_keys.unwrap())
    };
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let usual = keys("").unwrap();
    assert_eq!((usual.validity, usual.per_person), (hours(24), 5));
    let set = keys("max_hours = 720\nper_person = 1\n").unwrap();
    assert_eq!((set.validity, set.per_person), (hours(720), 1));
    for (line, expect) in [
        (
            "max_hours = 721",
            "ssh.registered_keys.max_hours: 721 is not between",
        ),
        (
            "max_hours = 0",
            "ssh.registered_keys.max_hours: 0 is not between",
        ),
        (
            "per_person = 0",
            "ssh.registered_keys.per_person: 0 is not between",
        ),
        (
            "per_person = 51",
            "ssh.registered_keys.per_person: 51 is not between",
        ),
        ("days = 1", "days"),
    ] {
        let error = keys(line).unwrap_err().to_string();
        assert!(error.contains(expect), "{line}: {error}");
    }
    // A table that lets nobody in.
    let error = with_login("[\"token\"]", "[ssh.registered_keys]\n").unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("ssh.registered_keys: nobody could"),
        "{error}"
    );
}

#[test]
fn what_is_no_text_is_masked_unless_the_target_says_otherwise() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQGzGIbw5rDs62SawzN7l6SBBqa0kzYX/JWCsCyRC6j";
    let target = |line: &str| {
        parse(&format!(
            "{GOOD}[[target]]\nname = \"web1\"\nprotocol = \"ssh\"\nenv = \"dev\"\nhost = \"web1\"\n\
             host_keys = [\"{key}\"]\n{line}"
        ))
    };
    for (line, expect) in [
        ("", Binary::Mask),
        ("binary = \"mask\"\n", Binary::Mask),
        ("binary = \"pass\"\n", Binary::Pass),
        ("binary = \"refuse\"\n", Binary::Refuse),
    ] {
        assert_eq!(target(line).unwrap().ssh_targets[0].binary, expect);
    }
    let error = target("binary = \"deny\"\n").unwrap_err().to_string();
    assert!(
        error.contains("binary: \"deny\" is none of mask, pass, refuse"),
        "{error}"
    );
    let postgres = GOOD.replacen("[[target]]\n", "[[target]]\nbinary = \"pass\"\n", 1);
    assert_ne!(postgres, GOOD);
    let error = parse(&postgres).unwrap_err().to_string();
    assert!(
        error.contains("binary: a PostgreSQL server has no"),
        "{error}"
    );
}

#[test]
fn a_host_is_known_by_pins_by_an_authority_or_by_approval_and_somebody_says_which() {
    let key =
        "[\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIQGzGIbw5rDs62SawzN7l6SBBqa0kzYX/JWCsCyRC6j\"]";
    let target = |trust: &str| {
        let target =
            "[[target]]\nname = \"web1\"\nprotocol = \"ssh\"\nenv = \"dev\"\nhost = \"web1\"\n";
        parse(&format!("{GOOD}{target}{trust}"))
    };
    let by_approval = |trust: &str| target(trust).unwrap().ssh_targets[0].host_keys_by_approval;
    assert!(by_approval("host_key = \"approval\"\n"));
    assert!(by_approval(&format!(
        "host_key = \"approval\"\nhost_authorities = {key}\n"
    )));
    assert!(!by_approval(&format!("host_keys = {key}\n")));
    for (trust, expect) in [
        (String::new(), "host_key = \"approval\""),
        (
            "host_key = \"tofu\"\n".to_owned(),
            "\"tofu\" is none of approval",
        ),
        (
            format!("host_key = \"approval\"\nhost_keys = {key}\n"),
            "where keys are pinned, nobody is asked",
        ),
    ] {
        let error = target(&trust).unwrap_err().to_string();
        assert!(error.contains(expect), "{trust}: {error}");
    }
}
