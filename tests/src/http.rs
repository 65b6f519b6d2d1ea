//! A small HTTP/1.1 client for the API: JSON over loopback, one connection per call.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer: the status, and the body as JSON (`Null` if it is none).
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The body of a success; anything else is an error that shows it.
    pub fn ok(self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("HTTP {}: {}", self.status, self.text);
        }
        Ok(self.body)
    }
}

/// Calls `http://127.0.0.1:<port><path>`.
pub fn call(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let answer = raw(port, method, path, bearer.as_deref(), body.as_bytes())?;
    Ok(Answer {
        status: answer.status,
        body: serde_json::from_slice(&answer.bytes).unwrap_or(Value::Null),
        text: String::from_utf8_lossy(&answer.bytes).into_owned(),
    })
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Raw {
    pub status: u16,
    pub bytes: Vec<u8>,
}

/// The same with any body both ways, and any way to say who asks.
pub fn raw(
    port: u16,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: &[u8],
) -> Result<Raw> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    if let Some(authorization) = authorization {
        request.push_str(&format!("Authorization: {authorization}\r\n"));
    }
    if !body.is_empty() {
        request.push_str("Content-Type: application/json\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut raw = Vec::new();
    stream
        .read_to_end(&mut raw)
        .with_context(|| format!("{method} {path}"))?;
    parse(&raw).with_context(|| format!("{method} {path}"))
}

fn parse(raw: &[u8]) -> Result<Raw> {
    let end = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .context("no end of the headers")?;
    let (head, body) = raw.split_at(end);
    let head = String::from_utf8_lossy(head).into_owned();
    let body = body.get(4..).unwrap_or_default();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .context("no status")?;
    let chunked = lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let bytes = if chunked {
        unchunk(body)?
    } else {
        body.to_vec()
    };
    Ok(Raw { status, bytes })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|w| w == b"\r\n")
            .context("a chunk without size")?;
        let (size, after) = rest.split_at(end);
        let size = String::from_utf8_lossy(size);
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(out);
        }
        let data = after.get(2..2 + size).context("a chunk that ends early")?;
        out.extend_from_slice(data);
        rest = after.get(2 + size + 2..).context("a chunk without end")?;
    }
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let n =
            chunk.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let at = n >> (18 - 6 * i) & 63;
            out.push(if i <= chunk.len() {
                ALPHABET.get(at).map_or('=', |c| char::from(*c))
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (bytes, text) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn reads_plain_and_chunked() {
        let plain = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(plain).unwrap().status, 403);
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().bytes, b"{\"a\":1}");
    }
}
