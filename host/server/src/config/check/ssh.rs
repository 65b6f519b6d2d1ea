//! SSH's listeners and hosts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::identity::MAX_KEY_VALIDITY;
use proto_ssh::{Binary, ClientLogin};
use ssh_keys::{PrivateKey, PublicKey};
use toml::Spanned;

use super::postgres::networks;
use super::ssh_device::Device;
use super::values::{address, check_text, one_of, secret, within};
use crate::config::error::Report;
use crate::config::raw::{OneOrMany, RawRegisteredKeys, RawSsh, RawSshListener, RawTarget};
use crate::config::{RegisteredKeys, Ssh, SshCredential, SshListener, SshTarget};

/// Long enough for a working day and the morning after it.
const KEY_HOURS: u64 = 24;
const KEYS_PER_PERSON: u32 = 5;
const MAX_KEYS_PER_PERSON: u32 = 50;

pub(super) fn ssh(r: &mut Report<'_>, raw: RawSsh, targets: &[SshTarget], device: Device) -> Ssh {
    let keys = raw.registered_keys;
    let mut listeners = Vec::new();
    for (i, l) in raw.listener.into_iter().enumerate() {
        let key = format!("ssh.listener[{i}]");
        let auth = l.auth.as_ref().map_or(l.listen.span(), Spanned::span);
        let l = listener(r, &key, l, targets, keys.is_some());
        if l.logins.contains(&ClientLogin::Device) && !device.is_there {
            let message = "\"device\" needs [ssh.device]: where people log in, and as whose client";
            r.add(&format!("{key}.auth"), auth, message);
        }
        listeners.push(l);
    }
    if let Some(keys) = &keys
        && !listeners
            .iter()
            .any(|l| l.logins.contains(&ClientLogin::Key))
    {
        let message =
            "nobody could come in by them: name \"key\" in the auth of an [[ssh.listener]]";
        r.add("ssh.registered_keys", keys.span(), message);
    }
    device.is_used(r, &listeners);
    let registered_keys = keys.map(|keys| registered_keys(r, keys.into_inner()));
    Ssh {
        listeners,
        registered_keys,
        device: device.checked,
    }
}

fn registered_keys(r: &mut Report<'_>, raw: RawRegisteredKeys) -> RegisteredKeys {
    let key = |name: &str| format!("ssh.registered_keys.{name}");
    let most = MAX_KEY_VALIDITY.as_secs() / 3600;
    let hours = raw.max_hours.map_or(KEY_HOURS, |hours| {
        within(r, &key("max_hours"), hours, 1, most)
    });
    RegisteredKeys {
        validity: Duration::from_secs(hours * 3600),
        per_person: raw.per_person.map_or(KEYS_PER_PERSON, |many| {
            within(r, &key("per_person"), many, 1, MAX_KEYS_PER_PERSON)
        }),
    }
}

fn listener(
    r: &mut Report<'_>,
    key: &str,
    l: RawSshListener,
    targets: &[SshTarget],
    keys: bool,
) -> SshListener {
    if let Some(target) = &l.target
        && !targets.iter().any(|t| t.name == *target.as_ref())
    {
        let message = format!(
            "there is no [[target]] named {:?} with protocol = \"ssh\"",
            target.as_ref()
        );
        r.add(&format!("{key}.target"), target.span(), message);
    }
    SshListener {
        listen: address(r, &format!("{key}.listen"), &l.listen),
        target: l.target.map(Spanned::into_inner),
        logins: match l.auth {
            None => vec![ClientLogin::Certificate, ClientLogin::Token],
            Some(auth) => logins(r, &format!("{key}.auth"), auth, keys),
        },
        banner: l.banner.map(Spanned::into_inner),
        max_connections: l.max_connections.map_or(10_000, |v| {
            within(r, &format!("{key}.max_connections"), v, 1, 1_000_000)
        }),
        proxy_protocol_from: networks(
            r,
            &format!("{key}.proxy_protocol_from"),
            l.proxy_protocol_from,
        ),
    }
}

fn logins(r: &mut Report<'_>, key: &str, raw: Spanned<OneOrMany>, keys: bool) -> Vec<ClientLogin> {
    let span = raw.span();
    let words = ClientLogin::ALL.map(|l| (l.as_str(), l));
    let mut out = Vec::new();
    for name in raw.into_inner().into_vec() {
        let name = Spanned::new(span.clone(), name);
        match one_of(r, key, &name, &words) {
            Some(login) if out.contains(&login) => {
                r.add(
                    key,
                    span.clone(),
                    format!("{:?} is named twice", login.as_str()),
                );
            }
            Some(ClientLogin::Key) if !keys => {
                let message = "nobody could register a key: add [ssh.registered_keys], which says for how long one counts";
                r.add(key, span.clone(), message);
            }
            Some(login) => out.push(login),
            None => {}
        }
    }
    if out.is_empty() {
        r.add(key, span, "no login is left, so nobody could come in");
    }
    out
}

