//! What `weir login` and `weir ssh-config` leave is all that a stock ssh needs.

use std::path::Path;
use std::process::{Command, Output};

use super::rig::{HOST, Rig};

/// Runs this with the configuration that Weir wrote, and with no other.
fn ssh(config: &Path, args: &[&str]) -> Output {
    Command::new("timeout")
        .args(["60", "ssh", "-v", "-F"])
        .arg(config)
        .args([
            "-o",
            "BatchMode=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
        ])
        .args(args)
        .output()
        .unwrap()
}

/// The gateway is known by Weir's authority alone: the line of its plain key is taken out.
#[test]
fn ssh_reaches_hosts_by_the_configuration_that_weir_writes() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let rig = Rig::permitting("ssh-login").unwrap();
    let dir = rig.weir.home.join("login");
    std::fs::create_dir_all(&dir).unwrap();
    let token = dir.join("token");
    let text = rig.weir.token("alice", &["weir-permit-all"]).unwrap();
    std::fs::write(&token, text).unwrap();
    let key = dir.join("weir");
    let (token, path) = (token.display().to_string(), key.display().to_string());
    let weir = |args: &[&str]| {
        let files = ["--token-file", &token, "--key", &path];
        let out = rig.weir.cli(None, &[args, &files].concat()).unwrap();
        assert!(out.status.success(), "{args:?}: {}", out.all());
        out.stdout
    };
    weir(&["login"]);
    let port = rig.port.to_string();
    let login = weir_tests::sshd::login().unwrap();
    let text = weir(&[
        "ssh-config",
        "--gateway",
        "127.0.0.1",
        "--port",
        &port,
        "--login",
        &login,
    ]);
    let config = dir.join("config");
    std::fs::write(&config, &text).unwrap();
    let known = dir.join("weir_known_hosts");
    let lines = std::fs::read_to_string(&known).unwrap();
    let authority: String = lines
        .lines()
        .filter(|line| line.starts_with("@cert-authority "))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(!authority.is_empty(), "{lines}");
    std::fs::write(&known, authority).unwrap();

    let out = ssh(&config, &[HOST, "echo", "through"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.stdout, b"through\n", "{said}");
    assert!(said.contains("-cert-v01@openssh.com"), "{said}");

    // The same by a jump: the host's name is then the certificate's only one.
    let mut jump = text.clone();
    jump.push_str(&format!(
        "\nHost gateway\n    HostName 127.0.0.1\n    Port {port}\n    User weir\n    HostKeyAlias {HOST}\n    \
         IdentityFile {key}\n    CertificateFile {key}-cert.pub\n    IdentitiesOnly yes\n    \
         UserKnownHostsFile {known}\n    StrictHostKeyChecking yes\n",
        key = path,
        known = known.display(),
    ));
    std::fs::write(&config, &jump).unwrap();
    let direct = [
        format!("HostName={HOST}"),
        format!("User={login}"),
        "Port=22".to_owned(),
    ];
    let direct = direct.iter().flat_map(|option| ["-o", option]);
    let rest = ["-J", "gateway", HOST, "echo", "jumped"];
    let out = ssh(&config, &direct.chain(rest).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.stdout, b"jumped\n", "{said}");
}
