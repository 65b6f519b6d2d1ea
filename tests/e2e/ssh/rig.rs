//! A host, Weir before it, and ways through Weir for people.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;
use weir_tests::bundle::Bundle;
use weir_tests::openssh::Server;
use weir_tests::proc::{Scratch, eventually, free_port, listens};
use weir_tests::sshd::{Sshd, Way, keygen, login};
use weir_tests::weir::{Setup, Weir};

/// What the host is called in Weir.
pub(super) const HOST: &str = "web1";

/// What is not the same everywhere.
struct Shape<'a> {
    /// How callers log in.
    auth: &'a str,
    /// Whole tables.
    more: &'a str,
    /// By what the host is known; its key is pinned otherwise.
    trust: Option<&'a str>,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            auth: "\"certificate\", \"token\"",
            more: "",
            trust: None,
        }
    }
}

pub(super) struct Rig {
    pub host: Sshd,
    pub weir: Weir,
    pub port: u16,
    /// Of its own.
    _bundle: Option<Scratch>,
}

impl Rig {
    /// With the bundle that permits everything to `weir-permit-all`.
    pub(super) fn permitting(name: &str) -> Result<Self> {
        Self::permitting_to(&Server::of_system()?, name)
    }

    /// Everything is permitted there, too, but commands are read, scripts gathered, and output is masked.
    pub(super) fn reading(name: &str) -> Result<Self> {
        Self::reading_to(&Server::of_system()?, name)
    }

    /// The same before the server of another OpenSSH.
    pub(super) fn reading_to(server: &Server, name: &str) -> Result<Self> {
        let scratch = Scratch::new(&format!("{name}-bundle"))?;
        let bundle = Bundle::that_reads()?.write(scratch.path())?;
        let rig = Self::start(server, name, "prod", Some(bundle))?;
        Ok(Self {
            _bundle: Some(scratch),
            ..rig
        })
    }

    /// The same before the server of another OpenSSH.
    pub(super) fn permitting_to(server: &Server, name: &str) -> Result<Self> {
        let bundle = weir_tests::paths::root().join("policies/examples/permit-all");
        Self::start(server, name, "prod", Some(bundle))
    }

    /// With the default bundle.
    pub(super) fn by_default(name: &str) -> Result<Self> {
        Self::start(&Server::of_system()?, name, "prod", None)
    }

    /// With a bundle of the test's own, outside production.
    pub(super) fn with_bundle(name: &str, bundle: PathBuf) -> Result<Self> {
        Self::start(&Server::of_system()?, name, "staging", Some(bundle))
    }

    /// With the bundle that permits everything, other logins, and more tables of configuration.
    pub(super) fn with_logins(name: &str, auth: &str, more: &str) -> Result<Self> {
        let bundle = weir_tests::paths::root().join("policies/examples/permit-all");
        Self::with_logins_under(name, bundle, auth, more)
    }

    /// The same with a bundle of the test's own.
    pub(super) fn with_logins_under(
        name: &str,
        bundle: PathBuf,
        auth: &str,
        more: &str,
    ) -> Result<Self> {
        let shape = Shape {
            auth,
            more,
            trust: None,
        };
        Self::start_as(&Server::of_system()?, name, "prod", Some(bundle), &shape)
    }

    /// With the bundle that permits everything, before a host that is known by this.
    pub(super) fn trusting(name: &str, trust: &str) -> Result<Self> {
        let bundle = weir_tests::paths::root().join("policies/examples/permit-all");
        let shape = Shape {
            trust: Some(trust),
            ..Shape::default()
        };
        Self::start_as(&Server::of_system()?, name, "prod", Some(bundle), &shape)
    }

    fn start(server: &Server, name: &str, env: &str, bundle: Option<PathBuf>) -> Result<Self> {
        Self::start_as(server, name, env, bundle, &Shape::default())
    }

    fn start_as(
        server: &Server,
        name: &str,
        env: &str,
        bundle: Option<PathBuf>,
        shape: &Shape<'_>,
    ) -> Result<Self> {
        let host = Sshd::start_of(server, &format!("{name}-host"), "")?;
        let port = free_port()?;
        let pinned = format!("host_keys = [\"{}\"]", host.host_key()?);
        let trust = shape.trust.unwrap_or(&pinned);
        let mut setup = Setup::without_database(name);
        setup.bundle = bundle;
        setup.extra = format!(
            "[[ssh.listener]]\nlisten = \"127.0.0.1:{port}\"\nauth = [{}]\n{}\
             [[target]]\nname = \"{HOST}\"\nprotocol = \"ssh\"\nenv = \"{env}\"\n\
             host = \"127.0.0.1\"\nport = {}\n{trust}\n",
            shape.auth, shape.more, host.port,
        );
        let weir = setup.start()?;
        let rig = Self {
            host,
            weir,
            port,
            _bundle: None,
        };
        eventually(
            "Weir to listen for SSH",
            std::time::Duration::from_secs(20),
            || Ok(listens(port).then_some(())),
        )?;
        let token = rig
            .weir
            .token("somebody", &["weir-permit-all", "engineering"])?;
        let authority = rig.weir.api(&token, "GET", "/ssh/authority", None)?.ok()?;
        let key = authority["target_ca"].as_str();
        rig.host.trust(key.context("no authority for targets")?)?;
        Ok(rig)
    }

    /// For this person, by a certificate; `password` holds a token of theirs.
    pub(super) fn way(&self, subject: &str, groups: &[&str]) -> Result<Way> {
        let token = self.weir.token(subject, groups)?;
        let way = self.way_by_key(subject, "ed25519", Some(&token))?;
        let public = std::fs::read_to_string(way.dir.join("id.pub"))?;
        let body = json!({ "public_key": public.trim() });
        let given = self
            .weir
            .api(&token, "POST", "/ssh/certificates", Some(body))?
            .ok()?;
        let certificate = given["certificate"].as_str().context("no certificate")?;
        std::fs::write(way.dir.join("id-cert.pub"), format!("{certificate}\n"))?;
        Ok(way)
    }

    /// With a new key of this kind, and nothing that says whose it is.
    pub(super) fn way_by_key(&self, name: &str, kind: &str, password: Option<&str>) -> Result<Way> {
        let dir = self.weir.home.join(format!("way-{name}"));
        std::fs::create_dir_all(&dir)?;
        let key = dir.join("id");
        keygen(&key, kind)?;
        let user = format!("{}+{HOST}", login()?);
        let known = self.known_host()?;
        Way::new(&dir, self.port, &user, &known, &key, password)
    }

    /// Weir's own host key, as a client would learn it.
    pub(super) fn known_host(&self) -> Result<String> {
        let out = Command::new("ssh-keyscan")
            .args(["-T", "10", "-p", &self.port.to_string(), "127.0.0.1"])
            .output()?;
        let text = String::from_utf8(out.stdout)?;
        let mut lines = text.lines().filter(|l| !l.starts_with('#'));
        Ok(lines.next().context("ssh-keyscan found no key")?.to_owned())
    }
}
