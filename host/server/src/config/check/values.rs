//! Single values: addresses, URLs, names, numbers, files and secrets.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::config::TlsFiles;
use crate::config::error::Report;
use crate::config::raw::RawTlsFiles;
use crate::config::secret::{RawSecret, Secret};

pub(super) fn address(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) -> SocketAddr {
    raw.as_ref().parse().unwrap_or_else(|_| {
        let message = format!(
            "{:?} is not an address and port such as 127.0.0.1:5432",
            raw.as_ref()
        );
        r.add(key, raw.span(), message);
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

/// An http or https URL. What is wrong with it is told without its path, query and user: those may
/// hold secrets.
pub(super) fn check_url(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) -> bool {
    let url = raw.as_ref();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let ok = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    if !ok {
        let message = format!("{} is not an http or https URL", scheme_and_host(url));
        r.add(key, raw.span(), message);
    }
    ok
}

fn scheme_and_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "it".to_owned();
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{:?}", format!("{scheme}://{host}"))
}

/// A host name or an address.
pub(super) fn check_host(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) {
    let host = raw.as_ref();
    if !is_host_name(host) && host.parse::<IpAddr>().is_err() {
        let message = format!("{host:?} is neither a host name nor an address");
        r.add(key, raw.span(), message);
    }
}

pub(super) fn is_host_name(host: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !host.is_empty() && host.len() <= 253 && host.chars().all(ok)
}

/// Text that is there, and that no log line breaks at.
pub(super) fn check_text(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) {
    let text = raw.as_ref();
    if text.is_empty() || text.chars().any(char::is_control) {
        r.add(key, raw.span(), "it is empty, or holds control characters");
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(
    r: &mut Report<'_>,
    key: &str,
    raw: &Spanned<String>,
    words: &[(&str, T)],
) -> Option<T> {
    let found = words.iter().find(|(word, _)| word == raw.as_ref());
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("{:?} is none of {}", raw.as_ref(), names.join(", "));
        r.add(key, raw.span(), message);
    }
    found.map(|(_, value)| *value)
}

pub(super) fn check_name(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = raw.as_ref();
    if name.is_empty() || name.len() > 63 || !name.chars().all(ok) {
        let message =
            format!("{name:?} is not a name: 1 to 63 letters, digits, dots, dashes, underscores");
        r.add(key, raw.span(), message);
    }
}

pub(super) fn within<T: PartialOrd + Copy + std::fmt::Display>(
    r: &mut Report<'_>,
    key: &str,
    raw: Spanned<T>,
    min: T,
    max: T,
) -> T {
    let value = *raw.as_ref();
    if value < min || value > max {
        r.add(
            key,
            raw.span(),
            format!("{value} is not between {min} and {max}"),
        );
    }
    value
}

pub(super) fn existing(
    r: &mut Report<'_>,
    key: &str,
    raw: &Spanned<PathBuf>,
    base: &Path,
) -> PathBuf {
    let path = base.join(raw.as_ref());
    if let Err(e) = std::fs::metadata(&path) {
        r.add(
            key,
            raw.span(),
            format!("{} cannot be read: {e}", path.display()),
        );
    }
    path
}

/// A certificate by which we show who we are, and its key: both or none.
pub(super) fn identity(
    r: &mut Report<'_>,
    key: &str,
    cert: Option<Spanned<PathBuf>>,
    private: Option<Spanned<PathBuf>>,
    base: &Path,
) -> Option<(PathBuf, PathBuf)> {
    let (cert_key, key_key) = (format!("{key}.tls_cert"), format!("{key}.tls_key"));
    match (cert, private) {
        (None, None) => None,
        (Some(cert), Some(private)) => Some((
            existing(r, &cert_key, &cert, base),
            existing(r, &key_key, &private, base),
        )),
        (Some(cert), None) => {
            r.add(&cert_key, cert.span(), "tls_key is missing");
            None
        }
        (None, Some(private)) => {
            r.add(&key_key, private.span(), "tls_cert is missing");
            None
        }
    }
}

pub(super) fn tls_files(
    r: &mut Report<'_>,
    key: &str,
    raw: Spanned<RawTlsFiles>,
    base: &Path,
) -> TlsFiles {
    let span = raw.span();
    let files = raw.into_inner();
    let files = TlsFiles {
        cert: base.join(files.cert),
        key: base.join(files.key),
    };
    for path in [&files.cert, &files.key] {
        if let Err(e) = std::fs::metadata(path) {
            r.add(
                key,
                span.clone(),
                format!("{} cannot be read: {e}", path.display()),
            );
        }
    }
    files
}

pub(super) fn secret(
    r: &mut Report<'_>,
    key: &str,
    raw: Spanned<RawSecret>,
    base: &Path,
) -> Option<Secret> {
    let span = raw.span();
    match raw.into_inner().resolve(base) {
        Ok(secret) => Some(secret),
        Err(message) => {
            r.add(key, span, message);
            None
        }
    }
}
