//! Questions and answers: every access, for every link of the principal's chain, and which
//! approvals would turn a denial into a permit.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use cedar_policy_core::ast::Entity;
use pipeline::ports::Policy;
use pipeline::{
    Access, Action, Actor, ApprovalRule, BundleRef, Column, Durability, LabelCatalog, Principal,
    Protocol, Question, Resource, Ruling, Target,
};

use crate::build::{Built, database_of, target_missing};
use crate::cache::Key;
use crate::compile::CompiledBundle;
use crate::key;
use crate::program::{Asked, Evaluated};
use crate::reads::Reads;
use crate::retention;
use crate::vocab::{ResourceKind, action_facts, is_ssh};

/// The answer for one access and one link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    pub permit: bool,
    /// The policies that determined it, by id.
    pub policies: Vec<Arc<str>>,
    /// Why not; empty for a permit.
    pub reasons: Vec<Arc<str>>,
    /// A policy could not be evaluated, or the request not be built.
    pub failed: bool,
}

impl Judged {
    fn denied(reason: impl Into<Arc<str>>) -> Self {
        Self {
            permit: false,
            policies: Vec::new(),
            reasons: vec![reason.into()],
            failed: false,
        }
    }

    fn is_for_want_of_a_permit(&self) -> bool {
        !self.permit && self.policies.is_empty() && !self.failed
    }
}

impl Policy for CompiledBundle {
    fn bundle(&self) -> &BundleRef {
        &self.reference
    }

    fn authorize(&self, question: &Question<'_>) -> Ruling {
        let mut asker = Asker::new(self, question);
        let given = Approvals::given(question);
        let mut permits = BTreeSet::new();
        let mut denials = Vec::new();
        for access in question.accesses {
            for (link, _) in question.principal.chain().enumerate() {
                let judged = asker.judge(access, link, &given);
                if judged.permit {
                    permits.extend(judged.policies.iter().cloned());
                } else {
                    denials.push(Denial {
                        access,
                        link,
                        judged,
                    });
                }
            }
        }
        if question.accesses.is_empty() {
            return Ruling::Deny {
                policies: Vec::new(),
                reason: "the action names nothing to authorize".into(),
            };
        }
        if denials.is_empty() {
            return Ruling::Permit {
                policies: permits.into_iter().collect(),
            };
        }
        asker.what_is_missing(&denials, &given)
    }

    fn reveal(&self, question: &Question<'_>, column: &Column, database: &str) -> bool {
        // The target is the one of the statement; a reveal without one is refused below.
        let target = question.accesses.iter().find_map(|a| a.target.clone());
        let access = Access {
            action: Action::DataReveal,
            resource: Resource::PgColumn {
                database: database.into(),
                column: column.clone(),
            },
            target,
        };
        let mut asker = Asker::new(self, question);
        let given = Approvals::given(question);
        let links = question.principal.chain().count();
        (0..links).all(|link| asker.ask(&access, link, &given).permit)
    }

    fn labels(&self) -> &LabelCatalog {
        &self.manifest.labels
    }

    fn is_indifferent(&self, principal: &Principal, target: &Target) -> bool {
        if self.manifest.labels.reaches(&target.name) || !self.envs.contains(&*target.env) {
            return false;
        }
        let whole = self.builder.target(target);
        // Of a database nobody asks what is asked of a host.
        let is_host = target.protocol == Protocol::Ssh;
        let of_target = |action: &&Action| {
            action_facts(**action).groups.contains(&"any") && is_ssh(**action) == is_host
        };
        principal.chain().all(|actor| {
            let who = self.builder.actor(actor);
            Action::ALL.iter().filter(of_target).all(|action| {
                let resources = action_facts(*action).resources.iter();
                resources.copied().all(|resource| {
                    self.program
                        .permits_outright(actor.kind, *action, resource, &who, &whole)
                })
            })
        })
    }

    fn approval_rule(&self, name: &str) -> Option<&ApprovalRule> {
        self.manifest.rules.iter().find(|r| &*r.name == name)
    }

    fn durability_of_reads(&self) -> Durability {
        self.manifest.reads
    }

    fn retention_days(&self, target: &str) -> Option<u32> {
        retention::longest(&self.manifest.retention, target)
    }
}

struct Denial<'a> {
    access: &'a Access,
    link: usize,
    judged: Arc<Judged>,
}

