//! Peers that do anything that the protocol allows, in any order, while decisions come at any time. Each knows
//! only what it was sent. Every byte and every reply says where it belongs.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::action::What;
use crate::wire::Reader;

const C: Side = Side::Client;
const U: Side = Side::Upstream;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        match of.len() {
            0 => None,
            n => of.get(self.roll(n as u64) as usize).copied(),
        }
    }
}

/// The largest packet of a client's channel, but for its number.
const OPENED: u32 = 32 << 10;

/// That of a host's channel: small, so that data is divided.
fn confirmed(id: u32) -> u32 {
    40 + id % 64
}

/// The byte at a place of one direction of one channel.
fn byte(id: u32, from: Side, at: usize) -> u8 {
    let salt = if from == C { 17 } else { 91 };
    (id as usize * 31 + at * 7 + salt) as u8
}

/// What the host answers to a request.
fn says(id: u32, index: u32) -> bool {
    (id * 7 + index).is_multiple_of(3)
}

/// A number without NUL and carriage return.
fn coded(index: u32) -> [u8; 4] {
    (index + 0x4040_4040).to_be_bytes()
}

fn decoded(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap()) - 0x4040_4040
}

#[derive(Default)]
struct End {
    id: u32,
    remote: Option<u32>,
    send: u64,
    receive: u64,
    sent: usize,
    got: usize,
    eof_sent: bool,
    eof_got: bool,
    close_sent: bool,
    close_got: bool,
    /// Client: requests that want a reply. Upstream: requests to answer.
    requests: VecDeque<u32>,
    next: u32,
    started: bool,
    exit_got: bool,
}

