//! `weir ssh-config`: the part of ~/.ssh/config that leads to hosts through Weir.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use weir_client::{SshAuthorityInfo, SshHosts};

use super::login::Who;
use super::remote::{explain, shown};
use super::ssh_files::{SshFiles, demand_expanded, known_hosts, replace};

/// How a configuration begins. A file that begins otherwise is not replaced.
const BEGIN: &str = "# Hosts behind Weir.";

#[derive(Args)]
pub(super) struct SshConfigArgs {
    #[command(flatten)]
    who: Who,
    /// The gateway's host name or address; the first of the names that Weir has otherwise.
    #[arg(long, env = "WEIR_GATEWAY")]
    gateway: Option<String>,
    /// The port of Weir's listener for SSH, as it is reached from here.
    #[arg(long, env = "WEIR_GATEWAY_PORT", default_value_t = 22)]
    port: u16,
    /// The account on the hosts; which one Weir takes without it is for its policy to say.
    #[arg(long, short)]
    login: Option<String>,
    /// Reach the hosts by a jump, so that `ssh deploy@host` chooses the account.
    #[arg(long)]
    jump: bool,
    /// The key that `weir login` was given, ~/.ssh/weir if none was.
    #[arg(long, short = 'i')]
    key: Option<PathBuf>,
    /// Write it to this file, whole or not at all, for nobody else to read; standard output otherwise.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(args: SshConfigArgs) -> anyhow::Result<ExitCode> {
    args.who.demand_tls()?;
    let files = SshFiles::at(args.key.clone())?;
    // Before anybody is asked to log in.
    args.output.as_deref().map_or(Ok(()), may_write)?;
    let client = args.who.client().await?;
    let SshHosts { hosts, authority } = client.ssh_hosts().await.map_err(explain)?;
    let gateway = args.gateway.as_ref().or(authority.host_names.first());
    let gateway = gateway.context(
        "Weir does not say how its gateway is called: pass --gateway, or set host_names in [ssh.authority]",
    )?;
    let (names, strange) = plain(&hosts);
    for name in strange {
        let name = shown(name);
        eprintln!(
            "weir: the target {name:?} is left out: ssh would take its name for something else"
        );
    }
    let way = Way {
        gateway,
        port: args.port,
        login: args.login.as_deref(),
        jump: args.jump,
        files: &files,
    };
    let text = way.config(&authority, &names)?;
    match &args.output {
        None => print!("{text}"),
        Some(path) => {
            write(path, &text)?;
            println!("{}: hosts: {}", path.display(), names.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    may_write(path)?;
    replace(path, text.as_bytes())
}

/// What is there goes only if `weir ssh-config` wrote it, or if it is empty.
fn may_write(path: &Path) -> anyhow::Result<()> {
    demand_expanded(path, "--output")?;
    let shown = path.display();
    let dir = match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => bail!("--output {shown:?} names no file"),
    };
    if !dir.is_dir() {
        bail!(
            "{shown} cannot be written: {} is no directory that is there; make it, or name another file with --output",
            dir.display()
        );
    }
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(format!("{shown} cannot be looked at")),
    };
    if found.is_symlink() {
        bail!(
            "{shown} is a symbolic link, and is left as it is; name the file that it leads to with --output, or remove it"
        );
    }
    if !found.is_file() {
        bail!("{shown} is no regular file; name another one with --output");
    }
    let mut begin = Vec::new();
    let most = u64::try_from(BEGIN.len()).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut begin));
    read.with_context(|| format!("{shown} cannot be read"))?;
    if !begin.is_empty() && begin != BEGIN.as_bytes() {
        bail!(
            "{shown} was not written by weir ssh-config, and is left as it is; name another file with --output, or remove it"
        );
    }
    Ok(())
}

/// Names of hosts, and of those that ssh cannot be told of.
fn plain(hosts: &[String]) -> (Vec<&str>, Vec<&str>) {
    hosts.iter().map(String::as_str).partition(|n| is_plain(n))
}

/// How hosts are reached.
#[derive(Clone, Copy)]
struct Way<'a> {
    gateway: &'a str,
    port: u16,
    login: Option<&'a str>,
    /// By a second connection in one to the gateway, which names the host itself.
    jump: bool,
    files: &'a SshFiles,
}

