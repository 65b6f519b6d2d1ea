//! Non-interference: two databases that differ in nothing but their labelled values are asked the
//! same, and what a client gets from both must be the same bytes. And the other half of it: who
//! computes with unlabelled columns only, must not notice that there are labels.
//!
//! What may be seen of labelled columns, and so is the same in both vaults: where they are NULL, and
//! how much room they take (a table's size, where in it a row lies, what the planner makes of that).
//!
//! `WEIR_NONINTERFERENCE=<count>` asks more generated queries, `WEIR_NONINTERFERENCE_SEED=<n>` others;
//! `cargo xtask noninterference` sets both.

mod expression;
mod generate;
mod tables;
mod tally;

use weir_tests::postgres::Server;
use weir_tests::wire::{Client, Reply};

use crate::vaults::{BARE, DATABASE, Mode, Vaults, ask};
use generate::Generator;
use tally::{Outcome, Tally};

/// Written by hand: one session a line, its statements separated by `;;`.
const CORPUS: &str = include_str!("corpus.sql");
/// What people ask who have no business with labelled columns.
const ORDINARY: &str = include_str!("ordinary.sql");
/// Views with a column of which others can tell by an error what is labelled, if the server computes it.
/// What shows a whole database would fail for them, so they are only here.
const HALVES: &str = "SET ROLE weir;
    CREATE VIEW public.halves AS
        SELECT id, name, city, 1 / (salary % 2) AS half, ssn FROM public.people;
    CREATE VIEW public.some_halves AS SELECT id, city FROM public.halves LIMIT 100;";
/// Generated queries, unless more are asked for.
const GENERATED: usize = 2_000;
/// Generated queries on unlabelled columns only.
const CLEAN: usize = 400;
const SEED: u64 = 18;
/// Percent of ordinary queries that may come back otherwise. To be lowered, never to be raised.
const FALSE_POSITIVES: f64 = 0.5;
/// Differences that are shown in full.
const SHOWN: usize = 20;

#[test]
fn labelled_values_change_no_byte_on_postgres_15() {
    non_interference(Server::Installed);
}

#[test]
fn labelled_values_change_no_byte_on_postgres_18() {
    if weir_tests::paths::postgres18().is_none() {
        return crate::shop::not_installed("PostgreSQL 18");
    }
    non_interference(Server::Eighteen);
}

fn start(name: &str, server: Server) -> Vaults {
    let vaults = Vaults::start(name, server, false);
    for side in &vaults.sides {
        for database in [DATABASE, BARE] {
            side.cluster.sql(database, HALVES).unwrap();
        }
    }
    vaults
}

