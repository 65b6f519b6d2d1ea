//! Over a socket, with the client of `weir-client`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_client::{
    ApprovalFilter, ApprovalState, BundleUpload, Client, ClientError, DenyRequest, KillRequest,
    Paging, PluginConfirm, PluginState, Reason, SessionFilter,
};

use crate::Limits;
use crate::testing::{Rig, Setup, files, route, session_info};

pub(super) struct Served {
    pub(super) rig: Rig,
    pub(super) address: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn served(tls: Option<Arc<rustls::ServerConfig>>) -> Served {
    served_with(tls, Setup::default()).await
}

pub(super) async fn served_with(tls: Option<Arc<rustls::ServerConfig>>, setup: Setup) -> Served {
    let rig = Rig::with(setup).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (control, token) = (rig.control.clone(), stop.clone());
    tasks.spawn(async move { control.serve(listener, tls, token).await });
    Served {
        rig,
        address,
        stop,
        tasks,
    }
}

impl Served {
    fn client(&self, token: &str) -> Client {
        Client::new(&format!("http://{}", self.address), token).unwrap()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.tasks.wait()).await;
        assert!(ended.is_ok(), "the server did not end");
    }
}

#[tokio::test]
async fn every_call_of_the_client() {
    let served = served(None).await;
    let (alice, bob) = (served.client("alice"), served.client("bob"));
    let upload = BundleUpload {
        files: files("two"),
        note: "tighter".into(),
    };
    let summary = alice.validate_bundle(&upload).await.unwrap();
    let staged = alice.upload_bundle(&upload).await.unwrap();
    assert_eq!(staged.summary, summary);
    assert_eq!(staged.author.as_deref(), Some("alice"));
    let reason = Reason {
        reason: "reviewed".into(),
    };
    let own = alice.activate_bundle(2, &reason).await.unwrap_err();
    assert!(matches!(&own, ClientError::Refused { status, .. } if status.as_u16() == 403));
    assert_eq!(
        own.to_string(),
        "the author of a bundle may not activate it"
    );
    assert_eq!(bob.diff_bundle(2, Some(1)).await.unwrap().changes.len(), 1);
    assert_eq!(
        bob.activate_bundle(2, &reason).await.unwrap().previous,
        Some(1)
    );
    assert_eq!(bob.roll_back_bundle(&reason).await.unwrap().version, 1);
    assert_eq!(
        bob.bundles(&Paging::default()).await.unwrap().items.len(),
        2
    );
    assert_eq!(bob.bundle(2).await.unwrap().note, "tighter");
    assert_eq!(bob.bundle_files(2).await.unwrap().files, files("two"));

    let config = std::collections::BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    let plugin = alice
        .upload_plugin("risk", b"component", config)
        .await
        .unwrap();
    assert_eq!(plugin.size, 9);
    assert_eq!(alice.plugins().await.unwrap().items.len(), 1);
    assert_eq!(alice.plugin("risk").await.unwrap(), plugin);
    let asked = alice.remove_plugin("risk").await.unwrap();
    let confirm = PluginConfirm {
        change: asked.pending.unwrap().id,
        reason: "reviewed".into(),
    };
    let own = alice.confirm_plugin("risk", &confirm).await.unwrap_err();
    assert!(matches!(&own, ClientError::Refused { status, .. } if status.as_u16() == 403));
    let gone = bob.confirm_plugin("risk", &confirm).await.unwrap();
    assert_eq!(gone.state, PluginState::Removed);

    assert_eq!(alice.targets().await.unwrap().items.len(), 2);
    assert_eq!(alice.target("orders").await.unwrap().env, "prod");
    let odd = alice.target("a/../b?c#d").await.unwrap_err();
    assert!(matches!(odd, ClientError::Refused { status, .. } if status.as_u16() == 404));

    let one = served.rig.hold("alice", vec![route("first", 1)]).await;
    let two = served.rig.hold("alice", vec![route("first", 1)]).await;
    let open = ApprovalFilter {
        state: Some(ApprovalState::Open),
        limit: Some(1),
        ..ApprovalFilter::default()
    };
    let page = bob.approvals(&open).await.unwrap();
    assert_eq!(page.items[0].id, two.info().id, "newest first");
    let rest = bob
        .approvals(&ApprovalFilter {
            after: page.next,
            ..open
        })
        .await
        .unwrap();
    assert_eq!(rest.items[0].id, one.info().id);
    let approved = bob.approve(&one.info().id, &reason).await.unwrap();
    assert_eq!(approved.state, ApprovalState::Approved);
    let no = DenyRequest {
        reason: "no".into(),
    };
    assert_eq!(
        bob.deny(&two.info().id, &no).await.unwrap().state,
        ApprovalState::Denied
    );
    let shown = bob.approval(&two.info().id).await.unwrap();
    assert_eq!(shown.decision.unwrap().by, "bob");

    let (kill, _) = (KillRequest { reason: "r".into() }, ());
    let info = session_info(served.rig.principal("alice"));
    let unknown = bob
        .kill_session(&info.id.to_string(), &kill)
        .await
        .unwrap_err();
    assert!(matches!(unknown, ClientError::Refused { status, .. } if status.as_u16() == 404));
    assert!(
        bob.sessions(&SessionFilter::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let ids = (one.info().id.clone(), two.info().id.clone());
    drop((one, two, ids));
    served.end().await;
}

#[tokio::test]
async fn over_tls_only_when_told_so() {
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(cert.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.cert.der().clone()], key)
        .unwrap();
    let served = served(Some(Arc::new(config))).await;
    let root = reqwest::Certificate::from_der(cert.cert.der()).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([root])
        .resolve("localhost", served.address)
        .build()
        .unwrap();
    let base = format!("https://localhost:{}", served.address.port());
    let client = Client::with_http(http, &base, "alice").unwrap();
    assert_eq!(client.targets().await.unwrap().items.len(), 2);
    drop(client);
    assert!(
        served.client("alice").targets().await.is_err(),
        "plain text was served"
    );
    served.end().await;
}

/// A peer that says nothing must not hold up the end, and gets no answer to nonsense.
#[tokio::test]
async fn slow_and_broken_peers() {
    let served = served(None).await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    silent
        .write_all(b"GET /healthz HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut broken = TcpStream::connect(served.address).await.unwrap();
    broken
        .write_all(b"\x16\x03\x01\x02\x00\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    broken.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let mut huge = TcpStream::connect(served.address).await.unwrap();
    huge.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let header = format!("x: {}\r\n", "y".repeat(60_000));
    huge.write_all(header.as_bytes()).await.ok();
    let mut answer = Vec::new();
    huge.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    served.end().await;
}

/// Strangers get one answer for each connection: a pipeline that nobody reads is not worked off.
/// Callers with a token keep theirs.
#[tokio::test]
async fn strangers_get_one_answer() {
    let served = served(None).await;
    for (path, token, answers) in [
        ("/openapi.json", "", 1),
        ("/healthz", "", 1),
        ("/v1/targets", "", 1),
        ("/v1/targets", "nobody", 1),
        ("/nothing", "", 1),
        ("/v1/targets", "alice", 3),
    ] {
        let mut peer = TcpStream::connect(served.address).await.unwrap();
        let one = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n");
        let last = format!("{one}connection: close\r\n\r\n");
        let all = format!("{one}\r\n{one}\r\n{last}");
        peer.write_all(all.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is closed with requests left over may be reset after the answer.
        peer.read_to_end(&mut answer).await.ok();
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.matches("HTTP/1.1 ").count(), answers, "{path}: {text}");
    }
    served.end().await;
}

/// One address cannot take all the places.
#[tokio::test]
async fn a_source_has_so_many_connections() {
    let limits = Limits {
        connections_per_source: 2,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    let served = served_with(None, setup).await;
    let mut open = Vec::new();
    for n in 0..4 {
        let mut peer = TcpStream::connect(served.address).await.unwrap();
        let mut byte = [0; 1];
        // One that is cut is so at once; of one that is not, there is nothing to wait for.
        let patience = Duration::from_millis(if n < 2 { 300 } else { 20_000 });
        let read = tokio::time::timeout(patience, peer.read(&mut byte)).await;
        let cut = matches!(read, Ok(Ok(0) | Err(_)));
        assert_eq!(cut, n >= 2, "connection {n}: {read:?}");
        open.push(peer);
    }
    drop(open);
    // Those who have gone are noticed in time.
    let mut targets = served.client("alice").targets().await;
    for _ in 0..200 {
        if targets.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        targets = served.client("alice").targets().await;
    }
    assert_eq!(targets.unwrap().items.len(), 2);
    served.end().await;
}
