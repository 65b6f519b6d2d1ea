//! A host: whoever it lets in runs commands under `/bin/sh`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use russh::keys::{Certificate, HashAlg, PublicKey, load_secret_key};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Session, VerifiedPublicKey, run_stream,
};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, Sig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

/// What is read of a program at once.
const CHUNK: usize = 32 * 1024;
/// Packets that wait for a program: more than any test sends to one that does not read.
const WAITING: usize = 16 * 1024;

pub async fn run(port: u16, dir: &Path) -> Result<()> {
    let key = load_secret_key(dir.join("host_ed25519"), None).context("host_ed25519")?;
    let config = Config {
        methods: (&[MethodKind::PublicKey][..]).into(),
        // Nobody guesses here, and a client that has no password yet should not wait.
        auth_rejection_time: Duration::from_millis(10),
        keys: vec![key],
        ..Config::default()
    };
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        let host = Host {
            dir: dir.to_path_buf(),
            channels: HashMap::new(),
            variables: HashMap::new(),
        };
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            let ended = match run_stream(config, socket, host).await {
                Ok(session) => session.await,
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                eprintln!("a connection ended: {error:#}");
            }
        });
    }
}

/// One connection.
struct Host {
    dir: PathBuf,
    /// Those that run nothing yet.
    channels: HashMap<ChannelId, Channel<Msg>>,
    variables: HashMap<ChannelId, Vec<(String, String)>>,
}

impl Host {
    fn lines(&self, file: &str) -> Result<Vec<PublicKey>> {
        let text = std::fs::read_to_string(self.dir.join(file)).with_context(|| file.to_owned())?;
        let keys = text.lines().filter(|line| !line.is_empty());
        Ok(keys
            .map(PublicKey::from_openssh)
            .collect::<Result<_, _>>()?)
    }

    /// Starts this under the shell; `None` is the shell itself.
    fn start(
        &mut self,
        id: ChannelId,
        command: Option<&[u8]>,
        session: &mut Session,
    ) -> Result<()> {
        let Some(channel) = self.channels.remove(&id) else {
            return Ok(session.channel_failure(id)?);
        };
        let mut sh = Command::new("/bin/sh");
        if let Some(command) = command {
            use std::os::unix::ffi::OsStrExt;
            sh.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
        }
        sh.envs(self.variables.remove(&id).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        session.channel_success(id)?;
        let handle = session.handle();
        tokio::spawn(async move {
            if let Err(error) = serve(channel, sh, handle).await {
                eprintln!("a channel ended: {error:#}");
            }
        });
        Ok(())
    }
}

impl Handler for Host {
    type Error = anyhow::Error;

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth> {
        let known = self.lines("authorized_keys")?;
        let is = |one: &PublicKey| one.key_data() == key.public_key.key_data();
        Ok(if known.iter().any(is) {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    /// Of the authority that it was told of, for this login, and for now.
    async fn auth_openssh_certificate(&mut self, user: &str, shown: &Certificate) -> Result<Auth> {
        let authorities = self.lines("authority.pub")?;
        let prints: Vec<_> = authorities
            .iter()
            .map(|key| key.fingerprint(HashAlg::Sha256))
            .collect();
        let names = shown.valid_principals();
        Ok(
            if shown.validate(&prints).is_ok() && names.iter().any(|name| name == user) {
                Auth::Accept
            } else {
                Auth::reject()
            },
        )
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<()> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    /// What an sshd of the tests takes.
    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<()> {
        if !name.starts_with("LC_") {
            return Ok(session.channel_failure(id)?);
        }
        let set = self.variables.entry(id).or_default();
        set.push((name.to_owned(), value.to_owned()));
        Ok(session.channel_success(id)?)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<()> {
        self.start(id, Some(command), session)
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<()> {
        self.start(id, None, session)
    }

    /// It has none.
    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<()> {
        Ok(session.channel_failure(id)?)
    }
}

/// Runs a program on a channel until both have ended.
async fn serve(channel: Channel<Msg>, mut sh: Command, handle: Handle) -> Result<()> {
    let id = channel.id();
    let mut child = sh.spawn().context("/bin/sh")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (stdin, stdout) = stdin.zip(stdout).context("no pipes")?;
    let stderr = stderr.context("no pipe")?;
    let (read, write) = channel.split();
    let feeding = tokio::spawn(feed(read, stdin));
    let (out, err) = tokio::join!(pass(stdout, &write, None), pass(stderr, &write, Some(1)));
    out.and(err)?;
    let status = child.wait().await?;
    write.eof().await?;
    match status.code() {
        Some(code) => write.exit_status(code as u32).await?,
        None => {
            use std::os::unix::process::ExitStatusExt;
            let signal = match status.signal() {
                Some(15) => Sig::TERM,
                _ => Sig::KILL,
            };
            let told = handle.exit_signal_request(id, signal, false, String::new(), String::new());
            let _ = told.await;
        }
    }
    write.close().await?;
    feeding.abort();
    Ok(())
}

/// What the client sends goes to the program, which may have stopped reading. What it has not read yet waits here: a
/// full queue of one channel stops russh's whole connection, and `cat` of much would then wait for itself.
async fn feed(mut read: ChannelReadHalf, mut stdin: ChildStdin) {
    let (give, mut take) = mpsc::channel::<Vec<u8>>(WAITING);
    let writing = async move {
        let mut reads = true;
        while let Some(data) = take.recv().await {
            reads = reads && stdin.write_all(&data).await.is_ok();
        }
    };
    let reading = async move {
        while let Some(message) = read.wait().await {
            let more = match message {
                ChannelMsg::Data { data } => give.send(data.to_vec()).await.is_ok(),
                ChannelMsg::Eof => false,
                _ => true,
            };
            if !more {
                return;
            }
        }
    };
    tokio::join!(writing, reading);
}

/// What the program says goes to the client, on this stream.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    write: &ChannelWriteHalf<Msg>,
    stream: Option<u32>,
) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        let Some(said) = chunk.get(..length).filter(|said| !said.is_empty()) else {
            return Ok(());
        };
        match stream {
            None => write.data(said).await?,
            Some(stream) => write.extended_data(stream, said).await?,
        }
    }
}
