//! A Weir without a wire: the real decision, bundle, plugins and recorder, on a clock of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use authz::{Bundle, CompiledBundle, Engine};
use pipeline::memory::MemoryRegistry;
use pipeline::ports::{
    Approver, ApproverError, Authorizer, Clock, Hold, HoldRequest, Hooks, Ports,
};
use pipeline::{
    Access, Action, Actor, Caller, Column, Facts, HoldInfo, HoldOutcome, Principal, Protocol,
    Refusal, Relation, Request, Resource, Session, SessionId, SessionInfo, SqlFacts, SqlKind,
    SshFacts, Target,
};
use plugin_host::{Archive, Limits, NoEvents, Plugins, Runtime, SetInfo};
use recorder::{Recorder, RecorderOptions, Snapshot, Store, StoreConfig};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::inputs::time;
use crate::set::SetDoc;

#[path = "../../../../xtask/src/plugins.rs"]
mod build;

pub const LONG: Duration = Duration::from_secs(120);
const SECOND: u64 = 1_000_000_000;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().unwrap()
}

/// A plugin of this repository.
pub fn component(name: &str) -> Vec<u8> {
    static OUT: OnceLock<PathBuf> = OnceLock::new();
    let out = OUT.get_or_init(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let out = root().join(target).join("plugins").join("for-rerun");
        build::build(&root(), &out).unwrap();
        build::build_test_only(&root(), &out).unwrap();
        out
    });
    std::fs::read(out.join(format!("{name}.wasm"))).unwrap()
}

/// The default bundle, with other files besides.
pub fn bundle(more: &[(&str, &str)]) -> CompiledBundle {
    let mut files = Bundle::embedded_default().unwrap().files().clone();
    // Its own tests are about what it permits without them.
    files.retain(|path, _| more.is_empty() || !path.starts_with("tests/"));
    for (path, text) in more {
        files.insert((*path).to_owned(), (*text).to_owned());
    }
    let bundle = Bundle::from_files(files).unwrap();
    CompiledBundle::compile(bundle, 1).unwrap_or_else(|e| panic!("{e}"))
}

/// A directory that goes with the test.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir-rerun-{}", Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> RecorderOptions {
        let store = StoreConfig::Directory(self.0.join("store"));
        RecorderOptions::new(self.0.join("spool"), store)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Keeps plugins as the server does.
struct Keeper(Recorder);

impl Archive for Keeper {
    fn component(&self, wasm: &[u8]) -> Result<(), String> {
        let kept = self.0.keep(Snapshot::Plugin, wasm);
        kept.map(drop).map_err(|e| e.to_string())
    }

    fn set(&self, set: &SetInfo) -> Result<Option<Arc<str>>, String> {
        let doc = SetDoc::of(set).to_bytes()?;
        let kept = self.0.keep(Snapshot::PluginSet, &doc);
        kept.map(|d| Some(d.into())).map_err(|e| e.to_string())
    }
}

/// Goes on by a second whenever it is asked.
pub struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> SystemTime {
        time(self.0.fetch_add(SECOND, Ordering::Relaxed))
    }
}

/// People who answer at once, each time differently.
#[derive(Default)]
struct Desk(AtomicU64);

struct Asked {
    info: HoldInfo,
    outcome: HoldOutcome,
}

#[async_trait]
impl Approver for Desk {
    async fn open(&self, request: HoldRequest) -> Result<Box<dyn Hold>, ApproverError> {
        let outcome = match self.0.fetch_add(1, Ordering::Relaxed) % 5 {
            1 => HoldOutcome::Denied {
                by: "sam".into(),
                reason: "not today".into(),
            },
            2 => HoldOutcome::Expired,
            3 => return Err(ApproverError::TooMany(1)),
            _ => HoldOutcome::Approved {
                approvers: vec!["sam".into()],
                fingerprint: request.fingerprint,
            },
        };
        let info = HoldInfo {
            id: format!("{}-{}", request.session.id_text, request.seq),
            url: String::new(),
            rules: request.routes.iter().map(|r| r.rule.clone()).collect(),
            reason: request.reason,
            expires_at: SystemTime::now() + LONG,
        };
        Ok(Box::new(Asked { info, outcome }))
    }
}

#[async_trait]
impl Hold for Asked {
    fn info(&self) -> &HoldInfo {
        &self.info
    }
    async fn decided(&mut self) -> HoldOutcome {
        self.outcome.clone()
    }
    async fn abandon(self: Box<Self>) {}
}

pub struct Stage {
    pub dir: Arc<TempDir>,
    pub recorder: Recorder,
    pub plugins: Arc<Plugins>,
    pub authorizer: Arc<dyn Authorizer>,
    pub hooks: Arc<dyn Hooks>,
    desk: Arc<Desk>,
}

