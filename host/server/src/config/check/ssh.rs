//! Who signs certificates for SSH: `[ssh.authority]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::identity::{MAX_CALLER_VALIDITY, SshAuthorityOptions};
use toml::Spanned;

use super::values::{existing, is_host_name, within};
use crate::config::SshAuthority;
use crate::config::error::Report;
use crate::config::raw::RawSshAuthority;

/// Names of one gateway.
const MAX_HOST_NAMES: usize = 64;
/// Certificates end after hours: a list that is longer is one that nobody tidies up.
const MAX_REVOKED: usize = 10_000;

pub(super) fn ssh_authority(
    r: &mut Report<'_>,
    raw: RawSshAuthority,
    base: &Path,
    data_dir: &Path,
) -> SshAuthority {
    let mut options = SshAuthorityOptions::new(data_dir.join("ssh"));
    let mut file = |name: &str, path: Option<Spanned<PathBuf>>| {
        path.map(|path| existing(r, &format!("ssh.authority.{name}"), &path, base))
    };
    options.caller_key = file("caller_key", raw.caller_key);
    options.target_key = file("target_key", raw.target_key);
    options.host_ca_key = file("host_ca_key", raw.host_ca_key);
    options.host_key = file("host_key", raw.host_key);
    if let Some(seconds) = raw.certificate_seconds {
        let most = MAX_CALLER_VALIDITY.as_secs();
        let seconds = within(r, "ssh.authority.certificate_seconds", seconds, 60, most);
        options.caller_validity = Duration::from_secs(seconds);
    }
    for (n, serial) in raw.revoked.into_iter().enumerate() {
        let key = format!("ssh.authority.revoked[{n}]");
        if n == MAX_REVOKED {
            r.add(
                &key,
                serial.span(),
                format!("more than {MAX_REVOKED}; certificates end by themselves after hours"),
            );
            break;
        }
        match hexadecimal(serial.as_ref()) {
            Some(number) => options.revoked.push(number),
            None => {
                let what = "a serial number is 16 hexadecimal digits, as `weir login` and the record show it";
                r.add(&key, serial.span(), what);
            }
        }
    }
    SshAuthority {
        options,
        any_source: raw.any_source,
        host_names: host_names(r, raw.host_names),
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

fn host_names(r: &mut Report<'_>, raw: Vec<Spanned<String>>) -> Vec<String> {
    let mut names = Vec::new();
    for (n, name) in raw.into_iter().enumerate() {
        let key = format!("ssh.authority.host_names[{n}]");
        if n == MAX_HOST_NAMES {
            r.add(
                &key,
                name.span(),
                format!("more than {MAX_HOST_NAMES} names"),
            );
            break;
        }
        let address = name.as_ref().parse::<std::net::IpAddr>().is_ok();
        if !is_host_name(name.as_ref()) && !address {
            let what = format!("{:?} is neither a host name nor an address", name.as_ref());
            r.add(&key, name.span(), what);
        }
        names.push(name.into_inner().to_ascii_lowercase());
    }
    names
}
