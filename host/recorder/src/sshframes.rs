//! Makes the recorded messages of an SSH session readable. Small, bounded and total: it reads what may be
//! anything, and what it does not understand it says so.
//!
//! What is recorded of a channel are messages of the connection protocol (RFC 4254) as its client saw them, each
//! behind its length as `uint32`.

use std::collections::BTreeMap;

use crate::text::clean;

/// A message longer than this is not collected; no packet of SSH is.
const MAX_MESSAGE: usize = 1 << 20;
/// The numbers of messages about channels.
const OF_CHANNELS: std::ops::RangeInclusive<u8> = 90..=100;
/// A line is cut here.
const MAX_LINE: usize = 64 << 10;

/// What a message says, as far as anybody who watches cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Data(Vec<u8>),
    /// Standard error.
    Errors(Vec<u8>),
    Resize {
        columns: u32,
        rows: u32,
    },
    ExitStatus(u32),
    ExitSignal(String),
    Signal(String),
    /// Any other request, by its name.
    Request(String),
    Eof,
    Close,
    /// Answers, windows and what is not about one channel.
    Other(u8),
}

/// Cuts one direction of a session into messages.
#[derive(Debug, Default)]
pub struct Messages {
    buf: Vec<u8>,
    /// The bytes made no sense; the rest of them is only counted.
    lost: u64,
}

impl Messages {
    /// Takes recorded bytes; gives every message that is complete. None: the bytes are no messages.
    pub fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Option<Message>)) {
        if self.lost > 0 {
            self.lost += bytes.len() as u64;
            return;
        }
        self.buf.extend_from_slice(bytes);
        let buf = std::mem::take(&mut self.buf);
        let mut rest = buf.as_slice();
        while let Some((head, after)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*head) as usize;
            if !(1..=MAX_MESSAGE).contains(&len) {
                self.lost = rest.len() as u64;
                each(None);
                return;
            }
            let Some((message, after)) = after.split_at_checked(len) else {
                break;
            };
            each(read(message));
            rest = after;
        }
        self.buf = rest.to_vec();
    }

    /// Bytes that nothing could be made of.
    pub fn left(&self) -> u64 {
        self.lost + self.buf.len() as u64
    }
}

/// Do these bytes begin and end with messages? Then what comes next begins with one, too.
pub fn is_whole(mut bytes: &[u8]) -> bool {
    let mut any = false;
    while !bytes.is_empty() {
        let Some((message, rest)) = string(&mut bytes).map(|message| (message, bytes)) else {
            return false;
        };
        // Data can look like messages: no others than those of channels (RFC 4254) are recorded.
        let is_known = match read(message) {
            None => false,
            Some(Message::Other(number)) => OF_CHANNELS.contains(&number),
            Some(_) => true,
        };
        if !is_known {
            return false;
        }
        (any, bytes) = (true, rest);
    }
    any
}

/// None: it is not laid out as its number says.
fn read(message: &[u8]) -> Option<Message> {
    let (number, mut rest) = message.split_first()?;
    Some(match number {
        94 => {
            u32_be(&mut rest)?;
            Message::Data(string(&mut rest)?.to_vec())
        }
        95 => {
            u32_be(&mut rest)?;
            u32_be(&mut rest)?;
            Message::Errors(string(&mut rest)?.to_vec())
        }
        96 => Message::Eof,
        97 => Message::Close,
        98 => {
            u32_be(&mut rest)?;
            let name = string(&mut rest)?;
            rest = rest.get(1..)?;
            request(name, rest)?
        }
        other => Message::Other(*other),
    })
}

fn request(name: &[u8], mut rest: &[u8]) -> Option<Message> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match name {
        b"window-change" => Message::Resize {
            columns: u32_be(&mut rest)?,
            rows: u32_be(&mut rest)?,
        },
        b"pty-req" => {
            string(&mut rest)?;
            Message::Resize {
                columns: u32_be(&mut rest)?,
                rows: u32_be(&mut rest)?,
            }
        }
        b"exit-status" => Message::ExitStatus(u32_be(&mut rest)?),
        b"exit-signal" => Message::ExitSignal(text(string(&mut rest)?)),
        b"signal" => Message::Signal(text(string(&mut rest)?)),
        other => Message::Request(text(other)),
    })
}

fn u32_be(rest: &mut &[u8]) -> Option<u32> {
    let (head, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*head))
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32_be(rest)? as usize;
    let (head, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(head)
}

/// What a line of the transcript begins with: the streams of a channel are told apart.
const OUTPUT: &str = "│";
const ERRORS: &str = "┆";
const INPUT: &str = "<";

/// Both directions of a session as lines of text, for the transcript.
#[derive(Debug, Default)]
pub struct Lines {
    server: Messages,
    client: Messages,
    /// The beginnings of lines, by action and stream.
    open: BTreeMap<(u64, &'static str), Vec<u8>>,
}

impl Lines {
    pub fn feed(
        &mut self,
        seq: u64,
        from_server: bool,
        bytes: &[u8],
        line: &mut dyn FnMut(String),
    ) {
        let messages = match from_server {
            true => &mut self.server,
            false => &mut self.client,
        };
        let open = &mut self.open;
        messages.feed(bytes, &mut |message| {
            let Some(message) = message else {
                return line("(bytes that are no messages)".to_owned());
            };
            match message {
                Message::Data(data) if from_server => add(open, seq, OUTPUT, &data, line),
                Message::Data(data) => add(open, seq, INPUT, &data, line),
                Message::Errors(data) => add(open, seq, ERRORS, &data, line),
                Message::Resize { columns, rows } => line(format!("(terminal: {columns}×{rows})")),
                Message::ExitStatus(code) => {
                    rest(open, Some(seq), line);
                    line(format!("→ exit {code}"));
                }
                Message::ExitSignal(name) => {
                    rest(open, Some(seq), line);
                    line(format!("→ ended by signal {}", clean(&name)));
                }
                Message::Signal(name) => {
                    line(format!("(the client sends signal {})", clean(&name)))
                }
                Message::Request(_) | Message::Eof | Message::Other(_) => {}
                Message::Close => rest(open, Some(seq), line),
            }
        });
    }

