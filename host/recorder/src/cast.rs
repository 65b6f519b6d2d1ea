//! A terminal of an SSH session as asciicast: what it showed, what was typed as far as it is recorded, and its
//! size, at the times at which it happened.
//!
//! A session can have several channels. One action is played: the one that is asked for, or the first that shows
//! anything. The size is that of the terminal that was asked for on the action's own channel.

use std::collections::BTreeMap;

use crate::doc::{FactsDoc, GapDoc, HeldDoc, IntentDoc, OutcomeDoc, RefusedDoc, SshDoc, StartDoc};
use crate::record::{Kind, Record};
use crate::sshframes::{Message, Messages};
use crate::text::clean;

/// The size of a terminal that has told none (RFC 4254 knows no other).
const SIZE: (u32, u32) = (80, 24);
/// The largest that players are told of.
const LARGEST: u32 = 1_000;
/// Channels whose terminals are remembered; a Weir has fewer of them in a session at a time.
const MAX_TERMINALS: usize = 1_024;
/// Actions that wait at the same time and are told of at the end; there are fewer.
const MAX_WAITS: usize = 1_000;
/// Actions that are named because another is played.
const MAX_OTHERS: usize = 100;

/// What a player does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CastEvent {
    Output(String),
    /// Of this action: of any, as long as it is not known which one is played.
    Input(u64, String),
    Resize(u32, u32),
    /// Something to jump to.
    Marker(String),
    /// The action that is played ended, with this status.
    Exit(u32),
}

/// What was asked for on a channel.
#[derive(Debug, Default)]
struct Terminal {
    size: Option<(u32, u32)>,
    /// The action that was started on it.
    runs: Option<u64>,
}

/// Follows the records of a session.
#[derive(Debug, Default)]
pub struct Cast {
    is_ssh: bool,
    /// The action that is played.
    action: Option<u64>,
    size: Option<(u32, u32)>,
    /// By the number of the channel.
    terminals: BTreeMap<u32, Terminal>,
    server: Messages,
    client: Messages,
    /// The beginning of a character, by stream: output, errors, input.
    cut: [Vec<u8>; 3],
    /// What ran on channels of its own, and how many more.
    ran: Vec<(u64, String)>,
    more: u64,
    /// What waits for people by now, and what it is.
    waits: BTreeMap<u64, String>,
}

impl Cast {
    pub fn of(action: Option<u64>) -> Self {
        Self {
            action,
            ..Self::default()
        }
    }

    /// Is what is followed a session of SSH? Known after its first record.
    pub fn is_ssh(&self) -> bool {
        self.is_ssh
    }

    /// Is this action played, as far as it is known by now?
    pub fn plays(&self, seq: u64) -> bool {
        self.action.is_none_or(|action| action == seq)
    }

    /// Columns and rows, as far as they are known by now.
    pub fn size(&self) -> (u32, u32) {
        self.size.unwrap_or(SIZE)
    }

    pub fn record(&mut self, r: &Record<'_>, each: &mut dyn FnMut(CastEvent)) {
        match r.known() {
            Some(Kind::SessionStart) => {
                let start = serde_json::from_slice::<StartDoc>(r.payload);
                self.is_ssh = start.is_ok_and(|doc| doc.target.protocol == "ssh");
            }
            Some(Kind::Intent) => {
                if let Some((seq, body)) = r.action() {
                    self.intent(seq, body, each);
                }
            }
            Some(Kind::Held) => {
                if let Some((seq, body)) = r.action() {
                    self.held(seq, body, each);
                }
            }
            Some(Kind::Refused) => {
                if let Some((seq, body)) = r.action() {
                    self.waits.remove(&seq);
                    each(CastEvent::Marker(refused(seq, body)));
                }
            }
            Some(kind) if kind.is_bytes() => {
                if let Some((seq, body)) = r.action() {
                    self.bytes(seq, kind == Kind::ToClient, body, each);
                }
            }
            Some(Kind::Outcome) => {
                if let Some((seq, body)) = r.action() {
                    not_whole(seq, body).into_iter().for_each(each);
                }
            }
            Some(Kind::Gap) => {
                let doc = serde_json::from_slice::<GapDoc>(r.payload);
                let what = doc.map_or_else(|_| "not readable".into(), |doc| clean(&doc.what));
                each(CastEvent::Marker(format!("GAP: {what}")));
            }
            _ => {}
        }
    }

