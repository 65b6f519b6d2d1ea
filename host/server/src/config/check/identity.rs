//! Who may log in: issuers, and what is known about actors.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use identity::{
    ActorConfig, Algorithm, ClaimPath, ConfigError, IssuerConfig, JwksSource, TokenType,
};
use pipeline::PrincipalKind;
use toml::Spanned;

use super::authorities::authorities;
use super::values::{check_text, check_url, existing, one_of, within};
use crate::config::error::Report;
use crate::config::raw::{OneOrMany, RawActor, RawIdentity, RawIssuer};
use crate::config::{DEV_SUBJECT_PREFIX, Identity};

pub(super) const KINDS: [(&str, PrincipalKind); 3] = [
    ("user", PrincipalKind::User),
    ("agent", PrincipalKind::Agent),
    ("workload", PrincipalKind::Workload),
];

const TYPES: [(&str, TokenType); 3] = [
    ("at+jwt", TokenType::AccessToken),
    ("JWT", TokenType::Jwt),
    ("none", TokenType::Absent),
];

/// Unless the configuration says otherwise.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];

/// Where an issuer's keys are in the file, for what is only wrong between two of them.
struct Spans {
    issuer: Range<usize>,
    jwks_uri: Range<usize>,
    subject_prefix: Range<usize>,
    group_prefix: Range<usize>,
}

pub(super) fn identity(r: &mut Report<'_>, raw: RawIdentity, base: &Path) -> Identity {
    let dev = raw.dev.is_some_and(|d| d.enabled);
    if !dev && raw.issuer.is_empty() {
        r.missing(
            "identity.issuer",
            "nobody could log in: name at least one [[identity.issuer]], or try Weir with \
             [identity.dev] enabled = true",
        );
    }
    let (mut issuers, mut spans) = (Vec::new(), Vec::new());
    for (i, issuer) in raw.issuer.into_iter().enumerate() {
        let key = format!("identity.issuer[{i}]");
        let (issuer, span) = one_issuer(r, &key, issuer, base);
        if let Err(error) = identity::check_issuer(&issuer) {
            let (key, span) = match &error {
                ConfigError::Url { .. } if matches!(issuer.jwks, JwksSource::Uri(_)) => {
                    (format!("{key}.jwks_uri"), &span.jwks_uri)
                }
                _ => (key.clone(), &span.issuer),
            };
            // Without the issuer's URL, which is at the key, and may hold secrets.
            let message = match &error {
                ConfigError::Issuer { problem, .. } => (*problem).to_owned(),
                ConfigError::Url { what, source, .. } => format!("{what}: {source}"),
                other => other.to_string(),
            };
            r.add(&key, span.clone(), message);
        }
        if dev && issuer.subject_prefix == DEV_SUBJECT_PREFIX {
            let message = "this prefix belongs to the development issuer";
            let key = format!("{key}.subject_prefix");
            r.add(&key, span.subject_prefix.clone(), message);
        }
        issuers.push(issuer);
        spans.push(span);
    }
    check_pairs(r, &issuers, &spans);
    Identity {
        dev,
        actors: actors(r, raw.actor),
        authorities: authorities(r, raw.certificates, &issuers, base),
        issuers,
    }
}

/// Each issuer with those before it.
fn check_pairs(r: &mut Report<'_>, issuers: &[IssuerConfig], spans: &[Spans]) {
    for (i, (issuer, span)) in issuers.iter().zip(spans).enumerate() {
        for other in issuers.iter().take(i) {
            let Err(error) = identity::check_pair(other, issuer) else {
                continue;
            };
            let (key, span) = match &error {
                ConfigError::SamePrefix(..) => ("subject_prefix", &span.subject_prefix),
                ConfigError::SameGroups(..) => ("group_prefix", &span.group_prefix),
                _ => ("issuer", &span.issuer),
            };
            let key = format!("identity.issuer[{i}].{key}");
            r.add(&key, span.clone(), error.to_string());
        }
    }
}

