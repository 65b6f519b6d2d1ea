//! From a client's certificate to a principal. TLS has verified the chain, the dates and the key; here
//! is said for whom a certificate counts, by rules of the authority that it was verified against.
//!
//! A certificate has many names, and not every one is meant to say who somebody is. So a rule says
//! which kind of name it goes by, and counts only where there is exactly one of that kind. What no
//! rule fits is nobody.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::{Actor, Login, Principal, PrincipalKind};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use crate::config::{ActorConfig, ConfigError, DEFAULT_MAX_AGE, IssuerConfig, MAX_MAX_AGE};
use crate::error::{AuthError, shorten};
use crate::mapping::{decorate, is_name};

/// One authority whose certificates are taken. Its keys are the TLS listener's.
#[derive(Debug, Clone)]
pub struct AuthorityConfig {
    /// By which listeners name it.
    pub name: String,
    /// Put before every subject, so that subjects are unique over all authorities and issuers.
    pub subject_prefix: String,
    /// Its subjects are meant to be the same as those of an issuer: a person with a certificate and
    /// the same person with a token.
    pub shared_subjects: bool,
    /// A session by certificate ends after this, whatever the certificate's own end.
    pub max_session: Duration,
    /// The first that fits counts.
    pub rules: Vec<CertificateRule>,
}

impl AuthorityConfig {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            subject_prefix: String::new(),
            shared_subjects: false,
            max_session: DEFAULT_MAX_AGE,
            rules: Vec::new(),
        }
    }
}

/// For whom a certificate counts.
#[derive(Debug, Clone)]
pub struct CertificateRule {
    pub by: NameKind,
    /// The whole name. In each part of it one `*` may stand for one or more characters; parts are
    /// what the name's kind separates.
    pub pattern: String,
    pub kind: PrincipalKind,
    /// Names as policies use them.
    pub groups: Vec<String>,
}

/// Which of a certificate's names says who its holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A URI of the subject's alternative names, as SPIFFE uses them.
    Uri,
    Email,
    Dns,
    /// The common name of the subject.
    CommonName,
}

impl NameKind {
    /// What a `*` does not reach over.
    fn separator(self) -> Option<char> {
        match self {
            Self::Uri => Some('/'),
            Self::Email => Some('@'),
            Self::Dns => Some('.'),
            Self::CommonName => None,
        }
    }

    fn parts(self, text: &str) -> Vec<&str> {
        match self.separator() {
            Some(c) => text.split(c).collect(),
            None => vec![text],
        }
    }
}

/// Everything about one authority that can be known to be wrong.
pub fn check_authority(config: &AuthorityConfig) -> Result<(), ConfigError> {
    let bad = |problem| {
        Err(ConfigError::Authority {
            name: config.name.clone(),
            problem,
        })
    };
    if config.rules.is_empty() {
        return bad("it has no rule, so nobody could come in by its certificates");
    }
    if config.subject_prefix.chars().any(char::is_control) {
        return bad("the prefix holds control characters");
    }
    if config.max_session.is_zero() || config.max_session > MAX_MAX_AGE {
        return bad("max_session is zero, or above 30 days");
    }
    for rule in &config.rules {
        let parts = rule.by.parts(&rule.pattern);
        if !is_name(&rule.pattern) || parts.iter().any(|p| p.matches('*').count() > 1) {
            return bad("a pattern is empty, or has more than one * in one of its parts");
        }
        if rule.by == NameKind::Dns && rule.pattern.chars().any(char::is_uppercase) {
            return bad("a DNS name is compared in lower case");
        }
        if rule.groups.iter().any(|g| !is_name(g)) {
            return bad("a group's name is empty, or holds control characters");
        }
    }
    Ok(())
}

/// Could a certificate name an issuer's people, though nobody said that it may?
pub fn check_subjects(a: &AuthorityConfig, issuer: &IssuerConfig) -> Result<(), ConfigError> {
    if a.subject_prefix == issuer.subject_prefix && !a.shared_subjects {
        return Err(ConfigError::SharedSubjects {
            authority: a.name.clone(),
            issuer: issuer.issuer.clone(),
        });
    }
    Ok(())
}

/// Two authorities never speak for each other's holders.
pub fn check_authorities(a: &AuthorityConfig, b: &AuthorityConfig) -> Result<(), ConfigError> {
    if a.name == b.name || a.subject_prefix == b.subject_prefix {
        return Err(ConfigError::SameAuthority(a.name.clone(), b.name.clone()));
    }
    Ok(())
}

/// One authority, ready to be asked.
pub(crate) struct Authority {
    pub(crate) config: AuthorityConfig,
    issuer: Arc<str>,
    /// Longer prefixes that begin with ours: subjects there are not ours.
    foreign_prefixes: Vec<String>,
}

