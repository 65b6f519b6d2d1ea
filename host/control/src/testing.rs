//! A control plane for tests: real store and API, everything else in memory.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use parking_lot::Mutex;
use pipeline::memory::{Entry, Memory, MemoryPolicy};
use pipeline::ports::{ApproverError, Clock, Hold, HoldRequest, Ports, Ruling};
use pipeline::{
    Action, Actor, Column, ControlEvent, Facts, Fingerprint, Principal, PrincipalKind, Protocol,
    Question, Risk, Route, SessionId, SessionInfo, SqlFacts, SqlKind, Target,
};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_client::{BundleChange, BundleProblem, BundleSummary, ChangeKind, ErrorBody};

use crate::index::{Index, IndexLimits};
use crate::store::Sqlite;
use crate::{
    ActiveBundle, ApiError, Authenticate, BundleEngine, Coming, Control, ControlError, Files,
    Limits, Options, WebhookOptions,
};

mod deliveries;
mod packages;
mod plugins;
mod recordings;
mod ssh;
mod watch;

pub(crate) use deliveries::OneDelivery;
pub(crate) use packages::{DIGEST, FakePackages, PACKAGE};
pub(crate) use plugins::FakePlugins;
pub(crate) use recordings::{FakeRecordings, STRANGE, STUCK};
pub(crate) use ssh::{FakeSsh, KEY, LASTS, SERIAL, SIGNED};
pub(crate) use watch::{FakeWatch, one};

pub(crate) const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Real time, moved by the test.
#[derive(Default)]
pub(crate) struct ShiftedClock(Mutex<Duration>);

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> SystemTime {
        SystemTime::now() + *self.0.lock()
    }
}

/// Tokens are names.
#[derive(Default)]
pub(crate) struct People(Mutex<BTreeMap<String, Arc<Principal>>>);

#[async_trait]
impl Authenticate for People {
    async fn authenticate(&self, bearer: &str, _: IpAddr) -> Result<Arc<Principal>, ApiError> {
        let found = self.0.lock().get(bearer).cloned();
        found.ok_or_else(|| ApiError::unauthorized("the token is not valid"))
    }
}

/// A bundle is valid unless a file says BROKEN; it can be activated unless a file says REFUSED.
pub(crate) struct FakeBundles {
    active: Mutex<ActiveBundle>,
    /// Why sessions are refused.
    pub(crate) sealed: Mutex<Option<String>>,
}

impl FakeBundles {
    pub(crate) fn active_version(&self) -> u64 {
        self.active.lock().version
    }
}

pub(crate) fn summary(files: &Files) -> BundleSummary {
    let text = serde_json::to_vec(files).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    BundleSummary {
        name: "test".into(),
        digest: hex::encode(digest.as_ref()),
        policies: u32::try_from(files.len()).unwrap(),
        approval_rules: vec!["first".into(), "second".into()],
        label_rules: 0,
        tests: 0,
    }
}

impl BundleEngine for FakeBundles {
    fn validate(&self, files: &Files) -> Result<BundleSummary, Vec<BundleProblem>> {
        match files.iter().find(|(_, text)| text.contains("BROKEN")) {
            None => Ok(summary(files)),
            Some((file, _)) => Err(vec![BundleProblem {
                file: file.clone(),
                line: 1,
                column: 3,
                message: "it is broken".into(),
                help: Some("repair it".into()),
            }]),
        }
    }

    fn diff(&self, old: &Files, new: &Files) -> Vec<BundleChange> {
        new.iter()
            .filter(|(file, text)| old.get(*file) != Some(text))
            .map(|(file, text)| BundleChange {
                kind: ChangeKind::Changed,
                subject: format!("file {file}"),
                before: old.get(file).cloned(),
                after: Some(text.clone()),
            })
            .collect()
    }

    fn activate(
        &self,
        files: &Files,
        version: u64,
        _coming: Coming,
    ) -> Result<BundleSummary, Vec<BundleProblem>> {
        if files.values().any(|text| text.contains("REFUSED")) {
            return Err(vec![BundleProblem {
                file: String::new(),
                line: 0,
                column: 0,
                message: "told to fail".into(),
                help: None,
            }]);
        }
        let summary = summary(files);
        *self.active.lock() = ActiveBundle {
            version,
            files: files.clone(),
            summary: summary.clone(),
        };
        *self.sealed.lock() = None;
        Ok(summary)
    }

