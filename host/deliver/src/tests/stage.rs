//! A recorder with acts on record, and receivers that do as they are told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use net::Tls;
use parking_lot::Mutex;
use pipeline::ControlEvent;
use pipeline::ports::Journal;
use recorder::{Leaves, Limits, Recorder, RecorderOptions, Store, StoreConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{
    Handle, Options, OtlpTo, Pace, ReceiverOptions, Sign, Status, TlsFiles, To, WebhookTo, open,
};

pub const LIMIT: Duration = Duration::from_secs(30);
pub const PACE: Pace = Pace {
    look: Duration::from_millis(20),
    attempt: Duration::from_secs(2),
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(100),
    longest_asked: Duration::from_secs(6),
    refused_for: Duration::from_secs(2),
    give_up: Duration::from_secs(2),
    window: Duration::from_millis(300),
    quiet: Duration::from_millis(50),
};

pub struct Stage {
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn deliveries(&self) -> PathBuf {
        self.dir.path().join("deliveries")
    }

    pub async fn recorder(&self) -> Recorder {
        let store = StoreConfig::Directory(self.store());
        let mut options = RecorderOptions::new(self.spool(), store);
        options.limits = Limits {
            publish_every: Duration::from_millis(20),
            ..Limits::default()
        };
        options.log.name = "weir.test".into();
        Recorder::open(options).await.unwrap().0
    }

    pub fn run(&self, recorder: &Recorder, receivers: Vec<ReceiverOptions>) -> Running {
        let store = Store::open(&StoreConfig::Directory(self.store())).unwrap();
        let (workers, handle) = open(Options {
            dir: self.deliveries(),
            leaves: Leaves::new(store, &self.spool()),
            log: recorder.control_stream(),
            receivers,
            pace: PACE,
        })
        .unwrap();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for worker in workers {
            tasks.spawn(worker.run(stop.clone()));
        }
        Running {
            handle,
            stop,
            tasks,
        }
    }
}

pub struct Running {
    pub handle: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    pub fn status(&self, name: &str) -> Status {
        let all = self.handle.list();
        all.into_iter().find(|s| s.name == name).unwrap()
    }

    /// Waits until it is so.
    pub async fn until(&self, name: &str, what: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status(name);
            if what(&status) {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Acts on record, each by its own name.
pub async fn acts(recorder: &Recorder, names: impl IntoIterator<Item = String>) {
    for name in names {
        let event = ControlEvent {
            at: SystemTime::now(),
            principal: None,
            action: name,
            resource: "somewhere".into(),
            result: Ok(()),
            detail: String::new(),
        };
        recorder.event(event).await.unwrap();
    }
}

pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}:{n:03}")).collect()
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    RetryAfter(u64),
    Hang,
    /// Takes it, and answers too late.
    Late,
    /// After a part of the answer.
    Close,
    RetryAfterDate(u64),
    /// Yes, and then a part of the body.
    CutBody,
    /// Yes, with this body.
    Body(String),
}

type Decide = Box<dyn FnMut(&Message) -> Answer + Send>;

/// One request.
#[derive(Debug, Clone)]
pub struct Message {
    pub head: String,
    pub body: String,
    pub at: Instant,
}

impl Message {
    pub fn events(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        if let Some(data) = body["data"].as_array() {
            return data.clone();
        }
        let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        let event = |record: &Value| {
            let body = record["body"]["stringValue"].as_str().unwrap();
            serde_json::from_str(body).unwrap()
        };
        records.as_array().unwrap().iter().map(event).collect()
    }

    pub fn header(&self, name: &str) -> String {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }
}

/// Listens as long as the test runs.
pub struct Receiver {
    pub url: String,
    pub all: Arc<Mutex<Vec<Message>>>,
    /// Those that were answered with yes.
    pub taken: Arc<Mutex<Vec<Message>>>,
    decide: Arc<Mutex<Decide>>,
}

impl Receiver {
    pub async fn start(decide: impl FnMut(&Message) -> Answer + Send + 'static) -> Self {
        Self::listen(None, decide).await
    }

    /// By the name `localhost`.
    pub async fn with_tls(
        tls: Tls,
        decide: impl FnMut(&Message) -> Answer + Send + 'static,
    ) -> Self {
        let mut this = Self::listen(Some(tls), decide).await;
        this.url = this.url.replace("http://127.0.0.1", "https://localhost");
        this
    }

    async fn listen(
        tls: Option<Tls>,
        decide: impl FnMut(&Message) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            url: format!("http://{}/s3cret-path", listener.local_addr().unwrap()),
            all: Arc::default(),
            taken: Arc::default(),
            decide: Arc::new(Mutex::new(Box::new(decide))),
        };
        let (all, taken) = (this.all.clone(), this.taken.clone());
        let decide = this.decide.clone();
        let tasks = TaskTracker::new();
        let inner = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, taken, decide) = (all.clone(), taken.clone(), decide.clone());
                let tls = tls.clone();
                inner.spawn(async move {
                    let Some(tls) = tls else {
                        return serve(stream, all, taken, decide).await;
                    };
                    let acceptor = TlsAcceptor::from(tls.current());
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, all, taken, decide).await;
                    }
                });
            }
        });
        this
    }

    pub fn now(&self, decide: impl FnMut(&Message) -> Answer + Send + 'static) {
        *self.decide.lock() = Box::new(decide);
    }

    pub fn options(&self, name: &str) -> ReceiverOptions {
        ReceiverOptions {
            name: name.into(),
            to: To::Webhook(WebhookTo {
                url: self.url.clone(),
                signer: Arc::new(NoKey),
                tls: TlsFiles::default(),
            }),
            batch_events: 7,
            batch_bytes: 1 << 20,
        }
    }

    pub fn otlp(&self, name: &str) -> ReceiverOptions {
        ReceiverOptions {
            to: To::Otlp(OtlpTo {
                url: self.url.clone(),
                token: Some((None, "t0ken".into())),
                tls: TlsFiles::default(),
            }),
            ..self.options(name)
        }
    }

    pub fn taken_events(&self) -> Vec<Value> {
        self.taken.lock().iter().flat_map(Message::events).collect()
    }

    /// What acts with this prefix were told, in order, with what was told twice.
    pub fn told(&self, prefix: &str) -> Vec<String> {
        let events = self.taken_events();
        let operation = |e: &Value| Some(e.pointer("/api/operation")?.as_str()?.to_owned());
        let all = events.iter().filter_map(operation);
        all.filter(|name| name.starts_with(prefix)).collect()
    }

    /// What was said to be missing.
    pub fn missing(&self) -> Vec<Value> {
        let events = self.taken_events();
        let is = |e: &Value| e["unmapped"]["leaf"] == "missing";
        events.into_iter().filter(is).collect()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    all: Arc<Mutex<Vec<Message>>>,
    taken: Arc<Mutex<Vec<Message>>>,
    decide: Arc<Mutex<Decide>>,
) {
    let Some(message) = read(&mut stream).await else {
        return;
    };
    all.lock().push(message.clone());
    let answer = (decide.lock())(&message);
    let (mut length, mut body) = (0, String::new());
    let (status, more) = match answer {
        Answer::CutBody => {
            (length, body) = (1_000, "{\"ok\":".into());
            (200, String::new())
        }
        Answer::Body(text) => {
            (length, body) = (text.len(), text);
            (200, String::new())
        }
        Answer::RetryAfterDate(seconds) => {
            let at = SystemTime::now() + Duration::from_secs(seconds);
            let date = httpdate::fmt_http_date(at);
            (503, format!("Retry-After: {date}\r\n"))
        }
        Answer::Status(status) => (status, String::new()),
        Answer::RetryAfter(seconds) => (429, format!("Retry-After: {seconds}\r\n")),
        Answer::Late => {
            taken.lock().push(message);
            return tokio::time::sleep(LIMIT).await;
        }
        Answer::Hang => return tokio::time::sleep(LIMIT).await,
        Answer::Close => {
            stream.write_all(b"HTTP/1.1 200 O").await.ok();
            return;
        }
    };
    if (200..300).contains(&status) {
        taken.lock().push(message);
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.ok();
    stream.flush().await.ok();
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let mut raw = Vec::new();
    loop {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(raw[..end].to_vec()).unwrap();
            let mut message = Message {
                head,
                body: String::new(),
                at: Instant::now(),
            };
            let length: usize = message.header("content-length").parse().unwrap();
            if raw.len() >= end + 4 + length {
                message.body = String::from_utf8(raw.split_off(end + 4)).unwrap();
                return Some(message);
            }
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
}

struct NoKey;

impl Sign for NoKey {
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        format!("v1,{id}.{timestamp}.{}", body.len())
    }
}
