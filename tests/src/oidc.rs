//! A certified OpenID provider, from the npm package in `tests/idp`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::proc::{Daemon, Scratch, Signal, free_port};
use crate::{http, paths};

/// A running provider.
#[derive(Debug)]
pub struct Provider {
    _daemon: Daemon,
    _scratch: Scratch,
    node: PathBuf,
    pub port: u16,
}

impl Provider {
    pub fn start() -> Result<Self> {
        let dir = paths::idp();
        if !dir.join("node_modules").is_dir() {
            bail!("tests/idp is not installed: run `cargo xtask deps`");
        }
        let node = paths::which("node").context("no node: run `cargo xtask deps`")?;
        let scratch = Scratch::new("idp")?;
        let port = free_port()?;
        let mut command = Command::new(&node);
        command
            .arg("idp.mjs")
            .current_dir(&dir)
            .env("WEIR_IDP_PORT", port.to_string());
        let mut daemon = Daemon::spawn("idp", command, &scratch.join("log"), Signal::Term)?;
        daemon.wait_until(|| {
            http::call(port, "GET", "/.well-known/openid-configuration", None, None)
                .is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Self {
            _daemon: daemon,
            _scratch: scratch,
            node,
            port,
        })
    }

    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A person of the provider logs in by the device flow: code, login page, consent.
    pub fn login(&self, person: &str) -> Result<String> {
        self.play(&["login", person])
    }

    /// A person of the provider agrees at a page that somebody else was shown.
    pub fn approve(&self, url: &str, person: &str) -> Result<()> {
        let out = Command::new(&self.node)
            .args(["play.mjs", &self.issuer(), "approve", url, person])
            .current_dir(paths::idp())
            .output()?;
        if !out.status.success() {
            bail!("approve {url}: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }

    /// A machine gets a token for itself, with its client's secret.
    pub fn machine(&self, client: &str) -> Result<String> {
        let secret = format!("{client}-secret-for-tests-only-0001");
        self.play(&["machine", client, &secret])
    }

    /// An agent exchanges somebody's token for one that says for whom it acts (RFC 8693).
    pub fn exchange(&self, client: &str, token: &str) -> Result<String> {
        let secret = format!("{client}-secret-for-tests-only-0001");
        self.play(&["exchange", client, &secret, token])
    }

    fn play(&self, args: &[&str]) -> Result<String> {
        let out = Command::new(&self.node)
            .args(["play.mjs", &self.issuer()])
            .args(args)
            .current_dir(paths::idp())
            .output()?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("{}: {said}", args.first().unwrap_or(&""));
        }
        let answer: Value = serde_json::from_slice(&out.stdout)?;
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.context("no access_token")?.to_owned())
    }

    /// A new key to sign with. The old one stays published, or is withdrawn.
    pub fn rotate(&self, keep: bool) -> Result<()> {
        let body = json!({"keep": keep});
        http::call(self.port, "POST", "/test/rotate", None, Some(&body))?.ok()?;
        Ok(())
    }

    /// Lines of a configuration that trusts this provider.
    pub fn configuration(&self) -> String {
        format!(
            "[[identity.issuer]]\nissuer = \"{}\"\naudience = \"weir\"\n\
             groups_claim = \"groups\"\n",
            self.issuer()
        )
    }
}
