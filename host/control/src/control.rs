//! The control plane as a whole: built from options, then a cheap handle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipeline::ports::{Approver, Authorizer, Clock, Journal, Registry};
use pipeline::{Action, ControlEvent, SessionId, Target};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use weir_client::Timestamp;

use crate::approvals::Desk;
use crate::bundles::Bundles;
use crate::error::ControlError;
use crate::forget::{self, Forgets};
use crate::http;
use crate::index::Index;
use crate::limits::Rate;
use crate::options::{Limits, Options};
use crate::places::Places;
use crate::plugins::Plugins;
use crate::ports::{Authenticate, Packages, Recordings, WatchSessions};
use crate::serve::{ServerTls, serve};
use crate::sessions::{Sessions, write_summaries};
use crate::ssh::{Logins, agree};
use crate::ssh_hosts::{HostKeyDesk, HostKeys};
use crate::ssh_keys::Keys;
use crate::ssh_tokens::{TokenDesk, Tokens};
use crate::store::{HoldLimits, Sqlite, Store, StoreError};
use crate::webhook::Webhook;

/// Acts that change something, at once.
const MAX_ACTS: usize = 64;
/// Failed authentications per minute, of all sources together, that get their own record.
const MAX_STRANGERS: u32 = 1_000;
/// Uploads at once.
const MAX_LARGE: usize = 4;
/// Packages of evidence that are made or sent at once.
const MAX_PACKAGES: usize = 2;
/// How often overdue holds are marked and old rows forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How often old entries of the index are removed.
const TIDY_INDEX_EVERY: Duration = Duration::from_secs(600);

pub(crate) type Shared = Arc<Inner>;

/// Everything that a call of the API may need.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) desk: Desk,
    pub(crate) sessions: Sessions,
    pub(crate) watch: Arc<dyn WatchSessions>,
    /// Watches by principal, and by principal and session.
    pub(crate) watchers: Places<Arc<str>>,
    pub(crate) watchers_of: Places<(Arc<str>, SessionId)>,
    /// Ends every answer that would not end by itself soon: watches, and packages on their way.
    pub(crate) watch_stop: CancellationToken,
    pub(crate) bundles: Bundles,
    pub(crate) plugins: Plugins,
    pub(crate) recordings: Arc<dyn Recordings>,
    pub(crate) packages: Arc<dyn Packages>,
    /// Places for packages, each from the call to its last byte.
    pub(crate) packing: Arc<Semaphore>,
    pub(crate) packers: Places<Arc<str>>,
    pub(crate) targets: BTreeMap<String, Arc<Target>>,
    pub(crate) index: Option<Index>,
    pub(crate) forgets: Forgets,
    pub(crate) deliveries: Arc<dyn crate::ports::Deliveries>,
    pub(crate) ssh: Option<Arc<dyn crate::ports::SshAuthority>>,
    pub(crate) logins: Logins,
    pub(crate) ssh_keys: Option<Arc<dyn crate::ports::SshKeys>>,
    pub(crate) keys: Keys,
    pub(crate) tokens: Tokens,
    pub(crate) host_keys: HostKeys,
    pub(crate) limits: Limits,
    /// Names of the active bundle's approval rules, for whoever lists approvals.
    pub(crate) engine: Arc<dyn crate::ports::BundleEngine>,
    pub(crate) callers: Rate<Arc<str>>,
    /// Failed authentications by network.
    pub(crate) failures: Rate<std::net::IpAddr>,
    /// All failed authentications.
    pub(crate) strangers: Rate<()>,
    /// Principals that call too often: one record each per minute.
    pub(crate) floods: Rate<Arc<str>>,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Calls with large bodies, which are held in memory.
    pub(crate) large: Arc<Semaphore>,
    pub(crate) acts: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    /// The API's own description, for whoever asks: made once.
    pub(crate) description: bytes::Bytes,
}

/// The control plane. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    inner: Shared,
    stop: CancellationToken,
}

impl Control {
    /// Opens the state, brings bundle and plugins back to what was active, and starts the tasks
    /// that announce and tidy up. Holds that an earlier process left open are abandoned.
    pub async fn open(options: Options) -> Result<Self, ControlError> {
        let base_url = base_url(&options.base_url)?;
        let path = options.database.clone();
        let store = tokio::task::spawn_blocking(move || Sqlite::open(&path))
            .await
            .map_err(|_| crate::store::StoreError::Closed)??;
        Self::with_store(options, base_url, Arc::new(store)).await
    }

