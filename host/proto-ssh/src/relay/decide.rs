//! Asks the pipeline about what a client wants, and tells the client of a hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use pipeline::mask::MaskEdits;
use pipeline::ports::{MaskFailed, Policy};
use pipeline::{
    Access, Action, Caller, Facts, HoldInfo, Permitted, Question, Refusal, Request, Resource, Risk,
    Ruling, Session, SshKind, decide,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::core::tap::{Inspect, Stream, Tap};
use super::core::{Grant, Key, Ticket};
use super::read::NotRead;
use super::taps::{Beside, Files, Text, columns};
use crate::action::{Asked, Line, Parts, Sent, Turned, What, parts};
use crate::config::Binary;
use crate::gate::{Gate, Judged, reaches_a_gate};
use crate::mask::Kind;
use crate::terms::{May, Place, Terms};
use crate::upstream::send::Forward;
use crate::wire::{ChannelMessage, Connection, Put, Request as WireRequest};

/// A decision, and how what it permits goes on.
pub(super) struct Decided {
    pub ticket: Ticket,
    pub grant: Grant,
    pub result: Result<Permitted<Forward>, Refusal>,
}

/// Something that was asked of the pipeline has an answer.
pub(super) enum Answered {
    Decided(Box<Decided>),
    /// A refusal is on record.
    Recorded,
    Read {
        ticket: Ticket,
        line: Result<Line, NotRead>,
    },
    Judged {
        ticket: Ticket,
        judged: Result<Judged, NotRead>,
    },
    Inspected {
        key: Key,
        stream: Stream,
        edits: Result<MaskEdits, MaskFailed>,
    },
}

pub(super) type Deciding<'a> = BoxFuture<'a, Answered>;

/// Records a refusal that policy was not asked about, if there is a place for it.
pub(super) fn put_on_record<'a>(
    session: &'a Session,
    turned: Turned,
    place: Place,
) -> Deciding<'a> {
    async move {
        let make = move || turned.unasked(&place);
        session.refused_unasked(make).await;
        Answered::Recorded
    }
    .boxed()
}

/// Has plugins look at text.
pub(super) fn inspect<'a>(session: &'a Session, key: Key, inspect: Inspect) -> Deciding<'a> {
    let Inspect {
        stream,
        plan,
        batch,
    } = inspect;
    let hooks = &session.ports().hooks;
    async move {
        let edits = hooks.mask_batch(session.info(), &plan, batch).await;
        Answered::Inspected { key, stream, edits }
    }
    .boxed()
}

/// Holds that clients have not been told of yet.
#[derive(Default)]
pub(super) struct Holds {
    new: Mutex<Vec<(Ticket, HoldInfo)>>,
    pub changed: Notify,
}

impl Holds {
    pub fn take(&self) -> Vec<(Ticket, HoldInfo)> {
        std::mem::take(&mut *self.new.lock())
    }

    fn put(&self, ticket: Ticket, info: &HoldInfo) {
        self.new.lock().push((ticket, info.clone()));
        self.changed.notify_one();
    }
}

/// What a client reads while it waits.
pub(super) fn notice(info: &HoldInfo) -> Vec<String> {
    let rules: Vec<&str> = info.rules.iter().map(|rule| &**rule).collect();
    vec![
        format!("weir: waiting for approval: {}", info.reason),
        format!(
            "weir: hold {} under {}; it can be decided at {}",
            info.id,
            rules.join(", "),
            info.url
        ),
    ]
}

