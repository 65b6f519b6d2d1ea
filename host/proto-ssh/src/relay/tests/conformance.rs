//! The pipeline's suite for protocol crates, over real transports in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pipeline::conformance::futures_like::BoxFuture;
use pipeline::conformance::{self, Harness, Reply};
use pipeline::{
    Access, Action, Caller, EndReason, Ports, Protocol, Resource, Session, SessionId, SessionInfo,
    Target,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Binary, Limits};
use crate::leg::{Leg, Stream};
use crate::mask::Patterns;
use crate::relay::{Readers, run};
use crate::startup::HostIdentity;
use crate::terms::{May, Terms};
use crate::testing::ports::{Keys, alice};
use crate::transport::{ClientConfig, Event, ServerConfig, Transport};
use crate::wire::{ChannelMessage, Connection, Open, Put, Reader, Request};

/// Two legs that have met.
pub(super) async fn pair(keys: &Keys) -> (Leg, Leg) {
    let (a, b): (DuplexStream, DuplexStream) = tokio::io::duplex(256 << 10);
    meet(keys, Box::new(a), Box::new(b)).await
}

/// A client and a server over these.
pub(super) async fn meet(keys: &Keys, a: Box<dyn Stream>, b: Box<dyn Stream>) -> (Leg, Leg) {
    let server = ServerConfig::new(keys.host_keys(None));
    let client = ClientConfig::new(vec!["ssh-ed25519".to_owned()]);
    let mut server = Leg::new(a, Transport::server(Arc::new(server)));
    server.transport.authenticated();
    let mut client = Leg::new(b, Transport::client(Arc::new(client)));
    let meet = async |leg: &mut Leg| loop {
        match leg.recv().await.unwrap() {
            Event::HostKey(_) => leg.transport.answer_host_key(true).unwrap(),
            Event::Ready => break leg.flush().await.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    tokio::join!(meet(&mut client), meet(&mut server));
    (client, server)
}

pub(super) fn message(message: &Connection<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

pub(super) fn on(recipient: u32, of: ChannelMessage<'_>) -> Vec<u8> {
    message(&Connection::Channel {
        recipient,
        message: of,
    })
}

/// A host on which everything succeeds at once.
async fn host(mut leg: Leg, writes: Arc<AtomicU64>) {
    let mut say: Vec<Vec<u8>> = Vec::new();
    let mut next = 100;
    let mut client_of = std::collections::HashMap::new();
    loop {
        for message in say.drain(..) {
            if leg.transport.send(&message).is_err() {
                return;
            }
        }
        let Ok(event) = leg.recv().await else { return };
        let Event::Packet(payload) = event else {
            continue;
        };
        match Connection::parse(&payload).unwrap() {
            Connection::Open(open) => {
                next += 1;
                client_of.insert(next, open.sender);
                say.push(message(&Connection::OpenConfirmation {
                    recipient: open.sender,
                    sender: next,
                    window: 1 << 20,
                    max_packet: 1 << 15,
                    data: b"",
                }));
            }
            Connection::Channel {
                recipient,
                message: ChannelMessage::Request(request),
            } => {
                let client = client_of.remove(&recipient).unwrap();
                if request.name == b"exec" {
                    writes.fetch_add(1, Ordering::SeqCst);
                }
                for answer in [
                    ChannelMessage::Success,
                    ChannelMessage::Data(b"done"),
                    ChannelMessage::Request(Request {
                        name: b"exit-status",
                        want_reply: false,
                        data: &[0; 4],
                    }),
                    ChannelMessage::Eof,
                    ChannelMessage::Close,
                ] {
                    say.push(on(client, answer));
                }
            }
            Connection::Channel {
                recipient,
                message: ChannelMessage::Close,
            } => {
                // Nothing ran on it: then it is the client that closes first.
                if let Some(client) = client_of.remove(&recipient) {
                    say.push(on(client, ChannelMessage::Close));
                }
            }
            _ => {}
        }
    }
}

pub(super) struct Ssh {
    pub(super) keys: Arc<Keys>,
    writes: Arc<AtomicU64>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Wire {
    say: mpsc::UnboundedSender<Vec<u8>>,
    hear: mpsc::UnboundedReceiver<Bytes>,
    pump: JoinHandle<()>,
    /// The host's number of the channel that is open.
    number: Arc<AtomicU32>,
    next: u32,
}

impl Wire {
    fn new(mut leg: Leg) -> Self {
        let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
        let (heard, hear) = mpsc::unbounded_channel();
        let pump = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = leg.recv() => match event {
                        Ok(Event::Packet(payload)) => { heard.send(payload).ok(); }
                        Ok(Event::HostKey(_)) => leg.transport.answer_host_key(true).unwrap(),
                        Ok(Event::Ready) => {}
                        Ok(Event::Disconnected { .. }) | Err(_) => return,
                    },
                    Some(message) = said.recv() => {
                        if leg.transport.send(&message).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Self {
            say,
            hear,
            pump,
            number: Arc::default(),
            next: 0,
        }
    }

    async fn start(&mut self, name: &[u8], what: &[u8]) -> Reply {
        let closed = || Reply::Closed("the connection ended".into());
        self.next += 1;
        let sender = self.next;
        let open = Connection::Open(Open {
            kind: b"session",
            sender,
            window: 1 << 20,
            max_packet: 1 << 15,
            data: b"",
        });
        if self.say.send(message(&open)).is_err() {
            return closed();
        }
        let (mut text, mut status) = (Vec::new(), None);
        loop {
            let Some(payload) = self.hear.recv().await else {
                return closed();
            };
            let number = self.number.load(Ordering::SeqCst);
            match Connection::parse(&payload).unwrap() {
                Connection::OpenConfirmation { sender, .. } => {
                    self.number.store(sender, Ordering::SeqCst);
                    let mut data = Vec::new();
                    data.string(what);
                    let request = ChannelMessage::Request(Request {
                        name,
                        want_reply: true,
                        data: &data,
                    });
                    if self.say.send(on(sender, request)).is_err() {
                        return closed();
                    }
                }
                Connection::Channel { message, .. } => match message {
                    ChannelMessage::ExtendedData { data, .. } => text.extend_from_slice(data),
                    ChannelMessage::Request(r) if r.name == b"exit-status" => {
                        status = Some(Reader::new(r.data).u32().unwrap());
                    }
                    ChannelMessage::Close => {
                        self.say.send(on(number, ChannelMessage::Close)).ok();
                        let text = String::from_utf8(text).unwrap();
                        return match status {
                            Some(0) => Reply::Done,
                            Some(126) => Reply::Refused(text),
                            other => panic!("exit {other:?}: {text}"),
                        };
                    }
                    _ => {}
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

#[async_trait]
impl conformance::Client for Wire {
    async fn read(&mut self) -> Reply {
        self.start(b"subsystem", b"status").await
    }
    async fn write(&mut self) -> Reply {
        self.start(b"exec", b"touch /tmp/x").await
    }
    fn canceller(&self) -> Box<dyn FnOnce() -> BoxFuture + Send> {
        let (say, number) = (self.say.clone(), self.number.clone());
        Box::new(move || {
            Box::pin(async move {
                let mut data = Vec::new();
                data.string(b"INT");
                let request = ChannelMessage::Request(Request {
                    name: b"signal",
                    want_reply: false,
                    data: &data,
                });
                say.send(on(number.load(Ordering::SeqCst), request)).ok();
            })
        })
    }
    async fn vanish(self: Box<Self>) {
        self.pump.abort();
    }
}

pub(super) fn info() -> Arc<SessionInfo> {
    let id = SessionId::new();
    Arc::new(SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal: alice(),
        target: Arc::new(Target {
            name: "web1".into(),
            protocol: Protocol::Ssh,
            env: "test".into(),
            tags: Default::default(),
        }),
        scope: "root".into(),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        started: SystemTime::now(),
        attrs: Default::default(),
    })
}

impl Ssh {
    pub(super) fn new() -> Self {
        Self {
            keys: Keys::new(),
            writes: Arc::default(),
            tasks: Mutex::default(),
        }
    }

    /// The client's end of a session.
    pub(super) async fn client(&self, ports: Ports) -> Result<Leg, Reply> {
        let (client, inside) = pair(&self.keys).await;
        let (outside, hosts) = pair(&self.keys).await;
        let ended = between(ports, inside, outside, Limits::default()).await?;
        let writes = self.writes.clone();
        let mut tasks = self.tasks.lock();
        tasks.push(tokio::spawn(host(hosts, writes)));
        tasks.push(tokio::spawn(async move {
            ended.await.ok();
        }));
        Ok(client)
    }
}

/// A session between these legs, and how it ends.
pub(super) async fn between(
    ports: Ports,
    inside: Leg,
    outside: Leg,
    limits: Limits,
) -> Result<JoinHandle<EndReason>, Reply> {
    let info = info();
    let connect = vec![Access {
        action: Action::SshConnect,
        resource: Resource::SshAccount {
            login: info.scope.clone(),
        },
        target: Some(info.target.clone()),
    }];
    let cancel = CancellationToken::new();
    let caller = Caller {
        cancel: &cancel,
        on_hold: &|_| {},
        survey: None,
    };
    let session = Session::open(ports, info, connect, caller).await;
    let session = session.map_err(|refusal| Reply::Closed(refusal.reason))?;
    let terms = Terms {
        login: "root".into(),
        ports: Arc::new([22]),
        may: May::ALL,
        masks: Arc::new(Patterns::new([]).unwrap()),
        binary: Binary::default(),
        early: Vec::new(),
        shutdown: CancellationToken::new(),
        drain: Duration::from_secs(4),
        limits: Arc::new(limits),
        readers: Readers::default(),
    };
    Ok(tokio::spawn(run(session, inside, outside, terms)))
}

#[async_trait]
impl Harness for Ssh {
    fn write_action(&self) -> &'static [Action] {
        &[Action::SshExec]
    }

    async fn connect(&self, ports: Ports) -> Result<Box<dyn conformance::Client>, Reply> {
        Ok(Box::new(Wire::new(self.client(ports).await?)))
    }

    async fn upstream_writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_keeps_the_promises() {
    let harness = Ssh::new();
    conformance::run(&harness).await;
}
