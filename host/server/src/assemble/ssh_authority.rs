//! The SSH certificate authority, if the configuration has one.

use std::sync::Arc;

use anyhow::Context;
use identity::SshAuthority;

use super::Purpose;
use crate::adapters::{RegisteredKeys, SshCertificates};
use crate::config::Config;

/// Reads its keys; makes those that are not there, unless this is only a check.
pub(super) fn authority(
    config: &Config,
    purpose: Purpose,
) -> anyhow::Result<Option<Arc<SshAuthority>>> {
    let Some(ssh) = &config.ssh_authority else {
        return Ok(None);
    };
    let authority = match purpose {
        Purpose::Serve => SshAuthority::open(&ssh.options),
        Purpose::Check => SshAuthority::check(&ssh.options),
    };
    Ok(Some(Arc::new(authority.context("ssh.authority")?)))
}

/// The same, for the API.
pub(super) fn certificates(
    config: &Config,
    authority: Option<&Arc<SshAuthority>>,
) -> Option<Arc<dyn control::SshAuthority>> {
    let ssh = config.ssh_authority.as_ref()?;
    Some(Arc::new(SshCertificates {
        authority: authority?.clone(),
        any_source: ssh.any_source,
        host_names: ssh.host_names.clone(),
    }))
}

/// Keys that people register, if they may, for the API.
pub(super) fn registered_keys(
    config: &Config,
    authority: Option<&Arc<SshAuthority>>,
) -> Option<Arc<dyn control::SshKeys>> {
    let keys = config.ssh.registered_keys.as_ref()?;
    Some(Arc::new(RegisteredKeys {
        authority: authority?.clone(),
        validity: keys.validity,
        per_person: keys.per_person,
    }))
}
