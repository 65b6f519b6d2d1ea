//! From files to something that decides, or to a list of everything that is wrong.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::thread;

use cedar_policy::{PolicyId, PolicySet, Schema, ValidationMode, Validator};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::pst::{EntityOrSlot, PrincipalConstraint, SmolStr, Template};
use miette::Diagnostic;
use pipeline::{ApprovalRule, BundleRef, LabelRule};

use crate::build::Builder;
use crate::bundle::{Bundle, FileKind, MANIFEST, SCHEMA};
use crate::cache::Cache;
use crate::manifest::Manifest;
use crate::model::Model;
use crate::problem::{BundleErrors, Lines, Problem, Problems};
use crate::program::{Program, Source};
use crate::scan::Span;
use crate::vocab::Types;
use crate::{conform, lint, scan};

pub const MAX_POLICIES: usize = 20_000;
/// Cedar recurses while it parses and validates. The texts are scanned before, so this is far more
/// than they can need; only what is touched is ever backed by memory.
const STACK_BYTES: usize = 256 << 20;

/// A bundle that passed every check, ready to decide.
#[derive(Debug)]
pub struct CompiledBundle {
    pub(crate) source: Bundle,
    pub(crate) reference: BundleRef,
    pub(crate) manifest: Manifest,
    pub(crate) program: Program,
    pub(crate) builder: Builder,
    /// Environments that a target may have.
    pub(crate) envs: BTreeSet<String>,
    pub(crate) cache: Cache,
    pub(crate) policies: Vec<PolicyInfo>,
    pub(crate) tests: usize,
    /// The same policies as Cedar sees them, to compare with.
    #[cfg(test)]
    pub(crate) whole: PolicySet,
    #[cfg(test)]
    pub(crate) schema: Schema,
}

/// One policy, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    pub id: Arc<str>,
    pub file: String,
    pub line: u32,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    pub reason: Option<String>,
    pub text: String,
}

impl CompiledBundle {
    /// Parses, validates, lints and tests a bundle. Takes milliseconds for tens of policies and
    /// seconds for ten thousand, so callers in a server run it off their event loop.
    pub fn compile(bundle: Bundle, version: u64) -> Result<Self, BundleErrors> {
        let spawned = thread::Builder::new()
            .name("compile-bundle".into())
            .stack_size(STACK_BYTES)
            .spawn(move || compile_here(bundle, version));
        let failed = |what: String| BundleErrors::from(Problem::file("", what));
        match spawned.map(thread::JoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("the compiler failed; see the log".into())),
            Err(error) => Err(failed(format!("no thread to compile in: {error}"))),
        }
    }

    pub fn source(&self) -> &Bundle {
        &self.source
    }

    pub fn reference(&self) -> &BundleRef {
        &self.reference
    }

    pub fn approval_rules(&self) -> &[ApprovalRule] {
        &self.manifest.rules
    }

    pub fn label_rules(&self) -> &[LabelRule] {
        &self.manifest.label_rules
    }

    /// Environments that a target may have: the schema's `Env` entities.
    pub fn environments(&self) -> Vec<&str> {
        self.envs.iter().map(String::as_str).collect()
    }

    /// In the order of files, then of the text.
    pub fn policies(&self) -> &[PolicyInfo] {
        &self.policies
    }
}

fn compile_here(source: Bundle, version: u64) -> Result<CompiledBundle, BundleErrors> {
    let mut problems = Problems::default();
    let text = |path: &str| source.files().get(path).map_or("", String::as_str);
    let manifest = Manifest::parse(text(MANIFEST), &mut problems);
    let schema = read_schema(text(SCHEMA), &mut problems);
    let read = read_policies(&source, &mut problems);
    let tests = crate::checks::parse(&source, &mut problems);
    let (Some(manifest), Some((schema, model))) = (manifest, schema) else {
        problems.check()?;
        return Err(Problem::file("", "the bundle is incomplete").into());
    };
    let types = Types::new()?;
    conform::vocabulary(&model, &manifest, &mut problems);
    validate(&read, &source, &schema, &mut problems);
    for policy in &read.policies {
        for (message, help) in lint::policy(&policy.tree, &model) {
            problems.push_with(|| {
                let at = policy.span.start;
                Problem::at(&policy.file, text(&policy.file), at, message).help(help)
            });
        }
    }
    problems.check()?;

    let actions = schema
        .action_entities()
        .map_err(|e| Problem::file(SCHEMA, e.to_string()))?;
    let actions: Entities = actions.as_ref().clone();
    let builder = Builder {
        groups: groups_of(&read),
        types: types.clone(),
        logins: conform::has_logins(&model),
    };
    conform::samples(&builder, &schema, &model, &mut problems);
    problems.check()?;

    let infos = infos(&read, &source);
    #[cfg(test)]
    let whole = read.set.clone();
    let sources = read
        .policies
        .into_iter()
        .map(|p| Source {
            id: p.id,
            tree: p.tree,
            condition: p.condition,
        })
        .collect();
    let compiled = CompiledBundle {
        reference: BundleRef {
            name: manifest.name.clone(),
            version,
            digest: source.digest().clone(),
        },
        program: Program::new(sources, &model, &types, actions),
        envs: model.choices("Env").cloned().unwrap_or_default(),
        builder,
        manifest,
        cache: Cache::new(),
        policies: infos,
        tests: tests.len(),
        source,
        #[cfg(test)]
        whole,
        #[cfg(test)]
        schema: schema.clone(),
    };
    conform::self_test(&compiled, &schema, &model, &mut problems);
    problems.check()?;
    crate::checks::run(&compiled, &tests, &mut problems);
    problems.check()?;
    Ok(compiled)
}

