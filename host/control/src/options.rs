//! What the control plane is built from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipeline::Target;
use pipeline::ports::{Authorizer, Clock, Journal};

use crate::index::Index;
use crate::ports::{
    Authenticate, BundleEngine, Deliveries, Packages, PluginEngine, Recordings, SshAuthority,
    SshKeys, WatchSessions,
};
use crate::store::Kept;

pub struct Options {
    /// The SQLite file; made with mode 0600 when absent. Its directory must exist.
    pub database: PathBuf,
    /// Where people reach the control plane; holds get the URL `<base_url>/approvals/<id>`.
    pub base_url: String,
    pub authenticate: Arc<dyn Authenticate>,
    pub authorizer: Arc<dyn Authorizer>,
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub bundles: Arc<dyn BundleEngine>,
    pub plugins: Arc<dyn PluginEngine>,
    pub watch: Arc<dyn WatchSessions>,
    pub recordings: Arc<dyn Recordings>,
    pub packages: Arc<dyn Packages>,
    pub targets: Vec<Arc<Target>>,
    pub webhook: Option<WebhookOptions>,
    /// None: the record cannot be searched.
    pub index: Option<Index>,
    pub deliveries: Arc<dyn Deliveries>,
    /// None: no certificates for SSH.
    pub ssh: Option<Arc<dyn SshAuthority>>,
    /// None: nobody registers keys for SSH.
    pub ssh_keys: Option<Arc<dyn SshKeys>>,
    pub limits: Limits,
}

/// Where holds are announced, as Standard Webhooks.
#[derive(Clone)]
pub struct WebhookOptions {
    /// https, or http to a loopback address.
    pub url: String,
    /// `whsec_…`; every delivery is signed with each, so that a receiver can rotate.
    pub secrets: Vec<String>,
    /// Send the statement's text, cut short. Parameters are never sent.
    pub include_statement: bool,
    /// Permit http to other hosts than loopback.
    pub allow_plain_http: bool,
}

impl fmt::Debug for WebhookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookOptions")
            .field("url", &self.url)
            .field("include_statement", &self.include_statement)
            .finish_non_exhaustive()
    }
}

/// Every bound that an operator may want to move. The others are named constants beside their use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open holds, all together.
    pub holds: u32,
    /// Open holds of one principal.
    pub holds_per_principal: u32,
    /// Holds that one principal may open in a minute.
    pub holds_per_minute: u32,
    /// Holds that are remembered, of all and of one principal. The oldest ended ones are forgotten
    /// first; the evidence is elsewhere.
    pub holds_kept: Kept,
    pub holds_kept_per_principal: Kept,
    /// Calls of the API that are worked on at once.
    pub calls_in_flight: usize,
    /// Calls per principal and minute.
    pub calls_per_minute: u32,
    /// Failed authentications per source address and minute that get their own record.
    pub failures_per_minute: u32,
    /// Connections to the API.
    pub connections: usize,
    /// Connections from one address, or one IPv6 network of 64 bits. What stands in front of Weir
    /// counts as one.
    pub connections_per_source: usize,
    /// How long a peer may take to read one answer.
    pub answer: Duration,
    /// How often whoever watches a session is sent a sign of life. Permission and token are looked at
    /// as often, at least.
    pub watch_alive: Duration,
    /// How long a piece may wait for whoever watches to take it.
    pub watch_stalled: Duration,
    /// The largest plugin component.
    pub plugin_bytes: usize,
    /// All files of a bundle together.
    pub bundle_bytes: usize,
    /// How long ended holds, past sessions and staged bundles are kept. The evidence is elsewhere.
    pub retention: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            holds: 1_000,
            holds_per_principal: 20,
            holds_per_minute: 60,
            holds_kept: Kept {
                rows: 20_000,
                bytes: 512 << 20,
            },
            holds_kept_per_principal: Kept {
                rows: 1_000,
                bytes: 32 << 20,
            },
            calls_in_flight: 128,
            calls_per_minute: 600,
            failures_per_minute: 30,
            connections: 512,
            connections_per_source: 128,
            answer: Duration::from_secs(60),
            watch_alive: Duration::from_secs(5),
            watch_stalled: Duration::from_secs(15),
            plugin_bytes: 48 * 1024 * 1024,
            bundle_bytes: 4 * 1024 * 1024,
            retention: Duration::from_secs(90 * 24 * 3600),
        }
    }
}
