//! Typed configuration → a running Weir.
//!
//! Two steps, so that `weir check-config` can do the first alone: [`Parts::build`] reads and checks
//! everything that the configuration names without binding a port; [`Parts::run`] binds and serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use authz::{Bundle, CompiledBundle, Engine};
use control::Control;
use identity::{DevIssuer, Verifier, VerifierOptions};
use pipeline::ControlEvent;
use pipeline::ports::{Clock, Journal, Ports, SystemClock};
use plugin_host::{ArtifactCache, HostKey, Plugins, Runtime};
use proto_pg::{PgService, PgTarget};
use proto_ssh::SshService;
use recorder::{Recorder, Snapshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::{
    Bundles, Erasing, FailureRecorder, Forgetting, Known, Packages, Pins, PluginAdmin,
    PluginFailures, Seal, Snapshots, Tokens, Watching, kept_longer, read_older,
};
use crate::config::{Config, DEV_SUBJECT_PREFIX, TlsFiles};
use crate::data_dir;

/// Certificates are read again this often.
const TLS_RELOAD: Duration = Duration::from_secs(30);

pub(crate) use audit::index_path;

/// Where the development issuer keeps its key.
pub(crate) fn dev_key_dir(config: &Config) -> PathBuf {
    config.data_dir.join("dev-issuer")
}

/// What the parts are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Serve,
    Check,
}

/// Everything that can be known to be right without binding a port or locking a directory.
pub(crate) struct Parts {
    config: Config,
    verifier: Verifier,
    bundle: CompiledBundle,
    plugins: Arc<Plugins>,
    failures: FailureRecorder,
    snapshots: Arc<Snapshots>,
    pg_listeners: Vec<proto_pg::PgListener>,
    pg_targets: Vec<PgTarget>,
    ssh: ssh::Ssh,
    api_tls: Option<net::Tls>,
    ssh_authority: Option<Arc<identity::SshAuthority>>,
    clock: Arc<dyn Clock>,
}