    fn seal(&self, reason: &str) {
        *self.sealed.lock() = Some(reason.to_owned());
    }

    fn active(&self) -> ActiveBundle {
        self.active.lock().clone()
    }
}

/// A control plane and everything around it.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) control: Control,
    pub(crate) memory: Memory,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) people: Arc<People>,
    pub(crate) bundles: Arc<FakeBundles>,
    pub(crate) plugins: Arc<FakePlugins>,
    pub(crate) watch: Arc<FakeWatch>,
    pub(crate) packages: Arc<FakePackages>,
    pub(crate) ssh: Arc<FakeSsh>,
    pub(crate) setup: Setup,
}

#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) webhook: Option<WebhookOptions>,
    /// Plugins of the configuration.
    pub(crate) plugins: Vec<&'static str>,
    /// How long the store may take to answer.
    pub(crate) patience: Option<Duration>,
}

pub(crate) fn files(text: &str) -> Files {
    Files::from([("policies/a.cedar".to_owned(), text.to_owned())])
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::new(MemoryPolicy::permit_all());
        let (clock, people) = Default::default();
        let rig = Self::start(dir, memory, clock, people, setup)
            .await
            .unwrap();
        for (name, groups) in [
            ("alice", &["dev"][..]),
            ("bob", &["approvers"]),
            ("carol", &["approvers"]),
            ("dave", &["approvers", "security"]),
            ("erin", &["sales"]),
        ] {
            rig.add(name, Actor::new(PrincipalKind::User, name, groups), vec![]);
        }
        rig
    }

    /// Ends the process in an orderly way, as it were, and starts it anew on the same file. The
    /// engines start with what came with the configuration.
    pub(crate) async fn restart(self) -> Result<Self, ControlError> {
        let Self {
            dir,
            control,
            memory,
            clock,
            people,
            setup,
            ..
        } = self;
        control.shutdown().await;
        drop(control);
        Self::start(dir, memory, clock, people, setup).await
    }

    /// What a new process finds after this one was killed now: the files as they are.
    pub(crate) async fn killed(&self) -> Result<Self, ControlError> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["state.db", "state.db-wal"] {
            std::fs::copy(self.dir.path().join(name), dir.path().join(name)).unwrap();
        }
        let (memory, setup) = (self.memory.clone(), self.setup.clone());
        Self::start(dir, memory, self.clock.clone(), self.people.clone(), setup).await
    }

    async fn start(
        dir: tempfile::TempDir,
        memory: Memory,
        clock: Arc<ShiftedClock>,
        people: Arc<People>,
        setup: Setup,
    ) -> Result<Self, ControlError> {
        let (bundles, plugins) = (configured(), Arc::<FakePlugins>::default());
        setup.plugins.iter().for_each(|name| plugins.preload(name));
        let (watch, packages) = (Arc::<FakeWatch>::default(), Arc::<FakePackages>::default());
        let ssh = Arc::<FakeSsh>::default();
        let options = Options {
            watch: watch.clone(),
            packages: packages.clone(),
            ssh: Some(ssh.clone()),
            ssh_keys: Some(ssh.clone()),
            ..options(&dir, &memory, &clock, &people, &bundles, &plugins, &setup)
        };
        let control = match setup.patience {
            None => Control::open(options).await?,
            Some(wait) => {
                let store = Sqlite::open_with(&options.database, wait)?;
                let base = "https://weir.test".into();
                Control::with_store(options, base, Arc::new(store)).await?
            }
        };
        Ok(Self {
            dir,
            control,
            memory,
            clock,
            people,
            bundles,
            plugins,
            watch,
            packages,
            ssh,
            setup,
        })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    /// Changes the database behind Weir's back.
    pub(crate) fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn add(&self, token: &str, actor: Actor, on_behalf_of: Vec<Actor>) {
        let principal = Principal {
            on_behalf_of,
            ..Principal::direct(
                actor,
                "test",
                self.clock.now() + Duration::from_secs(36_000),
            )
        };
        self.people
            .0
            .lock()
            .insert(token.into(), Arc::new(principal));
    }

    pub(crate) fn principal(&self, token: &str) -> Arc<Principal> {
        self.people.0.lock().get(token).cloned().unwrap()
    }

    /// From now on, only what `decide` permits is permitted.
    pub(crate) fn policy(&self, decide: impl Fn(&Question<'_>) -> bool + Send + Sync + 'static) {
        let decide = move |question: &Question<'_>| {
            if decide(question) {
                Ruling::Permit { policies: vec![] }
            } else {
                Ruling::Deny {
                    policies: vec![],
                    reason: "denied by the test".into(),
                }
            }
        };
        self.memory.authorizer.activate(MemoryPolicy {
            decide: Arc::new(decide),
            ..MemoryPolicy::permit_all()
        });
    }

    /// What is on record of people's calls.
    pub(crate) fn events(&self) -> Vec<ControlEvent> {
        let mut events = self.all_events();
        events.retain(|e| e.principal.is_some() || e.result.is_err());
        events
    }

    /// The same, with what Weir did by itself.
    pub(crate) fn all_events(&self) -> Vec<ControlEvent> {
        let entries = self.memory.journal.entries();
        let pick = |e| match e {
            Entry::Event(event) => Some(event),
            _ => None,
        };
        entries.into_iter().filter_map(pick).collect()
    }

    /// Calls the API; `token` may be empty.
    pub(crate) async fn call(&self, token: &str, call: &str, body: Value) -> Answer {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(&body).unwrap()
        };
        self.call_raw(token, call, bytes).await
    }

    pub(crate) async fn call_raw(&self, token: &str, call: &str, body: Vec<u8>) -> Answer {
        let (method, path) = call.split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .extension(ConnectInfo(SocketAddr::new(SOURCE, 4711)));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.control.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned())),
        }
    }

    /// A hold for an UPDATE that `principal` wants to run.
    pub(crate) async fn hold(&self, principal: &str, routes: Vec<Route>) -> Box<dyn Hold> {
        self.try_hold(principal, routes).await.unwrap()
    }

    pub(crate) async fn try_hold(
        &self,
        principal: &str,
        routes: Vec<Route>,
    ) -> Result<Box<dyn Hold>, ApproverError> {
        let request = hold_request(self.principal(principal), routes);
        self.control.approver().open(request).await
    }

    pub(crate) async fn approve(&self, who: &str, id: &str) -> Answer {
        let call = format!("POST /v1/approvals/{id}/approve");
        self.call(who, &call, json!({"reason": "looks right"}))
            .await
    }

    pub(crate) async fn deny(&self, who: &str, id: &str) -> Answer {
        let call = format!("POST /v1/approvals/{id}/deny");
        self.call(who, &call, json!({"reason": "not today"})).await
    }

    /// The ports of a protocol crate, with this control plane's desk and registry.
    pub(crate) fn ports(&self) -> Ports {
        Ports {
            approver: self.control.approver(),
            registry: self.control.registry(),
            ..self.memory.ports()
        }
    }

    /// Stages a bundle as `author` and gives its version.
    pub(crate) async fn stage(&self, author: &str, text: &str) -> u64 {
        let body = json!({"files": files(text), "note": "for a test"});
        let answer = self.call(author, "POST /v1/bundles", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body["version"].as_u64().unwrap()
    }
}

