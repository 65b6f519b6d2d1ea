//! What is sent by HTTP: bounded, without redirects, and each answer is one of three things.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url};

use crate::send::Failure;

/// The longest file of authorities, and the longest answer that is read.
const MAX_CA: u64 = 1 << 20;
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("its URL cannot be read: {0}")]
    Url(String),
    #[error("{path} has no certificates that can be read: {why}")]
    Ca { path: PathBuf, why: String },
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

pub fn url(text: &str) -> Result<Url, HttpError> {
    Url::parse(text).map_err(|e| HttpError::Url(e.to_string()))
}

pub fn client(url: &Url, ca: Option<&Path>, attempt: Duration) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .timeout(attempt)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca {
        builder = builder.tls_certs_only(authorities(path)?);
    }
    builder
        .build()
        .map_err(|e| HttpError::Client(e.to_string()))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let wrong = |why: String| HttpError::Ca {
        path: path.to_owned(),
        why,
    };
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    let read = file.take(MAX_CA).read_to_end(&mut pem);
    read.map_err(|e| wrong(e.to_string()))?;
    let all = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
    match all.is_empty() {
        true => Err(wrong("it holds none".into())),
        false => Ok(all),
    }
}

/// Sends, and gives the body of an answer that says yes.
pub async fn send(request: RequestBuilder) -> Result<Vec<u8>, Failure> {
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(status, response.headers()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Without the URL, whose path may be a secret.
fn unreachable(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        why = format!("{why}: {error}");
        source = error.source();
    }
    Failure::later(why)
}

fn refusal(status: StatusCode, headers: &HeaderMap) -> Failure {
    let why = format!("the receiver answered with status {status}");
    match status.as_u16() {
        // These can be about what was sent. Whether they are, is found out before anything is set aside.
        400 | 403 | 406 | 409 | 411 | 413 | 414 | 415 | 422 | 431 | 451 => Failure::Refused { why },
        _ => {
            let after = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
            let after = after.and_then(|text| text.trim().parse().ok());
            Failure::Later {
                why,
                after: after.map(Duration::from_secs),
            }
        }
    }
}
