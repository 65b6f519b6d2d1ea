//! Medians, and the table.

use std::collections::BTreeMap;

use super::Effort;
use super::bulk::{Idle, Transfer};
use super::pgbench::Run;
use super::table::{Goal, Table};

/// What was measured, by peer and measure; one value per round.
#[derive(Debug, Default)]
pub struct Report {
    values: BTreeMap<(String, String), Vec<f64>>,
    idle: Option<Idle>,
    huge: Option<Result<f64, String>>,
    /// Microseconds of a decision, cold and repeated.
    decision: Option<[f64; 2]>,
}

/// As many idle sessions as BARS weighs.
pub const IDLE_OF_BARS: usize = 10_000;

/// The row's name says how far its figure is from what BARS asks for.
fn of_how_many(idle: Idle) -> String {
    let what = format!("memory of an idle session, KB ({} of them", idle.sessions);
    if idle.sessions >= IDLE_OF_BARS {
        return what + ")";
    }
    let why = idle.limit.map_or(String::new(), |limit| {
        format!("; {limit} allowed no more here")
    });
    format!("{what}, not {IDLE_OF_BARS}{why})")
}

impl Report {
    fn add(&mut self, peer: &str, measure: String, value: f64) {
        self.values
            .entry((peer.to_owned(), measure))
            .or_default()
            .push(value);
    }

    pub fn statements(&mut self, peer: &str, mode: &str, clients: u32, run: &Run) {
        self.add(peer, format!("{mode} {clients} tps"), run.tps);
        self.add(peer, format!("{mode} {clients} p50"), run.p50);
        self.add(peer, format!("{mode} {clients} p99"), run.p99);
        if let Some(cpu) = run.cpu {
            self.add(peer, format!("{mode} {clients} cpu"), cpu);
        }
    }

    pub fn connections(&mut self, peer: &str, per_second: f64) {
        self.add(peer, "connections".into(), per_second);
    }

    pub fn rows(&mut self, peer: &str, what: &str, transfer: Transfer) {
        self.add(peer, format!("rows {what}"), transfer.rows_per_second);
        if let Some(cpu) = transfer.cpu {
            self.add(peer, format!("rows {what} cpu"), cpu);
        }
    }

    pub fn idle(&mut self, idle: Idle) {
        self.idle = Some(idle);
    }

    pub fn decision(&mut self, microseconds: [f64; 2]) {
        self.decision = Some(microseconds);
    }

    pub fn huge(&mut self, growth: Result<f64, String>) {
        self.huge = Some(growth);
    }

    fn median(&self, peer: &str, measure: &str) -> Option<f64> {
        let values = self.values.get(&(peer.to_owned(), measure.to_owned()));
        median(values?.clone())
    }

    /// The table of BARS, in markdown.
    pub fn table(&self, effort: Effort, quick: bool) -> String {
        let mut t = Table::new(&["direct", "pgbouncer", "weir"]);
        for way in WAYS {
            self.transactions(&mut t, way);
        }
        self.bulk(&mut t);
        self.row(
            &mut t,
            &Row {
                peer: "weir",
                what: "connections/s, token against direct SCRAM".into(),
                measure: "connections".into(),
                against: "direct",
                goal: Goal::AtLeast(1.0),
            },
        );
        self.memory(&mut t);
        let [cold, repeated] = self.decision.map_or([None; 2], |d| d.map(Some));
        let what = "statement decision, cold, in-process, µs";
        t.absolute(what, cold, 50.0);
        // Its analysis is found by the text.
        let what = "statement decision, repeated (classifiers and policy), in-process, µs";
        t.absolute(what, repeated, 1.0);
        t.later(
            "PostgreSQL's regression suite: see `cargo xtask regress`",
            "217 of 217",
        );

        let mut text = format!(
            "PostgreSQL: medians of {} rounds; peers take turns; TLS, recording, policy and \
             plugins are on\n",
            effort.rounds
        );
        if quick || effort.rounds < 5 {
            text.push_str("A SHORT RUN: too few rounds to quote.\n");
        }
        text.push('\n');
        text.push_str(&t.text());
        text
    }

