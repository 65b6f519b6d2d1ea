//! What bash asks, and the verdicts.

use std::time::Instant;

use pipeline::OutcomeKind;

use super::super::channel::Wait;
use super::super::{Core, Effect, Key, Pending, Ticket, Violation, turn};
use super::helper::State;
use crate::action::{Line, Turned, Unread, What, printable, readable};
use crate::gate::{Ask, Judged, Kind, LIVE, about_the_gate, kind, shown};

const LONG: &str = "this has more than 128 KiB, which is more than is read of one command";
const NO_LINE: &str = "the line that this stands in was not asked about";

impl Core {
    pub(super) fn gate_ask(
        &mut self,
        number: u32,
        ask: Ask,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let key = helper.shell;
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        if helper.state == State::Started && &*ask.text == LIVE.as_bytes() {
            helper.state = State::Live;
            channel.wait = Wait::Nothing;
            let text = format!("live {}\n{}", ask.pid, ask.answer(true));
            if !helper.tell(text.as_bytes(), out) {
                return self.ungate(number, "its gate takes nothing", now, out);
            }
            return self.resume(key, now, out);
        }
        let twice = helper.commands.values().any(|c| c.ask.id == ask.id);
        let many = helper.commands.len() >= self.limits.gate_asks;
        let odd = match (ask.cut, twice, many) {
            (true, ..) => Some(LONG),
            (_, true, _) => Some("it is asked about twice"),
            (.., true) => Some("too many commands of this shell wait"),
            _ => None,
        };
        if helper.state != State::Live || channel.refused.is_some() {
            return self.gate_answer(number, &ask, false, now, out);
        }
        match kind(&ask) {
            Kind::Prompt(next) => {
                helper.lines.prompt(next);
                helper.gives_up(|command| kind(&command.ask) == Kind::Line, out);
                return self.gate_answer(number, &ask, true, now, out);
            }
            Kind::More => {
                let told = helper.lines.more(&ask);
                return self.gate_answer(number, &ask, told, now, out);
            }
            Kind::Line => return self.gate_line(number, ask, odd, now, out),
            Kind::Command { main: true } if !helper.lines.is_open() => {
                channel.notice(&[told(NO_LINE, &ask)], out);
                self.turn_ask(key, &ask, NO_LINE, out);
                return self.gate_answer(number, &ask, false, now, out);
            }
            Kind::Command { .. } => {}
        }
        if let Some(reason) = odd {
            channel.notice(&[told(reason, &ask)], out);
            self.turn_ask(key, &ask, reason, out);
            return self.gate_answer(number, &ask, false, now, out);
        }
        if helper.enters(&ask, now) {
            return self.gate_answer(number, &ask, true, now, out);
        }
        let unread = Unread::gated(ask.text.clone(), ask.place.clone());
        if unread.is_short() {
            return self.gate_decide(number, ask, unread.read(), now, out);
        }
        // It is beside the task of the session that it is read.
        let ticket = self.ticket(ask.text.len());
        self.pending.insert(ticket, Pending::Unread { key });
        if let Some(helper) = self.gates.helpers.get_mut(&number) {
            helper.waits(ticket, ask);
        }
        out.push(Effect::Read { ticket, unread });
        Ok(())
    }

    /// bash has read a line, and does nothing of it before it has an answer. A short one is judged here; a long one
    /// beside the task of the session. `odd`: why it is not judged at all.
    fn gate_line(
        &mut self,
        number: u32,
        ask: Ask,
        odd: Option<&str>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let taken = helper.lines.takes(&ask);
        let whole = match (taken, odd) {
            (Ok(whole), None) => whole,
            (Err(reason), _) => return self.line_refused(number, &ask, &reason, now, out),
            (Ok(_), Some(reason)) => return self.line_refused(number, &ask, reason, now, out),
        };
        if whole.is_short() {
            return self.line_judged(number, &ask, whole.judge(), now, out);
        }
        let key = helper.shell;
        let ticket = self.ticket(ask.text.len());
        self.pending.insert(ticket, Pending::Whole { key });
        if let Some(helper) = self.gates.helpers.get_mut(&number) {
            helper.waits(ticket, ask);
        }
        out.push(Effect::Judge { ticket, whole });
        Ok(())
    }

