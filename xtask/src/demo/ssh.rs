//! The same promises with stock `ssh`, before a real OpenSSH server that trusts nobody but Weir.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use weir_tests::proc::{Daemon, Scratch, Signal, eventually, free_port, listens};
use weir_tests::psql::Output;
use weir_tests::sshd::{Sshd, login};
use weir_tests::weir::{Setup, Weir};

use super::{ALICE, Demo, SOON, SUE, print_output, title};

/// The host's name in Weir.
const HOST: &str = "web1";
/// Somebody who administers hosts, and the agent that works for them.
const OLGA: (&str, &str) = ("olga@example.test", "operators");
const AGENT: &[&str] = &["--act", "copilot@example.test", "--act-group", "agents"];

/// A host, and where Weir listens for those who want to get there.
pub(super) struct Host {
    sshd: Sshd,
    port: u16,
    /// Where other users can walk to, and no policy asks why.
    files: Scratch,
}

impl Host {
    /// Starts it, and tells Weir about it.
    pub(super) fn start(setup: &mut Setup) -> Result<Self> {
        let sshd = Sshd::start("demo-host").context("OpenSSH's server")?;
        let port = free_port()?;
        setup.extra += &format!(
            "[[ssh.listener]]\nlisten = \"127.0.0.1:{port}\"\nauth = [\"certificate\", \"token\"]\n\
             [[target]]\nname = \"{HOST}\"\nprotocol = \"ssh\"\nenv = \"prod\"\nhost = \"127.0.0.1\"\n\
             port = {}\nhost_keys = [\"{}\"]\n",
            sshd.port,
            sshd.host_key()?
        );
        let files = Scratch::public("demo-host")?;
        Ok(Self { sshd, port, files })
    }

    fn file(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// The one line that an administrator adds to a host: whose certificates it takes.
    fn trust(&self, weir: &Weir) -> Result<()> {
        eventually("Weir to listen for SSH", SOON, || {
            Ok(listens(self.port).then_some(()))
        })?;
        let token = weir.token(OLGA.0, &[OLGA.1])?;
        let authority = weir.api(&token, "GET", "/ssh/authority", None)?.ok()?;
        let key = authority.get("target_ca").and_then(|key| key.as_str());
        self.sshd.trust(key.context("no authority for targets")?)
    }
}

/// Somebody who has said `weir login` and `weir ssh-config`: their name, and the file for `ssh -F`.
struct Person {
    name: String,
    config: PathBuf,
}

impl Person {
    fn ssh(&self, command: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&self.config);
        ssh.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "GlobalKnownHostsFile=/dev/null", HOST]);
        ssh.args(command).stdin(Stdio::null());
        ssh.env_remove("SSH_AUTH_SOCK");
        ssh
    }

    fn told(&self, command: &[&str]) {
        println!("  {} $ ssh {HOST} {}", self.name, command.join(" "));
    }

    fn run(&self, command: &[&str]) -> Result<Output> {
        self.told(command);
        let out = self.ssh(command).output().context("ssh")?;
        let out = Output {
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
            status: out.status,
        };
        print_output(&out);
        Ok(out)
    }
}

impl Demo {
    pub(super) fn hosts(&mut self) -> Result<()> {
        title("SSH", "a stock ssh, a certificate of hours, a real sshd");
        self.host.trust(&self.weir)?;
        let alice = self.login("alice", ALICE, &[])?;
        let agent = self.login("an agent of olga's", OLGA, AGENT)?;
        let olga = self.login("olga", OLGA, &[])?;
        self.host_looked_at(&alice)?;
        self.host_refused(&agent)?;
        self.host_held(&olga)?;
        self.host_replayed()
    }

