//! Hosts that answer a login in every way that they should not, and in some that they may.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use pipeline::SessionId;
use ssh_keys::{CertificateKind, PrivateKey, PublicKey};
use tokio::net::TcpListener;

use super::host::Known;
use super::{Grant, HostError, Means, UpstreamError, connect};
use crate::config::{Credential, HostTrust, Limits, Secret, SshTarget};
use crate::leg::Leg;
use crate::startup::GatewayKey;
use crate::terms::May;
use crate::testing::ports::{Keys, alice};
use crate::testing::target;
use crate::transport::{Event, ServerConfig, Transport};
use crate::wire::numbers as n;
use crate::wire::{Put, Reader};

const PASSWORD: &str = "upstream-secret";

/// What a host says to one message.
type Script = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// A host, and what it was told.
struct Host {
    port: u16,
    heard: Arc<Mutex<Vec<Bytes>>>,
}

impl Host {
    async fn start(keys: &Keys, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = PrivateKey::from_openssh(keys.sshd.to_openssh("").as_bytes()).unwrap();
        let key = Arc::new(GatewayKey::plain(Arc::new(key)));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = heard.clone();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let config = ServerConfig::new(vec![key]);
            let mut leg = Leg::new(Box::new(stream), Transport::server(Arc::new(config)));
            while let Ok(event) = leg.recv().await {
                let Event::Packet(payload) = event else {
                    continue;
                };
                told.lock().push(payload.clone());
                for answer in script(&payload) {
                    leg.transport.send(&answer).unwrap();
                }
                leg.flush().await.ok();
            }
        });
        Self { port, heard }
    }

    async fn login(&self, keys: &Arc<Keys>, credential: Credential) -> Result<(), UpstreamError> {
        let target = SshTarget {
            credential,
            ..target("web1", self.port, keys)
        };
        dial(&target, keys).await
    }

    /// The methods of the requests that it was sent.
    fn methods(&self) -> Vec<String> {
        let heard = self.heard.lock();
        let requests = heard
            .iter()
            .filter(|m| m.first() == Some(&n::USERAUTH_REQUEST));
        requests
            .map(|m| {
                let mut r = Reader::new(m);
                r.u8().unwrap();
                assert_eq!(r.string().unwrap(), b"root");
                assert_eq!(r.string().unwrap(), b"ssh-connection");
                String::from_utf8(r.string().unwrap().to_vec()).unwrap()
            })
            .collect()
    }

    fn has_heard(&self, text: &str) -> bool {
        let heard = self.heard.lock();
        let mut all = heard.iter();
        all.any(|m| m.windows(text.len()).any(|w| w == text.as_bytes()))
    }
}

async fn dial(target: &SshTarget, keys: &Arc<Keys>) -> Result<(), UpstreamError> {
    let limits = Limits {
        upstream_login_timeout: Duration::from_secs(6),
        farewell: Duration::from_millis(200),
        ..Limits::default()
    };
    let principal = alice();
    let grant = Grant {
        principal: &principal,
        session: SessionId::new(),
        target: "web1",
        login: "root",
        may: May::ALL,
        now: SystemTime::now(),
    };
    let means = Means {
        host_keys: &**keys,
        issuer: Some(&**keys),
        limits: &limits,
    };
    connect(target, &grant, &means).await.map(|_| ())
}

fn password() -> Credential {
    Credential::Password(Secret::new(PASSWORD))
}

fn accept() -> Vec<u8> {
    let mut out = Vec::new();
    out.byte(n::SERVICE_ACCEPT).string(b"ssh-userauth");
    out
}

fn failure(methods: &str, partial: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.byte(n::USERAUTH_FAILURE)
        .string(methods.as_bytes())
        .flag(partial);
    out
}

