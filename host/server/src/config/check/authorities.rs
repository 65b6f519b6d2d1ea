//! Whose client certificates are taken, and for whom.

use std::path::Path;
use std::time::Duration;

use ::identity::{AuthorityConfig, CertificateRule, IssuerConfig, NameKind};
use pipeline::PrincipalKind;
use toml::Spanned;

use super::identity::KINDS;
use super::values::{check_name, check_text, existing, one_of, within};
use crate::config::Authority;
use crate::config::error::Report;
use crate::config::raw::{RawAuthority, RawRule};

pub(super) fn authorities(
    r: &mut Report<'_>,
    raw: Vec<RawAuthority>,
    issuers: &[IssuerConfig],
    base: &Path,
) -> Vec<Authority> {
    let mut out: Vec<Authority> = Vec::new();
    for (i, raw) in raw.into_iter().enumerate() {
        let key = format!("identity.certificates[{i}]");
        let span = raw.name.span();
        let authority = one(r, &key, raw, base);
        let config = &authority.config;
        let mut wrong = ::identity::check_authority(config).err();
        for issuer in issuers {
            wrong = wrong.or(::identity::check_subjects(config, issuer).err());
        }
        for other in &out {
            wrong = wrong.or(::identity::check_authorities(&other.config, config).err());
        }
        if let Some(error) = wrong {
            r.add(&key, span, error.to_string());
        }
        out.push(authority);
    }
    out
}

fn one(r: &mut Report<'_>, key: &str, raw: RawAuthority, base: &Path) -> Authority {
    check_name(r, &format!("{key}.name"), &raw.name);
    let mut config = AuthorityConfig::new(raw.name.as_ref());
    config.subject_prefix = raw
        .subject_prefix
        .map_or_else(String::new, Spanned::into_inner);
    config.shared_subjects = raw.shared_subjects;
    if let Some(seconds) = raw.max_session_seconds {
        let most = ::identity::MAX_MAX_AGE.as_secs();
        let seconds = within(r, &format!("{key}.max_session_seconds"), seconds, 1, most);
        // What is out of bounds was told; it must not be told again.
        config.max_session = Duration::from_secs(seconds.clamp(1, most));
    }
    for (n, raw) in raw.rule.into_iter().enumerate() {
        config
            .rules
            .extend(rule(r, &format!("{key}.rule[{n}]"), raw));
    }
    Authority {
        config,
        ca: existing(r, &format!("{key}.ca"), &raw.ca, base),
        crl: raw
            .crl
            .map(|p| existing(r, &format!("{key}.crl"), &p, base)),
    }
}

fn rule(r: &mut Report<'_>, key: &str, raw: Spanned<RawRule>) -> Option<CertificateRule> {
    let span = raw.span();
    let raw = raw.into_inner();
    let named = [
        (NameKind::Uri, raw.uri),
        (NameKind::Email, raw.email),
        (NameKind::Dns, raw.dns),
        (NameKind::CommonName, raw.cn),
    ];
    let mut named = named
        .into_iter()
        .filter_map(|(by, pattern)| Some((by, pattern?)));
    let by = match (named.next(), named.next()) {
        (Some(by), None) => Some(by),
        _ => {
            r.add(key, span, "name one of uri, email, dns and cn");
            None
        }
    };
    for (n, group) in raw.groups.iter().enumerate() {
        check_text(r, &format!("{key}.groups[{n}]"), group);
    }
    let kind: Option<PrincipalKind> = one_of(r, &format!("{key}.kind"), &raw.kind, &KINDS);
    let (by, pattern) = by?;
    Some(CertificateRule {
        by,
        pattern,
        kind: kind?,
        groups: raw.groups.into_iter().map(Spanned::into_inner).collect(),
    })
}
