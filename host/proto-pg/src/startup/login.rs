//! Who is asking: the one login that listener and target have for this client, by certificate, by a
//! token, or by both.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use pipeline::Principal;
use tokio::io::AsyncWriteExt;

use super::{
    Asked, AuthRefused, Authenticate, Authenticated, StartupError, oauth, read_exact, tell,
};
use crate::config::{ClientLogin, Limits, PgListener, PgTarget, TokenBy, offers};
use crate::refusal::Refused;
use crate::wire::{Cursor, HEADER, encode, header};

/// `PG_MAX_AUTH_TOKEN_LENGTH`: the largest password or SASL message.
const MAX_TOKEN: usize = 65_535;

/// What a login needs to know of where it happens.
pub(crate) struct Door<'a> {
    pub auth: &'a dyn Authenticate,
    pub listener: &'a PgListener,
    pub targets: &'a HashMap<Arc<str>, Arc<PgTarget>>,
    pub limits: &'a Limits,
}

impl Asked {
    /// Finds out who this is; a client that is not let in has been told why.
    pub async fn login(mut self, door: &Door<'_>) -> Result<Authenticated, StartupError> {
        match self.identify(door).await {
            Ok(principal) => Ok(Authenticated {
                io: self.io,
                wanted: self.wanted,
                source: self.source,
                principal,
            }),
            Err(e) => Err(tell(&mut self.io, e).await),
        }
    }

    async fn identify(&mut self, door: &Door<'_>) -> Result<Arc<Principal>, StartupError> {
        if !self.private {
            return Err(Refused::new(
                "28000",
                "this connection is not encrypted, so no token is accepted over it",
            )
            .hint("Connect with sslmode=require or stricter.")
            .into());
        }
        let login = self.choose(door)?;
        let mut out = BytesMut::new();
        if let Some(version) = self.wanted.negotiated() {
            encode::negotiate_version(&mut out, version, &self.wanted.unknown_options);
        }
        let holder = if login.needs_certificate() {
            Some(self.holder(door).await?)
        } else {
            None
        };
        let owner = match login.token() {
            None => None,
            Some(TokenBy::Password) => Some(self.by_password(door, out.split()).await?),
            Some(TokenBy::OAuth) => Some(self.by_oauth(door, out.split()).await?),
        };
        self.io.write_all(&out).await?;
        match (holder, owner) {
            (Some(holder), Some(owner)) => self.same(&holder, &owner),
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Err(Refused::new("28000", "there is no login").into()),
        }
    }

    /// The first login of the listener that the target allows and that fits what the client has
    /// shown so far. For a target that does not exist, any target's would do: it will be refused
    /// later, when we know by whom it was asked for.
    fn choose(&self, door: &Door<'_>) -> Result<ClientLogin, Refused> {
        let route = self.wanted.route(door.listener.target.as_deref());
        let target = route.and_then(|(name, _)| door.targets.get(name));
        let logins: Vec<ClientLogin> = match target {
            Some(target) => offers(&door.listener.logins, &target.client_logins).collect(),
            None => door.listener.logins.clone(),
        };
        let fits = |l: &&ClientLogin| !l.needs_certificate() || self.certificate.is_some();
        match logins.iter().find(fits) {
            Some(login) => Ok(*login),
            None if logins.is_empty() => Err(Refused::new(
                "28000",
                "this target is not served on this port",
            )),
            None => Err(Refused::new(
                "28000",
                "connection requires a valid client certificate",
            )),
        }
    }

    /// Whose certificate it is.
    async fn holder(&mut self, door: &Door<'_>) -> Result<Arc<Principal>, StartupError> {
        let (Some(authority), Some(certificate)) = (&door.listener.certificates, &self.certificate)
        else {
            let text = "connection requires a valid client certificate";
            return Err(Refused::new("28000", text).into());
        };
        match door.auth.certificate(authority, certificate, self.source) {
            Ok(principal) => Ok(principal),
            Err(refused) => {
                tokio::time::sleep(door.limits.failed_login_delay).await;
                Err(self
                    .not_let_in("certificate authentication", "28000", &refused)
                    .into())
            }
        }
    }

    async fn by_password(
        &mut self,
        door: &Door<'_>,
        mut out: BytesMut,
    ) -> Result<Arc<Principal>, StartupError> {
        encode::authentication_cleartext(&mut out);
        let body = self.ask(&out, "password").await?;
        let token = password(&body)?;
        match door.auth.authenticate(token, self.source).await {
            Ok(principal) => Ok(principal),
            Err(refused) => {
                // Guessing and broken retry loops pay for each attempt.
                tokio::time::sleep(door.limits.failed_login_delay).await;
                let refused = self.not_let_in("authentication", "28P01", &refused);
                let hint = "The password is a token. Get a new one and connect again.";
                Err(refused.hint(hint).into())
            }
        }
    }

