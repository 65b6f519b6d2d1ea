//! HTTP towards an issuer: bounded in size and time, https, no redirects.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url, redirect};

/// A key set or a discovery document is refused above this.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
const MAX_CA_BYTES: u64 = 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("it is not a URL")]
    Url,
    #[error("{0}: https is needed; plain http is for loopback addresses only")]
    NotHttps(String),
    #[error("{0}: a URL here holds no user, password or fragment")]
    UrlParts(String),
    #[error("CA file {path} not usable")]
    Ca {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("HTTP client not usable")]
    Client(#[source] reqwest::Error),
    #[error("{url} did not answer properly")]
    Http { url: String, source: reqwest::Error },
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} answered with more than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge { url: String },
    #[error("{url} took longer than {after:?}")]
    Timeout { url: String, after: Duration },
}

/// https, or http to a loopback address.
pub(crate) fn check_url(text: &str) -> Result<Url, FetchError> {
    let url = Url::parse(text).map_err(|_| FetchError::Url)?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(FetchError::UrlParts(
            url.host_str().unwrap_or_default().to_owned(),
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        scheme => Err(FetchError::NotHttps(format!(
            "{scheme}://{}",
            url.host_str().unwrap_or_default()
        ))),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Where discovery finds its document: the issuer, whatever slash it ends in, and the well-known
/// path (OpenID Connect Discovery 4).
pub fn discovery_url(issuer: &str) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    )
}

#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    timeout: Duration,
}

impl Http {
    /// Reads the CA file, if there is one. Blocks for as long as that takes.
    ///
    /// `place` is what will be asked first: a loopback address is reached directly, others through
    /// the proxy that the environment names, if it does.
    pub(crate) fn new(
        place: &str,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, FetchError> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&check_url(place)?) {
            builder = builder.no_proxy();
        }
        if let Some(path) = ca_file {
            builder = builder.tls_certs_only(read_ca(path)?);
        }
        Ok(Self {
            client: builder.build().map_err(FetchError::Client)?,
            timeout,
        })
    }

    /// The body of a 200 answer.
    pub(crate) async fn get(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let name = url.to_string();
        match tokio::time::timeout(self.timeout, self.get_unbounded(url)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout {
                url: name,
                after: self.timeout,
            }),
        }
    }

    async fn get_unbounded(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let name = url.to_string();
        match self.send(self.client.get(url), &name).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(FetchError::Status { url: name, status }),
        }
    }

    /// What is answered to a form, whatever its status: OAuth says in the body what is wrong.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        fields: &[(&str, &str)],
    ) -> Result<(StatusCode, Vec<u8>), FetchError> {
        let name = url.to_string();
        let mut form = url.clone();
        form.query_pairs_mut().clear().extend_pairs(fields);
        let body = form.query().unwrap_or_default().to_owned();
        let request = self
            .client
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(body);
        match tokio::time::timeout(self.timeout, self.send(request, &name)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout {
                url: name,
                after: self.timeout,
            }),
        }
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        name: &str,
    ) -> Result<(StatusCode, Vec<u8>), FetchError> {
        let http = |source: reqwest::Error| FetchError::Http {
            url: name.to_owned(),
            source: source.without_url(),
        };
        let mut response = request.send().await.map_err(http)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
                return Err(FetchError::TooLarge {
                    url: name.to_owned(),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

fn read_ca(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| FetchError::Ca {
        path: path.to_owned(),
        source,
    };
    let pem = read_bounded(path, MAX_CA_BYTES).map_err(|e| failed(e.into()))?;
    let list = Certificate::from_pem_bundle(&pem).map_err(|e| failed(e.into()))?;
    if list.is_empty() {
        return Err(failed("no certificate in it".into()));
    }
    Ok(list)
}

/// A whole file, or an error if it is larger than `max`.
pub(crate) fn read_bounded(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(std::io::Error::other(format!("larger than {max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, ok) in [
            ("https://login.example.com", true),
            ("https://login.example.com:8443/realms/a?x=1", true),
            ("http://127.0.0.1:3999", true),
            ("http://[::1]:3999/", true),
            ("http://localhost:3999", true),
            ("http://login.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("ftp://127.0.0.1", false),
            ("file:///etc/passwd", false),
            ("https://user:pw@login.example.com", false),
            ("https://login.example.com/#x", false),
            ("login.example.com", false),
            ("", false),
        ] {
            assert_eq!(check_url(url).is_ok(), ok, "{url}");
        }
        for issuer in ["https://a.example/x", "https://a.example/x/"] {
            assert_eq!(
                discovery_url(issuer),
                "https://a.example/x/.well-known/openid-configuration"
            );
        }
    }
}
