//! Administration of policy bundles: staged by one person, activated by another.
//!
//! The engine in memory and the state in the store move together: the engine is switched first, the
//! store follows, and if the store cannot, the engine goes back.

use std::sync::Arc;

use pipeline::{Principal, Resource};
use tokio::sync::Semaphore;
use weir_client::{Activation, BundleChange, BundleProblem, BundleState, BundleSummary, Timestamp};

use crate::convert;
use crate::error::{ApiError, ControlError};
use crate::guard::{Recorded, Subject, involved_in, only_people};
use crate::ports::{BundleEngine, Coming, Files};
use crate::store::{BundleRow, NewBundle, Store, StoreError, write_is_over};

/// Files of one bundle.
const MAX_FILES: usize = 256;
/// The longest path of a file.
const MAX_PATH: usize = 200;
/// The longest note of an author.
const MAX_NOTE: usize = 4_000;
/// Versions that may wait for their activation.
const MAX_STAGED: u32 = 64;

#[derive(Clone)]
pub(crate) struct Bundles {
    store: Arc<dyn Store>,
    engine: Arc<dyn BundleEngine>,
    max_bytes: usize,
    /// One change of the active bundle at a time; nobody waits for it.
    changing: Arc<Semaphore>,
    /// Validations at once: each may keep a core busy.
    validating: Arc<Semaphore>,
}

/// Validations and comparisons at once.
const MAX_VALIDATING: usize = 2;