fn configured() -> Arc<FakeBundles> {
    let files = files("permit(principal, action, resource);");
    Arc::new(FakeBundles {
        active: Mutex::new(ActiveBundle {
            version: 1,
            summary: summary(&files),
            files,
        }),
        sealed: Mutex::default(),
    })
}

fn options(
    dir: &tempfile::TempDir,
    memory: &Memory,
    clock: &Arc<ShiftedClock>,
    people: &Arc<People>,
    bundles: &Arc<FakeBundles>,
    plugins: &Arc<FakePlugins>,
    setup: &Setup,
) -> Options {
    Options {
        database: dir.path().join("state.db"),
        base_url: "https://weir.test/".into(),
        authenticate: people.clone(),
        authorizer: memory.authorizer.clone(),
        journal: memory.journal.clone(),
        clock: clock.clone(),
        bundles: bundles.clone(),
        plugins: plugins.clone(),
        watch: Arc::<FakeWatch>::default(),
        recordings: Arc::new(FakeRecordings::default()),
        packages: Arc::<FakePackages>::default(),
        targets: vec![target(), host()],
        webhook: setup.webhook.clone(),
        index: Some(Index::open(&dir.path().join("index.db"), IndexLimits::default()).unwrap()),
        deliveries: Arc::new(OneDelivery),
        ssh: Some(Arc::new(FakeSsh::default())),
        ssh_keys: None,
        limits: setup.limits.clone(),
    }
}

