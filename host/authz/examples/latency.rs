//! How long a decision takes, hit and miss, with the default bundle and with many more policies.
//!
//! `cargo run --release -p authz --example latency [policies]`
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // A measurement, not the product.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use authz::{Bundle, CompiledBundle};
use pipeline::ports::Policy;
use pipeline::{
    Access, Action, Actor, Facts, LabelSet, Principal, PrincipalKind, Protocol, Question, Resource,
    Risk, Ruling, SqlFacts, SqlKind, Target,
};

const BATCHES: usize = 50;
const PER_BATCH: usize = 400;

fn main() {
    let extra: usize = std::env::args()
        .nth(1)
        .map_or(10_000, |n| n.parse().unwrap());
    for count in [0, extra] {
        let started = Instant::now();
        let bundle = CompiledBundle::compile(bundle(count), 1).unwrap();
        println!(
            "{} policies, compiled in {:.2} s",
            bundle.policies().len(),
            started.elapsed().as_secs_f64()
        );
        measure("hit ", &bundle, |_| 0);
        measure("miss", &bundle, |i| i);
    }
}

/// The default bundle and `count` grants, each for a team on a target of its own.
fn bundle(count: usize) -> Bundle {
    let mut files = Bundle::embedded_default().unwrap().files().clone();
    let mut text = String::new();
    for i in 0..count {
        let _ = writeln!(
            text,
            "@id(\"grant.team{i}\") permit (principal in Group::\"team-{}\", action in \
             [Action::\"connect\", Action::\"read\"], resource in Target::\"db-{i}\");",
            i % 500
        );
    }
    files.insert("teams.cedar".into(), text);
    Bundle::from_files(files).unwrap()
}

/// The least and the middle time of one decision, over batches of different tables.
fn measure(name: &str, bundle: &CompiledBundle, table: impl Fn(usize) -> usize) {
    let groups = ["engineering", "team-1", "team-2", "everybody"];
    let actor = Actor::new(PrincipalKind::User, "erin", &groups);
    let principal = Principal::direct(actor, "issuer", UNIX_EPOCH);
    let facts = Facts::Sql(Arc::new(SqlFacts {
        kind: SqlKind::Select,
        parsed: true,
        has_where: true,
        writes: false,
        locks: false,
        ..SqlFacts::opaque("".into())
    }));
    let target = Arc::new(Target {
        name: "shop-prod".into(),
        protocol: Protocol::Postgres,
        env: "prod".into(),
        tags: BTreeMap::new(),
    });
    let (risk, approvals) = (Risk::default(), BTreeSet::new());
    let mut times = Vec::new();
    for batch in 0..BATCHES {
        let accesses: Vec<Access> = (0..PER_BATCH)
            .map(|i| Access {
                action: Action::PostgresSelect,
                resource: Resource::PgTable {
                    database: "shop".into(),
                    schema: "public".into(),
                    table: format!("t{}", table(batch * PER_BATCH + i)).into(),
                    known: true,
                    labels: LabelSet::new(),
                },
                target: Some(target.clone()),
            })
            .collect();
        let started = Instant::now();
        for access in &accesses {
            let ruling = bundle.authorize(&Question {
                principal: &principal,
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                session: "s",
                now: UNIX_EPOCH + Duration::from_secs(1_795_165_200),
                facts: Some(&facts),
                risk: &risk,
                approvals: &approvals,
                accesses: std::slice::from_ref(access),
            });
            assert!(matches!(ruling, Ruling::Permit { .. }));
        }
        times.push(started.elapsed().as_nanos() / PER_BATCH as u128);
    }
    times.sort_unstable();
    let (least, middle) = (times.first().unwrap(), times.get(BATCHES / 2).unwrap());
    println!("  {name}: {least} ns at least, {middle} ns in the middle");
}
