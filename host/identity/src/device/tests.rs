//! Logins at a provider that answers as it is told: what it may say, and for how long it is waited for.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A provider that answers as it is told, and remembers what it was asked.
struct Provider {
    url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    /// `device` is what the device endpoint adds to or takes from a good answer; `tokens` is what the token
    /// endpoint answers, in this order.
    async fn start(device: Value, tokens: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut code = json!({
            "device_code": "secret device", "user_code": "ABCD-EFGH", "expires_in": 600,
            "interval": 1, "verification_uri": format!("{url}/device"),
        });
        for (name, value) in device.as_object().unwrap() {
            code[name] = value.clone();
        }
        let description = json!({
            "issuer": url, "token_endpoint": format!("{url}/token"),
            "device_authorization_endpoint": format!("{url}/code"),
        });
        let (asked, tokens) = (Arc::<Mutex<Vec<_>>>::default(), VecDeque::from(tokens));
        let tokens = Arc::new(Mutex::new(tokens));
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (path, body) = read(&mut stream).await;
                let (status, answer) = match path.as_str() {
                    "/code" => (200, code.clone()),
                    "/token" => tokens.lock().pop_front().unwrap_or((500, json!({}))),
                    _ => (200, description.clone()),
                };
                seen.lock().push((path, body));
                let answer = answer.to_string();
                let text = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
                    answer.len()
                );
                stream.write_all(text.as_bytes()).await.ok();
            }
        });
        Self { url, asked, task }
    }

    fn options(&self) -> DeviceOptions {
        DeviceOptions {
            issuer: self.url.clone(),
            client_id: "weir cli&x=y".into(),
            client_secret: None,
            scope: "openid groups".into(),
            audience: Some("weir".into()),
            ca_file: None,
        }
    }
}

async fn read(stream: &mut TcpStream) -> (String, String) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        request.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if n == 0 {
                return Default::default();
            }
            continue;
        };
        let length = head.lines().find_map(|l| {
            let (name, value) = l.split_once(": ")?;
            let is = name.eq_ignore_ascii_case("content-length");
            is.then(|| value.parse::<usize>().unwrap())
        });
        if n == 0 || body.len() >= length.unwrap_or(0) {
            let path = head.split(' ').nth(1).unwrap_or_default();
            return (path.to_owned(), body.to_owned());
        }
    }
}

/// As fast as a test wants it.
fn hurried(mut login: DeviceLogin) -> DeviceLogin {
    login.interval = Duration::from_millis(5);
    login.step = Duration::from_millis(5);
    login
}

fn pending() -> (u16, Value) {
    (400, json!({"error": "authorization_pending"}))
}