    /// What is left of characters that have no end, and what else ran: whoever sees one terminal knows that there
    /// are others.
    pub fn finish(&mut self, each: &mut dyn FnMut(CastEvent)) {
        let [output, errors, _] = &mut self.cut;
        for cut in [output, errors] {
            if !cut.is_empty() {
                let text = String::from_utf8_lossy(cut).into_owned();
                cut.clear();
                each(CastEvent::Output(text));
            }
        }
        for (seq, kind) in &self.waits {
            let text = format!("#{seq} {kind} held, and nobody has seen the end of that");
            each(CastEvent::Marker(text));
        }
        for (seq, kind) in &self.ran {
            if self.action != Some(*seq) {
                let text = format!("#{seq} {kind} not played here: see --action {seq}");
                each(CastEvent::Marker(text));
            }
        }
        if self.more > 0 {
            let text = format!("{} more actions not played here", self.more);
            each(CastEvent::Marker(text));
        }
    }

    fn intent(&mut self, seq: u64, body: &[u8], each: &mut dyn FnMut(CastEvent)) {
        let mut text = format!("#{seq}");
        self.waits.remove(&seq);
        if let Ok(doc) = serde_json::from_slice::<IntentDoc>(body) {
            if let FactsDoc::Ssh(ssh) = &doc.action.facts {
                text.push(' ');
                text.push_str(&ssh.kind);
                self.terminal(seq, ssh);
                self.ran(seq, &ssh.kind);
            }
            if let Some(approval) = &doc.approval {
                let by = approval.approvers.join(", ");
                text.push_str(&format!(", held and approved by {by}"));
            }
        }
        each(CastEvent::Marker(text));
        if self.action == Some(seq) {
            self.plays_from_here(seq, each);
        }
    }

    fn held(&mut self, seq: u64, body: &[u8], each: &mut dyn FnMut(CastEvent)) {
        let doc = serde_json::from_slice::<HeldDoc>(body);
        let kind = match doc.as_ref().map(|doc| &doc.action.facts) {
            Ok(FactsDoc::Ssh(ssh)) => ssh.kind.as_str(),
            _ => "",
        };
        each(CastEvent::Marker(format!("#{seq} {kind} held")));
        if self.waits.len() < MAX_WAITS {
            self.waits.insert(seq, kind.to_owned());
        }
    }

    fn ran(&mut self, seq: u64, kind: &str) {
        if matches!(kind, "shell" | "exec" | "subsystem" | "rsync" | "git") {
            match self.ran.len() < MAX_OTHERS {
                true => self.ran.push((seq, kind.to_owned())),
                false => self.more += u64::from(self.action != Some(seq)),
            }
        }
    }

    /// Remembers what runs on which terminal.
    fn terminal(&mut self, seq: u64, ssh: &SshDoc) {
        let Some(channel) = ssh.channel else {
            return;
        };
        let known = self.terminals.contains_key(&channel);
        if !known && self.terminals.len() >= MAX_TERMINALS {
            self.terminals.pop_first();
        }
        let terminal = self.terminals.entry(channel).or_default();
        if ssh.kind == "pty" {
            terminal.size = size_of(&ssh.text);
            terminal.runs = None;
        } else if matches!(&*ssh.kind, "shell" | "exec") {
            // The channel before, of the same number, had a terminal; this one has not.
            let is_another = terminal.runs.replace(seq).is_some();
            terminal.size = terminal.size.filter(|_| !is_another);
        }
    }

    /// It is known now which action is played.
    fn plays_from_here(&mut self, seq: u64, each: &mut dyn FnMut(CastEvent)) {
        self.action = Some(seq);
        let terminal = self.terminals.values().find(|t| t.runs == Some(seq));
        self.size = terminal.and_then(|terminal| terminal.size);
        if let Some((columns, rows)) = self.size {
            each(CastEvent::Resize(columns, rows));
        }
    }

    fn bytes(&mut self, seq: u64, from_server: bool, body: &[u8], each: &mut dyn FnMut(CastEvent)) {
        let messages = match from_server {
            true => &mut self.server,
            false => &mut self.client,
        };
        let mut read = Vec::new();
        messages.feed(body, &mut |message| read.extend(message));
        for message in read {
            let shows = matches!(message, Message::Data(_) | Message::Errors(_));
            if shows && from_server && self.action.is_none() {
                self.plays_from_here(seq, each);
            }
            if self.plays(seq) {
                self.message(seq, from_server, message, each);
            }
        }
    }