impl Way<'_> {
    fn config(&self, authority: &SshAuthorityInfo, hosts: &[&str]) -> anyhow::Result<String> {
        let address = self.gateway.parse::<std::net::IpAddr>().is_ok();
        if !is_plain(self.gateway) && !address {
            bail!("{:?} is neither a host name nor an address", self.gateway);
        }
        if let Some(login) = self.login.filter(|login| !is_plain(login)) {
            bail!("{login:?} is no account that ssh could be told of here");
        }
        let names = std::iter::once(self.gateway).chain(hosts.iter().copied());
        let names: Vec<String> = names.map(str::to_owned).collect();
        let known = known_hosts(authority, &names).context("Weir's answer")?;
        let mut out = format!("{BEGIN} What the gateway is known by, from `weir login`:\n");
        for line in known.lines() {
            out.push_str(&format!("#   {line}\n"));
        }
        let (key, certificate) = (quoted(&self.files.key)?, quoted(&self.files.certificate())?);
        let known = quoted(&self.files.known_hosts())?;
        let shown = format!(
            "    IdentityFile {key}\n    CertificateFile {certificate}\n    IdentitiesOnly yes\n    \
             UserKnownHostsFile {known}\n    StrictHostKeyChecking yes\n"
        );
        let Self { gateway, port, .. } = self;
        let by = match gateway.contains(':') {
            true => format!("[{gateway}]"),
            false => (*gateway).to_owned(),
        };
        for host in hosts {
            out.push_str(&format!("\nHost {host}\n"));
            if self.jump {
                out.push_str(&format!(
                    "    HostName {host}\n    Port 22\n    ProxyJump {by}\n"
                ));
                if let Some(login) = self.login {
                    out.push_str(&format!("    User {login}\n"));
                }
            } else {
                let user = match self.login {
                    None => (*host).to_owned(),
                    Some(login) => format!("{login}+{host}"),
                };
                out.push_str(&format!(
                    "    HostName {gateway}\n    Port {port}\n    User {user}\n"
                ));
            }
            out.push_str(&format!("    HostKeyAlias {host}\n{shown}"));
        }
        // Behind the hosts: of what is said twice, the first counts. Half a name names no host.
        out.push_str(&format!(
            "\n# The gateway itself, for jumps and for login+host@{gateway}.\nHost {gateway}\n    \
             HostName {gateway}\n    Port {port}\n    User jump+\n    HostKeyAlias {gateway}\n{shown}"
        ));
        Ok(out)
    }
}

/// Letters, digits and little else: no pattern, no token, no second word, no second line.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
}