#[tokio::test]
async fn a_token_comes_when_somebody_has_agreed() {
    let token = json!({"access_token": "ey.J.x", "token_type": "Bearer", "expires_in": 300});
    let slow = (400, json!({"error": "slow_down"}));
    let answers = vec![pending(), slow, pending(), (200, token)];
    let provider = Provider::start(json!({}), answers).await;
    let login = DeviceLogin::begin(&provider.options()).await.unwrap();
    assert_eq!(login.user_code, "ABCD-EFGH");
    assert_eq!(login.verification_uri, format!("{}/device", provider.url));
    assert_eq!(login.verification_uri_complete, None);
    assert_eq!(login.interval, Duration::from_secs(1));
    assert_eq!(hurried(login).finish().await.unwrap().as_str(), "ey.J.x");
    let asked = provider.asked.lock();
    let (_, code) = &asked[1];
    assert_eq!(
        code,
        "client_id=weir+cli%26x%3Dy&scope=openid+groups&audience=weir"
    );
    let tokens: Vec<_> = asked.iter().filter(|(path, _)| path == "/token").collect();
    assert_eq!(tokens.len(), 4);
    let (_, form) = tokens[0];
    assert!(
        form.contains("device_code=secret+device&client_id=weir+cli%26x%3Dy"),
        "{form}"
    );
    assert!(form.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code"));
}

#[tokio::test]
async fn it_ends_when_it_is_refused_or_takes_too_long() {
    let denied = (400, json!({"error": "access_denied"}));
    let provider = Provider::start(json!({}), vec![pending(), denied]).await;
    let login = DeviceLogin::begin(&provider.options()).await.unwrap();
    let error = hurried(login).finish().await.unwrap_err();
    assert!(matches!(error, DeviceError::Denied), "{error:?}");

    let provider = Provider::start(json!({"expires_in": 1}), vec![]).await;
    let login = DeviceLogin::begin(&provider.options()).await.unwrap();
    let error = login.finish().await.unwrap_err();
    assert!(matches!(error, DeviceError::Expired), "{error:?}");

    // A provider that is gone is not asked for ever.
    let provider = Provider::start(json!({}), vec![]).await;
    let login = hurried(DeviceLogin::begin(&provider.options()).await.unwrap());
    drop(provider);
    let error = login.finish().await.unwrap_err();
    assert!(matches!(error, DeviceError::Fetch(_)), "{error:?}");
}

#[tokio::test]
async fn codes_are_in_no_error_whatever_a_provider_says() {
    for said in [
        "it was secret device",
        "no such code: secret device",
        "ABCD-EFGH?",
    ] {
        let refused = json!({"error": "invalid_grant", "error_description": said});
        let provider = Provider::start(json!({}), vec![(400, refused)]).await;
        let login = DeviceLogin::begin(&provider.options()).await.unwrap();
        let error = format!("{:?}", hurried(login).finish().await.unwrap_err());
        assert!(
            !error.contains("secret d") && !error.contains("ABCD"),
            "{error}"
        );
        assert!(error.contains("has a code in it"), "{error}");
    }
}

#[tokio::test]
async fn a_provider_is_described_once_and_told_the_secret_of_a_client_that_has_one() {
    let token = json!({"access_token": "ey.J.x", "token_type": "Bearer"});
    let provider = Provider::start(json!({}), vec![(200, token)]).await;
    let mut options = provider.options();
    options.client_secret = Some("s&cret".to_owned().into());
    let at = DeviceProvider::new(options).unwrap();
    let first = at.begin().await.unwrap();
    at.begin().await.unwrap();
    assert!(first.lives() > Duration::from_secs(590) && first.lives() <= Duration::from_secs(600));
    hurried(first).finish().await.unwrap();
    let asked = provider.asked.lock();
    let paths: Vec<&str> = asked.iter().map(|(path, _)| path.as_str()).collect();
    let description = "/.well-known/openid-configuration";
    assert_eq!(paths, [description, "/code", "/code", "/token"]);
    for (path, form) in asked.iter().skip(1) {
        assert!(form.contains("client_secret=s%26cret"), "{path}: {form}");
    }
}

/// Whoever goes away has nobody asked any more.
#[tokio::test]
async fn a_login_that_is_dropped_is_not_polled() {
    let provider = Provider::start(json!({}), vec![pending(); 1000]).await;
    let login = hurried(DeviceLogin::begin(&provider.options()).await.unwrap());
    let polled = || {
        let asked = provider.asked.lock();
        asked.iter().filter(|(path, _)| path == "/token").count()
    };
    let waited = tokio::time::timeout(Duration::from_secs(2), login.finish()).await;
    assert!(waited.is_err() && polled() > 0);
    // One that was under way.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let seen = polled();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(polled(), seen);
}

#[tokio::test]
async fn what_a_provider_must_not_say_is_refused() {
    for (bad, named) in [
        (json!({"user_code": "A\u{1b}[2J"}), "user_code"),
        (json!({"user_code": ""}), "user_code"),
        (json!({"user_code": "x".repeat(65)}), "user_code"),
        (json!({"device_code": 7}), "device_code"),
        (json!({"expires_in": "soon"}), "expires_in"),
        (
            json!({"verification_uri": "http://evil.example/device"}),
            "verification_uri",
        ),
        (
            json!({"verification_uri": "javascript:alert(1)"}),
            "verification_uri",
        ),
        (json!({"verification_uri": null}), "verification_uri"),
    ] {
        let provider = Provider::start(bad.clone(), vec![]).await;
        let error = DeviceLogin::begin(&provider.options()).await.err().unwrap();
        let DeviceError::Answer { what } = error else {
            panic!("{bad}: {error:?}");
        };
        assert_eq!(what, named);
    }
    let waits = json!({"interval": 100_000, "expires_in": 100_000_000});
    let provider = Provider::start(waits, vec![]).await;
    let login = DeviceLogin::begin(&provider.options()).await.unwrap();
    assert_eq!(login.interval, Duration::from_secs(MAX_INTERVAL));
    assert!(login.until <= Instant::now() + Duration::from_secs(MAX_WAIT));
    let mut other = provider.options();
    other.issuer.push('/');
    let error = DeviceLogin::begin(&other).await.err().unwrap();
    assert!(matches!(error, DeviceError::OtherIssuer(_)), "{error:?}");
    let mut plain = provider.options();
    plain.issuer = "http://id.example".into();
    let error = DeviceLogin::begin(&plain).await.err().unwrap();
    assert!(
        matches!(error, DeviceError::Fetch(FetchError::NotHttps(_))),
        "{error:?}"
    );
}

#[test]
fn answers_of_the_token_endpoint() {
    let judge =
        |status: u16, body: &str| judge(StatusCode::from_u16(status).unwrap(), body.as_bytes());
    let good = r#"{"access_token":"t","token_type":"bearer","id_token":"never"}"#;
    let token = Polled::Token(Zeroizing::new("t".to_owned()));
    assert_eq!(judge(200, good).unwrap(), token);
    for status in [400, 401, 403, 428] {
        let pending = r#"{"error":"authorization_pending"}"#;
        assert_eq!(judge(status, pending).unwrap(), Polled::Pending);
    }
    for (status, body) in [
        (200, r#"{"id_token":"only","token_type":"bearer"}"#),
        (200, r#"{"access_token":"t"}"#),
        (200, r#"{"access_token":"t","token_type":"DPoP"}"#),
        (200, r#"{"access_token":"a\nb","token_type":"bearer"}"#),
        (200, r#"{"access_token":"","token_type":"bearer"}"#),
        (
            200,
            r#"{"access_token":"a","access_token":"b","token_type":"bearer"}"#,
        ),
        (200, "<html>"),
        (400, good),
        (400, r#"{"error":"invalid_client"}"#),
        (400, "{}"),
        (500, "oops"),
    ] {
        assert!(judge(status, body).is_err(), "{status} {body}");
    }
    let long = format!(
        r#"{{"access_token":"{}","token_type":"bearer"}}"#,
        "x".repeat(MAX_TOKEN + 1)
    );
    assert!(judge(200, &long).is_err());
    let told = judge(
        400,
        r#"{"error":"invalid_scope","error_description":"no groups"}"#,
    );
    let told = told.unwrap_err().to_string();
    assert!(told.ends_with("invalid_scope: no groups"), "{told}");
}

/// In between two polls, and so late that there would be no other one.
#[tokio::test]
async fn whoever_agrees_at_the_last_moment_is_seen() {
    let token = || {
        let token = json!({"access_token": "ey.J.x", "token_type": "Bearer"});
        (200, token)
    };
    let seconds = Duration::from_secs;
    for (answers, interval, until, called, expect, asked) in [
        // The code ends before another poll is due.
        (
            vec![token()],
            seconds(10),
            Duration::from_millis(1_300),
            false,
            true,
            1,
        ),
        (
            vec![pending(), token()],
            seconds(10),
            Duration::from_millis(1_300),
            false,
            false,
            1,
        ),
        // It is too late already.
        (
            vec![token()],
            seconds(10),
            Duration::from_millis(900),
            false,
            false,
            0,
        ),
        // Nobody waits any longer; once more, when it is due.
        (
            vec![token()],
            Duration::from_millis(300),
            seconds(60),
            true,
            true,
            1,
        ),
        (
            vec![pending(), token()],
            Duration::from_millis(300),
            seconds(60),
            true,
            false,
            1,
        ),
        (
            vec![pending(), token()],
            Duration::from_millis(50),
            seconds(60),
            false,
            true,
            2,
        ),
    ] {
        let provider = Provider::start(json!({}), answers).await;
        let mut login = DeviceLogin::begin(&provider.options()).await.unwrap();
        login.interval = interval;
        login.until = Instant::now() + until;
        let last_call = Notify::new();
        if called {
            last_call.notify_one();
        }
        let begun = Instant::now();
        let done = login.finish_at(&last_call).await;
        let text = format!("{interval:?} {until:?} {called}: {done:?}");
        assert_eq!(done.is_ok(), expect, "{text}");
        assert!(
            expect || matches!(done, Err(DeviceError::Expired)),
            "{text}"
        );
        assert!(
            begun.elapsed() >= interval.min(until.saturating_sub(LAST)),
            "{text}"
        );
        let tokens = provider.asked.lock();
        let tokens = tokens.iter().filter(|(path, _)| path == "/token");
        assert_eq!(tokens.count(), asked, "{text}");
    }
}