pub(crate) fn target() -> Arc<Target> {
    Arc::new(Target {
        name: "orders".into(),
        protocol: Protocol::Postgres,
        env: "prod".into(),
        tags: BTreeMap::new(),
    })
}

pub(crate) fn host() -> Arc<Target> {
    Arc::new(Target {
        name: "web1".into(),
        protocol: Protocol::Ssh,
        env: "prod".into(),
        tags: BTreeMap::new(),
    })
}

/// A route under `rule` that needs `required` people of `approvers`.
pub(crate) fn route(rule: &str, required: u32) -> Route {
    Route {
        rule: rule.into(),
        approvers: vec!["approvers".into()],
        required,
        timeout: Duration::from_secs(600),
        channels: vec!["#db".into()],
        title: "an update".into(),
        body_markdown: "**look** at it".into(),
    }
}

pub(crate) fn session_info(principal: Arc<Principal>) -> Arc<SessionInfo> {
    let id = SessionId::new();
    Arc::new(SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal,
        target: target(),
        scope: "shop".into(),
        source: SOURCE,
        started: SystemTime::now(),
        attrs: BTreeMap::from([("application_name".into(), "psql".into())]),
    })
}

pub(crate) const STATEMENT: &str = "UPDATE orders SET paid = $1 WHERE id = $2";

pub(crate) fn facts() -> Facts {
    Facts::Sql(Arc::new(SqlFacts {
        kind: SqlKind::Update,
        has_where: true,
        parsed: true,
        ..SqlFacts::opaque(STATEMENT.into())
    }))
}

pub(crate) fn hold_request(principal: Arc<Principal>, routes: Vec<Route>) -> HoldRequest {
    HoldRequest {
        session: session_info(principal),
        seq: 3,
        facts: facts(),
        risk: Risk {
            score: 40,
            ..Risk::default()
        },
        bundle: MemoryPolicy::permit_all().bundle,
        fingerprint: Fingerprint::of([STATEMENT.as_bytes()]),
        parameters: vec![
            pipeline::Parameter::Text(b"true".to_vec()),
            pipeline::Parameter::Null,
            pipeline::Parameter::Text(vec![0xff, 0]),
            // A text as well, if it were one.
            pipeline::Parameter::Binary(pipeline::BinaryValue {
                bytes: b"\0\0\0A".to_vec(),
                of: Some("int4".into()),
                text: Some("65".into()),
            }),
        ],
        computed: vec![Column {
            schema: "public".into(),
            table: "orders".into(),
            column: "card".into(),
            labels: [Arc::from("pci")].into(),
        }],
        impact: Some(Arc::new(pipeline::Impact {
            rows: Some(4_200),
            tables: vec![pipeline::TouchedTable {
                schema: "public".into(),
                name: "orders".into(),
                actions: vec!["postgres:update"],
                lock: Some("ROW EXCLUSIVE"),
                ..pipeline::TouchedTable::default()
            }],
            in_transaction: true,
            ..pipeline::Impact::default()
        })),
        reason: "production".into(),
        routes,
    }
}

pub(crate) fn millis_now() -> u64 {
    weir_client::Timestamp::from(SystemTime::now()).millis()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The error, which every failed call has.
    pub(crate) fn error(&self) -> ErrorBody {
        serde_json::from_value(self.body.clone())
            .unwrap_or_else(|_| panic!("not an error of the API: {self:?}"))
    }
}

/// The rule, if the question is about a vote.
pub(crate) fn voted_rule(question: &Question<'_>) -> Option<String> {
    let access = question.accesses.first()?;
    match &access.resource {
        pipeline::Resource::ApprovalRule { rule, .. } if access.action == Action::ApprovalVote => {
            Some(rule.to_string())
        }
        _ => None,
    }
}
