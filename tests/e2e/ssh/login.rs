//! What `weir login` and `weir ssh-config` leave is all that a stock ssh needs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

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
    let more = "[ssh.authority]\nhost_names = [\"127.0.0.1\"]\n";
    let rig = Rig::with_logins("ssh-login", "\"certificate\"", more).unwrap();
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

    // For another account, as README says.
    let other = format!("{login}+{HOST}");
    let out = ssh(&config, &["-l", &other, HOST, "echo", "named"]);
    assert_eq!(out.stdout, b"named\n", "{out:?}");
    // By the gateway's own block.
    let out = ssh(&config, &[&format!("{other}@127.0.0.1"), "echo", "gate"]);
    assert_eq!(out.stdout, b"gate\n", "{out:?}");

    // By a jump, the account is what stands before the name: the host's name is then the certificate's only one.
    let jump = [
        "ssh-config",
        "--gateway",
        "127.0.0.1",
        "--port",
        &port,
        "--login",
        "nobody",
        "--jump",
    ];
    std::fs::write(&config, weir(&jump)).unwrap();
    let to = format!("{login}@{HOST}");
    let out = ssh(&config, &[&to, "echo", "jumped"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.stdout, b"jumped\n", "{said}");
    let there = dir.join("copied").display().to_string();
    let out = Command::new("timeout")
        .args(["60", "scp", "-q", "-o", "BatchMode=yes", "-F"])
        .args([
            &config.display().to_string(),
            &token,
            &format!("{to}:{there}"),
        ])
        .output()
        .unwrap();
    assert!(
        out.status.success() && Path::new(&there).exists(),
        "{out:?}"
    );
    let out = ssh(&config, &["-J", "127.0.0.1", &to, "echo", "by hand"]);
    assert_eq!(out.stdout, b"by hand\n", "{out:?}");
}

/// The lines that README has for somebody at a laptop, one after the other, with a browser played for each that asks.
#[test]
fn readmes_lines_for_a_laptop_do_what_they_say() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let provider = weir_tests::oidc::Provider::start().unwrap();
    let more = format!(
        "{}[ssh.authority]\nhost_names = [\"127.0.0.1\"]\n",
        provider.configuration()
    );
    let rig = Rig::with_logins("ssh-laptop", "\"certificate\"", &more).unwrap();
    let readme = std::fs::read_to_string(weir_tests::paths::root().join("README.md")).unwrap();
    let begin = readme
        .find("export WEIR_API=https://weir.example  ")
        .unwrap();
    let lines = readme[begin..].split("```").next().unwrap();
    assert!(
        lines.contains("weir login") && lines.contains("\nssh web1"),
        "{lines}"
    );
    let home = rig.weir.home.join("laptop");
    let bin = rig.weir.home.join("bin");
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(weir_tests::paths::weir(), bin.join("weir")).unwrap();
    // ssh asks the system where home is, not HOME.
    let config = home.join(".ssh/config").display().to_string();
    let included = format!("Include {}\n", home.join(".ssh/weir_config").display());
    std::fs::write(&config, included).unwrap();
    let login = weir_tests::sshd::login().unwrap();
    let script = lines
        .replace("https://weir.example ", &format!("http://127.0.0.1:{} ", rig.weir.api_port))
        .replace("https://login.example", &provider.issuer())
        .replace("--port 2222", &format!("--port {}", rig.port))
        .replace("--login root", &format!("--login {login}"))
        .replace("\nssh web1", &format!("\nssh -F {config} -o BatchMode=yes -o GlobalKnownHostsFile=/dev/null web1 'echo there'"));
    let mut command = Command::new("timeout");
    command
        .args(["80", "bash", "-c", &format!("set -e\n{script}")])
        .env("HOME", &home)
        .env(
            "PATH",
            format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()),
        )
        .env_remove("WEIR_TOKEN")
        .env_remove("WEIR_CONFIG")
        .env_remove("SSH_AUTH_SOCK");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(url) = line.strip_prefix("Open ") {
            provider.approve(url, "erin").unwrap();
        }
        said.push(line);
    }
    let out = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(shown.ends_with("there\n"), "{shown}\n{said:?}");
    let asked = said.iter().filter(|line| line.starts_with("Open ")).count();
    assert_eq!(asked, 2, "each of them asks: {said:?}");
}
