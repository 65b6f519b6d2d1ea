//! From a raw stream to a client whose identity is proved: key exchange, then the authentication protocol.
//!
//! Architecture invariants:
//! - Nothing about targets is looked at, so nothing about them can be told, before somebody has proved who
//!   they are. The user name decides nothing here.
//! - Wrong proofs are answered after one and the same time, whatever is wrong with them.
//! - A message of the connection protocol before authentication ends the connection.

mod device;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod identity;
pub(crate) mod name;
mod offer;
mod proved;
#[cfg(test)]
mod tests;
pub(crate) mod userauth;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_trait::async_trait;
use pipeline::{Principal, Stranger, TurnedAway};
use ssh_keys::{Certificate, PublicKey};

use crate::action::printable;
use crate::config::{ClientLogin, Limits};
use crate::leg::{Leg, LegError};
use crate::slots::Slots;
use crate::terms::May;
use crate::transport::{Event, HostKey};
use crate::wire::numbers::disconnect;
pub use device::DeviceFlow;
pub use identity::{GatewayKey, OtherKey};
use offer::Offer;
pub(crate) use offer::signed;
pub use proved::Proved;
use userauth::{Ask, Bounds, Methods, Next, UserAuth, Violation, banner};

/// Of a user name, the record keeps so many characters.
const MAX_SAID: usize = 128;

/// Says who holds a key, a certificate or a token. The server wires `identity` in here.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Is this an authority whose certificates are accepted?
    fn authority_is_known(&self, authority: &PublicKey) -> bool;

    /// Has somebody registered this key?
    async fn key_is_known(&self, key: &PublicKey) -> bool;

    /// It is proved that the client has the key of this certificate. Everything else about it is to be checked:
    /// authority, kind, time, principals, addresses, revocation; and what its extensions permit is to be said.
    async fn certificate(
        &self,
        certificate: &Certificate,
        source: IpAddr,
    ) -> Result<Certified, AuthRefused>;

    /// It is proved that the client has this key.
    async fn key(&self, key: &PublicKey, source: IpAddr) -> Result<Arc<Principal>, AuthRefused>;

    async fn token(&self, token: &str, source: IpAddr) -> Result<Arc<Principal>, AuthRefused>;

    /// Asked again when a session begins, however long ago somebody came in, and for each that they jump to: would what
    /// they came in by let them in now, from there? Must not take long.
    async fn still_counts(&self, proved: &Proved, who: &Principal, source: IpAddr) -> bool;

    /// Begins a login by another device. Nothing about the user name has a part in it.
    async fn device(&self, source: IpAddr) -> Result<DeviceFlow, AuthRefused>;
}

/// Who came with a certificate, and what it lets its sessions ask for. For certificates that leave that to policy
/// it is [`May::ALL`]; for those of OpenSSH's kind, [`May::of_extensions`].
pub struct Certified {
    pub principal: Arc<Principal>,
    pub may: May,
}

/// Why a proof is not accepted; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{client_text}")]
pub struct AuthRefused {
    pub client_text: String,
}

/// The keys by which clients know this gateway.
pub trait HostIdentity: Send + Sync {
    /// For the gateway itself, or, for a client that jumps through it, for the host of this name: what is a
    /// certificate then names that host. Asked for every connection, so that keys can be changed.
    fn host_keys(&self, name: Option<&str>) -> Vec<Arc<dyn HostKey>>;
}