    fn transactions(&self, t: &mut Table, (peer, note): (&'static str, &str)) {
        for mode in ["simple", "prepared"] {
            let goal = if mode == "simple" { 1.15 } else { 1.05 };
            self.added(t, (peer, note), mode, "p50", goal);
            self.added(t, (peer, note), mode, "p99", 1.2);
        }
        let mut row = |mode, clients, what: &str, unit, measure, goal| {
            let row = Row {
                peer,
                what: format!("{what}, {mode}, {clients} clients{unit}{note}"),
                measure: format!("{mode} {clients} {measure}"),
                against: "pgbouncer",
                goal,
            };
            self.row(t, &row);
        };
        for mode in ["simple", "prepared"] {
            for clients in [1, 8, 32] {
                let goal = Goal::AtMost(1.0);
                row(mode, clients, "CPU per transaction", ", µs", "cpu", goal);
            }
        }
        for mode in ["simple", "prepared"] {
            for clients in [8, 32] {
                let goal = Goal::AtLeast(1.0);
                row(mode, clients, "transactions/s", "", "tps", goal);
            }
        }
    }

    /// What a peer adds to the direct way, as a multiple of what pgbouncer adds.
    fn added(
        &self,
        t: &mut Table,
        (peer, note): (&'static str, &str),
        mode: &str,
        which: &str,
        goal: f64,
    ) {
        let measure = format!("{mode} 1 {which}");
        let direct = self.median("direct", &measure);
        let bouncer = self.median("pgbouncer", &measure);
        let weir = self.median(peer, &measure);
        let ratio = match (direct, bouncer, weir) {
            // Less than nothing added is noise, and so is any multiple of it.
            (Some(d), Some(b), Some(w)) if b > d => Some((w - d) / (b - d)),
            _ => None,
        };
        let what = format!("{which}, {mode}, 1 client, µs (ratio of what is added){note}");
        t.line(&what, [direct, bouncer, weir], ratio, &Goal::AtMost(goal));
    }

    fn row(&self, t: &mut Table, row: &Row) {
        let of = |peer| self.median(peer, &row.measure);
        let values = [of("direct"), of("pgbouncer"), of(row.peer)];
        let ratio = of(row.peer).zip(of(row.against)).map(|(w, a)| w / a);
        t.line(&row.what, values, ratio, &row.goal);
    }

    fn bulk(&self, t: &mut Table) {
        let of = |peer, measure: &str| self.median(peer, measure);
        let (direct, bouncer) = (
            of("direct", "rows unmasked"),
            of("pgbouncer", "rows unmasked"),
        );
        let plain = of("weir", "rows unmasked");
        let over = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let what = "rows/s, 8 columns, nothing masked, against direct";
        t.line(
            what,
            [direct, bouncer, plain],
            over(plain, direct),
            &Goal::AtLeast(0.95),
        );
        let cpu_b = of("pgbouncer", "rows unmasked cpu");
        let cpu = of("weir", "rows unmasked cpu");
        let what = "CPU per row, nothing masked, ns";
        t.line(
            what,
            [None, cpu_b, cpu],
            over(cpu, cpu_b),
            &Goal::AtMost(0.5),
        );
        let masked = of("weir", "rows masked");
        let what = "rows/s, 2 of 8 columns masked, against unmasked";
        t.line(
            what,
            [None, None, masked],
            over(masked, plain),
            &Goal::AtLeast(0.95),
        );
        let cpu_m = of("weir", "rows masked cpu");
        let what = "CPU per row, 2 of 8 columns masked, ns";
        t.line(
            what,
            [None, cpu_b, cpu_m],
            over(cpu_m, cpu_b),
            &Goal::AtMost(0.7),
        );
        let without = of("weir", "rows without text cpu");
        for (rows, cpu, what) in [
            ("rows detect", "rows detect cpu", "by the host's detectors"),
            ("rows inspect", "rows inspect cpu", "by a plugin"),
        ] {
            t.line(
                &format!("rows/s, 6 columns, 2 text columns looked at {what}"),
                [None, None, of("weir", rows)],
                None,
                &Goal::Report,
            );
            let each = of("weir", cpu)
                .zip(without)
                .map(|(i, plain)| (i - plain) / 2.0);
            t.line(
                &format!("CPU per value looked at {what}, all that it costs, ns"),
                [None, None, each],
                None,
                &Goal::Report,
            );
        }
    }

    fn memory(&self, t: &mut Table) {
        match self.idle {
            Some(idle) => t.absolute(&of_how_many(idle), Some(idle.kilobytes), 32.0),
            None => t.later("memory of an idle session, KB", "≤ 32"),
        }
        let what = "memory growth while a field of 1 GB passes, MB";
        match &self.huge {
            Some(Ok(growth)) => t.absolute(what, Some(*growth), 64.0),
            Some(Err(why)) => t.note(what, why, "≤ 64"),
            None => t.later(what, "≤ 64"),
        }
    }
}

/// Weir with the default bundle, and with one that does not wait for the disk before reads.
const WAYS: [(&str, &str); 2] = [("weir", ""), ("weir-os", "; reads = \"os\"")];

struct Row {
    peer: &'static str,
    what: String,
    measure: String,
    against: &'static str,
    goal: Goal,
}

/// None of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(middle).copied(),
        _ => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_what_is_added() {
        let mut report = Report::default();
        for (peer, p50) in [("direct", 100.0), ("pgbouncer", 120.0), ("weir", 130.0)] {
            report.add(peer, "simple 1 p50".into(), p50);
        }
        let effort = Effort {
            rounds: 5,
            seconds: 1,
            rows: 1,
            idle: 1,
        };
        let table = report.table(effort, false);
        let line = table
            .lines()
            .find(|l| l.starts_with("| p50, simple"))
            .unwrap();
        assert!(line.contains("1.50×") && line.contains("missed"), "{line}");
        assert!(table.lines().filter(|l| l.contains("not yet")).count() > 10);
    }

    #[test]
    fn few_idle_sessions_are_not_sold_as_many() {
        let idle = |sessions, limit| Idle {
            kilobytes: 1.0,
            sessions,
            limit,
        };
        for (idle, expect) in [
            (idle(10_000, None), "(10000 of them)"),
            (
                idle(700, Some("memory")),
                "(700 of them, not 10000; memory allowed no more here)",
            ),
            (idle(100, None), "(100 of them, not 10000)"),
        ] {
            let said = of_how_many(idle);
            assert!(said.ends_with(expect), "{said}");
        }
    }

    #[test]
    fn medians() {
        let mut report = Report::default();
        assert_eq!(report.median("a", "b"), None);
        for (value, expect) in [(5.0, 5.0), (1.0, 3.0), (9.0, 5.0)] {
            report.add("a", "b".into(), value);
            assert_eq!(report.median("a", "b"), Some(expect));
        }
    }
}