    /// A line was judged, with this result.
    pub fn was_judged(
        &mut self,
        ticket: Ticket,
        judged: Judged,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        // Its channel may be closed.
        let Some(Pending::Whole { key }) = self.settled(ticket) else {
            return Ok(());
        };
        let Some((number, _, line)) = self.gates.take_command(key, ticket) else {
            return Ok(());
        };
        if line.interrupted {
            return self.gate_interrupted(number, &line.ask, now, out);
        }
        self.line_judged(number, &line.ask, judged, now, out)
    }

    fn line_judged(
        &mut self,
        number: u32,
        ask: &Ask,
        judged: Judged,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        match helper.lines.judged(judged) {
            Ok(()) => self.gate_answer(number, ask, true, now, out),
            Err(reason) => self.line_refused(number, ask, &reason, now, out),
        }
    }

    /// It was not judged, for this reason.
    pub(in crate::relay::core) fn line_unjudged(
        &mut self,
        key: Key,
        ticket: Ticket,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((number, _, line)) = self.gates.take_command(key, ticket) else {
            return Ok(());
        };
        if line.interrupted {
            return self.gate_interrupted(number, &line.ask, now, out);
        }
        self.line_refused(number, &line.ask, reason, now, out)
    }

    fn line_refused(
        &mut self,
        number: u32,
        ask: &Ask,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get(&number) else {
            return Ok(());
        };
        let key = helper.shell;
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.notice(&[format!("weir: refused: {}", printable(reason))], out);
        }
        self.turn_ask(key, ask, reason, out);
        self.gate_answer(number, ask, false, now, out)
    }

    /// Who has typed that knows, and is told nothing.
    fn gate_interrupted(
        &mut self,
        number: u32,
        ask: &Ask,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        if let Some(helper) = self.gates.helpers.get(&number) {
            self.turn_ask(helper.shell, ask, "it was interrupted", out);
        }
        self.gate_answer(number, ask, false, now, out)
    }

    /// What was asked is refused, and goes on record as it stands.
    pub(super) fn turn_ask(&self, key: Key, ask: &Ask, reason: &str, out: &mut Vec<Effect>) {
        match kind(ask) {
            Kind::Line => self.turn_words(key, ("line", &shown(ask)), reason, out),
            _ => self.turn_words(key, ("command", &ask.text), reason, out),
        }
    }

    /// A command was read, as this.
    pub(in crate::relay::core) fn command_read(
        &mut self,
        key: Key,
        ticket: Ticket,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((number, _, command)) = self.gates.take_command(key, ticket) else {
            return Ok(());
        };
        if command.interrupted {
            return self.gate_interrupted(number, &command.ask, now, out);
        }
        self.gate_decide(number, command.ask, line, now, out)
    }

    /// A command or a line is not read any more: it is on record all the same.
    pub(in crate::relay::core) fn ask_unread(
        &self,
        key: Key,
        ticket: Ticket,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        if let Some(command) = self.gates.command(key, ticket) {
            self.turn_ask(key, &command.ask, reason, out);
        }
    }

    fn gate_decide(
        &mut self,
        number: u32,
        ask: Ask,
        line: Line,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        let key = helper.shell;
        let Some(channel) = self.channels.get_mut(&key) else {
            return Ok(());
        };
        let directory = helper.gate.directory();
        let refused = about_the_gate(&ask.text, &ask.place, directory, &line.command)
            .or_else(|| helper.arrays.judge(&ask.text, &line.command));
        let asked = channel.asked(What::Exec {
            command: ask.text.clone(),
            line,
        });
        if let Some(reason) = refused {
            channel.notice(&[told(reason, &ask)], out);
            turn(Turned::known(asked, reason), out);
            return self.gate_answer(number, &ask, false, now, out);
        }
        let forward = ask.answer(true).into();
        let ticket = self.decide(Pending::Command { key }, asked, forward, out);
        if let Some(helper) = self.gates.helpers.get_mut(&number) {
            helper.waits(ticket, ask);
        }
        Ok(())
    }

    /// An answer that needs no decision: a refusal, or that the function just called may be entered.
    fn gate_answer(
        &mut self,
        number: u32,
        ask: &Ask,
        yes: bool,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        if !helper.tell(ask.answer(yes).as_bytes(), out) {
            return self.ungate(number, "its gate takes nothing", now, out);
        }
        match yes {
            true => Ok(()),
            false => self.gate_refuses(number, now, out),
        }
    }

    /// What asks by itself, such as a prompt that runs something, may ask for ever.
    fn gate_refuses(
        &mut self,
        number: u32,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some(helper) = self.gates.helpers.get_mut(&number) else {
            return Ok(());
        };
        helper.refusals += 1;
        let max = self.limits.gate_refusals;
        if helper.refusals <= max {
            return Ok(());
        }
        let reason = format!("more than {max} of its commands were refused with nothing typed");
        self.ungate(number, &reason, now, out)
    }

    /// A command may run: `verdict` is what the permit held. False: nobody waits for it any more.
    pub(in crate::relay::core) fn command_granted(
        &mut self,
        key: Key,
        ticket: Ticket,
        verdict: &[u8],
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some((_, helper, command)) = self.gates.take_command(key, ticket) else {
            return false;
        };
        if command.interrupted {
            // Who hears nothing runs nothing.
            let _ = helper.tell(command.ask.answer(false).as_bytes(), out);
            return false;
        }
        if !helper.tell(verdict, out) {
            return false;
        }
        helper.called(&command.ask, now);
        out.push(Effect::Outcome {
            ticket,
            kind: OutcomeKind::Unknown,
            detail: "bash was told to run it".into(),
            bytes: 0,
        });
        true
    }

    pub(in crate::relay::core) fn command_refused(
        &mut self,
        key: Key,
        ticket: Ticket,
        (reason, hint): (&str, Option<&str>),
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), Violation> {
        let Some((number, helper, command)) = self.gates.take_command(key, ticket) else {
            return Ok(());
        };
        // Who hears nothing runs nothing.
        let _ = helper.tell(command.ask.answer(false).as_bytes(), out);
        if let Some(channel) = self.channels.get_mut(&key)
            && !command.interrupted
        {
            let mut lines = vec![told(reason, &command.ask)];
            lines.extend(hint.map(|hint| format!("weir: {hint}")));
            channel.notice(&lines, out);
        }
        self.gate_refuses(number, now, out)
    }

    /// The client has typed something. What interrupts programs does so with commands that wait, too.
    pub(in crate::relay::core) fn gate_typed(
        &mut self,
        key: Key,
        data: &[u8],
        out: &mut Vec<Effect>,
    ) {
        let channel = self.channels.get(&key);
        let interrupt = channel.and_then(|channel| channel.before.interrupt());
        let Some((_, helper)) = self.gates.of(key) else {
            return;
        };
        helper.refusals = 0;
        if !interrupt.is_some_and(|byte| data.contains(&byte)) {
            return;
        }
        helper.gives_up(|_| true, out);
    }
}

/// Characters of a command that are shown with why it is not run: of several in a line, one has to know which.
const MAX_SHOWN: usize = 80;

fn told(reason: &str, ask: &Ask) -> String {
    let text = ask.text.get(..4 * MAX_SHOWN).unwrap_or(&ask.text);
    let text = readable(text).replace(['\n', '\t'], " ");
    let shown: String = text.chars().take(MAX_SHOWN).collect();
    let more = if text.len() > shown.len() { "…" } else { "" };
    format!("weir: refused: {reason}: {shown}{more}")
}
