//! What counts no more, though it has not ended: certificates by what they say, keys, and everything of one
//! person that is older than a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::Principal;
use ssh_keys::{Certificate, PublicKey};

use super::{MAX_CALLER_VALIDITY, MAX_KEY_VALIDITY, SKEW, SshAuthority, SshCertificateError};

/// Revocations that are remembered. Serials are random numbers: nobody can make them collide.
pub(super) const MAX_REVOKED: usize = 100_000;

/// How often it is looked for what has ended by itself, in seconds.
const FORGET_AFTER: u64 = 3600;

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
    /// And when all certificates of before have ended: from then on, it does not matter. None: it is configured.
    serials: BTreeMap<u64, Option<u64>>,
    key_ids: BTreeMap<String, u64>,
    keys: BTreeSet<String>,
    /// Whose, and up to which second.
    subjects: BTreeMap<String, u64>,
    /// When what has ended was last forgotten.
    swept: u64,
}

impl Revoked {
    pub fn of_serials(serials: &[u64]) -> Self {
        Self {
            serials: serials.iter().map(|serial| (*serial, None)).collect(),
            ..Self::default()
        }
    }

    fn len(&self) -> usize {
        self.serials.len() + self.key_ids.len() + self.keys.len() + self.subjects.len()
    }

    /// What has ended by itself takes no place.
    fn sweep(&mut self, now: u64) {
        self.swept = now;
        self.serials
            .retain(|_, ends| ends.is_none_or(|ends| ends > now));
        self.key_ids.retain(|_, ends| *ends > now);
        let lasts = Revocation::Subject(String::new()).lasts();
        if let Some(lasts) = lasts.map(|lasts| lasts.as_secs()) {
            self.subjects.retain(|_, at| at.saturating_add(lasts) > now);
        }
    }

    fn add(&mut self, what: &Revocation, at: SystemTime) -> Result<(), TooManyRevoked> {
        let now = second(at);
        if self.len() >= MAX_REVOKED || now >= self.swept.saturating_add(FORGET_AFTER) {
            self.sweep(now);
        }
        let ends = what
            .lasts()
            .map(|lasts| now.saturating_add(lasts.as_secs()));
        let known = match what {
            Revocation::Serial(serial) => self.serials.contains_key(serial),
            Revocation::KeyId(id) => self.key_ids.contains_key(id),
            Revocation::Key(fingerprint) => self.keys.contains(fingerprint),
            Revocation::Subject(subject) => self.subjects.contains_key(subject),
        };
        if !known && self.len() >= MAX_REVOKED {
            return Err(TooManyRevoked);
        }
        match what {
            Revocation::Serial(serial) => {
                let configured = self.serials.get(serial) == Some(&None);
                if !configured {
                    self.serials.insert(*serial, ends);
                }
            }
            Revocation::KeyId(id) => {
                let until = self.key_ids.entry(id.clone()).or_default();
                *until = (*until).max(ends.unwrap_or(u64::MAX));
            }
            Revocation::Key(fingerprint) => {
                self.keys.insert(fingerprint.clone());
            }
            Revocation::Subject(subject) => {
                let until = self.subjects.entry(subject.clone()).or_default();
                *until = (*until).max(now);
            }
        }
        Ok(())
    }

    /// Is somebody who has to do with `who` revoked, for what is from this second? What was got with a token is as old
    /// as the token: otherwise whoever has stolen one gets anew what was just revoked. One that does not say when it
    /// was issued is older than anything; one whose issuer's clock may be ahead is as old as it can be.
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
        let is_revoked = revoked.serials.contains_key(&certificate.serial)
            || revoked.key_ids.contains_key(&certificate.key_id)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is forgotten has ended; nothing else is, and what is configured never.
    #[test]
    fn what_has_ended_by_itself_is_forgotten_and_makes_room() {
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let serial = Revocation::Serial;
        let mut revoked = Revoked::of_serials(&[7]);
        let other = [
            Revocation::KeyId("id".into()),
            Revocation::Subject("dora".into()),
            Revocation::Key("SHA256:x".into()),
        ];
        for what in other.iter().chain([&serial(7), &serial(8)]) {
            revoked.add(what, start).unwrap();
        }
        let lasts = serial(8).lasts().unwrap();
        let second = Duration::from_secs(1);
        revoked.add(&serial(9), start + lasts - second).unwrap();
        assert_eq!(revoked.len(), 6, "each may still matter");
        let later = start + lasts + Duration::from_secs(FORGET_AFTER);
        revoked.add(&serial(10), later).unwrap();
        let left: Vec<u64> = revoked.serials.keys().copied().collect();
        assert_eq!(left, [7, 9, 10]);
        assert!(revoked.key_ids.is_empty());
        assert!(revoked.subjects.contains_key("dora"), "for a month");
        let much_later = later + other[1].lasts().unwrap();
        revoked.add(&serial(11), much_later).unwrap();
        assert!(revoked.subjects.is_empty());
        assert_eq!(revoked.keys.len(), 1, "for ever");
        // Full, and of something that has ended: there is room again.
        for n in 0..MAX_REVOKED as u64 {
            revoked.add(&serial(1_000 + n), much_later).ok();
        }
        assert_eq!(revoked.len(), MAX_REVOKED);
        assert_eq!(revoked.add(&serial(1), much_later), Err(TooManyRevoked));
        revoked.add(&serial(1), much_later + lasts).unwrap();
        assert_eq!(revoked.len(), 3);
    }
}
