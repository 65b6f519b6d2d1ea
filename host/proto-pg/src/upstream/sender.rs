//! What goes to the upstream, in order, through one buffer.

use bytes::{Bytes, BytesMut};
use pipeline::{Obligations, Permitted, Receipt};
use tokio::io::{AsyncWriteExt, WriteHalf};

use super::Stream;
use crate::statements::Judged;
use crate::wire::encode;

/// A text that every version of the server refuses as a syntax error, whatever the transaction's
/// state: what is sent in place of a refused statement, so that the server fails where the client
/// must see a failure.
const REFUSED_SQL: &[u8] = b"refused by weir";
/// A portal and a statement that no client can have made: names with this prefix are not accepted.
pub(crate) const OWN_PREFIX: &[u8] = b"weir:";
pub(crate) const NO_SUCH: &[u8] = b"weir:none";

/// A decided statement as it goes out.
#[derive(Debug)]
pub(crate) enum Statement {
    /// A whole Query frame, as the client sent it.
    Query(Bytes),
    /// A whole Parse frame, of a text that runs code when it is parsed.
    Parse(Bytes),
    /// A whole FunctionCall frame.
    Call(Bytes),
    /// Runs a bound portal; `describe` asks for its columns first.
    Execute {
        portal: Bytes,
        max_rows: i32,
        describe: bool,
    },
    /// What is only decided to be put on record as refused.
    Nothing,
}

/// A Bind, as it travels.
#[derive(Debug)]
pub(crate) struct DecidedBind {
    pub portal: Bytes,
    pub statement: Bytes,
    pub rest: Bytes,
}

/// A portal whose execution was decided on before it was bound. Only [`Sender::bind_decided`] makes
/// it, and it runs that portal, once.
#[derive(Debug)]
pub(crate) struct Bound {
    portal: Bytes,
    receipt: Receipt,
}

impl Bound {
    pub fn obligations(&self) -> &Obligations {
        self.receipt.obligations()
    }

    /// It is not run after all.
    pub fn give_up(self) -> Receipt {
        self.receipt
    }
}

/// A Parse whose text policy did not deny. It can only be made from a judged text.
pub(crate) struct Planned<'a> {
    frame: &'a [u8],
}

impl<'a> Planned<'a> {
    /// `judged` is the verdict on the text in `frame`.
    pub fn new(frame: &'a [u8], judged: &Judged) -> Option<Self> {
        judged.may_be_planned().then_some(Self { frame })
    }
}

/// Where an internal query's statement and portal live.
pub(crate) const OWN_NAME: &[u8] = b"weir:catalog";

/// Buffers until [`Sender::flush`].
pub(crate) struct Sender {
    io: WriteHalf<Box<dyn Stream>>,
    out: BytesMut,
}

impl Sender {
    pub(super) fn new(io: WriteHalf<Box<dyn Stream>>) -> Self {
        Self {
            io,
            out: BytesMut::new(),
        }
    }

    /// Sends a decided statement and gives back the proof that wants its outcome.
    pub fn send(&mut self, permitted: Permitted<Statement>) -> Receipt {
        let (statement, receipt) = permitted.release();
        match statement {
            Statement::Nothing => {}
            Statement::Query(frame) | Statement::Parse(frame) | Statement::Call(frame) => {
                self.out.extend_from_slice(&frame);
            }
            Statement::Execute {
                portal,
                max_rows,
                describe,
            } => {
                if describe {
                    encode::object(&mut self.out, b'D', b'P', &portal);
                }
                encode::execute(&mut self.out, &portal, max_rows);
            }
        }
        receipt
    }

    /// Binds a portal of a text that calls code: planning it can run that code, so its execution is
    /// decided on first.
    pub fn bind_decided(&mut self, permitted: Permitted<DecidedBind>) -> Bound {
        let (bind, receipt) = permitted.release();
        self.bind(&bind.portal, &bind.statement, &bind.rest);
        Bound {
            portal: bind.portal,
            receipt,
        }
    }

