//! Listeners in front of sessions: the limits before authentication, and the way from an accepted connection to
//! the relay.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use pipeline::TurnedAway;
use tokio_util::sync::CancellationToken;

use crate::action::one_name;
use crate::config::{self, BuildError, Limits, Options, SshListener, SshTarget};
use crate::leg::{Leg, LegError, Stream};
use crate::masks::Masks;
use crate::relay::Readers;
use crate::slots::Slots;
use crate::startup::{self, Door, Outer, StartupError};
use crate::transport::{ServerConfig, Transport};
use crate::visit::visit;

/// SSH listeners, bound and not yet accepting.
pub struct SshService {
    listeners: net::Listeners<SshListener>,
    shared: Arc<Shared>,
}

/// What all connections of a service use.
pub(crate) struct Shared {
    pub options: Options,
    pub limits: Arc<Limits>,
    /// By name, folded: host names have no case.
    pub targets: HashMap<String, Arc<SshTarget>>,
    /// Where SSH listens on each host, by one way of writing it: several targets may be on one.
    ports: HashMap<String, Arc<[u16]>>,
    /// What is masked in text.
    pub masks: Masks,
    /// For clients that have not authenticated.
    waiting: Slots,
    /// For those of them that wait for a device.
    pub devices: Slots,
    /// For long command lines of all sessions.
    pub readers: Readers,
    /// The record of those who get no session.
    pub turned_away: TurnedAway,
}

/// Where a connection comes in.
#[derive(Clone)]
pub(crate) struct Entry {
    pub shared: Arc<Shared>,
    pub listener: Arc<SshListener>,
    pub source: IpAddr,
    pub shutdown: CancellationToken,
    /// It runs inside another connection.
    pub inner: Option<Inner>,
}

/// What is known of a connection inside another.
#[derive(Clone)]
pub(crate) struct Inner {
    pub outer: Outer,
    /// The host that the client wants to jump to.
    pub name: Arc<str>,
    /// None: the usual one.
    pub port: Option<u16>,
}

impl Shared {
    /// Where SSH listens on the target's host, as far as it is configured.
    pub fn ports_of(&self, target: &SshTarget) -> Arc<[u16]> {
        let known = self.ports.get(&one_name(&target.host)).cloned();
        known.unwrap_or_else(|| Arc::new([target.port]))
    }
}

fn ports(targets: &[SshTarget]) -> HashMap<String, Arc<[u16]>> {
    let mut of: HashMap<String, BTreeSet<u16>> = HashMap::new();
    for target in targets {
        let ports = of.entry(one_name(&target.host)).or_default();
        ports.insert(target.port);
    }
    of.into_iter()
        .map(|(host, ports)| (host, ports.into_iter().collect()))
        .collect()
}

impl SshService {
    /// Checks the options and binds every listener. Needs a tokio runtime.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        config::check(&options)?;
        let wanted = options.listeners.iter();
        let listeners = net::Listeners::bind(wanted.map(|l| (l.listen.clone(), l.clone())))?;
        let targets = options.targets.iter();
        let targets = targets
            .map(|t| (t.info.name.to_ascii_lowercase(), Arc::new(t.clone())))
            .collect();
        let shared = Shared {
            targets,
            ports: ports(&options.targets),
            masks: Masks::new(&options.targets)?,
            limits: Arc::new(options.limits.clone()),
            waiting: Slots::new(
                options.limits.max_unauthenticated,
                options.limits.max_unauthenticated_per_source,
            ),
            devices: Slots::new(
                options.limits.max_device_flows,
                options.limits.max_device_flows_per_source,
            )
            .taken_for(options.limits.device_flow_pause)
            .kept_for(options.limits.device_flow_kept),
            readers: Readers::default(),
            turned_away: TurnedAway::new(options.ports.clone()),
            options,
        };
        Ok(Self {
            listeners,
            shared: Arc::new(shared),
        })
    }

    /// The addresses, in the order of the listeners, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.local_addrs()
    }

    /// Counters, in the order of the listeners.
    pub fn stats(&self) -> Vec<net::ListenerStats> {
        self.listeners.stats()
    }

    /// Serves until `shutdown`, then drains: a session ends as soon as nothing is under way in it, at the latest
    /// at its listener's drain deadline. When dropped early, all sessions are cut.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        let ends = self.listeners.serve(shutdown, move |listener, connection| {
            let entry = Entry {
                shared: shared.clone(),
                listener,
                source: connection.peer.source.ip(),
                shutdown: connection.shutdown,
                inner: None,
            };
            serve(entry, Box::new(connection.stream))
        });
        self.shared.turned_away.beside(ends).await;
        self.shared.turned_away.close().await;
    }
}

/// A connection inside another one.
pub(crate) fn serve_inside(
    entry: Entry,
    stream: Box<dyn Stream>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let source = entry.source;
        if let Err(error) = serve(entry, stream).await {
            tracing::warn!(%source, %error, "a connection through a jump host ended");
        }
    })
}

/// One connection from its acceptance to its end. An error is what somebody should look at.
async fn serve(entry: Entry, stream: Box<dyn Stream>) -> Result<(), StartupError> {
    let shared = &entry.shared;
    let limits = &shared.options.limits;
    let name = entry.inner.as_ref().map(|i| &*i.name);
    let config = ServerConfig::new(shared.options.host_identity.host_keys(name));
    let mut leg = Leg::new(stream, Transport::server(Arc::new(config)));
    let door = Door {
        auth: &*shared.options.auth,
        logins: &entry.listener.logins,
        banner: entry.listener.banner.as_deref(),
        outer: entry.inner.as_ref().map(|i| &i.outer),
        source: entry.source,
        limits,
        devices: &shared.devices,
        turned_away: &shared.turned_away,
    };
    let authenticated = {
        // Who is inside another connection has authenticated.
        let waiting = match entry.inner {
            Some(_) => None,
            None => match shared.waiting.take_over(entry.source) {
                Some(waiting) => Some(waiting),
                None => {
                    tracing::warn!(source = %entry.source, "too many connections that have not authenticated");
                    return Ok(());
                }
            },
        };
        let lost = async {
            match &waiting {
                Some(waiting) => waiting.lost().await,
                None => std::future::pending().await,
            }
        };
        let login = tokio::select! {
            biased;
            () = entry.shutdown.cancelled() => return Ok(()),
            () = lost => {
                tracing::warn!(source = %entry.source, "a connection that has not authenticated gives way to another");
                return Ok(());
            }
            // Boxed, as it is over before the session begins.
            login = Box::pin(startup::login(&mut leg, &door)) => login,
        };
        drop(waiting);
        match login {
            Ok(authenticated) => authenticated,
            Err(error) if is_usual(&error) => {
                tracing::debug!(source = %entry.source, %error, "not let in");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    };
    visit(entry, leg, authenticated).await;
    Ok(())
}

/// What happens on every port that the world can reach.
fn is_usual(error: &StartupError) -> bool {
    matches!(
        error,
        StartupError::Leg(LegError::Closed | LegError::Io(_) | LegError::Vanished(_))
            | StartupError::Disconnected(_)
            | StartupError::Timeout
    )
}

#[cfg(test)]
mod tests;
