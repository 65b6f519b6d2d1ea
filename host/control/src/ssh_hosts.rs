//! Keys by which SSH hosts are known: what they have shown, and what people said of it.
//!
//! What counts is in memory; the store has the same, for the next start. A key that counts is kept before it does,
//! one that does not any more stops at once. Nothing counts because it was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use pipeline::{ControlEvent, Protocol, SessionInfo};
use tokio::sync::Semaphore;
use weir_client::{SshHostKey, SshHostKeyState, Timestamp};

use crate::control::Shared;
use crate::error::{ApiError, ControlError};
use crate::guard::Recorded;
use crate::limits::Rate;
use crate::store::{HostKeyRow, HostKeySight, HostKeyVerdict, Store};

/// Keys of one target that wait, and those that are rejected: of each so many, the last shown ones.
const MAX_OF_TARGET: u32 = 16;
/// How often a minute it is put down that a target shows a key that does not count.
const SIGHTS_PER_MINUTE: u32 = 30;
/// A key that goes on being shown is on record again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(3600);

/// An approved key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Approved {
    fingerprint: String,
    public_key: String,
}

pub(crate) struct HostKeys {
    store: Arc<dyn Store>,
    approved: RwLock<BTreeMap<String, Approved>>,
    /// One verdict after the other.
    deciding: Semaphore,
    sights: Rate<String>,
}

impl HostKeys {
    /// With what was approved. What cannot be read ends the start: people believe a host to be known.
    pub(crate) async fn open(store: Arc<dyn Store>) -> Result<Self, ControlError> {
        let rows = store.ssh_host_keys().await?;
        Ok(Self {
            store,
            approved: RwLock::new(approved(rows)),
            deciding: Semaphore::new(1),
            sights: Rate::new(SIGHTS_PER_MINUTE),
        })
    }

    /// In force when it returns `Ok`; also when it does not, if it makes things stricter.
    pub(crate) async fn decide(
        &self,
        recorded: &Recorded,
        verdict: HostKeyVerdict,
    ) -> Result<Decided, ApiError> {
        let Ok(_turn) = self.deciding.acquire().await else {
            return Err(ApiError::unavailable("Weir is about to end"));
        };
        let target = verdict.target.clone();
        let was_known = self.is_known_by(&target, &verdict.fingerprint);
        let mut lost = was_known && !verdict.approved;
        // Whoever is on a host by another key than the right one is on another host.
        let replaces = verdict.approved && !was_known && self.approved.read().contains_key(&target);
        if lost {
            self.approved.write().remove(&target);
        }
        let kept = self.store.decide_ssh_host_key(verdict, MAX_OF_TARGET).await;
        let row = match kept {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(%error, by = %recorded.by().actor.subject, "a verdict on a host key cannot be kept");
                let error = ApiError::unavailable(match lost {
                    true => {
                        "the key does not count until Weir ends, but that is not kept for afterwards: the state store cannot answer"
                    }
                    false => "the verdict cannot be kept: the state store cannot answer",
                });
                return Ok(Decided {
                    lost,
                    forgotten: Vec::new(),
                    key: Err(match lost {
                        true => error.hint("Reject it again.").goes_on(),
                        false => error,
                    }),
                });
            }
        };
        let (row, forgotten) = row.ok_or_else(|| {
            ApiError::not_found("this target has shown no such key")
                .hint("weir ssh host-key list shows those that it has")
        })?;
        if row.state == SshHostKeyState::Approved {
            let now = Approved {
                fingerprint: row.fingerprint.clone(),
                public_key: row.public_key.clone(),
            };
            self.approved.write().insert(target, now);
            lost |= replaces;
        }
        Ok(Decided {
            lost,
            forgotten,
            key: Ok(self.shown(row)),
        })
    }

    fn is_known_by(&self, target: &str, fingerprint: &str) -> bool {
        let approved = self.approved.read();
        approved
            .get(target)
            .is_some_and(|a| a.fingerprint == fingerprint)
    }

    pub(crate) async fn list(&self) -> Result<Vec<SshHostKey>, ApiError> {
        let rows = self.store.ssh_host_keys().await?;
        Ok(rows.into_iter().map(|row| self.shown(row)).collect())
    }

    fn shown(&self, row: HostKeyRow) -> SshHostKey {
        let approved = self.approved.read();
        let known = approved.get(&row.target);
        SshHostKey {
            changed: known.is_some_and(|a| a.fingerprint != row.fingerprint),
            target: row.target,
            fingerprint: row.fingerprint,
            public_key: row.public_key,
            state: row.state,
            first_seen: Timestamp::from_millis(row.first_seen),
            last_seen: Timestamp::from_millis(row.last_seen),
            seen: row.seen,
            decided_by: row.decided_by,
            decided_at: row.decided_at.map(Timestamp::from_millis),
            reason: row.reason,
        }
    }
}

