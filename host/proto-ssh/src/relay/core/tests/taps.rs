//! A channel whose data is changed on its way: windows stay right, and what is asked about waits in its place.

use std::time::Duration;

use pipeline::mask::MaskEdits;
use pipeline::ports::MaskFailed;

use super::*;
use crate::relay::core::tap::{Stream, TapAsk, TapDone, TapError, TapOut};
use crate::transfer::{Attributes, Kind, Request as FileRequest, Way};

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// Drops `-`, adds a `+` behind each `+`, asks about `?`, ends the channel at `!`, holds `~` back until time passes,
/// and `#` until plugins have answered. A `*` was masked. For `|` it puts the width that it was told last, `|` if none.
#[derive(Default)]
struct Odd {
    held: Vec<Stream>,
    since: Option<Instant>,
    asked: u64,
    behind: Vec<u8>,
    looked_at: usize,
    width: Option<u8>,
}

impl Odd {
    fn read(
        &mut self,
        stream: Stream,
        data: &[u8],
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        for (at, b) in data.iter().enumerate() {
            match b {
                b'-' => out.dropped.push((stream, 1)),
                b'+' => {
                    out.pieces.push((stream, Bytes::from_static(b"++")));
                    out.added.push((stream, 1));
                }
                b'~' => {
                    self.held.push(stream);
                    self.since = Some(now);
                }
                b'#' => self.looked_at += 1,
                b'*' => {
                    out.masked.push((stream, 1));
                    out.pieces.push((stream, Bytes::from_static(b"*")));
                }
                b'|' => {
                    let width = self.width.unwrap_or(b'|');
                    out.pieces.push((stream, Bytes::copy_from_slice(&[width])));
                }
                b'!' => return Err(TapError("there is a !".into())),
                b'?' => {
                    self.asked += 1;
                    self.behind = data[at + 1..].to_vec();
                    out.ask = Some(TapAsk {
                        id: self.asked,
                        asked: FileRequest {
                            ticket: self.asked,
                            way: Way::ToServer,
                            kind: Kind::Stat,
                            paths: Vec::new(),
                            attributes: Attributes::default(),
                            opaque: Vec::new(),
                            raw: Bytes::from_static(b"?"),
                        },
                    });
                    return Ok(());
                }
                b => out.pieces.push((stream, Bytes::copy_from_slice(&[*b]))),
            }
        }
        Ok(())
    }
}

impl Tap for Odd {
    fn reads(&self, _: Stream) -> bool {
        true
    }
    fn push(
        &mut self,
        stream: Stream,
        data: Bytes,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        self.read(stream, &data, now, out)
    }
    fn answer(
        &mut self,
        answer: Result<Bytes, String>,
        now: Instant,
        out: &mut TapOut,
    ) -> Result<(), TapError> {
        match answer {
            Ok(bytes) => out.pieces.push((Stream::Input, bytes)),
            Err(_) => out.dropped.push((Stream::Input, 1)),
        }
        let result = OutcomeKind::Done;
        let (id, detail, bytes) = (self.asked, "asked".into(), 1);
        out.done.push(TapDone {
            id,
            result,
            detail,
            bytes,
        });
        let behind = std::mem::take(&mut self.behind);
        self.read(Stream::Input, &behind, now, out)
    }
    fn inspected(
        &mut self,
        stream: Stream,
        _: Result<MaskEdits, MaskFailed>,
        _: Instant,
        out: &mut TapOut,
    ) {
        let all = vec![b'#'; std::mem::take(&mut self.looked_at)];
        out.pieces.push((stream, all.into()));
    }
    fn is_inspecting(&self) -> bool {
        self.looked_at > 0
    }
    fn flush(&mut self, _: Stream, now: Instant, out: &mut TapOut) -> Result<(), TapError> {
        self.tick(now, out);
        Ok(())
    }
    fn deadline(&self) -> Option<Instant> {
        self.since.map(|at| at + Duration::from_millis(15))
    }
    fn tick(&mut self, _: Instant, out: &mut TapOut) {
        self.since = None;
        let pieces = self.held.drain(..).map(|s| (s, Bytes::from_static(b"~")));
        out.pieces.extend(pieces);
    }
    fn resize(&mut self, columns: u32) {
        self.width = Some(u8::try_from(columns).unwrap());
    }
    fn close(&mut self, _: &mut TapOut) {}
}

fn tapped(window: u32) -> Bench {
    let mut b = Bench::new();
    b.session(7, 3, window);
    b.client(request(3, b"exec", false, b"\0\0\0\x02ls"));
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    let grant = Grant {
        tap: Some(Box::<Odd>::default()),
        ..Grant::default()
    };
    let mut out = Vec::new();
    assert!(
        b.core
            .granted(ticket, forward, grant, b.now, &mut out)
            .unwrap()
    );
    b.take(out);
    b.sent = Pair::default();
    b
}

