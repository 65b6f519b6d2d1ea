//! Prints the transcript of a recorded session.

use std::io::{self, Write};

use uuid::Uuid;

use crate::crypt::read::{ErasedDoc, KeyLoss};
use crate::doc::*;
use crate::erase::confirm;
use crate::export::{Export, ReplayOptions};
use crate::keys::timestamp;
use crate::objects::StoreError;
use crate::pgframes::{Frames, Writer};
use crate::record::{Kind, Record};
use crate::sshframes::Lines;
use crate::store::{ReadError, Store};
use crate::text::clean;
use crate::walk::Walk;

mod held;
mod ssh;

use held::Waiting;
use ssh::ssh_action;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the store holds no segment of session {0}")]
    NotFound(Uuid),
    #[error("segment {segment} of session {session} is missing")]
    Missing { session: Uuid, segment: u32 },
    #[error("segment {segment} of session {session} does not continue the one before")]
    Broken { session: Uuid, segment: u32 },
    #[error(
        "there are two different segments {segment} of session {session}, and nothing here says which \
         is right; weir verify tells which one is vouched for"
    )]
    TwoVersions { session: Uuid, segment: u32 },
    #[error(
        "segment {segment} of session {session} is encrypted and others are not, or it is not and the session \
         has a key: somebody has put it in the place of what was recorded; weir verify tells what is vouched for"
    )]
    NotEncrypted { session: Uuid, segment: u32 },
    #[error("session {session}: whether it is encrypted cannot be told: {why}")]
    KeyStore { session: Uuid, why: String },
    #[error(
        "session {session} was erased at {time}, asked for by {who}, as leaf {leaf} of log {log} says; nobody \
         can read it any more"
    )]
    Erased {
        session: Uuid,
        time: String,
        /// A pseudonym.
        who: String,
        log: Uuid,
        leaf: u64,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Segment(#[from] ReadError),
    #[error("writing the transcript: {0}")]
    Output(#[from] io::Error),
}

/// What was printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    pub segments: u64,
    pub records: u64,
    pub actions: u64,
    /// The session has its end; false means that it is open, or not stored to its end yet.
    pub complete: bool,
    /// What in the store was passed over, and what to think of what was not.
    pub notes: Vec<String>,
}

/// Replays `session` to `out`. All of it is read and checked, also where a part is asked for. Stops with an
/// error where the recording is missing or altered, after everything that came before.
pub async fn replay(
    store: &Store,
    session: Uuid,
    options: &ReplayOptions,
    out: &mut (dyn Write + Send),
) -> Result<ReplaySummary, ReplayError> {
    let mut notes = Vec::new();
    let summary = replay_noting(store, session, options, out, &mut notes).await?;
    Ok(ReplaySummary { notes, ..summary })
}

/// The same, with its notes in `notes`, also those of before an error.
pub async fn replay_noting(
    store: &Store,
    session: Uuid,
    options: &ReplayOptions,
    out: &mut (dyn Write + Send),
    notes: &mut Vec<String>,
) -> Result<ReplaySummary, ReplayError> {
    let mut walk = Walk::new(store, session).await?;
    let printed = print(&mut walk, session, options, out).await;
    notes.extend(walk.notes());
    printed
}

async fn print(
    walk: &mut Walk<'_>,
    session: Uuid,
    options: &ReplayOptions,
    out: &mut (dyn Write + Send),
) -> Result<ReplaySummary, ReplayError> {
    let mut printer = Printer::new();
    let mut export = Export::new(options, session, out);
    let mut text = Vec::new();
    while let Some(segment) = walk.next().await? {
        printer.summary.segments += 1;
        for record in segment.records() {
            text.clear();
            printer.record(&record, &mut text)?;
            export.record(&record, &text)?;
        }
    }
    text.clear();
    printer.finish(&mut text)?;
    export.end(&text)?;
    Ok(printer.summary)
}

impl ReplayError {
    /// It is what its key says, and nobody can read it: it was erased, or its key is not here.
    pub fn is_unreadable(&self) -> bool {
        match self {
            Self::Erased { .. } => true,
            Self::Segment(error) => matches!(error, ReadError::Opaque { .. }),
            _ => false,
        }
    }

    /// Something in the store says that it was erased, and that is not proven here.
    pub fn is_claimed(&self) -> bool {
        let Self::Segment(ReadError::Opaque { why, .. }) = self else {
            return false;
        };
        matches!(**why, KeyLoss::Claimed | KeyLoss::Unchecked(_))
    }
}

pub(crate) fn erased(session: Uuid, error: ReadError) -> ReplayError {
    let ReadError::Opaque { why, .. } = &error else {
        return error.into();
    };
    let KeyLoss::Erased(doc) = &**why else {
        return error.into();
    };
    erased_by(session, doc).unwrap_or_else(|| error.into())
}

pub(crate) fn erased_by(session: Uuid, doc: &ErasedDoc) -> Option<ReplayError> {
    let (log, leaf) = confirm::place(doc)?;
    Some(ReplayError::Erased {
        session,
        log,
        leaf,
        time: clean(&doc.time),
        who: clean(doc.who.as_deref().unwrap_or("nobody who is known")),
    })
}

/// What the recorded bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Postgres,
    Ssh,
    /// A newer Weir knows it.
    Other,
}

