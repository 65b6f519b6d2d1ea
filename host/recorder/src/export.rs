//! The forms in which a session is replayed: text, JSON lines, and asciicast for players of terminals.
//!
//! asciicast (<https://docs.asciinema.org/manual/asciicast/v2/>, `/v3/`): what is replayed is the same text, at
//! the times at which it happened, with a marker at every action to jump to. A session of SSH is replayed as its
//! terminal instead: see [`crate::cast`].

use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::cast::{Cast, CastEvent};
use crate::keys::{parse_timestamp, timestamp};
use crate::record::{Kind, Record};

/// The size of the terminal that players are told of.
const COLUMNS: u32 = 120;
const ROWS: u32 = 36;

/// How a session is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplayFormat {
    #[default]
    Text,
    /// One JSON object for each record.
    JsonLines,
    /// asciicast v2: times since the beginning.
    Asciicast2,
    /// asciicast v3: times since the event before.
    Asciicast3,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a format: give text, jsonl, asciicast-v2 or asciicast-v3")]
pub struct FormatError(String);

impl FromStr for ReplayFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        Ok(match text {
            "text" => Self::Text,
            "jsonl" => Self::JsonLines,
            "asciicast-v2" => Self::Asciicast2,
            "asciicast-v3" => Self::Asciicast3,
            _ => return Err(FormatError(text.to_owned())),
        })
    }
}

/// A moment of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long after its start.
    After(Duration),
    /// Nanoseconds since 1970.
    At(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: give seconds after the start, such as +90, or 2026-11-20T12:34:56Z")]
pub struct MomentError(String);

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let wrong = || MomentError(text.to_owned());
        match text.strip_prefix('+') {
            Some(seconds) => {
                let plain = seconds.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                let seconds = seconds.parse::<f64>().ok().filter(|_| plain);
                let after = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
                after.map(Self::After).ok_or_else(wrong)
            }
            None => parse_timestamp(text).map(Self::At).ok_or_else(wrong),
        }
    }
}