impl Bundles {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        engine: Arc<dyn BundleEngine>,
        max_bytes: usize,
    ) -> Self {
        Self {
            store,
            engine,
            max_bytes,
            changing: Arc::new(Semaphore::new(1)),
            validating: Arc::new(Semaphore::new(MAX_VALIDATING)),
        }
    }

    /// The digest of the engine's own bundle, if it is to become a new version: the very first time,
    /// and when the configuration brings another one while nobody has activated anything else.
    pub(crate) async fn configured(&self) -> Result<Option<String>, ControlError> {
        let digest = self.engine.active().summary.digest;
        let stored = self.store.active_bundle().await?;
        let people_decided =
            stored.is_some_and(|row| row.author.is_some() || row.summary.digest == digest);
        Ok((!people_decided).then_some(digest))
    }

    /// Makes the engine's own bundle a version of its own, and the active one.
    pub(crate) async fn adopt(&self, now: u64) -> Result<(), ControlError> {
        let active = self.engine.active();
        let before = self.store.active_bundle().await?;
        let bundle = NewBundle {
            files: active.files,
            summary: active.summary,
            author: None,
            involved: Vec::new(),
            note: "came with the configuration".into(),
            at: now,
        };
        let row = self.store.stage_bundle(bundle, u32::MAX).await?;
        let version = row.map_or(0, |r| r.version);
        let before = before.map(|row| row.version);
        let done = self
            .store
            .activate_bundle(version, before, "configuration", now)
            .await?;
        if done {
            Ok(())
        } else {
            let first = "the store did not take it".into();
            Err(ControlError::Bundle { version, first })
        }
    }

    /// Puts the version that is active in the store into the engine. If the engine does not take
    /// it any more, sessions are permitted nothing until people activate another one: nothing else
    /// may decide in its place. Gives the reason then.
    pub(crate) async fn restore(&self) -> Result<Option<String>, ControlError> {
        let Some(row) = self.store.active_bundle().await? else {
            return Ok(None);
        };
        let (version, digest) = (row.version, row.summary.digest);
        let active = self.engine.active();
        if active.version == version && active.summary.digest == digest {
            return Ok(None);
        }
        if active.summary.digest != digest {
            tracing::warn!(
                version,
                digest,
                configured = active.summary.digest,
                "the bundle of the configuration is not in force: people activated another one, and \
                 that counts until they activate yet another"
            );
        }
        let files = self.store.bundle_files(version).await?;
        let restored = self
            .switch(files.unwrap_or_default(), version, Coming::Back)
            .await;
        let Err(problems) = restored else {
            return Ok(None);
        };
        let first = problems.first().map(describe).unwrap_or_default();
        let reason =
            format!("bundle version {version}, which is active, no longer validates: {first}");
        tracing::error!(
            reason,
            "every session is refused; upload and activate another bundle over the API"
        );
        self.engine.seal(&reason);
        Ok(Some(reason))
    }

    /// The size and the names, before anybody parses anything.
    pub(crate) fn check(&self, files: &Files, note: &str) -> Result<(), ApiError> {
        if files.is_empty() {
            return Err(ApiError::invalid("the bundle has no files"));
        }
        if files.len() > MAX_FILES {
            return Err(ApiError::invalid(format!(
                "the bundle has more than {MAX_FILES} files"
            )));
        }
        if note.len() > MAX_NOTE {
            return Err(ApiError::invalid(format!(
                "the note is longer than {MAX_NOTE} bytes"
            )));
        }
        for path in files.keys() {
            if !well_formed(path) {
                return Err(ApiError::invalid(format!("{path:?} is not a file's path"))
                    .hint("Paths are relative, of letters, digits, '-', '_', '.' and '/'."));
            }
        }
        let size: usize = files.iter().map(|(k, v)| k.len() + v.len()).sum();
        if size > self.max_bytes {
            return Err(ApiError::too_large(format!(
                "the bundle has {size} bytes, {} are permitted",
                self.max_bytes
            )));
        }
        Ok(())
    }

    pub(crate) async fn validate(&self, files: Files) -> Result<BundleSummary, ApiError> {
        let engine = self.engine.clone();
        self.work(move || engine.validate(&files))
            .await?
            .map_err(|problems| {
                let n = problems.len();
                ApiError::rejected(format!("the bundle does not validate: {n} problem(s)"))
                    .problems(problems)
            })
    }

    /// The differences from `against` to `version`.
    pub(crate) async fn diff(
        &self,
        against: u64,
        version: u64,
    ) -> Result<Vec<BundleChange>, ApiError> {
        let old = self.files(against).await?;
        let new = self.files(version).await?;
        let engine = self.engine.clone();
        self.work(move || engine.diff(&old, &new)).await
    }

    pub(crate) async fn files(&self, version: u64) -> Result<Files, ApiError> {
        let files = self.store.bundle_files(version).await?;
        files.ok_or_else(|| no_version(version))
    }

    pub(crate) async fn one(&self, version: u64) -> Result<BundleRow, ApiError> {
        let row = self.store.bundle(version).await?;
        row.ok_or_else(|| no_version(version))
    }

    /// The version to roll back to.
    pub(crate) async fn previous(&self) -> Result<BundleRow, ApiError> {
        let row = self.store.previous_bundle().await?;
        row.ok_or_else(|| ApiError::conflict("there is no version to roll back to"))
    }

    /// Keeps a validated bundle for somebody else to activate.
    pub(crate) async fn stage(
        &self,
        recorded: &Recorded,
        files: Files,
        summary: BundleSummary,
        note: String,
    ) -> Result<BundleRow, ApiError> {
        let author = recorded.by();
        let bundle = NewBundle {
            files,
            summary,
            author: Some(author.actor.subject.to_string()),
            involved: convert::involved(author),
            note,
            at: Timestamp::from(recorded.at()).millis(),
        };
        let row = self.store.stage_bundle(bundle, MAX_STAGED).await?;
        row.ok_or_else(|| {
            ApiError::conflict(format!("{MAX_STAGED} versions wait for their activation"))
                .hint("Activate one of them first; unused ones are forgotten after a while.")
        })
    }

    /// The second pair of eyes: nobody activates what they, or what acts for them, wrote.
    pub(crate) fn may_activate(row: &BundleRow, who: &Principal) -> Result<(), ApiError> {
        only_people(who, "activate bundles")?;
        if involved_in(&row.involved, who) {
            return Err(
                ApiError::forbidden("the author of a bundle may not activate it")
                    .hint("Ask somebody else who may activate bundles."),
            );
        }
        Ok(())
    }

    /// Makes `row`'s version active. On any error, what was active stays active.
    pub(crate) async fn activate(
        &self,
        recorded: &Recorded,
        row: BundleRow,
    ) -> Result<Activation, ApiError> {
        Self::may_activate(&row, recorded.by())?;
        let Ok(_changing) = self.changing.clone().try_acquire_owned() else {
            return Err(
                ApiError::conflict("another change of the active bundle is under way")
                    .retry_after(2),
            );
        };
        let version = row.version;
        let before = self.store.active_bundle().await?;
        let Some(before) = before else {
            return Err(ApiError::internal("no bundle is active"));
        };
        if self.one(version).await?.state == BundleState::Active {
            return Err(ApiError::conflict(format!(
                "version {version} is active already"
            )));
        }
        let files = self.files(version).await?;
        let back = self.files(before.version).await?;
        self.switch(files, version, Coming::New)
            .await
            .map_err(|problems| {
                ApiError::rejected("the bundle does not validate any more").problems(problems)
            })?;
        let by = recorded.by().actor.subject.to_string();
        let at = Timestamp::from(recorded.at()).millis();
        let written = self
            .store
            .activate_bundle(version, Some(before.version), &by, at)
            .await;
        let failed = match written {
            Ok(true) => {
                return Ok(Activation {
                    version,
                    digest: row.summary.digest,
                    previous: Some(before.version),
                });
            }
            Ok(false) => ApiError::conflict("another version was activated meanwhile"),
            Err(error) => {
                // A store that did not answer in time may have done it all the same.
                let late = matches!(error, StoreError::Timeout);
                if late && !write_is_over(&*self.store).await {
                    tracing::error!(
                        version,
                        "the store may differ from the engine: restart Weir"
                    );
                }
                let active = self.store.active_bundle().await;
                if active.is_ok_and(|active| active.is_some_and(|row| row.version == version)) {
                    return Ok(Activation {
                        version,
                        digest: row.summary.digest,
                        previous: Some(before.version),
                    });
                }
                ApiError::from(error)
            }
        };
        if let Err(problems) = self.switch(back, before.version, Coming::Back).await {
            let first = problems.first().map(describe).unwrap_or_default();
            tracing::error!(%first, "the bundle that was active cannot be put back");
            self.engine
                .seal("the bundle that is active does not validate");
        }
        Err(failed)
    }

    async fn switch(
        &self,
        files: Files,
        version: u64,
        coming: Coming,
    ) -> Result<BundleSummary, Vec<BundleProblem>> {
        let engine = self.engine.clone();
        let switched =
            tokio::task::spawn_blocking(move || engine.activate(&files, version, coming)).await;
        switched.unwrap_or_else(|error| {
            Err(vec![BundleProblem {
                file: String::new(),
                line: 0,
                column: 0,
                message: format!("the bundle could not be activated: {error}"),
                help: None,
            }])
        })
    }

    /// Runs what may take long on a thread that may block; a few at a time.
    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(place) = self.validating.clone().try_acquire_owned() else {
            return Err(
                ApiError::unavailable("other bundles are being validated at the moment")
                    .retry_after(2),
            );
        };
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            job()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "the bundle engine failed");
            ApiError::internal("the bundle engine failed")
        })
    }
}

fn no_version(version: u64) -> ApiError {
    ApiError::not_found(format!("there is no bundle version {version}"))
}

fn describe(problem: &BundleProblem) -> String {
    format!(
        "{}:{}:{}: {}",
        problem.file, problem.line, problem.column, problem.message
    )
}

fn well_formed(path: &str) -> bool {
    let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    path.len() <= MAX_PATH
        && path.chars().all(permitted)
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// What `bundle:*` is asked on.
pub(crate) fn subject(row: &BundleRow) -> Subject {
    Resource::Bundle {
        digest: row.summary.digest.as_str().into(),
        author: row.author.as_deref().map(Into::into),
    }
    .into()
}