    /// Says what was left over.
    pub fn finish(&mut self, line: &mut dyn FnMut(String)) {
        rest(&mut self.open, None, line);
        for messages in [&self.server, &self.client] {
            if messages.left() > 0 {
                line(format!(
                    "({} bytes could not be read as messages)",
                    messages.left()
                ));
            }
        }
    }
}

fn add(
    open: &mut BTreeMap<(u64, &'static str), Vec<u8>>,
    seq: u64,
    stream: &'static str,
    data: &[u8],
    line: &mut dyn FnMut(String),
) {
    let start = open.entry((seq, stream)).or_default();
    // The key that ends a line in a terminal sends a carriage return and nothing else.
    let ends = |b: u8| b == b'\n' || b == b'\r' && stream == INPUT;
    for piece in data.split_inclusive(|b| ends(*b)) {
        start.extend_from_slice(piece);
        if stream == INPUT && start.as_slice() == b"\n" {
            // The rest of CR LF, or an empty line, of which there is nothing to be seen.
            start.clear();
            continue;
        }
        if piece.last().is_some_and(|b| ends(*b)) || start.len() > MAX_LINE {
            line(shown(stream, start));
            start.clear();
        }
    }
}

/// What has no end of line, of one action or of all.
fn rest(
    open: &mut BTreeMap<(u64, &'static str), Vec<u8>>,
    seq: Option<u64>,
    line: &mut dyn FnMut(String),
) {
    open.retain(|(of, stream), start| {
        if seq.is_some_and(|seq| seq != *of) {
            return true;
        }
        if !start.is_empty() {
            line(shown(stream, start));
        }
        false
    });
}

fn shown(stream: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\r', '\n']);
    format!("{stream} {}", clean(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let len = u32::try_from(message.len()).unwrap();
        [&len.to_be_bytes()[..], message].concat()
    }

    pub(crate) fn data(channel: u32, bytes: &[u8]) -> Vec<u8> {
        let len = u32::try_from(bytes.len()).unwrap();
        let head = [&[94][..], &channel.to_be_bytes(), &len.to_be_bytes()].concat();
        framed(&[&head, bytes].concat())
    }

    fn exit(code: u32) -> Vec<u8> {
        let mut message = vec![98, 0, 0, 0, 0, 0, 0, 0, 11];
        message.extend(b"exit-status\0");
        message.extend(code.to_be_bytes());
        framed(&message)
    }

    #[test]
    fn lines_are_put_together_and_the_rest_is_told() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let whole = [data(0, b"one\r\ntw"), data(0, b"o\n\x1b[31mred"), exit(3)].concat();
        for byte in &whole {
            lines.feed(7, true, &[*byte], &mut |line| seen.push(line));
        }
        lines.finish(&mut |line| seen.push(line));
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert_eq!(&seen[..2], ["│ one", "│ two"]);
        assert!(
            !seen[2].contains('\x1b') && seen[2].contains("red"),
            "{seen:?}"
        );
        assert_eq!(seen[3], "→ exit 3");
    }

    #[test]
    fn the_streams_of_two_actions_do_not_mix() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        lines.feed(1, true, &data(0, b"a"), &mut |line| seen.push(line));
        lines.feed(2, true, &data(1, b"b\n"), &mut |line| seen.push(line));
        lines.feed(1, true, &data(0, b"c\n"), &mut |line| seen.push(line));
        lines.feed(1, false, &data(0, b"typed\n"), &mut |line| seen.push(line));
        for piece in [&b"in a te"[..], b"rminal\rmore\r", b"\nend\n"] {
            lines.feed(1, false, &data(0, piece), &mut |line| seen.push(line));
        }
        let typed = ["< typed", "< in a terminal", "< more", "< end"];
        assert_eq!(seen, [&["│ b", "│ ac"][..], &typed].concat());
    }

    #[test]
    fn what_begins_or_ends_within_a_message_is_not_whole() {
        let two = [data(0, b"one"), exit(3)].concat();
        assert!(is_whole(&two) && is_whole(&data(7, b"")));
        for at in 1..two.len() {
            let is_between = at == data(0, b"one").len();
            let (head, tail) = two.split_at(at);
            assert_eq!(
                (is_whole(head), is_whole(tail)),
                (is_between, is_between),
                "{at}"
            );
        }
        for wild in [
            &b""[..],
            b"\0\0\0\0",
            b"\xff\xff\xff\xff\x5e",
            b"\0\0\0\x02\x5e\0",
        ] {
            assert!(!is_whole(wild), "{wild:?}");
        }
    }

    #[test]
    fn whatever_it_is_it_is_read_or_counted() {
        for wild in [
            &b"\0\0\0\0"[..],
            b"\xff\xff\xff\xff",
            b"\0\0\0\x02\x5e\0",
            b"\0\0\0\x0a\x62\0\0\0\0\xff\xff\xff\xff\0",
            b"\0\0",
        ] {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            lines.feed(1, true, wild, &mut |line| seen.push(line));
            lines.feed(1, true, &data(0, b"x\n"), &mut |line| seen.push(line));
            lines.finish(&mut |line| seen.push(line));
            assert!(
                seen.iter().any(|line| line.starts_with('(')),
                "{wild:?}: {seen:?}"
            );
        }
    }
}
