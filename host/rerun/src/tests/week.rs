//! A week of traffic: written by the real decision and the real recorder, verified, executed again, and
//! tried with a bundle that differs in planted ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use pipeline::{Actor, Principal, PrincipalKind, Target};
use recorder::{VerifyOptions, verify_store};
use tokio::task::JoinSet;

use super::stage::*;
use crate::{Try, Window, backtest, verify_decisions};

/// Leaves of the short form, and the variable that asks for more.
const LEAVES: u64 = 20_000;
const LEAVES_VAR: &str = "WEIR_WEEK_LEAVES";
const WEEK_NS: u64 = 7 * 86_400 * 1_000_000_000;
/// Statements of one session.
const ACTIONS: u64 = 45;
/// Sessions at the same time.
const AT_ONCE: usize = 48;

/// What the new bundle does differently, to whom.
const PLANTED: &str = r#"
@id("guard.planted-orders")
@reason("planted: no orders for this one")
forbid (principal == User::"engineer-3", action == Action::"postgres:select", resource is Pg::Table)
when { resource.name == "orders" };

@id("guard.planted-held")
@reason("planted: this one waits")
forbid (principal == User::"engineer-5", action == Action::"postgres:insert", resource)
unless { context.base.approvals.contains(ApprovalRule::"risky") };

@id("guard.planted-masked")
@reason("planted: no addresses for this one")
forbid (principal == User::"support-1", action == Action::"data:reveal", resource);
"#;

/// Whom, in which statements, and how it begins what would be instead.
const EXPECTED: [(&str, &str, &str); 3] = [
    (
        "User::\"engineer-3\"",
        "total FROM orders",
        "deny by guard.planted-orders",
    ),
    ("User::\"engineer-5\"", "INSERT", "hold for risky"),
    ("User::\"support-1\"", "email", "permit by"),
];

fn people() -> Vec<Principal> {
    let mut out = Vec::new();
    for n in 0..12 {
        let name = |kind: &str| format!("{kind}-{n}");
        let engineer = Actor::new(PrincipalKind::User, &name("engineer"), &["engineering"]);
        let agent = Actor::new(PrincipalKind::Agent, &name("agent"), &["agents"]);
        let mut ci = Actor::new(PrincipalKind::Workload, &name("ci"), &["ci"]);
        ci.attrs.insert("ref".into(), "refs/heads/main".into());
        out.push(principal(engineer.clone(), Vec::new()));
        // The agents of one act for another: what they do is held already.
        let person = match n {
            5 => Actor::new(PrincipalKind::User, "engineer-4", &["engineering"]),
            _ => engineer,
        };
        out.push(principal(agent, vec![person]));
        for (kind, group) in [("support", "support"), ("admin", "dba")] {
            let actor = Actor::new(PrincipalKind::User, &name(kind), &[group]);
            out.push(principal(actor, Vec::new()));
        }
        out.push(principal(ci, Vec::new()));
    }
    out
}

/// Who, target, statement: how often it was permitted at once, by whoever decided.
type Permitted = BTreeMap<(String, String, String), u64>;

struct Week {
    stage: Stage,
    people: Vec<Principal>,
    targets: [Arc<Target>; 3],
    shapes: Vec<Shape>,
    start: u64,
    sessions: u64,
    permitted: Mutex<Permitted>,
}

impl Week {
    async fn session(&self, n: u64) {
        let pick = |len: usize, step: u64| (n / step % len as u64) as usize;
        let who = &self.people[pick(self.people.len(), 1)];
        let target = &self.targets[pick(3, self.people.len() as u64)];
        let at = self.start + n * (WEEK_NS / self.sessions);
        let Some(session) = self.stage.session(who, target, at).await else {
            return;
        };
        let mut permitted = Permitted::new();
        for action in 0..ACTIONS {
            let shape = &self.shapes[((n + action) % self.shapes.len() as u64) as usize];
            if act(&session, shape).await.is_ok() {
                let behalf = who.on_behalf_of.iter().map(|a| format!(" for {a}"));
                let of = (
                    who.actor.to_string() + &behalf.collect::<String>(),
                    target.name.to_string(),
                    shape.facts.text.to_string(),
                );
                *permitted.entry(of).or_default() += 1;
            }
        }
        let end = pipeline::EndReason::ClientClosed;
        session.close(end).await.unwrap();
        let mut all = self.permitted.lock();
        for (of, times) in permitted {
            *all.entry(of).or_default() += times;
        }
    }