impl Authority {
    pub(crate) fn new(config: AuthorityConfig, foreign_prefixes: Vec<String>) -> Self {
        Self {
            issuer: format!("x509:{}", config.name).into(),
            config,
            foreign_prefixes,
        }
    }

    /// Whose certificate is this? `der` is verified but for what changes with time.
    pub(crate) fn principal(
        &self,
        der: &[u8],
        now: SystemTime,
        actors: &HashMap<String, ActorConfig>,
    ) -> Result<Principal, AuthError> {
        let certificate = match X509Certificate::from_der(der) {
            Ok(([], certificate)) => certificate,
            _ => return Err(AuthError::Certificate("it cannot be read")),
        };
        let validity = certificate.validity();
        let (begins, ends) = (moment(validity.not_before)?, moment(validity.not_after)?);
        if now < begins {
            return Err(AuthError::Certificate("it is not valid yet"));
        }
        if now >= ends {
            return Err(AuthError::CertificateExpired);
        }
        let names = Names::of(&certificate)?;
        let rule = self.config.rules.iter();
        let found = rule.filter_map(|rule| Some((rule, names.only(rule.by)?)));
        let Some((rule, name)) = found.into_iter().find(|(rule, name)| fits(rule, name)) else {
            return Err(AuthError::NoRule(names.told()));
        };
        if !is_name(name) {
            return Err(AuthError::Certificate(
                "its name is too long or unprintable",
            ));
        }
        let subject = format!("{}{name}", self.config.subject_prefix);
        if self.foreign_prefixes.iter().any(|p| subject.starts_with(p)) {
            return Err(AuthError::Certificate(
                "its name belongs to the namespace of another issuer or authority",
            ));
        }
        let mut groups: Vec<Arc<str>> = rule.groups.iter().map(|g| g.as_str().into()).collect();
        groups.sort();
        groups.dedup();
        let mut actor = Actor {
            kind: rule.kind,
            subject: subject.into(),
            groups,
            mfa: false,
            autonomous: false,
            owner: None,
            attrs: BTreeMap::new(),
        };
        decorate(&mut actor, actors);
        let latest = now.checked_add(self.config.max_session).unwrap_or(now);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        Ok(Principal {
            actor,
            on_behalf_of: Vec::new(),
            issuer: self.issuer.clone(),
            issued_at: None,
            expires_at: ends.min(latest),
            token_id: Some(format!("x509-sha256:{}", hex::encode(digest))),
            proof: Login::Mtls.into(),
        })
    }
}

fn moment(time: ASN1Time) -> Result<SystemTime, AuthError> {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or(AuthError::Certificate("its dates are too far away"))
}

/// The names of one certificate, by kind.
#[derive(Default)]
struct Names {
    uri: Vec<String>,
    email: Vec<String>,
    dns: Vec<String>,
    common: Vec<String>,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, AuthError> {
        let mut names = Self::default();
        for attribute in certificate.subject().iter_common_name() {
            let text = attribute.as_str();
            let text = text.map_err(|_| AuthError::Certificate("its common name is no text"))?;
            names.common.push(text.to_owned());
        }
        let alternative = certificate
            .subject_alternative_name()
            .map_err(|_| AuthError::Certificate("its alternative names cannot be read"))?;
        let Some(alternative) = alternative else {
            return Ok(names);
        };
        for name in &alternative.value.general_names {
            match name {
                GeneralName::URI(text) => names.uri.push((*text).to_owned()),
                GeneralName::RFC822Name(text) => names.email.push((*text).to_owned()),
                // Upper and lower case are the same there, and nowhere else.
                GeneralName::DNSName(text) => names.dns.push(text.to_ascii_lowercase()),
                GeneralName::Invalid(..) => {
                    return Err(AuthError::Certificate("one of its names cannot be read"));
                }
                _ => {}
            }
        }
        Ok(names)
    }

    /// The one name of this kind: of several, none says who the holder is.
    fn only(&self, kind: NameKind) -> Option<&str> {
        let names = match kind {
            NameKind::Uri => &self.uri,
            NameKind::Email => &self.email,
            NameKind::Dns => &self.dns,
            NameKind::CommonName => &self.common,
        };
        match names.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// For the log: the authority vouched for them.
    fn told(&self) -> String {
        let all = [&self.uri, &self.email, &self.dns, &self.common];
        let all: Vec<&str> = all.into_iter().flatten().map(String::as_str).collect();
        shorten(&all.join(", "))
    }
}

fn fits(rule: &CertificateRule, name: &str) -> bool {
    let (pattern, name) = (rule.by.parts(&rule.pattern), rule.by.parts(name));
    let part = |(pattern, name): (&&str, &&str)| match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() > before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
    };
    pattern.len() == name.len() && pattern.iter().zip(&name).all(part)
}

#[cfg(test)]
mod tests;
