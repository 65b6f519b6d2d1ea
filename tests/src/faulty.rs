//! An HTTP/1.1 proxy that does on demand what stores and networks do wrong: it stands between Weir and
//! a store.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A request's headers, and a body, at most.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 64 << 20;
/// How long the server behind may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection is closed before anything is read.
    Refuses,
    /// Reads the request, and never answers.
    Hangs,
    Slow(Duration),
    /// 503, and nothing reaches the server.
    Unavailable,
    /// The server does what it is asked for; its answer is lost.
    LosesAnswers,
    /// A write is answered with 200, and nothing is stored.
    Swallows,
    /// A read gives the first half of an object, as if that were all.
    CutsReads,
    /// A read gives an object with another byte in its middle.
    AltersReads,
    /// A write with a lock that ends in this year or later is stored without any.
    ForgetsLocksFrom(u16),
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    /// The fault, and which of the requests that it concerns it hits: every so-many-th.
    now: Mutex<(Fault, u64)>,
    concerned: AtomicU64,
    requests: AtomicU64,
    hits: AtomicU64,
    stop: AtomicBool,
}

/// A running proxy. What hangs is let go when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before the server on `upstream`, without a fault at first.
    pub fn start(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream,
            now: Mutex::new((Fault::None, 1)),
            concerned: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let of_all = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_all.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = of_all.clone();
                std::thread::spawn(move || {
                    // A client that goes away, or a server that does, is what this is for.
                    let _ = serve(&shared, client);
                });
            }
        });
        Ok(Self { port, shared })
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on every `one_in`-th request that the fault concerns is hit; 1: all of them.
    pub fn set(&self, fault: Fault, one_in: u64) {
        let mut now = self
            .shared
            .now
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *now = (fault, one_in.max(1));
    }

    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests that a fault has hit.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn now(&self) -> (Fault, u64) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that hits this request, if it is one of those that it concerns.
    fn fault(&self, request: Option<&Request>) -> Fault {
        let (fault, one_in) = self.now();
        let method = request.map(|r| r.method.as_str());
        let concerns = match fault {
            Fault::None => false,
            Fault::Refuses => method.is_none(),
            Fault::Swallows => method == Some("PUT"),
            Fault::CutsReads | Fault::AltersReads => {
                method == Some("GET") && request.is_some_and(|r| !r.target.contains('?'))
            }
            Fault::ForgetsLocksFrom(year) => request
                .and_then(Request::locked_until_year)
                .is_some_and(|until| until >= year),
            _ => method.is_some(),
        };
        if !concerns {
            return Fault::None;
        }
        let number = self.concerned.fetch_add(1, Ordering::Relaxed) + 1;
        if !number.is_multiple_of(one_in) {
            return Fault::None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        fault
    }
}

struct Request {
    method: String,
    target: String,
    /// With `Connection: close`.
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Request {
    fn locked_until_year(&self) -> Option<u16> {
        let head = std::str::from_utf8(&self.head).ok()?;
        let until = header(head, "x-amz-object-lock-retain-until-date")?;
        until.get(..4)?.parse().ok()
    }

    /// The same without what says how long it is kept.
    fn without_lock(&self) -> Vec<u8> {
        let head = String::from_utf8_lossy(&self.head);
        let lines = head.split_inclusive("\r\n");
        let other = |line: &&str| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("x-amz-object-lock-")
        };
        lines.filter(other).collect::<String>().into_bytes()
    }
}

