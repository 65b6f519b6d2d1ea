//! What a client may do while it waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::leg::Leg;
use crate::startup::HostIdentity;
use crate::testing::ports::Keys;
use crate::transport::{ClientConfig, ServerConfig, Transport};
use crate::wire::Open;

/// A client's end with keys, and a lobby at the other.
async fn met(limits: Limits) -> (Leg, Lobby) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let keys = Keys::new();
    let config = ServerConfig::new(keys.host_keys(None));
    let mut server = Leg::new(Box::new(near), Transport::server(Arc::new(config)));
    server.transport.authenticated();
    let config = ClientConfig::new(vec!["ssh-ed25519".into()]);
    let mut client = Leg::new(Box::new(far), Transport::client(Arc::new(config)));
    let meeting: JoinHandle<Leg> = tokio::spawn(async move {
        assert!(matches!(server.recv().await, Ok(Event::Ready)));
        server
    });
    loop {
        match client.recv().await.unwrap() {
            Event::HostKey(_) => client.transport.answer_host_key(true).unwrap(),
            Event::Ready => break,
            other => panic!("{other:?}"),
        }
    }
    client.flush().await.unwrap();
    let server = meeting.await.unwrap();
    (client, Lobby::new(server, &limits))
}

fn open(sender: u32) -> Vec<u8> {
    let mut out = Vec::new();
    Connection::Open(Open {
        kind: b"session",
        sender,
        window: 1,
        max_packet: 1,
        data: b"",
    })
    .write(&mut out);
    out
}

fn global(name: &[u8], want_reply: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let data = &[];
    Connection::GlobalRequest {
        name,
        want_reply,
        data,
    }
    .write(&mut out);
    out
}

async fn say(client: &mut Leg, messages: &[Vec<u8>]) {
    for message in messages {
        client.transport.send(message).unwrap();
    }
    client.flush().await.unwrap();
}

/// How the wait ends within a moment; none: it goes on.
async fn soon(lobby: &mut Lobby) -> Option<Left> {
    let moment = Duration::from_millis(150);
    tokio::time::timeout(moment, lobby.watch()).await.ok()
}

#[tokio::test]
async fn what_comes_early_is_kept_in_order() {
    let (mut client, mut lobby) = met(Limits::default()).await;
    let keepalive = global(b"keepalive@openssh.com", true);
    let said = [
        global(b"no-more-sessions@openssh.com", false),
        keepalive.clone(),
        // A client's late request for authentication.
        vec![n::USERAUTH_REQUEST, 1, 2, 3],
        open(0),
        keepalive.clone(),
        global(b"tcpip-forward", true),
        keepalive.clone(),
    ];
    say(&mut client, &said).await;
    assert!(soon(&mut lobby).await.is_none());
    // The last one has to wait for the answer of the one before.
    for _ in 0..2 {
        match client.recv().await.unwrap() {
            Event::Packet(answer) => assert_eq!(answer[..], [n::REQUEST_FAILURE]),
            other => panic!("{other:?}"),
        }
    }
    let (_, early) = lobby.leave();
    let kept = [&said[0], &said[3], &said[5], &said[6]];
    assert_eq!(
        early.iter().map(|m| m.to_vec()).collect::<Vec<_>>(),
        kept.map(Vec::clone)
    );
}

#[tokio::test]
async fn who_sends_what_must_not_be_sent_leaves() {
    for (what, message) in [
        ("a service request", vec![n::SERVICE_REQUEST, 0, 0, 0, 0]),
        ("a request that is none", vec![n::GLOBAL_REQUEST, 0]),
    ] {
        let (mut client, mut lobby) = met(Limits::default()).await;
        say(&mut client, &[message]).await;
        assert!(
            matches!(soon(&mut lobby).await, Some(Left::Unexpected(_))),
            "{what}"
        );
    }
    let few = Limits {
        max_early_messages: 3,
        ..Limits::default()
    };
    let (mut client, mut lobby) = met(few).await;
    say(&mut client, &[open(0), open(1), open(2)]).await;
    assert!(soon(&mut lobby).await.is_none());
    say(&mut client, &[open(3)]).await;
    assert!(matches!(soon(&mut lobby).await, Some(Left::TooMuch)));
    let little = Limits {
        max_early_bytes: 1_000,
        ..Limits::default()
    };
    let (mut client, mut lobby) = met(little).await;
    say(&mut client, &[global(&[b'x'; 1_000], false)]).await;
    assert!(matches!(soon(&mut lobby).await, Some(Left::TooMuch)));
}

#[tokio::test]
async fn who_goes_away_is_noticed() {
    let (client, mut lobby) = met(Limits::default()).await;
    drop(client);
    assert!(matches!(soon(&mut lobby).await, Some(Left::Gone)));
    let (mut client, mut lobby) = met(Limits::default()).await;
    client.transport.disconnect(11, "bye");
    client.flush().await.unwrap();
    assert!(matches!(soon(&mut lobby).await, Some(Left::Gone)));
}