fn one_issuer(r: &mut Report<'_>, key: &str, raw: RawIssuer, base: &Path) -> (IssuerConfig, Spans) {
    let of = |name: &str| format!("{key}.{name}");
    let span = raw.issuer.span();
    let at = |prefix: &Option<Spanned<String>>| prefix.as_ref().map_or(span.clone(), Spanned::span);
    let spans = Spans {
        subject_prefix: at(&raw.subject_prefix),
        group_prefix: at(&raw.group_prefix),
        jwks_uri: at(&raw.jwks_uri),
        issuer: span.clone(),
    };
    let mut out = IssuerConfig::new(raw.issuer.as_ref(), "");
    out.audiences = audiences(r, &of("audience"), raw.audience);
    out.jwks = keys(r, key, &raw.issuer, raw.jwks_uri, raw.jwks_file, base);
    out.algorithms = match raw.algorithms {
        None => ALGORITHMS.to_vec(),
        Some(names) => algorithms(r, &of("algorithms"), names),
    };
    if let Some(names) = raw.token_types {
        let names = names.iter().enumerate();
        out.types = names
            .filter_map(|(i, name)| one_of(r, &format!("{key}.token_types[{i}]"), name, &TYPES))
            .collect();
    }
    out.unmarked = raw.accept_unmarked_tokens;
    out.subject_prefix = raw
        .subject_prefix
        .map_or_else(String::new, Spanned::into_inner);
    out.group_prefix = raw
        .group_prefix
        .map_or_else(String::new, Spanned::into_inner);
    out.allowed_groups = raw
        .allowed_groups
        .map(|groups| groups.into_iter().collect());
    out.shared_groups = raw.shared_groups;
    let mut path = |name: &str, raw: Option<Spanned<String>>| {
        raw.and_then(|raw| claim_path(r, &of(name), &raw))
    };
    if let Some(path) = path("subject_claim", raw.subject_claim) {
        out.subject_claim = path;
    }
    if let Some(path) = path("groups_claim", raw.groups_claim) {
        out.groups_claim = path;
    }
    out.kind_claim = path("kind_claim", raw.kind_claim);
    let mut kind = |name: &str, raw: Option<Spanned<String>>| {
        raw.and_then(|raw| one_of(r, &of(name), &raw, &KINDS))
    };
    if let Some(kind) = kind("kind", raw.kind) {
        out.kind = kind;
    }
    out.service_accounts = kind("service_accounts", raw.service_accounts);
    out.attr_claims = raw.attr_claims;
    if let Some(methods) = raw.mfa_amr {
        out.mfa_amr = methods;
    }
    out.mfa_acr = raw.mfa_acr;
    if let Some(leeway) = raw.leeway_seconds {
        let most = identity::MAX_LEEWAY.as_secs();
        out.leeway = Duration::from_secs(within(r, &of("leeway_seconds"), leeway, 0, most));
    }
    if let Some(age) = raw.max_age_seconds {
        let most = identity::MAX_MAX_AGE.as_secs();
        let age = within(r, &of("max_age_seconds"), age, 1, most);
        // What is out of bounds was told; it must not be told again.
        out.max_age = Some(Duration::from_secs(age.clamp(1, most)));
    }
    out.ca_file = raw.ca.map(|p| existing(r, &of("ca"), &p, base));
    (out, spans)
}

fn audiences(r: &mut Report<'_>, key: &str, raw: Spanned<OneOrMany>) -> Vec<String> {
    let span = raw.span();
    let audiences = raw.into_inner().into_vec();
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        r.add(key, span, "a token for anybody would be accepted");
        return vec!["(none)".to_owned()];
    }
    audiences
}

/// Where the keys are.
fn keys(
    r: &mut Report<'_>,
    key: &str,
    issuer: &Spanned<String>,
    uri: Option<Spanned<String>>,
    file: Option<Spanned<std::path::PathBuf>>,
    base: &Path,
) -> JwksSource {
    let (uri_key, file_key) = (format!("{key}.jwks_uri"), format!("{key}.jwks_file"));
    let file = file.map(|f| (f.span(), existing(r, &file_key, &f, base)));
    match (uri, file) {
        (Some(_), Some((span, _))) => {
            r.add(&file_key, span, "name either jwks_uri or jwks_file");
            JwksSource::Static(String::new())
        }
        (Some(uri), None) if check_url(r, &uri_key, &uri) => JwksSource::Uri(uri.into_inner()),
        (None, Some((_, file))) => JwksSource::File(file),
        (None, None) if check_url(r, &format!("{key}.issuer"), issuer) => JwksSource::Discovery,
        // What is wrong was told; it must not be told again.
        _ => JwksSource::Static(String::new()),
    }
}

fn algorithms(r: &mut Report<'_>, key: &str, names: Vec<Spanned<String>>) -> Vec<Algorithm> {
    let mut out = Vec::new();
    for (i, name) in names.into_iter().enumerate() {
        match name.as_ref().parse() {
            Ok(algorithm) => out.push(algorithm),
            Err(error) => r.add(&format!("{key}[{i}]"), name.span(), format!("{error}")),
        }
    }
    out
}

/// `groups`, or `realm_access > roles` for a claim inside an object.
fn claim_path(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) -> Option<ClaimPath> {
    let path: Vec<&str> = raw.as_ref().split('>').map(str::trim).collect();
    let whole = path.iter().all(|name| !name.is_empty());
    let path = ClaimPath::nested(&path).filter(|_| whole);
    if path.is_none() {
        r.add(
            key,
            raw.span(),
            format!("{:?} names no claim", raw.as_ref()),
        );
    }
    path
}

fn actors(r: &mut Report<'_>, raw: Vec<RawActor>) -> Vec<ActorConfig> {
    let mut out: Vec<ActorConfig> = Vec::new();
    for (i, actor) in raw.into_iter().enumerate() {
        let key = format!("identity.actor[{i}]");
        check_text(r, &format!("{key}.subject"), &actor.subject);
        if out.iter().any(|a| a.subject == *actor.subject.as_ref()) {
            let message = "this actor is named twice";
            r.add(&format!("{key}.subject"), actor.subject.span(), message);
        }
        for (n, group) in actor.groups.iter().enumerate() {
            check_text(r, &format!("{key}.groups[{n}]"), group);
        }
        if let Some(owner) = &actor.owner {
            check_text(r, &format!("{key}.owner"), owner);
        }
        let kind = actor.kind.as_ref();
        out.push(ActorConfig {
            kind: kind.and_then(|kind| one_of(r, &format!("{key}.kind"), kind, &KINDS)),
            subject: actor.subject.into_inner(),
            groups: actor.groups.into_iter().map(Spanned::into_inner).collect(),
            owner: actor.owner.map(Spanned::into_inner),
            autonomous: actor.autonomous,
        });
    }
    out
}