fn question(prompts: &[(&str, bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.byte(n::USERAUTH_INFO_REQUEST)
        .string(b"")
        .string(b"")
        .string(b"");
    out.uint32(u32::try_from(prompts.len()).unwrap());
    for (prompt, echo) in prompts {
        out.string(prompt.as_bytes()).flag(*echo);
    }
    out
}

/// A host that answers each kind of message in one way.
fn script(to_request: Vec<Vec<u8>>, to_response: Vec<Vec<u8>>) -> Script {
    Arc::new(move |payload| match payload.first().copied() {
        Some(n::SERVICE_REQUEST) => vec![accept()],
        Some(n::USERAUTH_REQUEST) => to_request.clone(),
        Some(n::USERAUTH_INFO_RESPONSE) => to_response.clone(),
        _ => Vec::new(),
    })
}

const IN: &[u8] = &[n::USERAUTH_SUCCESS];

#[tokio::test]
async fn a_password_is_given_once_and_to_a_question_for_a_password() {
    let keys = Keys::new();
    let host = Host::start(&keys, script(vec![IN.to_vec()], vec![])).await;
    host.login(&keys, password()).await.unwrap();
    assert_eq!(host.methods(), ["password"]);

    // A host that has keyboard-interactive only.
    let interactive: Script = {
        let asked = Mutex::new(0);
        Arc::new(move |payload| {
            let method = |m: &[u8]| payload.windows(m.len()).any(|w| w == m);
            match payload.first().copied() {
                Some(n::SERVICE_REQUEST) => vec![accept()],
                Some(n::USERAUTH_REQUEST) if method(b"keyboard-interactive") => {
                    vec![question(&[])]
                }
                Some(n::USERAUTH_REQUEST) => vec![failure("publickey,keyboard-interactive", false)],
                Some(n::USERAUTH_INFO_RESPONSE) => {
                    let mut asked = asked.lock();
                    *asked += 1;
                    match *asked {
                        1 => vec![question(&[("Password: ", false)])],
                        _ => vec![IN.to_vec()],
                    }
                }
                _ => Vec::new(),
            }
        })
    };
    let host = Host::start(&keys, interactive).await;
    host.login(&keys, password()).await.unwrap();
    assert_eq!(host.methods(), ["password", "keyboard-interactive"]);
    assert!(host.has_heard(PASSWORD));
}

#[tokio::test]
async fn a_password_goes_nowhere_else() {
    let keys = Keys::new();
    let code = question(&[("Code: ", true)]);
    let two = question(&[("A", false), ("B", false)]);
    let secret = question(&[("Password: ", false)]);
    let nothing = question(&[]);
    for (what, first, to_response, kind) in [
        ("a code that is shown", code, vec![], "Question"),
        ("two things", two, vec![], "Question"),
        ("it again", secret.clone(), vec![secret], "Question"),
        (
            "nothing, for ever",
            nothing.clone(),
            vec![nothing],
            "TooMuch",
        ),
    ] {
        let (by_response, by_password) = (to_response, failure("keyboard-interactive", false));
        let script: Script = Arc::new(move |payload| match payload.first().copied() {
            Some(n::SERVICE_REQUEST) => vec![accept()],
            Some(n::USERAUTH_INFO_RESPONSE) => by_response.clone(),
            _ if payload.windows(8).any(|w| w == b"keyboard") => vec![first.clone()],
            _ => vec![by_password.clone()],
        });
        let host = Host::start(&keys, script).await;
        fails(&host, &keys, what, kind).await;
    }
    let change = question(&[("Change it", false)]);
    let no = failure("publickey", false);
    for (what, to_request, kind) in [
        ("a new password", vec![change.clone()], "PasswordChange"),
        (
            "another password",
            vec![failure("password,publickey", false)],
            "Refused",
        ),
        ("a key as well", vec![failure("publickey", true)], "Refused"),
        ("a question after a no", vec![no, change], "Refused"),
    ] {
        let host = Host::start(&keys, script(to_request, vec![])).await;
        fails(&host, &keys, what, kind).await;
    }
}

async fn fails(host: &Host, keys: &Arc<Keys>, what: &str, kind: &str) {
    let error = host.login(keys, password()).await.unwrap_err();
    let debug = format!("{error:?}");
    assert!(debug.starts_with(kind), "{what}: {debug}");
    assert!(!debug.contains(PASSWORD) && !error.to_string().contains(PASSWORD));
    let heard = host.heard.lock();
    let holds = |m: &&Bytes| m.windows(PASSWORD.len()).any(|w| w == PASSWORD.as_bytes());
    // By the method, and to a question for it.
    let given = heard.iter().filter(holds).count();
    assert!(given <= 2, "{what}: given {given} times");
}

#[tokio::test]
async fn a_key_is_all_that_a_host_is_offered() {
    let keys = Keys::new();
    let methods = failure("password,keyboard-interactive,publickey", false);
    for credential in [Credential::Key(keys.fixed.clone()), Credential::Certificate] {
        let host = Host::start(&keys, script(vec![methods.clone()], vec![])).await;
        let error = host.login(&keys, credential).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Refused { .. }), "{error:?}");
        assert_eq!(
            error.client_text(),
            "the target does not accept Weir's login"
        );
        assert_eq!(host.methods(), ["publickey"]);
    }
    // A host that asks questions instead gets no answer.
    let host = Host::start(
        &keys,
        script(vec![question(&[("Password: ", false)])], vec![]),
    )
    .await;
    let error = host
        .login(&keys, Credential::Certificate)
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Unexpected(60)), "{error:?}");
}

