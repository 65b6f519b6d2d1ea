//! The server's side of the authentication protocol (RFC 4252, RFC 4256), as a state machine on messages: no
//! sockets, no clock, no ports. What it cannot decide it asks whoever drives it, with [`Next::Ask`].
//!
//! - Nothing in here depends on the user name, except that it must not change: it only says which target is
//!   meant, and that is looked at after authentication.
//! - A key that is only asked about is no attempt. It has a bound of its own.
//! - What is signed is made again here from what this connection is and what the message says.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::offer::{Offer, Shown, signed};
use crate::wire::numbers as n;
use crate::wire::{Put, Reader, WireError};

pub(crate) const SERVICE: &[u8] = b"ssh-userauth";
pub(crate) const CONNECTION: &[u8] = b"ssh-connection";
const MAX_USER: usize = 512;
/// `PG_MAX_AUTH_TOKEN_LENGTH` of the other wire.
const MAX_TOKEN: usize = 65_535;
/// OpenSSH's client cuts what is typed, or comes from an askpass program, off here (`readpass.c`).
pub(crate) const CUT_OFF: usize = 1_023;

/// Which methods there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Methods {
    pub certificate: bool,
    pub key: bool,
    pub token: bool,
    pub device: bool,
    /// Inside a connection that has authenticated: `none` is enough, and any key that can be proved.
    pub inside: bool,
}

impl Methods {
    fn names(self) -> Vec<&'static str> {
        let mut names = Vec::new();
        if self.certificate || self.key || self.inside {
            names.push("publickey");
        }
        if self.device {
            names.push("keyboard-interactive");
        }
        if self.token {
            names.push("password");
        }
        names
    }
}

/// How often a client may try what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub attempts: u32,
    pub probes: u32,
    pub requests: u32,
    /// Device flows that begin.
    pub flows: u32,
}

/// What is to be done after a message.
pub(crate) enum Next {
    /// Send this.
    Reply(Vec<u8>),
    /// A proof was wrong: send this, after the delay.
    Failed(Vec<u8>),
    Ask(Ask),
    /// The client waits for the device flow to end.
    Wait,
}

/// What somebody else must say. The client's next message is not to be read before, but in a device flow.
pub(crate) enum Ask {
    /// Could this be accepted? → [`UserAuth::probed`].
    Probe(Offer),
    /// It is proved that the client has this; whose is it? → [`UserAuth::accepted`], [`UserAuth::refused`].
    Proof(Offer),
    Token(Zeroizing<String>),
    /// → [`UserAuth::prompt`], or [`UserAuth::refused`].
    Device,
    /// Who the outer connection is.
    Outer,
}

/// Why the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error(transparent)]
    Layout(#[from] WireError),
    #[error("message {0} has no place in authentication")]
    Unexpected(u8),
    #[error("the service {0:?} is not available before authentication")]
    Service(String),
    #[error("the user name or service changed during authentication")]
    Changed,
    #[error("the user name is not text of at most {MAX_USER} bytes")]
    User,
    #[error("too many authentication failures")]
    Attempts,
    #[error("too many keys were offered; name the one to use with -i and set IdentitiesOnly=yes")]
    Probes,
    #[error("too many authentication requests")]
    Requests,
}

enum State {
    /// Before the service request.
    Service,
    Requests,
    /// PK_OK would have to name these.
    Probing {
        algorithm: Vec<u8>,
        blob: Vec<u8>,
    },
    Proving,
    /// A device flow is under way; has the client answered its question?
    Prompted {
        answered: bool,
    },
    Over,
}

pub(crate) struct UserAuth {
    session_id: Vec<u8>,
    methods: Methods,
    left: Bounds,
    state: State,
    user: Option<Arc<str>>,
    /// The token was as long as OpenSSH lets it be, so it may have been cut.
    maybe_cut: bool,
}

impl UserAuth {
    pub fn new(session_id: &[u8], methods: Methods, bounds: Bounds) -> Self {
        Self {
            session_id: session_id.to_vec(),
            methods,
            left: bounds,
            state: State::Service,
            user: None,
            maybe_cut: false,
        }
    }

    /// The user name, once there is one.
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    pub fn maybe_cut(&self) -> bool {
        self.maybe_cut
    }