/// Approval rules that count as satisfied: what people gave, and what is tried.
struct Approvals(BTreeSet<Arc<str>>);

impl Approvals {
    fn given(question: &Question<'_>) -> Self {
        Self(question.approvals.clone())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| &**rule)
    }
}

/// One question on its way through a bundle.
struct Asker<'a> {
    bundle: &'a CompiledBundle,
    question: &'a Question<'a>,
    key: Key,
    /// How much of the key is common to all accesses.
    common: usize,
    /// The chain as entities; built when the first decision is not in the cache.
    links: Vec<Built>,
    others: Vec<Arc<Entity>>,
}

impl<'a> Asker<'a> {
    fn new(bundle: &'a CompiledBundle, question: &'a Question<'a>) -> Self {
        let mut key = Key::new();
        key::question(&mut key, question, bundle.program.reads);
        Self {
            bundle,
            question,
            common: key.len(),
            key,
            links: Vec::new(),
            others: Vec::new(),
        }
    }

    fn judge(&mut self, access: &Access, link: usize, approvals: &Approvals) -> Arc<Judged> {
        let judged = self.ask(access, link, approvals);
        // Whoever sees a column can compute with it at home: what lets them see it is as good as a
        // permit. What forbids it by name, or could not be evaluated, stands.
        if access.action == Action::DataCompute && judged.is_for_want_of_a_permit() {
            let reveal = Access {
                action: Action::DataReveal,
                ..access.clone()
            };
            let revealed = self.ask(&reveal, link, approvals);
            if revealed.permit {
                return revealed;
            }
        }
        judged
    }

    fn ask(&mut self, access: &Access, link: usize, approvals: &Approvals) -> Arc<Judged> {
        self.key.truncate(self.common);
        key::access(&mut self.key, access, link);
        key::approvals(&mut self.key, approvals.names());
        if let Some(found) = self.bundle.cache.get(self.key.bytes()) {
            return found;
        }
        let (judged, reads) = self.judge_anew(access, link, approvals);
        let judged = Arc::new(judged);
        // What failed may fail for reasons of the moment, such as a stack that is nearly used up.
        if !judged.failed && !reads.has(Reads::NOW) && !reads.has(Reads::CLOCK) {
            self.bundle.cache.put(self.key.bytes(), judged.clone());
        }
        judged
    }

    fn judge_anew(
        &mut self,
        access: &Access,
        link: usize,
        approvals: &Approvals,
    ) -> (Judged, Reads) {
        let kind = ResourceKind::of(&access.resource, access.target.is_some());
        let Some(actor) = self.question.principal.chain().nth(link) else {
            return (Judged::denied("the chain has no such link"), Reads::NOTHING);
        };
        if let Some(refused) = self.impossible(actor, access, kind) {
            return (Judged::denied(refused), Reads::NOTHING);
        }
        match self.evaluate(actor, link, access, kind, approvals) {
            Ok((evaluated, reads)) => (self.conclude(evaluated, actor, access), reads),
            Err(error) => {
                tracing::error!(%error, action = access.action.as_str(), "a request could not be built for Cedar; it is refused");
                let reason = format!("Weir could not ask its policies about this: {error}");
                let judged = Judged {
                    failed: true,
                    ..Judged::denied(reason)
                };
                (judged, Reads::NOTHING)
            }
        }
    }

    /// What Cedar must not even be asked, because it would not notice.
    fn impossible(&self, actor: &Actor, access: &Access, kind: ResourceKind) -> Option<String> {
        if target_missing(kind, access) {
            return Some("a resource without its target".into());
        }
        if let Some(target) = &access.target
            && !self.bundle.envs.contains(&*target.env)
        {
            return Some(format!(
                "target {} has the environment {:?}, which the active bundle does not know",
                target.name, target.env
            ));
        }
        if !self.bundle.program.applies(actor.kind, access.action, kind) {
            return Some(format!(
                "{} cannot be asked for by {} on this resource",
                access.action.as_str(),
                match actor.kind {
                    pipeline::PrincipalKind::User => "a user",
                    pipeline::PrincipalKind::Agent => "an agent",
                    pipeline::PrincipalKind::Workload => "a workload",
                }
            ));
        }
        None
    }

