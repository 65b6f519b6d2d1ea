//! `weir replay --play`: a recorded terminal, played in this one.
//!
//! What was recorded was written by whoever was on the host, and this terminal is somebody else's. It gets text,
//! colours and movements of the cursor; what asks a terminal for an answer, sets its clipboard or title, or speaks
//! to it in strings (OSC, DCS, APC, PM, SOS) is left out. However it ends, this terminal is left as it was.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Events that are read ahead.
const AHEAD: usize = 256;
/// A line of asciicast is not longer: one record has at most so many bytes, each at most six characters.
const MAX_LINE: usize = 64 << 20;
/// How often it is looked whether whoever watches has had enough, and how long that takes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(1);

/// How it is played.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) speed: f64,
    /// No pause is longer.
    pub(super) idle: Duration,
}

/// A time, a code and data, as in asciicast v2.
type Event = (f64, String, String);

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Played {
    All,
    /// Whoever watched has had enough.
    Interrupted,
}

/// Takes asciicast v2 and plays it.
pub(super) struct Player {
    line: Vec<u8>,
    events: Option<SyncSender<Event>>,
    thread: Option<JoinHandle<io::Result<Played>>>,
}

/// Lets time pass, unless the key that interrupts is pressed, or the process is told to end: then, too, the terminal
/// is given back.
struct Interrupts {
    runtime: Runtime,
    signals: [Signal; 3],
}

impl Interrupts {
    /// From here on, these do not end the process by themselves.
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = runtime.block_on(async {
            Ok::<_, io::Error>([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ])
        })?;
        Ok(Self { runtime, signals })
    }

    /// False: it was interrupted.
    fn pass(&mut self, time: Duration) -> bool {
        let Self { runtime, signals } = self;
        let [interrupt, terminate, hangup] = signals;
        runtime.block_on(async {
            let any = async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
            };
            tokio::time::timeout(time, any).await.is_err()
        })
    }
}

impl Player {
    pub(super) fn start(pace: Pace) -> Self {
        let (events, played) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || {
            let mut interrupts = Interrupts::new()?;
            let mut pass = |time| interrupts.pass(time);
            play(&played, pace, &mut pass, &mut io::stdout())
        });
        Self {
            line: Vec::new(),
            events: Some(events),
            thread: Some(thread),
        }
    }

    /// Waits until all of it is played.
    pub(super) fn finish(mut self) -> io::Result<Played> {
        drop(self.events.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(io::Error::other("the player ended by itself")),
        }
    }

    fn take(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        // The header is an object, which plays nothing.
        let Ok(Value::Array(event)) = serde_json::from_slice(&line) else {
            return Ok(());
        };
        let [Value::Number(at), Value::String(code), Value::String(data)] = event.as_slice() else {
            return Ok(());
        };
        let event = (at.as_f64().unwrap_or_default(), code.clone(), data.clone());
        let sent = self.events.as_ref().map(|events| events.send(event));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
    }
}

impl Write for Player {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE {
                return Err(io::Error::other("an event is too long to be played"));
            }
            if piece.ends_with(b"\n") {
                self.take()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `pass` lets time pass, and says whether it goes on.
fn play(
    events: &Receiver<Event>,
    pace: Pace,
    pass: &mut dyn FnMut(Duration) -> bool,
    out: &mut dyn Write,
) -> io::Result<Played> {
    let mut plain = Plain::default();
    let mut said = Said::default();
    let mut last = 0.0;
    let mut due = Instant::now();
    let mut looked = due;
    let played = loop {
        let (at, code, data) = match events.recv_timeout(LOOK_EVERY) {
            Ok(event) => event,
            Err(RecvTimeoutError::Disconnected) => break Played::All,
            Err(RecvTimeoutError::Timeout) if pass(LOOK) => continue,
            Err(RecvTimeoutError::Timeout) => break Played::Interrupted,
        };
        let pause = Duration::try_from_secs_f64((at - last).max(0.0) / pace.speed);
        due += pause.unwrap_or(pace.idle).min(pace.idle);
        last = at;
        let now = Instant::now();
        let mut pause = due.saturating_duration_since(now);
        if pause.is_zero() {
            // It is late, because what was read or written took its time: it does not run to catch up.
            due = now;
            if now.duration_since(looked) > LOOK_EVERY {
                pause = LOOK;
            }
        }
        if !pause.is_zero() {
            out.flush()?;
            looked = now;
            if !pass(pause) {
                break Played::Interrupted;
            }
        }
        match code.as_str() {
            "o" => out.write_all(plain.pass(&data).as_bytes())?,
            // Who agreed to what, and what was refused, is part of what happened.
            "m" if is_told(&data) => {
                let shown: String = data.chars().filter(|c| !c.is_control()).collect();
                // What is told at the end does not move the last screen away.
                if !shown.contains(ELSEWHERE) {
                    write!(out, "\r\n\x1b[7m weir: {shown} \x1b[0m\r\n")?;
                }
                said.add(at, shown);
            }
            _ => {}
        }
    };
    out.write_all(RESTORE.as_bytes())?;
    said.write(played, out)?;
    out.flush()?;
    Ok(played)
}

/// In the markers of what else ran in the session.
const ELSEWHERE: &str = "not played here";

/// Held, refused, missing, or played elsewhere: markers of Weir's own, with no words of the host.
fn is_told(marker: &str) -> bool {
    let words = ["held", "refused", "not whole", ELSEWHERE];
    marker.starts_with("GAP") || words.iter().any(|word| marker.contains(word))
}

/// Whatever the recording left on, such as another screen, colours, a hidden cursor, letters drawn as boxes, a part of
/// the screen that alone scrolls, or lines that are not wrapped; then below everything that is shown.
const RESTORE: &str = "\x1b[0m\x1b[?25h\x1b[?47l\x1b[?1047l\x1b[?1049l\x0f\x1b(B\x1b)B\x1b*B\x1b+B\x1b>\
                       \x1b[4l\x1b[20l\x1b[?1l\x1b[?6l\x1b[?7h\x1b[r\x1b[9999;1H\x1b[K\r\n";

/// Of what Weir says, so much is told again.
const MAX_SAID: usize = 1_000;

/// What Weir itself said of the session. A host can draw lines that look like these, so they stand once more where
/// nothing of the host follows.
#[derive(Debug, Default)]
struct Said {
    lines: Vec<(f64, String)>,
    more: u64,
}

impl Said {
    fn add(&mut self, at: f64, line: String) {
        match self.lines.len() < MAX_SAID {
            true => self.lines.push((at, line)),
            false => self.more += 1,
        }
    }

    fn write(&self, played: Played, out: &mut dyn Write) -> io::Result<()> {
        write!(
            out,
            "---- All above this line is as the host wrote it, and it can draw lines that look like Weir's. ----\r\n"
        )?;
        if played == Played::Interrupted {
            write!(out, "It was not played to its end.\r\n")?;
        }
        if self.lines.is_empty() {
            return write!(
                out,
                "Weir recorded nothing that was held or refused, that is missing or is not played here.\r\n"
            );
        }
        write!(
            out,
            "Held, refused, missing, or not played here, as Weir recorded it:\r\n"
        )?;
        for (at, line) in &self.lines {
            write!(out, "  {at:>9.3}s  {line}\r\n")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(out, "  and {more} more: see weir replay without --play\r\n"),
        }
    }
}

/// Where in an escape sequence (ECMA-48) the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    Escape,
    /// ESC and intermediate bytes, such as the choice of a character set.
    Intermediate,
    Csi,
    /// A string that ends with ST or BEL.
    String,
    StringEscape,
}

/// Passes what a terminal may be told.
#[derive(Debug, Default)]
struct Plain {
    state: State,
    sequence: String,
}

/// The longest sequence that anything means something by.
const MAX_SEQUENCE: usize = 128;

impl Plain {
    fn pass(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            self.next(c, &mut out);
        }
        out
    }

