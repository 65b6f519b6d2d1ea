//! Every known way around masking, each with the defence that it meets, on every server version that
//! is supported here, in every format.
//!
//! A row is asked of two vaults that differ in nothing but their labelled values. What the client
//! gets must be the same bytes from both, no secret of either may be in it in any guise, and the
//! defence must be the one that the row names. The same is then done past Weir: if that does not tell
//! the two vaults apart, the row proves nothing, and the test fails.

mod channels;
mod computing;
mod defence;
mod oracles;
mod places;
mod projection;
mod protocol;
mod run;

use std::collections::BTreeMap;

use weir_tests::postgres::Server;
use weir_tests::wire::Reply;

use crate::vaults::{Mode, Vaults};
use defence::Defence;
use run::Scene;

/// The ways that are known: what can be computed from columns, other channels, oracles, tricks with
/// the parser and the protocol, and what tells by where it is, what is counted and what fails.
const KNOWN: &[(char, std::ops::RangeInclusive<u32>)] = &[
    ('A', 1..=20),
    ('B', 21..=35),
    ('C', 36..=41),
    ('D', 42..=54),
    ('E', 55..=60),
];

/// One try.
#[derive(Clone, Copy)]
pub struct Row {
    id: &'static str,
    expect: Defence,
    act: Act,
    /// The first server version that knows what it uses.
    since: u32,
    modes: &'static [Mode],
    /// Outside of a transaction when it is tried past Weir.
    alone: bool,
    /// Past Weir it tells nothing, or cannot be done: why it is here all the same.
    inert: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Act {
    /// One statement after the other on one connection; `{n}` is a number that makes names unique.
    Sql(&'static [&'static str]),
    /// What a text cannot say.
    Wire(&'static str, fn(&Scene<'_>) -> Vec<Reply>),
}

const fn row(id: &'static str, expect: Defence, steps: &'static [&'static str]) -> Row {
    Row {
        id,
        expect,
        act: Act::Sql(steps),
        since: 15,
        modes: &Mode::ALL,
        alone: false,
        inert: None,
    }
}

const fn wire(
    id: &'static str,
    expect: Defence,
    what: &'static str,
    act: fn(&Scene<'_>) -> Vec<Reply>,
) -> Row {
    Row {
        act: Act::Wire(what, act),
        modes: &[Mode::Text],
        alone: true,
        ..row(id, expect, &[])
    }
}

impl Row {
    const fn since(mut self, version: u32) -> Self {
        self.since = version;
        self
    }
    const fn simple(mut self) -> Self {
        self.modes = &[Mode::Simple];
        self
    }
    const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
    const fn inert(mut self, why: &'static str) -> Self {
        self.inert = Some(why);
        self
    }

    fn what(&self) -> String {
        let what = match self.act {
            Act::Sql(steps) => steps.join(" ; "),
            Act::Wire(what, _) => format!("({what})"),
        };
        match self.inert {
            Some(why) => format!("{what} [{why}]"),
            None => what,
        }
    }
}

fn rows() -> impl Iterator<Item = &'static Row> {
    [
        projection::ROWS,
        computing::ROWS,
        channels::ROWS,
        oracles::ROWS,
        protocol::ROWS,
        places::ROWS,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn every_known_way_is_tried() {
    let mut tries: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows() {
        *tries.entry(row.id).or_default() += 1;
    }
    let known = KNOWN
        .iter()
        .flat_map(|(part, numbers)| numbers.clone().map(move |n| format!("{part}{n}")));
    let known: Vec<String> = known.collect();
    assert_eq!(known.len(), 60);
    for id in &known {
        assert!(
            tries.get(id.as_str()).is_some_and(|n| *n >= 2),
            "{id}: {tries:?}"
        );
    }
    assert_eq!(tries.len(), known.len(), "{tries:?}");
}

#[test]
fn nothing_leaks_from_postgres_15() {
    none_leaks(Server::Installed);
}

#[test]
fn nothing_leaks_from_postgres_18() {
    if weir_tests::paths::postgres18().is_none() {
        return crate::shop::not_installed("PostgreSQL 18");
    }
    none_leaks(Server::Eighteen);
}

fn none_leaks(server: Server) {
    let vaults = Vaults::start(&format!("bypasses-{server:?}"), server, true);
    let only = std::env::var("WEIR_BYPASS").ok();
    let mut table = String::new();
    let mut wrong = Vec::new();
    let started = std::time::Instant::now();
    let mut counts: BTreeMap<Defence, usize> = BTreeMap::new();
    let mut run = run::Run::new(&vaults);
    let mut variant: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows() {
        let variant = variant.entry(row.id).or_default();
        *variant += 1;
        let name = format!("{}.{variant}", row.id);
        let chosen = |o: &String| o.split(',').any(|o| name == o || row.id == o);
        if row.since > vaults.version || !only.as_ref().is_none_or(chosen) {
            continue;
        }
        let tried = run.row(row);
        for (mode, defence) in &tried.met {
            *counts.entry(*defence).or_default() += 1;
            table.push_str(&format!(
                "{name:8} pg{} {:7} {:22} {}\n",
                vaults.version,
                mode.name(),
                defence.name(),
                row.what()
            ));
        }
        wrong.extend(
            tried
                .wrong
                .into_iter()
                .map(|w| format!("{name} {w}\n    {}", row.what())),
        );
    }
    let file = weir_tests::paths::scratch().join(format!("bypasses-pg{}.txt", vaults.version));
    std::fs::write(&file, &table).unwrap();
    let counts: Vec<String> = counts
        .iter()
        .map(|(d, n)| format!("{} {n}", d.name()))
        .collect();
    println!(
        "{table}\nPostgreSQL {}, {} s: {}; the table is in {}",
        vaults.version,
        started.elapsed().as_secs(),
        counts.join(", "),
        file.display()
    );
    assert!(
        wrong.is_empty(),
        "{} of them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