impl Stage {
    /// With `risk-sql` in force.
    pub async fn new(bundle: CompiledBundle) -> Self {
        let dir = Arc::new(TempDir::new());
        let (recorder, _) = Recorder::open(dir.options()).await.unwrap();
        let archive = bundle.source().archive();
        recorder.keep(Snapshot::Bundle, &archive).unwrap();
        let limits = Limits {
            classify: Duration::from_secs(5),
            wall: LONG,
            ..Limits::default()
        };
        let options = plugin_host::Options {
            archive: Arc::new(Keeper(recorder.clone())),
            require: Vec::new(),
            events: Arc::new(NoEvents),
            clock: Arc::new(pipeline::ports::SystemClock),
        };
        let plugins = Arc::new(Plugins::new(Runtime::new(limits, None).unwrap(), options));
        let config = BTreeMap::new();
        let risk = component("risk-sql");
        plugins.add("risk-sql", risk, config).await.unwrap();
        Self {
            dir,
            recorder,
            authorizer: Arc::new(Engine::new(bundle)),
            hooks: plugins.clone(),
            desk: Arc::default(),
            plugins,
        }
    }

    /// With the key of its recordings.
    pub fn store(&self) -> Store {
        let options = self.dir.options();
        let wrap = options.encryption.own(&options.log).unwrap();
        self.store_without_key()
            .with_keys(wrap, Some(options.spool_dir))
    }

    pub fn store_without_key(&self) -> Store {
        Store::open(&StoreConfig::Directory(self.dir.0.join("store"))).unwrap()
    }

    /// Puts an object of another content in the name of a session; gives its path.
    pub fn plant_beside_one(&self) -> PathBuf {
        let mut dirs = vec![self.dir.0.join("store/rec")];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let name = path.file_name().unwrap().to_str().unwrap();
                let (number, _) = name.split_once('-').unwrap();
                let other = path.with_file_name(format!("{number}-{}.rec", "0".repeat(64)));
                std::fs::copy(&path, &other).unwrap();
                return other;
            }
        }
        panic!("nothing is stored");
    }

    /// Begins a session at this time; None if it may not connect.
    pub async fn session(
        &self,
        who: &Principal,
        target: &Arc<Target>,
        at_ns: u64,
    ) -> Option<Session> {
        let ports = Ports {
            authorizer: self.authorizer.clone(),
            hooks: self.hooks.clone(),
            approver: self.desk.clone(),
            journal: Arc::new(self.recorder.clone()),
            registry: Arc::new(MemoryRegistry::default()),
            clock: Arc::new(Ticking(AtomicU64::new(at_ns))),
        };
        let (seconds, part) = (at_ns / SECOND, at_ns % SECOND);
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, part as u32);
        let id = SessionId(Uuid::new_v7(stamp));
        let info = Arc::new(SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(who.clone()),
            target: target.clone(),
            scope: "shop".into(),
            source: [10, 0, 0, 7].into(),
            started: time(at_ns),
            attrs: BTreeMap::from([("application_name".into(), "psql".into())]),
        });
        let (action, resource) = match target.protocol {
            Protocol::Postgres => (
                Action::PostgresConnect,
                Resource::PgDatabase {
                    database: "shop".into(),
                },
            ),
            Protocol::Ssh => (
                Action::SshConnect,
                Resource::SshAccount {
                    login: "shop".into(),
                },
            ),
        };
        let connect = vec![Access {
            action,
            resource,
            target: Some(target.clone()),
        }];
        let cancel = CancellationToken::new();
        let opened = Session::open(ports, info, connect, caller(&cancel)).await;
        opened.ok()
    }
}

fn caller(cancel: &CancellationToken) -> Caller<'_> {
    Caller {
        cancel,
        on_hold: &|_| {},
        survey: None,
    }
}

/// Decides one action on a host.
pub async fn act_on_host(
    session: &Session,
    facts: SshFacts,
    accesses: Vec<(Action, Resource)>,
) -> Result<(), Refusal> {
    let target = &session.info().target;
    let accesses = accesses.into_iter().map(|(action, resource)| Access {
        action,
        resource,
        target: Some(target.clone()),
    });
    let request = Request {
        policy: session.pin(),
        canonical: facts.text.as_bytes().to_vec(),
        facts: Facts::Ssh(Arc::new(facts)),
        accesses: accesses.collect(),
        labelled: Vec::new(),
        computed: Vec::new(),
        unmaskable: None,
        parameters: Vec::new(),
        payload: (),
    };
    let cancel = CancellationToken::new();
    let permitted = pipeline::decide(session, request, caller(&cancel)).await?;
    super::upstream::send(session, permitted).await;
    Ok(())
}

/// Decides one statement of a session, and finishes it. Gives the masked columns if it was permitted.
pub async fn act(session: &Session, shape: &Shape) -> Result<Vec<String>, Refusal> {
    let target = &session.info().target;
    let accesses = shape.accesses.iter().map(|(action, resource)| Access {
        action: *action,
        resource: resource.clone(),
        target: Some(target.clone()),
    });
    let request = Request {
        policy: session.pin(),
        facts: Facts::Sql(shape.facts.clone()),
        accesses: accesses.collect(),
        labelled: shape.labelled.clone(),
        computed: shape.computed.clone(),
        unmaskable: shape.unmaskable,
        canonical: shape.facts.text.as_bytes().to_vec(),
        parameters: Vec::new(),
        payload: (),
    };
    let cancel = CancellationToken::new();
    let permitted = pipeline::decide(session, request, caller(&cancel)).await?;
    Ok(super::upstream::send(session, permitted).await)
}