impl Moment {
    fn ns(self, start_ns: u64) -> u64 {
        match self {
            Self::At(ns) => ns,
            Self::After(time) => {
                start_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// What of a session is replayed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayOptions {
    pub format: ReplayFormat,
    /// What is before it is left out, but for the session's start.
    pub from: Option<Moment>,
    /// What is after it is left out.
    pub to: Option<Moment>,
    /// Of a session of SSH, as asciicast: the action whose terminal is played. None: the first that shows anything.
    pub action: Option<u64>,
    /// Of a session of SSH, as asciicast: what was shown before `from`, and its markers, are shown at once, so that
    /// the screen is as it was then.
    pub catches_up: bool,
}

/// Events that wait until the size of the terminal is known, and bytes of what was typed by then. Beyond that, the
/// size is told later.
const MAX_EARLY: usize = 4_096;
const MAX_EARLY_BYTES: usize = 1 << 20;

/// Writes a replay in its format.
pub struct Export<'a> {
    options: &'a ReplayOptions,
    session: Uuid,
    out: &'a mut (dyn Write + Send),
    /// When the session began, and when what is replayed does.
    start_ns: u64,
    begins_ns: u64,
    /// The time of the last event, of which none goes back.
    last_ns: u64,
    cast: Cast,
    /// The header is written before the first event, when the size of the terminal is known.
    headed: bool,
    early: Vec<(u64, CastEvent)>,
    early_bytes: usize,
}

impl<'a> Export<'a> {
    pub fn new(options: &'a ReplayOptions, session: Uuid, out: &'a mut (dyn Write + Send)) -> Self {
        Self {
            options,
            session,
            out,
            start_ns: 0,
            begins_ns: 0,
            last_ns: 0,
            cast: Cast::of(options.action),
            headed: false,
            early: Vec::new(),
            early_bytes: 0,
        }
    }

    /// One record, and how it reads as text.
    pub fn record(&mut self, r: &Record<'_>, text: &[u8]) -> io::Result<()> {
        let plays = self.plays();
        // What is before the part that is wanted says how large the terminal is.
        let mut events = Vec::new();
        if plays {
            self.cast.record(r, &mut |event| events.push(event));
        }
        if r.index == 0 {
            self.begin(r.ts_ns);
        } else if !self.is_wanted(r.ts_ns) {
            let is_before = self
                .options
                .from
                .is_some_and(|m| r.ts_ns < m.ns(self.start_ns));
            if !(plays && self.cast.is_ssh() && self.options.catches_up && is_before) {
                return Ok(());
            }
            // What was held or refused before is said at the end.
            let keeps =
                |event: &CastEvent| !matches!(event, CastEvent::Input(..) | CastEvent::Exit(_));
            events.retain(keeps);
        }
        if plays && self.cast.is_ssh() {
            return events
                .into_iter()
                .try_for_each(|event| self.play(r.ts_ns, event));
        }
        match self.options.format {
            ReplayFormat::Text => self.out.write_all(text),
            ReplayFormat::JsonLines => self.line(&document(r, text)),
            ReplayFormat::Asciicast2 | ReplayFormat::Asciicast3 => {
                if let (Some(Kind::Intent | Kind::Refused), Some((seq, _))) =
                    (r.known(), r.action())
                {
                    self.event(r.ts_ns, "m", &format!("#{seq}"))?;
                }
                if let (Some(Kind::Held), Some((seq, _))) = (r.known(), r.action()) {
                    self.event(r.ts_ns, "m", &format!("#{seq} held"))?;
                }
                self.event(r.ts_ns, "o", &terminal(text))
            }
        }
    }

    /// What the header stands before is known when something is shown; until then events wait.
    fn play(&mut self, ns: u64, event: CastEvent) -> io::Result<()> {
        if self.headed {
            return self.played(ns, event);
        }
        match &event {
            // It is the size that the header has.
            CastEvent::Resize(..) => return Ok(()),
            CastEvent::Output(_) => {
                self.start()?;
                return self.played(ns, event);
            }
            CastEvent::Input(_, text) => self.early_bytes += text.len(),
            CastEvent::Marker(_) | CastEvent::Exit(_) => {}
        }
        self.early.push((ns, event));
        if self.early.len() > MAX_EARLY || self.early_bytes > MAX_EARLY_BYTES {
            self.start()?;
        }
        Ok(())
    }

    /// The header, and what waited for it.
    fn start(&mut self) -> io::Result<()> {
        self.head()?;
        for (ns, event) in std::mem::take(&mut self.early) {
            match &event {
                CastEvent::Input(seq, _) if !self.cast.plays(*seq) => {}
                _ => self.played(ns, event)?,
            }
        }
        Ok(())
    }

    fn played(&mut self, ns: u64, event: CastEvent) -> io::Result<()> {
        match event {
            CastEvent::Output(text) => self.event(ns, "o", &text),
            CastEvent::Input(_, text) => self.event(ns, "i", &text),
            CastEvent::Marker(text) => self.event(ns, "m", &text),
            CastEvent::Resize(columns, rows) => self.event(ns, "r", &format!("{columns}x{rows}")),
            CastEvent::Exit(code) if self.options.format == ReplayFormat::Asciicast3 => {
                self.event(ns, "x", &code.to_string())
            }
            CastEvent::Exit(code) => self.event(ns, "m", &format!("exit {code}")),
        }
    }

    /// What is said at the end.
    pub fn end(&mut self, text: &[u8]) -> io::Result<()> {
        let mut events = Vec::new();
        if self.cast.is_ssh() && self.is_wanted(self.last_ns) {
            self.cast.finish(&mut |event| events.push(event));
        }
        for event in events {
            self.play(self.last_ns, event)?;
        }
        self.start()?;
        if text.is_empty() || self.cast.is_ssh() {
            return Ok(());
        }
        match self.options.format {
            ReplayFormat::Text => self.out.write_all(text),
            ReplayFormat::JsonLines => self.line(&json!({ "kind": "note", "lines": lines(text) })),
            ReplayFormat::Asciicast2 | ReplayFormat::Asciicast3 => {
                self.event(self.last_ns, "o", &terminal(text))
            }
        }
    }

    fn plays(&self) -> bool {
        let format = self.options.format;
        matches!(format, ReplayFormat::Asciicast2 | ReplayFormat::Asciicast3)
    }

    fn is_wanted(&self, ns: u64) -> bool {
        let from = self.options.from.is_none_or(|m| m.ns(self.start_ns) <= ns);
        from && self.options.to.is_none_or(|m| ns <= m.ns(self.start_ns))
    }

    fn begin(&mut self, ns: u64) {
        self.start_ns = ns;
        self.begins_ns = self.options.from.map_or(ns, |m| m.ns(ns)).max(ns);
        self.last_ns = self.begins_ns;
    }

    /// The header of an asciicast, once.
    fn head(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.headed, true) {
            return Ok(());
        }
        let (columns, rows) = match self.cast.is_ssh() {
            true => self.cast.size(),
            false => (COLUMNS, ROWS),
        };
        let timestamp = self.begins_ns / 1_000_000_000;
        let title = format!("Weir session {}", self.session);
        match self.options.format {
            ReplayFormat::Text | ReplayFormat::JsonLines => Ok(()),
            ReplayFormat::Asciicast2 => self.line(&json!({
                "version": 2, "width": columns, "height": rows, "timestamp": timestamp, "title": title,
            })),
            ReplayFormat::Asciicast3 => self.line(&json!({
                "version": 3, "term": { "cols": columns, "rows": rows }, "timestamp": timestamp, "title": title,
            })),
        }
    }

    fn event(&mut self, ns: u64, code: &str, data: &str) -> io::Result<()> {
        self.head()?;
        if data.is_empty() {
            return Ok(());
        }
        let ns = ns.max(self.last_ns);
        let since = match self.options.format {
            ReplayFormat::Asciicast3 => self.last_ns,
            _ => self.begins_ns,
        };
        self.last_ns = ns;
        // In microseconds, which a number of JSON holds exactly for centuries.
        let seconds = (ns - since) as f64 / 1e9;
        let seconds = (seconds * 1e6).round() / 1e6;
        self.line(&json!([seconds, code, data]))
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut *self.out, value)?;
        self.out.write_all(b"\n")
    }
}

