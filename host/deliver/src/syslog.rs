//! Syslog: messages of RFC 5424 over TLS, as RFC 5425 says: each with its length before it.
//!
//! Syslog has no acknowledgement. What was written may be in a buffer of this machine, of the network or of the
//! receiver, and goes when the connection breaks. But TLS has an end: a receiver that is told it (`close_notify`)
//! has read all that came before, and has to end the connection, too (RFC 5425, 4.4). So now and then the
//! connection is ended, and what was sent counts as taken when the receiver has ended it in turn, within TLS: an
//! end of the TCP connection alone can be made by whoever is on the wire, and has swallowed what was sent
//! (`trust_unclean_end` believes it all the same). If it breaks in any other way, all that was sent since is
//! sent again.

use std::io;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use net::{
    ClientTls, ClientTlsMode, ClientTlsOptions, ClientTlsStream, Roots, SocketOptions, TlsError,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::batch::Event;
use crate::options::{Pace, SyslogTo};
use crate::send::{Failure, Purpose, Send, chain};

/// Facility "log audit" of RFC 5424, table 1.
const FACILITY: u64 = 13;
/// RFC 5424, 6.2.4: the longest HOSTNAME.
const MAX_HOSTNAME: usize = 255;
/// RFC 5424, 6.4: MSG is UTF-8.
const BOM: char = '\u{feff}';
/// So long it is looked if the receiver has said something.
const LOOK: Duration = Duration::from_millis(2);
/// A receiver has nothing to say. So many pieces of it are read over in one look, and at the end.
const MAX_PIECES: usize = 64;
const PIECE: usize = 1024;

/// What it means, and what can be done.
const UNCLEAN: &str = "it sent no close_notify, and without one anybody on the wire can have ended it; if \
    this receiver never sends any, trust_unclean_end = true believes its ends all the same";

type Stream = ClientTlsStream<TcpStream>;

pub struct Syslog {
    to: SyslogTo,
    tls: ClientTls,
    hostname: String,
    pace: Pace,
    open: Option<Open>,
}

struct Open {
    stream: Stream,
    last_write: Instant,
}

impl Syslog {
    pub fn new(to: &SyslogTo, pace: Pace) -> Result<Self, TlsError> {
        let mut options = ClientTlsOptions::new(ClientTlsMode::VerifyFull);
        options.roots = to.tls.ca.clone().map(Roots::File);
        options.server_name.clone_from(&to.server_name);
        options.identity.clone_from(&to.tls.identity);
        Ok(Self {
            to: to.clone(),
            tls: ClientTls::build(options)?,
            hostname: hostname(),
            pace,
            open: None,
        })
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let options = SocketOptions {
            // A receiver that is gone is noticed though nothing comes from it.
            user_timeout: Some(self.pace.attempt),
            ..SocketOptions::default()
        };
        let (host, limit) = (&self.to.host, self.pace.attempt);
        let stream = net::connect(host, self.to.port, limit, &options).await;
        let stream = stream.map_err(|e| Failure::later(chain(&e)))?;
        let stream = self.tls.connect(host, stream, limit).await;
        Ok(Open {
            stream: stream.map_err(|e| Failure::later(e.chain()))?,
            last_write: Instant::now(),
        })
    }

    fn message(&self, event: &Event) -> String {
        let number = |name: &str| event.value.get(name).and_then(Value::as_u64);
        let pri = FACILITY * 8 + severity(number("severity_id"));
        let time = recorder::timestamp(event.time_ms.saturating_mul(1_000_000));
        let class = number("class_uid").map_or("-".to_owned(), |class| class.to_string());
        let (hostname, json) = (&self.hostname, &event.json);
        format!("<{pri}>1 {time} {hostname} weir - {class} - {BOM}{json}")
    }
}

#[async_trait]
impl Send for Syslog {
    async fn send(&mut self, events: &[&Event], _: Purpose) -> Result<(), Failure> {
        let mut bytes = String::new();
        for event in events {
            let message = self.message(event);
            bytes.push_str(&format!("{} {message}", message.len()));
        }
        self.look().await?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let write = async {
            open.stream.write_all(bytes.as_bytes()).await?;
            open.stream.flush().await
        };
        match timeout(self.pace.attempt, write).await {
            Ok(Ok(())) => {
                open.last_write = Instant::now();
                self.open = Some(open);
                Ok(())
            }
            Ok(Err(error)) => {
                // What the receiver said before it ended the connection tells more.
                let said = look(&mut open.stream).await.err();
                Err(broken(said.unwrap_or(error)))
            }
            Err(_) => Err(Failure::later(format!(
                "the receiver did not read for {:?}",
                self.pace.attempt
            ))),
        }
    }

    fn unfit(&self, event: &Event) -> Option<String> {
        let (size, max) = (self.message(event).len(), self.to.max_message);
        (size > max).then(|| format!("its message has {size} bytes; max_message_bytes is {max}"))
    }

    fn acknowledges(&self) -> bool {
        false
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let looked = look(&mut open.stream).await;
        if looked.is_err() {
            self.open = None;
        }
        looked.map_err(broken)
    }

    async fn confirm(&mut self) -> Result<(), Failure> {
        // An end that the receiver sent before it had our last message is here after this: it is none of ours.
        if let Some(open) = &self.open {
            let quiet = self.pace.quiet.saturating_sub(open.last_write.elapsed());
            sleep(quiet).await;
        }
        self.look().await?;
        let Some(mut open) = self.open.take() else {
            return Err(Failure::later("the connection is gone"));
        };
        match timeout(
            self.pace.attempt,
            end(&mut open.stream, self.to.trust_unclean_end),
        )
        .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::later(format!(
                "the receiver did not end the connection as it should, so nobody knows what it has: {error}"
            ))),
            Err(_) => Err(Failure::later(format!(
                "the receiver did not end the connection within {:?}, so nobody knows what it has",
                self.pace.attempt
            ))),
        }
    }
}