/// A policy that was parsed.
struct Parsed {
    id: Arc<str>,
    file: String,
    span: Span,
    tree: Template,
    condition: cedar_policy_core::ast::Expr,
}

impl Parsed {
    fn info(&self, text: &str, lines: &Lines) -> PolicyInfo {
        let annotation = |name: &str| self.tree.annotations.get(name).map(|v| v.to_string());
        PolicyInfo {
            id: self.id.clone(),
            line: lines.line(self.span.start),
            file: self.file.clone(),
            effect: match self.tree.effect {
                cedar_policy_core::pst::Effect::Permit => "permit",
                cedar_policy_core::pst::Effect::Forbid => "forbid",
            },
            reason: annotation("reason"),
            text: text
                .get(self.span.start..self.span.end)
                .unwrap_or_default()
                .to_owned(),
        }
    }
}

fn infos(read: &Read, source: &Bundle) -> Vec<PolicyInfo> {
    let mut out = Vec::with_capacity(read.policies.len());
    for (file, text) in source.of_kind(FileKind::Policy) {
        let lines = Lines::of(text);
        let here = read.policies.iter().filter(|p| p.file == file);
        out.extend(here.map(|p| p.info(text, &lines)));
    }
    out
}

#[derive(Default)]
struct Read {
    policies: Vec<Parsed>,
    /// All of them under their `@id`, for Cedar's validator.
    set: PolicySet,
    /// Where each policy is in `policies`, by its `@id`.
    by_id: BTreeMap<Arc<str>, usize>,
}

fn read_schema(text: &str, problems: &mut Problems) -> Option<(Schema, Model)> {
    if !scan::schema(SCHEMA, text, problems) {
        return None;
    }
    let schema = match Schema::from_cedarschema_str(text) {
        Ok((schema, warnings)) => {
            for warning in warnings {
                problems.push(diagnosed(SCHEMA, text, &warning));
            }
            schema
        }
        Err(error) => {
            problems.push(diagnosed(SCHEMA, text, &error));
            return None;
        }
    };
    match cedar_policy::schema_str_to_json_with_resolved_types(text) {
        Ok((json, _)) => Some((schema, Model::from_json(&json))),
        Err(error) => {
            problems.push(diagnosed(SCHEMA, text, &error));
            None
        }
    }
}

fn read_policies(source: &Bundle, problems: &mut Problems) -> Read {
    let mut read = Read::default();
    let mut count = 0;
    for (file, text) in source.of_kind(FileKind::Policy) {
        let Some(spans) = scan::policies(file, text, problems) else {
            continue;
        };
        count += spans.len();
        if count > MAX_POLICIES {
            let message = format!("more than {MAX_POLICIES} policies in the bundle");
            problems.push(Problem::file(file, message));
            break;
        }
        let set: PolicySet = match text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                for error in errors.iter() {
                    problems.push_with(|| diagnosed(file, text, error));
                }
                continue;
            }
        };
        for template in set.templates() {
            let at = numbered(template.id(), &spans);
            problems.push(
                Problem::at(file, text, at.start, "templates are not supported")
                    .help("write the policy out, without ?principal and ?resource"),
            );
        }
        for policy in set.policies() {
            let span = numbered(policy.id(), &spans);
            read.add(policy, file, text, span, problems);
        }
    }
    read.policies
        .sort_by(|a, b| (&a.file, a.span.start).cmp(&(&b.file, b.span.start)));
    let places = read.policies.iter().enumerate();
    read.by_id = places.map(|(at, p)| (p.id.clone(), at)).collect();
    read
}

/// Cedar numbers the policies of a text: `policy0`, `policy1`, …
fn numbered(id: &PolicyId, spans: &[Span]) -> Span {
    let text: &str = id.as_ref();
    text.strip_prefix("policy")
        .and_then(|n| n.parse::<usize>().ok())
        .and_then(|n| spans.get(n))
        .copied()
        .unwrap_or(Span { start: 0, end: 0 })
}

