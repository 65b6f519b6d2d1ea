//! A small PostgreSQL client that shows every byte: frames in, frames out, nothing interpreted that
//! a test does not ask for. Also the loads of the benchmarks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(60);
const PROTOCOL_3: i32 = 196_608;
/// The server never sends a frame larger than this in a test.
const MAX_FRAME: usize = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// An error or notice of the server's, by field code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(char, String)>);

impl Fields {
    pub fn get(&self, code: char) -> &str {
        self.0
            .iter()
            .find(|(c, _)| *c == code)
            .map_or("", |(_, text)| text)
    }
    pub fn sqlstate(&self) -> &str {
        self.get('C')
    }
    pub fn message(&self) -> &str {
        self.get('M')
    }
}

/// Everything that came up to ReadyForQuery.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub tags: Vec<String>,
    pub errors: Vec<Fields>,
    pub notices: Vec<Fields>,
    pub copied: Vec<u8>,
    pub frames: Vec<Frame>,
    /// The transaction status of ReadyForQuery; 0 if the connection ended first.
    pub status: u8,
}

impl Reply {
    pub fn error(&self) -> Option<&Fields> {
        self.errors.first()
    }
    /// Everything received, as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.frames
            .iter()
            .flat_map(|f| f.body.iter().copied())
            .collect()
    }
    pub fn text(&self, row: usize, column: usize) -> Option<String> {
        let value = self.rows.get(row)?.get(column)?.as_ref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// One connection.
pub struct Client {
    read: Box<dyn Read + Send>,
    write: Box<dyn Write + Send>,
    /// What ends the TLS layer, where there is one.
    tls: Option<Child>,
    buffer: Vec<u8>,
    at: usize,
    /// BackendKeyData.
    pub key: Vec<u8>,
    pub parameters: Vec<(String, String)>,
}

/// A connection before anything was said on it.
pub fn raw(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

impl Client {
    /// Connects without TLS, and with `password` if the server asks for one in clear text.
    pub fn connect(port: u16, user: &str, database: &str, password: &str) -> Result<Self> {
        Self::connect_with(port, &[("user", user), ("database", database)], password)
    }

    pub fn connect_with(port: u16, params: &[(&str, &str)], password: &str) -> Result<Self> {
        Self::over(raw(port)?)?.start(params, password)
    }

    /// Connects with TLS, by way of `openssl s_client`, without looking at the certificate.
    pub fn connect_tls(port: u16, user: &str, database: &str, password: &str) -> Result<Self> {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-starttls", "postgres"])
            .args(["-connect", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("openssl s_client")?;
        let read = child.stdout.take().context("no output of openssl")?;
        let write = child.stdin.take().context("no input of openssl")?;
        let mut client = Self::new(Box::new(read), Box::new(write));
        client.tls = Some(child);
        client.start(&[("user", user), ("database", database)], password)
    }

    /// A connection on which the startup message is still to be sent.
    pub fn over(stream: TcpStream) -> Result<Self> {
        Ok(Self::new(Box::new(stream.try_clone()?), Box::new(stream)))
    }

    fn new(read: Box<dyn Read + Send>, write: Box<dyn Write + Send>) -> Self {
        Self {
            read,
            write,
            tls: None,
            buffer: Vec::new(),
            at: 0,
            key: Vec::new(),
            parameters: Vec::new(),
        }
    }

    fn start(mut self, params: &[(&str, &str)], password: &str) -> Result<Self> {
        self.send_raw(&startup(params))?;
        loop {
            let frame = self.frame()?;
            match frame.tag {
                b'R' => match frame.body.get(..4) {
                    Some([0, 0, 0, 0]) => {}
                    Some([0, 0, 0, 3]) => self.send(b'p', &cstr(password))?,
                    other => bail!("the server asks for authentication {other:?}"),
                },
                b'K' => self.key = frame.body,
                b'S' => {
                    let mut parts = frame.body.split(|b| *b == 0);
                    let mut next =
                        || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                    self.parameters.push((next(), next()));
                }
                b'E' => {
                    let fields = fields(&frame.body);
                    bail!("{}: {}", fields.sqlstate(), fields.message());
                }
                b'Z' => return Ok(self),
                _ => {}
            }
        }
    }

    pub fn send(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        self.send_raw(&frame(tag, body))
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.write.write_all(bytes)?;
        self.write.flush()?;
        Ok(())
    }

    /// The next frame.
    pub fn frame(&mut self) -> Result<Frame> {
        while self.buffer.len() - self.at < 5 {
            self.fill()?;
        }
        let head = self.buffer.get(self.at..self.at + 5).context("no header")?;
        let (tag, length) = match head {
            [tag, a, b, c, d] => (*tag, u32::from_be_bytes([*a, *b, *c, *d]) as usize),
            _ => bail!("no header"),
        };
        if !(4..MAX_FRAME).contains(&length) {
            bail!("a frame of {length} bytes");
        }
        while self.buffer.len() - self.at < 1 + length {
            self.fill()?;
        }
        let body = self
            .buffer
            .get(self.at + 5..self.at + 1 + length)
            .context("no body")?
            .to_vec();
        self.at += 1 + length;
        Ok(Frame { tag, body })
    }

    fn fill(&mut self) -> Result<()> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let mut chunk = vec![0; 64 << 10];
        let n = loop {
            // A machine that is stopped for a moment interrupts reads that have a timeout.
            match self.read.read(&mut chunk) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.context("reading from the server")?,
            }
        };
        if n == 0 {
            bail!("the server closed the connection");
        }
        self.buffer
            .extend_from_slice(chunk.get(..n).unwrap_or_default());
        Ok(())
    }

    /// Reads up to ReadyForQuery, or to the end of the connection if an error came before it.
    pub fn reply(&mut self) -> Result<Reply> {
        self.reply_and_feed(&[])
    }

    /// The same; a server that wants rows copied to it gets `feed`.
    pub fn reply_and_feed(&mut self, feed: &[u8]) -> Result<Reply> {
        let mut reply = Reply::default();
        loop {
            let frame = match self.frame() {
                Ok(frame) => frame,
                Err(_) if !reply.errors.is_empty() => return Ok(reply),
                Err(error) => return Err(error),
            };
            match frame.tag {
                b'D' => reply.rows.push(row(&frame.body)?),
                b'C' => reply.tags.push(text(&frame.body)),
                b'E' => reply.errors.push(fields(&frame.body)),
                b'N' => reply.notices.push(fields(&frame.body)),
                b'd' => reply.copied.extend_from_slice(&frame.body),
                b'G' => self.send_raw(feed)?,
                b'Z' => reply.status = frame.body.first().copied().unwrap_or_default(),
                _ => {}
            }
            let end = frame.tag == b'Z';
            reply.frames.push(frame);
            if end {
                return Ok(reply);
            }
        }
    }

    /// One simple query.
    pub fn query(&mut self, sql: &str) -> Result<Reply> {
        self.send(b'Q', &cstr(sql))?;
        self.reply()
    }

    /// Parse, Bind, Describe, Execute, Sync with parameters as text and all results in `format`.
    pub fn extended(&mut self, sql: &str, params: &[Option<&str>], format: i16) -> Result<Reply> {
        let mut out = parse("", sql);
        out.extend(bind("", "", params, &[format]));
        out.extend(frame(b'D', b"P\0"));
        out.extend(execute("", 0));
        out.extend(frame(b'S', b""));
        self.send_raw(&out)?;
        self.reply()
    }

    /// Reads rows as fast as they come and keeps none: how many, and how many bytes.
    pub fn drain(&mut self, sql: &str) -> Result<(u64, u64)> {
        self.send(b'Q', &cstr(sql))?;
        let mut counter = Counter::default();
        let mut chunk = vec![0; 256 << 10];
        loop {
            let n = self.read.read(&mut chunk).context("reading rows")?;
            if n == 0 {
                bail!(
                    "the server closed the connection after {} rows",
                    counter.rows
                );
            }
            if counter.feed(chunk.get(..n).unwrap_or_default())? {
                return Ok((counter.rows, counter.bytes));
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(child) = self.tls.as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts frames in a stream without keeping it.
#[derive(Debug, Default)]
struct Counter {
    rows: u64,
    bytes: u64,
    header: Vec<u8>,
    left: usize,
    tag: u8,
    error: Vec<u8>,
}

impl Counter {
    /// True at ReadyForQuery.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<bool> {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.left > 0 {
                let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
                if self.tag == b'E' {
                    self.error.extend_from_slice(now);
                }
                self.left -= now.len();
                bytes = rest;
            } else {
                let (now, rest) = bytes.split_at((5 - self.header.len()).min(bytes.len()));
                self.header.extend_from_slice(now);
                bytes = rest;
                let [tag, a, b, c, d] = *self.header.as_slice() else {
                    continue;
                };
                self.tag = tag;
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                self.header.clear();
                self.rows += u64::from(tag == b'D');
            }
            if self.left == 0 && self.header.is_empty() && self.tag == b'Z' {
                if !self.error.is_empty() {
                    bail!("{}", fields(&self.error).message());
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

// ---- frames

pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

pub fn startup(params: &[(&str, &str)]) -> Vec<u8> {
    let mut body = PROTOCOL_3.to_be_bytes().to_vec();
    for (name, value) in params {
        body.extend(cstr(name));
        body.extend(cstr(value));
    }
    body.push(0);
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    let mut body = cstr(name);
    body.extend(cstr(sql));
    body.extend(0_i16.to_be_bytes());
    frame(b'P', &body)
}

pub fn bind(portal: &str, statement: &str, params: &[Option<&str>], formats: &[i16]) -> Vec<u8> {
    let mut body = cstr(portal);
    body.extend(cstr(statement));
    body.extend(0_i16.to_be_bytes());
    body.extend((params.len() as i16).to_be_bytes());
    for param in params {
        match param {
            Some(value) => {
                body.extend((value.len() as i32).to_be_bytes());
                body.extend(value.as_bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend((formats.len() as i16).to_be_bytes());
    for format in formats {
        body.extend(format.to_be_bytes());
    }
    frame(b'B', &body)
}

pub fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    let mut body = cstr(portal);
    body.extend(max_rows.to_be_bytes());
    frame(b'E', &body)
}

pub fn cstr(text: &str) -> Vec<u8> {
    let mut out = text.as_bytes().to_vec();
    out.push(0);
    out
}

pub fn fields(body: &[u8]) -> Fields {
    let parts = body.split(|b| *b == 0).filter_map(|part| {
        let (code, text) = part.split_first()?;
        Some((
            char::from(*code),
            String::from_utf8_lossy(text).into_owned(),
        ))
    });
    Fields(parts.collect())
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body)
        .trim_end_matches('\0')
        .to_owned()
}

fn row(body: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
    let (count, mut rest) = body
        .split_first_chunk::<2>()
        .context("a row without a count")?;
    let mut values = Vec::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .context("a value without length")?;
        let length = i32::from_be_bytes(*length);
        rest = after;
        if let Ok(length) = usize::try_from(length) {
            let value = rest.get(..length).context("a value that ends early")?;
            values.push(Some(value.to_vec()));
            rest = rest.get(length..).unwrap_or_default();
        } else {
            values.push(None);
        }
    }
    Ok(values)
}
