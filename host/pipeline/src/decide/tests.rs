//! The order of the decision, and that every failure on its way refuses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use super::*;
use crate::action::{Access, Action, Column, LabelSet, Resource};
use crate::facts::{Facts, SqlFacts};
use crate::memory::{Entry, Memory, MemoryPolicy};
use crate::ports::Ruling;
use crate::principal::{Actor, Principal, PrincipalKind};
use crate::record::{Durability, EndReason};
use crate::risk::Demand;
use crate::session::{Protocol, SessionId, SessionInfo, Target};

mod held;

fn target() -> Arc<Target> {
    Arc::new(Target {
        name: "orders".into(),
        protocol: Protocol::Postgres,
        env: "prod".into(),
        tags: BTreeMap::new(),
    })
}

fn access(action: Action) -> Access {
    Access {
        action,
        resource: Resource::PgDatabase {
            database: "shop".into(),
        },
        target: Some(target()),
    }
}

fn info(expires_in: Duration) -> Arc<SessionInfo> {
    let id = SessionId::new();
    let now = SystemTime::now();
    Arc::new(SessionInfo {
        id,
        id_text: id.to_string().into(),
        principal: Arc::new(Principal::direct(
            Actor::new(PrincipalKind::User, "alice", &["engineering"]),
            "https://issuer.test",
            now + expires_in,
        )),
        target: target(),
        scope: "shop".into(),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        started: now,
        attrs: BTreeMap::new(),
    })
}

async fn open(memory: &Memory) -> Session {
    open_for(memory, Duration::from_secs(60)).await
}

async fn open_for(memory: &Memory, expires_in: Duration) -> Session {
    let cancel = CancellationToken::new();
    let caller = Caller {
        cancel: &cancel,
        on_hold: &|_| {},
        survey: None,
    };
    Session::open(
        memory.ports(),
        info(expires_in),
        vec![access(Action::PostgresConnect)],
        caller,
    )
    .await
    .unwrap()
}

fn request(session: &Session, text: &str) -> Request<String> {
    Request {
        policy: session.pin(),
        facts: Facts::Sql(Arc::new(SqlFacts::opaque(text.into()))),
        accesses: vec![access(Action::PostgresUpdate)],
        labelled: vec![column("ssn")],
        computed: Vec::new(),
        unmaskable: None,
        canonical: text.as_bytes().to_vec(),
        parameters: Vec::new(),
        payload: text.to_owned(),
    }
}

fn column(name: &str) -> Column {
    Column {
        schema: "public".into(),
        table: "customers".into(),
        column: name.into(),
        labels: LabelSet::from(["pii".into()]),
    }
}

async fn ask(session: &Session, request: Request<String>) -> Result<Permitted<String>, Refusal> {
    let cancel = CancellationToken::new();
    decide(
        session,
        request,
        Caller {
            cancel: &cancel,
            on_hold: &|_| {},
            survey: None,
        },
    )
    .await
}

#[tokio::test]
async fn permits_what_policy_permits_and_masks_what_nobody_reveals() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    let permitted = ask(&session, request(&session, "update")).await.unwrap();
    assert_eq!(permitted.get(), "update");
    assert_eq!(permitted.receipt().obligations().masked, [column("ssn")]);
    assert_eq!(
        memory.journal.intents().last().unwrap().masked,
        ["public.customers.ssn"]
    );
}

#[tokio::test]
async fn an_action_that_names_nothing_is_refused() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    let request = Request {
        accesses: Vec::new(),
        ..request(&session, "x")
    };
    assert_eq!(
        ask(&session, request).await.unwrap_err().kind,
        RefusalKind::Denied
    );
}

#[tokio::test]
async fn what_cannot_be_masked_is_refused_unless_revealed() {
    for (revealed, permitted) in [(false, false), (true, true)] {
        let policy = MemoryPolicy {
            reveal: Arc::new(move |_| revealed),
            indifferent: false,
            ..MemoryPolicy::permit_all()
        };
        let memory = Memory::new(policy);
        let session = open(&memory).await;
        let request = Request {
            unmaskable: Some("COPY"),
            ..request(&session, "copy")
        };
        assert_eq!(ask(&session, request).await.is_ok(), permitted);
        assert_eq!(memory.journal.refusals().len(), usize::from(!permitted));
    }
}

