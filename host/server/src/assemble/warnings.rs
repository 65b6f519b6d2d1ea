//! What a configuration may lack and still be right, told by `check-config`.

use std::sync::Arc;

use pipeline::{Protocol, Target};
use plugin_host::{Capability, PluginInfo};

/// One line for each.
pub(super) fn of(dev_issuer: bool, plugins: &[PluginInfo], targets: &[Arc<Target>]) -> String {
    let nobody = |c: Capability| !plugins.iter().any(|p| p.capabilities.contains(&c));
    let unjudged = |protocol: Protocol| {
        let classifies =
            |p: &PluginInfo| p.capabilities.contains(&Capability::Classify) && p.is_for(protocol);
        targets.iter().any(|t| t.protocol == protocol) && !plugins.iter().any(classifies)
    };
    [
        (
            dev_issuer,
            "the development issuer is on: whoever can read its key can be anybody",
        ),
        (
            unjudged(Protocol::Postgres),
            "no plugin classifies statements (risk-sql would): every one has risk 0",
        ),
        (
            unjudged(Protocol::Ssh),
            "no plugin classifies what is asked of hosts (risk-shell would): all of it has risk 0",
        ),
        (
            nobody(Capability::Mask),
            "no plugin masks (mask-pii would): labelled columns are redacted whole, and nobody looks \
             for personal data elsewhere",
        ),
        (
            nobody(Capability::Route),
            "no plugin routes (route-default would): approvals are asked for as their rule says",
        ),
    ]
    .iter()
    .filter(|(holds, _)| *holds)
    .map(|(_, text)| format!("\nwarning: {text}"))
    .collect()
}
