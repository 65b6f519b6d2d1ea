//! The record on its way to receivers of every kind at once, through crashes of Weir and of theirs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use weir_tests::http::base64;
use weir_tests::postgres::certificate;
use weir_tests::proc::{Daemon, Scratch, Signal, eventually, free_port, listens};
use weir_tests::receiver::{Receiver, Request};

use crate::deliveries::{LIMIT, caught_up, is_start, stage, status, taken, webhook, whole};
use crate::shop::{ALICE, MALLORY, OLGA};

/// A receiver of syslog over TLS. Every third connection ends in the middle, with what it was sent last.
struct Syslog {
    port: u16,
    certificate: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Syslog {
    fn start(dir: &Path) -> Self {
        certificate(dir, "siem", "siem.test").unwrap();
        let cert = dir.join("siem.crt");
        let chain = vec![CertificateDer::from_pem_file(&cert).unwrap()];
        let key = PrivateKeyDer::from_pem_file(dir.join("siem.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let messages: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = messages.clone();
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().flatten().enumerate() {
                let (config, kept) = (config.clone(), kept.clone());
                std::thread::spawn(move || serve(stream, config, n % 3 == 0, &kept));
            }
        });
        Self {
            port,
            certificate: cert,
            messages,
        }
    }

    fn events(&self) -> Vec<Value> {
        let messages = self.messages.lock().unwrap();
        messages.iter().map(|message| event(message)).collect()
    }
}

fn event(message: &str) -> Value {
    let (header, json) = message.split_once('\u{feff}').unwrap();
    let event: Value = serde_json::from_str(json).unwrap();
    let class = &event["class_uid"];
    assert!(header.ends_with(&format!(" weir - {class} - ")), "{header}");
    event
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, dies: bool, kept: &Mutex<Vec<String>>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let (mut raw, mut chunk) = (Vec::new(), [0; 4096]);
    let mut count = 0;
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => raw.extend_from_slice(&chunk[..n]),
            Err(_) => return,
        }
        while let Some(message) = next(&mut raw) {
            if dies && count == 5 {
                return;
            }
            kept.lock().unwrap().push(message);
            count += 1;
        }
    }
    stream.conn.send_close_notify();
    stream.flush().ok();
}

/// MSG-LEN SP SYSLOG-MSG
fn next(raw: &mut Vec<u8>) -> Option<String> {
    let space = raw.iter().position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&raw[..space]).unwrap().parse().unwrap();
    if raw.len() < space + 1 + length {
        return None;
    }
    let message = raw[space + 1..space + 1 + length].to_vec();
    raw.drain(..space + 1 + length);
    Some(String::from_utf8(message).unwrap())
}

#[test]
fn every_kind_of_receiver_has_everything_though_both_sides_crash() {
    let dir = Scratch::new("siem-certificates").unwrap();
    let faults = vec![204, 500, 204, 503, 204, 500, 204, 429];
    let hook = Receiver::start(faults.clone()).unwrap();
    let otlp = Receiver::start(faults).unwrap();
    let syslog = Syslog::start(dir.path());
    // Takes connections, and never answers: nobody else's trouble.
    let hanging = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let secret = format!("whsec_{}", base64(b"key of the deliveries' e2e test 3"));
    let tables = webhook("hanging", hanging.local_addr().unwrap().port())
        + &webhook("hook", hook.port)
        + &format!(
            "[[delivery]]\nname = \"otel\"\nkind = \"otlp\"\nurl = \"http://127.0.0.1:{}/x\"\n\
             token = {{ env = \"SIEM_SECRET\" }}\n\
             [[delivery]]\nname = \"logs\"\nkind = \"syslog\"\naddress = \"127.0.0.1:{}\"\n\
             server_name = \"siem.test\"\ntls_ca = \"{}\"\n",
            otlp.port,
            syslog.port,
            syslog.certificate.display()
        );
    let mut shop = stage("siem", tables, &secret);
    for round in 0..3 {
        for n in 0..10 {
            let sql = format!("SELECT 'hidden-{round}-{n}', name FROM customers WHERE id = {n}");
            let out = shop.psql(ALICE).run(&sql).unwrap();
            assert!(out.ok(), "{}", out.all());
        }
        shop.psql(MALLORY).run("SELECT 1").unwrap();
        shop.weir.kill_9().unwrap();
        shop.weir.launch().unwrap();
    }
    let token = shop.token(OLGA);
    shop.psql(ALICE).run("SELECT 1").unwrap();
    // The last process's log is signed, too.
    let mut by_hook = Vec::new();
    eventually("the last process's statement is delivered", LIMIT, || {
        drain(&hook, &mut by_hook);
        let starts = by_hook.iter().filter(|event| is_start(event));
        Ok((starts.count() >= 4).then_some(()))
    })
    .unwrap();
    for name in ["hook", "otel", "logs"] {
        caught_up(&shop, &token, name);
        assert_eq!(status(&shop, &token, name)["set_aside"], 0);
    }
    let stuck = status(&shop, &token, "hanging");
    assert!(stuck["lag_leaves"].as_u64() > Some(30), "{stuck}");
    assert_eq!(stuck["delivered"], 0, "{stuck}");
    shop.weir.stop();
    drain(&hook, &mut by_hook);
    let mut by_otlp = Vec::new();
    while let Ok(request) = otlp.next(Duration::from_millis(200)) {
        assert_eq!(request.path, "/x/v1/logs");
        assert_eq!(request.header("authorization"), format!("Bearer {secret}"));
        by_otlp.extend(taken(&request));
    }
    for all in [by_hook, by_otlp, syslog.events()] {
        let text = whole(&shop, all);
        assert!(!text.contains(&secret));
    }
    assert!(!shop.weir.log().contains(&secret));
}

