//! An S3-compatible server: moto, from the tests' Python environment.

use std::process::Command;

use anyhow::{Result, bail};

use crate::proc::{Daemon, Scratch, Signal, free_port};
use crate::{http, paths};

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

    /// Makes every later request fail: nobody listens any more.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }
}
