//! Where people log in that come to the prompt of SSH: `[ssh.device]`.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use proto_ssh::ClientLogin;
use toml::Spanned;

use super::values::{check_text, secret, within};
use crate::config::error::Report;
use crate::config::raw::RawSshDevice;
use crate::config::{Identity, SshDevice, SshListener};

/// Less is no time for a person; for more, strangers would have connections that nobody has proved anything on.
const WAIT: (u64, u64) = (30, 900);
const DEFAULT_WAIT: u64 = 300;
const DEFAULT_SCOPE: &str = "openid";

/// What there is of it in the file, right or wrong.
pub(super) struct Device {
    pub(super) is_there: bool,
    pub(super) checked: Option<SshDevice>,
    span: Range<usize>,
}

impl Device {
    /// What nobody uses is a mistake.
    pub(super) fn is_used(&self, r: &mut Report<'_>, listeners: &[SshListener]) {
        let asks = |l: &SshListener| l.logins.contains(&ClientLogin::Device);
        if self.is_there && !listeners.iter().any(asks) {
            let message =
                "no [[ssh.listener]] has \"device\" in its auth, so nobody would be sent there";
            r.add("ssh.device", self.span.clone(), message);
        }
    }
}

pub(super) fn ssh_device(
    r: &mut Report<'_>,
    raw: Option<Spanned<RawSshDevice>>,
    base: &Path,
    identity: &Identity,
) -> Device {
    let Some(raw) = raw else {
        return Device {
            is_there: false,
            checked: None,
            span: 0..0,
        };
    };
    let span = raw.span();
    let raw = raw.into_inner();
    check_text(r, "ssh.device.client_id", &raw.client_id);
    for (name, text) in [("scope", &raw.scope), ("audience", &raw.audience)] {
        if let Some(text) = text {
            check_text(r, &format!("ssh.device.{name}"), text);
        }
    }
    let wait = raw.wait_seconds.map_or(DEFAULT_WAIT, |wait| {
        within(r, "ssh.device.wait_seconds", wait, WAIT.0, WAIT.1)
    });
    let client_secret = raw
        .client_secret
        .and_then(|raw| secret(r, "ssh.device.client_secret", raw, base));
    let checked = issuer(r, raw.issuer, &span, identity).map(|(issuer, ca_file)| SshDevice {
        issuer,
        client_id: raw.client_id.into_inner(),
        client_secret,
        scope: raw
            .scope
            .map_or_else(|| DEFAULT_SCOPE.to_owned(), Spanned::into_inner),
        audience: raw.audience.map(Spanned::into_inner),
        ca_file,
        wait: Duration::from_secs(wait),
    });
    Device {
        is_there: true,
        checked,
        span,
    }
}

/// One whose tokens are accepted, and whose description can be asked for.
fn issuer(
    r: &mut Report<'_>,
    raw: Option<Spanned<String>>,
    span: &Range<usize>,
    identity: &Identity,
) -> Option<(String, Option<std::path::PathBuf>)> {
    let key = "ssh.device.issuer";
    let (found, span) = match (raw, identity.issuers.as_slice()) {
        (Some(name), known) => {
            let found = known.iter().find(|i| i.issuer == *name.as_ref());
            if found.is_none() {
                let message =
                    "this is not one of [[identity.issuer]], so its tokens would be refused";
                r.add(key, name.span(), message);
            }
            (found, name.span())
        }
        (None, [one]) => (Some(one), span.clone()),
        (None, _) => {
            let message = "name the one of [[identity.issuer]] at which people log in";
            r.add(key, span.clone(), message);
            (None, span.clone())
        }
    };
    let found = found?;
    if let Err(error) = ::identity::check_provider(&found.issuer) {
        let message = format!("nobody can log in there by a device: {error}");
        r.add(key, span, message);
        return None;
    }
    Some((found.issuer.clone(), found.ca_file.clone()))
}
