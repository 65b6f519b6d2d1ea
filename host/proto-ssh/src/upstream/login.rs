//! The client's side of the authentication protocol (RFC 4252, RFC 4256): one proof, once.

use std::sync::Arc;

use ssh_keys::{Certificate, PrivateKey};
use zeroize::Zeroizing;

use super::UpstreamError;
use crate::config::Secret;
use crate::leg::{Leg, LegError};
use crate::startup::signed;
use crate::startup::userauth::{CONNECTION, SERVICE};
use crate::transport::Event;
use crate::wire::numbers as n;
use crate::wire::{Put, Reader};

/// Banners, questions and answers of one login.
const MAX_MESSAGES: usize = 64;
/// Questions of keyboard-interactive: one for the password, and some that have nothing to answer.
const MAX_QUESTIONS: usize = 8;
const MAX_SHOWN: usize = 256;

/// What a target is shown.
pub(super) enum Proof {
    Key(Arc<PrivateKey>),
    Certificate(Box<PrivateKey>, Box<Certificate>),
    Password(Secret),
}

impl Proof {
    fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "the key",
            Self::Certificate(..) => "the certificate",
            Self::Password(_) => "the password",
        }
    }
}

/// What follows from a message of the target.
pub(super) enum Then {
    Nothing,
    Send(Zeroizing<Vec<u8>>),
    In,
}

/// Where a login is.
enum State {
    /// The service was asked for.
    Service,
    /// The proof was sent.
    Proving,
    /// The password is to be asked for.
    Interactive { asked: usize, given: bool },
}

/// One login, as a state machine on messages.
pub(super) struct Login<'a> {
    session_id: &'a [u8],
    user: &'a str,
    proof: &'a Proof,
    state: State,
}

impl<'a> Login<'a> {
    pub fn new(session_id: &'a [u8], user: &'a str, proof: &'a Proof) -> Self {
        Self {
            session_id,
            user,
            proof,
            state: State::Service,
        }
    }

    pub fn begin() -> Vec<u8> {
        let mut out = Vec::new();
        out.byte(n::SERVICE_REQUEST).string(SERVICE);
        out
    }

    /// `signatures`: what the target takes signatures with, if it says so (RFC 8308).
    pub fn receive(
        &mut self,
        payload: &[u8],
        signatures: Option<&[String]>,
    ) -> Result<Then, UpstreamError> {
        let mut r = Reader::new(payload);
        let number = r.u8()?;
        match (&self.state, number) {
            // Its words are for nobody here.
            (_, n::USERAUTH_BANNER) => Ok(Then::Nothing),
            (State::Service, n::SERVICE_ACCEPT) => {
                if r.string()? != SERVICE {
                    return Err(UpstreamError::Unexpected(number));
                }
                self.state = State::Proving;
                self.request(signatures).map(Then::Send)
            }
            (State::Service, _) => Err(UpstreamError::Unexpected(number)),
            (_, n::USERAUTH_SUCCESS) => {
                r.end()?;
                Ok(Then::In)
            }
            (_, n::USERAUTH_FAILURE) => {
                let methods: Vec<&str> = r.names()?.collect();
                let partial = r.bool()?;
                r.end()?;
                self.failed(&methods, partial)
            }
            (State::Proving, n::USERAUTH_INFO_REQUEST) => match self.proof {
                // SSH_MSG_USERAUTH_PASSWD_CHANGEREQ has the same number.
                Proof::Password(_) => Err(UpstreamError::PasswordChange),
                _ => Err(UpstreamError::Unexpected(number)),
            },
            (State::Interactive { .. }, n::USERAUTH_INFO_REQUEST) => self.asked(r),
            _ => Err(UpstreamError::Unexpected(number)),
        }
    }

    fn failed(&mut self, methods: &[&str], partial: bool) -> Result<Then, UpstreamError> {
        let interactive = "keyboard-interactive";
        let only_interactive = methods.contains(&interactive) && !methods.contains(&"password");
        if let (Proof::Password(_), State::Proving, true, false) =
            (self.proof, &self.state, only_interactive, partial)
        {
            self.state = State::Interactive {
                asked: 0,
                given: false,
            };
            let mut out = Zeroizing::new(Vec::new());
            self.head(&mut out, interactive).string(b"").string(b"");
            return Ok(Then::Send(out));
        }
        let mut offered = self.proof.name().to_owned();
        if partial {
            offered.push_str(" alone");
        }
        Err(UpstreamError::Refused {
            offered,
            accepts: shown(methods),
        })
    }

    /// Some hosts go away instead of saying no, when it was the last try.
    pub fn disconnected(&self, text: String) -> UpstreamError {
        match self.state {
            State::Service => UpstreamError::Disconnected(text),
            State::Proving | State::Interactive { .. } => UpstreamError::Dropped {
                offered: self.proof.name().to_owned(),
                text,
            },
        }
    }