    /// Runs a portal that was decided on when it was bound.
    pub fn execute_bound(&mut self, bound: Bound, max_rows: i32, describe: bool) -> Receipt {
        let Bound { portal, receipt } = bound;
        if describe {
            encode::object(&mut self.out, b'D', b'P', &portal);
        }
        encode::execute(&mut self.out, &portal, max_rows);
        receipt
    }

    /// A decided statement that cannot be sent after all.
    pub fn withdraw<R>(permitted: Permitted<R>) -> Receipt {
        permitted.release().1
    }

    pub fn plan(&mut self, planned: Planned<'_>) {
        self.out.extend_from_slice(planned.frame);
    }

    /// Bind, Describe, Close: names and values, no SQL. A text whose planning runs nothing but
    /// PostgreSQL's own code is bound without a decision of its own.
    pub fn bind(&mut self, portal: &[u8], statement: &[u8], rest: &[u8]) {
        encode::bind(&mut self.out, portal, statement, rest);
    }

    pub fn describe(&mut self, kind: u8, name: &[u8]) {
        encode::object(&mut self.out, b'D', kind, name);
    }

    pub fn close(&mut self, kind: u8, name: &[u8]) {
        encode::object(&mut self.out, b'C', kind, name);
    }

    pub fn sync(&mut self) {
        encode::empty(&mut self.out, b'S');
    }

    pub fn flush_request(&mut self) {
        encode::empty(&mut self.out, b'H');
    }

    pub fn terminate(&mut self) {
        encode::empty(&mut self.out, b'X');
    }

    /// Data of a COPY … FROM STDIN that was permitted.
    pub fn copy_data(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    pub fn copy_done(&mut self) {
        encode::empty(&mut self.out, b'c');
    }

    /// A whole CopyFail frame.
    pub fn copy_fail(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
    }

    /// In place of a refused Query: fails on the server, answers ErrorResponse and ReadyForQuery.
    pub fn refused_query(&mut self) {
        encode::query(&mut self.out, REFUSED_SQL);
    }

    /// In place of a refused Parse: like any failed Parse, it drops the unnamed statement.
    pub fn refused_parse(&mut self, name: &[u8]) {
        encode::parse(&mut self.out, name, REFUSED_SQL, &[]);
    }

    /// In place of a refused Bind, Describe or Close.
    pub fn refused_bind(&mut self) {
        encode::bind(&mut self.out, NO_SUCH, NO_SUCH, encode::BIND_PLAIN);
    }

    pub fn refused_execute(&mut self) {
        encode::execute(&mut self.out, NO_SUCH, 0);
    }

    /// One of our own catalogue queries, between two batches of the client. Named, because a simple
    /// query would destroy the client's unnamed statement. What an earlier one that failed has left
    /// behind goes first.
    pub fn own_query(&mut self, sql: &str) {
        encode::object(&mut self.out, b'C', b'P', OWN_NAME);
        encode::object(&mut self.out, b'C', b'S', OWN_NAME);
        encode::parse(&mut self.out, OWN_NAME, sql.as_bytes(), &[]);
        encode::bind(&mut self.out, OWN_NAME, OWN_NAME, encode::BIND_PLAIN);
        encode::execute(&mut self.out, OWN_NAME, 0);
        encode::object(&mut self.out, b'C', b'P', OWN_NAME);
        encode::object(&mut self.out, b'C', b'S', OWN_NAME);
        self.sync();
    }

    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Writes what is buffered. Not cancel safe: a dropped write leaves the stream in the middle of a
    /// frame, and the connection must be given up.
    pub async fn flush(&mut self) -> std::io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.io.write_all(&self.out).await?;
        self.io.flush().await?;
        // A large message must not keep its buffer for the rest of the session.
        if self.out.capacity() > KEEP_BUFFER {
            self.out = BytesMut::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }
}

const KEEP_BUFFER: usize = 256 << 10;
