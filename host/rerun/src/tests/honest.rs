//! What was decided as recorded passes; what was not, is found, whoever made it so.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use pipeline::mask::{MaskBatch, MaskColumn, MaskEdits, MaskPlan};
use pipeline::ports::{Authorizer, Hooks, MaskFailed, Policy};
use pipeline::{
    Actor, ApprovalRule, BundleRef, Column, Facts, LabelCatalog, Principal, PrincipalKind,
    Question, Risk, Route, Ruling, SessionInfo,
};
use recorder::Snapshot;
use tokio::sync::watch;

use super::stage::*;
use crate::{Decisions, Try, Window, backtest, verify_decisions};

const START: u64 = 1_764_000_000_000_000_000;

fn dba() -> Principal {
    principal(
        Actor::new(PrincipalKind::User, "dora", &["dba"]),
        Vec::new(),
    )
}

fn everybody() -> Vec<Principal> {
    let agent = Actor::new(PrincipalKind::Agent, "helper", &["agents"]);
    let mut ci = Actor::new(PrincipalKind::Workload, "ci-7", &["ci"]);
    ci.attrs.insert("ref".into(), "refs/heads/main".into());
    let engineer = Actor::new(PrincipalKind::User, "erin", &["engineering"]);
    vec![
        dba(),
        principal(engineer.clone(), Vec::new()),
        principal(agent, vec![engineer]),
        principal(
            Actor::new(PrincipalKind::User, "sue", &["support"]),
            Vec::new(),
        ),
        principal(ci, Vec::new()),
        principal(Actor::new(PrincipalKind::User, "nobody", &[]), Vec::new()),
    ]
}

/// Each does everything everywhere, twice; gives the number of requests.
async fn traffic(stage: &Stage, who: &[Principal]) -> u64 {
    let mut requests = 0;
    let targets = [target("shop.prod", "prod"), target("shop-dev", "dev")];
    for (n, (who, target)) in who
        .iter()
        .flat_map(|who| targets.iter().map(move |t| (who, t)))
        .enumerate()
    {
        requests += 1;
        let at = START + n as u64 * 3_600_000_000_000;
        let Some(session) = stage.session(who, target, at).await else {
            continue;
        };
        for shape in shapes().iter().chain(&shapes()) {
            act(&session, shape).await.ok();
            requests += 1;
        }
        session
            .close(pipeline::EndReason::ClientClosed)
            .await
            .unwrap();
    }
    assert!(stage.recorder.flush(LONG).await);
    requests
}

async fn again(stage: &Stage) -> Decisions {
    verify_decisions(&stage.store(), None, Window::default())
        .await
        .unwrap()
}

/// Some policies see the time: what counts is when it was asked.
const HOURS: &str = r#"
@id("guard.office-hours")
@reason("only between eight and sixteen")
forbid (principal, action == Action::"postgres:insert", resource)
unless { context.base.clock.minute >= 480 && context.base.clock.minute < 960 };
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_is_decided_again() {
    let stage = Stage::new(bundle(&[("hours.cedar", HOURS)])).await;
    let requests = traffic(&stage, &everybody()).await;
    let found = again(&stage).await;
    assert_eq!(found.differences, []);
    assert_eq!(found.cannot, BTreeMap::new());
    assert_eq!((found.decisions, found.same), (requests, requests));
    assert_eq!(found.fleeting, 0);
    let kinds = kinds(&stage).await;
    for kind in [
        "permit",
        "held",
        "denied",
        "hold-denied",
        "hold-expired",
        "approval-unavailable",
    ] {
        assert!(kinds.get(kind).is_some_and(|n| *n > 0), "{kind}: {kinds:?}");
    }
    // A window is a part of it, and the parts are the whole.
    let middle = START + 5 * 3_600_000_000_000;
    let mut parts = 0;
    for (from_ns, to_ns) in [(None, Some(middle)), (Some(middle), None)] {
        let window = Window {
            from_ns,
            to_ns,
            session: None,
        };
        let part = verify_decisions(&stage.store(), None, window)
            .await
            .unwrap();
        assert!(part.decisions > 0 && part.decisions < requests);
        parts += part.decisions;
    }
    assert_eq!(parts, requests);
    // What somebody puts beside a recording is passed over, and told.
    let planted = stage.plant_beside_one();
    let found = again(&stage).await;
    assert_eq!((found.decisions, found.same), (requests, requests));
    let [note] = &found.notes.texts[..] else {
        panic!("{:?}", found.notes);
    };
    assert!(
        note.starts_with("session ") && note.contains("does not have the hash"),
        "{note}"
    );
    std::fs::remove_file(planted).unwrap();
    // Without the key of the recordings nothing can be said of any session.
    let sealed = stage.store_without_key();
    let found = verify_decisions(&sealed, None, Window::default()).await;
    let found = found.unwrap();
    assert_eq!((found.same, found.differ), (0, 0));
    assert!(found.not_run() > 0, "{found:?}");
    assert!(found.cannot.keys().all(|why| why.contains("--key-file")));
    // The same bundle would change nothing.
    let new = Try {
        bundle: Some(bundle(&[("hours.cedar", HOURS)])),
        plugins: crate::Others::new(),
    };
    let tried = backtest(&stage.store(), None, Window::default(), new)
        .await
        .unwrap();
    assert_eq!(
        (tried.tried, tried.changed, tried.not_tried()),
        (requests, 0, 0)
    );
}