    pub fn receive(&mut self, payload: &[u8]) -> Result<Next, Violation> {
        let mut r = Reader::new(payload);
        let number = r.u8()?;
        match (&self.state, number) {
            (State::Service, n::SERVICE_REQUEST) => self.service(r),
            (State::Requests | State::Prompted { .. }, n::USERAUTH_REQUEST) => {
                // Whatever the client was asked before, it does not want to answer any more.
                self.state = State::Requests;
                self.request(r)
            }
            (State::Prompted { answered: false }, n::USERAUTH_INFO_RESPONSE) => self.answer(r),
            _ => Err(Violation::Unexpected(number)),
        }
    }

    fn service(&mut self, mut r: Reader<'_>) -> Result<Next, Violation> {
        let name = r.string()?;
        r.end()?;
        if name != SERVICE {
            let name = name.get(..name.len().min(64)).unwrap_or_default();
            return Err(Violation::Service(
                String::from_utf8_lossy(name).into_owned(),
            ));
        }
        self.state = State::Requests;
        let mut out = Vec::new();
        out.byte(n::SERVICE_ACCEPT).string(SERVICE);
        Ok(Next::Reply(out))
    }

    fn request(&mut self, mut r: Reader<'_>) -> Result<Next, Violation> {
        self.left.requests = self
            .left
            .requests
            .checked_sub(1)
            .ok_or(Violation::Requests)?;
        let (user, service, method) = (r.string()?, r.string()?, r.string()?);
        self.same_user(user)?;
        if service != CONNECTION {
            return Err(Violation::Changed);
        }
        match method {
            b"none" => {
                r.end()?;
                if self.methods.inside {
                    self.state = State::Proving;
                    return Ok(Next::Ask(Ask::Outer));
                }
                Ok(Next::Reply(self.failure()))
            }
            b"publickey" if self.has_keys() => self.publickey(user, r),
            b"password" if self.methods.token => self.password(r),
            b"keyboard-interactive" if self.methods.device => self.device(r),
            // Whatever it holds: nothing here knows its layout.
            _ => Ok(Next::Reply(self.failure())),
        }
    }

    fn has_keys(&self) -> bool {
        self.methods.certificate || self.methods.key || self.methods.inside
    }

    /// RFC 4252 section 5: with another user name, everything would have to begin anew.
    fn same_user(&mut self, user: &[u8]) -> Result<(), Violation> {
        if user.len() > MAX_USER {
            return Err(Violation::User);
        }
        let user = std::str::from_utf8(user).map_err(|_| Violation::User)?;
        if user.chars().any(char::is_control) {
            return Err(Violation::User);
        }
        match &self.user {
            None => {
                self.user = Some(user.into());
                Ok(())
            }
            Some(known) if **known == *user => Ok(()),
            Some(_) => Err(Violation::Changed),
        }
    }

    fn publickey(&mut self, user: &[u8], mut r: Reader<'_>) -> Result<Next, Violation> {
        let proves = r.bool()?;
        let (algorithm, blob) = (r.string()?, r.string()?);
        let signature = if proves { Some(r.string()?) } else { None };
        r.end()?;
        let shown = Shown::read(algorithm, blob).filter(|s| match s.offer {
            Offer::Key(_) => self.methods.key || self.methods.inside,
            Offer::Certificate(_) => self.methods.certificate || self.methods.inside,
        });
        let Some(signature) = signature else {
            self.left.probes = self.left.probes.checked_sub(1).ok_or(Violation::Probes)?;
            let Some(shown) = shown else {
                return Ok(Next::Reply(self.failure()));
            };
            self.state = State::Probing {
                algorithm: algorithm.to_vec(),
                blob: blob.to_vec(),
            };
            return Ok(Next::Ask(Ask::Probe(shown.offer)));
        };
        let message = signed(&self.session_id, user, CONNECTION, algorithm, blob);
        match shown.filter(|s| s.is_signed(&message, signature)) {
            None => self.refused().map(Next::Failed),
            Some(shown) => {
                self.state = State::Proving;
                Ok(Next::Ask(if self.methods.inside {
                    Ask::Outer
                } else {
                    Ask::Proof(shown.offer)
                }))
            }
        }
    }

