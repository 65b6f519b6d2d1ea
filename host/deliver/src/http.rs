//! What is sent by HTTP: bounded, without redirects, and each answer is one of three things.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, StatusCode, Url};

use crate::options::TlsFiles;
use crate::send::{Failure, chain};

/// The longest file of certificates or keys.
const MAX_PEM: u64 = net::MAX_PEM_BYTES;
/// So much of an answer is read, for so long, that the connection can be used again.
const MAX_ANSWER: usize = 64 << 10;
const MAX_READING: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("its URL cannot be read: {0}")]
    Url(String),
    #[error("{path} has no {what} that can be read: {why}")]
    Pem {
        path: PathBuf,
        what: &'static str,
        why: String,
    },
    #[error("its token cannot be sent in such a header")]
    Header,
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

pub fn url(text: &str) -> Result<Url, HttpError> {
    Url::parse(text).map_err(|e| HttpError::Url(e.to_string()))
}

/// Of whatever stands in the environment, no proxy is used.
pub fn client(tls: &TlsFiles, attempt: Duration) -> Result<Client, HttpError> {
    let mut builder = Client::builder()
        .timeout(attempt)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(1)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &tls.ca {
        builder = builder.tls_certs_only(authorities(path)?);
    }
    if let Some((cert, key)) = &tls.identity {
        builder = builder.identity(identity(cert, key)?);
    }
    builder
        .build()
        .map_err(|e| HttpError::Client(e.to_string()))
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HttpError> {
    let what = "certificates";
    let pem = read(path, what)?;
    let wrong = |why: String| wrong(path, what, why);
    let all = Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
    match all.is_empty() {
        true => Err(wrong("it holds none".into())),
        false => Ok(all),
    }
}

fn identity(cert: &Path, key: &Path) -> Result<Identity, HttpError> {
    let mut pem = read(cert, "certificate")?;
    pem.push(b'\n');
    pem.extend(read(key, "private key")?);
    Identity::from_pem(&pem)
        .map_err(|e| wrong(cert, "certificate that goes with its key", chain(&e)))
}

/// The whole of a file, if it is not too long.
fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, HttpError> {
    let wrong = |why| wrong(path, what, why);
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
    let read = file.take(MAX_PEM + 1).read_to_end(&mut pem);
    read.map_err(|e| wrong(e.to_string()))?;
    match pem.len() as u64 > MAX_PEM {
        true => Err(wrong(format!("it is longer than {MAX_PEM} bytes"))),
        false => Ok(pem),
    }
}

fn wrong(path: &Path, what: &'static str, why: String) -> HttpError {
    let path = path.to_owned();
    HttpError::Pem { path, what, why }
}

/// Sends. The status is the answer, whatever becomes of the rest.
pub async fn post(request: RequestBuilder) -> Result<Response, Failure> {
    let response = request.send().await.map_err(unreachable)?;
    match response.status().is_success() {
        true => Ok(response),
        false => Err(refusal(response.status(), response.headers())),
    }
}

/// Reads the rest of an answer that does not matter.
pub async fn drain(mut response: Response) {
    let rest = async {
        let mut read = 0;
        while let (true, Ok(Some(chunk))) = (read < MAX_ANSWER, response.chunk().await) {
            read += chunk.len();
        }
    };
    tokio::time::timeout(MAX_READING, rest).await.ok();
}

/// The rest of an answer, all of it or an error.
pub async fn body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            let why = format!("the receiver's answer is longer than {MAX_ANSWER} bytes");
            return Err(Failure::later(why));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Without the URL, whose path may be a secret. What breaks only once something was sent can be about that.
fn unreachable(error: reqwest::Error) -> Failure {
    let was_sent = !error.is_connect() && !error.is_builder();
    let why = chain(&error.without_url());
    match was_sent {
        true => Failure::Doubtful {
            why,
            after: None,
            may_pass: true,
        },
        false => Failure::later(why),
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap) -> Failure {
    let why = format!("the receiver answered with status {status}");
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|v| pause(v.to_str().ok()?));
    match status.as_u16() {
        // These can be about what was sent. Whether they are, is found out before anything is set aside.
        400 | 406 | 409 | 411 | 413 | 414 | 415 | 422 | 431 | 451 => Failure::Refused { why },
        // Who may send, and how much, is no matter of what is sent.
        401 | 407 | 429 => Failure::Later { why, after },
        // What stands before a receiver answers like this to what it does not like.
        _ => Failure::Doubtful {
            why,
            after,
            may_pass: status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT,
        },
    }
}

/// RFC 9110, 10.2.3: seconds, or a date. Nothing, if that has passed.
fn pause(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_number_or_a_date() {
        let at = |seconds: u64| {
            httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds))
        };
        assert_eq!(pause("7"), Some(Duration::from_secs(7)));
        assert_eq!(pause(" 0 "), Some(Duration::ZERO));
        let asked = pause(&at(100)).unwrap().as_secs();
        assert!((97..=100).contains(&asked), "{asked}");
        for none in [
            "",
            "soon",
            "-1",
            "1.5",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 99 Nov 2094 08:49:37 GMT",
            "99999999999999999999999999",
        ] {
            assert_eq!(pause(none), None, "{none}");
        }
        // RFC 850 and asctime, which old servers send.
        assert!(pause("Saturday, 06-Nov-60 08:49:37 GMT").is_some());
        assert!(pause("Sat Nov  6 08:49:37 2060").is_some());
    }

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
