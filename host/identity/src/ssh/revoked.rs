//! What counts no more, though it has not ended: certificates by what they say, keys, and everything of one
//! person that is older than a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::Principal;
use ssh_keys::{Certificate, PublicKey};

use super::{MAX_CALLER_VALIDITY, MAX_KEY_VALIDITY, SKEW, SshAuthority, SshCertificateError};

/// Revocations that are remembered. Serials are random numbers: nobody can make them collide.
pub(super) const MAX_REVOKED: usize = 100_000;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// The certificate with this serial number.
    Serial(u64),
    /// The certificates with this key id, in full.
    KeyId(String),
    /// A key, by its fingerprint: no certificate of it counts, it gets no other, and nobody comes in by it alone.
    Key(String),
    /// Certificates of somebody, or for somebody, that were issued up to then, keys that were registered, and the
    /// tokens from then: they let nobody in, and get neither.
    Subject(String),
}

impl Revocation {
    /// For how long it has to be remembered: what was issued before has ended by itself then. A key may be used
    /// again whenever somebody likes.
    pub fn lasts(&self) -> Option<Duration> {
        match self {
            Self::Key(_) => None,
            Self::Serial(_) | Self::KeyId(_) => Some(MAX_CALLER_VALIDITY + SKEW + SKEW),
            Self::Subject(_) => Some(MAX_KEY_VALIDITY.max(MAX_CALLER_VALIDITY) + SKEW + SKEW),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_REVOKED} revocations are remembered, and no more can be")]
pub struct TooManyRevoked;

#[derive(Default)]
pub(super) struct Revoked {
    serials: BTreeSet<u64>,
    key_ids: BTreeSet<String>,
    keys: BTreeSet<String>,
    /// Whose, and up to which second.
    subjects: BTreeMap<String, u64>,
}

impl Revoked {
    pub fn of_serials(serials: &[u64]) -> Self {
        Self {
            serials: serials.iter().copied().collect(),
            ..Self::default()
        }
    }

    fn len(&self) -> usize {
        self.serials.len() + self.key_ids.len() + self.keys.len() + self.subjects.len()
    }

    fn add(&mut self, what: &Revocation, at: SystemTime) -> Result<(), TooManyRevoked> {
        let known = match what {
            Revocation::Serial(serial) => self.serials.contains(serial),
            Revocation::KeyId(id) => self.key_ids.contains(id),
            Revocation::Key(fingerprint) => self.keys.contains(fingerprint),
            Revocation::Subject(subject) => self.subjects.contains_key(subject),
        };
        if !known && self.len() >= MAX_REVOKED {
            return Err(TooManyRevoked);
        }
        match what {
            Revocation::Serial(serial) => {
                self.serials.insert(*serial);
            }
            Revocation::KeyId(id) => {
                self.key_ids.insert(id.clone());
            }
            Revocation::Key(fingerprint) => {
                self.keys.insert(fingerprint.clone());
            }
            Revocation::Subject(subject) => {
                let until = self.subjects.entry(subject.clone()).or_default();
                *until = (*until).max(second(at));
            }
        }
        Ok(())
    }

    /// Is somebody who has to do with `who` revoked, for what is from this second? What was got with a token is as old
    /// as the token: otherwise whoever has stolen one gets anew what was just revoked. One that does not say when it
    /// was issued is older than anything.
    fn names(&self, who: &Principal, from: u64) -> bool {
        let from = from.min(who.issued_at.map_or(0, second));
        let of = |subject: &str| self.subjects.get(subject).is_some_and(|at| from <= *at);
        std::iter::once(&who.actor)
            .chain(&who.on_behalf_of)
            .any(|actor| of(&actor.subject) || actor.owner.as_deref().is_some_and(of))
    }
}

/// The whole second, so that what is issued in the same one is revoked with it.
pub(super) fn second(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl SshAuthority {
    /// From now on nobody comes in by this. It is forgotten when Weir ends: whoever calls this keeps it. Sessions
    /// that are open are for the kill switch.
    pub fn revoke(&self, what: &Revocation, at: SystemTime) -> Result<(), TooManyRevoked> {
        self.revoked.write().add(what, at)
    }

    /// Is this certificate, which is `who`'s, not revoked?
    pub(super) fn still_counts(
        &self,
        certificate: &Certificate,
        who: &Principal,
    ) -> Result<(), SshCertificateError> {
        let revoked = self.revoked.read();
        let fingerprint = || certificate.key().fingerprint();
        // Ours begin a little before they are issued.
        let issued = certificate.valid_after.saturating_add(SKEW.as_secs());
        let is_revoked = revoked.serials.contains(&certificate.serial)
            || revoked.key_ids.contains(&certificate.key_id)
            || !revoked.keys.is_empty() && revoked.keys.contains(&fingerprint())
            || revoked.names(who, issued);
        match is_revoked {
            true => Err(SshCertificateError::Revoked(certificate.serial)),
            false => Ok(()),
        }
    }

    /// Was everything of somebody revoked who has to do with `who`, at `since` or later, or since their token was
    /// issued?
    pub fn is_revoked_since(&self, who: &Principal, since: SystemTime) -> bool {
        self.revoked.read().names(who, second(since))
    }

    pub fn is_revoked_key(&self, key: &PublicKey) -> bool {
        self.revoked.read().keys.contains(&key.fingerprint())
    }
}