    fn message(
        &mut self,
        seq: u64,
        from_server: bool,
        message: Message,
        each: &mut dyn FnMut(CastEvent),
    ) {
        let [output, errors, input] = &mut self.cut;
        let event = match message {
            Message::Data(data) if from_server => text(output, &data).map(CastEvent::Output),
            Message::Errors(data) => text(errors, &data).map(CastEvent::Output),
            Message::Data(data) if self.action.is_some() => {
                text(input, &data).map(|text| CastEvent::Input(seq, text))
            }
            // Whose it is in the end is not known yet: nothing waits for what may be another's.
            Message::Data(data) => {
                let text = String::from_utf8_lossy(&data).into_owned();
                Some(CastEvent::Input(seq, text))
            }
            Message::Resize { columns, rows } => sane(columns, rows).and_then(|size| {
                if self.action.is_none() {
                    let running = self.terminals.values_mut().find(|t| t.runs == Some(seq));
                    running?.size = Some(size);
                    return None;
                }
                self.size = Some(size);
                Some(CastEvent::Resize(columns, rows))
            }),
            Message::ExitStatus(code) if self.action.is_some() => Some(CastEvent::Exit(code)),
            _ => None,
        };
        event.into_iter().for_each(each);
    }
}

/// The outcome says so where not all bytes of an action are in the recording. Its words are not repeated, for a host
/// may have given some of them.
fn not_whole(seq: u64, body: &[u8]) -> Option<CastEvent> {
    let doc = serde_json::from_slice::<OutcomeDoc>(body).ok()?;
    let says = doc.detail.contains("of it are recorded");
    says.then(|| CastEvent::Marker(format!("#{seq} not whole: see its outcome in the text")))
}

/// What was refused, and how.
fn refused(seq: u64, body: &[u8]) -> String {
    let Ok(doc) = serde_json::from_slice::<RefusedDoc>(body) else {
        return format!("#{seq} refused");
    };
    let what = match &doc.action.facts {
        FactsDoc::Ssh(ssh) => ssh.kind.as_str(),
        _ => "",
    };
    format!("#{seq} {what} refused ({})", doc.kind)
}

/// `xterm-256color 120x36`, as a terminal that is asked for is put down.
fn size_of(text: &str) -> Option<(u32, u32)> {
    let (columns, rows) = text.rsplit(' ').next()?.split_once('x')?;
    sane(columns.parse().ok()?, rows.parse().ok()?)
}

/// 0 means that it is not known.
fn sane(columns: u32, rows: u32) -> Option<(u32, u32)> {
    let fits = |n: u32| (1..=LARGEST).contains(&n);
    (fits(columns) && fits(rows)).then_some((columns, rows))
}

/// What of these bytes is text by now: the beginning of a character waits for its end. What is not UTF-8 becomes
/// U+FFFD; the recording has the bytes.
fn text(cut: &mut Vec<u8>, bytes: &[u8]) -> Option<String> {
    cut.extend_from_slice(bytes);
    let keep = cut.utf8_chunks().last().map_or(0, |last| {
        let invalid = last.invalid();
        // Three bytes at most are the beginning of a character; only at the end can more follow.
        let begins = invalid.len() < 4
            && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
        if begins { invalid.len() } else { 0 }
    });
    let whole = cut.len() - keep;
    let text = String::from_utf8_lossy(cut.get(..whole).unwrap_or_default()).into_owned();
    cut.drain(..whole);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut_by_messages() {
        let mut cut = Vec::new();
        let mut all = String::new();
        for byte in "a→é😀\u{7}".as_bytes() {
            all.extend(text(&mut cut, &[*byte]));
        }
        assert_eq!(all, "a→é😀\u{7}");
        assert_eq!(text(&mut cut, b"x\xff\xfey").unwrap(), "x\u{fffd}\u{fffd}y");
        assert_eq!(text(&mut cut, b"\xf0\x9f"), None);
        assert_eq!(text(&mut cut, b"z").unwrap(), "\u{fffd}z");
    }

    #[test]
    fn sizes_that_no_terminal_has_are_none() {
        assert_eq!(size_of("xterm 120x36"), Some((120, 36)));
        for wrong in ["xterm", "xterm 0x0", "xterm 4294967295x1", "120", "a bxc"] {
            assert_eq!(size_of(wrong), None, "{wrong}");
        }
    }
}
