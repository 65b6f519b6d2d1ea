//! Public keys that people have registered to come in by.
//!
//! A key stands for what its person's token said when it was registered, for hours or days: their groups are as old
//! as that. What the token said about *how* somebody logged in is not kept: whoever uses the key later has shown no
//! second factor, so `mfa` is false, whatever it was then, and neither `amr` nor `acr` is said. An entry ends by itself, and is renewed with another
//! token only, which brings the groups up to date.
//!
//! Who registers a key signs a text with it that names the key, the person and this Weir, and holds a number that
//! only this process can make, for minutes. So nobody registers a key that is not theirs: its owner would come in
//! as somebody else, and could not register it any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use parking_lot::RwLock;
use pipeline::{Login, Principal, PrincipalKind, Proof};
use ssh_keys::{PublicKey, TextSignatureError, signer_of_text};

use super::{IssueError, SshAuthority, carried};

/// No registered key counts for longer without another token.
pub const MAX_KEY_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// What a signature for this is made for: nothing else that somebody signs can be shown here.
pub const KEY_NAMESPACE: &str = "ssh-key@weir.dev";
/// How long a text to be signed is good: people type passphrases, and look for what they have to touch.
pub const CHALLENGE_LASTS: Duration = Duration::from_secs(5 * 60);
/// Keys that are known at once.
pub(super) const MAX_REGISTERED: usize = 100_000;
const SECRET_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error(
        "only people register keys, with a token of their own: agents and workloads come in by certificates"
    )]
    NotAPerson,
    #[error("this is a key of Weir itself; make one of your own: ssh-keygen -t ed25519")]
    OwnKey,
    #[error("this key was revoked; make another one: ssh-keygen -t ed25519")]
    Revoked,
    #[error(
        "the token is older than the revocation of its person, or does not say when it was issued; get a new one"
    )]
    OldToken,
    #[error("{MAX_REGISTERED} keys are registered, and no more can be")]
    TooMany,
    #[error(
        "the text that was signed is not the one for this key and person, or is too old; ask for another one"
    )]
    Challenge,
    #[error("the proof: {0}")]
    Proof(#[from] TextSignatureError),
    #[error("the proof was signed by another key, {0}")]
    OtherKey(String),
    #[error("what is known of the person cannot be kept: {0}")]
    Principal(IssueError),
    #[error("what was kept of the person cannot be read: {0}")]
    Kept(&'static str),
    #[error("the clock is before 1970")]
    Clock,
}

/// Somebody who may come in by a key.
#[derive(Clone)]
struct Entry {
    who: Arc<Principal>,
    since: SystemTime,
}

/// The first line of what is signed.
const INTENT: &str = "I register this key, which is mine, to come in by it over SSH.";

/// What a text to be signed says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyChallenge<'a> {
    /// Whose the key will be.
    pub who: &'a str,
    /// Where: the fingerprint of the authority that gateways are known by.
    pub gateway: &'a str,
}

impl<'a> KeyChallenge<'a> {
    /// None: it is not what a Weir asks somebody to sign who registers this key, and nothing else. Whoever signs asks: a
    /// server that lies would get a signature for something else otherwise.
    pub fn of(text: &'a str, key: &PublicKey) -> Option<Self> {
        let lines: Vec<&str> = text.strip_suffix('\n')?.split('\n').collect();
        let [intent, of, who, at, gateway, number] = lines.as_slice() else {
            return None;
        };
        let value = |line: &'a str, name: &str, fits: fn(char) -> bool| {
            let value = line.strip_prefix(name)?;
            (!value.is_empty() && value.chars().all(fits)).then_some(value)
        };
        if *intent != INTENT || of.strip_prefix("key: ") != Some(&key.fingerprint()) {
            return None;
        }
        value(at, "at: ", |c| c.is_ascii_digit())?;
        value(number, "number: ", |c| c.is_ascii_hexdigit())?;
        let digest = value(gateway, "gateway: SHA256:", |c| {
            c.is_ascii_alphanumeric() || "+/".contains(c)
        });
        digest?;
        Some(Self {
            who: value(who, "for: ", |c| !c.is_control())?,
            gateway: gateway.strip_prefix("gateway: ")?,
        })
    }

    /// Will the key be this one's, of this issuer?
    pub fn is_for(&self, subject: &str, issuer: &str) -> bool {
        self.who == named(subject, issuer)
    }
}

fn named(subject: &str, issuer: &str) -> String {
    format!("{subject:?} of {issuer:?}")
}

/// What is registered, by fingerprint: a lookup takes the same time for every key.
pub(super) struct Registered {
    entries: RwLock<HashMap<String, Entry>>,
    /// Makes the numbers in the texts that are to be signed; forgotten when this process ends.
    secret: hmac::Key,
}

impl Registered {
    pub fn new() -> Result<Self, IssueError> {
        let mut bytes = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| IssueError::Random)?;
        Ok(Self {
            entries: RwLock::default(),
            secret: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
        })
    }
}

