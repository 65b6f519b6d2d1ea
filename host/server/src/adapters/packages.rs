//! Packages of evidence, made by the Weir whose record they are about.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use control::{ApiError, MadePackage, PackageOrder};
use evidence::{Halt, MakeError, Order, Selection, Watch, Window};
use recorder::{LogOptions, Recorder, Store, TrustedKey};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

mod room;

use room::Room;

/// How long the store may take to have everything that is on record.
const STORED_WITHIN: Duration = Duration::from_secs(30);
/// How long making one may take after that. The API waits for longer than both.
const MADE_WITHIN: Duration = Duration::from_secs(240);
/// The most bytes of one, before they are compressed: it is on the disk of Weir until it is sent.
const MOST: u64 = 4 << 30;
/// A millisecond in nanoseconds.
const MILLI: u64 = 1_000_000;

pub(crate) struct Packages {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) store: Store,
    pub(crate) log: LogOptions,
    /// Keys whose logs are believed besides its own.
    trusted: Vec<TrustedKey>,
    /// Where they are while they are made and sent.
    dir: PathBuf,
    room: Arc<Room>,
}

impl Packages {
    /// What an earlier process left in the directory goes.
    pub(crate) fn open(
        recorder: Arc<Recorder>,
        store: Store,
        log: LogOptions,
        trusted: Vec<TrustedKey>,
        data_dir: &Path,
        spool: &Path,
    ) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = data_dir.join("packages");
        let make = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir);
        make.and_then(|()| evidence::clean(&dir))
            .with_context(|| format!("the directory of packages, {}", dir.display()))?;
        let room = Room::new(recorder.clone(), &dir, spool)
            .with_context(|| format!("the disk of packages, {}", dir.display()))?;
        Ok(Self {
            room: Arc::new(room),
            recorder,
            store,
            log,
            trusted,
            dir,
        })
    }
}

#[async_trait]
impl control::Packages for Packages {
    async fn make(&self, order: PackageOrder) -> Result<MadePackage, ApiError> {
        let sample = order.sample.map_or(Ok(evidence::SAMPLE), usize::try_from);
        let sample = sample.ok().filter(|n| *n <= evidence::MAX_SAMPLE);
        let sample = sample.ok_or_else(|| {
            ApiError::invalid(format!("sample must be 0 to {}", evidence::MAX_SAMPLE))
        })?;
        let ns = |at: weir_client::Timestamp| at.millis().saturating_mul(MILLI);
        let selection = Selection {
            window: Window::new(ns(order.from), ns(order.to)),
            targets: order.targets,
            sample,
            names: order.names,
        };
        // Before anybody waits for the store.
        self.room.look().map_err(|halt| halted(&halt))?;
        // The last leaf is then of the call itself: that the window is over is in the package.
        if !self.recorder.flush(STORED_WITHIN).await {
            return Err(ApiError::unavailable(
                "the store does not have everything yet that is on record",
            )
            .retry_after(60));
        }
        let (store, log, dir) = (self.store.clone(), self.log.clone(), self.dir.clone());
        let trusted = self.trusted.clone();
        let runtime = Handle::current();
        // Whoever no longer waits for it ends it: Weir, when it stops.
        let unwanted = CancellationToken::new();
        let _wanted = unwanted.clone().drop_guard();
        let room = self.room.clone();
        let watch = watch(move || room.look(), unwanted.clone(), Instant::now());
        // Much of it is work of the processor.
        let made = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    made = made(&store, &log, trusted, watch, &dir, selection) => made,
                    () = unwanted.cancelled() => Err(halted(&Halt::Unwanted)),
                    () = tokio::time::sleep(MADE_WITHIN) => Err(halted(&Halt::TooLate)),
                }
            })
        });
        made.await
            .unwrap_or_else(|_| Err(ApiError::internal("making the package ended unexpectedly")))
    }
}

