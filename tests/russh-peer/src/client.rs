//! What a client does on an SSH host; it prints what it saw.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use russh::client::{self, Config, Handle, Msg};
use russh::keys::known_hosts::check_known_hosts_path;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::keys::{load_openssh_certificate, load_secret_key};
use russh::{Channel, ChannelMsg, Disconnect, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// No step takes longer.
const STEP: Duration = Duration::from_secs(40);
/// What goes each way while keys change, and after how much they do.
const LARGE: usize = 8 << 20;
const REKEY_AFTER: usize = 1 << 20;

/// Where to, as the tests tell it to every client.
struct There {
    host: String,
    port: u16,
    login: String,
    key: PathBuf,
    known: PathBuf,
    password: Option<String>,
}

impl There {
    fn from_env() -> Result<Self> {
        let var = |name: &str| std::env::var(name).with_context(|| format!("${name}"));
        Ok(Self {
            host: var("HOST")?,
            port: var("PORT")?.parse().context("$PORT is no port")?,
            login: var("LOGIN")?,
            key: var("KEY")?.into(),
            known: var("KNOWN")?.into(),
            password: Some(var("PASSWORD")?).filter(|p| !p.is_empty()),
        })
    }
}

/// Knows the host by its key alone, and counts how often keys were exchanged.
struct Trust {
    host: String,
    port: u16,
    known: PathBuf,
    exchanges: Arc<AtomicUsize>,
}

impl client::Handler for Trust {
    type Error = anyhow::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool> {
        let key = key.public_key();
        Ok(check_known_hosts_path(
            &self.host,
            self.port,
            &key,
            &self.known,
        )?)
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        _: &russh::Names,
        _: &mut client::Session,
    ) -> Result<()> {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A connection that nobody has logged in on yet, and its counter.
async fn connect(there: &There, config: Config) -> Result<(Handle<Trust>, Arc<AtomicUsize>)> {
    let exchanges = Arc::new(AtomicUsize::new(0));
    let trust = Trust {
        host: there.host.clone(),
        port: there.port,
        known: there.known.clone(),
        exchanges: Arc::clone(&exchanges),
    };
    let to = (there.host.as_str(), there.port);
    let session = client::connect(Arc::new(config), to, trust).await?;
    Ok((session, exchanges))
}

/// By the key, and by the certificate that lies beside it if there is one.
async fn log_in(there: &There, session: &mut Handle<Trust>) -> Result<()> {
    let key = Arc::new(load_secret_key(&there.key, None)?);
    let mut certificate = there.key.clone().into_os_string();
    certificate.push("-cert.pub");
    let login = there.login.as_str();
    let certificate = PathBuf::from(certificate);
    let result = if certificate.exists() {
        let certificate = load_openssh_certificate(&certificate)?;
        session
            .authenticate_openssh_cert(login, key, certificate)
            .await?
    } else {
        let key = PrivateKeyWithHashAlg::new(key, None);
        session.authenticate_publickey(login, key).await?
    };
    ensure!(result.success(), "not let in: {result:?}");
    Ok(())
}

/// A connection on which things can be done.
async fn logged_in(there: &There, config: Config) -> Result<(Handle<Trust>, Arc<AtomicUsize>)> {
    let (mut session, exchanges) = connect(there, config).await?;
    log_in(there, &mut session).await?;
    Ok((session, exchanges))
}

/// What a channel has said until it closed.
#[derive(Default)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
    ended: Vec<String>,
}

impl Said {
    /// Everything, short enough to be read.
    fn show(&self) -> String {
        let text = |bytes: &[u8]| {
            let shown = bytes.get(..bytes.len().min(70)).unwrap_or_default();
            String::from_utf8_lossy(shown).into_owned()
        };
        let (out, err) = (text(&self.out), text(&self.err));
        format!(
            "{:?} out {out:?} err {err:?} of {}",
            self.ended,
            self.out.len()
        )
    }
}

/// Reads a channel to its end. Nothing may come after CLOSE, and the end is told once.
async fn listen(mut half: russh::ChannelReadHalf) -> Said {
    let mut said = Said::default();
    while let Some(message) = half.wait().await {
        match message {
            ChannelMsg::Data { data } => said.out.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: 1 } => said.err.extend_from_slice(&data),
            ChannelMsg::ExtendedData { ext, .. } => said.ended.push(format!("stream {ext}")),
            ChannelMsg::ExitStatus { exit_status } => said.ended.push(exit_status.to_string()),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                said.ended.push(format!("{signal_name:?}"));
            }
            ChannelMsg::Failure => said.ended.push("refused".into()),
            ChannelMsg::Eof => said.ended.push("eof".into()),
            ChannelMsg::Close => said.ended.push("closed".into()),
            _ => {}
        }
    }
    // A server may tell the exit before or after the end of the output.
    said.ended.sort();
    said
}

/// Runs a command with this as its input.
async fn exec(session: &Handle<Trust>, command: &str, input: &[u8]) -> Result<Said> {
    let channel = session.channel_open_session().await?;
    channel.exec(true, command).await?;
    let (read, write) = channel.split();
    let listening = tokio::spawn(listen(read));
    write.data(input).await?;
    write.eof().await?;
    Ok(listening.await?)
}

async fn shown(session: &Handle<Trust>, command: &str, input: &[u8]) -> Result<()> {
    let said = exec(session, command, input).await?;
    println!("{command}: {}", said.show());
    Ok(())
}