    fn build_links(&mut self) {
        if !self.links.is_empty() {
            return;
        }
        let builder = &self.bundle.builder;
        let chain = || self.question.principal.chain();
        self.links = chain().map(|actor| builder.actor(actor)).collect();
        for actor in chain() {
            let Some(owner) = builder.owner(actor) else {
                continue;
            };
            let known = self.links.iter().any(|l| l.uid == *owner.uid())
                || self.others.iter().any(|o| o.uid() == owner.uid());
            if !known {
                self.others.push(owner);
            }
        }
    }

    /// The rest of the chain, once each: of two links with one name the later one, and the
    /// principal as it asks now before all others.
    fn others_than(&self, principal: &Built, resource: &Built) -> Vec<Arc<Entity>> {
        let mut others: Vec<Arc<Entity>> = Vec::new();
        let rest = self.links.iter().rev().flat_map(|link| &link.entities);
        for entity in rest.chain(&self.others) {
            let uid = entity.uid();
            let taken = *uid == principal.uid
                || *uid == resource.uid
                || others.iter().any(|other| other.uid() == uid);
            if !taken {
                others.push(entity.clone());
            }
        }
        others
    }

    fn evaluate(
        &mut self,
        actor: &Actor,
        link: usize,
        access: &Access,
        kind: ResourceKind,
        approvals: &Approvals,
    ) -> Result<(Evaluated, Reads), String> {
        self.build_links();
        let program = &self.bundle.program;
        let resource = self
            .bundle
            .builder
            .resource(access)
            .map_err(|e| e.to_string())?;
        let principal = self.links.get(link).ok_or("no such link")?;
        let others = self.others_than(principal, &resource);
        let asked = Asked {
            principal,
            action: access.action,
            resource: &resource,
            others: &others,
        };
        let candidates = program.candidates(actor.kind, kind, &asked);
        let reads = program.reads_of(&candidates);
        let context = self
            .bundle
            .builder
            .context(
                self.question,
                access,
                &mut approvals.names(),
                action_facts(access.action).extra,
                reads,
            )
            .map_err(|e| e.to_string())?;
        let request = program
            .request(&asked, context)
            .ok_or("an unknown action")?;
        let entities = program.entities(&asked)?;
        Ok((program.evaluate(&candidates, request, &entities), reads))
    }

    fn conclude(&self, evaluated: Evaluated, actor: &Actor, access: &Access) -> Judged {
        let program = &self.bundle.program;
        let ids = |indexes: &[u32]| -> Vec<Arc<str>> {
            let found = indexes.iter().filter_map(|i| program.policy(*i));
            let mut ids: Vec<_> = found.map(|p| p.id.clone()).collect();
            ids.sort();
            ids
        };
        if evaluated.is_permit() {
            return Judged {
                permit: true,
                policies: ids(&evaluated.permits),
                reasons: Vec::new(),
                failed: false,
            };
        }
        let mut reasons: Vec<Arc<str>> = Vec::new();
        let mut policies = ids(&evaluated.forbids);
        for (index, error) in &evaluated.errors {
            let id = program.policy(*index).map_or("?", |p| &*p.id);
            tracing::error!(
                policy = id,
                %error,
                action = access.action.as_str(),
                "a policy failed while it was evaluated; the action is refused"
            );
            reasons.push(format!("policy {id} could not be evaluated").into());
            policies.push(id.into());
        }
        for forbid in evaluated.forbids.iter().filter_map(|i| program.policy(*i)) {
            reasons.push(match access.action {
                // One of many columns: which of them has to be said.
                Action::DataCompute => format!("{}: {}", forbid.reason, asked(access)).into(),
                _ => forbid.reason.clone(),
            });
        }
        if reasons.is_empty() {
            reasons.push(no_grant(actor, access).into());
        }
        reasons.sort();
        reasons.dedup();
        Judged {
            permit: false,
            policies,
            reasons,
            failed: !evaluated.errors.is_empty(),
        }
    }