/// A path as ssh reads it: `%` begins a token there, and `$` is looked at, too.
fn quoted(path: &Path) -> anyhow::Result<String> {
    // A relative one would be that of whatever directory ssh is started in.
    let text = path
        .to_str()
        .filter(|_| path.is_absolute())
        .filter(|text| !text.chars().any(char::is_control) && !text.contains(['"', '\\', '$']));
    match text {
        Some(text) => Ok(format!("\"{}\"", text.replace('%', "%%"))),
        None => {
            bail!("{path:?} cannot be written into a configuration of ssh: choose another --key")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use ssh_keys::PrivateKey;

    use super::*;

    fn authority() -> SshAuthorityInfo {
        let line = || {
            PrivateKey::generate_ed25519()
                .unwrap()
                .public()
                .to_openssh("x")
        };
        SshAuthorityInfo {
            host_ca: line(),
            host_key: line(),
            target_ca: line(),
            host_names: vec![],
        }
    }

    /// `ssh -G` reads a configuration and shows what it comes to.
    #[test]
    fn ssh_understands_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = SshFiles::at(Some(dir.path().join("a b%c"))).unwrap();
        let way = Way {
            gateway: "gw.example",
            port: 2222,
            login: Some("root"),
            jump: false,
            files: &files,
        };
        let text = way.config(&authority(), &["web1", "db-2.corp"]).unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, &text).unwrap();
        let out = Command::new("ssh")
            .arg("-G")
            .arg("-F")
            .arg(&path)
            .arg("web1")
            .output();
        let out = out.expect("ssh is needed: apt-get install openssh-client");
        let shown = String::from_utf8(out.stdout).unwrap();
        for line in [
            "hostname gw.example",
            "port 2222",
            "user root+web1",
            "hostkeyalias web1",
            "identitiesonly yes",
            "stricthostkeychecking true",
        ] {
            assert!(
                shown.lines().any(|l| l == line),
                "{line}: {shown}{out:?}",
                out = out.stderr
            );
        }
        assert!(text.contains("# "), "{text}");
        assert!(
            text.contains("#   @cert-authority gw.example,web1,db-2.corp ssh-ed25519 "),
            "{text}"
        );
        // The gateway by its name, for jumps and for whoever names the host in front of it.
        let asked = |text: &str, name: &str| {
            std::fs::write(&path, text).unwrap();
            let mut ssh = Command::new("ssh");
            let out = ssh.arg("-G").arg("-F").arg(&path).arg(name).output();
            let shown = String::from_utf8(out.unwrap().stdout).unwrap();
            move |line: &str| shown.lines().any(|l| l == line)
        };
        let gate = asked(&text, "deploy+web1@gw.example");
        for line in [
            "hostname gw.example",
            "port 2222",
            "user deploy+web1",
            "identitiesonly yes",
            "hostkeyalias gw.example",
        ] {
            assert!(gate(line), "{line}: {text}");
        }
        let jumps = Way { jump: true, ..way };
        let text = jumps.config(&authority(), &["web1"]).unwrap();
        for (name, user) in [("web1", "user root"), ("deploy@web1", "user deploy")] {
            let host = asked(&text, name);
            for line in ["hostname web1", "port 22", "proxyjump gw.example", user] {
                assert!(host(line), "{line}: {text}");
            }
        }
        let bare = Way { login: None, ..way };
        let text = bare.config(&authority(), &["web1"]).unwrap();
        assert!(text.contains("    User web1\n"), "{text}");
    }

    #[test]
    fn a_file_is_written_whole_and_over_nothing_else() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let config = at("weir_config");
        let ours = format!("{BEGIN} x\nHost web1\n");
        for before in [None, Some(""), Some(ours.as_str())] {
            if let Some(before) = before {
                fs::write(&config, before).unwrap();
                let open = fs::Permissions::from_mode(0o664);
                fs::set_permissions(&config, open).unwrap();
            }
            let text = format!("{ours}# after {before:?}\n");
            write(&config, &text).unwrap();
            assert_eq!(fs::read_to_string(&config).unwrap(), text);
            let mode = fs::metadata(&config).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // What is somebody's own, and what is no file at all.
        let kept = fs::read_to_string(&config).unwrap();
        for (name, text) in [("config", "Host *\n"), ("short", "# Hosts"), ("key", "x")] {
            fs::write(at(name), text).unwrap();
        }
        symlink(&config, at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::create_dir(at("dir")).unwrap();
        let count = || fs::read_dir(dir.path()).unwrap().count();
        let before = count();
        for (name, why) in [
            ("config", "not written by weir ssh-config"),
            ("short", "not written by weir ssh-config"),
            ("key", "not written by weir ssh-config"),
            ("link", "symbolic link"),
            ("dangling", "symbolic link"),
            ("dir", "no regular file"),
            ("dir/", "no regular file"),
            ("none/config", "/none is no directory"),
            ("key/config", "/key is no directory"),
        ] {
            let error = format!("{:#}", write(&at(name), &ours).unwrap_err());
            let named = error.starts_with(&at(name).display().to_string());
            let told = error.contains(why) && error.contains("--output");
            assert!(named && told, "{name}: {error}");
        }
        for name in ["", "/"] {
            assert!(write(Path::new(name), &ours).is_err(), "{name:?}");
        }
        let error = may_write(Path::new("~/.ssh/weir_config")).unwrap_err();
        assert!(error.to_string().contains("write --output ~/"), "{error}");
        assert_eq!(count(), before);
        assert_eq!(fs::read_to_string(&config).unwrap(), kept);
        assert_eq!(fs::read_to_string(at("config")).unwrap(), "Host *\n");
        assert!(at("link").is_symlink() && at("dangling").is_symlink());
    }

    #[test]
    fn what_ssh_would_take_for_a_pattern_is_left_out() {
        let names = ["web1", "we?b", "db-2.corp", "*"].map(str::to_owned);
        assert_eq!(
            plain(&names),
            (vec!["web1", "db-2.corp"], vec!["we?b", "*"])
        );
    }

    #[test]
    fn nothing_becomes_a_second_line_a_pattern_or_a_command() {
        for name in [
            "",
            "*",
            "web?",
            "a b",
            "a\nProxyCommand id",
            "!web",
            "-oProxyCommand=id",
            "%h",
            "a,b",
            "ä",
        ] {
            assert!(!is_plain(name), "{name}");
        }
        let files = SshFiles::at(Some("/x/weir".into())).unwrap();
        let way = |gateway, login| Way {
            gateway,
            port: 22,
            login,
            jump: false,
            files: &files,
        };
        assert!(
            way("gw\n  ProxyCommand id", None)
                .config(&authority(), &[])
                .is_err()
        );
        assert!(
            way("gw", Some("root\nProxyCommand id"))
                .config(&authority(), &[])
                .is_err()
        );
        assert!(
            way("2001:db8::1", None)
                .config(&authority(), &["web1"])
                .is_ok()
        );
        let mut lying = authority();
        lying.host_ca = "ssh-ed25519 AAAA\nProxyCommand id".into();
        assert!(way("gw", None).config(&lying, &[]).is_err());
        for path in ["/x/a\"b", "/x/a\nb", "/x/$HOME", "/x/a\\b", "weir", "~/x"] {
            assert!(quoted(Path::new(path)).is_err(), "{path}");
        }
    }
}