#[tokio::test]
async fn hosts_that_break_the_protocol_are_left() {
    let keys = Keys::new();
    let always = |answer: Vec<u8>| -> Script { Arc::new(move |_| vec![answer.clone()]) };
    let mut wrong_service = Vec::new();
    wrong_service
        .byte(n::SERVICE_ACCEPT)
        .string(b"ssh-connection");
    for (what, script) in [
        ("in without a proof", always(IN.to_vec())),
        ("another service", always(wrong_service)),
        ("a channel", always(vec![n::CHANNEL_OPEN, 0, 0, 0, 0])),
        (
            "a failure cut off",
            script(vec![vec![n::USERAUTH_FAILURE, 0]], vec![]),
        ),
        (
            "a success with more",
            script(vec![vec![n::USERAUTH_SUCCESS, 0]], vec![]),
        ),
        ("a request", script(vec![vec![n::USERAUTH_REQUEST]], vec![])),
        ("banners for ever", {
            let mut banner = Vec::new();
            banner.byte(n::USERAUTH_BANNER).string(b"x").string(b"");
            script(vec![banner; 100], vec![])
        }),
    ] {
        let host = Host::start(&keys, script).await;
        let error = host.login(&keys, password()).await.unwrap_err();
        assert!(
            matches!(
                error,
                UpstreamError::Unexpected(_) | UpstreamError::Layout(_) | UpstreamError::TooMuch(_)
            ),
            "{what}: {error:?}"
        );
    }
    let silent: Script = Arc::new(|_| Vec::new());
    let host = Host::start(&keys, silent).await;
    let error = host.login(&keys, password()).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Timeout("login")),
        "{error:?}"
    );
    assert!(
        !host.has_heard(PASSWORD),
        "it has not even accepted the service"
    );
}

#[tokio::test]
async fn a_host_that_says_nothing_or_too_much_is_left_in_time() {
    let keys = Keys::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target("web1", listener.local_addr().unwrap().port(), &keys);
    let error = dial(&target, &keys).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Timeout("key exchange")),
        "{error:?}"
    );
}

/// A hash, signed with a key.
fn proved(key: &PrivateKey) -> (Vec<u8>, Vec<u8>) {
    let hash = b"what both sides have come to".to_vec();
    let signature = key.sign("ssh-ed25519", &hash).unwrap();
    (hash, signature)
}

#[test]
fn a_host_is_known_by_what_was_said_before() {
    let keys = Keys::new();
    let (host, other) = (&keys.sshd, &keys.gateway);
    let public = |key: &PrivateKey| key.public().clone();
    let pin = |key: &PrivateKey| HostTrust {
        pins: vec![public(key)],
        ..HostTrust::default()
    };
    let approving = HostTrust {
        approved: true,
        ..HostTrust::default()
    };
    let both = HostTrust {
        authorities: vec![public(&keys.host_ca)],
        ..pin(other)
    };
    let (hash, signature) = proved(host);
    let check = |trust: &HostTrust, approved: &[PublicKey], blob: &[u8]| {
        let known = Known {
            trust,
            approved,
            name: "web1",
        };
        known.check("ssh-ed25519", blob, &signature, &hash, SystemTime::now())
    };
    let blob = host.public().blob();
    assert_eq!(check(&pin(host), &[], blob), Ok(()));
    assert_eq!(check(&approving, &[public(host)], blob), Ok(()));
    assert!(matches!(
        check(&approving, &[], blob),
        Err(HostError::Unknown { .. })
    ));
    assert!(matches!(
        check(&approving, &[public(other)], blob),
        Err(HostError::Changed { .. })
    ));
    assert!(matches!(
        check(&pin(other), &[public(host)], blob),
        Err(HostError::NotPinned { .. })
    ));
    assert!(matches!(
        check(&both, &[], blob),
        Err(HostError::NotPinned { .. })
    ));
    // Somebody shows the right key and does not have it.
    assert!(matches!(
        check(&pin(other), &[], other.public().blob()),
        Err(HostError::Signature { .. })
    ));
    assert!(matches!(
        check(&pin(host), &[], b"junk"),
        Err(HostError::Unreadable(_))
    ));
}

