//! Somebody at a terminal, who waits for the echo of each key.

use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::Client;
use super::stand::{BOX, Peer};

/// However busy the machine is.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two keys: nobody types faster, and the timers of masks have run out by then, or nearly.
const PAUSE: Duration = Duration::from_millis(8);
/// What is typed: words of every day, and some that secrets begin with.
const TYPED: &[u8] =
    b"git log --since=monday; ghost eyes skim over AK and xo, password of the day; ";
/// The terminal's own echo; nothing else is written.
const COMMAND: &str = "stty -icanon echo; echo ready; exec cat >/dev/null";

pub struct Terminal {
    keys: ChildStdin,
    shown: Receiver<Vec<u8>>,
    typed: usize,
    client: Client,
}

impl Terminal {
    /// `args`: before the host.
    pub fn open(peer: &Peer, args: &[&str], name: &str) -> Result<Self> {
        let args = [args, &["-tt", BOX, COMMAND]].concat();
        let errors = peer.errors(name);
        let mut client = Client::spawn(peer.ssh(&args), Stdio::piped(), Stdio::piped(), &errors)?;
        let keys = client.child().stdin.take().context("no stdin")?;
        let mut out = client.child().stdout.take().context("no stdout")?;
        let (tell, shown) = sync_channel(1_000);
        std::thread::spawn(move || {
            let mut space = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut space) {
                let bytes = space.get(..n).unwrap_or_default().to_vec();
                if tell.send(bytes).is_err() {
                    break;
                }
            }
        });
        let mut terminal = Self {
            keys,
            shown,
            typed: 0,
            client,
        };
        let mut seen = Vec::new();
        while !seen.windows(5).any(|w| w == b"ready") {
            let told = terminal.more();
            seen.extend(told.with_context(|| said(peer, name))?);
        }
        // The end of that line, wherever it is.
        std::thread::sleep(Duration::from_millis(100));
        while terminal.shown.try_recv().is_ok() {}
        Ok(terminal)
    }

    fn more(&mut self) -> Result<Vec<u8>> {
        match self.shown.recv_timeout(LIMIT) {
            Ok(bytes) => Ok(bytes),
            Err(RecvTimeoutError::Timeout) => bail!("nothing is shown for {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the client has ended: {}", self.client.has_ended()?)
            }
        }
    }

    /// Types so many keys, and waits for each. Milliseconds.
    pub fn keys(&mut self, count: usize) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let key = TYPED.get(self.typed % TYPED.len()).copied().unwrap_or(b'a');
            self.typed += 1;
            std::thread::sleep(PAUSE);
            let begin = Instant::now();
            self.keys.write_all(&[key])?;
            self.keys.flush()?;
            let shown = self.more()?;
            times.push(begin.elapsed().as_secs_f64() * 1000.0);
            if shown != [key] {
                bail!(
                    "typed {:?}, shown {:?}",
                    key as char,
                    String::from_utf8_lossy(&shown)
                );
            }
        }
        Ok(times)
    }
}

fn said(peer: &Peer, name: &str) -> String {
    let said = std::fs::read_to_string(peer.errors(name)).unwrap_or_default();
    format!("{}: {}", peer.name, said.trim_end())
}
