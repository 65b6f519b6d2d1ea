//! What deciding on one statement takes inside the process, by its parts: analysis, classifiers,
//! policy; cold and repeated. The catalogue is empty, so that no server is needed.
//!
//! `cargo run --release -p server --example decision [directory of the plugins]` prints one
//! `name microseconds` per line.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A measurement, not the product.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use authz::{Bundle, CompiledBundle};
use pipeline::ports::{Hooks, Policy, SystemClock};
use pipeline::{
    Actor, Facts, Principal, PrincipalKind, Protocol, Question, SessionId, SessionInfo, Target,
};
use plugin_host::{NoEvents, Options, Plugins, Runtime};
use proto_pg::analysis::{Analysis, Ctx, Limits, analyse};
use proto_pg::catalog::{SessionState, Snapshot};

const ROUNDS: usize = 20_000;

struct Stage {
    session: SessionInfo,
    plugins: Plugins,
    bundle: CompiledBundle,
    snapshot: Snapshot,
    state: SessionState,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let dir = std::env::args().nth(1).unwrap_or("target/plugins".into());
    let stage = Stage::new(&PathBuf::from(dir)).await;
    let [mut analysis, mut classify, mut policy, mut cold] = [const { Vec::new() }; 4];
    let [mut classified, mut ruled] = [const { Vec::new() }; 2];
    for n in 0..ROUNDS {
        let text = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {n}");
        let begun = Instant::now();
        let analysed = stage.analyse(&text);
        let facts = Facts::Sql(analysed.facts.clone());
        let parsed = begun.elapsed();
        let risk = stage.plugins.classify(&stage.session, &facts).await;
        let asked = begun.elapsed();
        stage.authorize(&analysed, &facts, &risk);
        let done = begun.elapsed();
        analysis.push(parsed);
        classify.push(asked - parsed);
        policy.push(done - asked);
        cold.push(done);
        let again = Instant::now();
        let risk = stage.plugins.classify(&stage.session, &facts).await;
        let known = again.elapsed();
        stage.authorize(&analysed, &facts, &risk);
        classified.push(known);
        ruled.push(again.elapsed() - known);
    }
    for (name, times) in [
        ("analysis", analysis),
        ("classify", classify),
        ("policy", policy),
        ("cold", cold),
        ("classify_repeated", classified),
        ("policy_repeated", ruled),
    ] {
        println!("{name} {:.2}", middle(times).as_secs_f64() * 1e6);
    }
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    *times.get(times.len() / 2).unwrap()
}

impl Stage {
    async fn new(dir: &std::path::Path) -> Self {
        let runtime = Runtime::new(plugin_host::Limits::default(), None).unwrap();
        let options = Options {
            archive: Arc::new(plugin_host::NoArchive),
            require: Vec::new(),
            events: Arc::new(NoEvents),
            clock: Arc::new(SystemClock),
        };
        let plugins = Plugins::new(runtime, options);
        let wasm = std::fs::read(dir.join("risk-sql.wasm")).unwrap();
        plugins
            .add("risk-sql", wasm, BTreeMap::new())
            .await
            .unwrap();
        let actor = Actor::new(PrincipalKind::User, "erin", &["engineering"]);
        let expires = SystemTime::now() + Duration::from_secs(3600);
        let id = SessionId::new();
        let session = SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(Principal::direct(actor, "https://issuer", expires)),
            target: Arc::new(Target {
                name: "shop-prod".into(),
                protocol: Protocol::Postgres,
                env: "prod".into(),
                tags: BTreeMap::new(),
            }),
            scope: "shop".into(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            started: SystemTime::now(),
            attrs: BTreeMap::new(),
        };
        Self {
            session,
            plugins,
            bundle: CompiledBundle::compile(Bundle::embedded_default().unwrap(), 1).unwrap(),
            snapshot: Snapshot::default(),
            state: SessionState::default(),
        }
    }

    fn analyse(&self, text: &str) -> Analysis {
        analyse(
            text.as_bytes(),
            &Ctx {
                snapshot: &self.snapshot,
                state: &self.state,
                labels: self.bundle.labels(),
                target: &self.session.target,
                database: &self.session.scope,
                read_only_txn: false,
                settled: true,
                limits: &Limits::default(),
            },
        )
    }

    fn authorize(&self, analysed: &Analysis, facts: &Facts, risk: &pipeline::Risk) {
        std::hint::black_box(self.bundle.authorize(&Question {
            principal: &self.session.principal,
            source: self.session.source,
            session: &self.session.id_text,
            now: SystemTime::now(),
            facts: Some(facts),
            risk,
            approvals: &BTreeSet::new(),
            accesses: &analysed.accesses,
        }));
    }
}