#[test]
fn a_host_certificate_is_for_this_host_and_from_our_authority() {
    let keys = Keys::new();
    let trust = HostTrust {
        authorities: vec![keys.host_ca.public().clone()],
        ..HostTrust::default()
    };
    let known = Known {
        trust: &trust,
        approved: &[],
        name: "web1",
    };
    let (hash, signature) = proved(&keys.sshd);
    let spec = || Keys::spec(keys.sshd.public(), CertificateKind::Host, "web1");
    let mut other_name = spec();
    other_name.principals = vec!["web2".into()];
    let mut user = spec();
    user.kind = CertificateKind::User;
    let mut expired = spec();
    expired.valid_before = expired.valid_after + 1;
    let mut nobody = spec();
    nobody.principals = Vec::new();
    for (what, spec, authority, good) in [
        ("right", spec(), &keys.host_ca, true),
        ("another name", other_name, &keys.host_ca, false),
        ("of a user", user, &keys.host_ca, false),
        ("expired", expired, &keys.host_ca, false),
        ("for no name", nobody, &keys.host_ca, false),
        ("of another authority", spec(), &keys.user_ca, false),
        ("signed by itself", spec(), &keys.sshd, false),
    ] {
        // What may not be signed at all is as good.
        let Ok(certificate) = spec.sign(authority) else {
            assert!(!good, "{what}");
            continue;
        };
        let algorithm = "ssh-ed25519-cert-v01@openssh.com";
        let check = |blob: &[u8], algorithm: &str, signature: &[u8]| {
            known.check(algorithm, blob, signature, &hash, SystemTime::now())
        };
        let result = check(certificate.blob(), algorithm, &signature);
        assert_eq!(result.is_ok(), good, "{what}: {result:?}");
        // Not by whoever has only copied the certificate, and not under another name of it.
        let (_, copied) = proved(&keys.gateway);
        assert!(
            check(certificate.blob(), algorithm, &copied).is_err(),
            "{what}"
        );
        assert!(
            check(certificate.blob(), "ssh-ed25519", &signature).is_err(),
            "{what}"
        );
        assert!(
            check(keys.sshd.public().blob(), algorithm, &signature).is_err(),
            "{what}"
        );
    }
    assert!(
        known
            .algorithms()
            .iter()
            .all(|a| a.ends_with("-cert-v01@openssh.com"))
    );
}

#[test]
fn a_host_is_asked_for_a_key_of_a_kind_that_is_known() {
    let keys = Keys::new();
    let algorithms = |trust: &HostTrust, approved: &[PublicKey]| {
        let known = Known {
            trust,
            approved,
            name: "web1",
        };
        known.algorithms()
    };
    let pinned = HostTrust {
        pins: vec![keys.sshd.public().clone()],
        ..HostTrust::default()
    };
    assert_eq!(algorithms(&pinned, &[]), ["ssh-ed25519"]);
    let approving = HostTrust {
        approved: true,
        ..HostTrust::default()
    };
    // The approved one first; then those by which a change of its kind is seen.
    let approved = algorithms(&approving, &[keys.sshd.public().clone()]);
    assert_eq!(approved.first().map(String::as_str), Some("ssh-ed25519"));
    let again = approved.iter().filter(|a| *a == "ssh-ed25519");
    assert_eq!((again.count(), approved.len()), (1, 6));
    let any = algorithms(&approving, &[]);
    assert_eq!(any.first().map(String::as_str), Some("ssh-ed25519"));
    assert!(any.len() > 3 && !any.iter().any(|a| a == "ssh-rsa"));
}
