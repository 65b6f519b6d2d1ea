//! A small client with one method per call.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::{
    Activation, ApprovalDetail, ApprovalFilter, ApprovalSummary, BundleDiff, BundleFiles,
    BundleInfo, BundleSummary, BundleUpload, DenyRequest, ErrorBody, KillRequest, Page, Paging,
    PluginConfirm, PluginInfo, PluginUpload, Reason, SessionFilter, SessionInfo, TargetInfo,
    VoteResult, WatchFilter,
};
use crate::audit::{AuditFilter, AuditPage};
use crate::deliveries::DeliveryInfo;
use crate::erasure::{EraseRequest, SessionErasure};
use crate::package::{PackageDownload, PackageRequest};
use crate::ssh::{
    SshAuthorityInfo, SshCertificate, SshCertificateRequest, SshHosts, SshRevocation,
    SshRevocationRequest, SshRevoked,
};
use crate::ssh_hosts::{SshHostKey, SshHostKeyDecided, SshHostKeyVerdict};
use crate::ssh_keys::{
    SshKey, SshKeyChallenge, SshKeyChallengeRequest, SshKeyFilter, SshKeyRemoval, SshKeyRemoved,
    SshKeyRequest,
};
use crate::ssh_tokens::{
    SshToken, SshTokenFilter, SshTokenInfo, SshTokenRemoval, SshTokenRequest, SshTokenRevocation,
    SshTokenRevoked,
};
use crate::watch::Watching;

/// How long one call may take, in all.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session is watched at most: longer than Weir would show it.
const WATCH_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// How long an erasure may take, and a package until it begins to come: longer than Weir would take.
const LONG: Duration = Duration::from_secs(360);
/// How long a package may take, in all: longer than Weir would send it.
const PACKAGE_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// The longest answer that is read.
pub(crate) const MAX_ANSWER: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{url:?} is not a base URL: it must start with https:// or http://")]
    Url { url: String },
    #[error("the token cannot be sent in a header: it holds a control character")]
    Token,
    #[error("Weir could not be reached or did not answer properly")]
    Transport(#[source] reqwest::Error),
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    #[error("the package did not come as a whole: ask for it anew")]
    Package,
    #[error("the answer to {call} (status {status}) is not what this client understands")]
    Answer {
        call: String,
        status: StatusCode,
        source: serde_json::Error,
    },
    /// Weir refused, in its own words.
    #[error("{}", .body.message)]
    Refused { status: StatusCode, body: ErrorBody },
}

