//! A bucket with versions and locks, in memory, that answers each request as a test says.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use super::support::TempDir;
use crate::{
    RecorderOptions, Retention, RetentionMode, S3Config, S3Credentials, StoreConfig, VaultConfig,
};

pub const PREFIX: &str = "v";
/// A request's headers, and a body, at most.
const MAX_REQUEST: usize = 16 << 20;

/// A request, as far as a rule looks at it.
pub struct Asked {
    pub method: String,
    /// The object's key, without the bucket and the prefix.
    pub key: String,
    /// Until when it is to be locked.
    pub until: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Honest,
    Status(u16),
    /// As a store answers who may read an object, and may not know how it is locked.
    WithoutLock,
    /// 200, and nothing is stored.
    Swallow,
}

type Rule = Box<dyn FnMut(&Asked) -> Answer + Send>;

#[derive(Clone, Default)]
struct Object {
    body: Vec<u8>,
    mode: String,
    until: String,
    versions: usize,
}

struct State {
    rule: Rule,
    objects: HashMap<String, Object>,
    requests: HashMap<(String, String), usize>,
}

pub struct Bucket {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Bucket {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            rule: Box::new(|_| Answer::Honest),
            objects: HashMap::new(),
            requests: HashMap::new(),
        }));
        let (shared, tasks) = (state.clone(), TaskTracker::new());
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(serve(stream, shared.clone()));
            }
        });
        Self { port, state }
    }

    pub fn answer(&self, rule: impl FnMut(&Asked) -> Answer + Send + 'static) {
        self.state.lock().rule = Box::new(rule);
    }

    /// What somebody else stores there, without a lock.
    pub fn plant(&self, key: &str, body: &[u8]) {
        let mut state = self.state.lock();
        let object = state.objects.entry(key.to_owned()).or_default();
        object.body = body.to_vec();
        (object.mode, object.until) = Default::default();
        object.versions += 1;
    }

    /// How many versions there are of an object.
    pub fn versions(&self, key: &str) -> usize {
        self.state.lock().objects.get(key).map_or(0, |o| o.versions)
    }

    /// How often it was asked so for keys that begin so.
    pub fn requests(&self, method: &str, below: &str) -> usize {
        let state = self.state.lock();
        let of = state.requests.iter();
        of.filter(|((m, key), _)| m == method && key.starts_with(below))
            .map(|(_, n)| n)
            .sum()
    }

    /// Is there anything whose key has this in it?
    pub fn has(&self, part: &str) -> bool {
        self.state.lock().objects.keys().any(|k| k.contains(part))
    }

    /// As a vault that locks everything for so many days.
    pub fn vault(&self, days: u32) -> VaultConfig {
        VaultConfig {
            store: StoreConfig::S3(S3Config {
                bucket: "b".into(),
                prefix: PREFIX.into(),
                endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
                allow_http: true,
                credentials: Some(S3Credentials {
                    access_key_id: "a".into(),
                    secret_access_key: "b".into(),
                    session_token: None,
                }),
                ..S3Config::default()
            }),
            retention: Some(Retention {
                mode: RetentionMode::Compliance,
                days,
            }),
        }
    }

    pub fn options(&self, dir: &TempDir, days: u32) -> RecorderOptions {
        RecorderOptions {
            vault: Some(self.vault(days)),
            ..dir.options()
        }
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let read = stream.read_buf(&mut bytes).await;
        if read.is_err() || read.is_ok_and(|n| n == 0) || bytes.len() > MAX_REQUEST {
            return;
        }
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = header(&head, "content-length").parse().unwrap_or(0);
        if let Some(body) = bytes.get(end + 4..end + 4 + length) {
            break (head, body.to_vec());
        }
    };
    let answer = state.lock().answer(&head, body);
    stream.write_all(&answer).await.ok();
    stream.shutdown().await.ok();
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
    values.next().map_or("", |(_, value)| value.trim())
}

impl State {
    fn answer(&mut self, head: &str, body: Vec<u8>) -> Vec<u8> {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.split('?').next().unwrap();
        let key = path.strip_prefix(&format!("/b/{PREFIX}/"));
        let asked = Asked {
            method: method.into(),
            key: key.unwrap_or(path).into(),
            until: header(head, "x-amz-object-lock-retain-until-date").into(),
        };
        let count = (asked.method.clone(), asked.key.clone());
        *self.requests.entry(count).or_default() += 1;
        let rule = (self.rule)(&asked);
        if let Answer::Status(status) = rule {
            return response(status, "", b"", method);
        }
        let there = self.objects.get(&asked.key);
        match (method, there) {
            ("PUT", Some(_)) if header(head, "if-none-match") == "*" => {
                response(412, "", b"", method)
            }
            ("PUT", _) => {
                if rule != Answer::Swallow {
                    let object = self.objects.entry(asked.key).or_default();
                    object.mode = header(head, "x-amz-object-lock-mode").into();
                    (object.until, object.body) = (asked.until, body);
                    object.versions += 1;
                }
                response(200, "", b"", method)
            }
            ("GET" | "HEAD", Some(object)) => {
                let (mode, until) = (&object.mode, &object.until);
                let lock = match rule == Answer::WithoutLock || mode.is_empty() {
                    true => String::new(),
                    false => format!(
                        "x-amz-object-lock-mode: {mode}\r\n\
                         x-amz-object-lock-retain-until-date: {until}\r\n"
                    ),
                };
                let more = format!("x-amz-version-id: v{}\r\n{lock}", object.versions);
                response(200, &more, &object.body, method)
            }
            _ => response(404, "", b"", method),
        }
    }
}

fn response(status: u16, more: &str, body: &[u8], method: &str) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\netag: \"e\"\r\n\
         last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n{more}connection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if method != "HEAD" {
        out.extend_from_slice(body);
    }
    out
}
