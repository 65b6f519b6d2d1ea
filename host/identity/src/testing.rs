//! Keys, tokens and a very small HTTP server for the tests of this crate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use pipeline::memory::FixedClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{IssuerConfig, JwksSource, Verifier, VerifierOptions};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "weir";
/// The moment at which all tests happen.
pub(crate) const NOW: u64 = 1_900_000_000;

pub(crate) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Pair {
    Ec(EcdsaKeyPair, usize),
    Ed(Ed25519KeyPair),
    Rsa(&'static RsaKeyPair),
}

/// A key that signs, with the id and algorithm it is published under.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) alg: &'static str,
    pair: Pair,
}

impl Key {
    pub(crate) fn es256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self {
            kid: kid.to_owned(),
            alg: "ES256",
            pair: Pair::Ec(pair, 32),
        }
    }

    pub(crate) fn es384(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Self {
            kid: kid.to_owned(),
            alg: "ES384",
            pair: Pair::Ec(pair, 48),
        }
    }

    pub(crate) fn ed25519(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        Self {
            kid: kid.to_owned(),
            alg: "EdDSA",
            pair: Pair::Ed(pair),
        }
    }

    /// RSA keys take long to make; all of them are the same.
    pub(crate) fn rsa(kid: &str, alg: &'static str) -> Self {
        static RSA: OnceLock<RsaKeyPair> = OnceLock::new();
        let pair = RSA.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        Self {
            kid: kid.to_owned(),
            alg,
            pair: Pair::Rsa(pair),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = json!({"kid": self.kid, "alg": self.alg, "use": "sig"});
        let mut set = |name: &str, value: String| jwk[name] = Value::String(value);
        match &self.pair {
            Pair::Ec(pair, size) => {
                let point = pair.public_key().as_ref();
                set("kty", "EC".to_owned());
                set(
                    "crv",
                    if *size == 32 { "P-256" } else { "P-384" }.to_owned(),
                );
                set("x", b64(&point[1..=*size]));
                set("y", b64(&point[size + 1..]));
            }
            Pair::Ed(pair) => {
                set("kty", "OKP".to_owned());
                set("crv", "Ed25519".to_owned());
                set("x", b64(pair.public_key().as_ref()));
            }
            Pair::Rsa(_) => {
                let public = self.rsa_public();
                set("kty", "RSA".to_owned());
                set("n", b64(public.n));
                set("e", b64(public.e));
            }
        }
        jwk
    }

    /// The public key as a text that a verifier might mistake for an HMAC secret.
    pub(crate) fn rsa_public(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().into(),
            _ => panic!("not an RSA key"),
        }
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.alg, "typ": "at+jwt", "kid": self.kid})
    }

    /// Signs whatever the two texts are.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair, _) => pair
                .sign(&random, message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = if self.alg == "PS256"
                {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                pair.sign(padding, &random, message.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
        };
        format!("{message}.{}", b64(signature))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }
}

pub(crate) fn jwks(keys: &[&Key]) -> String {
    json!({"keys": keys.iter().map(|k| k.jwk()).collect::<Vec<_>>()}).to_string()
}

/// Claims without a fault.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "jti": "t-1",
        "groups": ["eng", "dba"],
    })
}

pub(crate) fn config(source: JwksSource) -> IssuerConfig {
    let mut config = IssuerConfig::new(ISSUER, AUDIENCE);
    config.jwks = source;
    config
}

/// A verifier at [`NOW`] that knows `keys`.
pub(crate) fn verifier(keys: &[&Key], change: impl FnOnce(&mut VerifierOptions)) -> Verifier {
    let mut options = VerifierOptions {
        issuers: vec![config(JwksSource::Static(jwks(keys)))],
        ..VerifierOptions::default()
    };
    change(&mut options);
    Verifier::build_with_clock(options, clock()).unwrap()
}

pub(crate) fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock(Mutex::new(at(NOW))))
}

/// A directory of its own, removed at the end.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-identity-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a path of the test server answers.
#[derive(Clone)]
pub(crate) enum Reply {
    Ok(String),
    Status(u16),
    Redirect(String),
    /// Headers, and then nothing for as long as the client waits.
    Stall,
    /// A body without end.
    Endless,
    Slow(Duration, String),
}

/// A loopback HTTP server that counts who asks for what.
pub(crate) struct Web {
    pub(crate) url: String,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<Mutex<HashMap<String, u32>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Web {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let replies: Arc<Mutex<HashMap<String, Reply>>> = Arc::default();
        let asked: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
        let (r, a) = (replies.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, r.clone(), a.clone()));
            }
        });
        Self {
            url: format!("http://{address}"),
            replies,
            asked,
            task,
        }
    }

    pub(crate) fn set(&self, path: &str, reply: Reply) {
        self.replies.lock().insert(path.to_owned(), reply);
    }

    /// A provider with discovery and these keys.
    pub(crate) fn publish(&self, keys: &[&Key]) {
        let discovery = json!({"issuer": self.url, "jwks_uri": format!("{}/jwks", self.url)});
        self.set(
            "/.well-known/openid-configuration",
            Reply::Ok(discovery.to_string()),
        );
        self.set("/jwks", Reply::Ok(jwks(keys)));
    }

    pub(crate) fn asked(&self, path: &str) -> u32 {
        self.asked.lock().get(path).copied().unwrap_or(0)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<Mutex<HashMap<String, u32>>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    *asked.lock().entry(path.clone()).or_default() += 1;
    let reply = replies
        .lock()
        .get(&path)
        .cloned()
        .unwrap_or(Reply::Status(404));
    let ok = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let _ = match reply {
        Reply::Ok(body) => stream.write_all(ok(&body).as_bytes()).await,
        Reply::Slow(pause, body) => {
            tokio::time::sleep(pause).await;
            stream.write_all(ok(&body).as_bytes()).await
        }
        Reply::Status(code) => {
            let head =
                format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Reply::Redirect(to) => {
            let head = format!(
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await
        }
        Reply::Stall => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                .await;
            let _ = stream.read(&mut buffer).await;
            Ok(())
        }
        Reply::Endless => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[")
                .await;
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
            Ok(())
        }
    };
}
