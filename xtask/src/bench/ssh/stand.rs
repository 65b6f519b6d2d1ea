//! The peers: a host's own server, the same behind a second server as a jump host, and behind Weir.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use weir_tests::bundle::Bundle;
use weir_tests::paths;
use weir_tests::proc::{Scratch, eventually, free_port, listens};
use weir_tests::sshd::{Sshd, keygen, login};
use weir_tests::weir::{Setup, Weir};

/// Of every leg, so that peers differ in nothing else.
const ALGORITHMS: &str = "Ciphers aes256-gcm@openssh.com\nKexAlgorithms curve25519-sha256\n";
/// Servers of the host: one as usual, one that changes keys all the time, one that does so now and then.
pub const BOX: &str = "box";
pub const RESTLESS: &str = "restless";
pub const LIVELY: &str = "lively";
/// Bytes under the same keys there.
pub const RESTLESS_BYTES: &str = "1M";
pub const LIVELY_BYTES: &str = "64M";
/// What is held, if somebody runs it.
pub const HELD: &str = "tac >/dev/null";

/// Who measures. The default bundle stays in force for them.
const PEOPLE: &str = r#"
@id("guard.bench.masked")
@reason("masks are measured")
forbid (principal in Group::"bench-masked", action == Action::"ssh:reveal", resource);

@id("guard.bench.recorded")
@reason("the record of what is typed is measured")
forbid (principal in Group::"bench-recorded", action == Action::"ssh:input_unrecorded", resource);

@id("guard.bench.held")
@reason("what waits is measured")
forbid (principal, action == Action::"ssh:exec", resource)
when { context.ssh.programs.contains("tac") }
unless { context.base.approvals.contains(ApprovalRule::"prod-hosts") };
"#;

/// A way to the host: a configuration file of OpenSSH's client, in which its servers have their names.
#[derive(Debug, Clone)]
pub struct Peer {
    pub name: &'static str,
    pub dir: PathBuf,
    /// Weir, where it is in between.
    pub pid: Option<u32>,
}

impl Peer {
    /// A program of OpenSSH's.
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.dir.join("config"));
        command.env_remove("SSH_AUTH_SOCK").current_dir(&self.dir);
        command
    }

    pub fn ssh(&self, args: &[&str]) -> Command {
        let mut command = self.program("ssh");
        command.args(args);
        command
    }

    /// Where a client's errors go.
    pub fn errors(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.err"))
    }
}

/// Somebody who comes through Weir.
struct Person {
    subject: &'static str,
    groups: &'static [&'static str],
}

const PLAIN: Person = Person {
    subject: "plain",
    groups: &["engineering"],
};
const MASKED: Person = Person {
    subject: "masked",
    groups: &["engineering", "bench-masked"],
};
const RECORDED: Person = Person {
    subject: "recorded",
    groups: &["engineering", "bench-recorded"],
};