impl Read {
    fn add(
        &mut self,
        policy: &cedar_policy::Policy,
        file: &str,
        text: &str,
        span: Span,
        problems: &mut Problems,
    ) {
        let mut fail = |message: String| {
            problems.push_with(|| Problem::at(file, text, span.start, message));
        };
        let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) else {
            return fail("this policy has no @id".into());
        };
        let tree = match policy.to_pst() {
            Ok(tree) => tree.body().clone(),
            Err(error) => return fail(error.to_string()),
        };
        if let Err(error) = self.set.add(policy.new_id(PolicyId::new(id))) {
            return fail(format!("@id({id:?}) appears twice: {error}"));
        }
        self.policies.push(Parsed {
            id: id.into(),
            file: file.to_owned(),
            span,
            tree,
            condition: policy.as_ref().condition(),
        });
    }
}

/// Cedar's strict validation. A warning is "this can never apply" or "this looks like something
/// else": an error here.
fn validate(read: &Read, source: &Bundle, schema: &Schema, problems: &mut Problems) {
    let result = Validator::new(schema.clone()).validate(&read.set, ValidationMode::Strict);
    let mut report = |id: &PolicyId, finding: &dyn Diagnostic| {
        problems.push_with(|| {
            let id: &str = id.as_ref();
            let place = read.by_id.get(id).and_then(|at| read.policies.get(*at));
            let Some(policy) = place else {
                return diagnosed("", "", finding);
            };
            let text = source.files().get(&policy.file).map_or("", String::as_str);
            let problem = diagnosed(&policy.file, text, finding);
            if problem.line > 0 {
                return problem;
            }
            let at = Problem::at(&policy.file, text, policy.span.start, "");
            Problem {
                line: at.line,
                column: at.column,
                ..problem
            }
        });
    };
    for error in result.validation_errors() {
        report(error.policy_id(), error);
    }
    for warning in result.validation_warnings() {
        report(warning.policy_id(), warning);
    }
}

/// A finding of Cedar's, at its place.
fn diagnosed(file: &str, text: &str, finding: &dyn Diagnostic) -> Problem {
    let label = finding.labels().and_then(|mut labels| labels.next());
    let mut message = finding.to_string();
    if let Some(source) = finding.diagnostic_source() {
        let source = source.to_string();
        if !message.contains(&source) {
            message = format!("{message}: {source}");
        }
    }
    if let Some(more) = label.as_ref().and_then(|l| l.label())
        && !message.contains(more)
    {
        message = format!("{message}: {more}");
    }
    let mut problem = match &label {
        Some(label) => Problem::at(file, text, label.offset(), message),
        None => Problem::file(file, message),
    };
    problem.help = finding.help().map(|help| help.to_string());
    problem
}

/// Groups that some policy names.
fn groups_of(read: &Read) -> HashSet<SmolStr> {
    let mut out = HashSet::new();
    let mut look = |uid: &cedar_policy_core::pst::EntityUID| {
        if uid.ty.to_string() == "Group" {
            out.insert(uid.eid.clone());
        }
    };
    for policy in &read.policies {
        match &policy.tree.principal {
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => look(uid),
            _ => {}
        }
        lint::literals_of(&policy.tree).iter().for_each(&mut look);
    }
    out
}

#[cfg(test)]
impl CompiledBundle {
    /// This bundle's schema and manifest with other policies, neither validated nor linted: to see
    /// how policies are evaluated that no author gets past the checks.
    pub(crate) fn with_unchecked(&self, text: &str) -> Self {
        let files = self.source.files().clone();
        let mut read = Read::default();
        let set: PolicySet = text.parse().unwrap_or_else(|e| panic!("{e}"));
        let mut problems = Problems::default();
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|p| p.id().to_string());
        for policy in policies {
            read.add(
                policy,
                "x.cedar",
                text,
                Span { start: 0, end: 0 },
                &mut problems,
            );
        }
        assert!(problems.is_empty(), "{:?}", problems.check());
        let (json, _) = cedar_policy::schema_str_to_json_with_resolved_types(&files[SCHEMA])
            .unwrap_or_else(|e| panic!("{e}"));
        let model = Model::from_json(&json);
        let types = self.builder.types.clone();
        let actions = self
            .schema
            .action_entities()
            .unwrap_or_else(|e| panic!("{e}"));
        let whole = read.set.clone();
        let builder = Builder {
            groups: groups_of(&read),
            types: types.clone(),
            logins: conform::has_logins(&model),
        };
        let sources = read.policies.into_iter().map(|p| Source {
            id: p.id,
            tree: p.tree,
            condition: p.condition,
        });
        Self {
            program: Program::new(sources.collect(), &model, &types, actions.as_ref().clone()),
            builder,
            cache: Cache::new(),
            whole,
            source: self.source.clone(),
            reference: self.reference.clone(),
            manifest: self.manifest.clone(),
            envs: self.envs.clone(),
            policies: Vec::new(),
            tests: 0,
            schema: self.schema.clone(),
        }
    }
}