impl Parts {
    /// Reads and checks certificates, keys, bundle and plugins. With `Purpose::Check` nothing is
    /// written: the state may be another process's, or another user's.
    pub(crate) async fn build(config: Config, purpose: Purpose) -> anyhow::Result<Self> {
        if purpose == Purpose::Serve {
            data_dir::prepare(&config)?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        mask_keys(&config)?;
        let recording = recorder_options(&config)?;
        recording.limits.check().context("recording")?;
        deliver::check(&config)?;
        let verifier = verifier(&config, purpose)?;
        let bundle = bundle(&config)?;
        check_envs(&config, &bundle)?;
        bundle.check_retention(vault_days(&config))?;
        let snapshots = Arc::new(Snapshots::default());
        let (plugins, failures) =
            plugins(&config, clock.clone(), snapshots.clone(), purpose).await?;
        let pg_listeners = config
            .postgres
            .listeners
            .iter()
            .map(|l| postgres::listener(&config, l))
            .collect::<Result<Vec<_>, _>>()?;
        let pg_targets = config
            .targets
            .iter()
            .map(postgres::target)
            .collect::<Result<Vec<_>, _>>()?;
        let ssh_authority = ssh_authority::authority(&config, purpose)?;
        let ssh = ssh::build(&config).context("ssh")?;
        let api_tls = config
            .api
            .tls
            .as_ref()
            .map(|files| server_tls(files, &[b"http/1.1"], net::ClientAuth::None))
            .transpose()?;
        Ok(Self {
            config,
            verifier,
            bundle,
            plugins,
            failures,
            snapshots,
            pg_listeners,
            pg_targets,
            ssh,
            ssh_authority,
            api_tls,
            clock,
        })
    }

    /// What was found, for `check-config`.
    pub(crate) fn describe(&self) -> String {
        let summary = self.bundle.summary();
        let plugins: Vec<String> = self
            .plugins
            .list()
            .iter()
            .map(|p| format!("{} {}", p.name, p.version))
            .collect();
        format!(
            "ok: {} listener(s), {} target(s), bundle {} ({} policies), plugins: {}{}",
            self.pg_listeners.len() + self.ssh.listeners.len(),
            self.pg_targets.len() + self.ssh.targets.len(),
            summary.name,
            self.bundle.policies().len(),
            if plugins.is_empty() {
                "none".to_owned()
            } else {
                plugins.join(", ")
            },
            warnings::of(
                self.config.identity.dev,
                &self.plugins.list(),
                &self.targets()
            ),
        )
    }

    /// Of all protocols.
    fn targets(&self) -> Vec<Arc<pipeline::Target>> {
        let databases = self.pg_targets.iter().map(|t| t.info.clone());
        databases
            .chain(self.ssh.targets.iter().map(|t| t.info.clone()))
            .collect()
    }

    /// Recovers the evidence, opens the state, binds, and serves until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        data_dir::warn_of_lost_state(&self.config);
        let targets = self.targets();
        let mut recording = recorder_options(&self.config)?;
        let index = audit::index(&self.config, &mut recording).await?;
        let forgetting = Arc::new(Forgetting::default());
        recording.forgetting = Some(recorder::Forgetting(forgetting.clone()));
        // What people activated is proved when it comes back, and then this one is not in force.
        if stored::configuration_counts(&self.config, &self.bundle) {
            recording.kept_longer = kept_longer(&self.bundle);
        }
        let (recorder, recovery) = Recorder::open(recording).await?;
        tracing::info!(?recovery, "evidence recovered");
        let archive = self.bundle.source().archive();
        self.snapshots.attach(&recorder)?;
        self.snapshots.keep(Snapshot::Bundle, &archive)?;
        let recorder = Arc::new(recorder);
        let journal: Arc<dyn Journal> = recorder.clone();
        let engine = Arc::new(Engine::new(self.bundle));
        let seal = Arc::new(Seal::new(engine.clone()));
        let tracker = TaskTracker::new();
        let (deliveries, status) = deliver::open(&self.config, &recorder)?;
        // One for all that read what is stored, since it remembers keys that an erasure has to forget.
        let store = stored_records(&self.config.recording)?;
        let log = log_options(&self.config.recording);
        let trusted = self.config.recording.trusted_log_keys.clone();
        let (data_dir, spool) = (&self.config.data_dir, &self.config.recording.spool_dir);
        let packages = Packages::open(
            recorder.clone(),
            store.clone(),
            log,
            trusted,
            data_dir,
            spool,
        )?;

        let control = Control::open(control::Options {
            database: self.config.data_dir.join("state.sqlite"),
            base_url: self.config.base_url.clone(),
            authenticate: Arc::new(Tokens(self.verifier.clone())),
            authorizer: engine.clone(),
            journal: journal.clone(),
            clock: self.clock.clone(),
            bundles: Arc::new(Bundles {
                engine: engine.clone(),
                seal: seal.clone(),
                snapshots: self.snapshots.clone(),
                vault_days: vault_days(&self.config),
            }),
            plugins: Arc::new(PluginAdmin {
                plugins: self.plugins.clone(),
                pins: Pins::new(&self.config.plugin_limits.required),
            }),
            watch: Arc::new(Watching(recorder.clone())),
            recordings: Arc::new(Erasing(recorder.clone())),
            packages: Arc::new(packages),
            targets,
            webhook: self.config.webhook.as_ref().map(control_options::webhook),
            index: index.clone(),
            deliveries: status,
            ssh: ssh_authority::certificates(&self.config, self.ssh_authority.as_ref()),
            ssh_keys: ssh_authority::registered_keys(&self.config, self.ssh_authority.as_ref()),
            limits: control_options::limits(&self.config),
        })
        .await
        .context("the control plane cannot start")?;
        note(&*journal, &*self.clock, "weir:start", &engine).await?;

        let ports = Ports {
            authorizer: seal,
            hooks: self.plugins.clone(),
            approver: control.approver(),
            journal: journal.clone(),
            registry: control.registry(),
            clock: self.clock.clone(),
        };
        let pg = PgService::new(proto_pg::Options {
            listeners: self.pg_listeners.clone(),
            targets: self.pg_targets,
            ports: ports.clone(),
            auth: Arc::new(Tokens(self.verifier.clone())),
            mask_keys: mask_keys(&self.config)?,
            limits: postgres::limits(&self.config),
        })?;
        let host_keys = control.host_keys();
        let ssh = ssh::service(
            self.ssh,
            self.ssh_authority,
            ports,
            &self.verifier,
            host_keys,
            control.short_tokens(),
        )?;
        let api = tokio::net::TcpListener::bind(self.config.api.listen)
            .await
            .with_context(|| format!("api.listen: cannot bind {}", self.config.api.listen))?;
        let hosts = ssh.as_ref().map(SshService::local_addrs);
        announce(
            &pg.local_addrs(),
            &hosts.unwrap_or_default(),
            api.local_addr()?,
        );

        let stop = CancellationToken::new();
        let failures = self.failures;
        tracker.spawn(failures.run(journal.clone(), self.clock.clone(), stop.clone()));
        let verifier = self.verifier.clone();
        let fresh = stop.clone();
        tracker.spawn(async move {
            for (issuer, error) in verifier.warm_up().await {
                tracing::warn!(issuer, %error, "this issuer's keys cannot be had yet");
            }
            tokio::select! {
                () = fresh.cancelled() => {}
                never = verifier.keep_fresh() => match never {},
            }
        });
        let tls = self.pg_listeners.iter().filter_map(|l| l.tls.clone());
        for tls in tls.chain(self.api_tls.clone()) {
            tracker.spawn(tls.watch(TLS_RELOAD, stop.clone()));
        }

        forgetting.attach(Known {
            control: control.clone(),
            store: store.clone(),
            old_index: index.is_none().then(|| index_path(&self.config)),
        });
        if let (Some(index), Some(audit)) = (index, self.config.audit) {
            let reading = read_older(index, recorder.clone(), store, audit.keep, stop.clone());
            tracker.spawn(reading);
        }

        for worker in deliveries {
            tracker.spawn(worker.run(stop.clone()));
        }

        let api_stop = CancellationToken::new();
        let api_server = control.serve(api, self.api_tls.clone(), api_stop.clone());
        let sessions = async {
            let ssh = async {
                if let Some(ssh) = ssh {
                    ssh.run(shutdown.clone()).await;
                }
            };
            tokio::join!(pg.run(shutdown.clone()), ssh);
            api_stop.cancel();
        };
        let ending = ending::begin(&shutdown, recorder.failed(), &api_stop, &control);
        tokio::join!(sessions, api_server, ending);

        tracing::info!("draining is over; sealing the evidence");
        note(&*journal, &*self.clock, "weir:stop", &engine)
            .await
            .ok();
        control.shutdown().await;
        stop.cancel();
        tracker.close();
        if tokio::time::timeout(self.config.drain, tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("background tasks did not end in time");
        }
        recorder.shutdown(self.config.drain).await;
        match recorder.stats().poisoned {
            None => Ok(()),
            // The next start recovers what is in the log, and goes on in a new file.
            Some(why) => bail!("nothing could be recorded any more, so Weir ended: {why}"),
        }
    }
}

