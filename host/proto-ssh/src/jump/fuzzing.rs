//! A client without a session that asks for anything, while the streams inside its connection read and write.

use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::ChannelStream;
use super::*;
use crate::fuzzing::Script;
use crate::wire::{ChannelMessage, Connection, Open, Put, Request};

const MAX_CHANNELS: usize = 3;
const WINDOW: u32 = 200;
const PORT: u32 = 22;
const MAX_STEPS: usize = 400;

/// One that a stream was given for.
struct Inside {
    stream: ChannelStream,
    /// What has come out of it, which may be as much as was sent and not more.
    read: usize,
}

/// Runs this script. Only what goes to a target becomes a stream, of which there is a maximum; each message to the
/// client is one of those that may come here.
pub fn jump(data: &[u8]) {
    let rules = Rules {
        refusing: Refusing {
            reason: 1,
            text: "no target".into(),
        },
        ports: vec![22],
        max_channels: MAX_CHANNELS,
        window: WINDOW,
    };
    let mut channels = Channels::new(rules, Arc::new(Notify::new()));
    let mut script = Script(data);
    let mut inside: Vec<Inside> = Vec::new();
    let mut received = 0;
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            return;
        }
        let (mut out, what) = (Vec::new(), script.byte());
        match what % 4 {
            0 | 1 => {
                let mut payload = Vec::new();
                message(what >> 2, &mut script, &mut payload);
                received += payload.len();
                channels.refused = None;
                match channels.receive(&payload, &mut out) {
                    Ok(Some(jump)) => {
                        assert!(jump.port == 22 && crate::config::is_name(&jump.host));
                        assert!(channels.refused.is_none());
                        let stream = jump.stream;
                        inside.push(Inside { stream, read: 0 });
                    }
                    Ok(None) => {}
                    Err(_) => return,
                }
            }
            2 => act(what >> 2, &mut script, &mut inside),
            _ => {
                let budget = usize::from(script.byte());
                channels.pump(budget, &mut out);
                let sent = out.iter().map(|m| match Connection::parse(m) {
                    Ok(Connection::Channel {
                        message: ChannelMessage::Data(data),
                        ..
                    }) => data.len(),
                    _ => 0,
                });
                assert!(sent.sum::<usize>() <= budget);
            }
        }
        for message in &out {
            expected(message);
        }
        let read: usize = inside.iter().map(|i| i.read).sum();
        assert!(read <= received, "streams give more than was sent");
        let open = out.iter().filter(|m| m.first() == Some(&91)).count();
        assert!(open <= 1);
        channels.check();
    }
}

/// Messages that a server may send here.
fn expected(message: &[u8]) {
    let known = match Connection::parse(message) {
        Ok(Connection::RequestFailure)
        | Ok(Connection::OpenConfirmation { .. })
        | Ok(Connection::OpenFailure { .. }) => true,
        Ok(Connection::Channel { message, .. }) => !matches!(
            message,
            ChannelMessage::Request(_)
                | ChannelMessage::Success
                | ChannelMessage::ExtendedData { .. }
        ),
        _ => false,
    };
    assert!(known, "{message:?}");
}

/// A stream reads, writes, ends or goes away.
fn act(what: u8, script: &mut Script<'_>, inside: &mut Vec<Inside>) {
    if inside.is_empty() {
        return;
    }
    let at = usize::from(script.byte()) % inside.len();
    let mut context = Context::from_waker(Waker::noop());
    let Some(Inside { stream, read }) = inside.get_mut(at) else {
        return;
    };
    let mut stream = Pin::new(stream);
    match what % 4 {
        0 => {
            let mut room = [0; 256];
            let n = usize::from(script.byte());
            let mut buf = ReadBuf::new(&mut room[..n]);
            let _ = stream.as_mut().poll_read(&mut context, &mut buf);
            *read += buf.filled().len();
        }
        1 => {
            let _ = stream.as_mut().poll_write(&mut context, script.bytes());
        }
        2 => {
            let _ = stream.as_mut().poll_shutdown(&mut context);
        }
        _ => {
            // What it has read stays counted.
            let read = *read;
            drop(inside.swap_remove(at));
            if let Some(first) = inside.first_mut() {
                first.read += read;
            }
        }
    }
}

const KINDS: &[&[u8]] = &[b"direct-tcpip", b"direct-tcpip", b"session", b"x11"];
const HOSTS: &[&[u8]] = &[b"web1", b"web1", b"::1", b"", b"../x"];

fn message(what: u8, script: &mut Script<'_>, out: &mut Vec<u8>) {
    let recipient = u32::from(script.byte() % 4);
    let on = |message| Connection::Channel { recipient, message };
    let mut data = Vec::new();
    let message = match what % 8 {
        0 | 1 => {
            data.string(script.pick(HOSTS));
            data.uint32(script.pick(&[PORT, PORT, PORT, 80, 65_558]));
            data.string(b"::1").uint32(1);
            Connection::Open(Open {
                kind: script.pick(KINDS),
                sender: recipient,
                window: script.number(),
                max_packet: script.number(),
                data: &data,
            })
        }
        2 | 3 => on(ChannelMessage::Data(script.bytes())),
        4 => on(ChannelMessage::WindowAdjust {
            bytes: script.number(),
        }),
        5 => on(match script.byte() % 3 {
            0 => ChannelMessage::Eof,
            1 => ChannelMessage::Close,
            _ => ChannelMessage::Request(Request {
                name: b"exec",
                want_reply: true,
                data: b"",
            }),
        }),
        6 => Connection::GlobalRequest {
            name: script.bytes(),
            want_reply: true,
            data: b"",
        },
        _ => {
            out.raw(script.bytes());
            return;
        }
    };
    message.write(out);
}
