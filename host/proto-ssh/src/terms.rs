//! What a session may do because of how its client logged in, and what the relay needs to begin. Policy comes
//! on top: terms only ever take away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipeline::Target;
use tokio_util::sync::CancellationToken;

use crate::config::{Binary, Limits};
use crate::mask::Patterns;
use crate::relay::Readers;

/// What a login lets its sessions ask for. Certificates can say it with their extensions (`PROTOCOL.certkeys` of
/// OpenSSH); other logins leave it to policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct May {
    pub pty: bool,
    pub port_forwarding: bool,
    pub agent_forwarding: bool,
    pub x11_forwarding: bool,
}

impl May {
    pub const ALL: Self = Self {
        pty: true,
        port_forwarding: true,
        agent_forwarding: true,
        x11_forwarding: true,
    };

    pub const NOTHING: Self = Self {
        pty: false,
        port_forwarding: false,
        agent_forwarding: false,
        x11_forwarding: false,
    };

    /// What a certificate with these extensions permits; extensions that nobody knows permit nothing.
    pub fn of_extensions<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut may = Self::NOTHING;
        for name in names {
            match name {
                "permit-pty" => may.pty = true,
                "permit-port-forwarding" => may.port_forwarding = true,
                "permit-agent-forwarding" => may.agent_forwarding = true,
                "permit-X11-forwarding" => may.x11_forwarding = true,
                _ => {}
            }
        }
        may
    }
}

/// What `relay::run` is told beside the session and its two legs.
pub(crate) struct Terms {
    /// The login on the target; also the session's scope.
    pub login: Arc<str>,
    /// Where SSH of the target's host listens, as far as it is configured.
    pub ports: Arc<[u16]>,
    pub may: May,
    /// What is masked in text that the client is shown.
    pub masks: Arc<Patterns>,
    /// What of that is no text.
    pub binary: Binary,
    /// What the client sent while its session was decided on and the target was dialled, in order, unanswered.
    pub early: Vec<Bytes>,
    /// The process shuts down: end as soon as nothing is under way, at the latest after `drain`.
    pub shutdown: CancellationToken,
    pub drain: Duration,
    pub limits: Arc<Limits>,
    pub readers: Readers,
}

impl Terms {
    pub fn place(&self, target: &Arc<Target>) -> Place {
        Place {
            login: self.login.clone(),
            target: target.clone(),
            ports: self.ports.clone(),
        }
    }
}

/// Where what a client asks for would be done.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub login: Arc<str>,
    pub target: Arc<Target>,
    /// Where SSH of the target's host listens, as far as it is configured.
    pub ports: Arc<[u16]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_permits_what_it_names_and_nothing_else() {
        let none = May::of_extensions([]);
        assert!(!none.pty && !none.port_forwarding);
        assert!(!none.agent_forwarding && !none.x11_forwarding);
        let some =
            May::of_extensions(["permit-pty", "PERMIT-PORT-FORWARDING", "permit-everything"]);
        assert_eq!(some, May { pty: true, ..none });
        let all = [
            "permit-pty",
            "permit-port-forwarding",
            "permit-agent-forwarding",
            "permit-X11-forwarding",
        ];
        assert_eq!(May::of_extensions(all), May::ALL);
    }
}
