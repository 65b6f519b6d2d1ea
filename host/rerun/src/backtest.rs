//! Another bundle, or other plugins, over what was recorded: what would have been decided differently.
//!
//! Everything else is taken from the record: what a statement was found to touch, the labels of its
//! tables, what people agreed to. Risk is asked for again where plugins are exchanged, and taken from the
//! record otherwise.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use authz::CompiledBundle;
use parking_lot::Mutex;
use pipeline::ports::Policy;
use pipeline::{Access, Action, Case, Facts, LabelCatalog, Resource, Risk, SessionInfo, judge};
use recorder::Store;

use crate::inputs::{Inputs, time};
use crate::library::{Library, Others};
use crate::recorded::Decided;
use crate::run::{self, Judge, Notes, Place, Reasons, RerunError, Tally, Tried, Window, count};
use crate::verify::{same_risk, show, show_risk};

/// Changes that are told apart; further ones are counted together.
pub const MAX_CHANGES: usize = 10_000;

/// What takes the place of what was in force.
pub struct Try {
    /// None: the bundle of the time.
    pub bundle: Option<CompiledBundle>,
    /// Components by the names of the plugins whose place they take. With the configuration of the one
    /// before; one of a new name has none, and is asked last.
    pub plugins: Others,
}

/// What is the same in all requests of a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The principal's chain, the actor first.
    pub who: String,
    pub target: String,
    pub database: String,
    /// The statement, or what else was asked for.
    pub statement: String,
    /// What changes: the decision, the one after people had agreed, or the risk alone.
    pub what: &'static str,
    pub was: String,
    pub would_be: String,
}

/// How often, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub times: u64,
    pub first: Place,
    pub last: Place,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backtest {
    pub sessions: u64,
    /// Sessions that were erased.
    pub erased: u64,
    /// Requests that were tried.
    pub tried: u64,
    /// Of these, those for which something would change.
    pub changed: u64,
    pub changes: BTreeMap<Change, Changed>,
    /// Requests whose change is none of `changes`, since there are too many.
    pub more: u64,
    /// Could not be tried, by reason.
    pub cannot: Reasons,
    pub notes: Notes,
    /// Requests whose bundle labels other columns than the new one: what only the new one labels is not
    /// on record.
    pub other_labels: u64,
}

impl Backtest {
    pub fn not_tried(&self) -> u64 {
        self.cannot.values().map(|c| c.times).sum()
    }

    fn change(&mut self, change: Change, seen: Changed) {
        let full = self.changes.len() >= MAX_CHANGES;
        match self.changes.entry(change) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.times += seen.times;
                known.first = known.first.min(seen.first);
                known.last = known.last.max(seen.last);
            }
            Entry::Vacant(_) if full => self.more += seen.times,
            Entry::Vacant(place) => {
                place.insert(seen);
            }
        }
    }
}

impl Tally for Backtest {
    fn cannot(&mut self, reason: String, place: Place) {
        count(&mut self.cannot, reason, 1, place);
    }

    fn contradiction(&mut self, why: String, place: Place) {
        let reason = format!("the record contradicts itself: {why}");
        count(&mut self.cannot, reason, 1, place);
    }

    fn session(&mut self) {
        self.sessions += 1;
    }

    fn erased(&mut self) {
        self.erased += 1;
    }

    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.erased += other.erased;
        self.notes.add(other.notes);
        self.tried += other.tried;
        self.changed += other.changed;
        self.more += other.more;
        self.other_labels += other.other_labels;
        for (change, seen) in other.changes {
            self.change(change, seen);
        }
        for (reason, c) in other.cannot {
            count(&mut self.cannot, reason, c.times, c.first);
        }
    }
}

/// Tries a bundle, or plugins, on the requests of a window.
pub async fn backtest(
    store: &Store,
    spool: Option<PathBuf>,
    window: Window,
    new: Try,
) -> Result<Backtest, RerunError> {
    let trial = Trial {
        exchanged: !new.plugins.is_empty(),
        library: Library::new(store.clone(), spool, new.plugins)?,
        bundle: new.bundle.map(Arc::new),
        labels: Mutex::default(),
    };
    run::run(Arc::new(trial), store, window).await
}

struct Trial {
    library: Library,
    bundle: Option<Arc<CompiledBundle>>,
    exchanged: bool,
    /// By the digest of a recorded bundle: does it have the labels of the new one?
    labels: Mutex<BTreeMap<String, bool>>,
}

impl Judge for Trial {
    type Tally = Backtest;

    async fn judge(&self, all: &mut Backtest, tried: Tried<'_>) {
        match self.compare(all, &tried).await {
            Ok(None) => all.tried += 1,
            Ok(Some((what, was, would_be))) => {
                all.tried += 1;
                all.changed += 1;
                let change = Change {
                    who: who(tried.session),
                    target: tried.session.target.name.to_string(),
                    database: tried.session.scope.to_string(),
                    statement: statement(&tried.inputs.facts),
                    what,
                    was,
                    would_be,
                };
                let seen = Changed {
                    times: 1,
                    first: tried.place,
                    last: tried.place,
                };
                all.change(change, seen);
            }
            Err(why) => all.cannot(why, tried.place),
        }
    }
}

