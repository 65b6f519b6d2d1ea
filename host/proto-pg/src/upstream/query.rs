//! Our own questions to a server that does nothing else: the catalogue and what names mean.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Upstream;
use crate::catalog::Rows;
use crate::wire::{FrameError, HEADER, MessageError, backend, encode, header};

#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("the server refused a catalogue query: {sqlstate} {message}")]
    Refused { sqlstate: String, message: String },
    #[error("the catalogue is larger than {limit} {what}")]
    TooLarge { what: &'static str, limit: usize },
    #[error("unexpected message {} while reading the catalogue", char::from(*.0))]
    Unexpected(u8),
    #[error("the server sent a broken frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the server sent a broken message: {0}")]
    Message(#[from] MessageError),
    #[error("the catalogue holds text that is not UTF-8")]
    NotUtf8,
    #[error("the server closed the connection")]
    Closed,
    #[error("no answer from the server in time")]
    Timeout,
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Bounds of one answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub rows: usize,
    pub bytes: usize,
    pub time: Duration,
}

impl Bounds {
    /// For `statement_timeout`.
    pub fn milliseconds(&self) -> i32 {
        i32::try_from(self.time.as_millis())
            .unwrap_or(i32::MAX)
            .max(1)
    }
}

/// Collects one result, message by message: over a connection of our own, or between a client's
/// statements.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    rows: Rows,
    bytes: usize,
    error: Option<(String, String)>,
}

impl Collector {
    /// `Ok(true)` with ReadyForQuery.
    pub fn take(&mut self, tag: u8, body: &[u8], bounds: Bounds) -> Result<bool, QueryError> {
        match tag {
            b'D' => {
                self.bytes += body.len();
                if self.bytes > bounds.bytes {
                    return Err(QueryError::TooLarge {
                        what: "bytes",
                        limit: bounds.bytes,
                    });
                }
                if self.rows.len() == bounds.rows {
                    return Err(QueryError::TooLarge {
                        what: "rows",
                        limit: bounds.rows,
                    });
                }
                let text =
                    |v: &[u8]| String::from_utf8(v.to_vec()).map_err(|_| QueryError::NotUtf8);
                let row = backend::data_row(body)?
                    .into_iter()
                    .map(|value| value.map(text).transpose())
                    .collect::<Result<_, _>>()?;
                self.rows.push(row);
            }
            b'E' => {
                let report = backend::report(body)?;
                let message = report.get(b'M').unwrap_or_default();
                self.error = Some((
                    report.sqlstate(),
                    String::from_utf8_lossy(message).into_owned(),
                ));
            }
            b'Z' => return Ok(true),
            // The rest of a plain query's answer, simple or extended.
            b'T' | b'C' | b'1' | b'2' | b'3' | b'n' => {}
            other => return Err(QueryError::Unexpected(other)),
        }
        Ok(false)
    }

    pub fn finish(self) -> Result<Rows, QueryError> {
        match self.error {
            None => Ok(self.rows),
            Some((sqlstate, message)) => Err(QueryError::Refused { sqlstate, message }),
        }
    }
}

impl Upstream {
    /// One query over the idle connection.
    pub async fn query(&mut self, sql: &str, bounds: Bounds) -> Result<Rows, QueryError> {
        tokio::time::timeout(bounds.time, self.query_unbounded(sql, bounds))
            .await
            .unwrap_or(Err(QueryError::Timeout))
    }

    /// One statement, and no more: the server itself refuses a text with several.
    pub async fn one(&mut self, sql: &str, bounds: Bounds) -> Result<Rows, QueryError> {
        let mut out = bytes::BytesMut::new();
        encode::parse(&mut out, b"", sql.as_bytes(), &[]);
        encode::bind(&mut out, b"", b"", encode::BIND_PLAIN);
        encode::execute(&mut out, b"", 0);
        encode::empty(&mut out, b'S');
        tokio::time::timeout(bounds.time, self.ask(&out, bounds))
            .await
            .unwrap_or(Err(QueryError::Timeout))
    }

    /// Has the server keep a text of ours under a name, for [`Self::run`].
    pub async fn prepare(
        &mut self,
        name: &[u8],
        sql: &str,
        types: &[u32],
        bounds: Bounds,
    ) -> Result<(), QueryError> {
        let types: Vec<u8> = types.iter().flat_map(|t| t.to_be_bytes()).collect();
        let mut out = bytes::BytesMut::new();
        encode::parse(&mut out, name, sql.as_bytes(), &types);
        encode::empty(&mut out, b'S');
        tokio::time::timeout(bounds.time, self.ask(&out, bounds))
            .await
            .unwrap_or(Err(QueryError::Timeout))
            .map(drop)
    }

    /// Runs what was prepared, with parameters as text.
    pub async fn run(
        &mut self,
        name: &[u8],
        parameters: &[String],
        bounds: Bounds,
    ) -> Result<Rows, QueryError> {
        let mut out = bytes::BytesMut::new();
        encode::bind(&mut out, b"", name, &encode::texts(parameters));
        encode::execute(&mut out, b"", 0);
        encode::empty(&mut out, b'S');
        tokio::time::timeout(bounds.time, self.ask(&out, bounds))
            .await
            .unwrap_or(Err(QueryError::Timeout))
    }

    async fn query_unbounded(&mut self, sql: &str, bounds: Bounds) -> Result<Rows, QueryError> {
        let mut out = bytes::BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        self.ask(&out, bounds).await
    }

    async fn ask(&mut self, out: &[u8], bounds: Bounds) -> Result<Rows, QueryError> {
        self.io.write_all(out).await?;
        self.io.flush().await?;
        let mut collector = Collector::default();
        loop {
            while let Some(h) = header(&self.buf)? {
                if h.len > bounds.bytes + HEADER {
                    return Err(QueryError::TooLarge {
                        what: "bytes",
                        limit: bounds.bytes,
                    });
                }
                if self.buf.len() < h.len {
                    break;
                }
                let frame = self.buf.split_to(h.len);
                // Parameters and notices may come at any time.
                if matches!(h.tag, b'S' | b'N' | b'A') {
                    continue;
                }
                let body = frame.get(HEADER..).unwrap_or_default();
                if collector.take(h.tag, body, bounds)? {
                    return collector.finish();
                }
            }
            if self.io.read_buf(&mut self.buf).await? == 0 {
                return Err(QueryError::Closed);
            }
        }
    }
}