impl Wire {
    fn of(protocol: &str) -> Self {
        match protocol {
            "postgres" => Self::Postgres,
            "ssh" => Self::Ssh,
            _ => Self::Other,
        }
    }
}

pub(crate) struct Printer {
    summary: ReplaySummary,
    protocol: Wire,
    server: Frames,
    client: Frames,
    ssh: Lines,
    waiting: Waiting,
    /// No longer message is shown, if there is a limit.
    longest: usize,
}

impl Printer {
    pub fn new() -> Self {
        Self::up_to(usize::MAX)
    }

    /// Tells of longer messages, and does not show them.
    pub fn up_to(longest: usize) -> Self {
        Self {
            longest,
            summary: ReplaySummary::default(),
            protocol: Wire::Other,
            server: Frames::up_to(longest, Writer::Server),
            client: Frames::up_to(longest, Writer::Client),
            ssh: Lines::default(),
            waiting: Waiting::default(),
        }
    }

    /// Is it a session of SSH? Known after its first record.
    pub fn is_ssh(&self) -> bool {
        self.protocol == Wire::Ssh
    }

    /// Records are missing: what comes next continues no message.
    pub fn restart(&mut self) {
        self.server = Frames::up_to(self.longest, Writer::Server);
        self.client = Frames::up_to(self.longest, Writer::Client);
        self.ssh = Lines::default();
    }

    pub fn record(&mut self, r: &Record<'_>, out: &mut dyn Write) -> io::Result<()> {
        self.summary.records += 1;
        let at = timestamp(r.ts_ns);
        let Some(kind) = r.known() else {
            return writeln!(out, "{at}  (record of unknown kind {})", r.kind);
        };
        let (seq, body) = r.action().unwrap_or((0, r.payload));
        match kind {
            Kind::SessionStart => match parse::<StartDoc>(body) {
                Some(doc) => {
                    self.protocol = Wire::of(&doc.target.protocol);
                    start(&at, Uuid::from_u128(r.stream), &doc, out)
                }
                None => unreadable(&at, "start", out),
            },
            Kind::Held => self.waiting.held(&at, seq, body, out),
            Kind::Intent => {
                self.summary.actions += 1;
                self.waiting.decided(seq);
                match parse::<IntentDoc>(body) {
                    Some(doc) => intent(&at, seq, &doc, out),
                    None => unreadable(&at, "intent", out),
                }
            }
            Kind::Refused => {
                self.summary.actions += 1;
                self.waiting.decided(seq);
                match parse::<RefusedDoc>(body) {
                    Some(doc) => refused(&at, seq, &doc, out),
                    None => unreadable(&at, "refusal", out),
                }
            }
            Kind::Outcome => match parse::<OutcomeDoc>(body) {
                Some(doc) => outcome(&at, seq, &doc, out),
                None => unreadable(&at, "outcome", out),
            },
            Kind::ToClient | Kind::ToUpstream => self.bytes(kind, seq, body, out),
            Kind::SessionEnd => {
                self.summary.complete = true;
                self.waiting.ended(out)?;
                match parse::<EndDoc>(body) {
                    Some(doc) => writeln!(
                        out,
                        "\n{at}  end: {}{}",
                        clean(&doc.reason),
                        more(&doc.detail)
                    ),
                    None => unreadable(&at, "end", out),
                }
            }
            Kind::Gap => match parse::<GapDoc>(body) {
                Some(doc) => writeln!(out, "\n{at}  GAP: {}", clean(&doc.what)),
                None => unreadable(&at, "gap", out),
            },
            Kind::ControlStart | Kind::Control | Kind::Sealed | Kind::Carry | Kind::Erasure => {
                writeln!(out, "{at}  (a record that does not belong into a session)")
            }
        }
    }

