//! What cannot work is refused before a port is bound.

use pipeline::memory::{Memory, MemoryPolicy};

use super::*;
use crate::testing::ports::Keys;
use crate::testing::{options, target};

type Change = fn(&mut Options);

#[test]
fn what_cannot_work_is_refused() {
    let rows: [(&str, Change); 16] = [
        ("must have 1 to 253 bytes", |o| rename(o, "")),
        ("must have 1 to 253 bytes", |o| rename(o, "a+b")),
        ("must have 1 to 253 bytes", |o| rename(o, "a b")),
        ("must have 1 to 253 bytes", |o| {
            rename(o, "-oProxyCommand=x")
        }),
        ("must have 1 to 253 bytes", |o| rename(o, "wéb")),
        ("two targets", |o| {
            o.targets.push(o.targets[0].clone());
            rename(o, "WEB1");
        }),
        ("cannot be a login: it is empty", |o| {
            o.targets[0].logins = vec!["".into()]
        }),
        ("it has a blank", |o| {
            o.targets[0].logins = vec!["a b".into()]
        }),
        ("it has a comma", |o| {
            o.targets[0].default_login = Some("a,root".into())
        }),
        ("not among its logins", |o| {
            o.targets[0].logins = vec!["deploy".into()]
        }),
        ("no authority that issues", |o| o.issuer = None),
        ("no host key could ever", |o| {
            o.targets[0].trust = HostTrust::default()
        }),
        ("does not exist", |o| {
            o.listeners[0].target = Some("web2".into())
        }),
        ("there is no login", |o| o.listeners[0].logins.clear()),
        ("the banner has more", |o| {
            o.listeners[0].banner = Some("x".repeat(5_000))
        }),
        ("limit max_attempts must not be zero", |o| {
            o.limits.max_attempts = 0
        }),
    ];
    let keys = Keys::new();
    let memory = Memory::new(MemoryPolicy::permit_all());
    let good = options(vec![target("web1", 22, &keys)], &keys, &memory);
    check(&good).unwrap();
    for (said, change) in rows {
        let mut options = good.clone();
        change(&mut options);
        let error = check(&options).expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

fn rename(options: &mut Options, name: &str) {
    let target = &mut options.targets[0];
    target.info = Arc::new(pipeline::Target {
        name: name.into(),
        ..(*target.info).clone()
    });
}

#[test]
fn secrets_are_not_printed() {
    let secret = Secret::new("hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
}

#[test]
fn a_login_is_one_account_and_looks_like_it() {
    for good in [
        "root",
        "deploy-1",
        "a.b_c",
        "svc$",
        "größe",
        "alice@corp.example",
        "a+b",
    ] {
        assert_eq!(check_login(good), Ok(()), "{good:?}");
    }
    for bad in [
        "",
        // OpenSSH logs in `root` for all of these that it takes.
        "root:x",
        "root:",
        ":root",
        "root/sysadm_r",
        "root/",
        "CORP\\root",
        "-root",
        "-oProxyCommand=x",
        "a b",
        "root\u{0}",
        "root\n",
        "root\u{7f}",
        "root\u{ad}",
        "root\u{a0}",
        "root\u{301}",
        "root\u{180e}",
        "root\u{200b}",
        "\u{202e}toor",
        "root\u{2060}",
        "root\u{2800}",
        "root\u{3164}",
        "root\u{fe0f}",
        "root\u{feff}",
        "root\u{e0041}",
        "root\u{e000}",
        "a,root",
    ] {
        assert!(check_login(bad).is_err(), "{bad:?}");
    }
}
