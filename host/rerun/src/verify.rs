//! Recorded decisions, executed again with the bundle and the plugins of the time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use pipeline::{Case, Risk, judge};
use recorder::Store;
use recorder::text::clean;

use crate::inputs::time;
use crate::library::{Library, Others};
use crate::recorded::Decided;
use crate::run::{
    self, Judge, MAX_EXAMPLES, Notes, Place, Reasons, RerunError, Tally, Tried, Window, count,
};

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Sessions with requests in the window.
    pub sessions: u64,
    /// Sessions that were erased.
    pub erased: u64,
    /// All requests of the window: permitted, refused, held.
    pub decisions: u64,
    /// Came out as they are on record.
    pub same: u64,
    /// Of these, those whose risk was taken from the record: a classifier had used its store or the
    /// clock, or had failed.
    pub fleeting: u64,
    pub differ: u64,
    pub differences: Vec<Difference>,
    /// Could not be executed again, by reason.
    pub cannot: Reasons,
    pub notes: Notes,
}

impl Decisions {
    /// Requests that could not be executed again.
    pub fn not_run(&self) -> u64 {
        self.cannot.values().map(|c| c.times).sum()
    }
}

/// A decision that is not what its bundle and plugins make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub place: Place,
    /// What differs, as recorded and as executed again.
    pub what: &'static str,
    pub recorded: String,
    pub now: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { session, seq, .. } = self.place;
        let (recorded, now) = (clean(&self.recorded), clean(&self.now));
        write!(
            f,
            "session {session} action {seq}: {}: recorded {recorded}; executed again {now}",
            self.what
        )
    }
}

impl Tally for Decisions {
    fn cannot(&mut self, reason: String, place: Place) {
        self.decisions += 1;
        count(&mut self.cannot, reason, 1, place);
    }

    fn contradiction(&mut self, why: String, place: Place) {
        self.decisions += 1;
        self.differs(Difference {
            place,
            what: "the record contradicts itself",
            recorded: why,
            now: "nothing".into(),
        });
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
        self.decisions += other.decisions;
        self.same += other.same;
        self.fleeting += other.fleeting;
        self.differ += other.differ;
        let room = MAX_EXAMPLES.saturating_sub(self.differences.len());
        self.differences
            .extend(other.differences.into_iter().take(room));
        for (reason, c) in other.cannot {
            count(&mut self.cannot, reason, c.times, c.first);
        }
    }
}

impl Decisions {
    fn differs(&mut self, difference: Difference) {
        self.differ += 1;
        if self.differences.len() < MAX_EXAMPLES {
            self.differences.push(difference);
        }
    }
}

/// Executes the decisions of a window again.
pub async fn verify_decisions(
    store: &Store,
    spool: Option<PathBuf>,
    window: Window,
) -> Result<Decisions, RerunError> {
    let again = Again(Library::new(store.clone(), spool, Others::new())?);
    let mut all = run::run(Arc::new(again), store, window).await?;
    all.differences.sort_by_key(|d| d.place);
    Ok(all)
}

struct Again(Library);

impl Judge for Again {
    type Tally = Decisions;

    async fn judge(&self, all: &mut Decisions, tried: Tried<'_>) {
        again(&self.0, all, tried).await;
    }
}

async fn again(library: &Library, all: &mut Decisions, tried: Tried<'_>) {
    let place = tried.place;
    // Without a bundle, everything is refused.
    if tried.bundle.is_empty() {
        all.decisions += 1;
        match &tried.recorded.first {
            Decided::Deny { .. } => all.same += 1,
            other => all.differs(Difference {
                place,
                what: "decision without a bundle",
                recorded: show(other),
                now: "deny".into(),
            }),
        }
        return;
    }
    let bundle = match library.bundle(tried.bundle).await {
        Ok(bundle) => bundle,
        Err(why) => return all.cannot(why.to_string(), place),
    };
    if !tried.inputs.risk.fleeting {
        let Some(set) = tried.inputs.risk.set.clone() else {
            return all.cannot("the record names no set of plugins".into(), place);
        };
        let risk = match run::classify(library, &set, &tried).await {
            Ok(risk) => risk,
            Err(why) => return all.cannot(why, place),
        };
        if !same_risk(&risk, &tried.inputs.risk) {
            all.decisions += 1;
            return all.differs(Difference {
                place,
                what: "risk",
                recorded: show_risk(&tried.inputs.risk),
                now: show_risk(&risk),
            });
        }
    }
    all.decisions += 1;
    let inputs = &tried.inputs;
    let case = Case {
        session: tried.session,
        facts: &inputs.facts,
        accesses: &inputs.accesses,
        labelled: &inputs.labelled,
        unmaskable: inputs.unmaskable.as_deref(),
        risk: &inputs.risk,
    };
    let recorded = &tried.recorded;
    let first = judge(&*bundle, &case, &BTreeSet::new(), time(recorded.asked_ns));
    let first = Decided::of(&first);
    let mut what = vec![("decision", &recorded.first, first)];
    if let (Decided::Hold { rules }, Some((at, then))) = (&recorded.first, &recorded.again) {
        let granted = rules.iter().cloned().collect();
        let verdict = match judge(&*bundle, &case, &granted, time(*at)) {
            // Something else is asked for now: that denies what people have agreed to.
            pipeline::Verdict::Hold {
                policies, reason, ..
            } => Decided::Deny { policies, reason },
            other => Decided::of(&other),
        };
        what.push(("decision after approval", then, verdict));
    }
    match what.into_iter().find(|(_, old, new)| *old != new) {
        None => {
            all.same += 1;
            all.fleeting += u64::from(inputs.risk.fleeting);
        }
        Some((what, old, new)) => all.differs(Difference {
            place,
            what,
            recorded: show(old),
            now: show(&new),
        }),
    }
}

/// What classifiers said, whichever set they were asked in.
pub fn same_risk(a: &Risk, b: &Risk) -> bool {
    let said = |r: &Risk| (r.score, r.fleeting);
    said(a) == said(b)
        && a.labels == b.labels
        && a.findings == b.findings
        && a.demands == b.demands
        && a.plugins == b.plugins
}

pub fn show(decided: &Decided) -> String {
    match decided {
        Decided::Permit { policies, masked } if masked.is_empty() => {
            format!("permit by {}", policies.join(", "))
        }
        Decided::Permit { policies, masked } => {
            format!(
                "permit by {}, masked {}",
                policies.join(", "),
                masked.join(", ")
            )
        }
        Decided::Deny { policies, reason } if policies.is_empty() => format!("deny ({reason})"),
        Decided::Deny { policies, reason } => {
            format!("deny by {} ({reason})", policies.join(", "))
        }
        Decided::Hold { rules } => format!("hold for {}", rules.join(", ")),
    }
}

pub fn show_risk(risk: &Risk) -> String {
    let labels: Vec<&str> = risk.labels.iter().map(String::as_str).collect();
    let plugins: Vec<String> = risk
        .plugins
        .iter()
        .map(|p| format!("{} {}", p.name, p.version))
        .collect();
    let mut out = format!("{} of 100", risk.score);
    for (name, list) in [("labels", labels.join(", ")), ("by", plugins.join(", "))] {
        if !list.is_empty() {
            out.push_str(&format!(", {name} {list}"));
        }
    }
    if !risk.demands.is_empty() {
        out.push_str(&format!(", demands {:?}", risk.demands));
    }
    if !risk.findings.is_empty() {
        let codes: Vec<&str> = risk.findings.iter().map(|f| f.code.as_str()).collect();
        out.push_str(&format!(", findings {}", codes.join(", ")));
    }
    out
}