    fn bytes(&mut self, kind: Kind, seq: u64, body: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut result = Ok(());
        let mut line = |line: String| {
            if result.is_ok() {
                result = writeln!(out, "  #{seq} {line}");
            }
        };
        match self.protocol {
            Wire::Postgres => {}
            Wire::Ssh => {
                self.ssh.feed(seq, kind == Kind::ToClient, body, &mut line);
                return result;
            }
            Wire::Other => {
                line(clean(&String::from_utf8_lossy(body)));
                return result;
            }
        }
        let frames = if kind == Kind::ToClient {
            &mut self.server
        } else {
            &mut self.client
        };
        frames.feed(seq, body, &mut line);
        result
    }

    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.rest(out)?;
        if !self.summary.complete {
            writeln!(
                out,
                "\n(no end: the session is open, or not stored to its end yet)"
            )?;
        }
        Ok(())
    }

    /// What is left over of messages.
    pub fn rest(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let mut result = Ok(());
        let mut line = |line: String| {
            if result.is_ok() {
                result = writeln!(out, "  {line}");
            }
        };
        for frames in [&mut self.server, &mut self.client] {
            frames.finish(&mut line);
        }
        self.ssh.finish(&mut line);
        result
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

fn unreadable(at: &str, what: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{at}  ({what}: a record that this Weir cannot read)")
}

fn more(detail: &str) -> String {
    if detail.is_empty() {
        return String::new();
    }
    format!(" ({})", clean(detail))
}

fn start(at: &str, session: Uuid, doc: &StartDoc, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "session {session}")?;
    field(out, "started", at)?;
    field(out, "who", &actor(&doc.who.actor))?;
    field(out, "issuer", &clean(&doc.who.issuer))?;
    if let Some(login) = &doc.who.login {
        field(out, "in by", &clean(login))?;
    }
    for link in &doc.who.on_behalf_of {
        field(out, "on behalf of", &actor(link))?;
    }
    let target = &doc.target;
    let target = format!("{} ({}, {})", target.name, target.protocol, target.env);
    field(out, "target", &clean(&target))?;
    let scope = match &doc.scope {
        ScopeDoc::Database(_) => "database",
        ScopeDoc::Login(_) => "login",
    };
    field(out, scope, &clean(doc.scope.name()))?;
    field(out, "from", &clean(&doc.source))?;
    field(out, "bundle", &bundle(&doc.bundle))?;
    if let Some(days) = doc.retention_days {
        field(out, "to be kept", &format!("at least {days} days"))?;
    }
    for (name, value) in &doc.attrs {
        field(out, "client says", &clean(&format!("{name} = {value}")))?;
    }
    Ok(())
}

fn field(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "  {name:<12} {value}")
}

fn list(out: &mut dyn Write, name: &str, values: &[String]) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    field(out, name, &clean(&values.join(", ")))
}

fn actor(a: &ActorDoc) -> String {
    let mut text = format!("{} {}", a.kind, a.subject);
    if !a.groups.is_empty() {
        text.push_str(&format!(" [{}]", a.groups.join(", ")));
    }
    for (on, word) in [(a.mfa, "mfa"), (a.autonomous, "autonomous")] {
        if on {
            text.push_str(&format!(", {word}"));
        }
    }
    if let Some(owner) = &a.owner {
        text.push_str(&format!(", owner {owner}"));
    }
    clean(&text)
}

fn bundle(b: &BundleDoc) -> String {
    clean(&format!("{} version {} ({})", b.name, b.version, b.digest))
}

fn short(parameter: &ParameterDoc) -> String {
    match parameter {
        ParameterDoc::Null => "null".into(),
        ParameterDoc::Text(text) => format!("'{}'", clean(text)),
        ParameterDoc::Hex(hex) => format!("0x{}", clean(hex)),
        ParameterDoc::Binary(value) => {
            let of = value.of.as_deref().unwrap_or("of a type that is not known");
            match &value.text {
                Some(text) => format!("{} ({})", clean(text), clean(of)),
                None => format!("0x{} (binary, {})", clean(&value.hex), clean(of)),
            }
        }
        // Only another writer than Weir nests these.
        ParameterDoc::Large(_) => "(unreadable)".into(),
    }
}

