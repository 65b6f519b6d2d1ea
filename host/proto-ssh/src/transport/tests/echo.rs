//! Both ends as other programs need them: a leg on a socket, a server that echoes, and its client as a process.

use std::path::Path;
use std::process::Stdio;

use aws_lc_rs::rand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::*;

pub(super) const WAIT: Duration = Duration::from_secs(20);

/// A leg on a socket, as simple as can be.
pub(super) struct Wire {
    pub(super) io: TcpStream,
    pub(super) leg: Transport,
    input: BytesMut,
    pub(super) asked: usize,
}

impl Wire {
    pub(super) fn new(io: TcpStream, leg: Transport) -> Self {
        io.set_nodelay(true).unwrap();
        Self {
            io,
            leg,
            input: BytesMut::new(),
            asked: 0,
        }
    }

    pub(super) async fn flush(&mut self) {
        let out = self.leg.output().split();
        self.io.write_all(&out).await.unwrap();
    }

    async fn event(&mut self) -> Event {
        loop {
            let event = self.leg.receive(&mut self.input, Instant::now());
            self.flush().await;
            if let Some(event) = event.unwrap() {
                return event;
            }
            let n = self.io.read_buf(&mut self.input).await.unwrap();
            assert!(n > 0, "the peer closed the connection");
        }
    }

    pub(super) async fn ready(&mut self, verify: impl Fn(&OfferedHostKey)) {
        loop {
            match self.event().await {
                Event::HostKey(offered) => {
                    verify(&offered);
                    self.leg.answer_host_key(true).unwrap();
                    self.flush().await;
                }
                Event::Ready => return,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn packet(&mut self) -> Bytes {
        loop {
            match self.event().await {
                Event::Packet(packet) => return packet,
                Event::HostKey(offered) => {
                    assert!(offered.rekey);
                    self.asked += 1;
                    self.leg.answer_host_key(true).unwrap();
                    self.flush().await;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) async fn expect(&mut self, number: u8) -> Bytes {
        let packet = self.packet().await;
        assert_eq!(packet[0], number, "{}", String::from_utf8_lossy(&packet));
        packet
    }

    pub(super) async fn send(&mut self, message: Vec<u8>) {
        self.leg.send(&message).unwrap();
        self.flush().await;
    }
}

pub(super) fn message(number: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![number];
    fill(&mut out);
    out
}

/// Lets everyone in and sends back what it is sent, as far as the client's window goes: as much of a server as a
/// client needs that runs a command.
pub(super) struct Echo {
    /// The client's number of its channel.
    channel: u32,
    window: usize,
    waiting: BytesMut,
    echoed: usize,
    ended: bool,
}

impl Echo {
    /// How many bytes came back, once the client has closed its channel.
    pub(super) async fn serve(wire: &mut Wire) -> usize {
        wire.ready(|_| panic!("a server is not asked")).await;
        wire.expect(n::SERVICE_REQUEST).await;
        wire.send(message(n::SERVICE_ACCEPT, |m| {
            m.string(b"ssh-userauth");
        }))
        .await;
        wire.expect(n::USERAUTH_REQUEST).await;
        wire.send(vec![n::USERAUTH_SUCCESS]).await;
        let mut echo = Self {
            channel: 0,
            window: 0,
            waiting: BytesMut::new(),
            echoed: 0,
            ended: false,
        };
        while echo.step(wire).await {}
        echo.echoed
    }

    async fn step(&mut self, wire: &mut Wire) -> bool {
        let packet = wire.packet().await;
        let mut r = Reader::new(&packet[1..]);
        match packet[0] {
            n::CHANNEL_OPEN => {
                let _kind = r.string().unwrap();
                self.channel = r.u32().unwrap();
                self.window = r.u32().unwrap() as usize;
                wire.send(message(n::CHANNEL_OPEN_CONFIRMATION, |m| {
                    m.uint32(self.channel)
                        .uint32(0)
                        .uint32(1 << 30)
                        .uint32(32 << 10);
                }))
                .await;
            }
            n::CHANNEL_REQUEST => {
                let (_, name, reply) = (r.u32().unwrap(), r.string().unwrap(), r.bool().unwrap());
                let known = matches!(name, b"exec");
                if reply {
                    let number = if known {
                        n::CHANNEL_SUCCESS
                    } else {
                        n::CHANNEL_FAILURE
                    };
                    wire.send(self.message(number)).await;
                }
            }
            n::CHANNEL_DATA => self.waiting.extend_from_slice(&packet[9..]),
            n::CHANNEL_WINDOW_ADJUST => {
                r.u32().unwrap();
                self.window += r.u32().unwrap() as usize;
            }
            n::CHANNEL_EOF => self.ended = true,
            n::CHANNEL_CLOSE => return false,
            n::GLOBAL_REQUEST => {}
            other => panic!("a message {other}"),
        }
        while self.window > 0 && !self.waiting.is_empty() {
            let some = self.waiting.len().min(self.window).min(16 << 10);
            let data = self.waiting.split_to(some);
            wire.send(message(n::CHANNEL_DATA, |m| {
                m.uint32(self.channel).string(&data);
            }))
            .await;
            self.window -= some;
            self.echoed += some;
        }
        if self.ended && self.waiting.is_empty() {
            self.ended = false;
            wire.send(message(n::CHANNEL_REQUEST, |m| {
                m.uint32(self.channel)
                    .string(b"exit-status")
                    .flag(false)
                    .uint32(7);
            }))
            .await;
            wire.send(self.message(n::CHANNEL_EOF)).await;
            wire.send(self.message(n::CHANNEL_CLOSE)).await;
        }
        true
    }

    fn message(&self, number: u8) -> Vec<u8> {
        message(number, |m| {
            m.uint32(self.channel);
        })
    }
}

/// Has a client connect to our server role, and pipes `len` bytes through it. `command` is told the port.
pub(super) async fn piped(
    config: ServerConfig,
    command: impl FnOnce(&str) -> Command,
    len: usize,
) -> Transport {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = command(&port);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut data = vec![0; len];
    rand::fill(&mut data).unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let write = async {
        stdin.write_all(&data).await.unwrap();
        drop(stdin);
    };
    let read = async {
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).await.unwrap();
        got
    };
    let serve = async {
        let (io, _) = listener.accept().await.unwrap();
        let mut leg = Transport::server(Arc::new(config));
        leg.authenticated();
        let mut wire = Wire::new(io, leg);
        assert_eq!(Echo::serve(&mut wire).await, len);
        wire
    };
    // The connection is kept until the client has ended: what it says last would be answered by a reset otherwise,
    // of which some make an error.
    let all = async { tokio::join!(write, read, serve, child.wait()) };
    let ended = tokio::time::timeout(WAIT, all).await;
    let ((), got, wire, status) = ended.unwrap_or_else(|_| panic!("{command:?} hangs"));
    assert_eq!(status.unwrap().code(), Some(7), "{command:?}");
    assert!(got == data, "{command:?}: other bytes came back");
    wire.leg
}

pub(super) fn missing(program: &str) -> bool {
    let known = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    let found = known
        .iter()
        .any(|dir| Path::new(dir).join(program).exists());
    if !found {
        println!("skipped: this machine has no {program}");
    }
    !found
}

pub(super) async fn service(wire: &mut Wire) {
    wire.send(message(n::SERVICE_REQUEST, |m| {
        m.string(b"ssh-userauth");
    }))
    .await;
    wire.expect(n::SERVICE_ACCEPT).await;
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for i in 0..4 {
            let c = ALPHABET[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { c as char } else { '=' });
        }
    }
    out
}