    async fn write(self: &Arc<Self>) {
        let mut running = JoinSet::new();
        for n in 0..self.sessions {
            if running.len() >= AT_ONCE {
                running.join_next().await.unwrap().unwrap();
            }
            let week = self.clone();
            running.spawn(async move { week.session(n).await });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
    }

    fn expected(&self) -> BTreeMap<(String, String, String), u64> {
        let mut permitted = self.permitted.lock().clone();
        permitted.retain(|(who, _, text), _| {
            let of =
                |(name, part, _): &(&str, &str, &str)| who.contains(name) && text.contains(part);
            EXPECTED.iter().any(of)
        });
        permitted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_week_of_traffic_is_verified_and_only_what_was_planted_would_change() {
    let leaves: u64 = match std::env::var(LEAVES_VAR) {
        Ok(text) => text.parse().expect("a number of leaves"),
        Err(_) => LEAVES,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let week = Arc::new(Week {
        stage: Stage::new(bundle(&[])).await,
        people: people(),
        targets: [
            target("shop-prod", "prod"),
            target("shop-staging", "staging"),
            target("shop-dev", "dev"),
        ],
        shapes: shapes(),
        start: now.unwrap().as_nanos() as u64 - WEEK_NS - 3_600_000_000_000,
        // A permitted statement has two leaves, a refused one has one.
        sessions: leaves / (ACTIONS * 13 / 10) + 1,
        permitted: Mutex::default(),
    });
    let told = |what: &str, began: Instant| {
        println!("week: {what} in {:.1} s", began.elapsed().as_secs_f64());
    };
    let began = Instant::now();
    week.write().await;
    let recorder = &week.stage.recorder;
    assert!(recorder.flush(Duration::from_secs(600)).await);
    recorder.shutdown(LONG).await;
    told("written", began);

    let store = week.stage.store();
    let began = Instant::now();
    let report = verify_store(&store, &VerifyOptions::default())
        .await
        .unwrap();
    assert_eq!(report.findings, []);
    assert!(report.leaves >= leaves, "{} leaves", report.leaves);
    let what = format!(
        "{} leaves of {} sessions verified",
        report.leaves, report.sessions
    );
    told(&what, began);

    let began = Instant::now();
    let found = verify_decisions(&store, None, Window::default())
        .await
        .unwrap();
    assert_eq!(
        (found.differ, found.not_run()),
        (0, 0),
        "{:?}",
        found.differences
    );
    assert_eq!(found.decisions, report.intents + report.refusals);
    told(
        &format!("{} decisions executed again", found.decisions),
        began,
    );

    let began = Instant::now();
    let new = Try {
        bundle: Some(bundle(&[("planted.cedar", PLANTED)])),
        plugins: crate::Others::new(),
    };
    let tried = backtest(&store, None, Window::default(), new)
        .await
        .unwrap();
    assert_eq!(
        (tried.tried, tried.not_tried(), tried.more),
        (found.decisions, 0, 0)
    );
    let mut changes = BTreeMap::new();
    for (change, seen) in &tried.changes {
        let (_, _, instead) = EXPECTED
            .iter()
            .find(|(who, part, _)| change.who.contains(who) && change.statement.contains(part))
            .unwrap_or_else(|| panic!("nobody planted {change:?}"));
        assert!(change.would_be.starts_with(instead), "{change:?}");
        assert!(change.was.starts_with("permit"), "{change:?}");
        let of = (
            change.who.clone(),
            change.target.clone(),
            change.statement.clone(),
        );
        *changes.entry(of).or_insert(0) += seen.times;
    }
    assert_eq!(changes, week.expected());
    assert!(changes.len() >= 5, "{changes:?}");
    assert_eq!(tried.changed, changes.values().sum::<u64>());
    told(
        &format!("{} requests tried with another bundle", tried.tried),
        began,
    );
}