fn drain(receiver: &Receiver, all: &mut Vec<Value>) {
    while let Ok(request) = receiver.next(Duration::from_millis(100)) {
        let request: Request = request;
        all.extend(taken(&request));
    }
}

/// As many programs do it: OpenSSL, and no `close_notify` of their own.
const STOCK: &str = r#"
import socket, ssl, sys, threading
port, cert, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
lock = threading.Lock()
def serve(connection):
    try:
        connection = context.wrap_socket(connection, server_side=True)
        while data := connection.recv(65536):
            with lock:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
    except OSError:
        pass
    finally:
        connection.close()
listener = socket.create_server(("127.0.0.1", int(port)))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"#;

#[test]
fn a_stock_tls_server_has_everything_as_well() {
    let dir = Scratch::new("siem-stock").unwrap();
    certificate(dir.path(), "siem", "siem.test").unwrap();
    let (port, cert) = (free_port().unwrap(), dir.join("siem.crt"));
    let mut command = Command::new("python3");
    command.args(["-c", STOCK, &port.to_string()]);
    command.args([&cert, &dir.join("siem.key")]);
    let mut python = Daemon::spawn("python3", command, &dir.join("got"), Signal::Kill).unwrap();
    python.wait_until(|| listens(port)).unwrap();
    let tables = format!(
        "[[delivery]]\nname = \"logs\"\nkind = \"syslog\"\naddress = \"127.0.0.1:{port}\"\n\
         server_name = \"siem.test\"\ntls_ca = \"{}\"\ntrust_unclean_end = true\n",
        cert.display()
    );
    let secret = format!("whsec_{}", base64(b"key of the deliveries' e2e test 5"));
    let mut shop = stage("siem-stock", tables, &secret);
    let token = shop.token(OLGA);
    for n in 0..10 {
        let sql = format!("SELECT 'hidden-{n}', name FROM customers WHERE id = {n}");
        assert!(shop.psql(ALICE).run(&sql).unwrap().ok());
    }
    shop.psql(MALLORY).run("SELECT 1").unwrap();
    let delivered = eventually("it is delivered and confirmed", LIMIT, || {
        let status = status(&shop, &token, "logs");
        Ok((status["delivered"].as_u64() > Some(40)).then_some(status))
    })
    .unwrap();
    assert_eq!(delivered["last_error"], Value::Null, "{delivered}");
    // Whoever looks sees that this is an exception.
    assert_eq!(delivered["trusts_unclean_end"], true, "{delivered}");
    let said = shop.weir.cli(Some(&token), &["deliveries"]).unwrap();
    assert!(
        said.stdout.contains("  trust_unclean_end: "),
        "{}",
        said.all()
    );
    caught_up(&shop, &token, "logs");
    shop.weir.stop();
    let mut raw = std::fs::read(dir.join("got")).unwrap();
    let mut messages = Vec::new();
    while let Some(message) = next(&mut raw) {
        messages.push(message);
    }
    assert!(raw.is_empty(), "a message is cut");
    whole(
        &shop,
        messages.iter().map(|message| event(message)).collect(),
    );
    python.stop();
}

/// Whoever is not who they should be is told nothing, and `weir deliveries` says why.
#[test]
fn a_receiver_with_the_certificate_of_another_is_told_nothing() {
    let (dir, other) = (
        Scratch::new("siem-one").unwrap(),
        Scratch::new("siem-other").unwrap(),
    );
    let syslog = Syslog::start(dir.path());
    certificate(other.path(), "siem", "siem.test").unwrap();
    let table = |name: &str, server_name: &str, ca: &Path| {
        format!(
            "[[delivery]]\nname = \"{name}\"\nkind = \"syslog\"\naddress = \"127.0.0.1:{}\"\n\
             server_name = \"{server_name}\"\ntls_ca = \"{}\"\n",
            syslog.port,
            ca.display()
        )
    };
    let tables = table("other-ca", "siem.test", &other.path().join("siem.crt"))
        + &table("other-name", "logs.test", &syslog.certificate);
    let secret = format!("whsec_{}", base64(b"key of the deliveries' e2e test 4"));
    let shop = stage("siem-tls", tables, &secret);
    shop.psql(ALICE).run("SELECT 1").unwrap();
    let token = shop.token(OLGA);
    for (name, why) in [
        ("other-ca", "invalid peer certificate"),
        ("other-name", "not valid for name"),
    ] {
        let waiting = eventually("it waits", LIMIT, || {
            let status = status(&shop, &token, name);
            Ok((status["state"] == "waiting").then_some(status))
        })
        .unwrap();
        let error = waiting["last_error"].as_str().unwrap();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(syslog.messages.lock().unwrap().is_empty());
}
