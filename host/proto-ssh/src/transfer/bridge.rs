//! For tests: real clients and real servers of OpenSSH, with a reader of ours between them.
//!
//! The client is told to run a script instead of ssh. The script says what it was called with, and joins the
//! client with this process over two named pipes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Effect, FileDone, Request, Verdict, Way};
use crate::scp::Scp;
use crate::sftp::Sftp;

/// A reader under test.
pub(crate) trait Reader: Send {
    /// Bytes of the client's.
    fn client(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String>;

    /// Bytes of the server's.
    fn server(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String>;

    /// An [`Effect::Ask`] has been decided; what was permitted has been sent.
    fn answer(
        &mut self,
        ticket: u64,
        verdict: Verdict<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), String>;

    /// The channel has ended.
    fn end(&mut self, out: &mut Vec<Effect>);
}

impl Reader for Sftp {
    fn client(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String> {
        Sftp::client(self, chunk, out).map_err(|error| error.to_string())
    }

    fn server(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String> {
        Sftp::server(self, chunk, out).map_err(|error| error.to_string())
    }

    fn answer(
        &mut self,
        ticket: u64,
        verdict: Verdict<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), String> {
        Sftp::answer(self, ticket, verdict, out).map_err(|error| error.to_string())
    }

    fn end(&mut self, out: &mut Vec<Effect>) {
        Sftp::end(self, out);
    }
}

impl Reader for Scp {
    fn client(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String> {
        Scp::client(self, chunk, out).map_err(|error| error.to_string())
    }

    fn server(&mut self, chunk: Bytes, out: &mut Vec<Effect>) -> Result<(), String> {
        Scp::server(self, chunk, out).map_err(|error| error.to_string())
    }

    fn answer(
        &mut self,
        ticket: u64,
        verdict: Verdict<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), String> {
        Scp::answer(self, ticket, verdict, out).map_err(|error| error.to_string())
    }

    fn end(&mut self, out: &mut Vec<Effect>) {
        Scp::end(self, out);
    }
}

/// Why a request is refused; none: it is permitted.
pub(crate) type Policy = fn(&Request) -> Option<&'static str>;

/// What passed, and what was told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) asked: Vec<Request>,
    pub(crate) done: Vec<FileDone>,
    pub(crate) answered: usize,
    pub(crate) dropped: usize,
    pub(crate) injected: usize,
    pub(crate) passed: usize,
    /// Why the reader ended the channel.
    pub(crate) error: Option<String>,
}

impl Log {
    /// What was asked for, without what only the size of a file changes.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.asked.iter().map(Request::text).collect()
    }
}

pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let unique = format!("weir-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(unique);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir.canonicalize().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file of so many bytes that are all different from one place to the next.
    pub(crate) fn fill(&self, name: &str, len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        fs::write(self.0.join(name), &bytes).unwrap();
        bytes
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Shared<R> {
    reader: R,
    policy: Policy,
    log: Log,
    to_server: Option<Sender<Bytes>>,
    to_client: Option<Sender<Bytes>>,
}

impl<R: Reader> Shared<R> {
    fn push(&mut self, with: impl FnOnce(&mut Self, &mut Vec<Effect>) -> Result<(), String>) {
        if self.log.error.is_some() {
            return;
        }
        let mut out = Vec::new();
        let result = with(self, &mut out);
        self.run(&mut out);
        if let Err(error) = result {
            self.log.error = Some(error);
            self.to_server = None;
            self.to_client = None;
        }
    }

    fn run(&mut self, effects: &mut Vec<Effect>) {
        let mut queue: std::collections::VecDeque<_> = effects.drain(..).collect();
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::ToServer(bytes) => self.server(bytes),
                Effect::ToClient(bytes) => self.client(bytes),
                Effect::InjectClient(bytes) => {
                    self.log.injected += bytes.len();
                    self.client(bytes);
                }
                Effect::InjectServer(bytes) => {
                    self.log.injected += bytes.len();
                    self.server(bytes);
                }
                Effect::DropClient(n) | Effect::DropServer(n) => self.log.dropped += n,
                Effect::Answered { .. } => self.log.answered += 1,
                Effect::Done(done) => self.log.done.push(done),
                Effect::Ask(request) => {
                    let mut more = Vec::new();
                    let verdict = match (self.policy)(&request) {
                        Some(reason) => Verdict::Refuse(reason),
                        None => {
                            match request.way {
                                Way::ToServer => self.server(request.raw.clone()),
                                Way::ToClient => self.client(request.raw.clone()),
                            }
                            Verdict::Permit
                        }
                    };
                    let answered = self.reader.answer(request.ticket, verdict, &mut more);
                    answered.unwrap();
                    self.log.asked.push(request);
                    for effect in more.into_iter().rev() {
                        queue.push_front(effect);
                    }
                }
            }
        }
    }

    fn server(&mut self, bytes: Bytes) {
        self.log.passed += bytes.len();
        if let Some(to) = &self.to_server {
            let _ = to.send(bytes);
        }
    }

    fn client(&mut self, bytes: Bytes) {
        self.log.passed += bytes.len();
        if let Some(to) = &self.to_client {
            let _ = to.send(bytes);
        }
    }
}

fn pump(mut from: impl Read, mut each: impl FnMut(Bytes)) {
    // As much as fits into one CHANNEL_DATA of OpenSSH.
    let mut buffer = vec![0; 32 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            return;
        }
        each(Bytes::copy_from_slice(&buffer[..n]));
    }
}

fn writer(mut to: impl Write + Send + 'static) -> Sender<Bytes> {
    let (send, receive) = channel::<Bytes>();
    std::thread::spawn(move || {
        for bytes in receive {
            if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    });
    send
}

/// Is there such a program? Where not, what needs it is skipped, and says so.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !found {
        eprintln!("skipped: no {program}; apt-get install openssh-client");
    }
    found
}

/// Makes the script that stands for ssh.
pub(crate) fn script(dir: &Dir) -> String {
    let path = dir.path(".ssh");
    let at = dir.0.display();
    // The pipes are opened in the order in which `through` opens them. It ends when the server does, as ssh would.
    let text = format!(
        "#!/bin/sh\nfor last; do :; done\nprintf '%s' \"$last\" >{at}/.command\n\
         exec 3<{at}/.down 4>{at}/.up 5<&0\ncat <&5 >&4 3<&- 5<&- &\nup=$!\n\
         exec 4>&- 5<&-\ncat <&3\nkill $up 2>/dev/null\nexit 0\n"
    );
    let _ = fs::remove_file(dir.0.join(".command"));
    for pipe in [".down", ".up"] {
        let _ = fs::remove_file(dir.0.join(pipe));
        let made = Command::new("mkfifo").arg(dir.0.join(pipe)).status();
        assert!(made.unwrap().success());
    }
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Runs `client`, which runs the script of `dir`, with a reader between it and a server. Both are made
/// of what the script was called with.
pub(crate) fn through<R: Reader + 'static>(
    dir: &Dir,
    mut client: Command,
    serve: impl FnOnce(&str) -> Command,
    reader: impl FnOnce(&str) -> R,
    policy: Policy,
) -> (Output, Log) {
    let mut client = client
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&dir.0.join(".command"), &mut client);
    let down = fs::OpenOptions::new()
        .write(true)
        .open(dir.0.join(".down"))
        .unwrap();
    let up = fs::File::open(dir.0.join(".up")).unwrap();
    let command = fs::read_to_string(dir.0.join(".command")).unwrap();
    let mut server = serve(&command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let shared = Arc::new(Mutex::new(Shared {
        reader: reader(&command),
        policy,
        log: Log::default(),
        to_server: Some(writer(server.stdin.take().unwrap())),
        to_client: Some(writer(down)),
    }));
    let from_client = {
        let shared = shared.clone();
        std::thread::spawn(move || {
            pump(up, |bytes| {
                shared
                    .lock()
                    .unwrap()
                    .push(|all, out| all.reader.client(bytes, out));
            });
            shared.lock().unwrap().to_server = None;
        })
    };
    let from_server = {
        let (shared, out) = (shared.clone(), server.stdout.take().unwrap());
        std::thread::spawn(move || {
            pump(out, |bytes| {
                shared
                    .lock()
                    .unwrap()
                    .push(|all, out| all.reader.server(bytes, out));
            });
            shared.lock().unwrap().to_client = None;
        })
    };
    // What it prints is read while it runs, or it would wait for that.
    let output = client.wait_with_output().unwrap();
    from_server.join().unwrap();
    from_client.join().unwrap();
    server.wait().unwrap();
    let mut all = shared.lock().unwrap();
    let mut out = Vec::new();
    all.reader.end(&mut out);
    all.run(&mut out);
    (output, std::mem::take(&mut all.log))
}

fn wait_for(path: &Path, client: &mut Child) {
    let until = Instant::now() + Duration::from_secs(5);
    while !path.exists() || fs::metadata(path).unwrap().len() == 0 {
        assert!(Instant::now() < until, "the client did not run the script");
        assert!(client.try_wait().unwrap().is_none(), "the client has ended");
        std::thread::sleep(Duration::from_millis(2));
    }
}