fn announce(pg: &[SocketAddr], ssh: &[SocketAddr], api: SocketAddr) {
    for addr in pg {
        tracing::info!(%addr, "listening for PostgreSQL clients");
    }
    for addr in ssh {
        tracing::info!(%addr, "listening for SSH clients");
    }
    tracing::info!(addr = %api, "listening for the API");
}

async fn note(
    journal: &dyn Journal,
    clock: &dyn Clock,
    action: &str,
    engine: &Engine,
) -> anyhow::Result<()> {
    let active = engine.active();
    let bundle = active.reference();
    let event = ControlEvent {
        at: clock.now(),
        principal: None,
        action: action.to_owned(),
        resource: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        result: Ok(()),
        detail: format!(
            "bundle {} version {} {}",
            bundle.name, bundle.version, bundle.digest
        ),
    };
    journal
        .event(event)
        .await
        .context("the recorder does not record")
}

fn verifier(config: &Config, purpose: Purpose) -> anyhow::Result<Verifier> {
    let issuers = config.identity.issuers.clone();
    let dev = match config.identity.dev {
        false => None,
        true => {
            let dir = dev_key_dir(config);
            let dev = match purpose {
                Purpose::Serve => DevIssuer::open(&dir),
                Purpose::Check => DevIssuer::check(&dir),
            };
            let dev = dev.context("the development issuer")?;
            // Next to a real issuer, development tokens must not be able to name its people.
            Some(if issuers.is_empty() {
                dev
            } else {
                dev.with_subject_prefix(DEV_SUBJECT_PREFIX)
            })
        }
    };
    Verifier::build(VerifierOptions {
        issuers,
        actors: config.identity.actors.clone(),
        authorities: config
            .identity
            .authorities
            .iter()
            .map(|a| a.config.clone())
            .collect(),
        dev,
    })
    .context("identity")
}

