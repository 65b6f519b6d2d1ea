//! An S3-compatible server: moto, from the tests' Python environment.

use std::process::Command;

use anyhow::{Result, bail};

use crate::proc::{Daemon, Scratch, Signal, free_port};
use crate::{http, paths};

/// moto wants a name, and does not look at the signature.
const SOMEBODY: Option<&str> = Some(
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
     SignedHeaders=host, Signature=none",
);

/// A running server, with one empty bucket.
#[derive(Debug)]
pub struct S3 {
    daemon: Daemon,
    _scratch: Scratch,
    pub port: u16,
    pub bucket: String,
}

impl S3 {
    pub fn start() -> Result<Self> {
        let program = paths::venv().join("bin/moto_server");
        if !program.is_file() {
            bail!("{} is missing: run `cargo xtask deps`", program.display());
        }
        let scratch = Scratch::new("s3")?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut daemon = Daemon::spawn("moto", command, &scratch.join("log"), Signal::Term)?;
        daemon.wait_until(|| http::call(port, "GET", "/", None, None).is_ok())?;
        let bucket = "evidence".to_owned();
        let made = http::call(port, "PUT", &format!("/{bucket}"), None, None)?;
        if made.status != 200 {
            bail!("the bucket could not be made: {}", made.text);
        }
        Ok(Self {
            daemon,
            _scratch: scratch,
            port,
            bucket,
        })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The names of the objects that it holds.
    pub fn objects(&self) -> Result<Vec<String>> {
        let path = format!("/{}?list-type=2", self.bucket);
        let text = http::call(self.port, "GET", &path, None, None)?.text;
        let keys = text
            .split("<Key>")
            .skip(1)
            .filter_map(|part| part.split("</Key>").next());
        Ok(keys.map(str::to_owned).collect())
    }

    /// Takes an object away; gives what it held.
    pub fn take(&self, key: &str) -> Result<Vec<u8>> {
        let path = self.path(key);
        let held = http::raw(self.port, "GET", &path, SOMEBODY, b"")?;
        let gone = http::raw(self.port, "DELETE", &path, SOMEBODY, b"")?;
        if held.status != 200 || gone.status != 204 {
            bail!("{key}: {} and {}", held.status, gone.status);
        }
        Ok(held.bytes)
    }

    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let made = http::raw(self.port, "PUT", &self.path(key), SOMEBODY, bytes)?;
        if made.status != 200 {
            bail!("{key}: {}", made.status);
        }
        Ok(())
    }

    /// Where an object is, with what a path cannot hold escaped.
    fn path(&self, key: &str) -> String {
        let mut path = format!("/{}/", self.bucket);
        for byte in key.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                    path.push(char::from(byte));
                }
                other => path.push_str(&format!("%{other:02X}")),
            }
        }
        path
    }

    /// Makes every later request fail: nobody listens any more.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }
}