    pub(crate) async fn with_store(
        options: Options,
        base_url: Arc<str>,
        store: Arc<dyn Store>,
    ) -> Result<Self, ControlError> {
        let now = Timestamp::from(options.clock.now()).millis();
        let begun = store.begin(now).await?;
        if begun.holds_abandoned + begun.sessions_ended > 0 {
            tracing::info!(
                holds = begun.holds_abandoned,
                sessions = begun.sessions_ended,
                "ended what an earlier process left"
            );
        }
        let limits = options.limits;
        let bundles = Bundles::new(store.clone(), options.bundles.clone(), limits.bundle_bytes);
        if let Some(digest) = bundles.configured().await? {
            let event = ControlEvent {
                at: options.clock.now(),
                principal: None,
                action: Action::BundleActivate.as_str().to_owned(),
                resource: format!("Bundle::{digest:?}"),
                result: Ok(()),
                detail: "it came with the configuration".into(),
            };
            options.journal.event(event).await?;
            bundles.adopt(now).await?;
        }
        if let Some(reason) = bundles.restore().await? {
            let event = ControlEvent {
                at: options.clock.now(),
                principal: None,
                action: Action::BundleActivate.as_str().to_owned(),
                resource: String::new(),
                result: Err(reason),
                detail: "at the start: sessions are refused until another bundle is active".into(),
            };
            options.journal.event(event).await?;
        }
        let plugins = Plugins::new(store.clone(), options.plugins, limits.plugin_bytes);
        plugins.restore().await?;
        let logins = Logins::new(store.clone());
        if let Some(authority) = &options.ssh {
            logins.restore(&**authority, options.clock.now()).await?;
        }
        // After what was revoked: some of them may be among that.
        let keys = Keys::new(store.clone());
        if let Some(registered) = &options.ssh_keys {
            keys.restore(&**registered, options.clock.now()).await?;
        }
        let tokens = Tokens::new(store.clone());
        let host_keys = HostKeys::open(store.clone()).await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let webhook = match &options.webhook {
            None => None,
            Some(o) => Some(Webhook::new(
                o,
                base_url.clone(),
                store.clone(),
                options.clock.clone(),
            )?),
        };
        let desk = Desk::new(
            store.clone(),
            options.clock.clone(),
            tasks.clone(),
            base_url,
            HoldLimits {
                total: limits.holds,
                per_principal: limits.holds_per_principal,
                kept: limits.holds_kept,
                kept_per_principal: limits.holds_kept_per_principal,
            },
            webhook.is_some(),
            Rate::new(limits.holds_per_minute),
        );
        let (sessions, writes) = Sessions::new(store.clone(), options.clock.clone());
        tasks.spawn(write_summaries(store.clone(), writes, stop.clone()));
        if let Some(webhook) = webhook {
            tasks.spawn(webhook.run(stop.clone()));
        }
        if let Some(index) = options.index.clone() {
            tasks.spawn(tidy_index(index, options.clock.clone(), stop.clone()));
        }
        let inner = Inner {
            store,
            authenticate: options.authenticate,
            authorizer: options.authorizer,
            journal: options.journal,
            clock: options.clock,
            desk,
            sessions,
            watch: options.watch,
            watchers: Places::default(),
            watchers_of: Places::default(),
            watch_stop: stop.child_token(),
            bundles,
            plugins,
            recordings: options.recordings,
            packages: options.packages,
            packing: Arc::new(Semaphore::new(MAX_PACKAGES)),
            packers: Places::default(),
            targets: options
                .targets
                .into_iter()
                .map(|t| (t.name.to_string(), t))
                .collect(),
            engine: options.bundles,
            index: options.index,
            forgets: Forgets::new(tasks.clone(), stop.clone()),
            deliveries: options.deliveries,
            ssh: options.ssh,
            logins,
            ssh_keys: options.ssh_keys,
            keys,
            tokens,
            host_keys,
            callers: Rate::new(limits.calls_per_minute),
            failures: Rate::new(limits.failures_per_minute),
            strangers: Rate::new(MAX_STRANGERS),
            floods: Rate::new(1),
            in_flight: Arc::new(Semaphore::new(limits.calls_in_flight)),
            large: Arc::new(Semaphore::new(MAX_LARGE)),
            acts: Arc::new(Semaphore::new(MAX_ACTS)),
            limits,
            tasks,
            description: http::description()?,
        };
        let inner = Arc::new(inner);
        let tidy = tidy_up(inner.clone(), inner.limits.retention, stop.clone());
        inner.tasks.spawn(tidy);
        Ok(Self { inner, stop })
    }