fn bundle(config: &Config) -> anyhow::Result<CompiledBundle> {
    let bundle = match &config.bundle_dir {
        Some(dir) => Bundle::from_dir(dir)?,
        None => Bundle::embedded_default()?,
    };
    Ok(CompiledBundle::compile(bundle, 1)?)
}

/// A target in an environment that the schema does not know would slip through guards on it.
fn check_envs(config: &Config, bundle: &CompiledBundle) -> anyhow::Result<()> {
    let known = bundle.environments();
    let databases = config.targets.iter().map(|t| (&t.name, &t.env));
    let hosts = config.ssh_targets.iter().map(|t| (&t.name, &t.env));
    for (name, env) in databases.chain(hosts) {
        if !known.iter().any(|known| **known == **env) {
            bail!(
                "target {name}: env {env:?} is not one of the bundle's: {}",
                known.join(", ")
            );
        }
    }
    Ok(())
}

async fn plugins(
    config: &Config,
    clock: Arc<dyn Clock>,
    snapshots: Arc<Snapshots>,
    purpose: Purpose,
) -> anyhow::Result<(Arc<Plugins>, FailureRecorder)> {
    let mut limits = plugin_host::Limits::default();
    if let Some(bytes) = config.plugin_limits.memory_bytes {
        limits.memory_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    if let Some(deadline) = config.plugin_limits.deadline {
        (limits.classify, limits.route, limits.plan) = (deadline, deadline, deadline);
    }
    let cache = match purpose {
        Purpose::Check => None,
        Purpose::Serve => Some(plugin_cache(config)?),
    };
    let runtime = Runtime::new(limits, cache).context("the Wasm engine")?;
    let (events, failures) = PluginFailures::new();
    let required = &config.plugin_limits.required;
    let pins = Pins::new(required);
    let plugins = Plugins::new(
        runtime,
        plugin_host::Options {
            archive: snapshots,
            require: required.iter().map(|r| r.name.clone()).collect(),
            events: Arc::new(events),
            clock,
        },
    );
    for p in &config.plugins {
        let wasm = std::fs::read(&p.path)
            .with_context(|| format!("plugin {}: {}", p.name, p.path.display()))?;
        let settings: BTreeMap<String, String> = p.config.clone();
        pins.add(&plugins, &p.name, wasm, settings)
            .await
            .map_err(|why| anyhow!("plugin {}: {}: {why}", p.name, p.path.display()))?;
    }
    Ok((Arc::new(plugins), failures))
}

fn plugin_cache(config: &Config) -> anyhow::Result<ArtifactCache> {
    let key = HostKey::load_or_create(&config.data_dir.join("host.key"))
        .context("the host's key for compiled plugins")?;
    ArtifactCache::open(&config.data_dir.join("plugin-cache"), key)
        .context("the cache of compiled plugins")
}

fn server_tls(
    files: &TlsFiles,
    alpn: &[&[u8]],
    clients: net::ClientAuth,
) -> anyhow::Result<net::Tls> {
    let mut options = net::ServerTlsOptions::new(&files.cert, &files.key).alpn(alpn);
    options.client_auth = clients;
    net::Tls::load(options).map_err(|e| anyhow::anyhow!("{}", e.chain()))
}

fn mask_keys(config: &Config) -> anyhow::Result<pipeline::mask::MaskKeys> {
    let named = config
        .mask_keys
        .iter()
        .map(|(name, key)| (name.clone(), key.expose().as_bytes().to_vec()));
    pipeline::mask::MaskKeys::new(named).context("mask_keys")
}

mod audit;
mod control_options;
mod deliver;
mod ending;
mod postgres;
mod recording;
mod ssh;
mod ssh_authority;
mod stored;
mod warnings;

pub(crate) use recording::{encryption, log_keys, log_options, store_config, vault_config};
use recording::{recorder_options, stored_records, vault_days};

#[cfg(test)]
mod tests;