struct World {
    b: Bench,
    dice: Dice,
    ends: Pair<BTreeMap<u32, End>>,
    /// By channel and request: was it refused by us, and was it to start something?
    refused: HashMap<(u32, u32), bool>,
    dead: HashMap<u32, &'static str>,
    ids: u32,
    finished: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut b = Bench::with(Limits {
            window: 150,
            ..Limits::default()
        });
        // Commands are numbers here, and are to come as they are.
        b.core.set_gathers(false);
        Self {
            b,
            dice: Dice(seed * 2 + 1),
            ends: Pair::default(),
            refused: HashMap::new(),
            dead: HashMap::new(),
            ids: 0,
            finished: 0,
        }
    }

    fn say(&mut self, from: Side, message: Connection<'_>) {
        let said = self.b.try_from(from, message);
        assert_eq!(said, Ok(()), "{from} says {message:?}");
    }

    fn free(&self, side: Side) -> u32 {
        (0..).find(|n| !self.ends.of(side).contains_key(n)).unwrap()
    }

    fn open(&mut self) {
        let n = self.free(C);
        self.ids += 1;
        let id = self.ids;
        let window = self.dice.roll(200) as u32;
        self.ends.client.insert(
            n,
            End {
                id,
                receive: window.into(),
                ..End::default()
            },
        );
        // By this its opening is known: no other field is the sender's alone.
        let max_packet = OPENED + id;
        let session = Open {
            kind: b"session",
            sender: n,
            window,
            max_packet,
            data: b"",
        };
        self.say(C, Connection::Open(session));
    }

    /// One message is read by whom it was sent to.
    fn read(&mut self, side: Side) {
        let Some(payload) = self.b.sent.of_mut(side).pop_front() else {
            return;
        };
        match Connection::parse(&payload).unwrap() {
            Connection::Open(o) => self.asked_to_open(o),
            Connection::OpenConfirmation {
                recipient,
                sender,
                window,
                max_packet,
                ..
            } => {
                let end = self.ends.of_mut(side).get_mut(&recipient).unwrap();
                assert_eq!(max_packet, confirmed(end.id), "another channel's number");
                end.remote = Some(sender);
                end.send = window.into();
            }
            Connection::OpenFailure { recipient, .. } => {
                self.ends.of_mut(side).remove(&recipient).unwrap();
            }
            Connection::Channel { recipient, message } => self.on_channel(side, recipient, message),
            other => panic!("{other:?}"),
        }
    }

    fn asked_to_open(&mut self, o: Open<'_>) {
        let id = o.max_packet - OPENED;
        if self.dice.roll(8) == 0 {
            let failure = Connection::OpenFailure {
                recipient: o.sender,
                reason: 2,
                description: b"",
            };
            return self.say(U, failure);
        }
        let n = self.free(U);
        let window = self.dice.roll(300) as u32;
        let end = End {
            id,
            remote: Some(o.sender),
            send: o.window.into(),
            receive: window.into(),
            ..End::default()
        };
        self.ends.upstream.insert(n, end);
        self.say(
            U,
            Connection::OpenConfirmation {
                recipient: o.sender,
                sender: n,
                window,
                max_packet: confirmed(id),
                data: b"",
            },
        );
    }

    fn on_channel(&mut self, side: Side, number: u32, message: ChannelMessage<'_>) {
        let ends = self.ends.of_mut(side);
        let end = ends.get_mut(&number);
        let end = end.unwrap_or_else(|| panic!("{side} has no channel {number}: {message:?}"));
        assert!(!end.close_got, "{side} gets {message:?} after CLOSE");
        match message {
            ChannelMessage::WindowAdjust { bytes } => end.send += u64::from(bytes),
            ChannelMessage::Data(data) => {
                assert!(!end.eof_got, "data after EOF");
                end.receive = end.receive.checked_sub(data.len() as u64).expect("window");
                for b in data {
                    assert_eq!(*b, byte(end.id, side.other(), end.got), "order");
                    end.got += 1;
                }
            }
            ChannelMessage::ExtendedData { data, .. } => {
                assert!(!end.eof_got, "data after EOF");
                end.receive = end.receive.checked_sub(data.len() as u64).expect("window");
            }
            ChannelMessage::Eof => end.eof_got = true,
            ChannelMessage::Close => {
                end.close_got = true;
                if end.close_sent {
                    self.forget(side, number);
                }
            }
            ChannelMessage::Request(request) if side == U => {
                let mut r = Reader::new(request.data);
                let index = match request.name {
                    b"env" => {
                        r.string().unwrap();
                        decoded(r.string().unwrap())
                    }
                    b"exec" => decoded(&r.string().unwrap()[1..5]),
                    b"window-change" => decoded(r.bytes(4).unwrap()),
                    name => panic!("{name:?}"),
                };
                let refused = self.refused.get(&(end.id, index));
                assert_eq!(refused, None, "a refused request arrived");
                end.started |= request.name == b"exec" && says(end.id, index);
                if request.name == b"exec" && !end.started {
                    // What comes for it is dropped.
                    self.dead.entry(end.id).or_insert("not started");
                }
                if request.want_reply {
                    end.requests.push_back(index);
                }
            }
            ChannelMessage::Request(_) => end.exit_got = true,
            ChannelMessage::Success | ChannelMessage::Failure => {
                let index = end.requests.pop_front().expect("a request to answer");
                let success = match self.refused.get(&(end.id, index)) {
                    Some(started) => *started,
                    None => says(end.id, index),
                };
                let got = message == ChannelMessage::Success;
                // A host that closes answers nothing more; then it is we who do.
                let dead = !got && self.dead.contains_key(&end.id);
                assert!(got == success || dead, "the reply to request {index}");
            }
        }
    }

    fn forget(&mut self, side: Side, number: u32) {
        let end = self.ends.of_mut(side).remove(&number).unwrap();
        self.dead.entry(end.id).or_insert("closed");
        self.finished += 1;
    }

    /// Some peer does something.
    fn act(&mut self, side: Side, gently: bool) {
        let able = |(n, e): (&u32, &End)| (e.remote.is_some() && !e.close_sent).then_some(*n);
        let numbers: Vec<u32> = self.ends.of(side).iter().filter_map(able).collect();
        let Some(number) = self.dice.pick(&numbers) else {
            return;
        };
        let choice = self.dice.roll(if gently { 12 } else { 14 });
        let size = self.dice.roll(60);
        let end = self.ends.of_mut(side).get_mut(&number).unwrap();
        let remote = end.remote.unwrap();
        match choice {
            0..=4 => {
                let n = size.min(end.send).min(40) as usize;
                if end.eof_sent || n == 0 || !end.started {
                    return;
                }
                let bytes: Vec<u8> = (0..n).map(|i| byte(end.id, side, end.sent + i)).collect();
                end.sent += n;
                end.send -= n as u64;
                self.say(side, data(remote, &bytes));
            }
            5..=7 => {
                if end.receive > 300 {
                    return;
                }
                end.receive += size;
                self.say(side, adjust(remote, size as u32));
            }
            8..=10 if side == C => self.request(number, remote),
            8..=10 => {
                if let Some(index) = end.requests.pop_front() {
                    let answer = match says(end.id, index) {
                        true => ChannelMessage::Success,
                        false => ChannelMessage::Failure,
                    };
                    self.say(U, on(remote, answer));
                }
            }
            11 => {
                if !end.started || side == U && !end.requests.is_empty() || end.eof_sent {
                    return;
                }
                end.eof_sent = true;
                self.say(side, on(remote, ChannelMessage::Eof));
            }
            _ => {
                if side == U && (!end.started || !end.eof_sent) && !end.close_got {
                    return;
                }
                if side == C && !end.close_got && size > 5 {
                    return;
                }
                self.close(side, number);
            }
        }
    }

    fn request(&mut self, number: u32, remote: u32) {
        let roll = self.dice.roll(5);
        let want_reply = self.dice.roll(4) > 0;
        let end = self.ends.client.get_mut(&number).unwrap();
        let index = end.next;
        end.next += 1;
        if want_reply {
            end.requests.push_back(index);
        }
        match roll {
            0 if !end.started => {
                end.started = true;
                let mut command = vec![b'x'];
                command.extend(coded(index));
                self.say(
                    C,
                    request(remote, b"exec", want_reply, &strings(&[&command])),
                );
            }
            1 | 2 if !end.started => {
                let value = strings(&[b"V", &coded(index)]);
                self.say(C, request(remote, b"env", want_reply, &value));
            }
            _ => {
                let mut bytes = coded(index).to_vec();
                bytes.extend([0; 12]);
                self.say(C, request(remote, b"window-change", want_reply, &bytes));
            }
        }
    }

    fn close(&mut self, side: Side, number: u32) {
        let end = self.ends.of_mut(side).get_mut(&number).unwrap();
        end.close_sent = true;
        let (remote, over) = (end.remote.unwrap(), end.close_got);
        self.dead.entry(end.id).or_insert("closing");
        self.say(side, on(remote, ChannelMessage::Close));
        if over {
            self.forget(side, number);
        }
    }

    fn decide(&mut self) {
        let n = self.b.asks.len();
        if n == 0 {
            return;
        }
        let at = self.dice.roll(n as u64) as usize;
        let (ticket, asked, forward) = self.b.asks.remove(at).unwrap();
        match self.dice.roll(4) {
            0 => {
                self.b.hold(ticket);
                self.b.asks.push_back((ticket, asked, forward));
            }
            1 => {
                let client = self.ends.client.get(&asked.channel.unwrap());
                let (index, start) = match &asked.what {
                    What::Exec { command, .. } => (&command[1..5], true),
                    What::Env { value, .. } => (&value[..], false),
                    other => panic!("{other:?}"),
                };
                let index = decoded(index);
                if let Some(end) = client
                    && !self.b.cancelled.contains(&ticket)
                {
                    self.refused.insert((end.id, index), start);
                    if start {
                        self.dead.insert(end.id, "refused");
                    }
                }
                self.b.refuse_it(ticket);
            }
            _ => {
                self.b.grant_it(ticket, forward);
            }
        }
    }

    fn step(&mut self, gently: bool) {
        match self.dice.roll(12) {
            0 if !gently && self.ends.client.len() < 6 => self.open(),
            1..=2 => self.read(C),
            3..=4 => self.read(U),
            5..=7 => self.act(C, gently),
            8..=10 => self.act(U, gently),
            _ => self.decide(),
        }
    }

    /// Everything that is under way arrives; then everything is closed.
    fn settle(&mut self) {
        for _ in 0..3000 {
            self.step(true);
            self.read(C);
            self.read(U);
        }
        for (number, end) in &self.ends.client {
            let live = !self.dead.contains_key(&end.id) && end.remote.is_some();
            let other = self.ends.upstream.values().find(|o| o.id == end.id);
            if let (true, Some(other)) = (live, other) {
                assert_eq!(other.got, end.sent, "to the host on {number}");
                assert_eq!(end.got, other.sent, "to the client on {number}");
            }
        }
        while !self.ends.client.is_empty() || !self.ends.upstream.is_empty() {
            for side in [C, U] {
                let numbers: Vec<u32> = self.ends.of(side).keys().copied().collect();
                for number in numbers {
                    let end = self.ends.of_mut(side).get_mut(&number).unwrap();
                    if end.remote.is_some() && !end.close_sent {
                        self.close(side, number);
                    }
                }
                while !self.b.sent.of(side).is_empty() {
                    self.read(side);
                }
            }
            while !self.b.asks.is_empty() {
                self.decide();
            }
        }
        assert_eq!(self.b.core.counts(), (0, 0, 0));
    }
}

#[test]
fn any_order_of_anything() {
    let mut finished = 0;
    for seed in 1..200 {
        let mut world = World::new(seed);
        for _ in 0..1500 {
            world.step(false);
            world.b.core.check();
        }
        world.settle();
        finished += world.finished;
    }
    assert!(
        finished > 5_000,
        "only {finished} ends of channels were seen"
    );
}