fn serve(shared: &Shared, mut client: TcpStream) -> Result<()> {
    if shared.fault(None) == Fault::Refuses {
        return Ok(client.shutdown(Shutdown::Both)?);
    }
    client.set_read_timeout(Some(PATIENCE))?;
    let Some(mut request) = read_request(&mut client)? else {
        return Ok(());
    };
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let fault = shared.fault(Some(&request));
    match fault {
        Fault::Hangs => {
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && !shared.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            return Ok(());
        }
        Fault::Slow(pause) => std::thread::sleep(pause),
        Fault::Unavailable => {
            return answer(&mut client, "503 Slow Down", "");
        }
        Fault::Swallows => {
            return answer(
                &mut client,
                "200 OK",
                "ETag: \"00000000000000000000000000000000\"\r\n",
            );
        }
        Fault::ForgetsLocksFrom(_) => request.head = request.without_lock(),
        _ => {}
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", shared.upstream))?;
    upstream.set_read_timeout(Some(PATIENCE))?;
    upstream.write_all(&request.head)?;
    upstream.write_all(&request.body)?;
    let mut response = Vec::new();
    upstream.read_to_end(&mut response)?;
    match fault {
        Fault::LosesAnswers => return Ok(client.shutdown(Shutdown::Both)?),
        Fault::CutsReads => spoil(&mut response, |body| body.truncate(body.len() / 2)),
        Fault::AltersReads => spoil(&mut response, |body| {
            let middle = body.len() / 2;
            body.iter_mut().skip(middle).take(1).for_each(|b| *b ^= 1);
        }),
        _ => {}
    }
    client.write_all(&closing(&response))?;
    Ok(client.shutdown(Shutdown::Write)?)
}

fn answer(client: &mut TcpStream, status: &str, headers: &str) -> Result<()> {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    client.write_all(text.as_bytes())?;
    Ok(client.shutdown(Shutdown::Write)?)
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some(at + 4)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// None when the client has closed without a request.
fn read_request(client: &mut TcpStream) -> Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    let end = loop {
        if let Some(end) = end_of_head(&bytes) {
            break end;
        }
        let n = client.read(&mut chunk)?;
        if n == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        anyhow::ensure!(bytes.len() < MAX_HEAD + MAX_BODY, "the request is too long");
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes)?;
    anyhow::ensure!(
        header(&head, "transfer-encoding").is_none(),
        "a body without a length"
    );
    let len: usize = header(&head, "content-length").unwrap_or("0").parse()?;
    anyhow::ensure!(len <= MAX_BODY, "a body of {len} bytes");
    while body.len() < len {
        let n = client.read(&mut chunk)?;
        anyhow::ensure!(n > 0, "the body ended early");
        body.extend_from_slice(chunk.get(..n).unwrap_or_default());
    }
    let mut first = head.split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().context("no target")?.to_owned();
    let head = closing(head.as_bytes());
    Ok(Some(Request {
        method,
        target,
        head,
        body,
    }))
}

/// The same message with `Connection: close`: one request for each connection.
fn closing(message: &[u8]) -> Vec<u8> {
    let Some(end) = end_of_head(message) else {
        return message.to_vec();
    };
    let (head, body) = message.split_at(end);
    let head = String::from_utf8_lossy(head);
    let mut out = String::new();
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        if !line.to_ascii_lowercase().starts_with("connection:") {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("Connection: close\r\n\r\n");
    [out.as_bytes(), body].concat()
}

/// Changes the body of a good answer, and the length that it is said to have.
fn spoil(response: &mut Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) {
    let Some(end) = end_of_head(response) else {
        return;
    };
    let mut body = response.split_off(end);
    let head = String::from_utf8_lossy(response).into_owned();
    let is_object =
        head.split(' ').nth(1) == Some("200") && header(&head, "content-length").is_some();
    if !is_object {
        response.append(&mut body);
        return;
    }
    change(&mut body);
    let len = body.len();
    *response = head
        .split("\r\n")
        .map(
            |line| match line.to_ascii_lowercase().starts_with("content-length:") {
                true => format!("Content-Length: {len}"),
                false => line.to_owned(),
            },
        )
        .collect::<Vec<_>>()
        .join("\r\n")
        .into_bytes();
    response.append(&mut body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoilt_answer_is_still_an_answer() {
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nX: y\r\n\r\nabcd".to_vec();
        spoil(&mut answer, |body| body.truncate(2));
        assert_eq!(
            String::from_utf8_lossy(&answer),
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nab"
        );
        let mut missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx".to_vec();
        spoil(&mut missing, Vec::clear);
        assert!(missing.ends_with(b"\r\n\r\nx"));
    }

    #[test]
    fn a_lock_is_left_out_and_nothing_else() {
        let head = "PUT /b/k HTTP/1.1\r\nX-Amz-Object-Lock-Mode: GOVERNANCE\r\n\
                    x-amz-object-lock-retain-until-date: 2033-11-27T00:00:00Z\r\nX: y\r\n\r\n";
        let request = Request {
            method: "PUT".into(),
            target: "/b/k".into(),
            head: head.into(),
            body: Vec::new(),
        };
        assert_eq!(request.locked_until_year(), Some(2033));
        let without = request.without_lock();
        assert_eq!(without, b"PUT /b/k HTTP/1.1\r\nX: y\r\n\r\n");
    }

    #[test]
    fn connections_are_closed_after_one_answer() {
        let answer = closing(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX: y\r\n\r\nabcd");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nabcd"
        );
    }
}