/// Begins a decision. An error is a refusal without one, in words for the client.
pub(super) fn begin<'a>(
    session: &'a Session,
    terms: &Terms,
    holds: &'a Holds,
    ticket: Ticket,
    (asked, forward): (&Asked, Bytes),
    cancel: CancellationToken,
) -> Result<Deciding<'a>, String> {
    if let Some(what) = forbidden(&asked.what, &terms.may) {
        return Err(format!(
            "the certificate of this login does not permit {what}"
        ));
    }
    if asked.before.pty.is_some() && is_transfer(&asked.what) {
        return Err("files are not transferred over a terminal; ask for none (ssh -T)".into());
    }
    if let Some(reason) = reaches_a_gate(&asked.what) {
        return Err(reason.into());
    }
    let policy = session.pin();
    let gated = gated(session, &*policy, asked, terms)?;
    let (gate, forward, asked) = match &gated {
        None => (None, forward, asked),
        Some(asked) => {
            if asked.before.pty.is_none() {
                return Err(NO_TERMINAL.into());
            }
            let gate = Gate::new().ok_or("there is no randomness for a gate")?;
            let shell = gate.shell();
            let forward = instead(&forward, &shell).ok_or("this is no request for a shell")?;
            (Some(gate), forward, asked)
        }
    };
    let Parts {
        facts,
        accesses,
        canonical,
    } = parts(asked, &terms.place(&session.info().target))?;
    if let What::Exec { line, .. } = &asked.what
        && line.sent == Sent::AsItCame
        && !policy.is_indifferent(&session.info().principal, &session.info().target)
    {
        // It was taken in under a bundle that was, and its bytes are not the ones that were read.
        return Err("the policy has just changed; please try again".into());
    }
    let facts = Facts::Ssh(Arc::new(facts));
    let (mut grant, text) = grant(asked);
    grant.gate = gate;
    let (patterns, login) = (terms.masks.clone(), terms.login.clone());
    let binary = terms.binary;
    let reliefs = (policy.clone(), facts.clone());
    let request = Request {
        policy,
        facts,
        accesses,
        labelled: Vec::new(),
        computed: Vec::new(),
        unmaskable: None,
        canonical,
        parameters: Vec::new(),
        payload: Forward::new(forward),
    };
    let deciding = async move {
        let on_hold = |info: &HoldInfo| holds.put(ticket, info);
        let caller = Caller {
            cancel: &cancel,
            on_hold: &on_hold,
            survey: None,
        };
        let result = decide(session, request, caller).await;
        if let (Ok(permitted), Some((kind, width))) = (&result, text) {
            let (policy, facts) = reliefs;
            let risk = permitted.receipt().risk();
            let relieved = |action| relieved(session, &*policy, (&facts, risk), action, &login);
            let transfer = !grant.output;
            grant.input = !transfer && !relieved(Action::SshInputUnrecorded);
            if !relieved(Action::SshReveal) {
                let hooks = &session.ports().hooks;
                let plan = hooks.mask_plan(session.info(), &columns(kind)).await;
                // No transfer ends because of the bytes in which a host says what is wrong with it.
                let binary = match binary {
                    Binary::Refuse if transfer => Binary::Mask,
                    binary => binary,
                };
                let text = Text::new(&patterns, (kind, width), plan, binary);
                grant.tap = Some(match transfer {
                    true => Box::new(Beside::new(grant.tap.take(), text)),
                    false => Box::new(text),
                });
            }
        }
        Answered::Decided(Box::new(Decided {
            ticket,
            grant,
            result,
        }))
    };
    Ok(deciding.boxed())
}

/// Only behind a prompt bash asks about a line before it does anything of it.
const NO_TERMINAL: &str = "a gated shell needs a terminal (ssh -t); a script goes by its own command line: ssh HOST bash -s < script";

/// A shell in which bash asks about every command, where policy permits no other. Where it permits neither, the
/// refusal is that of the shell.
fn gated(
    session: &Session,
    policy: &dyn Policy,
    asked: &Asked,
    terms: &Terms,
) -> Result<Option<Asked>, String> {
    if !matches!(asked.what, What::Shell { gated: false }) {
        return Ok(None);
    }
    let info = session.info();
    let denied = |asked: &Asked| -> Result<bool, String> {
        let parts = parts(asked, &terms.place(&info.target))?;
        let ruling = policy.authorize(&Question {
            principal: &info.principal,
            source: info.source,
            session: &info.id_text,
            now: session.ports().clock.now(),
            facts: Some(&Facts::Ssh(Arc::new(parts.facts))),
            risk: &Risk::default(),
            approvals: &BTreeSet::new(),
            accesses: &parts.accesses,
        });
        Ok(matches!(ruling, Ruling::Deny { .. }))
    };
    let gated = Asked {
        what: What::Shell { gated: true },
        ..asked.clone()
    };
    Ok((denied(asked)? && !denied(&gated)?).then_some(gated))
}