    async fn by_oauth(
        &mut self,
        door: &Door<'_>,
        mut out: BytesMut,
    ) -> Result<Arc<Principal>, StartupError> {
        let Some(oauth) = &door.listener.oauth else {
            return Err(Refused::new("28000", "this port has no issuer").into());
        };
        encode::authentication_sasl(&mut out, oauth::MECHANISM);
        let body = self.ask(&out, "SASL").await?;
        let later;
        let message = match oauth::initial(&body)? {
            Some(message) => message,
            // RFC 4422, section 5: without it, an empty challenge asks for it.
            None => {
                later = self.challenge(b"").await?;
                &later
            }
        };
        let refused = match oauth::first(message)? {
            oauth::Claim::Token(token) => match door.auth.authenticate(token, self.source).await {
                Ok(principal) => return Ok(principal),
                Err(refused) => Some(refused),
            },
            oauth::Claim::Unusable(why) => {
                tracing::warn!(source = %self.source, reason = why, "token refused");
                Some(AuthRefused {
                    client_text: why.to_owned(),
                })
            }
            oauth::Claim::Discovery => None,
        };
        if refused.is_some() {
            tokio::time::sleep(door.limits.failed_login_delay).await;
        }
        let challenge = oauth::challenge(oauth);
        let answer = self.challenge(challenge.as_bytes()).await?;
        oauth::acknowledged(&answer)?;
        let Some(refused) = refused else {
            // No failure: the client has what it asked for, and connects again.
            let refused = self.come_back();
            tell(&mut self.io, refused.into()).await;
            return Err(StartupError::Discovery);
        };
        let refused = self.not_let_in("OAuth bearer authentication", "28000", &refused);
        Err(refused.hint("Get a new token and connect again.").into())
    }

    fn come_back(&self) -> Refused {
        let user = &self.wanted.user;
        let text = format!("OAuth bearer authentication failed for user \"{user}\": no token");
        Refused::new("28000", text)
            .hint("The server has said where tokens come from; connect again with one.")
    }

    fn not_let_in(&self, how: &str, sqlstate: &str, refused: &AuthRefused) -> Refused {
        let user = &self.wanted.user;
        let text = format!("{how} failed for user \"{user}\": {}", refused.client_text);
        Refused::new(sqlstate, text)
    }

    /// A token counts only with the certificate of the actor that it names, and no longer than that.
    fn same(&self, holder: &Principal, owner: &Principal) -> Result<Arc<Principal>, StartupError> {
        let same =
            holder.actor.kind == owner.actor.kind && holder.actor.subject == owner.actor.subject;
        if !same {
            tracing::warn!(source = %self.source, certificate = %holder.actor, token = %owner.actor,
                "certificate and token are of two actors");
            let refused = AuthRefused {
                client_text: "certificate and token do not belong together".to_owned(),
            };
            return Err(self.not_let_in("authentication", "28000", &refused).into());
        }
        Ok(Arc::new(Principal {
            expires_at: owner.expires_at.min(holder.expires_at),
            ..owner.clone()
        }))
    }

    async fn challenge(&mut self, challenge: &[u8]) -> Result<Vec<u8>, StartupError> {
        let mut out = BytesMut::new();
        encode::authentication_sasl_continue(&mut out, challenge);
        self.ask(&out, "SASL").await
    }

    /// Sends a request and reads the answer: one message, and not a byte more.
    async fn ask(&mut self, request: &[u8], what: &str) -> Result<Vec<u8>, StartupError> {
        self.io.write_all(request).await?;
        self.io.flush().await?;
        let mut head = [0; HEADER];
        read_exact(&mut self.io, &mut head).await?;
        let [tag, ..] = head;
        if tag != b'p' {
            let text = format!("expected {what} response, got message type {tag}");
            return Err(Refused::new("08P01", text).into());
        }
        let len = match header(&head) {
            Ok(Some(h)) if h.len - HEADER <= MAX_TOKEN => h.len - HEADER,
            _ => return Err(Refused::new("08P01", "invalid message length").into()),
        };
        let mut body = vec![0; len];
        read_exact(&mut self.io, &mut body).await?;
        Ok(body)
    }
}

fn password(body: &[u8]) -> Result<&str, Refused> {
    let mut c = Cursor::new(body);
    let token = c.cstr().and_then(|token| c.end().map(|()| token));
    match token.map(std::str::from_utf8) {
        Ok(Ok("")) => Err(Refused::new("28P01", "empty password returned by client")),
        Ok(Ok(token)) => Ok(token),
        Ok(Err(_)) => Err(Refused::new("28P01", "the token is not valid text")),
        Err(_) => Err(Refused::new("08P01", "invalid password packet size")),
    }
}