/// A statement, as a protocol crate would have found it to be.
#[derive(Clone)]
pub struct Shape {
    pub facts: Arc<SqlFacts>,
    pub accesses: Vec<(Action, Resource)>,
    pub labelled: Vec<Column>,
    pub computed: Vec<Column>,
    pub unmaskable: Option<&'static str>,
}

pub fn column(schema: &str, table: &str, name: &str, labels: &[&str]) -> Column {
    Column {
        schema: schema.into(),
        table: table.into(),
        column: name.into(),
        labels: labels.iter().map(|l| Arc::from(*l)).collect(),
    }
}

impl Shape {
    /// Does this to one table.
    pub fn new(kind: SqlKind, action: Action, text: &str, schema: &str, table: &str) -> Self {
        let reads = matches!(kind, SqlKind::Select | SqlKind::Copy);
        let relation = Relation {
            schema: schema.into(),
            name: table.into(),
            labels: BTreeSet::new(),
        };
        let [on_read, on_write] = match reads {
            true => [vec![relation], Vec::new()],
            false => [Vec::new(), vec![relation]],
        };
        let resource = Resource::PgTable {
            database: "shop".into(),
            schema: schema.into(),
            table: table.into(),
            known: true,
            labels: BTreeSet::new(),
        };
        Self {
            facts: Arc::new(SqlFacts {
                kind,
                has_where: text.contains("WHERE"),
                writes: !reads,
                locks: false,
                parsed: true,
                reads: on_read,
                writes_to: on_write,
                ..SqlFacts::opaque(text.into())
            }),
            accesses: vec![(action, resource)],
            labelled: Vec::new(),
            computed: Vec::new(),
            unmaskable: None,
        }
    }

    pub fn select(text: &str, table: &str, labelled: &[Column]) -> Self {
        Self {
            labelled: labelled.to_vec(),
            ..Self::new(
                SqlKind::Select,
                Action::PostgresSelect,
                text,
                "public",
                table,
            )
        }
    }
}

/// The statements of the tests: read, masked, computed with, refused, held, risky, oddly named.
pub fn shapes() -> Vec<Shape> {
    let ssn = column("public", "customers", "ssn", &["pii"]);
    let email = column("public", "customers", "email", &["pii", "pii.email"]);
    let mut computes = Shape::select(
        "SELECT id FROM customers WHERE ssn LIKE '1%'",
        "customers",
        &[],
    );
    computes.computed = vec![ssn.clone()];
    let mut copies = Shape::select(
        "COPY customers TO STDOUT",
        "customers",
        std::slice::from_ref(&ssn),
    );
    copies.unmaskable = Some("COPY cannot be masked");
    let odd = column("a.b", "c.d", "e.f_ssn", &["pii"]);
    let mut named = Shape::new(
        SqlKind::Select,
        Action::PostgresSelect,
        "SELECT \"e.f_ssn\" FROM \"a.b\".\"c.d\"",
        "a.b",
        "c.d",
    );
    named.labelled = vec![odd];
    let write = |kind, action, text: &str| Shape::new(kind, action, text, "public", "orders");
    vec![
        Shape::select("SELECT id, total FROM orders WHERE id = 7", "orders", &[]),
        Shape::select(
            "SELECT name, ssn, email FROM customers WHERE id = 3",
            "customers",
            &[ssn, email],
        ),
        computes,
        copies,
        named,
        write(
            SqlKind::Insert,
            Action::PostgresInsert,
            "INSERT INTO orders VALUES (1)",
        ),
        write(
            SqlKind::Update,
            Action::PostgresUpdate,
            "UPDATE orders SET total = 1 WHERE id = 7",
        ),
        write(
            SqlKind::Delete,
            Action::PostgresDelete,
            "DELETE FROM orders",
        ),
        write(SqlKind::Ddl, Action::PostgresDrop, "DROP TABLE orders"),
    ]
}

pub fn target(name: &str, env: &str) -> Arc<Target> {
    Arc::new(Target {
        name: name.into(),
        protocol: Protocol::Postgres,
        env: env.into(),
        tags: BTreeMap::from([("team".into(), "shop".into())]),
    })
}

pub fn host(name: &str, env: &str) -> Arc<Target> {
    let target = Target::clone(&target(name, env));
    Arc::new(Target {
        protocol: Protocol::Ssh,
        ..target
    })
}

pub fn principal(actor: Actor, on_behalf_of: Vec<Actor>) -> Principal {
    let expires = SystemTime::now() + Duration::from_secs(30 * 86_400);
    Principal {
        on_behalf_of,
        ..Principal::direct(actor, "https://issuer.test", expires)
    }
}