pub struct Stand {
    hosts: [(&'static str, Sshd); 3],
    /// Lives as long as the way over it.
    _jump: Sshd,
    weir: Weir,
    pub direct: Peer,
    pub jump: Peer,
    /// Sees what there is, and what they type is not recorded.
    pub weir_plain: Peer,
    pub weir_masked: Peer,
    pub weir_recorded: Peer,
    /// Of the size that was asked for: lines of a log, and bytes that are nothing.
    pub text: PathBuf,
    pub binary: PathBuf,
    pub scratch: Scratch,
}

impl Stand {
    pub fn start(mib: u64) -> Result<Self> {
        let scratch = Scratch::new("bench-ssh")?;
        let dir = scratch.path().to_path_buf();
        let (text, binary) = (dir.join("text"), dir.join("binary"));
        write_text(&text, mib << 20)?;
        write_binary(&binary, mib << 20)?;
        let host = |name, more: &str| -> Result<Sshd> {
            Sshd::start_with(name, &format!("{ALGORITHMS}MaxSessions 1000\n{more}"))
        };
        let often = |bytes| format!("RekeyLimit {bytes}\nLogLevel DEBUG1\n");
        let hosts = [
            (BOX, host("bench-box", "LogLevel ERROR\n")?),
            (RESTLESS, host("bench-restless", &often(RESTLESS_BYTES))?),
            (LIVELY, host("bench-lively", &often(LIVELY_BYTES))?),
        ];
        let over = host("bench-jump", "LogLevel ERROR\n")?;
        let key = dir.join("id");
        keygen(&key, "ed25519")?;
        for sshd in hosts.iter().map(|(_, sshd)| sshd).chain([&over]) {
            std::fs::copy(dir.join("id.pub"), sshd.dir.join("authorized_keys"))?;
        }
        let (weir, port) = start_weir(&dir, &hosts)?;
        let login = login()?;
        let known = known(port)?;
        let person = |person: &Person| -> Result<Peer> {
            let at = dir.join(person.subject);
            let entries = hosts.iter().map(|(name, _)| Entry {
                name,
                port,
                user: format!("{login}+{name}"),
                key: at.join("id"),
                more: String::new(),
            });
            let entries: Vec<_> = entries.collect();
            let peer = peer("weir", &at, &entries, &known, Some(weir.pid()))?;
            keygen(&at.join("id"), "ed25519")?;
            Ok(peer)
        };
        let mut known_hosts = String::new();
        for sshd in hosts.iter().map(|(_, sshd)| sshd).chain([&over]) {
            known_hosts += &format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key()?);
        }
        let entry = |name, sshd: &Sshd, more: &str| Entry {
            name,
            port: sshd.port,
            user: login.clone(),
            key: key.clone(),
            more: more.into(),
        };
        let direct: Vec<_> = hosts.iter().map(|(n, sshd)| entry(n, sshd, "")).collect();
        let through = "  ProxyJump over\n";
        let hops = hosts.iter().map(|(n, sshd)| entry(n, sshd, through));
        let hops: Vec<_> = hops.chain([entry("over", &over, "")]).collect();
        let stand = Self {
            direct: peer("direct", &dir.join("direct"), &direct, &known_hosts, None)?,
            jump: peer("ssh -J", &dir.join("jump"), &hops, &known_hosts, None)?,
            weir_plain: person(&PLAIN)?,
            weir_masked: person(&MASKED)?,
            weir_recorded: person(&RECORDED)?,
            hosts,
            _jump: over,
            weir,
            text,
            binary,
            scratch,
        };
        stand.renew()?;
        Ok(stand)
    }

    pub fn peers(&self) -> [&Peer; 3] {
        [&self.direct, &self.jump, &self.weir_plain]
    }

    pub fn pid(&self) -> u32 {
        self.weir.pid()
    }

    /// Certificates are good for an hour, and the whole table may take longer.
    pub fn renew(&self) -> Result<()> {
        let all = [
            (&PLAIN, &self.weir_plain),
            (&MASKED, &self.weir_masked),
            (&RECORDED, &self.weir_recorded),
        ];
        for (person, peer) in all {
            let token = self.weir.token(person.subject, person.groups)?;
            let public = std::fs::read_to_string(peer.dir.join("id.pub"))?;
            let body = json!({ "public_key": public.trim() });
            let given = self
                .weir
                .api(&token, "POST", "/ssh/certificates", Some(body))?
                .ok()?;
            let text = given
                .get("certificate")
                .and_then(Value::as_str)
                .context("no certificate")?;
            std::fs::write(peer.dir.join("id-cert.pub"), format!("{text}\n"))?;
        }
        Ok(())
    }

    /// How often so far this server of the host has taken new keys into use.
    pub fn new_keys(&self, name: &str) -> usize {
        let host = self.hosts.iter().find(|(host, _)| *host == name);
        host.map_or(0, |(_, sshd)| count_new_keys(&sshd.log()))
    }

    /// How everything is reached, for people.
    pub fn describe(&self) {
        println!("weir: pid={}", self.pid());
        println!("files: {} {}", self.text.display(), self.binary.display());
        for peer in [
            &self.direct,
            &self.jump,
            &self.weir_plain,
            &self.weir_masked,
            &self.weir_recorded,
        ] {
            println!("ssh -F {}/config {BOX}", peer.dir.display());
        }
    }
}

/// In what a client or server tells with `LogLevel DEBUG1`.
pub fn count_new_keys(log: &str) -> usize {
    let told = log
        .lines()
        .filter(|l| l.contains("SSH2_MSG_NEWKEYS received"));
    told.count()
}

fn start_weir(dir: &Path, hosts: &[(&'static str, Sshd)]) -> Result<(Weir, u16)> {
    let mut bundle = Bundle::default_bundle()?;
    bundle.files.retain(|path, _| !path.starts_with("tests/"));
    bundle.add("bench.cedar", PEOPLE);
    let port = free_port()?;
    let mut setup = Setup::without_database("bench-ssh-weir");
    setup.bundle = Some(bundle.write(dir)?);
    setup.binary = match std::env::var_os("WEIR_BIN") {
        Some(bin) => PathBuf::from(bin),
        None => paths::target().join("release/weir"),
    };
    setup.extra =
        format!("[[ssh.listener]]\nlisten = \"127.0.0.1:{port}\"\nauth = [\"certificate\"]\n");
    for (name, host) in hosts {
        setup.extra += &format!(
            "[[target]]\nname = \"{name}\"\nprotocol = \"ssh\"\nenv = \"dev\"\nhost = \"127.0.0.1\"\n\
             port = {}\nhost_keys = [\"{}\"]\n",
            host.port,
            host.host_key()?
        );
    }
    let weir = setup.start()?;
    eventually("Weir to listen for SSH", Duration::from_secs(60), || {
        Ok(listens(port).then_some(()))
    })?;
    let token = weir.token("somebody", &["engineering"])?;
    let authority = weir.api(&token, "GET", "/ssh/authority", None)?.ok()?;
    let key = authority.get("target_ca").and_then(Value::as_str);
    let key = key.context("no authority for targets")?;
    for (_, host) in hosts {
        host.trust(key)?;
    }
    Ok((weir, port))
}

/// Weir's own host key, as a client would learn it.
fn known(port: u16) -> Result<String> {
    let out = Command::new("ssh-keyscan")
        .args(["-T", "10", "-p", &port.to_string(), "127.0.0.1"])
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    Ok(lines.next().context("ssh-keyscan found no key")?.to_owned())
}

/// A host in a configuration file.
struct Entry<'a> {
    name: &'a str,
    port: u16,
    user: String,
    key: PathBuf,
    more: String,
}

fn peer(
    name: &'static str,
    dir: &Path,
    entries: &[Entry<'_>],
    known_hosts: &str,
    pid: Option<u32>,
) -> Result<Peer> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("known_hosts"), format!("{known_hosts}\n"))?;
    let mut config = String::new();
    for Entry {
        name,
        port,
        user,
        key,
        more,
    } in entries
    {
        config += &format!(
            "Host {name}\n  Port {port}\n  User {user}\n  IdentityFile {}\n{more}",
            key.display()
        );
    }
    config += &format!(
        "Host *\n  HostName 127.0.0.1\n  IdentitiesOnly yes\n  UserKnownHostsFile {}/known_hosts\n\
         \x20 GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n\
         \x20 LogLevel ERROR\n  ConnectTimeout 60\n  UpdateHostKeys no\n  {}",
        dir.display(),
        ALGORITHMS.trim_end().replace('\n', "\n  ") + "\n"
    );
    std::fs::write(dir.join("config"), config)?;
    Ok(Peer {
        name,
        dir: dir.to_path_buf(),
        pid,
    })
}

/// Numbers that look like chance and are the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// What is repeated; recorders look for repetitions in much less.
const BLOCK: usize = 16 << 20;

fn write_over(path: &Path, block: &[u8], bytes: u64) -> Result<()> {
    let mut out = File::create(path)?;
    let mut left = usize::try_from(bytes)?;
    while left > 0 {
        let part = block.get(..left).unwrap_or(block);
        out.write_all(part)?;
        left -= part.len();
    }
    Ok(())
}

/// Lines as a service logs them; no secrets, and nothing that looks like one.
pub fn write_text(path: &Path, bytes: u64) -> Result<()> {
    const LEVELS: [&str; 4] = ["INFO ", "INFO ", "DEBUG", "WARN "];
    const WHAT: [&str; 4] = [
        "GET /v1/orders",
        "POST /v1/carts",
        "cache miss for item",
        "upstream connection reused by worker",
    ];
    let of = |list: [&'static str; 4], r: u64| list.get((r & 3) as usize).copied().unwrap_or("");
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let mut block = Vec::with_capacity(BLOCK + 200);
    let (mut n, most) = (0_u64, BLOCK.min(usize::try_from(bytes)?));
    while block.len() < most {
        let r = numbers.next();
        n += 1 + r % 7;
        writeln!(
            block,
            "{:02}:{:02}:{:02}.{:03} {} api[{}] req={:06x} {} {} took {} ms, status {}",
            n / 3_600_000 % 24,
            n / 60_000 % 60,
            n / 1_000 % 60,
            n % 1_000,
            of(LEVELS, r),
            100 + (r >> 2) % 32,
            (r >> 8) & 0xFF_FFFF,
            of(WHAT, r >> 32),
            (r >> 34) % 10_000,
            (r >> 48) % 400,
            200 + (r >> 60),
        )?;
    }
    write_over(path, &block, bytes)
}

fn write_binary(path: &Path, bytes: u64) -> Result<()> {
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK {
        block.extend_from_slice(&numbers.next().to_le_bytes());
    }
    write_over(path, &block, bytes)
}