pub(super) fn target(r: &mut Report<'_>, key: &str, t: RawTarget, base: &Path) -> SshTarget {
    belongs_to_postgres(r, key, &t);
    let logins = t.logins.map_or_else(Vec::new, |logins| {
        if logins.as_ref().is_empty() {
            let message = "no login is left: leave it out for any, or name those that there are";
            r.add(&format!("{key}.logins"), logins.span(), message);
        }
        logins.into_inner()
    });
    if let Some(login) = &t.default_login {
        check_text(r, &format!("{key}.default_login"), login);
    }
    if let Some(name) = &t.host_principal {
        check_text(r, &format!("{key}.host_principal"), name);
    }
    let credential = match (t.key, t.password) {
        (None, None) => SshCredential::Certificate,
        (Some(private), None) => {
            let at = format!("{key}.key");
            let span = private.span();
            let read = secret(r, &at, private, base);
            let read = read.map(|text| PrivateKey::from_openssh(text.expose().as_bytes()));
            match read {
                Some(Ok(private)) => SshCredential::Key(Arc::new(private)),
                Some(Err(error)) => {
                    r.add(&at, span, error.to_string());
                    SshCredential::Certificate
                }
                None => SshCredential::Certificate,
            }
        }
        (None, Some(password)) => match secret(r, &format!("{key}.password"), password, base) {
            Some(password) => SshCredential::Password(password),
            None => SshCredential::Certificate,
        },
        (Some(private), Some(_)) => {
            let message = "it has a password too: a host is logged in to by one of them";
            r.add(&format!("{key}.key"), private.span(), message);
            SshCredential::Certificate
        }
    };
    let host_keys = keys(r, &format!("{key}.host_keys"), t.host_keys);
    let host_authorities = keys(r, &format!("{key}.host_authorities"), t.host_authorities);
    let by_approval = match &t.host_key {
        None => false,
        Some(word) => {
            let at = format!("{key}.host_key");
            if !host_keys.is_empty() {
                let message = "it has host_keys too: where keys are pinned, nobody is asked";
                r.add(&at, word.span(), message);
            }
            one_of(r, &at, word, &[("approval", true)]).unwrap_or(false)
        }
    };
    if host_keys.is_empty() && host_authorities.is_empty() && t.host_key.is_none() {
        let message = "nothing says which host is the right one: give host_keys (what ssh-keyscan prints after \
                       the name, compared with the host's own), host_authorities, or host_key = \"approval\"";
        r.add(&format!("{key}.host_keys"), t.name.span(), message);
    }
    let words = Binary::ALL.map(|b| (b.as_str(), b));
    let binary = t
        .binary
        .and_then(|word| one_of(r, &format!("{key}.binary"), &word, &words));
    SshTarget {
        name: t.name.into_inner(),
        env: t.env.into_inner(),
        host: t.host.into_inner(),
        port: t
            .port
            .map_or(22, |v| within(r, &format!("{key}.port"), v, 1, u16::MAX)),
        logins,
        default_login: t.default_login.map(Spanned::into_inner),
        credential,
        host_keys,
        host_keys_by_approval: by_approval,
        host_authorities,
        host_principal: t.host_principal.map(Spanned::into_inner),
        binary: binary.unwrap_or_default(),
        tags: t.tags,
    }
}

fn keys(r: &mut Report<'_>, key: &str, raw: Option<Spanned<Vec<String>>>) -> Vec<PublicKey> {
    let Some(raw) = raw else {
        return Vec::new();
    };
    let span = raw.span();
    let mut out = Vec::new();
    for (i, line) in raw.into_inner().into_iter().enumerate() {
        match PublicKey::from_openssh(&line) {
            Ok(public) => out.push(public),
            Err(error) => {
                let message =
                    format!("it is not a public key such as \"ssh-ed25519 AAAA…\": {error}");
                r.add(&format!("{key}[{i}]"), span.clone(), message);
            }
        }
    }
    out
}

/// What only a PostgreSQL server has.
fn belongs_to_postgres(r: &mut Report<'_>, key: &str, t: &RawTarget) {
    let spans = [
        ("user", t.user.as_ref().map(Spanned::span)),
        ("databases", t.databases.as_ref().map(Spanned::span)),
        ("tls", t.tls.as_ref().map(Spanned::span)),
        ("tls_ca", t.tls_ca.as_ref().map(Spanned::span)),
        ("tls_cert", t.tls_cert.as_ref().map(Spanned::span)),
        ("tls_key", t.tls_key.as_ref().map(Spanned::span)),
        (
            "tls_negotiation",
            t.tls_negotiation.as_ref().map(Spanned::span),
        ),
        ("auth", t.auth.as_ref().map(Spanned::span)),
        ("client_auth", t.client_auth.as_ref().map(Spanned::span)),
        ("max_protocol", t.max_protocol.as_ref().map(Spanned::span)),
        ("cancel_by_pid", t.cancel_by_pid.as_ref().map(Spanned::span)),
    ];
    for (name, span) in spans {
        if let Some(span) = span {
            let message = match name {
                "user" => "an SSH host has logins: give logins and default_login",
                _ => "an SSH host has no such thing",
            };
            r.add(&format!("{key}.{name}"), span, message);
        }
    }
}

/// What only an SSH host has.
pub(super) fn has_no_place(r: &mut Report<'_>, key: &str, t: &RawTarget) {
    let spans = [
        ("logins", t.logins.as_ref().map(Spanned::span)),
        ("default_login", t.default_login.as_ref().map(Spanned::span)),
        ("key", t.key.as_ref().map(Spanned::span)),
        ("host_keys", t.host_keys.as_ref().map(Spanned::span)),
        ("host_key", t.host_key.as_ref().map(Spanned::span)),
        (
            "host_authorities",
            t.host_authorities.as_ref().map(Spanned::span),
        ),
        (
            "host_principal",
            t.host_principal.as_ref().map(Spanned::span),
        ),
        ("binary", t.binary.as_ref().map(Spanned::span)),
    ];
    for (name, span) in spans {
        if let Some(span) = span {
            r.add(
                &format!("{key}.{name}"),
                span,
                "a PostgreSQL server has no such thing",
            );
        }
    }
}