    /// The desk where held actions wait.
    pub fn approver(&self) -> Arc<dyn Approver> {
        Arc::new(self.inner.desk.clone())
    }

    /// Where protocol crates register their sessions.
    pub fn registry(&self) -> Arc<dyn Registry> {
        Arc::new(self.inner.sessions.clone())
    }

    /// Where protocol crates ask by what hosts are known.
    pub fn host_keys(&self) -> HostKeyDesk {
        HostKeyDesk {
            shared: self.inner.clone(),
        }
    }

    /// Where protocol crates find short tokens.
    pub fn short_tokens(&self) -> TokenDesk {
        TokenDesk {
            shared: self.inner.clone(),
        }
    }

    /// Forgets what a session's statements say: in the state, and in the index if there is one. Neither
    /// their files nor what SQLite keeps beside these have it afterwards. Who did what when stays.
    ///
    /// It goes on when nobody waits for it any more, and whoever asks again waits for the same.
    pub async fn forget_session(&self, session: Uuid) -> Result<(), Arc<StoreError>> {
        let Inner { store, index, .. } = &*self.inner;
        let work = || forget::everywhere(store.clone(), index.clone(), session, self.stop.clone());
        self.inner.forgets.done(session, work).await
    }

    /// The API. Calls need the extension `axum::extract::ConnectInfo<SocketAddr>`, which
    /// [`Control::serve`] adds.
    pub fn router(&self) -> axum::Router {
        http::router(self.inner.clone())
    }

    /// Serves the API until `shutdown` is cancelled, then lets calls in flight finish. TLS unless
    /// `tls` is `None`: then only bearer tokens on a loopback address are safe.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        tls: Option<impl Into<ServerTls>>,
        shutdown: CancellationToken,
    ) {
        let limits = &self.inner.limits;
        let tls = tls.map(Into::into);
        // Answers in flight may end, but a watch would not by itself, and a package not soon.
        let watches = async {
            shutdown.cancelled().await;
            self.inner.watch_stop.cancel();
        };
        tokio::join!(
            serve(listener, tls, self.router(), limits, shutdown.clone()),
            watches
        );
    }

    #[cfg(test)]
    pub(crate) fn index(&self) -> Index {
        self.inner.index.clone().unwrap()
    }

    #[cfg(test)]
    pub(crate) async fn agree(&self) -> (crate::store::WentAlong, u64) {
        agree(&self.inner, "weir", "it was revoked").await.unwrap()
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.inner.store.clone()
    }

    /// Ends the background tasks and waits for acts in flight. Open holds stay in the store, where
    /// the next start abandons them.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// Could the control plane be reached at this?
pub fn check_base_url(text: &str) -> Result<(), ControlError> {
    base_url(text).map(drop)
}

fn base_url(text: &str) -> Result<Arc<str>, ControlError> {
    let url = reqwest::Url::parse(text).map_err(|_| ControlError::BaseUrl)?;
    let web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let user = !url.username().is_empty() || url.password().is_some();
    if !web || url.query().is_some() || url.fragment().is_some() || user {
        return Err(ControlError::BaseUrl);
    }
    Ok(text.trim_end_matches('/').into())
}

async fn tidy_index(index: Index, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let (index, now) = (index.clone(), Timestamp::from(clock.now()).millis());
        let tidied = tokio::task::spawn_blocking(move || index.tidy_up(now)).await;
        if let Ok(Err(error)) = tidied {
            tracing::warn!(%error, "the index could not be tidied up");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TIDY_INDEX_EVERY) => {}
        }
    }
}

async fn tidy_up(shared: Shared, retention: Duration, stop: CancellationToken) {
    loop {
        let now = shared.clock.now();
        let keep_since = now.checked_sub(retention).unwrap_or(std::time::UNIX_EPOCH);
        let (now, since) = (
            Timestamp::from(now).millis(),
            Timestamp::from(keep_since).millis(),
        );
        if let Err(error) = shared.store.sweep(now, since).await {
            tracing::warn!(%error, "the state store could not be tidied up");
        }
        // A revocation whose answer came too late for whoever waited has taken them along.
        if let Err(error) = agree(&shared, "weir", "it was revoked").await {
            tracing::warn!(%error, "it is not known if all that people come in by is still kept");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
