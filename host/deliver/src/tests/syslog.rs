//! Syslog over TLS: what is written, and what is known of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use net::Tls;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::stage::{LIMIT, PACE, Stage, acts, names};
use super::tls::Ca;
use crate::{MESSAGE_BYTES, ReceiverOptions, State, SyslogTo, TlsFiles, To};

/// What a receiver does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Reads, and ends the connection when the sender does.
    Read,
    /// … without saying so within TLS.
    ReadAndClose,
    /// Reads nothing for a time, and is gone then, with all that its system took for it.
    ReadNothing,
    /// Reads so many messages, and is gone.
    Die(usize),
    /// Reads so many messages, and ends the connection as it should.
    End(usize),
    /// Reads all, and never ends the connection.
    NeverEnd,
    /// Sends without end, and reads nothing.
    Talk,
}

/// Listens as long as the test runs.
pub struct Receiver {
    port: u16,
    /// What it has read, in order.
    pub taken: Arc<Mutex<Vec<String>>>,
    /// For each connection that is to come; the last is for all others.
    ways: Arc<Mutex<Vec<Way>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    pub async fn start(tls: Tls, ways: Vec<Way>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            port: listener.local_addr().unwrap().port(),
            taken: Arc::default(),
            ways: Arc::new(Mutex::new(ways)),
            connections: Arc::default(),
        };
        let (taken, ways) = (this.taken.clone(), this.ways.clone());
        let connections = this.connections.clone();
        let tasks = TaskTracker::new();
        let inner = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (taken, ways, tls) = (taken.clone(), ways.clone(), tls.clone());
                let connections = connections.clone();
                inner.spawn(async move {
                    let acceptor = TlsAcceptor::from(tls.current());
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    *connections.lock() += 1;
                    let way = {
                        let mut ways = ways.lock();
                        match ways.len() {
                            1 => ways[0],
                            _ => ways.remove(0),
                        }
                    };
                    serve(stream, way, &taken).await;
                });
            }
        });
        this
    }

    pub fn options(&self, name: &str, ca: &Ca) -> ReceiverOptions {
        ReceiverOptions {
            name: name.into(),
            to: To::Syslog(SyslogTo {
                host: "127.0.0.1".into(),
                port: self.port,
                server_name: Some("siem.test".into()),
                tls: TlsFiles {
                    ca: Some(ca.pem()),
                    identity: None,
                },
                max_message: MESSAGE_BYTES,
                trust_unclean_end: false,
            }),
            batch_events: 7,
            batch_bytes: 1 << 20,
        }
    }

    /// Its ends are believed whatever they are.
    fn trusting(&self, name: &str, ca: &Ca) -> ReceiverOptions {
        let mut options = self.options(name, ca);
        if let To::Syslog(to) = &mut options.to {
            to.trust_unclean_end = true;
        }
        options
    }

    fn events(&self) -> Vec<Value> {
        let taken = self.taken.lock();
        taken.iter().map(|message| event(message)).collect()
    }

    pub fn told(&self, prefix: &str) -> BTreeSet<String> {
        let events = self.events();
        let operation = |e: &Value| Some(e.pointer("/api/operation")?.as_str()?.to_owned());
        let all = events.iter().filter_map(operation);
        all.filter(|name| name.starts_with(prefix)).collect()
    }
}

/// What a message holds, after the mark that says UTF-8.
fn event(message: &str) -> Value {
    let (_, json) = message.split_once('\u{feff}').unwrap();
    serde_json::from_str(json).unwrap()
}