#[tokio::test]
async fn what_it_computes_with_is_decided_and_on_record() {
    let shows = |memory: &Memory| memory.journal.intents().last().map(|i| i.accesses.clone());
    let computes = |session: &Session| Request {
        computed: vec![column("ssn")],
        ..request(session, "select")
    };
    let expect = Access::compute(&column("ssn"), &"shop".into(), &target());

    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    let _ = ask(&session, computes(&session)).await.unwrap();
    assert!(shows(&memory).unwrap().contains(&expect));
    let _ = ask(&session, request(&session, "select")).await.unwrap();
    assert!(!shows(&memory).unwrap().contains(&expect));

    let mut policy = MemoryPolicy::deny(&[Action::DataCompute]);
    let denies = policy.decide.clone();
    policy.decide = Arc::new(move |q| match denies(q) {
        Ruling::Deny { policies, .. } => Ruling::Deny {
            policies,
            reason: "no grant permits data:compute on column public.customers.ssn".into(),
        },
        other => other,
    });
    let memory = Memory::new(policy);
    let session = open(&memory).await;
    let refusal = ask(&session, computes(&session)).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Denied);
    assert!(refusal.hint.unwrap().contains("permission data:compute"));
    let refused = memory.journal.refusals();
    assert!(refused.last().unwrap().accesses.contains(&expect));
    let _ = ask(&session, request(&session, "select")).await.unwrap();
}

#[tokio::test]
async fn an_approval_permits_one_statement_to_compute() {
    let memory = Memory::new(MemoryPolicy::hold(&[Action::DataCompute]));
    let session = open(&memory).await;
    let computes = || Request {
        computed: vec![column("ssn")],
        ..request(&session, "select")
    };
    let approve = async {
        let id = memory.approver.next().await;
        // People see what it is about.
        assert_eq!(memory.approver.computed(&id), [column("ssn")]);
        memory.approver.approve(&id, "bob");
    };
    let (result, ()) = tokio::join!(ask(&session, computes()), approve);
    assert!(result.unwrap().receipt().was_held());
    let deny = async {
        let id = memory.approver.next().await;
        let outcome = HoldOutcome::Denied {
            by: "bob".into(),
            reason: "no".into(),
        };
        memory.approver.end(&id, outcome);
    };
    let (result, ()) = tokio::join!(ask(&session, computes()), deny);
    assert_eq!(result.unwrap_err().kind, RefusalKind::HoldDenied);
}

#[tokio::test]
async fn classifiers_can_only_make_it_stricter() {
    let escalate = |rule: &str| vec![Demand::Escalate(rule.into())];
    for (policy, demands, expect) in [
        (MemoryPolicy::permit_all(), vec![Demand::None], Ok(())),
        (
            MemoryPolicy::permit_all(),
            vec![Demand::Refuse("no".into()), Demand::None],
            Err("no"),
        ),
        (
            MemoryPolicy::permit_all(),
            escalate("nowhere"),
            Err("which no bundle defines"),
        ),
        (
            MemoryPolicy::deny(&[Action::PostgresUpdate]),
            escalate("test-rule"),
            Err("denied by the test"),
        ),
    ] {
        let memory = Memory::new(policy);
        let session = open(&memory).await;
        *memory.hooks.risk.lock() = Risk {
            demands,
            ..Risk::default()
        };
        let result = ask(&session, request(&session, "x")).await;
        match (result, expect) {
            (Ok(_), Ok(())) => {}
            (Err(refusal), Err(text)) => assert!(refusal.reason.contains(text), "{refusal}"),
            (result, expect) => panic!("{result:?} instead of {expect:?}"),
        }
    }
}

#[tokio::test]
async fn an_escalation_asks_people_and_is_met_by_their_approval() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    *memory.hooks.risk.lock() = Risk {
        demands: vec![Demand::Escalate("test-rule".into())],
        ..Risk::default()
    };
    let approve = async {
        let id = memory.approver.next().await;
        memory.approver.approve(&id, "bob");
    };
    let (result, ()) = tokio::join!(ask(&session, request(&session, "x")), approve);
    assert!(result.is_ok());
    assert_eq!(
        memory
            .journal
            .intents()
            .last()
            .unwrap()
            .approval
            .as_ref()
            .unwrap()
            .rules
            .len(),
        1
    );
}

#[tokio::test]
async fn an_approval_dies_with_its_bundle() {
    let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresUpdate]));
    let session = open(&memory).await;
    let approve = async {
        let id = memory.approver.next().await;
        let mut next = MemoryPolicy::hold(&[Action::PostgresUpdate]);
        next.bundle.digest = "02".into();
        memory.authorizer.activate(next);
        memory.approver.approve(&id, "bob");
    };
    let (result, ()) = tokio::join!(ask(&session, request(&session, "x")), approve);
    assert_eq!(result.unwrap_err().kind, RefusalKind::PolicyChanged);
}

