//! The store in one SQLite file: one thread writes, one reads (write-ahead mode), each behind a
//! bounded queue. Every transaction is synced before it is answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::broadcast;

use super::{
    Ballot, Begun, BundleRow, CertificateRow, Change, HoldLimits, HoldQuery, HoldRecord, HoldRow,
    HostKeyRow, HostKeySight, HostKeyVerdict, KeyLimits, KeyPut, KeyRow, Millis, NewBundle, Notice,
    Opened, PluginChangeRow, PluginRow, Result, RevocationRow, SessionQuery, SessionRow,
    SessionWrite, Settled, Store, StoreError, TokenPut, TokenRow, Verdict, WentAlong,
};
use crate::error::ControlError;
use crate::ports::Files;

mod bundles;
mod file;
mod forget;
mod holds;
mod migrations;
mod outbox;
mod peek;
mod plugin_changes;
mod plugins;
mod sessions;
mod ssh;
mod ssh_hosts;
mod ssh_tokens;
mod worker;

pub(crate) use file::{Lock, connect, lock, make_private};
pub use peek::{Stored, peek};
use worker::{ANSWER_WAIT, Worker};

/// Changes that a slow receiver may miss before it must look by itself.
const CHANGES_KEPT: usize = 256;

/// Names what failed.
fn db(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Database { what, source }
}

/// SQLite's integers are signed; no value of ours comes near the sign.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| corrupt(what, e))
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| corrupt(what, e))
}

fn corrupt(what: &'static str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        what,
        why: why.to_string(),
    }
}

/// The store. Cheap to clone; the file is closed when the last clone is gone.
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Worker,
    reader: Worker,
    changes: broadcast::Sender<Change>,
    rewritten: Arc<Mutex<forget::Rewritten>>,
    _lock: file::Lock,
}

impl Sqlite {
    /// Opens or makes the file, for this process alone. Blocks.
    pub fn open(path: &Path) -> std::result::Result<Self, ControlError> {
        Self::open_with(path, ANSWER_WAIT)
    }

    /// With another patience than usual.
    pub(crate) fn open_with(
        path: &Path,
        wait: Duration,
    ) -> std::result::Result<Self, ControlError> {
        let lock = file::prepare(path)?;
        let mut writing = file::connect(path, false)?;
        migrations::run(&mut writing)?;
        let reading = file::connect(path, true)?;
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        Ok(Self {
            inner: Arc::new(Inner {
                writer: Worker::start("weir-state-write", writing, wait)?,
                reader: Worker::start("weir-state-read", reading, wait)?,
                changes,
                rewritten: Arc::default(),
                _lock: lock,
            }),
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.writer.call(job).await
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.inner.reader.call(job).await
    }

    /// Nobody listening is no failure.
    fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.inner.changes.send(change).ok();
        }
    }

    fn tell_hold(&self, id: &str) {
        self.tell([Change::Hold(id.to_owned()), Change::Outbox]);
    }
}

#[async_trait]
impl Store for Sqlite {
    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    async fn ping(&self) -> Result<()> {
        self.write(|c| {
            let tx = c.transaction().map_err(db("checking the store"))?;
            tx.execute("UPDATE meta SET pings = pings + 1", [])
                .map_err(db("checking the store"))?;
            tx.rollback().map_err(db("checking the store"))
        })
        .await?;
        self.read(|c| {
            c.query_row("SELECT 1", [], |_| Ok(()))
                .map_err(db("checking the store"))
        })
        .await
    }

    async fn open_hold(&self, hold: HoldRecord, limits: HoldLimits) -> Result<Opened> {
        let id = hold.id.clone();
        let opened = self.write(move |c| holds::open(c, &hold, limits)).await?;
        if opened == Opened::Yes {
            self.tell_hold(&id);
        }
        Ok(opened)
    }

    async fn hold(&self, id: &str) -> Result<Option<HoldRow>> {
        let id = id.to_owned();
        self.read(move |c| holds::one(c, &id)).await
    }

    async fn holds(&self, query: HoldQuery) -> Result<Vec<HoldRow>> {
        self.read(move |c| holds::list(c, &query)).await
    }

    async fn vote(&self, ballot: Ballot) -> Result<Option<Verdict>> {
        let id = ballot.hold.clone();
        let verdict = self.write(move |c| holds::vote(c, &ballot)).await?;
        self.tell_hold(&id);
        Ok(verdict)
    }