    /// One question that is not shown while it is answered is the one for the password. It is answered once.
    fn asked(&mut self, mut r: Reader<'_>) -> Result<Then, UpstreamError> {
        let State::Interactive { asked, given } = &mut self.state else {
            return Err(UpstreamError::Unexpected(n::USERAUTH_INFO_REQUEST));
        };
        *asked += 1;
        if *asked > MAX_QUESTIONS {
            return Err(UpstreamError::TooMuch(MAX_QUESTIONS));
        }
        let (_name, _instruction, _language) = (r.string()?, r.string()?, r.string()?);
        let prompts = r.u32()?;
        let mut out = Zeroizing::new(Vec::new());
        out.byte(n::USERAUTH_INFO_RESPONSE);
        match (prompts, self.proof) {
            (0, _) => {
                out.uint32(0);
            }
            (1, Proof::Password(password)) => {
                let _prompt = r.string()?;
                if r.bool()? {
                    return Err(UpstreamError::Question("something that is no secret"));
                }
                if std::mem::replace(given, true) {
                    return Err(UpstreamError::Question("more than the password"));
                }
                out.uint32(1).string(password.expose().as_bytes());
            }
            _ => return Err(UpstreamError::Question("several things at once")),
        }
        r.end()?;
        Ok(Then::Send(out))
    }

    /// The proof.
    fn request(&self, signatures: Option<&[String]>) -> Result<Zeroizing<Vec<u8>>, UpstreamError> {
        let mut out = Zeroizing::new(Vec::new());
        let (key, algorithm, blob): (&PrivateKey, &str, &[u8]) = match self.proof {
            Proof::Password(password) => {
                self.head(&mut out, "password")
                    .flag(false)
                    .string(password.expose().as_bytes());
                return Ok(out);
            }
            Proof::Key(key) => {
                let algorithm = fitting(key.algorithms(), signatures)?;
                (key, algorithm, key.public().blob())
            }
            Proof::Certificate(key, certificate) => {
                let algorithm = certificate.algorithms().first();
                let algorithm = algorithm.ok_or(UpstreamError::Internal("no algorithm"))?;
                (key, algorithm, certificate.blob())
            }
        };
        let signature = ssh_keys::signature_algorithm(algorithm)
            .ok_or(UpstreamError::Internal("no algorithm"))?;
        let message = signed(
            self.session_id,
            self.user.as_bytes(),
            CONNECTION,
            algorithm.as_bytes(),
            blob,
        );
        let signature = key.sign(signature, &message)?;
        self.head(&mut out, "publickey")
            .flag(true)
            .string(algorithm.as_bytes())
            .string(blob)
            .string(&signature);
        Ok(out)
    }

    fn head<'o>(&self, out: &'o mut Vec<u8>, method: &str) -> &'o mut Vec<u8> {
        out.byte(n::USERAUTH_REQUEST)
            .string(self.user.as_bytes())
            .string(CONNECTION)
            .string(method.as_bytes())
    }
}

/// The best of a key's algorithms that the target has not left out.
fn fitting(
    mine: &'static [&'static str],
    theirs: Option<&[String]>,
) -> Result<&'static str, UpstreamError> {
    let fits = |name: &&&'static str| theirs.is_none_or(|t| t.iter().any(|t| t == **name));
    // What it says may be wrong; its answer is not.
    let best = mine.iter().find(fits).or_else(|| mine.first());
    best.copied()
        .ok_or(UpstreamError::Internal("a key that cannot sign"))
}

/// Names of methods from a host, for a log line.
fn shown(methods: &[&str]) -> String {
    let mut text = methods.join(", ");
    if text.is_empty() {
        text.push_str("nothing");
    }
    text.truncate(MAX_SHOWN);
    text
}

/// Logs in over a leg that has keys.
pub(super) async fn run(leg: &mut Leg, user: &str, proof: &Proof) -> Result<(), UpstreamError> {
    let session_id = leg
        .transport
        .session_id()
        .ok_or(UpstreamError::Internal("keys without a session"))?
        .to_vec();
    let mut login = Login::new(&session_id, user, proof);
    send(leg, &Login::begin()).await?;
    for _ in 0..MAX_MESSAGES {
        let payload = match leg.recv().await? {
            Event::Packet(payload) => payload,
            Event::Disconnected { text, .. } => return Err(login.disconnected(text)),
            Event::Ready | Event::HostKey(_) => {
                return Err(UpstreamError::Internal("a second first key exchange"));
            }
        };
        let signatures = leg.transport.server_sig_algs();
        match login.receive(&payload, signatures)? {
            Then::Nothing => {}
            Then::Send(message) => send(leg, &message).await?,
            Then::In => return Ok(()),
        }
    }
    Err(UpstreamError::TooMuch(MAX_MESSAGES))
}

async fn send(leg: &mut Leg, payload: &[u8]) -> Result<(), UpstreamError> {
    leg.transport.send(payload).map_err(LegError::from)?;
    leg.flush().await?;
    Ok(())
}