#[tokio::test]
async fn an_approval_for_another_statement_is_worth_nothing() {
    let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresUpdate]));
    let session = open(&memory).await;
    let approve = async {
        let id = memory.approver.next().await;
        let fingerprint = Fingerprint::of([b"something else".as_slice()]);
        memory.approver.end(
            &id,
            HoldOutcome::Approved {
                approvers: vec![],
                fingerprint,
            },
        );
    };
    let (result, ()) = tokio::join!(ask(&session, request(&session, "x")), approve);
    assert_eq!(result.unwrap_err().kind, RefusalKind::HoldDenied);
}

#[tokio::test]
async fn the_fingerprint_covers_bytes_principal_target_and_bundle() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    let of = |text: &str| fingerprint(&session, &request(&session, text));
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
    let mut other = MemoryPolicy::permit_all();
    other.bundle.digest = "02".into();
    let before = of("a");
    memory.authorizer.activate(other);
    assert_ne!(before, of("a"));
    // Lengths are part of the hash: no two lists of parts collide.
    assert_ne!(
        Fingerprint::of([b"ab".as_slice(), b"c"]),
        Fingerprint::of([b"a".as_slice(), b"bc"])
    );
}

#[tokio::test]
async fn connecting_itself_can_be_held() {
    for (approved, changed, refused) in [
        (true, false, None),
        (false, false, Some(RefusalKind::HoldExpired)),
        (true, true, Some(RefusalKind::PolicyChanged)),
    ] {
        let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresConnect]));
        let opening = async {
            let cancel = CancellationToken::new();
            let caller = Caller {
                cancel: &cancel,
                on_hold: &|hold| {
                    let mut other = MemoryPolicy::hold(&[Action::PostgresConnect]);
                    other.bundle.digest = if changed { "01" } else { "00" }.into();
                    memory.authorizer.activate(other);
                    match approved {
                        true => memory.approver.approve(&hold.id, "bob"),
                        false => memory.approver.end(&hold.id, HoldOutcome::Expired),
                    }
                },
                survey: None,
            };
            let (of, connect) = (
                info(Duration::from_secs(60)),
                vec![access(Action::PostgresConnect)],
            );
            Session::open(memory.ports(), of, connect, caller).await
        };
        let opened = opening.await;
        assert_eq!(opened.as_ref().err().map(|r| r.kind), refused);
        if let Ok(session) = opened {
            // Its approval stays what it was given for.
            let ended = tokio::time::timeout(Duration::from_millis(20), session.ended());
            assert!(ended.await.is_err());
        }
    }
}

#[tokio::test]
async fn a_killed_session_abandons_its_hold() {
    let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresUpdate]));
    let session = open(&memory).await;
    let kill = async {
        memory.approver.next().await;
        memory.registry.kill_all();
    };
    let (result, ()) = tokio::join!(ask(&session, request(&session, "x")), kill);
    assert_eq!(result.unwrap_err().kind, RefusalKind::SessionEnded);
    assert_eq!(memory.approver.abandoned().len(), 1);
    assert!(matches!(session.ended().await, EndReason::Killed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open_for(&memory, Duration::from_secs(5)).await;
    assert_eq!(session.ended().await, EndReason::TokenExpired);
}

#[tokio::test]
async fn nothing_unrecorded_is_permitted() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    memory.journal.break_quietly();
    let refusal = ask(&session, request(&session, "x")).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::NotRecorded);
    assert_eq!(refusal.fault, Fault::Storage);
}

#[test]
fn a_route_is_held_to_the_rules_floor() {
    let rule = crate::approval::ApprovalRule {
        name: "r".into(),
        approvers: vec!["dba".into(), "security".into()],
        required: 2,
        ttl: Duration::from_secs(60),
        description: String::new(),
    };
    let ask = |approvers: &[&str], required, secs| Route {
        approvers: approvers.iter().map(|g| Arc::from(*g)).collect(),
        required,
        timeout: Duration::from_secs(secs),
        ..Route::from_rule(&rule, "t".into())
    };
    for (asked, approvers, required, secs) in [
        (ask(&["dba"], 3, 30), vec!["dba"], 3, 30),
        (ask(&["everybody"], 1, 600), vec!["dba", "security"], 2, 60),
        (ask(&[], 0, 0), vec!["dba", "security"], 2, 0),
    ] {
        let route = Route::at_least(&rule, asked);
        let got: Vec<&str> = route.approvers.iter().map(|g| &**g).collect();
        assert_eq!((got, route.required), (approvers, required));
        assert_eq!(route.timeout, Duration::from_secs(secs));
    }
}

