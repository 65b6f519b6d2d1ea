//! The deny list: tokens and subjects that are refused although their tokens verify.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use pipeline::Principal;
use tokio::sync::watch;

/// Entries that are kept. One more is an error: silently forgetting an old one would let somebody
/// in again.
pub const MAX_REVOCATIONS: usize = 100_000;

#[derive(Debug, thiserror::Error)]
#[error("the deny list already has {MAX_REVOCATIONS} entries")]
pub struct TooManyRevocations;

/// The deny list of this process; cheap to clone, all clones are the same list.
#[derive(Clone)]
pub struct Revocations {
    lists: Arc<RwLock<Lists>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Lists {
    /// By issuer and `jti`.
    tokens: HashMap<(String, String), SystemTime>,
    subjects: HashMap<String, SystemTime>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            lists: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Revocations {
    /// Refuses the token with this `jti` until `until`, which should be its expiry.
    pub fn deny_token(
        &self,
        issuer: &str,
        jti: &str,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<(), TooManyRevocations> {
        let mut lists = self.lists.write();
        lists.make_room(now)?;
        let entry = lists
            .tokens
            .entry((issuer.to_owned(), jti.to_owned()))
            .or_insert(until);
        *entry = (*entry).max(until);
        drop(lists);
        self.changes.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Refuses everything that involves this subject (with its prefix): its own tokens, those of
    /// whoever acts for it, and those of the agents it owns.
    pub fn deny_subject(
        &self,
        subject: &str,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<(), TooManyRevocations> {
        let mut lists = self.lists.write();
        lists.make_room(now)?;
        let entry = lists.subjects.entry(subject.to_owned()).or_insert(until);
        *entry = (*entry).max(until);
        drop(lists);
        self.changes.send_modify(|n| *n += 1);
        Ok(())
    }

    /// Takes a subject off the list.
    pub fn allow_subject(&self, subject: &str) {
        self.lists.write().subjects.remove(subject);
        self.changes.send_modify(|n| *n += 1);
    }

    /// For running sessions, after a change: must this principal go?
    pub fn is_denied(&self, principal: &Principal, now: SystemTime) -> bool {
        let lists = self.lists.read();
        if lists.tokens.is_empty() && lists.subjects.is_empty() {
            return false;
        }
        let token = principal.token_id.as_ref().and_then(|jti| {
            lists
                .tokens
                .get(&(principal.issuer.to_string(), jti.clone()))
                .copied()
        });
        if token.is_some_and(|until| now < until) {
            return true;
        }
        let denied = |subject: &str| {
            lists
                .subjects
                .get(subject)
                .is_some_and(|until| now < *until)
        };
        principal
            .chain()
            .any(|a| denied(&a.subject) || a.owner.as_deref().is_some_and(denied))
    }

    /// Changes with every entry; whoever runs sessions looks at them again then.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Lists {
    fn make_room(&mut self, now: SystemTime) -> Result<(), TooManyRevocations> {
        if self.tokens.len() + self.subjects.len() < MAX_REVOCATIONS {
            return Ok(());
        }
        self.tokens.retain(|_, until| now < *until);
        self.subjects.retain(|_, until| now < *until);
        if self.tokens.len() + self.subjects.len() < MAX_REVOCATIONS {
            Ok(())
        } else {
            Err(TooManyRevocations)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::{Actor, PrincipalKind};
    use std::time::Duration;

    #[test]
    fn everybody_involved_is_denied() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = now + Duration::from_secs(60);
        let mut agent = Actor::new(PrincipalKind::Agent, "agent", &[]);
        agent.owner = Some("olga".into());
        let mut principal = Principal::direct(agent, "https://i.example", later);
        principal.on_behalf_of = vec![Actor::new(PrincipalKind::User, "alice", &[])];
        principal.token_id = Some("t1".to_owned());

        type Deny = fn(&Revocations, SystemTime, SystemTime) -> Result<(), TooManyRevocations>;
        let table: [(&str, Deny, bool); 7] = [
            ("nothing", |_, _, _| Ok(()), false),
            ("actor", |r, u, n| r.deny_subject("agent", u, n), true),
            ("head", |r, u, n| r.deny_subject("alice", u, n), true),
            ("owner", |r, u, n| r.deny_subject("olga", u, n), true),
            ("other", |r, u, n| r.deny_subject("bob", u, n), false),
            (
                "token",
                |r, u, n| r.deny_token("https://i.example", "t1", u, n),
                true,
            ),
            (
                "same jti, other issuer",
                |r, u, n| r.deny_token("https://x", "t1", u, n),
                false,
            ),
        ];
        for (name, deny, expected) in table {
            let list = Revocations::default();
            let mut changed = list.watch();
            deny(&list, later, now).unwrap();
            assert_eq!(list.is_denied(&principal, now), expected, "{name}");
            assert!(!list.is_denied(&principal, later), "{name}: entries end");
            assert_eq!(
                changed.borrow_and_update().to_owned() > 0,
                name != "nothing"
            );
        }
    }

    #[test]
    fn never_forgets_to_make_room() {
        let list = Revocations::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let later = now + Duration::from_secs(60);
        for n in 0..MAX_REVOCATIONS {
            list.deny_token("i", &n.to_string(), later, now).unwrap();
        }
        assert!(list.deny_subject("mallory", later, now).is_err());
        // Once the entries have ended, there is room again.
        list.deny_subject("mallory", later + Duration::from_secs(60), later)
            .unwrap();
    }
}
