//! Configured listeners and hosts of SSH → those of `proto-ssh`.

use std::sync::Arc;

use anyhow::Context;
use control::{HostKeyDesk, TokenDesk};
use identity::{DeviceOptions, DeviceProvider, SshAuthority, Verifier};
use pipeline::{Ports, Protocol};
use proto_ssh::{Credential, HostTrust, Limits, SshListener, SshService, SshTarget};

use crate::adapters::ssh::{Callers, Certificates, Gateway};
use crate::adapters::ssh_device::Devices;
use crate::adapters::ssh_hosts::Approved;
use crate::adapters::ssh_tokens::ShortTokens;
use crate::config::{self, Config, SshCredential};

/// Everything that is made of the configuration alone.
pub(super) struct Ssh {
    pub(super) listeners: Vec<SshListener>,
    pub(super) targets: Vec<SshTarget>,
    /// What the gateway is certified as.
    pub(super) names: Vec<String>,
    pub(super) device: Option<DeviceProvider>,
    pub(super) limits: Limits,
    /// People come in by keys that they have registered.
    keys: bool,
}

pub(super) fn build(config: &Config) -> anyhow::Result<Ssh> {
    let listeners = config.ssh.listeners.iter();
    let listeners = listeners
        .map(|l| listener(config, l))
        .collect::<Result<Vec<_>, _>>()?;
    let own = config.ssh_authority.iter().flat_map(|a| &a.host_names);
    let hosts = config.ssh_targets.iter().map(|t| &t.name);
    let mut limits = Limits::default();
    if let Some(device) = &config.ssh.device {
        limits.device_timeout = device.wait;
    }
    let device = config.ssh.device.as_ref().map(provider).transpose();
    Ok(Ssh {
        limits,
        device: device.context("device")?,
        listeners,
        names: own.chain(hosts).cloned().collect(),
        keys: config.ssh.registered_keys.is_some(),
        targets: config.ssh_targets.iter().map(target).collect(),
    })
}

fn provider(device: &config::SshDevice) -> Result<DeviceProvider, identity::DeviceError> {
    let secret = device.client_secret.as_ref();
    DeviceProvider::new(DeviceOptions {
        issuer: device.issuer.clone(),
        client_id: device.client_id.clone(),
        client_secret: secret.map(|s| s.expose().to_owned().into()),
        scope: device.scope.clone(),
        audience: device.audience.clone(),
        ca_file: device.ca_file.clone(),
    })
}

fn listener(config: &Config, l: &config::SshListener) -> anyhow::Result<SshListener> {
    let mut listen = net::ListenerOptions::new("ssh", &l.listen.to_string())?;
    listen.max_connections = l.max_connections;
    listen.drain = config.drain;
    if !l.proxy_protocol_from.is_empty() {
        let nets = l.proxy_protocol_from.clone();
        listen.proxy_protocol = Some(net::ProxyProtocol::new(nets));
    }
    Ok(SshListener {
        listen,
        target: l.target.as_deref().map(Arc::from),
        logins: l.logins.clone(),
        banner: l.banner.clone(),
    })
}

fn target(t: &config::SshTarget) -> SshTarget {
    SshTarget {
        info: Arc::new(pipeline::Target {
            name: t.name.as_str().into(),
            protocol: Protocol::Ssh,
            env: t.env.as_str().into(),
            tags: t.tags.clone(),
        }),
        host: t.host.clone(),
        port: t.port,
        default_login: t.default_login.as_deref().map(Arc::from),
        logins: t.logins.iter().map(|l| l.as_str().into()).collect(),
        credential: match &t.credential {
            SshCredential::Certificate => Credential::Certificate,
            SshCredential::Key(key) => Credential::Key(key.clone()),
            SshCredential::Password(password) => {
                Credential::Password(proto_ssh::Secret::new(password.expose()))
            }
        },
        trust: HostTrust {
            pins: t.host_keys.clone(),
            authorities: t.host_authorities.clone(),
            principal: t.host_principal.as_deref().map(Arc::from),
            approved: t.host_keys_by_approval,
        },
        binary: t.binary,
    }
}

/// The service, if there is a listener for it.
pub(super) fn service(
    ssh: Ssh,
    authority: Option<Arc<SshAuthority>>,
    ports: Ports,
    verifier: &Verifier,
    host_keys: HostKeyDesk,
    short_tokens: TokenDesk,
) -> anyhow::Result<Option<SshService>> {
    let Some(authority) = authority.filter(|_| !ssh.listeners.is_empty()) else {
        return Ok(None);
    };
    let clock = ports.clock.clone();
    let keys = ssh.keys.then(|| ports.authorizer.clone());
    let devices = ssh.device.map(|p| Devices::new(p, verifier.clone()));
    let callers = Callers::new(verifier.clone(), authority.clone(), clock.clone(), keys);
    let callers = callers.with_short_tokens(ShortTokens(Arc::new(short_tokens)));
    let service = SshService::new(proto_ssh::Options {
        listeners: ssh.listeners,
        targets: ssh.targets,
        auth: Arc::new(callers.with_devices(devices)),
        host_identity: Arc::new(Gateway::new(authority.clone(), clock, ssh.names)),
        host_keys: Arc::new(Approved(host_keys)),
        issuer: Some(Arc::new(Certificates(authority))),
        ports,
        limits: ssh.limits,
    })?;
    Ok(Some(service))
}