/// A terminal does not go back to the first column by itself.
fn terminal(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('\n', "\r\n")
}

pub(crate) fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .map(|line| line.trim_start().to_owned())
        .collect()
}

/// A record as JSON: its document as it was recorded, or what its bytes say.
pub(crate) fn document(r: &Record<'_>, text: &[u8]) -> Value {
    let (seq, body) = match r.action() {
        Some((seq, body)) => (Some(seq), body),
        None => (None, r.payload),
    };
    let kind = match r.known() {
        Some(Kind::SessionStart) => "start",
        Some(Kind::Intent) => "intent",
        Some(Kind::Refused) => "refused",
        Some(Kind::Held) => "held",
        Some(Kind::Outcome) => "outcome",
        Some(Kind::ToClient) => "to_client",
        Some(Kind::ToUpstream) => "to_upstream",
        Some(Kind::SessionEnd) => "end",
        Some(Kind::Gap) => "gap",
        Some(Kind::ControlStart | Kind::Control | Kind::Sealed | Kind::Carry | Kind::Erasure)
        | None => "unknown",
    };
    let mut out = serde_json::Map::new();
    out.insert("record".into(), r.index.into());
    out.insert("time".into(), timestamp(r.ts_ns).into());
    out.insert("kind".into(), kind.into());
    out.extend(seq.map(|seq| ("seq".into(), seq.into())));
    let is_bytes = r.known().is_some_and(Kind::is_bytes);
    match serde_json::from_slice::<Value>(body) {
        Ok(mut doc) if !is_bytes => {
            // The stream's wrapped key: who erases the session must not have to look for copies of it.
            if let (Some(Kind::SessionStart), Some(start)) = (r.known(), doc.as_object_mut()) {
                start.remove("key");
            }
            out.insert(kind.into(), doc)
        }
        _ => out.insert("lines".into(), lines(text).into()),
    };
    out.into()
}