/// The request to run this, in place of a request for a shell.
fn instead(request: &Bytes, command: &[u8]) -> Option<Bytes> {
    let Ok(Connection::Channel {
        recipient,
        message: ChannelMessage::Request(shell),
    }) = Connection::parse(request)
    else {
        return None;
    };
    let mut data = Vec::new();
    data.string(command);
    let exec = ChannelMessage::Request(WireRequest {
        name: b"exec",
        want_reply: shell.want_reply,
        data: &data,
    });
    let mut payload = Vec::new();
    exec.write(recipient, &mut payload);
    Some(payload.into())
}

/// What the login does not permit, whatever policy says.
fn forbidden(what: &What, may: &May) -> Option<&'static str> {
    let (permitted, name) = match what {
        What::Pty { .. } => (may.pty, "a terminal"),
        What::Agent => (may.agent_forwarding, "forwarding of an agent"),
        What::X11 => (may.x11_forwarding, "X11"),
        What::DirectTcp { .. }
        | What::DirectSocket { .. }
        | What::ListenTcp { .. }
        | What::ListenSocket { .. }
        | What::Tunnel { .. } => (may.port_forwarding, "forwarding of connections"),
        What::Exec { .. }
        | What::Shell { .. }
        | What::Subsystem { .. }
        | What::Env { .. }
        | What::File(_) => (true, ""),
    };
    (!permitted).then_some(name)
}

/// Is it read, or let pass, as a file transfer? Below a terminal the host would get something else than what was read:
/// its line discipline edits the input (erase, kill, end of file, carriage returns) by modes that the client chose.
fn is_transfer(what: &What) -> bool {
    match what {
        What::Exec { line, .. } => line.kind() != SshKind::Exec,
        What::Subsystem { name } => &**name == b"sftp",
        _ => false,
    }
}

/// How it goes on: what of it is recorded, and who listens in; for text, on what it is shown. Text is recorded both
/// ways and masked, except where a relief applies; of a transfer, standard error is text.
fn grant(asked: &Asked) -> (Grant, Option<(Kind, u32)>) {
    let plain = || (Grant::default(), None);
    let files = |files| {
        let tap: Option<Box<dyn Tap>> = Some(Box::new(files));
        let grant = Grant {
            tap,
            errors: true,
            ..Grant::default()
        };
        (grant, Some((Kind::Pipe, 0)))
    };
    match &asked.what {
        // What it does is seen on the terminal of its shell.
        What::Exec { line, .. } if matches!(line.sent, Sent::Verdict(_)) => return plain(),
        What::Exec { line, .. } => match (line.kind(), line.scp()) {
            (SshKind::Scp, Some(command)) => return files(Files::scp(command)),
            (SshKind::Sftp, _) => return files(Files::sftp()),
            // Weighed, not recorded: nobody reads what goes over it, but what the host says on standard error.
            (SshKind::Rsync | SshKind::Git, _) => {
                let grant = Grant {
                    weighed: true,
                    errors: true,
                    ..Grant::default()
                };
                return (grant, Some((Kind::Pipe, 0)));
            }
            _ => {}
        },
        What::Subsystem { name } if &**name == b"sftp" => return files(Files::sftp()),
        What::Shell { .. } | What::Subsystem { .. } => {}
        _ => return plain(),
    }
    let text = match asked.before.columns() {
        Some(columns) => (Kind::Terminal, columns),
        None => (Kind::Pipe, 0),
    };
    let grant = Grant {
        output: true,
        input: true,
        ..Grant::default()
    };
    (grant, Some(text))
}

/// Does a relief apply to what was permitted, with the risk that it was permitted under? Without a permit, none does.
fn relieved(
    session: &Session,
    policy: &dyn Policy,
    (facts, risk): (&Facts, &Risk),
    action: Action,
    login: &Arc<str>,
) -> bool {
    let info = session.info();
    let access = Access {
        action,
        resource: Resource::SshAccount {
            login: login.clone(),
        },
        target: Some(info.target.clone()),
    };
    let ruling = policy.authorize(&Question {
        principal: &info.principal,
        source: info.source,
        session: &info.id_text,
        now: session.ports().clock.now(),
        facts: Some(facts),
        risk,
        approvals: &BTreeSet::new(),
        accesses: std::slice::from_ref(&access),
    });
    matches!(ruling, Ruling::Permit { .. })
}
