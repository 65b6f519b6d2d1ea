//! What is sent by HTTP: bounded, without redirects, and each answer is one of three things.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url};

use crate::send::Failure;

/// The longest file of authorities.
const MAX_CA: u64 = 1 << 20;
/// So much of an answer is read, for so long, that the connection can be used again.
const MAX_ANSWER: usize = 64 << 10;
const MAX_READING: Duration = Duration::from_secs(1);

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

/// Of whatever stands in the environment, no proxy is used.
pub fn client(ca: Option<&Path>, attempt: Duration) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .timeout(attempt)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
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
    let read = file.take(MAX_CA + 1).read_to_end(&mut pem);
    read.map_err(|e| wrong(e.to_string()))?;
    if pem.len() as u64 > MAX_CA {
        return Err(wrong(format!("it is longer than {MAX_CA} bytes")));
    }
    let all = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
    match all.is_empty() {
        true => Err(wrong("it holds none".into())),
        false => Ok(all),
    }
}

/// Sends. The status is the answer, whatever becomes of the rest.
pub async fn send(request: RequestBuilder) -> Result<(), Failure> {
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        return Err(refusal(status, response.headers()));
    }
    let rest = async {
        let mut read = 0;
        while let (true, Ok(Some(chunk))) = (read < MAX_ANSWER, response.chunk().await) {
            read += chunk.len();
        }
    };
    tokio::time::timeout(MAX_READING, rest).await.ok();
    Ok(())
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
        // Who may send is no matter of what is sent, so 401 and 403 are not among them. These can be about what was sent. Whether they are, is found out before anything is set aside.
        400 | 406 | 409 | 411 | 413 | 414 | 415 | 422 | 431 | 451 => Failure::Refused { why },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_read_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let key = rcgen::generate_simple_self_signed(vec!["siem.test".into()]).unwrap();
        let pem = key.cert.pem();
        std::fs::write(&path, &pem).unwrap();
        assert_eq!(authorities(&path).unwrap().len(), 1);
        // What was cut off would have been trusted, or what is left would be too little.
        let long = pem + &"\n".repeat(1 << 20);
        std::fs::write(&path, long).unwrap();
        let error = authorities(&path).unwrap_err().to_string();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
    }
}
