//! What the tests ask with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::ports::Policy;
use pipeline::{
    Access, Action, Actor, Column, Facts, LabelSet, Principal, PrincipalKind, Protocol, Question,
    Resource, Risk, Ruling, SqlFacts, SqlKind, SshFacts, SshKind, Target,
};

use crate::{Bundle, BundleErrors, CompiledBundle};

pub type Files = BTreeMap<String, String>;

pub fn default_files() -> Files {
    let bundle = Bundle::embedded_default().unwrap_or_else(|e| panic!("{e}"));
    bundle.files().clone()
}

pub fn compile(files: Files) -> Result<CompiledBundle, BundleErrors> {
    CompiledBundle::compile(Bundle::from_files(files)?, 1)
}

/// The default bundle, compiled.
pub fn default_bundle() -> CompiledBundle {
    compile(default_files()).unwrap_or_else(|e| panic!("{e}"))
}

/// The default bundle without its tests, with these files added or replaced.
pub fn with(files: &[(&str, &str)]) -> Result<CompiledBundle, BundleErrors> {
    let mut all = default_files();
    all.retain(|path, _| !path.starts_with("tests/"));
    all.extend(
        files
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned())),
    );
    compile(all)
}

/// The default bundle's schema and manifest, one policy, and these files: quick to compile.
pub fn small(files: &[(&str, &str)]) -> Result<CompiledBundle, BundleErrors> {
    let mut all = default_files();
    all.retain(|path, _| !path.starts_with("tests/") && !path.ends_with(".cedar"));
    let guard =
        "@id(\"guard.small\") @reason(\"r\") forbid (principal is Agent, action, resource);";
    all.insert("small.cedar".into(), guard.into());
    all.extend(
        files
            .iter()
            .map(|(p, t)| ((*p).to_owned(), (*t).to_owned())),
    );
    compile(all)
}

/// The default bundle's schema and manifest, with only these policies.
pub fn only(policies: &str) -> CompiledBundle {
    let mut all = default_files();
    all.retain(|path, _| !path.starts_with("tests/") && !path.ends_with(".cedar"));
    all.insert("only.cedar".into(), policies.into());
    compile(all).unwrap_or_else(|e| panic!("{e}"))
}

pub fn user(name: &str, groups: &[&str]) -> Actor {
    Actor::new(PrincipalKind::User, name, groups)
}

pub fn agent(name: &str, groups: &[&str]) -> Actor {
    Actor::new(PrincipalKind::Agent, name, groups)
}

pub fn target(env: &str) -> Arc<Target> {
    Arc::new(Target {
        name: format!("shop-{env}").into(),
        protocol: Protocol::Postgres,
        env: env.into(),
        tags: BTreeMap::new(),
    })
}

pub fn host(env: &str) -> Arc<Target> {
    Arc::new(Target {
        name: format!("web-{env}").into(),
        protocol: Protocol::Ssh,
        env: env.into(),
        tags: BTreeMap::new(),
    })
}

pub fn table(name: &str) -> Resource {
    Resource::PgTable {
        database: "shop".into(),
        schema: "public".into(),
        table: name.into(),
        known: true,
        labels: LabelSet::new(),
    }
}

pub fn column(name: &str, labels: &[&str]) -> Column {
    Column {
        schema: "public".into(),
        table: "customers".into(),
        column: name.into(),
        labels: labels.iter().map(|l| Arc::from(*l)).collect(),
    }
}

pub fn on_prod(action: Action, resource: Resource) -> Access {
    Access {
        action,
        resource,
        target: Some(target("prod")),
    }
}

pub fn sql(kind: SqlKind) -> SqlFacts {
    SqlFacts {
        kind,
        parsed: true,
        has_where: true,
        writes: false,
        locks: false,
        ..SqlFacts::opaque("".into())
    }
}

/// A question that owns its parts.
#[derive(Clone)]
pub struct Ask {
    pub principal: Principal,
    pub source: IpAddr,
    pub session: String,
    pub now: SystemTime,
    pub facts: Option<Facts>,
    pub risk: Risk,
    pub approvals: BTreeSet<Arc<str>>,
    pub accesses: Vec<Access>,
}

impl Ask {
    pub fn new(actor: Actor, accesses: &[Access]) -> Self {
        Self {
            principal: Principal::direct(actor, "test", UNIX_EPOCH),
            source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            session: "s1".into(),
            now: UNIX_EPOCH + Duration::from_secs(1_795_165_200),
            facts: Some(Facts::Sql(Arc::new(sql(SqlKind::Select)))),
            risk: Risk::default(),
            approvals: BTreeSet::new(),
            accesses: accesses.to_vec(),
        }
    }

    pub fn on_behalf_of(mut self, chain: &[Actor]) -> Self {
        self.principal.on_behalf_of = chain.to_vec();
        self
    }

    pub fn facts(mut self, change: impl FnOnce(&mut SqlFacts)) -> Self {
        let mut facts = sql(SqlKind::Select);
        change(&mut facts);
        self.facts = Some(Facts::Sql(Arc::new(facts)));
        self
    }

    /// Facts about a command that is understood in full and changes something.
    pub fn on_host(mut self, change: impl FnOnce(&mut SshFacts)) -> Self {
        let mut facts = SshFacts::plain(SshKind::Exec, "app".into(), "".into());
        change(&mut facts);
        self.facts = Some(Facts::Ssh(Arc::new(facts)));
        self
    }

    pub fn approved(mut self, rules: &[&str]) -> Self {
        self.approvals = rules.iter().map(|r| Arc::from(*r)).collect();
        self
    }

    pub fn risk(mut self, score: u8) -> Self {
        self.risk.score = score;
        self
    }

    pub fn question(&self) -> Question<'_> {
        Question {
            principal: &self.principal,
            source: self.source,
            session: &self.session,
            now: self.now,
            facts: self.facts.as_ref(),
            risk: &self.risk,
            approvals: &self.approvals,
            accesses: &self.accesses,
        }
    }

    pub fn of(&self, bundle: &CompiledBundle) -> Ruling {
        bundle.authorize(&self.question())
    }
}

/// `permit`, `deny` or `needs a, b`.
pub fn short(ruling: &Ruling) -> String {
    match ruling {
        Ruling::Permit { .. } => "permit".into(),
        Ruling::Deny { .. } => "deny".into(),
        Ruling::NeedsApproval { rules, .. } => format!("needs {}", rules.join(", ")),
    }
}

pub fn reason(ruling: &Ruling) -> &str {
    match ruling {
        Ruling::Permit { .. } => "",
        Ruling::Deny { reason, .. } | Ruling::NeedsApproval { reason, .. } => reason,
    }
}

/// A small generator: the same numbers on every run and machine.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }
}
