//! Data of a channel on its way through: what goes on now, what waits, and what a tap makes of it.

use std::time::Instant;

use bytes::Bytes;

use super::super::flow::Out;
use super::super::tap::{Stream, TapAsk, TapError, TapOut};
use super::super::{Effect, Side};
use super::Channel;
use crate::wire::{ChannelMessage, numbers};

impl Channel {
    /// Passes on what can go on now; for that, its sender may send more.
    pub fn pump(&mut self, from: Side, out: &mut Vec<Effect>) {
        self.pass_queued(from, out);
        self.grant_due(from, out);
    }

    fn grant_due(&mut self, from: Side, out: &mut Vec<Effect>) {
        let give = self.flows.of_mut(from).due();
        self.grant(from, give, out);
    }

    fn pass_queued(&mut self, from: Side, out: &mut Vec<Effect>) {
        let to = from.other();
        loop {
            // Who has closed reads nothing more, and gives no room.
            let deaf = self.flows.of(to).closed;
            // What plugins still look at comes before the end that the host has told already.
            let early = from == Side::Upstream && self.is_inspecting();
            if !early && !deaf && from == Side::Upstream {
                self.tell_masked();
            }
            let flow = self.flows.of_mut(from);
            let payload = match flow.queue.pop_front() {
                None => return,
                Some(Out::Data { code, mut bytes }) => {
                    let n = flow.fits(bytes.len());
                    if n == 0 {
                        if !bytes.is_empty() && !deaf {
                            flow.queue.push_front(Out::Data { code, bytes });
                            return;
                        }
                        continue;
                    }
                    let piece = bytes.split_to(n);
                    flow.passes(n);
                    if !bytes.is_empty() {
                        flow.queue.push_front(Out::Data { code, bytes });
                    }
                    self.made(to, data_message(code, &piece))
                }
                Some(last @ (Out::Message(_) | Out::Close(_))) if early => {
                    flow.queue.push_front(last);
                    return;
                }
                Some(Out::Message(payload)) => payload,
                Some(Out::Close(payload)) => {
                    self.send(to, payload, out);
                    let flow = self.flows.of_mut(from);
                    flow.close_sent = true;
                    flow.queue.clear();
                    return;
                }
            };
            self.send(to, payload, out);
        }
    }

    /// Before the end of the host's data, whoever got changed bytes of what is no text is told so.
    fn tell_masked(&mut self) {
        let flow = &mut self.flows.upstream;
        let ends = match flow.queue.front() {
            Some(Out::Message(message)) => message.first() == Some(&numbers::CHANNEL_EOF),
            Some(Out::Close(_)) => !flow.eof_sent,
            Some(Out::Data { .. }) | None => false,
        };
        if ends && let Some(line) = self.masked.tell() {
            flow.added(line.len() as u64);
            let code = Some(numbers::EXTENDED_DATA_STDERR);
            let bytes = line.as_bytes().into();
            flow.queue.push_front(Out::Data { code, bytes });
        }
    }

    /// A message that does not overtake data.
    pub fn in_order(&mut self, from: Side, message: Out, out: &mut Vec<Effect>) {
        self.flows.of_mut(from).queue.push_back(message);
        self.pump(from, out);
    }

    /// Data that is to go on, in as many packets as it takes.
    pub fn pass(&mut self, from: Side, code: Option<u32>, data: &[u8], out: &mut Vec<Effect>) {
        let flow = self.flows.of_mut(from);
        let n = data.len();
        if flow.queue.is_empty() && n > 0 && flow.fits(n) == n {
            flow.passes(n);
            let payload = self.made(from.other(), data_message(code, data));
            self.send(from.other(), payload, out);
            self.grant_due(from, out);
            return;
        }
        let queue = &mut self.flows.of_mut(from).queue;
        // The host says nothing but its end between data: that waits for what was before it.
        let ends = match from {
            Side::Client => None,
            Side::Upstream => queue.iter().position(|o| !matches!(o, Out::Data { .. })),
        };
        let at = ends.unwrap_or(queue.len());
        match at.checked_sub(1).and_then(|before| queue.get_mut(before)) {
            Some(Out::Data { code: last, bytes }) if *last == code => {
                bytes.extend_from_slice(data);
            }
            _ => queue.insert(
                at,
                Out::Data {
                    code,
                    bytes: data.into(),
                },
            ),
        }
        self.pump(from, out);
    }