/// A bundle that is content with less than the disk is so for mere reads only.
#[tokio::test]
async fn only_what_reads_and_does_nothing_else_need_not_be_on_the_disk() {
    let os = Durability::Os {
        within: Duration::from_millis(50),
    };
    let function = |volatile, security_definer, dangerous, known| Access {
        action: Action::PostgresCall,
        resource: Resource::PgFunction {
            database: "shop".into(),
            schema: "public".into(),
            function: "f".into(),
            known,
            volatile,
            security_definer,
            dangerous,
        },
        target: Some(target()),
    };
    let read = SqlFacts {
        parsed: true,
        writes: false,
        locks: false,
        only_reads: true,
        ..SqlFacts::opaque("select".into())
    };
    let named = crate::facts::Named {
        name: "p".into(),
        text: "delete".into(),
        parameters: Arc::new([]),
    };
    let select = || vec![access(Action::PostgresSelect)];
    let with = |other: Access| vec![access(Action::PostgresSelect), other];
    let mut cases = vec![
        (read.clone(), select(), os),
        (read.clone(), with(access(Action::PostgresSession)), os),
        (read.clone(), with(access(Action::PostgresCopyOut)), os),
    ];
    for facts in [
        SqlFacts {
            parsed: false,
            ..read.clone()
        },
        SqlFacts {
            writes: true,
            ..read.clone()
        },
        SqlFacts {
            locks: true,
            ..read.clone()
        },
        SqlFacts {
            only_reads: false,
            ..read.clone()
        },
        SqlFacts {
            runs: vec![named],
            ..read.clone()
        },
    ] {
        cases.push((facts, select(), Durability::Fsync));
    }
    for other in [
        // It can call one that writes.
        function(false, false, false, true),
        function(true, false, false, true),
        function(false, true, false, true),
        function(false, false, true, true),
        function(false, false, false, false),
        access(Action::PostgresUpdate),
        access(Action::PostgresCreate),
        access(Action::PostgresUtility),
        access(Action::PostgresCall),
    ] {
        cases.push((read.clone(), with(other), Durability::Fsync));
    }
    let memory = Memory::new(MemoryPolicy {
        reads: os,
        ..MemoryPolicy::permit_all()
    });
    let session = open(&memory).await;
    assert_eq!(
        memory.journal.intents().last().unwrap().durability,
        Durability::Fsync,
        "connecting"
    );
    for (facts, accesses, expect) in cases {
        let text = format!("{facts:?} {accesses:?}");
        let request = Request {
            facts: Facts::Sql(Arc::new(facts)),
            accesses,
            ..request(&session, "x")
        };
        let _permitted = ask(&session, request).await.unwrap();
        let intent = memory.journal.intents().pop().unwrap();
        assert_eq!(intent.durability, expect, "{text}");
    }
    // By default everything is on the disk.
    let memory = Memory::new(MemoryPolicy::permit_all());
    let session = open(&memory).await;
    let request = Request {
        facts: Facts::Sql(Arc::new(read.clone())),
        accesses: select(),
        ..request(&session, "x")
    };
    let _permitted = ask(&session, request).await.unwrap();
    let intent = memory.journal.intents().pop().unwrap();
    assert_eq!(intent.durability, Durability::Fsync);
}

/// What people have agreed to is on the disk before it is done.
#[tokio::test]
async fn what_was_held_is_on_the_disk() {
    let memory = Memory::new(MemoryPolicy {
        reads: Durability::Os {
            within: Duration::from_millis(50),
        },
        ..MemoryPolicy::hold(&[Action::PostgresSelect])
    });
    let session = open(&memory).await;
    let read = SqlFacts {
        parsed: true,
        writes: false,
        locks: false,
        only_reads: true,
        ..SqlFacts::opaque("select".into())
    };
    let request = Request {
        facts: Facts::Sql(Arc::new(read)),
        accesses: vec![access(Action::PostgresSelect)],
        ..request(&session, "x")
    };
    let cancel = CancellationToken::new();
    let caller = Caller {
        cancel: &cancel,
        on_hold: &|info| memory.approver.approve(&info.id, "bob"),
        survey: None,
    };
    let _permitted = decide(&session, request, caller).await.unwrap();
    let intent = memory.journal.intents().pop().unwrap();
    assert!(intent.approval.is_some());
    assert_eq!(intent.durability, Durability::Fsync);
}

#[tokio::test]
async fn how_long_a_recording_is_kept_is_what_the_bundle_said_at_its_start() {
    let memory = Memory::new(MemoryPolicy {
        retention_days: Some(2555),
        ..MemoryPolicy::permit_all()
    });
    let session = open(&memory).await;
    memory.authorizer.activate(MemoryPolicy::permit_all());
    open(&memory).await;
    session.close(EndReason::ClientClosed).await.unwrap();
    let starts = memory.journal.entries().into_iter().filter_map(|entry| {
        let Entry::Start(start) = entry else {
            return None;
        };
        Some(start.retention_days)
    });
    assert_eq!(starts.collect::<Vec<_>>(), [Some(2555), None]);
}