/// What waits for plugins has a bound over all channels: then nothing more of the host is read.
#[test]
fn what_waits_for_plugins_is_bounded_over_all_channels() {
    let mut b = tapped(1000);
    b.core.limits.inspected = 10;
    let mut keys: Vec<Key> = b.core.channels.keys().copied().collect();
    b.session(8, 4, 1000);
    b.client(request(4, b"exec", false, b"\0\0\0\x02ls"));
    let (ticket, _, forward) = b.asks.pop_front().unwrap();
    let grant = Grant {
        tap: Some(Box::<Odd>::default()),
        ..Grant::default()
    };
    let mut out = Vec::new();
    let granted = b.core.granted(ticket, forward, grant, b.now, &mut out);
    assert_eq!(granted, Ok(true));
    keys.extend(
        b.core
            .channels
            .keys()
            .copied()
            .filter(|k| *k != keys[0])
            .collect::<Vec<_>>(),
    );
    let mut out = Vec::new();
    for (number, data, much) in [
        (7, &b"#####"[..], false),
        (8, b"####", false),
        // What goes on at once is none of it.
        (8, b"abcdefghijkl", false),
        (8, b"#", true),
    ] {
        b.upstream(on(number, ChannelMessage::Data(data)));
        assert_eq!(b.core.is_inspecting_much(), much, "{number}");
    }
    let edits = || Ok(MaskEdits::default());
    b.core
        .inspected(keys[0], Stream::Output, edits(), b.now, &mut out)
        .unwrap();
    assert!(!b.core.is_inspecting_much());
    b.core
        .inspected(keys[1], Stream::Output, edits(), b.now, &mut out)
        .unwrap();
    let sent = |out: &[Effect]| {
        out.iter()
            .filter(|e| matches!(e, Effect::Send { .. }))
            .count()
    };
    assert!(sent(&out) >= 2, "{}", sent(&out));
    b.core.check();
}

/// All data that waits for this side, joined, and what it was granted.
fn drain(b: &mut Bench, side: Side) -> (Vec<u8>, u32) {
    let (mut all, mut granted) = (Vec::new(), 0);
    for payload in b.sent.of_mut(side).drain(..) {
        match Connection::parse(&payload).unwrap() {
            Connection::Channel {
                message: ChannelMessage::Data(data),
                ..
            } => all.extend_from_slice(data),
            Connection::Channel {
                message: ChannelMessage::WindowAdjust { bytes },
                ..
            } => granted += bytes,
            other => panic!("{other:?}"),
        }
    }
    (all, granted)
}

#[test]
fn what_is_dropped_is_given_back_and_what_is_added_is_owed() {
    let mut b = tapped(100);
    b.upstream(data(7, b"a--b+c"));
    assert_eq!(drain(&mut b, C), (b"ab++c".to_vec(), 0));
    // Of the two that were dropped, one makes up for the one that was added.
    assert_eq!(drain(&mut b, U), (vec![], 1));
    b.upstream(data(7, b"+"));
    b.core.check();
    b.client(adjust(3, 10));
    assert_eq!(drain(&mut b, U), (vec![], 9));
    b.core.check();
}

#[test]
fn what_is_asked_about_waits_in_its_place() {
    for permitted in [true, false] {
        let mut b = tapped(100);
        b.client(data(3, b"ab?cd?e"));
        b.client(data(3, b"f"));
        b.client(on(3, ChannelMessage::Eof));
        assert_eq!(drain(&mut b, U).0, b"ab");
        b.passes(U, data(7, b"x"));
        for _ in 0..2 {
            match permitted {
                true => {
                    b.grant();
                }
                false => b.refuse(),
            }
        }
        let told = b
            .sent
            .client
            .iter()
            .filter(|m| m.ends_with(b"weir: refused: no\n"));
        assert_eq!(told.count(), if permitted { 0 } else { 2 });
        b.sent
            .client
            .retain(|m| !m.ends_with(b"weir: refused: no\n"));
        let eof = b.sent.upstream.pop_back().unwrap();
        assert_eq!(Connection::parse(&eof), Ok(on(3, ChannelMessage::Eof)));
        let expect: &[u8] = if permitted { b"?cd?ef" } else { b"cdef" };
        assert_eq!(drain(&mut b, U).0, expect);
        assert_eq!(drain(&mut b, C).1, if permitted { 0 } else { 2 });
        assert_eq!(b.outcomes.len(), if permitted { 2 } else { 0 });
        b.core.check();
    }
}

#[test]
fn what_is_held_back_goes_with_time_or_before_the_end() {
    let mut b = tapped(100);
    b.upstream(data(7, b"a~"));
    assert_eq!(drain(&mut b, C).0, b"a");
    b.now += Duration::from_millis(20);
    let mut out = Vec::new();
    b.core.tick(b.now, &mut out).unwrap();
    b.take(out);
    assert_eq!(drain(&mut b, C).0, b"~");
    assert_eq!(b.core.deadline(), None);
    for end in [
        request(7, b"exit-status", false, &[0; 4]),
        on(7, ChannelMessage::Eof),
        on(7, ChannelMessage::Close),
    ] {
        let mut b = tapped(100);
        b.upstream(data(7, b"~"));
        b.gets_nothing(C);
        b.upstream(end);
        b.gets(C, data(7, b"~"));
        b.gets(C, end);
    }
}