    fn next(&mut self, c: char, out: &mut String) {
        self.state = match (self.state, c) {
            // 8-bit controls begin the same sequences as ESC and a letter.
            (State::Text | State::Escape | State::Csi | State::Intermediate, '\u{1b}') => {
                self.sequence.clear();
                State::Escape
            }
            (State::Text, '\u{9b}') => {
                self.sequence.clear();
                State::Csi
            }
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => State::String,
            (State::Text, '\r' | '\n' | '\t' | '\u{8}' | '\u{7}' | '\u{e}' | '\u{f}') => {
                out.push(c);
                State::Text
            }
            (State::Text, c) if c.is_control() => State::Text,
            (State::Text, c) => {
                out.push(c);
                State::Text
            }
            (State::Escape, '[') => State::Csi,
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Escape, ' '..='/') => {
                self.sequence.push(c);
                State::Intermediate
            }
            // Save, restore, index, next line, reverse index, keypad modes. Not: identify (Z), reset (c), tab stops (H).
            (State::Escape, '7' | '8' | 'D' | 'E' | 'M' | '=' | '>') => {
                out.push('\u{1b}');
                out.push(c);
                State::Text
            }
            (State::Escape, _) => State::Text,
            (State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Intermediate, c) => {
                // The choice of a character set, for lines and boxes.
                if matches!(self.sequence.as_str(), "(" | ")" | "*" | "+") && "0AB".contains(c) {
                    out.push('\u{1b}');
                    out.push_str(&self.sequence);
                    out.push(c);
                }
                State::Text
            }
            (State::Csi, ' '..='?') => {
                self.sequence.push(c);
                match self.sequence.len() > MAX_SEQUENCE {
                    true => State::Text,
                    false => State::Csi,
                }
            }
            (State::Csi, '@'..='~') => {
                self.csi(c, out);
                State::Text
            }
            (State::Csi, _) => State::Text,
            (State::String, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') => State::Text,
            (State::String, '\u{1b}') => State::StringEscape,
            (State::String, _) => State::String,
            (State::StringEscape, '\\') => State::Text,
            (State::StringEscape, '\u{1b}') => State::StringEscape,
            (State::StringEscape, _) => State::String,
        };
    }

    /// Movements, erasing, inserting, scrolling, colours, and modes. Not: reports (c, n), windows (t), what a
    /// terminal answers to or what outlasts the player.
    fn csi(&self, last: char, out: &mut String) {
        let parameters = self.sequence.trim_start_matches('?');
        let digits = parameters
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ';' | ':'));
        let private = self.sequence.starts_with('?');
        let passes = match last {
            // Not 3: what the terminal showed before is whoever watches's.
            'J' => ["", "0", "1", "2"].contains(&parameters),
            'A'..='H'
            | 'K'..='M'
            | 'P'
            | 'S'
            | 'T'
            | 'X'
            | '@'
            | 'd'
            | 'e'
            | 'f'
            | 'm'
            | 'r'
            | '`'
            | 's'
            | 'u' => digits && (!private || last == 'K'),
            // Cursor, wrapping, origin, the other screen. Not: mice, pasted text, focus.
            'h' | 'l' if private => {
                ["1", "6", "7", "12", "25", "47", "1047", "1048", "1049"].contains(&parameters)
            }
            'h' | 'l' => ["4", "20"].contains(&parameters),
            _ => false,
        };
        if passes {
            out.push_str("\u{1b}[");
            out.push_str(&self.sequence);
            out.push(last);
        }
    }
}

#[cfg(test)]
mod tests;