    /// Something is held back until plugins have looked at it.
    pub fn is_inspecting(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| tap.is_inspecting())
    }

    /// Data whose arrival was accounted for. `payload`: the message that it came in, if it still is whole.
    pub fn data(
        &mut self,
        from: Side,
        code: Option<u32>,
        data: Bytes,
        payload: Option<&Bytes>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<Option<TapAsk>, TapError> {
        if let Some(weighed) = self.weighed.as_mut().filter(|_| code.is_none()) {
            weighed.add(from, &data);
        }
        let stream = match (from, code) {
            (Side::Client, _) => Stream::Input,
            (Side::Upstream, None) => Stream::Output,
            (Side::Upstream, Some(_)) => Stream::Errors,
        };
        let Some(tap) = self.tap.as_mut().filter(|tap| tap.reads(stream)) else {
            let flow = self.flows.of_mut(from);
            match payload {
                Some(whole) if flow.queue.is_empty() && flow.fits(data.len()) == data.len() => {
                    flow.passes(data.len());
                    self.send(from.other(), whole.clone(), out);
                    self.grant_due(from, out);
                }
                _ => self.pass(from, code, &data, out),
            }
            return Ok(None);
        };
        let mut wants = TapOut::default();
        tap.push(stream, data, now, &mut wants)?;
        Ok(self.apply(wants, out))
    }

    /// What a tap holds back goes on before a message that must not overtake it.
    pub fn flush(
        &mut self,
        from: Side,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Result<(), TapError> {
        let streams: &[Stream] = match from {
            Side::Client => &[Stream::Input],
            Side::Upstream => &[Stream::Output, Stream::Errors],
        };
        for stream in streams {
            if let Some(tap) = &mut self.tap {
                let mut wants = TapOut::default();
                tap.flush(*stream, now, &mut wants)?;
                self.apply(wants, out);
            }
        }
        Ok(())
    }

    /// Does what a tap wants. The ask, if it has one.
    pub fn apply(&mut self, wants: TapOut, out: &mut Vec<Effect>) -> Option<TapAsk> {
        if let Some(stream) = wants.bulk {
            self.bulk.begins(stream);
        }
        if let Some((stream, at)) = wants.unmasked {
            self.bulk.is_unmasked(stream, at);
        }
        for (stream, n) in wants.masked {
            self.masked.add(stream, n);
        }
        for (stream, n) in wants.added {
            self.flows.of_mut(sender(stream)).added(n);
        }
        for (stream, bytes) in wants.pieces {
            let code = (stream == Stream::Errors).then_some(numbers::EXTENDED_DATA_STDERR);
            self.pass(sender(stream), code, &bytes, out);
        }
        for (stream, n) in wants.dropped {
            let from = sender(stream);
            let give = self.flows.of_mut(from).dropped(n);
            self.grant(from, give, out);
        }
        for done in wants.done {
            if let Some(ticket) = self.pieces.remove(&done.id) {
                out.push(Effect::Outcome {
                    ticket,
                    kind: done.result,
                    detail: done.detail,
                    bytes: done.bytes,
                });
            }
        }
        for inspect in wants.inspect {
            let key = self.key;
            out.push(Effect::Inspect { key, inspect });
        }
        wants.ask
    }

    pub fn deadline(&self) -> Option<Instant> {
        let tap = self.tap.as_ref().and_then(|tap| tap.deadline());
        let gather = self.gather.as_ref().map(|gather| gather.deadline());
        tap.into_iter().chain(gather).min()
    }

    pub fn tick(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(tap) = &mut self.tap
            && tap.deadline().is_some_and(|at| at <= now)
        {
            let mut wants = TapOut::default();
            tap.tick(now, &mut wants);
            self.apply(wants, out);
        }
    }
}

fn sender(stream: Stream) -> Side {
    match stream {
        Stream::Input => Side::Client,
        Stream::Output | Stream::Errors => Side::Upstream,
    }
}

fn data_message(code: Option<u32>, data: &[u8]) -> ChannelMessage<'_> {
    match code {
        None => ChannelMessage::Data(data),
        Some(code) => ChannelMessage::ExtendedData { code, data },
    }
}