    async fn settle_hold(&self, id: &str, fingerprint: [u8; 32], now: Millis) -> Result<Settled> {
        let owned = id.to_owned();
        let settled = self
            .write(move |c| holds::settle_one(c, &owned, &fingerprint, now))
            .await?;
        if settled != Settled::Pending {
            self.tell([Change::Outbox]);
        }
        Ok(settled)
    }

    async fn abandon_hold(&self, id: &str, now: Millis) -> Result<bool> {
        let owned = id.to_owned();
        let done = self.write(move |c| holds::abandon(c, &owned, now)).await?;
        if done {
            self.tell_hold(id);
        }
        Ok(done)
    }

    async fn stage_bundle(&self, bundle: NewBundle, max_staged: u32) -> Result<Option<BundleRow>> {
        self.write(move |c| bundles::stage(c, &bundle, max_staged))
            .await
    }

    async fn bundle(&self, version: u64) -> Result<Option<BundleRow>> {
        self.read(move |c| bundles::one(c, version)).await
    }

    async fn bundle_files(&self, version: u64) -> Result<Option<Files>> {
        self.read(move |c| bundles::files(c, version)).await
    }

    async fn bundles(&self, before: Option<u64>, limit: u32) -> Result<Vec<BundleRow>> {
        self.read(move |c| bundles::list(c, before, limit)).await
    }

    async fn active_bundle(&self) -> Result<Option<BundleRow>> {
        self.read(bundles::active).await
    }

    async fn previous_bundle(&self) -> Result<Option<BundleRow>> {
        self.read(bundles::previous).await
    }

    async fn activate_bundle(
        &self,
        version: u64,
        expected: Option<u64>,
        by: &str,
        at: Millis,
    ) -> Result<bool> {
        let by = by.to_owned();
        self.write(move |c| bundles::activate(c, version, expected, &by, at))
            .await
    }

    async fn add_plugin(&self, plugin: PluginRow, component: Bytes) -> Result<bool> {
        self.write(move |c| plugins::add(c, &plugin, &component))
            .await
    }

    async fn plugin(&self, name: &str) -> Result<Option<PluginRow>> {
        let name = name.to_owned();
        self.read(move |c| plugins::one(c, &name)).await
    }

    async fn plugin_component(&self, name: &str) -> Result<Option<Bytes>> {
        let name = name.to_owned();
        self.read(move |c| plugins::component(c, &name)).await
    }

    async fn plugins(&self) -> Result<Vec<PluginRow>> {
        self.read(|c| plugins::list(c)).await
    }

    async fn stage_plugin(
        &self,
        change: PluginChangeRow,
        component: Bytes,
        max: u32,
    ) -> Result<bool> {
        self.write(move |c| plugin_changes::stage(c, &change, &component, max))
            .await
    }

    async fn plugin_changes(&self) -> Result<Vec<PluginChangeRow>> {
        self.read(|c| plugin_changes::list(c)).await
    }

    async fn plugin_change_component(&self, id: &str) -> Result<Option<Bytes>> {
        let id = id.to_owned();
        self.read(move |c| plugin_changes::component(c, &id)).await
    }

