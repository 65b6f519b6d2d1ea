//! What deliveries are made from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use recorder::Leaves;
use uuid::Uuid;

/// One request has at most so many events, where nothing else is said.
pub const BATCH_EVENTS: usize = 200;
/// And so many bytes of them, unless a single one is longer.
pub const BATCH_BYTES: usize = 512 << 10;

/// A message of syslog has at most so many bytes, where nothing else is said.
pub const MESSAGE_BYTES: usize = 64 << 10;

pub struct Options {
    /// Where cursors are, and what was set aside; made when absent.
    pub dir: PathBuf,
    pub leaves: Leaves,
    /// The log of this process.
    pub log: Uuid,
    pub receivers: Vec<ReceiverOptions>,
    pub pace: Pace,
}

#[derive(Clone)]
pub struct ReceiverOptions {
    /// Part of file names: letters, digits, dots, dashes and underscores.
    pub name: String,
    pub to: To,
    pub batch_events: usize,
    pub batch_bytes: usize,
}

/// Where to.
#[derive(Clone)]
pub enum To {
    Webhook(WebhookTo),
    Syslog(SyslogTo),
    Otlp(OtlpTo),
}

impl To {
    /// Does an end that anybody on the wire can bring about say that everything was taken?
    pub fn trusts_unclean_end(&self) -> bool {
        matches!(self, Self::Syslog(to) if to.trust_unclean_end)
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// By which certificates both sides show who they are.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// The only authorities that are trusted, PEM; those of the system if none.
    pub ca: Option<PathBuf>,
    /// The certificate chain by which Weir shows who it is, and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A receiver of Standard Webhooks.
#[derive(Clone)]
pub struct WebhookTo {
    pub url: String,
    pub signer: Arc<dyn Sign>,
    pub tls: TlsFiles,
}

/// A receiver of syslog over TLS.
#[derive(Debug, Clone)]
pub struct SyslogTo {
    pub host: String,
    pub port: u16,
    /// The name in its certificate, where that is another than the host.
    pub server_name: Option<String>,
    pub tls: TlsFiles,
    /// A longer message is set aside: the receiver would cut it.
    pub max_message: usize,
    /// An end of the connection without `close_notify` counts, too, though anybody on the wire can bring it about.
    pub trust_unclean_end: bool,
}

/// A receiver of OTLP/HTTP.
#[derive(Clone)]
pub struct OtlpTo {
    /// Without `/v1/logs`.
    pub url: String,
    /// A secret, and the header that it is sent in: without one as a bearer token.
    pub token: Option<(Option<String>, String)>,
    pub tls: TlsFiles,
}

/// Signs a message as Standard Webhooks do.
pub trait Sign: Send + Sync {
    /// What the header `webhook-signature` says.
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String;
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often it is looked whether there is something new.
    pub look: Duration,
    /// One attempt, from the connection to the end of the answer.
    pub attempt: Duration,
    /// The pause after the first failure; it doubles up to the longest.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// A receiver may ask for a longer pause, up to this.
    pub longest_asked: Duration,
    /// So long an event must have been refused before it is set aside.
    pub refused_for: Duration,
    /// For so long it is tried to read what should be there, before it is told as missing.
    pub give_up: Duration,
    /// What was sent to a receiver that does not acknowledge is confirmed after so long.
    pub window: Duration,
    /// So long nothing is sent before that: whatever the receiver said before has come by then.
    pub quiet: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(500),
            attempt: Duration::from_secs(30),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            longest_asked: Duration::from_secs(600),
            refused_for: Duration::from_secs(600),
            give_up: Duration::from_secs(600),
            window: Duration::from_secs(10),
            quiet: Duration::from_secs(1),
        }
    }
}
