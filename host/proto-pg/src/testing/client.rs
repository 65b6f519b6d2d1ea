//! A client that sends what it is told and shows what comes back, message by message.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::TOKEN;
use crate::wire::backend::{self, TxStatus};
use crate::wire::startup::{PROTOCOL_3_0, cancel};
use crate::wire::{HEADER, encode, header};

const WAIT: Duration = Duration::from_secs(20);

/// One message from the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub tag: char,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.tag, String::from_utf8_lossy(&self.body))
    }
}

impl Message {
    pub fn field(&self, code: u8) -> String {
        let report = backend::report(&self.body).unwrap();
        String::from_utf8_lossy(report.get(code).unwrap_or_default()).into_owned()
    }

    pub fn row(&self) -> Vec<Option<String>> {
        backend::data_row(&self.body)
            .unwrap()
            .into_iter()
            .map(|v| v.map(|v| String::from_utf8_lossy(v).into_owned()))
            .collect()
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) struct Client {
    pub io: Box<dyn Io>,
    addr: SocketAddr,
    buf: BytesMut,
    pub out: BytesMut,
    pub key: (u32, Vec<u8>),
    pub parameters: Vec<(String, String)>,
    /// What came before ReadyForQuery at the start.
    pub greeting: Vec<Message>,
}

/// What a statement came to: rows, tags, and the error if there was one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub rows: Vec<Vec<Option<String>>>,
    pub tags: Vec<String>,
    /// SQLSTATE and message.
    pub error: Option<(String, String)>,
    pub notices: Vec<String>,
    pub status: Option<TxStatus>,
}

impl Client {
    pub async fn raw(addr: SocketAddr) -> Self {
        let io = TcpStream::connect(addr).await.unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(Box::new(io), addr)
    }

    pub fn over(io: Box<dyn Io>, addr: SocketAddr) -> Self {
        Self {
            io,
            addr,
            buf: BytesMut::new(),
            out: BytesMut::new(),
            key: (0, Vec::new()),
            parameters: Vec::new(),
            greeting: Vec::new(),
        }
    }

    pub async fn connect(addr: SocketAddr, database: &str) -> Result<Self, Message> {
        let mut c = Self::raw(addr).await;
        c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", database)])
            .await;
        c.login(TOKEN).await?;
        Ok(c)
    }

    pub async fn startup(&mut self, version: u32, parameters: &[(&str, &str)]) {
        let mut out = BytesMut::new();
        encode::length_prefixed(&mut out, |b| {
            b.put_u32(version);
            for (name, value) in parameters {
                encode::cstr(b, name.as_bytes());
                encode::cstr(b, value.as_bytes());
            }
            b.put_u8(0);
        });
        self.io.write_all(&out).await.unwrap();
    }

    /// Answers the request for a password and reads up to ReadyForQuery.
    pub async fn login(&mut self, token: &str) -> Result<(), Message> {
        loop {
            let m = self.next().await.expect("the connection ended at login");
            match m.tag {
                'R' if m.body == [0, 0, 0, 3] => {
                    let mut out = BytesMut::new();
                    let mut body = token.as_bytes().to_vec();
                    body.push(0);
                    encode::password(&mut out, &body);
                    self.io.write_all(&out).await.unwrap();
                }
                'S' => {
                    let (n, v) = backend::parameter(&m.body).unwrap();
                    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                    self.parameters.push((text(n), text(v)));
                }
                'K' => {
                    let (pid, secret) = backend::key_data(&m.body).unwrap();
                    self.key = (pid, secret.to_vec());
                }
                'E' => return Err(m),
                'Z' => return Ok(()),
                _ => {}
            }
            self.greeting.push(m);
        }
    }

    /// The next message; none at the end of the connection.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(WAIT, self.next_unbounded())
            .await
            .expect("no message within the time of the test")
    }

    async fn next_unbounded(&mut self) -> Option<Message> {
        loop {
            if let Some(h) = header(&self.buf).unwrap()
                && self.buf.len() >= h.len
            {
                let frame = self.buf.split_to(h.len);
                return Some(Message {
                    tag: char::from(h.tag),
                    body: frame[HEADER..].to_vec(),
                });
            }
            match self.io.read_buf(&mut self.buf).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Sends what was put into `out`.
    pub async fn send(&mut self) {
        let out = self.out.split();
        self.io.write_all(&out).await.unwrap();
    }

    /// Messages up to and including ReadyForQuery, or the end.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(m) = self.next().await {
            let ready = m.tag == 'Z';
            all.push(m);
            if ready {
                break;
            }
        }
        all
    }

    pub async fn query(&mut self, sql: &str) -> Answer {
        encode::query(&mut self.out, sql.as_bytes());
        self.send().await;
        self.answer().await
    }

    pub async fn answer(&mut self) -> Answer {
        Answer::from(self.until_ready().await)
    }

    /// Parse, Bind, Describe, Execute and Sync of the unnamed statement.
    pub async fn prepared(&mut self, sql: &str, params: &[Option<&str>], binary: bool) -> Answer {
        encode::parse(&mut self.out, b"", sql.as_bytes(), &[]);
        self.bind("", "", params, binary);
        encode::object(&mut self.out, b'D', b'P', b"");
        encode::execute(&mut self.out, b"", 0);
        encode::empty(&mut self.out, b'S');
        self.send().await;
        self.answer().await
    }

    pub fn bind(&mut self, portal: &str, statement: &str, params: &[Option<&str>], binary: bool) {
        let mut rest = BytesMut::new();
        rest.put_u16(0);
        rest.put_u16(params.len() as u16);
        for p in params {
            match p {
                None => rest.put_i32(-1),
                Some(p) => {
                    rest.put_i32(p.len() as i32);
                    rest.put_slice(p.as_bytes());
                }
            }
        }
        rest.put_u16(1);
        rest.put_u16(u16::from(binary));
        encode::bind(
            &mut self.out,
            portal.as_bytes(),
            statement.as_bytes(),
            &rest,
        );
    }

    pub fn canceller(&self) -> impl Future<Output = ()> + Send + use<> {
        let (addr, (pid, secret)) = (self.addr, self.key.clone());
        async move {
            let mut io = TcpStream::connect(addr).await.unwrap();
            let mut out = BytesMut::new();
            cancel(&mut out, pid, &secret);
            io.write_all(&out).await.unwrap();
            // The end of the connection says that it was dealt with.
            let mut rest = Vec::new();
            io.read_to_end(&mut rest).await.ok();
        }
    }
}

impl From<Vec<Message>> for Answer {
    fn from(messages: Vec<Message>) -> Self {
        let mut answer = Self::default();
        for m in messages {
            match m.tag {
                'D' => answer.rows.push(m.row()),
                'C' => {
                    let tag = backend::command(&m.body).unwrap();
                    answer.tags.push(String::from_utf8_lossy(tag).into_owned());
                }
                'E' => answer.error = Some((m.field(b'C'), m.field(b'M'))),
                'N' => answer.notices.push(m.field(b'M')),
                'Z' => answer.status = Some(backend::ready(&m.body).unwrap()),
                _ => {}
            }
        }
        answer
    }
}

impl Answer {
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", |(code, _)| code)
    }

    /// The only value of the only row.
    pub fn value(&self) -> Option<&str> {
        match self.rows.as_slice() {
            [row] => row.first().and_then(|v| v.as_deref()),
            _ => None,
        }
    }
}