    /// `weir login` once a morning, and `weir ssh-config` once. An agent has no list of what there is; whoever
    /// it works for writes the configuration for it.
    fn login(&self, name: &str, who: (&str, &str), more: &[&str]) -> Result<Person> {
        let dir = self.weir.home.join(name.replace([' ', '\''], "-"));
        std::fs::create_dir_all(&dir)?;
        let at = |file: &str| dir.join(file).display().to_string();
        let token = self.weir.token_with(who.0, &[who.1], more)?;
        std::fs::write(at("token"), token)?;
        std::fs::write(at("person"), self.token(who)?)?;
        let weir = |token: &str, args: &[&str]| {
            println!("  {name} $ weir {}", args.join(" "));
            let files = ["--token-file", &at(token), "--key", &at("id")];
            let out = self.weir.cli(None, &[args, &files].concat())?;
            if !out.ok() {
                bail!("weir {}: {}", args.join(" "), out.all());
            }
            Ok(())
        };
        weir("token", &["login"])?;
        let (port, login) = (self.host.port.to_string(), login()?);
        let gateway = ["--gateway", "127.0.0.1", "--port", &port, "--login", &login];
        let config = at("config");
        let output = ["ssh-config", "--output", &config];
        weir("person", &[&output, &gateway[..]].concat())?;
        Ok(Person {
            name: name.to_owned(),
            config: dir.join("config"),
        })
    }

    fn host_looked_at(&mut self, alice: &Person) -> Result<()> {
        let out = alice.run(&["uname -s && id -un"])?;
        let expected = format!("Linux\n{}\n", login()?);
        let as_it_is = out.ok() && out.stdout == expected;
        self.claim(
            "commands that only read run as they are",
            as_it_is,
            &out.all(),
        );
        let token = format!("ghp_{}", "x7Q2".repeat(9));
        std::fs::write(
            self.host.files.join("deploy.log"),
            format!("pushed with {token}\n"),
        )?;
        let out = alice.run(&[&format!("cat {}", self.host.file("deploy.log"))])?;
        let masked =
            out.ok() && out.stdout.contains("pushed with ghp_**") && !out.all().contains("x7Q2");
        self.claim("a token in what comes back is masked", masked, &out.all());
        Ok(())
    }

    fn host_refused(&mut self, agent: &Person) -> Result<()> {
        let out = agent.run(&[])?;
        let told = !out.ok() && out.stderr.contains("weir: refused");
        self.claim("an agent gets no shell", told, &out.all());
        let out = agent.run(&["tail -n 1 /etc/shadow"])?;
        let told = out.status.code() == Some(126) && out.stdout.is_empty();
        self.claim("nor what passwords are in", told, &out.all());
        Ok(())
    }

    fn host_held(&mut self, olga: &Person) -> Result<()> {
        let release = self.host.files.join("release-41");
        let command = format!("rm -r {}", release.display());
        for approved in [true, false] {
            std::fs::create_dir_all(&release)?;
            olga.told(&[&command]);
            let log = self.weir.home.join(format!("held-{approved}.log"));
            let mut client = Daemon::spawn("ssh", olga.ssh(&[&command]), &log, Signal::Term)?;
            let hold = self.weir.open_hold(&self.token(SUE)?)?;
            let id = hold.get("id").and_then(|id| id.as_str());
            let id = id.context("a hold's id")?.to_owned();
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            client.wait_until(|| said().contains(&id))?;
            for line in said().lines() {
                println!("    {line}");
            }
            if approved {
                let waits = release.is_dir();
                self.claim("a change in production waits", waits, &said());
                self.weir(SUE, &["approvals", "show", &id])?;
                self.weir(SUE, &["approvals", "approve", &id, "--reason", "41 is old"])?;
                let status = client.wait(SOON)?;
                let ran = status.success() && !release.exists();
                self.claim("approved, it runs", ran, &said());
            } else {
                let no = ["approvals", "deny", &id, "--reason", "this one stays"];
                self.weir(SUE, &no)?;
                let status = client.wait(SOON)?;
                for line in said().lines() {
                    println!("    {line}");
                }
                let told = said().contains("this one stays") && status.code() == Some(126);
                self.claim("denied, it never does", told && release.is_dir(), &said());
            }
        }
        Ok(())
    }

    fn host_replayed(&mut self) -> Result<()> {
        let admin = self.weir.token("ada@example.test", &["weir-admins"])?;
        let session = self.weir.session_of(&admin, ALICE.0)?;
        let text = eventually("the recording", SOON, || {
            let out = self.weir.cli(None, &["replay", &session])?;
            Ok((out.ok() && out.stdout.contains("deploy.log")).then_some(out.stdout))
        })?;
        println!("  $ weir replay {session}");
        for line in text.lines() {
            println!("    {line}");
        }
        let whole = text.contains("pushed with ghp_**") && !text.contains("x7Q2");
        self.claim("the recording has what was seen, no more", whole, &text);
        Ok(())
    }
}
