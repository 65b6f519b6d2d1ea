//! A certified OpenID provider, from the npm package in `tests/idp`.

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
        let mut command = Command::new(node);
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
            port,
        })
    }

    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An access token for a person, signed by the provider.
    pub fn token(&self, subject: &str, groups: &[&str]) -> Result<String> {
        let body = json!({"sub": subject, "groups": groups});
        let answer = http::call(self.port, "POST", "/test/token", None, Some(&body))?.ok()?;
        let token = answer.get("access_token").and_then(Value::as_str);
        Ok(token.context("no access_token")?.to_owned())
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