async fn serve(mut stream: TlsStream<TcpStream>, way: Way, taken: &Mutex<Vec<String>>) {
    if way == Way::ReadNothing {
        tokio::time::sleep(PACE.window * 3).await;
        return;
    }
    if way == Way::Talk {
        while stream.write_all(&[b' '; 1024]).await.is_ok() {}
        return;
    }
    let mut raw = Vec::new();
    let mut count = 0;
    loop {
        while let Some(message) = next(&mut raw) {
            if way == Way::Die(count) {
                // With what it has read and not looked at.
                let (socket, _) = stream.get_ref();
                socket.set_zero_linger().unwrap();
                return;
            }
            if way == Way::End(count) {
                stream.shutdown().await.ok();
                return;
            }
            taken.lock().push(message);
            count += 1;
        }
        match stream.read_buf(&mut raw).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    assert!(raw.is_empty(), "a message is cut");
    match way {
        Way::ReadAndClose => drop(stream),
        Way::NeverEnd => tokio::time::sleep(LIMIT).await,
        _ => stream.shutdown().await.unwrap(),
    }
}

/// MSG-LEN SP SYSLOG-MSG
fn next(raw: &mut Vec<u8>) -> Option<String> {
    let space = raw.iter().position(|b| *b == b' ')?;
    let length = std::str::from_utf8(&raw[..space]).unwrap();
    assert!(!length.starts_with('0'), "{length}");
    let end = space + 1 + length.parse::<usize>().unwrap();
    if raw.len() < end {
        return None;
    }
    let rest = raw.split_off(end);
    let message = std::mem::replace(raw, rest).split_off(space + 1);
    Some(String::from_utf8(message).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_the_standard_says() {
    let stage = Stage::new();
    let ca = Ca::new(stage.dir.path(), "ca");
    let tls = ca.server("siem.test", 2090, None);
    let receiver = Receiver::start(tls, vec![Way::Read]).await;
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 20)).await;
    assert!(recorder.flush(LIMIT).await);
    let running = stage.run(&recorder, vec![receiver.options("siem", &ca)]);
    let status = running.until("siem", |s| s.lag_leaves == Some(0)).await;
    assert_eq!((status.kind, status.state), ("syslog", State::Delivering));
    assert_eq!(status.last_error, None);
    let all = names("act", 20).into_iter().collect();
    assert_eq!(receiver.told("act"), all);
    assert!(status.delivered >= 20);
    for message in receiver.taken.lock().iter() {
        let event = event(message);
        let (header, _) = message.split_once('\u{feff}').unwrap();
        let header: Vec<&str> = header.split(' ').collect();
        let [pri, time, host, app, proc, class, data, ""] = header[..] else {
            panic!("{header:?}");
        };
        // Facility "log audit"; informational, or notice for what is low.
        let expected = match event["severity_id"].as_u64() {
            Some(1) => "<110>1",
            Some(2) => "<109>1",
            other => panic!("{other:?}"),
        };
        assert_eq!(pri, expected);
        let ns = recorder::parse_timestamp(time).unwrap();
        assert_eq!(event["time"], ns / 1_000_000);
        assert!(!host.is_empty() && host.len() <= 255, "{host}");
        assert_eq!((app, proc, data), ("weir", "-", "-"));
        assert_eq!(event["class_uid"].to_string(), class);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_a_connection_nothing_is_lost() {
    use Way::{Die, End, NeverEnd, Read, ReadAndClose, ReadNothing};
    for ways in [
        vec![ReadAndClose],
        vec![ReadNothing, Read],
        vec![ReadNothing, ReadNothing, ReadAndClose],
        vec![Die(0), Die(1), Die(5), Die(8), Read],
        vec![End(0), End(3), End(9), Read],
        vec![NeverEnd, Read],
        vec![Die(3), ReadNothing, End(2), NeverEnd, ReadAndClose],
    ] {
        let stage = Stage::new();
        let ca = Ca::new(stage.dir.path(), "ca");
        let tls = ca.server("siem.test", 2090, None);
        let receiver = Receiver::start(tls, ways.clone()).await;
        let recorder = stage.recorder().await;
        let options = match ways.contains(&ReadAndClose) {
            true => receiver.trusting("siem", &ca),
            false => receiver.options("siem", &ca),
        };
        let trusts = options.to.trusts_unclean_end();
        let running = stage.run(&recorder, vec![options]);
        assert_eq!(running.status("siem").trusts_unclean_end, trusts);
        for part in 0..4 {
            acts(&recorder, names(&format!("act:{part}"), 8)).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let all: BTreeSet<String> = (0..4)
            .flat_map(|part| names(&format!("act:{part}"), 8))
            .collect();
        assert!(recorder.flush(LIMIT).await);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(receiver.told("act"), all, "{ways:?}");
        let status = running.status("siem");
        assert_eq!(status.set_aside, 0, "{ways:?}");
        assert_eq!(status.last_error.is_some(), ways.len() > 1, "{ways:?}");
        running.stop().await;
    }
}

/// The receiver's system takes what is sent, and nobody reads it: that is no reason to call it delivered.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_written_is_not_delivered() {
    for way in [
        Way::ReadNothing,
        Way::NeverEnd,
        Way::Die(2),
        Way::End(2),
        // Whoever is on the wire can take everything, and end the connection like this.
        Way::ReadAndClose,
    ] {
        let stage = Stage::new();
        let ca = Ca::new(stage.dir.path(), "ca");
        let tls = ca.server("siem.test", 2090, None);
        let receiver = Receiver::start(tls, vec![way]).await;
        let recorder = stage.recorder().await;
        acts(&recorder, names("act", 5)).await;
        assert!(recorder.flush(LIMIT).await);
        let running = stage.run(&recorder, vec![receiver.options("siem", &ca)]);
        // Again and again.
        running
            .until("siem", |_| *receiver.connections.lock() >= 3)
            .await;
        let status = running.status("siem");
        assert!(status.lag_leaves >= Some(5), "{way:?}: {status:?}");
        assert_eq!(status.delivered, 0, "{way:?}: {status:?}");
        let status = running.until("siem", |s| s.state == State::Waiting).await;
        if way == Way::ReadAndClose {
            let (error, _) = status.last_error.unwrap();
            assert!(error.contains("no close_notify"), "{error}");
            assert!(error.contains("trust_unclean_end"), "{error}");
        }
        running.stop().await;
        // After a restart all of it is sent again.
        receiver.taken.lock().clear();
        *receiver.ways.lock() = vec![Way::Read];
        let running = stage.run(&recorder, vec![receiver.options("siem", &ca)]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let all = names("act", 5).into_iter().collect();
        assert_eq!(receiver.told("act"), all, "{way:?}");
        running.stop().await;
    }
}

/// Neither a receiver that says nothing nor one that does not stop talking holds up anybody.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_or_never_ends_is_waited_for() {
    let stage = Stage::new();
    let ca = Ca::new(stage.dir.path(), "ca");
    let tls = ca.server("siem.test", 2090, None);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let talks = Receiver::start(tls.clone(), vec![Way::Talk]).await;
    let good = Receiver::start(tls, vec![Way::Read]).await;
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 5)).await;
    assert!(recorder.flush(LIMIT).await);
    let mut one = good.options("silent", &ca);
    if let To::Syslog(to) = &mut one.to {
        to.port = silent.local_addr().unwrap().port();
    }
    let receivers = vec![one, talks.options("talks", &ca), good.options("good", &ca)];
    let running = stage.run(&recorder, receivers);
    running.until("good", |s| s.lag_leaves == Some(0)).await;
    let all = names("act", 5).into_iter().collect();
    assert_eq!(good.told("act"), all);
    for (name, why) in [
        ("silent", "TLS handshake not finished after"),
        ("talks", "the receiver did not end the connection"),
    ] {
        let told = |s: &crate::Status| {
            let error = s.last_error.as_ref();
            s.state == State::Waiting && error.is_some_and(|(error, _)| error.contains(why))
        };
        let status = running.until(name, told).await;
        assert!(status.lag_leaves >= Some(5), "{status:?}");
        assert_eq!(status.delivered, 0, "{status:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_set_aside_and_not_cut() {
    const MAX: usize = 850;
    let stage = Stage::new();
    let ca = Ca::new(stage.dir.path(), "ca");
    let tls = ca.server("siem.test", 2090, None);
    let receiver = Receiver::start(tls, vec![Way::Die(9), Way::Read]).await;
    let recorder = stage.recorder().await;
    let long: Vec<String> = (0..12)
        .map(|n| format!("long:{n:02}:{}", "x".repeat(100)))
        .collect();
    acts(&recorder, names("act", 9)).await;
    acts(&recorder, long.clone()).await;
    acts(&recorder, names("more", 9)).await;
    assert!(recorder.flush(LIMIT).await);
    let mut one = receiver.options("siem", &ca);
    if let To::Syslog(to) = &mut one.to {
        to.max_message = MAX;
    }
    let running = stage.run(&recorder, vec![one]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let lengths: Vec<usize> = receiver.taken.lock().iter().map(String::len).collect();
    assert_eq!(running.status("siem").set_aside, 12, "{lengths:?}");
    for prefix in ["act", "more"] {
        let all = names(prefix, 9).into_iter().collect();
        assert_eq!(receiver.told(prefix), all);
    }
    assert!(receiver.taken.lock().iter().all(|m| m.len() <= MAX));
    let kept = std::fs::read_to_string(stage.deliveries().join("siem.refused.jsonl")).unwrap();
    // Each once, though some were sent again; whole; and why.
    assert_eq!(kept.lines().count(), 12);
    for (line, name) in kept.lines().zip(long) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["event"]["api"]["operation"], *name);
        let why = line["why"].as_str().unwrap();
        assert!(
            why.ends_with(&format!("max_message_bytes is {MAX}")),
            "{why}"
        );
    }
    running.stop().await;
}