/// Whoever gets changed bytes of what is no text is told once, behind them and before the end, and as far as there is
/// room; it is on record.
#[test]
fn what_was_masked_is_told_before_the_end() {
    const TOLD: &[u8] = b"weir: 2 bytes of what the command wrote, which is no text, looked like secrets and came as *; \
                          fetch files with scp, sftp or rsync\n";
    let eof = || on(7, ChannelMessage::Eof);
    let close = || on(7, ChannelMessage::Close);
    for ends in [vec![eof(), close()], vec![close()]] {
        let mut b = tapped(5);
        b.upstream(data(7, b"a**"));
        assert_eq!(drain(&mut b, C).0, b"a**");
        b.upstream(request(7, b"exit-status", false, &[0; 4]));
        b.gets(C, request(7, b"exit-status", false, &[0; 4]));
        for end in ends.clone() {
            b.upstream(end);
        }
        b.core.check();
        b.gets(C, errors(7, &TOLD[..2]));
        b.gets_nothing(C);
        b.client(adjust(3, 1000));
        b.gets(C, errors(7, &TOLD[2..]));
        for end in ends {
            b.gets(C, end);
        }
    }
}

/// A line that is wrapped is read as one by the width: what comes behind a change is read by the new one, also while
/// a program runs and its text is under way.
#[test]
fn a_terminal_that_is_resized_has_its_new_width_between_pieces_of_text() {
    let mut size = [0; 16];
    let mut resize = |b: &mut Bench, columns: u8| {
        size[3] = columns;
        let change = request(3, b"window-change", false, &size);
        b.client(change);
        // Only once: the host is told, too, and nobody else is.
        b.gets(U, change);
        b.gets_nothing(U);
    };
    let mut b = tapped(1000);
    b.upstream(data(7, b"a|"));
    assert_eq!(drain(&mut b, C).0, b"a|");
    resize(&mut b, 132);
    b.upstream(data(7, b"b|c"));
    assert_eq!(drain(&mut b, C).0, b"b\x84c");
    b.upstream(data(7, b"|"));
    assert_eq!(drain(&mut b, C).0, b"\x84");
    resize(&mut b, 80);
    resize(&mut b, 40);
    b.upstream(data(7, b"|"));
    assert_eq!(drain(&mut b, C).0, b"\x28");
    // One that has no width in it changes none.
    b.client(request(3, b"window-change", false, &[0, 0, 0]));
    b.sent.upstream.clear();
    b.upstream(data(7, b"|"));
    assert_eq!(drain(&mut b, C).0, b"\x28");
    b.core.check();
}

#[test]
fn a_tap_that_cannot_go_on_ends_the_channel() {
    for from in [C, U] {
        let mut b = tapped(1000);
        let number = if from == C { 3 } else { 7 };
        b.try_from(from, data(number, b"x!y")).unwrap();
        b.gets(C, errors(7, b"weir: this channel ends: there is a !\n"));
        b.gets(C, request(7, b"exit-status", false, &[0, 0, 0, 126]));
        b.gets(C, on(7, ChannelMessage::Eof));
        b.gets(C, on(7, ChannelMessage::Close));
        b.gets(U, on(3, ChannelMessage::Eof));
        b.client(data(3, b"more"));
        b.upstream(data(7, b"more"));
        b.gets_nothing(C);
        b.gets_nothing(U);
        b.passes(C, on(3, ChannelMessage::Close));
        b.upstream(on(7, ChannelMessage::Close));
        b.gets_nothing(C);
        assert_eq!(b.core.counts(), (0, 0, 0));
        assert_eq!(b.outcomes[0].1, OutcomeKind::Failed);
    }
}

/// Why it ended is on record, also where the connection is gone before the host has closed it.
#[test]
fn why_a_channel_was_ended_is_known_at_the_end_of_the_connection() {
    let mut b = tapped(1000);
    b.upstream(data(7, b"x!y"));
    let mut out = Vec::new();
    b.core.abandon(&mut out);
    b.take(out);
    let (_, kind, detail, _) = &b.outcomes[0];
    assert_eq!(
        (*kind, detail.as_str()),
        (OutcomeKind::Failed, "there is a !")
    );
}

/// Nobody is told twice that nothing more comes, and nothing comes after that.
#[test]
fn a_channel_that_ends_after_eof_only_closes() {
    let mut b = tapped(1000);
    b.passes(U, on(7, ChannelMessage::Eof));
    b.client(data(3, b"!"));
    b.gets(C, on(7, ChannelMessage::Close));
    b.gets_nothing(C);
    b.gets(U, on(3, ChannelMessage::Eof));
    let mut b = tapped(1000);
    b.passes(C, on(3, ChannelMessage::Eof));
    b.upstream(data(7, b"!"));
    b.gets_nothing(U);
    // The host has said all that it says, and then something is refused.
    let mut b = Bench::new();
    b.session(7, 3, 1000);
    b.passes(U, on(7, ChannelMessage::Eof));
    b.client(request(3, b"exec", true, b"\0\0\0\x02ls"));
    b.refuse();
    b.gets(C, on(7, ChannelMessage::Success));
    b.gets(C, on(7, ChannelMessage::Close));
    b.gets_nothing(C);
}
