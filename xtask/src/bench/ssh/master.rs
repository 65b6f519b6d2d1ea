//! One connection with many channels.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::process::Client;
use super::stand::{BOX, Peer};

const LIMIT: Duration = Duration::from_secs(60);

/// Ends with this value.
pub struct Master<'a> {
    peer: &'a Peer,
    socket: PathBuf,
    client: Client,
}

impl<'a> Master<'a> {
    pub fn open(peer: &'a Peer, name: &str) -> Result<Self> {
        let socket = peer.dir.join(name);
        let shown = socket.display().to_string();
        let ssh = peer.ssh(&["-M", "-N", "-S", &shown, BOX]);
        let null = Stdio::null;
        let mut client = Client::spawn(ssh, null(), null(), &peer.errors(name))?;
        let begin = Instant::now();
        while !socket.exists() {
            if client.has_ended()? || begin.elapsed() > LIMIT {
                let said = std::fs::read_to_string(peer.errors(name))?;
                bail!("no connection for several channels: {said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            peer,
            socket,
            client,
        })
    }

    /// Before the host, for whoever wants a channel of it.
    pub fn args(&self) -> [String; 2] {
        ["-S".into(), self.socket.display().to_string()]
    }

    pub fn ssh(&self, command: &str) -> Command {
        let [s, socket] = self.args();
        self.peer.ssh(&[&s, &socket, BOX, command])
    }

    pub fn is_open(&mut self) -> Result<bool> {
        Ok(!self.client.has_ended()?)
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        let [s, socket] = self.args();
        let _ = self.peer.ssh(&[&s, &socket, "-O", "exit", BOX]).output();
        let _ = std::fs::remove_file(&self.socket);
    }
}