/// How requests ended.
async fn kinds(stage: &Stage) -> BTreeMap<String, u64> {
    let store = stage.store();
    let mut out = BTreeMap::new();
    for entry in store.sessions(recorder::Days::default()).await.unwrap() {
        let mut requests = store.requests(entry.session).await.unwrap();
        while let Some(batch) = requests.next().await.unwrap() {
            for request in batch {
                let kind = match request.doc {
                    recorder::RequestDoc::Permitted(doc) if doc.approval.is_some() => "held".into(),
                    recorder::RequestDoc::Permitted(_) => "permit".into(),
                    recorder::RequestDoc::Refused(doc) => doc.kind,
                    recorder::RequestDoc::Unreadable(why) => why,
                };
                *out.entry(kind).or_default() += 1;
            }
        }
    }
    out
}

/// Says that it is the bundle, and permits whatever it likes: a Weir that somebody has changed.
struct Liar(Arc<dyn Authorizer>);

struct Lies(Arc<dyn Policy>);

impl Authorizer for Liar {
    fn pin(&self) -> Arc<dyn Policy> {
        Arc::new(Lies(self.0.pin()))
    }
    fn watch(&self) -> watch::Receiver<BundleRef> {
        self.0.watch()
    }
}

impl Policy for Lies {
    fn bundle(&self) -> &BundleRef {
        self.0.bundle()
    }
    fn authorize(&self, _: &Question<'_>) -> Ruling {
        Ruling::Permit {
            policies: vec!["grant.dba.everything".into()],
        }
    }
    fn reveal(&self, question: &Question<'_>, column: &Column, database: &str) -> bool {
        &*column.column == "ssn" || self.0.reveal(question, column, database)
    }
    fn labels(&self) -> &LabelCatalog {
        self.0.labels()
    }
    fn approval_rule(&self, name: &str) -> Option<&ApprovalRule> {
        self.0.approval_rule(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_the_bundle_did_not_make_are_found() {
    let mut stage = Stage::new(bundle(&[])).await;
    stage.authorizer = Arc::new(Liar(stage.authorizer.clone()));
    let requests = traffic(&stage, &[dba()]).await;
    let found = again(&stage).await;
    assert_eq!((found.decisions, found.not_run()), (requests, 0));
    let said: Vec<String> = found.differences.iter().map(|d| d.to_string()).collect();
    let said = said.join("\n");
    for part in [
        "hold for prod-bulk-write",
        "hold for prod-ddl",
        "masked public.customers.ssn",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(found.differ >= 6, "{said}");
    assert_eq!(found.differ + found.same, requests);
}

/// Says that the classifiers found nothing.
struct Calm(Arc<dyn Hooks>);

#[async_trait]
impl Hooks for Calm {
    async fn classify(&self, session: &SessionInfo, facts: &Facts) -> Arc<Risk> {
        let risk = self.0.classify(session, facts).await;
        Arc::new(Risk {
            plugins: risk.plugins.clone(),
            set: risk.set.clone(),
            ..Risk::default()
        })
    }
    async fn route(&self, s: &SessionInfo, f: &Facts, rule: &ApprovalRule, r: &Risk) -> Route {
        self.0.route(s, f, rule, r).await
    }
    async fn mask_plan(&self, session: &SessionInfo, columns: &[MaskColumn]) -> MaskPlan {
        self.0.mask_plan(session, columns).await
    }
    async fn mask_batch(
        &self,
        session: &SessionInfo,
        plan: &MaskPlan,
        batch: MaskBatch,
    ) -> Result<MaskEdits, MaskFailed> {
        self.0.mask_batch(session, plan, batch).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn risk_that_no_classifier_found_is_found() {
    let mut stage = Stage::new(bundle(&[])).await;
    stage.hooks = Arc::new(Calm(stage.plugins.clone()));
    let requests = traffic(&stage, &[dba()]).await;
    let found = again(&stage).await;
    assert!(found.differ > 0 && found.differ + found.same == requests);
    assert!(found.differences.iter().all(|d| d.what == "risk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_from_call_to_call_is_taken_from_the_record_and_counted() {
    let stage = Stage::new(bundle(&[])).await;
    for (name, mode) in [("counts", "count"), ("ill", "error")] {
        let config = BTreeMap::from([("mode".to_owned(), mode.to_owned())]);
        stage
            .plugins
            .add(name, component("evil"), config)
            .await
            .unwrap();
        traffic(&stage, &[dba()]).await;
    }
    let found = again(&stage).await;
    assert_eq!(
        (found.differ, found.not_run()),
        (0, 0),
        "{:?}",
        found.differences
    );
    assert!(found.fleeting > 0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_classifier_is_tried() {
    let stage = Stage::new(bundle(&[])).await;
    let requests = traffic(&stage, &[dba()]).await;
    let run = async |name: &str, component: Vec<u8>| {
        let plugins = crate::Others::from([(name.to_owned(), component)]);
        let new = Try {
            bundle: None,
            plugins,
        };
        backtest(&stage.store(), None, Window::default(), new)
            .await
            .unwrap()
    };
    let same = run("risk-sql", component("risk-sql")).await;
    assert_eq!(
        (same.tried, same.changed, same.not_tried()),
        (requests, 0, 0)
    );
    let other = run("risk-sql", component("evil")).await;
    assert_eq!((other.tried, other.not_tried()), (requests, 0));
    assert!(other.changed > 0 && other.changes.keys().any(|c| c.what == "risk"));
    let more = run("more", component("evil")).await;
    assert!(more.changed > other.changed.min(1) && more.tried == requests);
    let broken = run("risk-sql", b"no plugin".to_vec()).await;
    assert_eq!((broken.tried, broken.not_tried()), (0, requests));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_altered_is_told_of() {
    let stage = Stage::new(bundle(&[])).await;
    let requests = traffic(&stage, &[dba()]).await;
    let store = stage.dir.0.join("store");
    for kind in Snapshot::ALL {
        for file in std::fs::read_dir(store.join(kind.root())).unwrap() {
            let file = file.unwrap().path();
            let whole = std::fs::read(&file).unwrap();
            let mut altered = whole.clone();
            *altered.last_mut().unwrap() ^= 1;
            for (content, word) in [(None, "has no"), (Some(altered), "hash")] {
                match content {
                    None => std::fs::remove_file(&file).unwrap(),
                    Some(bytes) => std::fs::write(&file, bytes).unwrap(),
                }
                let found = again(&stage).await;
                assert_eq!(found.decisions, requests);
                // Sets that were in force for no request do not count.
                let told = found.cannot.keys().all(|why| why.contains(word));
                assert!(told, "{}: {:?}", file.display(), found.cannot);
                assert!([0, requests].contains(&found.not_run()));
                assert_eq!(found.same + found.not_run(), requests);
            }
            std::fs::write(&file, whole).unwrap();
        }
    }
    let digest = stage.authorizer.pin().bundle().digest.to_string();
    let key = store.join(Snapshot::Bundle.key(&digest).unwrap());
    std::fs::remove_file(key).unwrap();
    let found = again(&stage).await;
    assert_eq!((found.same, found.not_run()), (0, requests));
    // What waits in a spool is not missing.
    let spool = stage.dir.0.join("other");
    std::fs::create_dir_all(spool.join("snapshots")).unwrap();
    let archive = bundle(&[]).source().archive();
    let name = format!("snapshots/bundles_{digest}.bundle");
    std::fs::write(spool.join(name), archive).unwrap();
    let found = verify_decisions(&stage.store(), Some(spool), Window::default()).await;
    assert_eq!(found.unwrap().same, requests);
}