fn values(parameters: &[ParameterDoc], out: &mut dyn Write) -> io::Result<()> {
    for (position, parameter) in parameters.iter().enumerate() {
        let value = match parameter {
            ParameterDoc::Large(large) => format!(
                "{}… ({} bytes, SHA-256 {})",
                short(&large.start),
                large.bytes,
                clean(&large.sha256)
            ),
            whole => short(whole),
        };
        field(out, &format!("${}", position + 1), &value)?;
    }
    Ok(())
}

/// The statement itself, and what it runs, line by line as it was written.
fn action(
    at: &str,
    seq: u64,
    doc: &ActionDoc,
    parameters: &[ParameterDoc],
    out: &mut dyn Write,
) -> io::Result<()> {
    match &doc.facts {
        FactsDoc::Connect { scope } => {
            let what = match scope {
                ScopeDoc::Database(_) => "to",
                ScopeDoc::Login(_) => "as",
            };
            writeln!(out, "\n{at}  #{seq} connect {what} {}", clean(scope.name()))?;
        }
        FactsDoc::Ssh(ssh) => ssh_action(at, seq, ssh, out)?,
        FactsDoc::Sql(sql) => {
            writeln!(out, "\n{at}  #{seq} {}", clean(&sql.kind))?;
            for line in sql.text.lines() {
                writeln!(out, "    {}", clean(line))?;
            }
            for named in &sql.runs {
                field(out, "can run", &clean(&named.name))?;
                for line in named.text.lines() {
                    writeln!(out, "      {}", clean(line))?;
                }
                values(&named.parameters, out)?;
            }
        }
    }
    values(parameters, out)?;
    let accesses = doc.accesses.iter().map(|a| {
        let mut text = format!("{} {} {}", a.action, a.kind, a.resource);
        for note in a.labels.iter().chain(&a.flags) {
            text.push_str(&format!(" [{note}]"));
        }
        text
    });
    for access in accesses {
        field(out, "access", &clean(&access))?;
    }
    let risk = &doc.risk;
    let labels = match risk.labels.is_empty() {
        true => String::new(),
        false => format!(" [{}]", risk.labels.join(", ")),
    };
    field(out, "risk", &clean(&format!("{}{labels}", risk.score)))?;
    for finding in &risk.findings {
        field(
            out,
            "finding",
            &clean(&format!("{}: {}", finding.code, finding.message)),
        )?;
    }
    list(out, "demanded", &risk.demands)?;
    for plugin in &risk.plugins {
        let text = format!("{} {} ({})", plugin.name, plugin.version, plugin.digest);
        field(out, "plugin", &clean(&text))?;
    }
    field(out, "bundle", &bundle(&doc.bundle))
}

fn intent(at: &str, seq: u64, doc: &IntentDoc, out: &mut dyn Write) -> io::Result<()> {
    action(at, seq, &doc.action, &doc.parameters, out)?;
    field(out, "decision", &clean(&doc.decision))?;
    list(out, "by policy", &doc.action.policies)?;
    if let Some(approval) = &doc.approval {
        field(out, "approval", &clean(&format!("hold {}", approval.hold)))?;
        list(out, "under rule", &approval.rules)?;
        list(out, "approved by", &approval.approvers)?;
        for line in &approval.shown {
            field(out, "shown", &clean(line))?;
        }
    }
    list(out, "masked", &doc.masked)
}

fn refused(at: &str, seq: u64, doc: &RefusedDoc, out: &mut dyn Write) -> io::Result<()> {
    action(at, seq, &doc.action, &doc.parameters, out)?;
    field(out, "decision", &clean(&format!("refused ({})", doc.kind)))?;
    field(out, "reason", &clean(&doc.reason))?;
    list(out, "by policy", &doc.action.policies)?;
    if let Some(hold) = &doc.hold {
        field(out, "hold", &clean(hold))?;
    }
    for line in &doc.shown {
        field(out, "shown", &clean(line))?;
    }
    Ok(())
}

fn outcome(at: &str, seq: u64, doc: &OutcomeDoc, out: &mut dyn Write) -> io::Result<()> {
    let detail = more(&doc.detail);
    if doc.is_unknown() {
        // Nobody has counted anything.
        return writeln!(out, "{at}  #{seq} unknown: nobody saw its end");
    }
    writeln!(
        out,
        "{at}  #{seq} {}{detail}: {} rows, {} bytes, {} µs",
        clean(&doc.outcome),
        doc.rows,
        doc.bytes,
        doc.elapsed_us
    )
}