impl SshAuthority {
    /// What `who` is to sign with this key, for [`KEY_NAMESPACE`], within [`CHALLENGE_LASTS`].
    pub fn key_challenge(
        &self,
        key: &PublicKey,
        who: &Principal,
        now: SystemTime,
    ) -> Result<String, RegisterError> {
        self.check_key(key, who, now)?;
        let at = now.duration_since(UNIX_EPOCH);
        Ok(self.challenge_at(key, who, at.map_err(|_| RegisterError::Clock)?.as_secs()))
    }

    /// Lines that people can read before they sign them.
    fn challenge_at(&self, key: &PublicKey, who: &Principal, at: u64) -> String {
        let text = format!(
            "{INTENT}\nkey: {}\nfor: {}\nat: {at}\ngateway: {}\n",
            key.fingerprint(),
            named(&who.actor.subject, &who.issuer),
            self.host_ca().fingerprint(),
        );
        let number = hmac::sign(&self.registered.secret, text.as_bytes());
        format!("{text}number: {}\n", hex::encode(number.as_ref()))
    }

    /// Has whoever has this key signed `challenge`, which is for `who`, for it and for now? Then this is what is to
    /// be kept of the person. Nothing of it is secret.
    pub fn describe_key(
        &self,
        key: &PublicKey,
        who: &Principal,
        challenge: &str,
        signature: &str,
        now: SystemTime,
    ) -> Result<String, RegisterError> {
        self.check_key(key, who, now)?;
        let at = challenge.lines().find_map(|line| line.strip_prefix("at: "));
        let at: u64 = at
            .and_then(|at| at.parse().ok())
            .ok_or(RegisterError::Challenge)?;
        let age = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
            .checked_sub(at);
        let fresh = age.is_some_and(|age| age <= CHALLENGE_LASTS.as_secs());
        // Made again from what this call is: nothing else of the text is believed.
        if !fresh || challenge != self.challenge_at(key, who, at) {
            return Err(RegisterError::Challenge);
        }
        let signer = signer_of_text(signature, KEY_NAMESPACE, challenge.as_bytes())?;
        if signer != *key {
            return Err(RegisterError::OtherKey(signer.fingerprint()));
        }
        let mut who = who.clone();
        who.actor.mfa = false;
        who.proof = Proof::default();
        carried::write(&who).map_err(RegisterError::Principal)
    }

    /// From now until `ends`, whoever has the key is who `kept` describes; it was registered at `since`.
    pub fn register_key(
        &self,
        key: &PublicKey,
        kept: &str,
        since: SystemTime,
        ends: SystemTime,
    ) -> Result<(), RegisterError> {
        let latest = since.checked_add(MAX_KEY_VALIDITY).unwrap_or(since);
        let who = carried::read(kept, Login::Key, ends.min(latest));
        let mut who = who.map_err(RegisterError::Kept)?;
        // However it got there.
        who.actor.mfa = false;
        who.proof = Login::Key.into();
        self.check_key(key, &who, since)?;
        let fingerprint = key.fingerprint();
        let mut entries = self.registered.entries.write();
        if entries.len() >= MAX_REGISTERED && !entries.contains_key(&fingerprint) {
            // What has ended by itself takes nobody's place.
            entries.retain(|_, entry| since < entry.who.expires_at);
            if entries.len() >= MAX_REGISTERED {
                return Err(RegisterError::TooMany);
            }
        }
        let who = Arc::new(who);
        entries.insert(fingerprint, Entry { who, since });
        Ok(())
    }

    /// `since`: when it was registered, or will be.
    fn check_key(
        &self,
        key: &PublicKey,
        who: &Principal,
        since: SystemTime,
    ) -> Result<(), RegisterError> {
        if who.actor.kind != PrincipalKind::User || !who.on_behalf_of.is_empty() {
            return Err(RegisterError::NotAPerson);
        }
        if self.keys().contains(&key) {
            return Err(RegisterError::OwnKey);
        }
        if self.is_revoked_key(key) {
            return Err(RegisterError::Revoked);
        }
        match self.is_revoked_since(who, since) {
            true => Err(RegisterError::OldToken),
            false => Ok(()),
        }
    }

    /// Whose is it, at this time? None: nobody's, or not any more.
    pub fn registered_key(&self, key: &PublicKey, now: SystemTime) -> Option<Arc<Principal>> {
        let fingerprint = key.fingerprint();
        let entry = self.registered.entries.read().get(&fingerprint).cloned()?;
        let revoked = self.is_revoked_key(key) || self.is_revoked_since(&entry.who, entry.since);
        (now < entry.who.expires_at && !revoked).then_some(entry.who)
    }

    /// Fingerprints of those that are registered.
    pub fn registered_keys(&self) -> Vec<String> {
        self.registered.entries.read().keys().cloned().collect()
    }

    /// From now on nobody comes in by it, unless it is registered again.
    pub fn forget_key(&self, fingerprint: &str) {
        self.registered.entries.write().remove(fingerprint);
    }
}
