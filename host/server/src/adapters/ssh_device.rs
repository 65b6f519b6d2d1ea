//! Logins at the prompt of SSH by the device flow of an OpenID provider: what `identity` asks there, as `proto-ssh`
//! asks for it. What comes out is a token like any other, and is looked at as one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::{DeviceError, DeviceLogin, DeviceProvider, Verifier};
use pipeline::{Login, Principal};
use proto_ssh::{AuthRefused, DeviceFlow};
use tokio::sync::Notify;

use super::auth::Tokens;

/// How long a client waits for its code: shorter than the patience of any.
const MAX_BEGIN: Duration = Duration::from_secs(10);
const AWAY: &str =
    "the identity provider cannot be asked; try again later, or log in in another way";

pub(crate) struct Devices {
    provider: DeviceProvider,
    tokens: Tokens,
}

impl Devices {
    pub(crate) fn new(provider: DeviceProvider, verifier: Verifier) -> Self {
        Self {
            provider,
            tokens: Tokens(verifier),
        }
    }

    pub(super) async fn begin(&self, source: IpAddr) -> Result<DeviceFlow, AuthRefused> {
        let login = match tokio::time::timeout(MAX_BEGIN, self.provider.begin()).await {
            Ok(begun) => begun.map_err(|error| failed(&error, source))?,
            Err(_) => {
                tracing::warn!(%source, "no login by device: the identity provider took longer than {MAX_BEGIN:?}");
                return Err(refused(AWAY));
            }
        };
        let url = login.verification_uri_complete.as_ref();
        let last_call = Arc::<Notify>::default();
        Ok(DeviceFlow {
            url: url.unwrap_or(&login.verification_uri).clone(),
            code: login.user_code.clone(),
            lives: login.lives(),
            last_call: last_call.clone(),
            approved: Box::pin(finish(
                login,
                last_call,
                self.tokens.clone(),
                self.provider.issuer().to_owned(),
                source,
            )),
        })
    }
}

async fn finish(
    login: DeviceLogin,
    last_call: Arc<Notify>,
    tokens: Tokens,
    issuer: String,
    source: IpAddr,
) -> Result<Arc<Principal>, AuthRefused> {
    let token = login
        .finish_at(&last_call)
        .await
        .map_err(|error| failed(&error, source))?;
    let verified = tokens.verify(&token, source).await;
    let who = verified.map_err(|error| refused(error.client_message()))?;
    // One provider must not hand out what another has signed.
    if *who.issuer != *issuer {
        tracing::warn!(%source, issuer = %who.issuer, "no login by device: the token is another issuer's");
        return Err(refused("the access token is not valid"));
    }
    Ok(Arc::new(who.as_ref().clone().by(Login::Device)))
}

/// What went wrong is for the log; whoever knocks is told what to do.
fn failed(error: &DeviceError, source: IpAddr) -> AuthRefused {
    let text = match error {
        DeviceError::Denied => "the login was refused at the identity provider",
        DeviceError::Expired => "nobody agreed in time; log in again for a new code",
        _ => {
            let error = anyhow::Chain::new(error)
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            tracing::warn!(%source, reason = error.join(": "), "no login by device");
            AWAY
        }
    };
    refused(text)
}

fn refused(text: &str) -> AuthRefused {
    AuthRefused {
        client_text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use identity::{DevIssuer, DevToken, DeviceOptions, IssuerConfig, JwksSource, VerifierOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every question with all that could be asked for.
    async fn provider(listener: TcpListener, url: String, token: String) {
        let answer = serde_json::json!({
            "issuer": url, "token_endpoint": url, "device_authorization_endpoint": url,
            "device_code": "secret", "user_code": "ABCD", "verification_uri": url,
            "expires_in": 60, "interval": 1, "access_token": token, "token_type": "bearer",
        })
        .to_string();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all((head + &answer).as_bytes()).await;
        }
    }

    /// One provider must not let in whom another has vouched for, though both are trusted.
    #[tokio::test]
    async fn a_token_of_another_issuer_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let dev = DevIssuer::open(dir.path()).unwrap();
        let token = dev
            .mint(&DevToken::user("alice", &[]), SystemTime::now())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(provider(listener, url.clone(), token.clone()));
        let mut issuer = IssuerConfig::new(&url, "weir");
        issuer.jwks = JwksSource::Static(dev.jwks());
        let verifier = Verifier::build(VerifierOptions {
            issuers: vec![issuer],
            dev: Some(dev.with_subject_prefix("dev:")),
            ..VerifierOptions::default()
        })
        .unwrap();
        assert!(verifier.verify(&token).await.is_ok(), "it is a good token");
        let options = DeviceOptions {
            issuer: url,
            client_id: "weir-ssh".into(),
            client_secret: None,
            scope: "openid".into(),
            audience: None,
            ca_file: None,
        };
        let devices = Devices::new(DeviceProvider::new(options).unwrap(), verifier);
        let flow = devices.begin("192.0.2.1".parse().unwrap()).await.unwrap();
        assert_eq!(flow.code, "ABCD");
        let refused = flow.approved.await.unwrap_err();
        assert_eq!(refused.client_text, "the access token is not valid");
        tasks.abort_all();
    }
}
