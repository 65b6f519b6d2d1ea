//! Clients without a session that do what they must not.

use tokio::io::AsyncReadExt;

use super::*;

fn channels(ports: &[u16]) -> Channels {
    let rules = Rules {
        refusing: Refusing {
            reason: 1,
            text: "no target".into(),
        },
        ports: ports.to_vec(),
        max_channels: 2,
        window: 100,
    };
    Channels::new(rules, Arc::new(Notify::new()))
}

fn bytes(message: &Connection<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

fn direct(sender: u32, host: &[u8], port: u32, window: u32) -> Vec<u8> {
    use crate::wire::Put;
    let mut data = Vec::new();
    data.string(host).uint32(port).string(b"::1").uint32(1);
    bytes(&Connection::Open(Open {
        kind: b"direct-tcpip",
        sender,
        window,
        max_packet: 50,
        data: &data,
    }))
}

fn on(recipient: u32, message: ChannelMessage<'_>) -> Vec<u8> {
    bytes(&Connection::Channel { recipient, message })
}

fn opened(window: u32) -> (Channels, Jump) {
    let mut channels = channels(&[22]);
    let mut out = Out::new();
    let jump = channels.receive(&direct(7, b"web1", 22, window), &mut out);
    (channels, jump.unwrap().unwrap())
}

fn refused(out: &Out) -> (u32, u32, String) {
    match Connection::parse(&out[0]).unwrap() {
        Connection::OpenFailure {
            recipient,
            reason,
            description,
        } => (
            recipient,
            reason,
            String::from_utf8_lossy(description).into_owned(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_but_a_jump_is_refused() {
    let asks = |kind: &'static [u8]| {
        bytes(&Connection::Open(Open {
            kind,
            sender: 5,
            window: 1,
            max_packet: 1,
            data: b"",
        }))
    };
    for kind in [
        &b"session"[..],
        b"x11",
        b"tun@openssh.com",
        b"direct-streamlocal@openssh.com",
        b"\xff",
    ] {
        let mut channels = channels(&[22]);
        let mut out = Out::new();
        assert!(channels.receive(&asks(kind), &mut out).unwrap().is_none());
        assert_eq!(refused(&out), (5, 1, "no target".into()));
        assert!(channels.turned_away);
        let told = channels.refused.map(|refused| refused.what);
        let expect = format!("channel {}", readable(kind));
        assert_eq!(told, (kind != b"session").then_some(expect));
    }
    for (host, port) in [
        (&b"web1"[..], 80),
        (b"web1", 0),
        (b"web1", 65_536 + 22),
        (b"web1", u32::MAX),
        (b"", 22),
        (b"web1\0", 22),
        (b"::1", 22),
        (b"../../etc", 22),
        (b"-oProxyCommand=x", 22),
        (b"\xff", 22),
    ] {
        let mut channels = channels(&[22]);
        let mut out = Out::new();
        let jump = channels.receive(&direct(5, host, port, 1), &mut out);
        assert!(jump.unwrap().is_none(), "{host:?}:{port}");
        assert_eq!(refused(&out).1, 1);
        assert!(channels.is_idle());
        let told = channels.refused.map(|refused| refused.what);
        assert_eq!(told, Some(format!("connect to {}:{port}", readable(host))));
    }
    // Where there is no jumping, a jump is nothing special.
    let mut here = channels(&[]);
    let mut out = Out::new();
    assert!(
        here.receive(&direct(5, b"web1", 22, 1), &mut out)
            .unwrap()
            .is_none()
    );
    assert_eq!(refused(&out).2, "no target");
}

/// The first session that is refused is told with what was to be its target, by whoever knows that. Each one behind it
/// is told by itself, and what else is refused is none of them.
#[test]
fn each_of_several_that_are_refused_is_told() {
    let (mut channels, _jump) = opened(10);
    let mut ask = |kind: &[u8]| {
        let open = bytes(&Connection::Open(Open {
            kind,
            sender: 9,
            window: 1,
            max_packet: 1,
            data: b"",
        }));
        let mut out = Out::new();
        channels.receive(&open, &mut out).unwrap();
        assert_eq!(refused(&out), (9, 1, "no target".into()));
        let told = channels.refused.take();
        let told = told.map(|refused| (refused.action, refused.what));
        (channels.no_session, told)
    };
    let x11 = (Action::SshForwardLocal, "channel x11".to_owned());
    assert_eq!(ask(b"x11"), (false, Some(x11)), "that was no session");
    assert_eq!(ask(b"session"), (true, None));
    let session = (Action::SshConnect, "channel session".to_owned());
    for _ in 0..3 {
        assert_eq!(ask(b"session"), (true, Some(session.clone())));
    }
    assert!(!channels.is_idle(), "the jump goes on");
}

/// Nothing is started on a channel that is a connection.
#[test]
fn requests_are_refused_and_told_of() {
    for (name, told) in [
        (&b"exec"[..], true),
        (b"x\x1b[2K", true),
        (b"keepalive@openssh.com", false),
        (b"winadj@putty.projects.tartarus.org", false),
    ] {
        for want_reply in [false, true] {
            let (mut channels, _jump) = opened(10);
            let request = ChannelMessage::Request(Request {
                name,
                want_reply,
                data: b"",
            });
            let mut out = Out::new();
            channels.receive(&on(0, request), &mut out).unwrap();
            let failure = on(7, ChannelMessage::Failure);
            assert_eq!(out, Vec::from_iter(want_reply.then_some(failure)));
            let what = channels.refused.map(|refused| refused.what);
            let expect = format!("channel request {}", readable(name));
            assert_eq!(what, told.then_some(expect));
        }
    }
}

/// Keepalives want nothing; a listener is refused, which goes on record.
#[test]
fn global_requests_are_told_of() {
    for (name, told) in [
        (&b"tcpip-forward"[..], true),
        (b"streamlocal-forward@openssh.com", true),
        (b"x", true),
        (b"keepalive@openssh.com", false),
        (b"no-more-sessions@openssh.com", false),
    ] {
        let mut channels = channels(&[22]);
        let request = bytes(&Connection::GlobalRequest {
            name,
            want_reply: false,
            data: b"",
        });
        channels.receive(&request, &mut Out::new()).unwrap();
        assert_eq!(channels.refused.is_some(), told, "{name:?}");
    }
}

#[test]
fn there_are_only_so_many_channels() {
    let mut channels = channels(&[22]);
    for sender in [1, 2] {
        let jump = channels.receive(&direct(sender, b"web1", 22, 1), &mut Out::new());
        assert!(jump.unwrap().is_some());
    }
    let mut out = Out::new();
    let third = channels.receive(&direct(3, b"web1", 22, 1), &mut out);
    assert!(third.unwrap().is_none());
    assert_eq!(refused(&out).1, open_failure::RESOURCE_SHORTAGE);
    let told = channels.refused.take().map(|refused| refused.what);
    assert_eq!(told.as_deref(), Some("jump to web1"));
    channels
        .receive(&on(0, ChannelMessage::Close), &mut Out::new())
        .unwrap();
    let third = channels.receive(&direct(3, b"web1", 22, 1), &mut Out::new());
    assert!(third.unwrap().is_some(), "the number is free again");
}

#[test]
fn who_breaks_the_protocol_is_told() {
    let data = [0; 101];
    let rows: [(&[&[u8]], Violation); 12] = [
        (&[&on(0, ChannelMessage::Data(&data))], Violation::Window(0)),
        (
            &[
                &on(0, ChannelMessage::Data(&data[..60])),
                &on(0, ChannelMessage::Data(&data[..60])),
            ],
            Violation::Window(0),
        ),
        (
            &[
                &on(0, ChannelMessage::Eof),
                &on(0, ChannelMessage::Data(b"x")),
            ],
            Violation::AfterEof(0),
        ),
        (
            &[&on(0, ChannelMessage::WindowAdjust { bytes: u32::MAX })],
            Violation::Overflow(0),
        ),
        (
            &[&on(1, ChannelMessage::Data(b"x"))],
            Violation::NoChannel(1),
        ),
        (
            &[&on(0, ChannelMessage::Close), &on(0, ChannelMessage::Close)],
            Violation::NoChannel(0),
        ),
        (
            &[&on(
                0,
                ChannelMessage::ExtendedData {
                    code: 1,
                    data: b"x",
                },
            )],
            Violation::Unexpected(95),
        ),
        (
            &[&on(0, ChannelMessage::Success)],
            Violation::Unexpected(99),
        ),
        (
            &[&bytes(&Connection::RequestFailure)],
            Violation::Unexpected(82),
        ),
        (&[&[n::SERVICE_REQUEST]], Violation::Unexpected(5)),
        (&[&[200]], Violation::Layout(WireError::Short)),
        (
            &[&[n::CHANNEL_DATA, 0]],
            Violation::Layout(WireError::Short),
        ),
    ];
    for (messages, violation) in rows {
        let (mut channels, _jump) = opened(10);
        let mut last = Ok(None);
        for message in messages {
            last = channels.receive(message, &mut Out::new());
        }
        match last {
            Err(is) if violation == Violation::Layout(WireError::Short) => {
                assert!(matches!(is, Violation::Layout(_)), "{is:?}");
            }
            Err(is) => assert_eq!(is, violation),
            Ok(_) => panic!("{violation:?} was let pass"),
        }
    }
}

#[tokio::test]
async fn windows_are_kept_both_ways() {
    let (mut channels, mut jump) = opened(70);
    assert_eq!((jump.host.as_str(), jump.port), ("web1", 22));
    // To us: credited when it was taken, not before.
    channels
        .receive(&on(0, ChannelMessage::Data(&[1; 100])), &mut Out::new())
        .unwrap();
    let mut out = Out::new();
    channels.pump(1 << 20, &mut out);
    assert!(out.is_empty());
    jump.stream.read_exact(&mut [0; 60]).await.unwrap();
    channels.pump(1 << 20, &mut out);
    assert_eq!(out, [on(7, ChannelMessage::WindowAdjust { bytes: 60 })]);
    let full = channels.receive(&on(0, ChannelMessage::Data(&[1; 61])), &mut Out::new());
    assert!(matches!(full, Err(Violation::Window(0))));

    // From us: in packets that the client takes, up to its window.
    let (mut channels, mut jump) = opened(70);
    use tokio::io::AsyncWriteExt;
    jump.stream.write_all(&[2; 100]).await.unwrap();
    let mut out = Out::new();
    channels.pump(1 << 20, &mut out);
    let sizes: Vec<usize> = out
        .iter()
        .map(|m| match Connection::parse(m).unwrap() {
            Connection::Channel {
                recipient: 7,
                message: ChannelMessage::Data(data),
            } => data.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [50, 20]);
    drop(jump);
    out.clear();
    channels.pump(1 << 20, &mut out);
    assert!(out.is_empty(), "30 bytes are still to be sent");
    let more = ChannelMessage::WindowAdjust { bytes: 500 };
    channels.receive(&on(0, more), &mut out).unwrap();
    channels.pump(10, &mut out);
    assert_eq!(out, [on(7, ChannelMessage::Data(&[2; 10]))]);
    out.clear();
    channels.pump(1 << 20, &mut out);
    let end = [
        on(7, ChannelMessage::Data(&[2; 20])),
        on(7, ChannelMessage::Eof),
        on(7, ChannelMessage::Close),
    ];
    assert_eq!(out, end);
    out.clear();
    channels
        .receive(&on(0, ChannelMessage::Close), &mut out)
        .unwrap();
    assert!(out.is_empty() && channels.is_idle(), "it is closed once");
}

#[test]
fn requests_are_answered_in_the_negative() {
    let (mut channels, _jump) = opened(10);
    let mut out = Out::new();
    let global = Connection::GlobalRequest {
        name: b"tcpip-forward",
        want_reply: true,
        data: b"",
    };
    channels.receive(&bytes(&global), &mut out).unwrap();
    let request = ChannelMessage::Request(Request {
        name: b"exec",
        want_reply: true,
        data: b"",
    });
    channels.receive(&on(0, request), &mut out).unwrap();
    let quiet = ChannelMessage::Request(Request {
        name: b"exec",
        want_reply: false,
        data: b"",
    });
    channels.receive(&on(0, quiet), &mut out).unwrap();
    // A late request for authentication is passed over.
    channels.receive(&[n::USERAUTH_REQUEST], &mut out).unwrap();
    assert_eq!(
        out,
        [
            bytes(&Connection::RequestFailure),
            on(7, ChannelMessage::Failure)
        ]
    );
}

/// Otherwise a client that never closes its side would be here for ever, whatever ends.
#[test]
fn a_channel_that_is_over_is_idle_whatever_the_client_does() {
    let (mut channels, jump) = opened(100);
    assert!(!channels.is_idle());
    drop(jump);
    let mut out = Out::new();
    channels.pump(1_000, &mut out);
    assert!(channels.is_idle());
    let close = on(7, ChannelMessage::Close);
    assert!(out.contains(&close), "{out:?}");
    // It may still say something there.
    channels
        .receive(&on(0, ChannelMessage::Data(b"x")), &mut out)
        .unwrap();
    assert!(channels.is_idle());
}