/// Asked while the package is made and verified, also where nothing waits for anything.
fn watch(
    room: impl Fn() -> Result<(), Halt> + Send + Sync + 'static,
    unwanted: CancellationToken,
    began: Instant,
) -> Watch {
    Arc::new(move || {
        if unwanted.is_cancelled() {
            return Err(Halt::Unwanted);
        }
        if began.elapsed() > MADE_WITHIN {
            return Err(Halt::TooLate);
        }
        room()
    })
}

async fn made(
    store: &Store,
    log: &LogOptions,
    trusted: Vec<TrustedKey>,
    watch: Watch,
    dir: &Path,
    selection: Selection,
) -> Result<MadePackage, ApiError> {
    let key = recorder::own_log_key(log).ok().flatten();
    let key =
        key.ok_or_else(|| ApiError::internal("the key that signs packages cannot be read"))?;
    let order = Order {
        selection,
        software: super::software(),
        key: Some(&*key),
        name: log.name.clone(),
        trusted,
        recorded: true,
        most: MOST,
        watch,
    };
    let made = evidence::make_unnamed(store, &order, dir).await;
    let (file, report) = made.map_err(refused)?;
    let bytes = file.metadata().map_err(|_| unreadable())?.len();
    Ok(MadePackage {
        file,
        bytes,
        digest: report.digest,
    })
}

fn unreadable() -> ApiError {
    ApiError::unavailable("the package that was made cannot be read")
}

fn halted(halt: &Halt) -> ApiError {
    match halt {
        Halt::Unwanted => return ApiError::unavailable(halt.to_string()),
        Halt::TooLate => return ApiError::timeout(halt.to_string()),
        Halt::NoRoom { .. } | Halt::Unknown(_) => {}
    }
    // How much there is, is the operators' business.
    tracing::error!(%halt, "no package of evidence is made");
    ApiError::insufficient_storage("Weir's disk has no room for a package beside the record").hint(
        "Choose a shorter window, or ask whoever runs Weir, whose log says how much is missing.",
    )
}

fn refused(error: MakeError) -> ApiError {
    if let Some(halt) = error.halt() {
        return halted(halt);
    }
    if error.is_too_large() {
        return ApiError::too_large(format!(
            "the package would have more than {MOST} bytes before they are compressed"
        ))
        .hint("Choose a shorter window, or leave out names. `weir evidence --offline` has no such bound.");
    }
    match error {
        MakeError::Window | MakeError::Sample => ApiError::invalid(error.to_string()),
        MakeError::NoLog(_) => ApiError::conflict(error.to_string()),
        MakeError::Output { .. } => {
            // The path is nobody's business but the operators'.
            tracing::error!(%error, "a package of evidence cannot be written");
            ApiError::unavailable("the package cannot be written on Weir's disk")
        }
        other => {
            tracing::error!(error = %other, "a package of evidence cannot be made");
            ApiError::unavailable(format!("the package cannot be made: {other}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_making_ends_when_nobody_waits_and_when_it_takes_too_long() {
        let unwanted = CancellationToken::new();
        let full = Halt::NoRoom { free: 1, needed: 2 };
        let no_room = full.clone();
        let now = Instant::now();
        assert_eq!(watch(|| Ok(()), unwanted.clone(), now)(), Ok(()));
        let crowded = watch(move || Err(no_room.clone()), unwanted.clone(), now);
        assert_eq!(crowded(), Err(full));
        if let Some(long_ago) = now.checked_sub(MADE_WITHIN + Duration::from_secs(1)) {
            let late = watch(|| Ok(()), unwanted.clone(), long_ago);
            assert_eq!(late(), Err(Halt::TooLate));
        }
        let asked = watch(|| Ok(()), unwanted.clone(), now);
        unwanted.cancel();
        assert_eq!(asked(), Err(Halt::Unwanted));
        for (halt, status) in [
            (Halt::Unwanted, 503),
            (Halt::TooLate, 504),
            (Halt::NoRoom { free: 1, needed: 2 }, 507),
            (Halt::Unknown("it is gone".into()), 507),
        ] {
            assert_eq!(halted(&halt).status.as_u16(), status, "{halt}");
        }
    }
}