/// An error: the receiver has ended the connection, or it is broken.
async fn look(stream: &mut Stream) -> io::Result<()> {
    let mut piece = [0; PIECE];
    for _ in 0..MAX_PIECES {
        match timeout(LOOK, stream.read(&mut piece)).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Tells the receiver that this was all, and waits until it has ended the connection without an error: with
/// something unread it would be reset. Within TLS, it has to say so itself, unless that is trusted.
async fn end(stream: &mut Stream, trust_unclean_end: bool) -> io::Result<()> {
    stream.shutdown().await?;
    let mut piece = [0; PIECE];
    let mut ended = false;
    for _ in 0..MAX_PIECES {
        match stream.read(&mut piece).await {
            Ok(0) => ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => match trust_unclean_end {
                true => ended = true,
                false => return Err(io::Error::new(error.kind(), UNCLEAN)),
            },
            Err(error) => return Err(error),
        }
        if ended {
            break;
        }
    }
    if !ended {
        return Err(io::Error::other("it sends instead"));
    }
    let (socket, _) = stream.get_mut();
    for _ in 0..MAX_PIECES {
        if socket.read(&mut piece).await? == 0 {
            return match socket.take_error()? {
                Some(error) => Err(error),
                None => Ok(()),
            };
        }
    }
    Err(io::Error::other("it sends instead"))
}

fn broken(error: io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the receiver has ended the connection".to_owned(),
        _ => chain(&error),
    };
    Failure::later(why)
}

/// Severity of RFC 5424, table 2, for one of OCSF.
fn severity(ocsf: Option<u64>) -> u64 {
    match ocsf {
        Some(6) => 1,
        Some(5) => 2,
        Some(4) => 3,
        Some(3) => 4,
        Some(2) => 5,
        _ => 6,
    }
}

/// This machine's name, as far as a header may hold it.
fn hostname() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().unwrap_or_default();
    let fits = !name.is_empty() && name.len() <= MAX_HOSTNAME;
    match fits && name.bytes().all(|b| b.is_ascii_graphic()) {
        true => name.to_owned(),
        false => "-".to_owned(),
    }
}