/// Eight channels of one connection at once, each with a code of its own.
async fn eight(session: &Handle<Trust>) -> Result<()> {
    let mut all = Vec::new();
    for code in 0..8 {
        let channel = session.channel_open_session().await?;
        let command = format!("cat; sleep 0.{}; exit {code}", 8 - code);
        channel.exec(true, command).await?;
        let (read, write) = channel.split();
        all.push((code, tokio::spawn(listen(read)), write));
    }
    for (code, _, write) in &all {
        write.data(format!("mine is {code}").as_bytes()).await?;
        write.eof().await?;
    }
    for (code, listening, _) in all {
        println!("of eight, {code}: {}", listening.await?.show());
    }
    Ok(())
}

/// Reads a terminal until it says this.
async fn until(channel: &mut Channel<Msg>, mark: &str) -> Result<()> {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(mark) {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => seen.extend_from_slice(&data),
            Some(_) => {}
            None => bail!(
                "no {mark}, but {:?}",
                String::from_utf8_lossy(&seen).into_owned()
            ),
        }
    }
    Ok(())
}

/// A shell in a terminal that changes its size.
async fn terminal(session: &Handle<Trust>) -> Result<()> {
    let mut channel = session.channel_open_session().await?;
    channel
        .request_pty(true, "xterm", 90, 33, 0, 0, &[])
        .await?;
    channel.request_shell(true).await?;
    let line = b"echo size-$((1+1)) $(stty size) $TERM\r";
    channel.data(&line[..]).await?;
    until(&mut channel, "size-2 33 90 xterm").await?;
    channel.window_change(100, 44, 0, 0).await?;
    channel.data(&line[..]).await?;
    until(&mut channel, "size-2 44 100 xterm").await?;
    channel.data(&b"exit 5\r"[..]).await?;
    let (read, _write) = channel.split();
    println!("shell in a terminal: {:?}", listen(read).await.ended);
    Ok(())
}

/// A connection from the host to a listener of ours, whose answer comes after our end.
async fn forward(session: &Handle<Trust>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let answering = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await?;
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await?;
        all.reverse();
        socket.write_all(&all).await?;
        socket.shutdown().await
    });
    let channel = session
        .channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 4)
        .await?;
    let (read, write) = channel.split();
    let listening = tokio::spawn(listen(read));
    let mut sent = pattern(1 << 20);
    write.data(&sent[..]).await?;
    write.eof().await?;
    let said = listening.await?;
    answering.await??;
    sent.reverse();
    println!("direct-tcpip: same {} {:?}", said.out == sent, said.ended);
    Ok(())
}

/// Bytes of which no two places look alike for long.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// Much both ways, while either side exchanges keys again and again.
async fn rekeyed(there: &There) -> Result<()> {
    let config = Config {
        limits: Limits::new(REKEY_AFTER, REKEY_AFTER, Duration::from_secs(3600)),
        ..Config::default()
    };
    let (session, exchanges) = logged_in(there, config).await?;
    let sent = pattern(LARGE);
    let asked = async {
        // In the middle of it once more, because somebody wants it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        session.rekey_soon().await
    };
    let (said, asked) = tokio::join!(exec(&session, "cat; exit 6", &sent), asked);
    asked?;
    let said = said?;
    let often = exchanges.load(Ordering::Relaxed) > 4;
    println!(
        "rekeyed: often {often}, same {} {:?}",
        said.out == sent,
        said.ended
    );
    end(&session).await
}

/// Silence that is longer than what is borne without an answer to a keepalive.
async fn kept_alive(there: &There) -> Result<()> {
    let config = Config {
        keepalive_interval: Some(Duration::from_millis(200)),
        keepalive_max: 2,
        ..Config::default()
    };
    let (session, _) = logged_in(there, config).await?;
    shown(&session, "sleep 2; exit 3", b"").await?;
    end(&session).await
}

/// By a token where there is one; a wrong one first, which is no reason to hang up.
async fn with_token(there: &There) -> Result<()> {
    let (mut session, _) = connect(there, Config::default()).await?;
    let wrong = session
        .authenticate_password(there.login.as_str(), "no such token")
        .await?;
    println!("a wrong password: let in {}", wrong.success());
    match &there.password {
        None => log_in(there, &mut session).await?,
        Some(token) => {
            let login = there.login.as_str();
            let result = session.authenticate_password(login, token).await?;
            ensure!(result.success(), "not let in by a token: {result:?}");
        }
    }
    shown(&session, "echo by token", b"").await?;
    end(&session).await
}

async fn end(session: &Handle<Trust>) -> Result<()> {
    Ok(session
        .disconnect(Disconnect::ByApplication, "", "")
        .await?)
}

/// What is done, within its time.
async fn step<T>(name: &str, doing: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(STEP, doing).await {
        Ok(done) => done.with_context(|| name.to_owned()),
        Err(_) => bail!("{name} took more than {STEP:?}"),
    }
}

pub async fn run() -> Result<()> {
    let there = There::from_env()?;
    let (session, _) = step("login", logged_in(&there, Config::default())).await?;
    let large = pattern(3_000_000);
    for (command, input) in [
        ("exit 7", &b""[..]),
        ("echo out; echo err >&2; exit 3", b""),
        ("cat", b"in and out"),
        ("sha256sum", &large),
        ("head -c 3000000 /dev/zero | tr '\\0' y", b""),
        ("kill -KILL $$", b""),
        ("no-such-program-here 2>/dev/null", b""),
    ] {
        step(command, shown(&session, command, input)).await?;
    }
    step("eight channels", eight(&session)).await?;
    step("terminal", terminal(&session)).await?;
    step("direct-tcpip", forward(&session)).await?;
    step("ping", async { Ok(session.send_ping().await?) }).await?;
    step("end", end(&session)).await?;
    step("rekey", rekeyed(&there)).await?;
    step("keepalive", kept_alive(&there)).await?;
    step("token", with_token(&there)).await
}