/// What a verdict has come to.
pub(crate) struct Decided {
    /// The target was known by this key and is not any more.
    pub(crate) lost: bool,
    /// Keys that were rejected so long ago that they made room: if they are shown again, they wait.
    pub(crate) forgotten: Vec<String>,
    pub(crate) key: Result<SshHostKey, ApiError>,
}

fn approved(rows: Vec<HostKeyRow>) -> BTreeMap<String, Approved> {
    let rows = rows.into_iter();
    let rows = rows.filter(|row| row.state == SshHostKeyState::Approved);
    rows.map(|row| {
        let approved = Approved {
            fingerprint: row.fingerprint,
            public_key: row.public_key,
        };
        (row.target, approved)
    })
    .collect()
}

/// Is it a session on this host?
pub(crate) fn is_on(info: &SessionInfo, target: &str) -> bool {
    info.target.protocol == Protocol::Ssh && *info.target.name == *target
}

/// How a key stands that a host has shown and that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyStanding {
    /// Somebody may say that it is the right one.
    Waits,
    /// Somebody has said that it is the wrong one.
    Rejected,
}

/// Where whoever dials hosts asks for the keys that they are known by.
#[derive(Clone)]
pub struct HostKeyDesk {
    pub(crate) shared: Shared,
}

impl HostKeyDesk {
    /// As a line of OpenSSH.
    pub fn approved(&self, target: &str) -> Option<String> {
        let approved = self.shared.host_keys.approved.read();
        approved.get(target).map(|a| a.public_key.clone())
    }

    /// A host has shown a key that does not count; it has proved that it has it. It is listed, and on record.
    pub async fn unknown(
        &self,
        target: &str,
        fingerprint: &str,
        public_key: &str,
    ) -> HostKeyStanding {
        let keys = &self.shared.host_keys;
        if !keys.sights.admit(target.to_owned()) {
            return HostKeyStanding::Waits;
        }
        let (shared, target) = (self.shared.clone(), target.to_owned());
        let (fingerprint, public_key) = (fingerprint.to_owned(), public_key.to_owned());
        // Whoever dials may go away meanwhile: what was listed is still told.
        let told = self.shared.tasks.spawn(async move {
            let now = shared.clock.now();
            let sight = HostKeySight {
                target,
                fingerprint,
                public_key,
                at: Timestamp::from(now).millis(),
            };
            see(&shared, sight, now).await
        });
        told.await.unwrap_or_else(|error| {
            tracing::error!(%error, "listing a host key ended unexpectedly");
            HostKeyStanding::Waits
        })
    }
}

/// Lists the key, and has the record say it: when it is new, when a verdict came since, and once an hour.
async fn see(shared: &Shared, sight: HostKeySight, now: SystemTime) -> HostKeyStanding {
    let keys = &shared.host_keys;
    let (target, fingerprint, at) = (sight.target.clone(), sight.fingerprint.clone(), sight.at);
    let (row, recorded) = match keys.store.saw_ssh_host_key(sight, MAX_OF_TARGET).await {
        Ok(seen) => seen,
        Err(error) => {
            tracing::error!(%error, target_name = target, fingerprint, "a host key that waits cannot be listed");
            return HostKeyStanding::Waits;
        }
    };
    let again = u64::try_from(SAY_AGAIN.as_millis()).unwrap_or(u64::MAX);
    if recorded.is_none_or(|recorded| at.saturating_sub(recorded) >= again) {
        let other = keys.approved.read().get(&target).cloned();
        let event = event(&target, &fingerprint, row.state, other, now);
        // What was not recorded is told at the next sight.
        match shared.journal.event(event).await {
            Ok(()) => {
                let kept = keys.store.recorded_ssh_host_key(&target, &fingerprint, at);
                if let Err(error) = kept.await {
                    tracing::warn!(%error, "that a host key is on record cannot be kept: it will be recorded again");
                }
            }
            Err(error) => {
                tracing::error!(%error, "a host key that does not count cannot be recorded");
            }
        }
    }
    match row.state {
        SshHostKeyState::Rejected => HostKeyStanding::Rejected,
        SshHostKeyState::Waiting | SshHostKeyState::Approved => HostKeyStanding::Waits,
    }
}

fn event(
    target: &str,
    fingerprint: &str,
    state: SshHostKeyState,
    other: Option<Approved>,
    at: SystemTime,
) -> ControlEvent {
    let (action, why) = match (&other, state) {
        (Some(_), _) => (
            "host_key:changed",
            "the host shows another key than the approved one: it was changed, or somebody is in between",
        ),
        (None, SshHostKeyState::Rejected) => ("host_key:unknown", "the host shows a rejected key"),
        (None, _) => ("host_key:unknown", "the host's key is not approved"),
    };
    let known = other.map_or(String::new(), |a| format!("approved: {}", a.fingerprint));
    ControlEvent {
        at,
        principal: None,
        action: action.to_owned(),
        resource: resource(target, fingerprint),
        result: Err(why.to_owned()),
        detail: known,
    }
}

/// Its name in the record.
pub(crate) fn resource(target: &str, fingerprint: &str) -> String {
    format!("HostKey::{target:?} {fingerprint:?}")
}