/// Calls the API with one token. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For calls that take long: what bounds the others by themselves would end these.
    patient: reqwest::Client,
    base: String,
    token: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// `base` is where Weir's control plane listens, such as `https://weir.example.com`.
    pub fn new(base: &str, token: &str) -> Result<Self, ClientError> {
        let http = |wait| {
            reqwest::Client::builder()
                .timeout(wait)
                .read_timeout(wait)
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(ClientError::Transport)
        };
        let client = Self::with_http(http(TIMEOUT)?, base, token)?;
        Ok(Self {
            patient: http(LONG)?,
            ..client
        })
    }

    /// With a client of one's own, for private certificate authorities.
    pub fn with_http(http: reqwest::Client, base: &str, token: &str) -> Result<Self, ClientError> {
        if !(base.starts_with("https://") || base.starts_with("http://")) {
            return Err(ClientError::Url { url: base.into() });
        }
        if token.chars().any(char::is_control) {
            return Err(ClientError::Token);
        }
        Ok(Self {
            patient: http.clone(),
            http,
            base: base.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    // ---- SSH

    /// A certificate for a key of the caller's own, which stands for the token.
    pub async fn ssh_certificate(
        &self,
        request: &SshCertificateRequest,
    ) -> Result<SshCertificate, ClientError> {
        self.post(&["ssh", "certificates"], request).await
    }

    /// A short token for the password prompt of SSH, which stands for the caller's.
    pub async fn ssh_token(&self, request: &SshTokenRequest) -> Result<SshToken, ClientError> {
        self.post(&["ssh", "tokens"], request).await
    }

    /// The caller's own short tokens.
    pub async fn ssh_tokens(&self) -> Result<Page<SshTokenInfo>, ClientError> {
        self.get::<(), _>(&["ssh", "tokens"], None).await
    }

    /// Short tokens of others, too.
    pub async fn all_ssh_tokens(
        &self,
        filter: &SshTokenFilter,
    ) -> Result<Page<SshTokenInfo>, ClientError> {
        self.get(&["ssh", "tokens", "all"], Some(filter)).await
    }

    /// A short token of the caller's own counts no more, and sessions that came in by it end.
    pub async fn remove_ssh_token(
        &self,
        token: &SshTokenRemoval,
    ) -> Result<SshTokenRevoked, ClientError> {
        self.post(&["ssh", "tokens", "remove"], token).await
    }

    /// The same of anybody's.
    pub async fn revoke_ssh_token(
        &self,
        token: &SshTokenRevocation,
    ) -> Result<SshTokenRevoked, ClientError> {
        self.post(&["ssh", "tokens", "revoke"], token).await
    }

    /// The keys that Weir is known by.
    pub async fn ssh_authority(&self) -> Result<SshAuthorityInfo, ClientError> {
        self.get::<(), _>(&["ssh", "authority"], None).await
    }

    /// The hosts that one may connect to.
    pub async fn ssh_hosts(&self) -> Result<SshHosts, ClientError> {
        self.get::<(), _>(&["ssh", "hosts"], None).await
    }

    /// Certificates or a key count no more, and what came in by them ends.
    pub async fn revoke_ssh(
        &self,
        request: &SshRevocationRequest,
    ) -> Result<SshRevoked, ClientError> {
        self.post(&["ssh", "revocations"], request).await
    }

    pub async fn ssh_revocations(&self) -> Result<Page<SshRevocation>, ClientError> {
        self.get::<(), _>(&["ssh", "revocations"], None).await
    }

    /// What is to be signed to register a key.
    pub async fn ssh_key_challenge(
        &self,
        request: &SshKeyChallengeRequest,
    ) -> Result<SshKeyChallenge, ClientError> {
        self.post(&["ssh", "keys", "challenge"], request).await
    }

    /// A key of the caller's own, to come in by.
    pub async fn register_ssh_key(&self, request: &SshKeyRequest) -> Result<SshKey, ClientError> {
        self.post(&["ssh", "keys"], request).await
    }

    /// The caller's own keys.
    pub async fn ssh_keys(&self) -> Result<Page<SshKey>, ClientError> {
        self.get::<(), _>(&["ssh", "keys"], None).await
    }

    /// Keys of others, too.
    pub async fn all_ssh_keys(&self, filter: &SshKeyFilter) -> Result<Page<SshKey>, ClientError> {
        self.get(&["ssh", "keys", "all"], Some(filter)).await
    }

    /// A key of the caller's own counts no more, and sessions that came in by it end.
    pub async fn remove_ssh_key(&self, key: &SshKeyRemoval) -> Result<SshKeyRemoved, ClientError> {
        self.post(&["ssh", "keys", "remove"], key).await
    }

    /// Keys that hosts have shown, and what was said of them.
    pub async fn ssh_host_keys(&self) -> Result<Page<SshHostKey>, ClientError> {
        self.get::<(), _>(&["ssh", "host-keys"], None).await
    }

    /// A key is the target's.
    pub async fn approve_ssh_host_key(
        &self,
        target: &str,
        verdict: &SshHostKeyVerdict,
    ) -> Result<SshHostKeyDecided, ClientError> {
        let path = ["targets", target, "host-keys", "approve"];
        self.post(&path, verdict).await
    }

    /// A key is not the target's.
    pub async fn reject_ssh_host_key(
        &self,
        target: &str,
        verdict: &SshHostKeyVerdict,
    ) -> Result<SshHostKeyDecided, ClientError> {
        let path = ["targets", target, "host-keys", "reject"];
        self.post(&path, verdict).await
    }

    // ---- bundles

    /// Validates and stages a bundle.
    pub async fn upload_bundle(&self, bundle: &BundleUpload) -> Result<BundleInfo, ClientError> {
        self.post(&["bundles"], bundle).await
    }

    /// Validates a bundle and keeps nothing.
    pub async fn validate_bundle(
        &self,
        bundle: &BundleUpload,
    ) -> Result<BundleSummary, ClientError> {
        self.post(&["bundles", "validate"], bundle).await
    }

    pub async fn bundles(&self, paging: &Paging) -> Result<Page<BundleInfo>, ClientError> {
        self.get(&["bundles"], Some(paging)).await
    }

    pub async fn bundle(&self, version: u64) -> Result<BundleInfo, ClientError> {
        self.get::<(), _>(&["bundles", &version.to_string()], None)
            .await
    }

    pub async fn bundle_files(&self, version: u64) -> Result<BundleFiles, ClientError> {
        self.get::<(), _>(&["bundles", &version.to_string(), "files"], None)
            .await
    }

    /// Compares with `against`, or with the active version.
    pub async fn diff_bundle(
        &self,
        version: u64,
        against: Option<u64>,
    ) -> Result<BundleDiff, ClientError> {
        let query = against.map(|v| [("against", v)]);
        self.get(&["bundles", &version.to_string(), "diff"], query.as_ref())
            .await
    }

    pub async fn activate_bundle(
        &self,
        version: u64,
        reason: &Reason,
    ) -> Result<Activation, ClientError> {
        self.post(&["bundles", &version.to_string(), "activate"], reason)
            .await
    }

    /// Activates the version that was active before the present one.
    pub async fn roll_back_bundle(&self, reason: &Reason) -> Result<Activation, ClientError> {
        self.post(&["bundles", "rollback"], reason).await
    }

    // ---- plugins

    /// A new plugin is in force at once. What would take the place of another one waits, as
    /// `pending` of the answer, for somebody else to confirm it.
    pub async fn upload_plugin(
        &self,
        name: &str,
        component: &[u8],
        config: std::collections::BTreeMap<String, String>,
    ) -> Result<PluginInfo, ClientError> {
        let upload = PluginUpload {
            component: STANDARD.encode(component),
            config,
        };
        self.post(&["plugins", name], &upload).await
    }

    pub async fn plugins(&self) -> Result<Page<PluginInfo>, ClientError> {
        self.get::<(), _>(&["plugins"], None).await
    }

    pub async fn plugin(&self, name: &str) -> Result<PluginInfo, ClientError> {
        self.get::<(), _>(&["plugins", name], None).await
    }

    /// Asks for the removal, which waits for somebody else to confirm it.
    pub async fn remove_plugin(&self, name: &str) -> Result<PluginInfo, ClientError> {
        self.call::<(), (), _>(Method::DELETE, &["plugins", name], None, None)
            .await
    }

    /// Confirms the change that somebody else asked for.
    pub async fn confirm_plugin(
        &self,
        name: &str,
        confirm: &PluginConfirm,
    ) -> Result<PluginInfo, ClientError> {
        self.post(&["plugins", name, "confirm"], confirm).await
    }

    // ---- targets

    pub async fn targets(&self) -> Result<Page<TargetInfo>, ClientError> {
        self.get::<(), _>(&["targets"], None).await
    }

    pub async fn target(&self, name: &str) -> Result<TargetInfo, ClientError> {
        self.get::<(), _>(&["targets", name], None).await
    }

    // ---- approvals

    pub async fn approvals(
        &self,
        filter: &ApprovalFilter,
    ) -> Result<Page<ApprovalSummary>, ClientError> {
        self.get(&["approvals"], Some(filter)).await
    }

    pub async fn approval(&self, id: &str) -> Result<ApprovalDetail, ClientError> {
        self.get::<(), _>(&["approvals", id], None).await
    }

    pub async fn approve(&self, id: &str, reason: &Reason) -> Result<VoteResult, ClientError> {
        self.post(&["approvals", id, "approve"], reason).await
    }

    pub async fn deny(&self, id: &str, reason: &DenyRequest) -> Result<VoteResult, ClientError> {
        self.post(&["approvals", id, "deny"], reason).await
    }

    // ---- sessions

    pub async fn sessions(&self, filter: &SessionFilter) -> Result<Page<SessionInfo>, ClientError> {
        self.get(&["sessions"], Some(filter)).await
    }

    pub async fn session(&self, id: &str) -> Result<SessionInfo, ClientError> {
        self.get::<(), _>(&["sessions", id], None).await
    }

    pub async fn kill_session(
        &self,
        id: &str,
        reason: &KillRequest,
    ) -> Result<SessionInfo, ClientError> {
        self.post(&["sessions", id, "kill"], reason).await
    }

    /// Shows a live session as it is recorded, until it ends. That it is watched is on record.
    pub async fn watch_session(
        &self,
        id: &str,
        filter: &WatchFilter,
    ) -> Result<Watching, ClientError> {
        let (call, request) = self.request(Method::GET, &["sessions", id, "watch"]);
        let request = request.query(filter).timeout(WATCH_TIMEOUT);
        let response = request.send().await.map_err(ClientError::Transport)?;
        if response.status().is_success() {
            return Ok(Watching::new(call, response));
        }
        Err(refused(call, response).await)
    }

    /// May take minutes.
    pub async fn erase_session(&self, what: &EraseRequest) -> Result<SessionErasure, ClientError> {
        self.patient().post(&["erasures"], what).await
    }

    // ---- the record

    pub async fn audit(&self, filter: &AuditFilter) -> Result<AuditPage, ClientError> {
        self.get(&["audit", "actions"], Some(filter)).await
    }

    /// Has a package of evidence made, which may take minutes. That it was is on record before a byte comes.
    pub async fn package(&self, what: &PackageRequest) -> Result<PackageDownload, ClientError> {
        let (call, request) = self.patient().request(Method::POST, &["packages"]);
        let request = request.json(what).timeout(PACKAGE_TIMEOUT);
        let response = request.send().await.map_err(ClientError::Transport)?;
        match response.status().is_success() {
            true => PackageDownload::new(response),
            false => Err(refused(call, response).await),
        }
    }

    // ---- deliveries

    pub async fn deliveries(&self) -> Result<Page<DeliveryInfo>, ClientError> {
        self.get::<(), _>(&["deliveries"], None).await
    }

    // ---- how

    fn patient(&self) -> Self {
        Self {
            http: self.patient.clone(),
            ..self.clone()
        }
    }

    async fn get<Q: Serialize + ?Sized, A: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Option<&Q>,
    ) -> Result<A, ClientError> {
        self.call::<Q, (), A>(Method::GET, path, query, None).await
    }

    async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<A, ClientError> {
        self.call::<(), B, A>(Method::POST, path, None, Some(body))
            .await
    }

    async fn call<Q: Serialize + ?Sized, B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: Option<&Q>,
        body: Option<&B>,
    ) -> Result<A, ClientError> {
        let (call, mut request) = self.request(method, path);
        request = request.header("accept", "application/json");
        if let Some(query) = query {
            request = request.query(query);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(ClientError::Transport)?;
        match response.status().is_success() {
            true => {
                let status = response.status();
                let bytes = read(response).await?;
                serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer {
                    call,
                    status,
                    source,
                })
            }
            false => Err(refused(call, response).await),
        }
    }

    /// A request with the token, and what it is called in errors.
    fn request(&self, method: Method, path: &[&str]) -> (String, reqwest::RequestBuilder) {
        let mut url = format!("{}/v1", self.base);
        for part in path {
            url.push('/');
            url.push_str(&escape(part));
        }
        let call = format!("{method} {url}");
        let request = self.http.request(method, url).bearer_auth(&self.token);
        (call, request)
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ClientError::Transport)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(ClientError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What an answer says that is no success.
async fn refused(call: String, response: reqwest::Response) -> ClientError {
    let status = response.status();
    let bytes = match read(response).await {
        Ok(bytes) => bytes,
        Err(error) => return error,
    };
    match serde_json::from_slice(&bytes) {
        Ok(body) => ClientError::Refused { status, body },
        Err(source) => ClientError::Answer {
            call,
            status,
            source,
        },
    }
}

/// Escapes everything that is not an unreserved character (RFC 3986), so that a name stays one
/// segment of the path. A segment of dots would be resolved away by URL parsers: it is escaped too,
/// twice over, and then names nothing.
fn escape(segment: &str) -> String {
    let dots = matches!(segment, "." | "..");
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'.' if dots => out.push_str("%252E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        for (given, expected) in [
            ("risk-sql", "risk-sql"),
            ("a/b", "a%2Fb"),
            ("../x?y#z", "..%2Fx%3Fy%23z"),
            ("..", "%252E%252E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(escape(given), expected);
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let client = Client::new("https://weir.test/", "s3cret").unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
        assert_eq!(client.base, "https://weir.test");
    }

    #[test]
    fn refuses_bad_input() {
        assert!(matches!(
            Client::new("weir.test", "t"),
            Err(ClientError::Url { .. })
        ));
        assert!(matches!(
            Client::new("http://weir.test", "a\nb"),
            Err(ClientError::Token)
        ));
    }
}
