//! A receiver of webhooks: a small HTTP server that keeps what it is sent and answers as it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 1 << 20;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

impl Request {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Listens as long as it is held.
#[derive(Debug)]
pub struct Receiver {
    pub port: u16,
    requests: mpsc::Receiver<Request>,
}

impl Receiver {
    /// Answers with these statuses, one after the other, and with 204 from then on.
    pub fn start(statuses: Vec<u16>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (send, requests) = mpsc::channel();
        let mut statuses = statuses.into_iter();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let status = statuses.next().unwrap_or(204);
                // Nobody waits for it any more, or it was none: either way the next one may be.
                if let Ok(request) = serve(stream, status)
                    && send.send(request).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { port, requests })
    }

    /// The next request, waiting for it.
    pub fn next(&self, limit: Duration) -> Result<Request> {
        let next = self.requests.recv_timeout(limit);
        next.context("no webhook came")
    }
}

fn serve(mut stream: TcpStream, status: u16) -> Result<Request> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        read_some(&mut stream, &mut raw)?;
    };
    let head = String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).into_owned();
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|l| l.split(' ').nth(1));
    let path = path.context("no path")?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
        .collect();
    let mut request = Request {
        path,
        headers,
        body: Vec::new(),
        status,
    };
    let length: usize = request.header("content-length").parse()?;
    while raw.len() < end + 4 + length.min(MAX_BODY) {
        read_some(&mut stream, &mut raw)?;
    }
    request.body = raw.split_off(end + 4);
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    Ok(request)
}

fn read_some(stream: &mut TcpStream, raw: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 4096];
    let n = stream.read(&mut chunk)?;
    anyhow::ensure!(n > 0, "it ended early");
    raw.extend_from_slice(chunk.get(..n).unwrap_or_default());
    Ok(())
}