    async fn apply_plugin_change(&self, id: &str, by: &str, at: Millis) -> Result<bool> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.write(move |c| plugin_changes::apply(c, &id, &by, at))
            .await
    }

    async fn write_sessions(&self, writes: Vec<SessionWrite>) -> Result<()> {
        self.write(move |c| sessions::write(c, &writes)).await
    }

    async fn session(&self, id: &str) -> Result<Option<SessionRow>> {
        let id = id.to_owned();
        self.read(move |c| sessions::one(c, &id)).await
    }

    async fn sessions(&self, query: SessionQuery) -> Result<Vec<SessionRow>> {
        self.read(move |c| sessions::list(c, &query)).await
    }

    async fn forget_session(&self, id: &str) -> Result<()> {
        let (id, rewritten) = (id.to_owned(), self.inner.rewritten.clone());
        self.write(move |c| forget::session(c, &id, &mut rewritten.lock()))
            .await
    }

    async fn due_notices(&self, now: Millis, limit: u32) -> Result<Vec<Notice>> {
        self.read(move |c| outbox::due(c, now, limit)).await
    }

    async fn notice_delivered(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.write(move |c| outbox::delivered(c, &id)).await
    }

    async fn notice_failed(&self, id: &str, retry_at: Option<Millis>, error: &str) -> Result<()> {
        let (id, error) = (id.to_owned(), error.to_owned());
        self.write(move |c| outbox::failed(c, &id, retry_at, &error))
            .await
    }

    async fn add_ssh_revocation(&self, row: RevocationRow, max: u32) -> Result<Option<WentAlong>> {
        self.write(move |c| ssh::revoke(c, &row, max)).await
    }

    async fn keep_ssh_certificate(&self, row: CertificateRow, limits: KeyLimits) -> Result<()> {
        self.write(move |c| ssh::keep_certificate(c, &row, limits))
            .await
    }

    async fn ssh_revocations(&self) -> Result<Vec<RevocationRow>> {
        self.read(|c| ssh::revocations(c)).await
    }

    async fn put_ssh_key(&self, row: KeyRow, limits: KeyLimits) -> Result<KeyPut> {
        self.write(move |c| ssh::put_key(c, &row, limits)).await
    }

    async fn remove_ssh_key(&self, fingerprint: &str, subject: &str) -> Result<bool> {
        let (fingerprint, subject) = (fingerprint.to_owned(), subject.to_owned());
        self.write(move |c| ssh::remove_key(c, &fingerprint, &subject))
            .await
    }

    async fn ssh_keys(&self, subject: Option<&str>, limit: u32) -> Result<Vec<KeyRow>> {
        let subject = subject.map(str::to_owned);
        self.read(move |c| ssh::keys(c, subject.as_deref(), limit))
            .await
    }

    async fn put_ssh_token(&self, row: TokenRow, limits: KeyLimits) -> Result<TokenPut> {
        self.write(move |c| ssh_tokens::put(c, &row, limits)).await
    }

    async fn ssh_token(&self, hash: [u8; 32]) -> Result<Option<TokenRow>> {
        self.read(move |c| ssh_tokens::find(c, &hash)).await
    }

    async fn ssh_token_called(&self, id: &str) -> Result<Option<TokenRow>> {
        let id = id.to_owned();
        self.read(move |c| ssh_tokens::called(c, &id)).await
    }

    async fn ssh_tokens(&self, subject: Option<&str>, limit: u32) -> Result<Vec<TokenRow>> {
        let subject = subject.map(str::to_owned);
        self.read(move |c| ssh_tokens::list(c, subject.as_deref(), limit))
            .await
    }

    async fn remove_ssh_token(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.write(move |c| ssh_tokens::remove(c, &id)).await
    }

    async fn saw_ssh_host_key(
        &self,
        sight: HostKeySight,
        max: u32,
    ) -> Result<(HostKeyRow, Option<Millis>)> {
        self.write(move |c| ssh_hosts::seen(c, &sight, max)).await
    }

    async fn recorded_ssh_host_key(
        &self,
        target: &str,
        fingerprint: &str,
        at: Millis,
    ) -> Result<()> {
        let (target, fingerprint) = (target.to_owned(), fingerprint.to_owned());
        self.write(move |c| ssh_hosts::recorded(c, &target, &fingerprint, at))
            .await
    }

    async fn decide_ssh_host_key(
        &self,
        verdict: HostKeyVerdict,
        max: u32,
    ) -> Result<Option<(HostKeyRow, Vec<String>)>> {
        self.write(move |c| ssh_hosts::decide(c, &verdict, max))
            .await
    }

    async fn ssh_host_keys(&self) -> Result<Vec<HostKeyRow>> {
        self.read(|c| ssh_hosts::all(c)).await
    }

    async fn begin(&self, now: Millis) -> Result<Begun> {
        let begun = self
            .write(move |c| {
                let holds_abandoned = holds::abandon_all(c, now)?;
                let sessions_ended = sessions::end_all(c, now)?;
                Ok(Begun {
                    holds_abandoned,
                    sessions_ended,
                })
            })
            .await?;
        self.tell([Change::Outbox]);
        Ok(begun)
    }

    async fn sweep(&self, now: Millis, keep_since: Millis) -> Result<()> {
        self.write(move |c| {
            holds::sweep(c, now, keep_since)?;
            bundles::sweep(c, keep_since)?;
            plugin_changes::sweep(c, now)?;
            sessions::sweep(c, keep_since)?;
            ssh::sweep(c, now)?;
            ssh_tokens::sweep(c, now)?;
            outbox::sweep(c, keep_since)
        })
        .await?;
        self.tell([Change::Outbox]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