type What = (&'static str, String, String);

impl Trial {
    async fn compare(&self, all: &mut Backtest, tried: &Tried<'_>) -> Result<Option<What>, String> {
        let bundle = match &self.bundle {
            Some(bundle) => bundle.clone(),
            None if tried.bundle.is_empty() => {
                return Err("no bundle was in force: everything was refused".into());
            }
            None => self.bundle_of(tried.bundle).await?,
        };
        let risk = self.risk(tried).await?;
        let inputs = match self.bundle.is_some() && self.labels_differ(tried.bundle, &bundle).await
        {
            false => tried.inputs.clone(),
            true => {
                all.other_labels += 1;
                relabelled(tried, bundle.labels())
            }
        };
        let case = Case {
            session: tried.session,
            facts: &inputs.facts,
            accesses: &inputs.accesses,
            labelled: &inputs.labelled,
            unmaskable: inputs.unmaskable.as_deref(),
            risk: &risk,
        };
        let recorded = &tried.recorded;
        let first = judge(&*bundle, &case, &BTreeSet::new(), time(recorded.asked_ns));
        let first = Decided::of(&first);
        if !recorded.first.amounts_to(&first) {
            return Ok(Some(("decision", show(&recorded.first), show(&first))));
        }
        if let (Decided::Hold { rules }, Some((at, then))) = (&first, &recorded.again) {
            let granted = rules.iter().cloned().collect();
            let now = match judge(&*bundle, &case, &granted, time(*at)) {
                pipeline::Verdict::Hold {
                    policies, reason, ..
                } => Decided::Deny { policies, reason },
                other => Decided::of(&other),
            };
            if !then.amounts_to(&now) {
                return Ok(Some(("decision after approval", show(then), show(&now))));
            }
        }
        let was = &tried.inputs.risk;
        Ok((self.exchanged && !same_said(&risk, was))
            .then(|| ("risk", show_risk(was), show_risk(&risk))))
    }

    async fn bundle_of(&self, digest: &str) -> Result<Arc<CompiledBundle>, String> {
        let loaded = self.library.bundle(digest).await;
        loaded.map_err(|why| why.to_string())
    }

    async fn risk(&self, tried: &Tried<'_>) -> Result<Arc<Risk>, String> {
        if !self.exchanged {
            return Ok(Arc::new(tried.inputs.risk.clone()));
        }
        let set = tried.inputs.risk.set.as_deref();
        let set = set.ok_or("the record names no set of plugins")?;
        run::classify(&self.library, set, tried).await
    }

    /// Also where the recorded bundle is not to be had: then nobody knows.
    async fn labels_differ(&self, recorded: &str, new: &CompiledBundle) -> bool {
        if let Some(known) = self.labels.lock().get(recorded) {
            return *known;
        }
        let differ = match self.library.bundle(recorded).await {
            Ok(old) => old.labels() != new.labels(),
            Err(_) => true,
        };
        self.labels.lock().insert(recorded.to_owned(), differ);
        differ
    }
}

/// What classifiers said, whatever they are called now.
fn same_said(a: &Risk, b: &Risk) -> bool {
    let unnamed = |r: &Risk| Risk {
        plugins: Vec::new(),
        fleeting: false,
        ..r.clone()
    };
    same_risk(&unnamed(a), &unnamed(b))
}

/// Columns that are on record have the labels that the new bundle gives them; without any, nothing is
/// asked about them. Tables keep theirs: which columns they have is not on record.
fn relabelled(tried: &Tried<'_>, labels: &LabelCatalog) -> Inputs {
    let mut inputs = tried.inputs.clone();
    let target = &tried.session.target.name;
    for column in &mut inputs.labelled {
        column.labels = labels.labels(target, &column.schema, &column.table, &column.column);
    }
    inputs.labelled.retain(|column| !column.labels.is_empty());
    let unlabelled = |access: &mut Access| match &mut access.resource {
        Resource::PgColumn { column, .. } if access.action == Action::DataCompute => {
            column.labels = labels.labels(target, &column.schema, &column.table, &column.column);
            column.labels.is_empty()
        }
        _ => false,
    };
    inputs.accesses.retain_mut(|access| !unlabelled(access));
    inputs
}

fn who(session: &SessionInfo) -> String {
    let principal = &session.principal;
    let mut out = principal.actor.to_string();
    for behalf in principal.on_behalf_of.iter().rev() {
        out.push_str(&format!(" for {behalf}"));
    }
    out
}

fn statement(facts: &Facts) -> String {
    match facts {
        Facts::Connect { .. } => "connect".to_owned(),
        Facts::Sql(sql) => sql.text.to_string(),
        Facts::Ssh(ssh) => format!("{}: {}", ssh.kind.as_str(), ssh.text),
    }
}
