//! What `weir login` and `weir ssh-config` leave is all that a stock ssh needs.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
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
    };
    weir(&["login"]);
    let port = rig.port.to_string();
    let login = weir_tests::sshd::login().unwrap();
    let config = dir.join("config");
    let written = config.display().to_string();
    weir(&[
        "ssh-config",
        "--output",
        &written,
        "--gateway",
        "127.0.0.1",
        "--port",
        &port,
        "--login",
        &login,
    ]);
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
        "-o",
        &written,
    ];
    weir(&jump);
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

/// The file that `Include` names is the end of all of somebody's ssh if it is half there, or if a group may write it.
#[test]
fn a_configuration_is_written_whole_or_not_at_all_whatever_the_umask() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let more = "[ssh.authority]\nhost_names = [\"127.0.0.1\"]\n";
    let rig = Rig::with_logins("ssh-output", "\"certificate\"", more).unwrap();
    let dir = rig.weir.home.join("output");
    std::fs::create_dir_all(&dir).unwrap();
    let at = |name: &str| dir.join(name).display().to_string();
    let token = rig.weir.token("alice", &["weir-permit-all"]).unwrap();
    std::fs::write(at("token"), token).unwrap();
    std::fs::write(at("other"), "not a token").unwrap();
    // As a shell runs it: with the umask of hosts on which everybody has a group of their own.
    let run = |api_port: u16, line: &str| {
        let begin = r#"umask 002; cd "$DIR"; config() { "$WEIR" ssh-config --key ./weir "$@"; }"#;
        Command::new("timeout")
            .args(["60", "bash", "-c", &format!("{begin}; {line}")])
            .env("DIR", &dir)
            .env("WEIR", weir_tests::paths::weir())
            .env("WEIR_API", format!("http://127.0.0.1:{api_port}"))
            .env_remove("WEIR_CONFIG")
            .env_remove("WEIR_TOKEN")
            .output()
            .unwrap()
    };
    let done = |line: &str| {
        let out = run(rig.weir.api_port, line);
        assert!(out.status.success(), "{line}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    done("config --token-file token > by-shell");
    let said = done("config --token-file token --output by-weir");
    assert_eq!(said, "by-weir: hosts: 1\n");
    let written = std::fs::read_to_string(at("by-weir")).unwrap();
    assert_eq!(std::fs::read_to_string(at("by-shell")).unwrap(), written);
    assert_eq!(done("config --token-file token"), written);

    // Debian's ssh takes a file that only one's own group may write; as it comes from OpenSSH, ssh takes none.
    let newer = weir_tests::openssh::newer().map(|dir| dir.join("bin/ssh"));
    let reads = |ssh: &Path, file: &str, host: &str| {
        std::fs::write(at("config"), format!("Include {}\n", at(file))).unwrap();
        let mut ssh = Command::new(ssh);
        let out = ssh.args(["-G", "-F", &at("config"), host]).output();
        let out = out.unwrap();
        let shown = String::from_utf8(out.stdout).unwrap();
        out.status.success().then_some(shown)
    };
    for ssh in [Some("ssh".into()), newer.clone()].into_iter().flatten() {
        let shown = reads(&ssh, "by-weir", HOST).unwrap();
        assert!(shown.contains("hostname 127.0.0.1\n"), "{shown}");
        let other = reads(&ssh, "by-weir", "github.com").unwrap();
        assert!(other.contains("hostname github.com\n"), "{other}");
    }
    if let Some(ssh) = newer {
        assert_eq!(reads(&ssh, "by-shell", "github.com"), None);
    }

    // Nobody answers, nobody is let in, there is no token, no gateway of that name, and no room.
    let nobody = weir_tests::proc::free_port().unwrap();
    let api = rig.weir.api_port;
    for (port, line) in [
        (nobody, "config --token-file token -o by-weir"),
        (nobody, "config --token-file token -o new"),
        (api, "config --token-file other -o by-weir"),
        (api, "config --token-file nowhere -o by-weir"),
        (api, "config --token-file token --gateway 'a b' -o by-weir"),
        (
            api,
            "trap '' XFSZ; ulimit -f 0; config --token-file token -o by-weir",
        ),
        (
            api,
            r#"trap '' XFSZ; ulimit -f 0; "$WEIR" login --key ./weir --token-file token"#,
        ),
    ] {
        let out = run(port, line);
        assert!(
            !out.status.success() && out.stdout.is_empty(),
            "{line}: {out:?}"
        );
        let now = std::fs::read_to_string(at("by-weir")).unwrap();
        assert_eq!(now, written, "{line}");
    }
    // What is somebody's own is known before anybody is asked.
    std::fs::write(at("config"), "Host *\n").unwrap();
    let out = run(nobody, "config --token-file token -o config");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains("config was not written by weir ssh-config"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(at("config")).unwrap(), "Host *\n");
    let names = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["by-shell", "by-weir", "config", "other", "token"]);
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
    let written = home.join(".ssh/weir_config").metadata().unwrap();
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
}