/// Why nobody is let in. The client has been told what it may know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    #[error(transparent)]
    Leg(#[from] LegError),
    #[error("authentication: {0}")]
    Violation(#[from] Violation),
    #[error("the client disconnected: {0}")]
    Disconnected(String),
    #[error("not authenticated in time")]
    Timeout,
    #[error("{0}")]
    Internal(&'static str),
}

/// A connection inside one that has authenticated.
#[derive(Clone)]
pub(crate) struct Outer {
    pub principal: Arc<Principal>,
    pub may: May,
    pub by: Proved,
}

/// What a login needs to know of where it happens.
pub(crate) struct Door<'a> {
    pub auth: &'a dyn Authenticate,
    pub logins: &'a [ClientLogin],
    pub banner: Option<&'a str>,
    pub outer: Option<&'a Outer>,
    pub source: IpAddr,
    pub limits: &'a Limits,
    /// For logins that wait for a device.
    pub devices: &'a Slots,
    /// Where the record is told of wrong proofs.
    pub turned_away: &'a TurnedAway,
}

/// A client that has proved who it is; it has not been told yet.
pub(crate) struct Authenticated {
    pub user: Arc<str>,
    pub who: Outer,
}

/// Takes a new connection to a proved identity, or tells the client why not.
pub(crate) async fn login(leg: &mut Leg, door: &Door<'_>) -> Result<Authenticated, StartupError> {
    let begun = Instant::now();
    let attempt = async {
        let limits = door.limits;
        ready(leg, begun + limits.keys_timeout.min(limits.login_timeout)).await?;
        let session_id = leg
            .transport
            .session_id()
            .ok_or(StartupError::Internal("a key exchange without a session"))?
            .to_vec();
        let bounds = Bounds {
            attempts: door.limits.max_attempts,
            probes: door.limits.max_probes,
            requests: door.limits.max_auth_requests,
            flows: door.limits.max_device_flows_per_connection,
        };
        let login = Login {
            machine: UserAuth::new(&session_id, methods(door), bounds),
            leg,
            door,
            flow: None,
            result: None,
            begun,
            deadline: begun + door.limits.login_timeout,
            greeting: door.banner,
        };
        login.run().await
    };
    let result = attempt.await;
    if let Err(error) = &result {
        say_goodbye(leg, error, door.limits).await;
    }
    result
}

fn methods(door: &Door<'_>) -> Methods {
    if door.outer.is_some() {
        return Methods {
            inside: true,
            ..Methods::default()
        };
    }
    let has = |login| door.logins.contains(&login);
    Methods {
        certificate: has(ClientLogin::Certificate),
        key: has(ClientLogin::Key),
        token: has(ClientLogin::Token),
        device: has(ClientLogin::Device),
        inside: false,
    }
}

/// Waits for the first keys to be in use.
async fn ready(leg: &mut Leg, deadline: Instant) -> Result<(), StartupError> {
    match within(deadline, leg.recv()).await?? {
        Event::Ready => Ok(()),
        Event::Disconnected { text, .. } => Err(StartupError::Disconnected(text)),
        Event::HostKey(_) | Event::Packet(_) => {
            Err(StartupError::Internal("a packet before the first keys"))
        }
    }
}

async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, StartupError> {
    tokio::time::timeout_at(deadline.into(), future)
        .await
        .map_err(|_| StartupError::Timeout)
}

/// The reason, in the words of the protocol; to whoever reads it in time.
async fn say_goodbye(leg: &mut Leg, error: &StartupError, limits: &Limits) {
    let (reason, text) = match error {
        StartupError::Violation(v @ (Violation::Attempts | Violation::Probes)) => {
            (disconnect::NO_MORE_AUTH_METHODS_AVAILABLE, v.to_string())
        }
        StartupError::Violation(v @ Violation::Service(_)) => {
            (disconnect::SERVICE_NOT_AVAILABLE, v.to_string())
        }
        StartupError::Violation(v) => (disconnect::PROTOCOL_ERROR, v.to_string()),
        StartupError::Timeout => (
            disconnect::BY_APPLICATION,
            "not authenticated in time".to_owned(),
        ),
        StartupError::Internal(_) => (
            disconnect::BY_APPLICATION,
            "an internal error of Weir".to_owned(),
        ),
        // The transport has said what it has to say; who is gone hears nothing.
        StartupError::Leg(_) => {
            tokio::time::timeout(limits.farewell, leg.flush())
                .await
                .ok();
            return;
        }
        StartupError::Disconnected(_) => return,
    };
    leg.transport.disconnect(reason, &text);
    tokio::time::timeout(limits.farewell, leg.flush())
        .await
        .ok();
}

type Verdict = Result<Arc<Principal>, AuthRefused>;

/// How a login ended, by what.
struct Outcome {
    verdict: Verdict,
    may: May,
    by: Proved,
}

impl Outcome {
    /// By what says nothing of what its sessions may ask for.
    fn of(verdict: Verdict, by: Proved) -> Self {
        Self {
            verdict,
            may: May::ALL,
            by,
        }
    }
}

/// The state machine with its leg and its ports.
struct Login<'a, 'd> {
    machine: UserAuth,
    leg: &'a mut Leg,
    door: &'a Door<'d>,
    flow: Option<device::Flow<'d>>,
    /// How the device flow ended, before the client has answered its question.
    result: Option<Outcome>,
    begun: Instant,
    deadline: Instant,
    /// Goes out behind the first answer.
    greeting: Option<&'d str>,
}

impl Login<'_, '_> {
    async fn run(mut self) -> Result<Authenticated, StartupError> {
        loop {
            let heard = match &mut self.flow {
                None => Heard::Event(within(self.deadline, self.leg.recv()).await??),
                Some(flow) => {
                    let either = async {
                        tokio::select! {
                            outcome = flow.ends() => Ok(Heard::Outcome(outcome)),
                            event = self.leg.recv() => event.map(Heard::Event),
                        }
                    };
                    within(self.deadline, either).await??
                }
            };
            let received = Instant::now();
            let outcome = match heard {
                Heard::Outcome(outcome) if self.machine.waits_for_answer() => {
                    self.flow = None;
                    self.result = Some(outcome);
                    continue;
                }
                Heard::Outcome(outcome) => {
                    self.flow = None;
                    Some(outcome)
                }
                Heard::Event(Event::Packet(payload)) => self.packet(&payload, received).await?,
                Heard::Event(Event::Disconnected { text, .. }) => {
                    return Err(StartupError::Disconnected(text));
                }
                Heard::Event(Event::Ready | Event::HostKey(_)) => continue,
            };
            if let Some(outcome) = outcome
                && let Some(in_) = self.settle(outcome, received).await?
            {
                return Ok(in_);
            }
        }
    }

    /// What one message leads to: at most a verdict about who this is.
    async fn packet(
        &mut self,
        payload: &[u8],
        received: Instant,
    ) -> Result<Option<Outcome>, StartupError> {
        let next = match self.machine.receive(payload) {
            Ok(next) => next,
            Err(violation) => {
                if violation == Violation::Attempts {
                    self.delay(received).await?;
                }
                return Err(violation.into());
            }
        };
        if matches!(next, Next::Wait) {
            return Ok(self.result.take());
        }
        // The client has gone on to something else, and nobody is waited for any more.
        self.flow = None;
        self.result = None;
        self.deadline = self.begun + self.door.limits.login_timeout;
        match next {
            Next::Wait => Ok(None),
            Next::Reply(message) => {
                self.send(&message).await?;
                Ok(None)
            }
            Next::Failed(message) => {
                self.on_record("what was shown proves nothing").await;
                self.delay(received).await?;
                self.send(&message).await?;
                Ok(None)
            }
            Next::Ask(ask) => within(self.deadline, self.ask(ask)).await?,
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<Option<Outcome>, StartupError> {
        let (auth, source) = (self.door.auth, self.door.source);
        Ok(Some(match ask {
            Ask::Probe(offer) => {
                let could = match &offer {
                    _ if self.door.outer.is_some() => true,
                    Offer::Key(key) => auth.key_is_known(key).await,
                    Offer::Certificate(c) => auth.authority_is_known(c.ca()),
                };
                let message = self.machine.probed(could);
                self.send(&message).await?;
                return Ok(None);
            }
            Ask::Proof(Offer::Key(key)) => {
                Outcome::of(auth.key(&key, source).await, Proved::Key(*key))
            }
            Ask::Proof(Offer::Certificate(certificate)) => {
                let certified = match check_options(&certificate) {
                    Ok(()) => auth.certificate(&certificate, source).await,
                    Err(refused) => Err(refused),
                };
                let (verdict, may) = match certified {
                    Ok(Certified { principal, may }) => {
                        (Ok(until(principal, certificate.valid_before)), may)
                    }
                    Err(refused) => (Err(refused), May::NOTHING),
                };
                let by = Proved::Certificate(Arc::new(*certificate));
                Outcome { verdict, may, by }
            }
            Ask::Token(token) => Outcome::of(auth.token(&token, source).await, Proved::token()),
            Ask::Device => return self.device().await,
            Ask::Outer => match self.door.outer {
                Some(outer) => Outcome {
                    verdict: Ok(outer.principal.clone()),
                    may: outer.may,
                    by: outer.by.clone(),
                },
                None => return Err(StartupError::Internal("there is no outer connection")),
            },
        }))
    }

    /// Lets the client in, or says no after the delay.
    async fn settle(
        &mut self,
        outcome: Outcome,
        received: Instant,
    ) -> Result<Option<Authenticated>, StartupError> {
        let Outcome { verdict, may, by } = outcome;
        let refused = match verdict {
            Ok(principal) => {
                self.machine.accepted();
                self.leg.transport.authenticated();
                let user = self.machine.user().cloned();
                let user = user.ok_or(StartupError::Internal("a login without a user name"))?;
                let who = Outer { principal, may, by };
                return Ok(Some(Authenticated { user, who }));
            }
            Err(refused) => refused,
        };
        tracing::info!(source = %self.door.source, reason = %refused, "not let in");
        self.on_record(&refused.client_text).await;
        self.delay(received).await?;
        let mut text = refused.client_text;
        if self.machine.maybe_cut() {
            text.push_str(
                "\nIt has exactly 1023 characters: OpenSSH cuts off what is longer. \
                 Use a short token (weir ssh token), a certificate or the device login.",
            );
        }
        let why = banner(&text);
        self.leg.transport.send(&why).map_err(LegError::from)?;
        let message = self.machine.refused()?;
        self.send(&message).await?;
        // Nobody is waited for any more.
        self.deadline = self.begun + self.door.limits.login_timeout;
        Ok(None)
    }

    /// A wrong proof is evidence. The answer is given after the same time all the same.
    async fn on_record(&mut self, reason: &str) {
        let user = self.machine.user().map_or("", |user| &**user);
        let stranger = Stranger {
            action: "ssh:login",
            principal: None,
            source: self.door.source,
            said: &said(user),
            reason,
        };
        self.door.turned_away.put(stranger).await;
    }

    /// Until the answer to what was received then may be known.
    async fn delay(&mut self, received: Instant) -> Result<(), StartupError> {
        let at = received + self.door.limits.failed_login_delay;
        within(self.deadline, tokio::time::sleep_until(at.into())).await
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), StartupError> {
        self.leg.transport.send(message).map_err(LegError::from)?;
        if let Some(text) = self.greeting.take() {
            let message = banner(text);
            self.leg.transport.send(&message).map_err(LegError::from)?;
        }
        within(self.deadline, self.leg.flush()).await??;
        Ok(())
    }
}

enum Heard {
    Event(Event),
    Outcome(Outcome),
}

/// Of the critical options only the addresses are enforced, with the rest of the certificate. A command that the
/// client does not choose would have to be decided on before it asks for anything, so it is refused.
fn check_options(certificate: &Certificate) -> Result<(), AuthRefused> {
    let enforced = |name: &&str| *name == "source-address";
    match certificate.critical.names().find(|n| !enforced(n)) {
        None => Ok(()),
        Some(name) => Err(AuthRefused {
            client_text: format!(
                "the certificate has the critical option {}, which Weir does not enforce; get one without it",
                plain(name)
            ),
        }),
    }
}

/// Nobody stays longer than the certificate that they came with. `end`: seconds since 1970.
fn until(who: Arc<Principal>, end: u64) -> Arc<Principal> {
    match UNIX_EPOCH.checked_add(Duration::from_secs(end)) {
        Some(end) if end < who.expires_at => Arc::new(Principal {
            expires_at: end,
            ..(*who).clone()
        }),
        // It is later than any clock shows.
        _ => who,
    }
}

/// The user name, for the record.
pub(crate) fn said(user: &str) -> String {
    let user: String = user.chars().take(MAX_SAID).collect();
    format!("user {:?}", printable(&user))
}

/// Of text from elsewhere, what a terminal shows as it is.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic())
        .take(2_048)
        .collect()
}