fn non_interference(server: Server) {
    let vaults = start(&format!("noninterference-{server:?}"), server);
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seed = number("WEIR_NONINTERFERENCE_SEED").unwrap_or(SEED);
    let generated = number("WEIR_NONINTERFERENCE").map_or(GENERATED, |n| n as usize);

    let mut tally = Tally::default();
    // Lines with `?:` are known to tell the vaults apart: reported, and no failure.
    let mut opened = Tally::default();
    let mut pair = Pair::new(&vaults);
    for (i, line) in lines(CORPUS, vaults.version).enumerate() {
        let (line, open) = match line.strip_prefix("?: ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let session: Vec<String> = line.split(";;").map(|s| s.trim().to_owned()).collect();
        for mode in Mode::ALL {
            pair.ask(
                &session,
                mode,
                &format!("corpus {}", i + 1),
                if open { &mut opened } else { &mut tally },
            );
        }
    }
    let by_hand = tally.asked;
    let mut generator = Generator::new(seed, vaults.version);
    for i in 0..generated {
        let (session, mode) = generator.session();
        pair.ask(
            &session,
            mode,
            &format!("seed {seed}, query {i}"),
            &mut tally,
        );
    }
    println!(
        "PostgreSQL {}: {by_hand} written and {generated} generated (seed {seed}): {tally}. Known: {opened}",
        vaults.version
    );
    let file =
        weir_tests::paths::scratch().join(format!("noninterference-pg{}.txt", vaults.version));
    std::fs::write(&file, tally.different.join("\n")).unwrap();
    assert!(
        tally.asked >= 2_000 || generated < GENERATED,
        "{}",
        tally.asked
    );
    // A test of refusals only would prove nothing.
    assert!(tally.count(Outcome::Masked) * 20 > tally.asked, "{tally}");
    assert!(tally.count(Outcome::Shown) * 20 > tally.asked, "{tally}");
    let different = &tally.different;
    assert!(
        different.is_empty(),
        "{} of them tell the vaults apart, all of them in {}:\n{}",
        different.len(),
        file.display(),
        different[..different.len().min(SHOWN)].join("\n")
    );
}

/// False positives: what is refused or masked although nothing labelled is in it.
#[test]
fn ordinary_queries_notice_nothing() {
    let vaults = start("ordinary", Server::Installed);
    let side = &vaults.sides[0];
    let mut through = side.connect();
    let mut past = side.direct();
    let mut wrong = Vec::new();
    let mut asked = 0;
    let mut compare = |session: &[String], mode: Mode| {
        asked += 1;
        let got = answers(&mut through, session, mode);
        let plain = answers(&mut past, session, mode);
        if vaults.stream(&got) != vaults.stream(&plain) {
            wrong.push(format!(
                "{} {}\n{}",
                mode.name(),
                session.join(" ;; "),
                tally::both(&vaults.stream(&got), &vaults.stream(&plain))
            ));
        }
    };
    for line in lines(ORDINARY, vaults.version) {
        let session: Vec<String> = line.split(";;").map(|s| s.trim().to_owned()).collect();
        for mode in Mode::ALL {
            compare(&session, mode);
        }
    }
    let mut generator = Generator::new(SEED, vaults.version).clean();
    for _ in 0..CLEAN {
        let (session, mode) = generator.session();
        compare(&session, mode);
    }
    let rate = wrong.len() as f64 * 100.0 / asked as f64;
    println!(
        "{} of {asked} ordinary queries come back otherwise than past Weir: {rate:.2} %",
        wrong.len()
    );
    let file = weir_tests::paths::scratch().join("ordinary.txt");
    std::fs::write(&file, wrong.join("\n")).unwrap();
    assert!(
        rate <= FALSE_POSITIVES,
        "{rate:.2} %, see {}",
        file.display()
    );
}

/// Lines of a corpus that this server understands: `18: …` needs that version.
fn lines(corpus: &str, version: u32) -> impl Iterator<Item = &str> {
    let lines = corpus
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("--"));
    lines.filter_map(move |line| match line.split_once(": ") {
        Some((since, rest)) if since.parse().is_ok_and(|s: u32| s >= 15) => {
            (since.parse().is_ok_and(|s: u32| s <= version)).then_some(rest)
        }
        _ => Some(line),
    })
}

fn answers(client: &mut Client, session: &[String], mode: Mode) -> Vec<Reply> {
    session.iter().map(|sql| ask(client, mode, sql)).collect()
}

/// One connection through Weir to each vault, and one past it to the first.
struct Pair<'a> {
    vaults: &'a Vaults,
    clients: [Client; 2],
    direct: Client,
}

impl<'a> Pair<'a> {
    fn new(vaults: &'a Vaults) -> Self {
        Self {
            vaults,
            clients: vaults.sides.each_ref().map(crate::vaults::Side::connect),
            direct: vaults.sides[0].direct(),
        }
    }

    fn ask(&mut self, session: &[String], mode: Mode, name: &str, tally: &mut Tally) {
        let [a, b] = &mut self.clients;
        let (a, b) = std::thread::scope(|scope| {
            let b = scope.spawn(|| answers(b, session, mode));
            (answers(a, session, mode), b.join().unwrap())
        });
        let end = a.last().map_or(b'I', |r| r.status);
        let what = format!("{name}, {}: {}", mode.name(), session.join(" ;; "));
        let same = tally.compare(&what, &a, &b, self.vaults);
        let plain = answers(&mut self.direct, session, mode);
        tally.outcome(&a, &plain, self.vaults);
        let open = plain.last().is_some_and(|r| r.status != b'I');
        if open {
            self.direct.query("ROLLBACK").unwrap();
        }
        if !same || end != b'I' {
            // What differs once would differ again and again.
            self.clients = self
                .vaults
                .sides
                .each_ref()
                .map(crate::vaults::Side::connect);
        }
    }
}
