//! The host against real components: the first-party plugins and one that misbehaves in every way.
//! They are built once per test run, with the code of `cargo xtask plugins`.

mod admission;
mod batches;
mod faults;
mod first_party;
mod isolation;
mod remembered;
mod routes;
mod scope;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use pipeline::mask::{Encoding, MaskBatch, MaskColumn};
use pipeline::ports::Clock;
use pipeline::{
    Actor, Facts, Principal, PrincipalKind, Protocol, SessionId, SessionInfo, SqlFacts, SqlKind,
    Target,
};

use crate::{
    AdmissionError, ArtifactCache, Config, Events, HostKey, Limits, NoArchive, Options,
    PluginFailure, PluginInfo, Plugins, Runtime,
};

#[path = "../../../../xtask/src/plugins.rs"]
mod build;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().unwrap()
}

fn out_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target).join("plugins").join("for-tests")
}

fn component(name: &str) -> Vec<u8> {
    static OUT: OnceLock<PathBuf> = OnceLock::new();
    let out = OUT.get_or_init(|| {
        let out = out_dir();
        build::build(&root(), &out).unwrap();
        build::build_test_only(&root(), &out).unwrap();
        out
    });
    std::fs::read(out.join(format!("{name}.wasm"))).unwrap()
}

/// One engine for all tests, as in a process.
fn runtime() -> Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let make = || {
        // On a busy build machine, what runs out of memory must not run out of time first.
        let call = Duration::from_millis(500);
        let limits = Limits {
            classify: call,
            route: call,
            plan: call,
            batch: call,
            wall: Duration::from_secs(60),
            ..Limits::default()
        };
        // Most tests add the same component; it is compiled once.
        let dir = out_dir().join("cache");
        let cache = ArtifactCache::open(&dir, HostKey::from_bytes([7; 32])).unwrap();
        Runtime::new(limits, Some(cache)).unwrap()
    };
    RUNTIME.get_or_init(make).clone()
}

/// Remembers every failure.
#[derive(Default)]
struct Recorder(Mutex<Vec<PluginFailure>>);

impl Recorder {
    fn take(&self) -> Vec<PluginFailure> {
        std::mem::take(&mut self.0.lock())
    }

    /// Kinds of the failures so far.
    fn kinds(&self) -> Vec<&'static str> {
        self.take().iter().map(|f| f.fault.kind()).collect()
    }
}

impl Events for Recorder {
    fn plugin_failed(&self, failure: PluginFailure) {
        self.0.lock().push(failure);
    }
}

struct TestClock(Mutex<SystemTime>);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock()
    }
}

struct Host {
    plugins: Plugins,
    events: Arc<Recorder>,
    clock: Arc<TestClock>,
}

impl Host {
    fn new() -> Self {
        Self::requiring(&[])
    }

    fn requiring(names: &[&str]) -> Self {
        let events = Arc::new(Recorder::default());
        let clock = Arc::new(TestClock(Mutex::new(
            UNIX_EPOCH + Duration::from_secs(1000),
        )));
        let options = Options {
            archive: Arc::new(NoArchive),
            require: names.iter().map(|n| (*n).to_owned()).collect(),
            events: events.clone(),
            clock: clock.clone(),
        };
        Self {
            plugins: Plugins::new(runtime(), options),
            events,
            clock,
        }
    }

    /// With an engine of its own.
    fn on(self, runtime: Runtime) -> Self {
        let options = Options {
            archive: Arc::new(NoArchive),
            require: Vec::new(),
            events: self.events.clone(),
            clock: self.clock.clone(),
        };
        let plugins = Plugins::new(runtime, options);
        Self { plugins, ..self }
    }

    async fn with(self, name: &str, component_name: &str, config: &[(&str, &str)]) -> Self {
        self.add(name, component_name, config).await.unwrap();
        self
    }

    async fn add(
        &self,
        name: &str,
        component_name: &str,
        entries: &[(&str, &str)],
    ) -> Result<PluginInfo, AdmissionError> {
        let wasm = component(component_name);
        self.plugins.add(name, wasm, config(entries)).await
    }

    /// With the misbehaving plugin alone.
    async fn evil(mode: &str) -> Self {
        Self::new().with("evil", "evil", &[("mode", mode)]).await
    }
}

fn config(entries: &[(&str, &str)]) -> Config {
    let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    entries.iter().map(owned).collect()
}

fn session() -> SessionInfo {
    let id = SessionId::new();
    let actor = Actor::new(PrincipalKind::Agent, "agent:7", &["agents"]);
    let mut principal = Principal::direct(actor, "https://idp.example", SystemTime::now());
    principal
        .on_behalf_of
        .push(Actor::new(PrincipalKind::User, "alice", &["analysts"]));
    SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal: Arc::new(principal),
        target: Arc::new(Target {
            name: "orders".into(),
            protocol: Protocol::Postgres,
            env: "prod".into(),
            tags: BTreeMap::new(),
        }),
        scope: "app".into(),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        started: SystemTime::now(),
        attrs: BTreeMap::new(),
    }
}

fn select() -> SqlFacts {
    SqlFacts {
        kind: SqlKind::Select,
        has_where: true,
        writes: false,
        locks: false,
        parsed: true,
        ..SqlFacts::opaque("SELECT id FROM orders WHERE id = 7".into())
    }
}

fn facts() -> Facts {
    Facts::Sql(Arc::new(select()))
}

fn text_column(name: &str) -> MaskColumn {
    MaskColumn {
        name: name.into(),
        type_name: "text".into(),
        type_oid: 25,
        origin: None,
        labels: Vec::new(),
        encoding: Encoding::Text,
        must_mask: false,
    }
}

fn batch(values: &[(&str, u16)]) -> MaskBatch {
    let mut out = MaskBatch::default();
    for (value, col) in values {
        out.data.extend_from_slice(value.as_bytes());
        out.ends.push(u32::try_from(out.data.len()).unwrap());
        out.cols.push(*col);
    }
    out
}