    /// Asks again as if approval rules were satisfied. If even all of them do not help, it is a
    /// denial: nobody should be bothered with it. Otherwise rules are dropped one by one, the ones
    /// that the manifest names last first, as long as it stays permitted.
    fn what_is_missing(&mut self, denials: &[Denial<'a>], given: &Approvals) -> Ruling {
        let mut tried = Approvals(given.0.clone());
        let rules = &self.bundle.manifest.rules;
        tried.0.extend(rules.iter().map(|r| r.name.clone()));
        let hopeless: Vec<Arc<Judged>> = denials
            .iter()
            .map(|d| self.judge(d.access, d.link, &tried))
            .filter(|judged| !judged.permit)
            .collect();
        if !hopeless.is_empty() {
            let (policies, reason) = explain(hopeless.iter());
            return Ruling::Deny { policies, reason };
        }
        for rule in rules.iter().rev() {
            if given.0.contains(&rule.name) {
                continue;
            }
            tried.0.remove(&rule.name);
            if !denials
                .iter()
                .all(|d| self.judge(d.access, d.link, &tried).permit)
            {
                tried.0.insert(rule.name.clone());
            }
        }
        let (policies, reason) = explain(denials.iter().map(|d| &d.judged));
        // Approvals only ever help (a lint holds policies to that); should they not, it is refused.
        let all = self.question.accesses.iter();
        let links = self.question.principal.chain().count();
        let permitted = all
            .flat_map(|access| (0..links).map(move |link| (access, link)))
            .all(|(access, link)| self.judge(access, link, &tried).permit);
        let missing: Vec<Arc<str>> = tried.0.difference(&given.0).cloned().collect();
        if !permitted || missing.is_empty() {
            return Ruling::Deny { policies, reason };
        }
        Ruling::NeedsApproval {
            rules: missing,
            policies,
            reason,
        }
    }
}

/// Reasons that one refusal names. A statement can be about any number of tables and columns.
const MAX_REASONS: usize = 16;

/// The policies and reasons of several denials, sorted, once each.
fn explain<'j>(denials: impl Iterator<Item = &'j Arc<Judged>>) -> (Vec<Arc<str>>, String) {
    let mut policies = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    for judged in denials {
        policies.extend(judged.policies.iter().cloned());
        reasons.extend(judged.reasons.iter().cloned());
    }
    let mut text = String::new();
    for reason in reasons.iter().take(MAX_REASONS) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(reason);
    }
    if let Some(more) = reasons.len().checked_sub(MAX_REASONS).filter(|n| *n > 0) {
        let _ = write!(text, "; and {more} more reasons");
    }
    (policies.into_iter().collect(), text)
}

fn no_grant(actor: &Actor, access: &Access) -> String {
    format!("no grant permits {} to {actor}", asked(access))
}

/// The action and what it is on.
fn asked(access: &Access) -> String {
    let mut text = format!("{} on ", access.action.as_str());
    let of_target = |text: &mut String| {
        if let Some(target) = &access.target {
            let _ = write!(text, " of {}", target.name);
        }
    };
    let database = database_of(&access.resource);
    let _ = match &access.resource {
        Resource::PgDatabase { .. } => write!(text, "database {database}"),
        Resource::PgSchema { schema, .. } => write!(text, "schema {database}.{schema}"),
        Resource::PgTable { schema, table, .. } => write!(text, "table {schema}.{table}"),
        Resource::PgColumn { column: c, .. } => {
            write!(text, "column {}.{}.{}", c.schema, c.table, c.column)
        }
        Resource::PgFunction {
            schema, function, ..
        } => write!(text, "function {schema}.{function}"),
        Resource::PgRole { role } => write!(text, "role {role}"),
        Resource::SshAccount { login } => write!(text, "the login {login}"),
        Resource::SshProgram { path, .. } => write!(text, "the program {path}"),
        Resource::SshFile { path, .. } => write!(text, "the path {path}"),
        Resource::SshEndpoint { host, port, .. } => write!(text, "{host} port {port}"),
        Resource::SshVariable { name, .. } => write!(text, "the variable {name}"),
        Resource::SshSubsystem { name, .. } => write!(text, "the subsystem {name}"),
        Resource::Target if access.target.is_some() => write!(text, "the target"),
        Resource::Target => write!(text, "Weir itself"),
        Resource::Session { id, .. } => write!(text, "session {id}"),
        Resource::Bundle { digest, .. } => write!(text, "bundle {digest}"),
        Resource::Plugin { name } => write!(text, "plugin {name}"),
        Resource::ApprovalRule { rule, .. } => write!(text, "approval rule {rule}"),
    };
    of_target(&mut text);
    text
}

/// One access for one link, as the policies see it.
#[cfg(test)]
pub(crate) fn judge_one(
    bundle: &CompiledBundle,
    question: &Question<'_>,
    access: &Access,
    link: usize,
) -> Arc<Judged> {
    Asker::new(bundle, question).judge(access, link, &Approvals::given(question))
}
