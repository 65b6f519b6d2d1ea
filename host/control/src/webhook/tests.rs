//! A receiver that verifies signatures, and one that fails.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::{Signer, check_url, key};
use crate::WebhookOptions;
use crate::testing::{Rig, STATEMENT, Setup, route};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The standard's own example.
#[test]
fn signs_as_the_standard_does() {
    let signer = Signer::new(&[SECRET.to_owned()]).unwrap();
    let signature = signer.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn where_it_may_send_to() {
    for (url, plain, fine) in [
        ("https://hooks.example.com/x", false, true),
        ("http://127.0.0.1:9/x", false, true),
        ("http://[::1]:9/x", false, true),
        ("http://localhost/x", false, false),
        ("http://127.0.0.1.example.com/x", false, false),
        ("http://hooks.example.com/x", false, false),
        ("http://hooks.example.com/x", true, true),
        ("https://user:pw@hooks.example.com/x", false, false),
        ("ftp://hooks.example.com/x", true, false),
        ("file:///etc/passwd", true, false),
        ("hooks.example.com", true, false),
    ] {
        assert_eq!(check_url(url, plain).is_ok(), fine, "{url}");
    }
}

#[test]
fn which_secrets_are_fit() {
    for (secret, fine) in [
        (SECRET, true),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false),
        ("whsec_c2hvcnQ=", false),
        ("whsec_!!!!", false),
    ] {
        assert_eq!(key(secret).is_ok(), fine, "{secret}");
    }
}

type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// Answers the first calls with the given statuses, and then with 204.
struct Receiver {
    received: Received,
    url: String,
}

async fn receiver(statuses: Vec<u16>, tasks: &TaskTracker) -> Receiver {
    let received = Received::default();
    let statuses = Arc::new(Mutex::new(statuses));
    let state = (received.clone(), statuses);
    let app = Router::new()
        .route(
            "/hook",
            post(
                |State((received, statuses)): State<(Received, Arc<Mutex<Vec<u16>>>)>,
                 headers: HeaderMap,
                 body: String| async move {
                    received.lock().push((headers, body));
                    let mut statuses = statuses.lock();
                    let status = if statuses.is_empty() {
                        204
                    } else {
                        statuses.remove(0)
                    };
                    let location = [("location", "/elsewhere")];
                    (StatusCode::from_u16(status).unwrap(), location)
                },
            ),
        )
        .with_state(state);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    Receiver { received, url }
}

impl Receiver {
    /// Waits for the `n`-th call, moving the clock over pauses.
    async fn nth(&self, rig: &Rig, n: usize) -> (HeaderMap, Value) {
        for _ in 0..400 {
            if let Some((headers, body)) = self.received.lock().get(n).cloned() {
                verify(&headers, &body);
                return (headers, serde_json::from_str(&body).unwrap());
            }
            rig.clock.advance(Duration::from_millis(500));
            // A hold's opening wakes the sender; here it is the test's own nudge.
            let now = weir_client::Timestamp::from(std::time::SystemTime::now());
            rig.control.store().sweep(now.millis(), 0).await.unwrap();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no call number {n}: {:?}", self.received.lock());
    }
}

/// As a receiver must: with the old secret and with the new one.
fn verify(headers: &HeaderMap, body: &str) {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let signed = format!(
        "{}.{}.{body}",
        header("webhook-id"),
        header("webhook-timestamp")
    );
    let signatures = header("webhook-signature");
    for secret in [SECRET, OLD_SECRET] {
        let bytes = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let fits = signatures
            .split(' ')
            .map(|s| STANDARD.decode(s.strip_prefix("v1,").unwrap()).unwrap())
            .any(|tag| hmac::verify(&key, signed.as_bytes(), &tag).is_ok());
        assert!(fits, "no signature fits: {signatures}");
    }
}

fn setup(url: &str, include_statement: bool) -> Setup {
    Setup {
        webhook: Some(WebhookOptions {
            url: url.into(),
            secrets: vec![SECRET.into(), OLD_SECRET.into()],
            include_statement,
            allow_plain_http: false,
        }),
        ..Setup::default()
    }
}

#[tokio::test]
async fn tells_of_a_hold_and_its_end() {
    let tasks = TaskTracker::new();
    let receiver = receiver(vec![], &tasks).await;
    let rig = Rig::with(setup(&receiver.url, true)).await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let id = hold.info().id.clone();
    let (headers, opened) = receiver.nth(&rig, 0).await;
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(opened["type"], "hold.opened");
    let data = &opened["data"];
    assert_eq!(data["id"], *id);
    assert_eq!(data["url"], format!("https://weir.test/approvals/{id}"));
    assert_eq!(data["principal"], "alice");
    assert_eq!(data["target"], "orders");
    assert_eq!(data["rules"], serde_json::json!(["first"]));
    assert_eq!(data["statement"]["text"], STATEMENT);
    assert!(data.get("parameters").is_none(), "parameters are data");
    rig.approve("bob", &id).await;
    let (_, decided) = receiver.nth(&rig, 1).await;
    assert_eq!(decided["type"], "hold.decided");
    assert_eq!(decided["data"]["outcome"], "approved");
    assert_eq!(decided["data"]["decided_by"], "bob");
}

#[tokio::test]
async fn tells_without_the_statement_when_told_so() {
    let tasks = TaskTracker::new();
    let receiver = receiver(vec![], &tasks).await;
    let rig = Rig::with(setup(&receiver.url, false)).await;
    let _hold = rig.hold("alice", vec![route("first", 1)]).await;
    let (_, opened) = receiver.nth(&rig, 0).await;
    assert!(opened["data"].get("statement").is_none());
    assert!(!opened.to_string().contains("UPDATE"));
}

#[tokio::test]
async fn tries_again_with_the_same_id_and_follows_no_redirect() {
    let tasks = TaskTracker::new();
    let receiver = receiver(vec![500, 302], &tasks).await;
    let rig = Rig::with(setup(&receiver.url, true)).await;
    let hold = rig.hold("alice", vec![route("first", 1)]).await;
    let (first, body) = receiver.nth(&rig, 0).await;
    let (second, again) = receiver.nth(&rig, 1).await;
    let (third, _) = receiver.nth(&rig, 2).await;
    assert_eq!(first["webhook-id"], second["webhook-id"]);
    assert_eq!(first["webhook-id"], third["webhook-id"]);
    assert_eq!(body, again, "the body is the same on every attempt");
    hold.abandon().await;
    let (_, decided) = receiver.nth(&rig, 3).await;
    assert_eq!(decided["data"]["outcome"], "abandoned");
    assert!(decided["data"].get("decided_by").is_none());
}

#[tokio::test]
async fn what_was_not_delivered_survives_the_process() {
    let tasks = TaskTracker::new();
    let receiver = receiver(vec![503], &tasks).await;
    let rig = Rig::with(setup(&receiver.url, true)).await;
    let _hold = rig.hold("alice", vec![route("first", 1)]).await;
    let (first, _) = receiver.nth(&rig, 0).await;
    // Wait until the failure is written down.
    for _ in 0..100 {
        let due = rig
            .control
            .store()
            .due_notices(u64::MAX >> 1, 10)
            .await
            .unwrap();
        if due.iter().all(|n| n.attempts == 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rig = rig.killed().await.unwrap();
    let mut again = None;
    for n in 1..4 {
        let (headers, body) = receiver.nth(&rig, n).await;
        if body["type"] == "hold.opened" {
            again = Some(headers);
            break;
        }
    }
    assert_eq!(again.unwrap()["webhook-id"], first["webhook-id"]);
}