    fn password(&mut self, mut r: Reader<'_>) -> Result<Next, Violation> {
        let changes = r.bool()?;
        let token = r.string()?;
        if changes {
            let _new = r.string()?;
        }
        r.end()?;
        if changes {
            // Tokens are not changed, they are got anew.
            return self.refused().map(Next::Failed);
        }
        self.token(token)
    }

    fn token(&mut self, token: &[u8]) -> Result<Next, Violation> {
        self.maybe_cut = token.len() == CUT_OFF;
        match std::str::from_utf8(token) {
            Ok(text) if !text.is_empty() && text.len() <= MAX_TOKEN => {
                self.state = State::Proving;
                let token = Zeroizing::new(text.to_owned());
                Ok(Next::Ask(Ask::Token(token)))
            }
            _ => self.refused().map(Next::Failed),
        }
    }

    /// Every flow is a question to the provider: after so many of them the method is not offered any more.
    fn device(&mut self, mut r: Reader<'_>) -> Result<Next, Violation> {
        let _language = r.string()?;
        let _submethods = r.string()?;
        r.end()?;
        self.left.flows = self.left.flows.saturating_sub(1);
        self.methods.device = self.left.flows > 0;
        self.maybe_cut = false;
        self.state = State::Proving;
        Ok(Next::Ask(Ask::Device))
    }

    /// SSH_MSG_USERAUTH_INFO_RESPONSE: an empty line says that the device was approved; anything else is a
    /// token, as from a program that answers every question with one.
    fn answer(&mut self, mut r: Reader<'_>) -> Result<Next, Violation> {
        let count = r.u32()?;
        if count != 1 {
            return self.refused().map(Next::Failed);
        }
        let text = r.string()?;
        r.end()?;
        if text.is_empty() {
            self.state = State::Prompted { answered: true };
            return Ok(Next::Wait);
        }
        if !self.methods.token {
            return self.refused().map(Next::Failed);
        }
        self.token(text)
    }

    /// The answer to [`Ask::Probe`].
    pub fn probed(&mut self, could_work: bool) -> Vec<u8> {
        let state = std::mem::replace(&mut self.state, State::Requests);
        match state {
            State::Probing { algorithm, blob } if could_work => {
                let mut out = Vec::with_capacity(blob.len() + 64);
                out.byte(n::USERAUTH_PK_OK).string(&algorithm).string(&blob);
                out
            }
            _ => self.failure(),
        }
    }

    /// The one question of a device flow. `instruction` says where to go and what to enter there.
    pub fn prompt(&mut self, instruction: &str, question: &str) -> Vec<u8> {
        self.state = State::Prompted { answered: false };
        let mut out = Vec::new();
        out.byte(n::USERAUTH_INFO_REQUEST)
            .string(b"")
            .string(instruction.as_bytes())
            .string(b"")
            .uint32(1)
            .string(question.as_bytes())
            .flag(true);
        out
    }

    /// A device flow that is over is not told before its question was answered: the client may be waiting for
    /// a person at a keyboard, and would take what comes next for something else.
    pub fn waits_for_answer(&self) -> bool {
        matches!(self.state, State::Prompted { answered: false })
    }

    /// A proof was wrong: the message for it, or the end.
    pub fn refused(&mut self) -> Result<Vec<u8>, Violation> {
        self.state = State::Requests;
        self.left.attempts = self.left.attempts.saturating_sub(1);
        if self.left.attempts == 0 {
            self.state = State::Over;
            return Err(Violation::Attempts);
        }
        Ok(self.failure())
    }

    /// A proof was right. Nothing more is understood here.
    pub fn accepted(&mut self) {
        self.state = State::Over;
    }

    fn failure(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.byte(n::USERAUTH_FAILURE)
            .names(&self.methods.names())
            .flag(false);
        out
    }
}

/// SSH_MSG_USERAUTH_BANNER. Control characters are for terminals, not for texts; lines end as terminals want.
pub(crate) fn banner(text: &str) -> Vec<u8> {
    let mut clean = String::with_capacity(text.len() + 8);
    for line in text.lines() {
        clean.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
        clean.push_str("\r\n");
    }
    let mut out = Vec::new();
    out.byte(n::USERAUTH_BANNER)
        .string(clean.as_bytes())
        .string(b"");
    out
}

pub(crate) fn success() -> Vec<u8> {
    vec![n::USERAUTH_SUCCESS]
}
