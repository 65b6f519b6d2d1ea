//! Keys of hosts that people approved → `proto-ssh`.

use async_trait::async_trait;
use control::{HostKeyDesk, HostKeyStanding};
use proto_ssh::{HostKeys, Standing};
use ssh_keys::PublicKey;

/// What the control plane says of host keys. Nothing counts because it was seen.
pub(crate) struct Approved(pub(crate) HostKeyDesk);

#[async_trait]
impl HostKeys for Approved {
    async fn approved(&self, target: &str) -> Vec<PublicKey> {
        let Some(line) = self.0.approved(target) else {
            return Vec::new();
        };
        match PublicKey::from_openssh(&line) {
            Ok(key) => vec![key],
            Err(error) => {
                // Then no key of it counts.
                tracing::error!(target_name = target, %error, "the approved host key cannot be read");
                Vec::new()
            }
        }
    }

    async fn unknown(&self, target: &str, key: &PublicKey, changed: bool) -> Standing {
        let fingerprint = key.fingerprint();
        let standing = self
            .0
            .unknown(target, &fingerprint, &key.to_openssh(""))
            .await;
        match (standing, changed) {
            (HostKeyStanding::Rejected, _) => tracing::error!(
                target_name = target,
                fingerprint,
                "this target shows a host key that was rejected: it is not connected to"
            ),
            (HostKeyStanding::Waits, true) => tracing::error!(
                target_name = target,
                fingerprint,
                "THE HOST KEY OF THIS TARGET HAS CHANGED: it was replaced, or somebody is in between. It is not \
                 connected to until somebody has compared the new key with the host's own, and approved it"
            ),
            (HostKeyStanding::Waits, false) => tracing::warn!(
                target_name = target,
                fingerprint,
                "the host key of this target waits for approval: weir ssh host-key approve"
            ),
        }
        match standing {
            HostKeyStanding::Waits => Standing::Waits,
            HostKeyStanding::Rejected => Standing::Rejected,
        }
    }
}
