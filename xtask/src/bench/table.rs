//! A table of measures, in markdown.

use std::fmt::Write as _;

/// What BARS asks for.
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    Report,
}

/// Cells, lined up when printed. The last of the peers is Weir.
pub struct Table {
    peers: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(peers: &'static [&'static str]) -> Self {
        Self {
            peers,
            rows: Vec::new(),
        }
    }

    pub fn line<const N: usize>(
        &mut self,
        what: &str,
        values: [Option<f64>; N],
        ratio: Option<f64>,
        goal: &Goal,
    ) {
        let (shown, met) = match goal {
            Goal::AtMost(max) => (format!("≤ {max}×"), ratio.map(|r| r <= *max)),
            Goal::AtLeast(min) => (format!("≥ {min}×"), ratio.map(|r| r >= *min)),
            Goal::Report => ("report".into(), None),
        };
        let verdict = match (met, goal, values.as_slice()) {
            (Some(true), ..) => "met",
            (Some(false), ..) => "missed",
            (None, Goal::Report, [.., Some(_)]) => "measured",
            (None, _, [.., Some(_)]) => "no clear ratio",
            _ => "not yet",
        };
        let ratio = ratio.map(|r| format!("{r:.2}×")).unwrap_or_default();
        let cells = values.map(|v| v.map(number).unwrap_or_default());
        self.push(what, &cells, ratio, shown, verdict);
    }

    /// What is at hand stands under the last of the peers.
    fn push(&mut self, what: &str, cells: &[String], ratio: String, goal: String, verdict: &str) {
        let mut row = vec![what.to_owned()];
        let missing = self.peers.len().saturating_sub(cells.len());
        row.extend(std::iter::repeat_n(String::new(), missing));
        row.extend(cells.iter().cloned());
        row.extend([ratio, goal, verdict.to_owned()]);
        self.rows.push(row);
    }

    pub fn absolute(&mut self, what: &str, value: Option<f64>, max: f64) {
        let verdict = match value {
            Some(v) if v <= max => "met",
            Some(_) => "missed",
            None => "not yet",
        };
        let value = value.map(number).unwrap_or_default();
        self.push(what, &[value], String::new(), format!("≤ {max}"), verdict);
    }

    /// Figures of all peers, and something that follows from them which is no ratio.
    pub fn judged<const N: usize>(
        &mut self,
        what: &str,
        values: [Option<f64>; N],
        figure: &str,
        goal: &str,
        met: Option<bool>,
    ) {
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "measured",
        };
        let cells = values.map(|v| v.map(number).unwrap_or_default());
        self.push(what, &cells, figure.to_owned(), goal.to_owned(), verdict);
    }

    pub fn note(&mut self, what: &str, note: &str, goal: &str) {
        self.said(what, note, goal, "missed");
    }

    /// What is no figure, in words.
    pub fn said(&mut self, what: &str, note: &str, goal: &str, verdict: &str) {
        self.push(
            what,
            &[note.to_owned()],
            String::new(),
            goal.to_owned(),
            verdict,
        );
    }

    pub fn later(&mut self, what: &str, goal: &str) {
        self.push(what, &[], String::new(), goal.to_owned(), "not yet");
    }

    pub fn text(&self) -> String {
        let head = ["measure"].iter().chain(self.peers);
        let head = head.chain(&["ratio", "goal", "verdict"]);
        let mut all = vec![head.map(|name| (*name).to_owned()).collect()];
        all.extend(self.rows.iter().cloned());
        let mut width = vec![0; self.peers.len() + 4];
        for row in &all {
            for (width, cell) in width.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for (i, row) in all.iter().enumerate() {
            for (cell, width) in row.iter().zip(&width) {
                let pad = " ".repeat(width - cell.chars().count());
                let _ = write!(text, "| {cell}{pad} ");
            }
            text.push_str("|\n");
            if i == 0 {
                for width in &width {
                    let _ = write!(text, "|{}", "-".repeat(width + 2));
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
