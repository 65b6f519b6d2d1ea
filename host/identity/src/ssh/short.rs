//! Short tokens: a random number that stands for a token, for clients that cannot send the token itself (ssh cuts a
//! password after 1023 characters).
//!
//! As a caller's certificate, one carries the whole principal, and ends with its token at the latest. It is signed by
//! nobody: whoever keeps it keeps only what it is found by, and gives back what was described here.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipeline::{Login, Principal};
use zeroize::Zeroizing;

use super::{IssueError, MIN_CALLER_VALIDITY, SshAuthority, carried};

/// What each begins with, so that whoever looks for secrets knows one.
pub const SHORT_TOKEN_PREFIX: &str = "weir_st_";
/// For how long one counts if nothing else is said.
pub const SHORT_TOKEN_VALIDITY: Duration = Duration::from_secs(3600);
const RANDOM_BYTES: usize = 32;
/// How much of what it is found by names it: for the record, in hexadecimal digits.
const NAME_BYTES: usize = 8;

/// One that nobody has yet.
pub struct ShortToken {
    pub token: Zeroizing<String>,
    /// By which it is found again.
    pub hash: [u8; 32],
    /// By which people and the record name it.
    pub id: String,
    /// Who comes in by it, for [`SshAuthority::read_short_token`].
    pub kept: String,
    pub ends: SystemTime,
}

/// Is this meant to be one? An access token has a dot.
pub fn is_short_token(text: &str) -> bool {
    text.starts_with(SHORT_TOKEN_PREFIX)
}

/// What this is kept under. There are 256 random bits in a token: its hash needs neither salt nor a slow function.
pub fn short_token_hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash
        .iter_mut()
        .zip(digest::digest(&digest::SHA256, token.as_bytes()).as_ref())
    {
        *to = *from;
    }
    hash
}

/// How people and the record name the token with this hash.
pub fn short_token_id(hash: &[u8; 32]) -> String {
    let first = hash.iter().take(NAME_BYTES);
    first.map(|byte| format!("{byte:02x}")).collect()
}

impl SshAuthority {
    /// A new one for `principal`, for `lasts`, until its token ends at the latest, and for no longer than a
    /// certificate would count.
    pub fn make_short_token(
        &self,
        principal: &Principal,
        lasts: Duration,
        now: SystemTime,
    ) -> Result<ShortToken, IssueError> {
        if self.is_revoked_since(principal, now) {
            return Err(IssueError::OldToken);
        }
        let lasts = lasts.min(self.caller_validity);
        let latest = now.checked_add(lasts).ok_or(IssueError::Clock)?;
        let ends = principal.expires_at.min(latest);
        if ends.duration_since(now).unwrap_or_default() < MIN_CALLER_VALIDITY {
            return Err(IssueError::TokenEnds);
        }
        let kept = carried::write(principal)?;
        let mut random = Zeroizing::new([0u8; RANDOM_BYTES]);
        rand::fill(random.as_mut_slice()).map_err(|_| IssueError::Random)?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
        let token = Zeroizing::new(format!("{SHORT_TOKEN_PREFIX}{}", *text));
        let hash = short_token_hash(&token);
        Ok(ShortToken {
            id: short_token_id(&hash),
            token,
            hash,
            kept,
            ends,
        })
    }

    /// Who comes in by what was described so, if it counts at this time. With another configuration by now, it
    /// counts for no longer than this one permits.
    pub fn read_short_token(
        &self,
        kept: &str,
        since: SystemTime,
        ends: SystemTime,
        now: SystemTime,
    ) -> Result<Principal, &'static str> {
        let latest = since.checked_add(self.caller_validity).unwrap_or(since);
        let ends = ends.min(latest);
        if now >= ends {
            return Err("it has ended");
        }
        carried::read(kept, Login::ShortToken, ends)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use pipeline::{Actor, PrincipalKind};

    use super::*;
    use crate::ssh::SshAuthorityOptions;

    const MINUTE: Duration = Duration::from_secs(60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn alice(lasts: Duration) -> Principal {
        let actor = Actor::new(PrincipalKind::User, "alice", &["ops"]);
        Principal::direct(actor, "https://idp.example", now() + lasts)
    }

    fn authority(validity: Duration) -> (tempfile::TempDir, SshAuthority) {
        let dir = tempfile::tempdir().unwrap();
        let mut options = SshAuthorityOptions::new(dir.path().join("ssh"));
        options.caller_validity = validity;
        let authority = SshAuthority::open(&options).unwrap();
        (dir, authority)
    }

    #[test]
    fn a_token_is_short_and_no_two_are_the_same() {
        let (_dir, authority) = authority(60 * MINUTE);
        let make = || authority.make_short_token(&alice(60 * MINUTE), MINUTE, now());
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_ne!(one.hash, other.hash);
        assert_ne!(*one.token, *other.token);
        assert_eq!(one.token.len(), SHORT_TOKEN_PREFIX.len() + 43);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!(is_short_token(&one.token) && one.token.chars().all(plain));
        assert_eq!(one.hash, short_token_hash(&one.token));
        assert_eq!((one.id.len(), &one.id), (16, &short_token_id(&one.hash)));
        // What is kept does not give it away.
        assert!(!one.kept.contains(&*one.token) && !one.kept.contains(&one.id));
    }

    #[test]
    fn it_ends_with_its_token_and_with_what_a_certificate_would() {
        let (_dir, authority) = authority(30 * MINUTE);
        for (token, asked, expect) in [
            (60 * MINUTE, 10 * MINUTE, Some(10 * MINUTE)),
            (5 * MINUTE, 10 * MINUTE, Some(5 * MINUTE)),
            (600 * MINUTE, 60 * MINUTE, Some(30 * MINUTE)),
            (Duration::from_secs(29), MINUTE, None),
        ] {
            let made = authority.make_short_token(&alice(token), asked, now());
            match expect {
                Some(lasts) => assert_eq!(made.unwrap().ends, now() + lasts),
                None => assert_eq!(made.err().unwrap(), IssueError::TokenEnds),
            }
        }
        let who = alice(60 * MINUTE);
        let made = authority
            .make_short_token(&who, 10 * MINUTE, now())
            .unwrap();
        let read = |at| authority.read_short_token(&made.kept, now(), made.ends, at);
        let in_ = read(now() + 9 * MINUTE).unwrap();
        assert_eq!(in_.actor, who.actor);
        assert_eq!((in_.issuer, in_.issued_at), (who.issuer, who.issued_at));
        assert_eq!(in_.expires_at, made.ends);
        assert!(read(made.ends).is_err());
        // Kept when more was permitted than now.
        let late = now() + 600 * MINUTE;
        let read = |at| authority.read_short_token(&made.kept, now(), late, at);
        assert_eq!(read(now()).unwrap().expires_at, now() + 30 * MINUTE);
        assert!(read(now() + 30 * MINUTE).is_err());
        for changed in ["", "{}", &made.kept.replace("alice", "al\\u0000ice")] {
            let read = authority.read_short_token(changed, now(), late, now());
            assert!(read.is_err(), "{changed}");
        }
    }
}
