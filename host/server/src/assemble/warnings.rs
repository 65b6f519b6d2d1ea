//! What a configuration may lack and still be right, told by `check-config`.

use plugin_host::{Capability, PluginInfo};

/// One line for each.
pub(super) fn of(dev_issuer: bool, plugins: &[PluginInfo]) -> String {
    let nobody = |c: Capability| !plugins.iter().any(|p| p.capabilities.contains(&c));
    [
        (
            dev_issuer,
            "the development issuer is on: whoever can read its key can be anybody",
        ),
        (
            nobody(Capability::Classify),
            "no plugin classifies (risk-sql would): every statement has risk 0",
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
