//! Who is calling: a bearer token or a client certificate in, a [`pipeline::Principal`] out.
//!
//! Place in the flow: a protocol crate has taken a token from its client, in whatever way the
//! protocol has for that; [`Verifier::verify`] says whose it is, or why it is nobody's. The `server`
//! builds the verifier from the configuration.
//!
//! What happens to a token: `token` cuts it up and looks at its header, `keys` and `jwks` find the
//! key and check the signature, `claims` judges the payload, `mapping` makes a principal of it.
//! `certificate` does the last of these for certificates, which TLS has verified. `ssh` is an authority:
//! it puts a principal into a certificate of SSH, and finds it there again. `device` is the other side: how
//! somebody gets a token with a browser elsewhere.
//!
//! Architecture invariants:
//! - The payload is parsed once, by a parser that refuses duplicate names. Until the signature over
//!   exactly these bytes is verified, it can choose the issuer and cause a refusal, nothing else.
//! - No symmetric algorithm can be expressed: [`Algorithm`] has none, and keys of type `oct` are
//!   dropped while a key set is read.
//! - Nothing that a client may see, and nothing that is logged, holds the token or a part of it.
//! - No policy: what a principal may do is not known here.

mod algorithm;
mod cache;
mod certificate;
mod claims;
mod config;
mod dev;
mod device;
mod error;
mod fetch;
mod json;
mod jwks;
mod key_file;
mod keys;
mod mapping;
mod ssh;
mod token;
mod verifier;

#[cfg(test)]
mod testing;

pub use algorithm::{Algorithm, NotAllowed};
pub use certificate::{
    AuthorityConfig, CertificateRule, NameKind, check_authorities, check_authority, check_subjects,
};
pub use config::{
    ActorConfig, ClaimPath, ConfigError, DEFAULT_MAX_AGE, IssuerConfig, JwksSource, JwksTiming,
    MAX_LEEWAY, MAX_MAX_AGE, TokenType, VerifierOptions, check_issuer, check_pair,
};
pub use dev::{DEV_AUDIENCE, DEV_ISSUER, DevActor, DevError, DevIssuer, DevToken, MAX_DEV_TTL};
pub use device::{DeviceError, DeviceLogin, DeviceOptions, DeviceProvider, check_provider};
pub use error::AuthError;
pub use fetch::{FetchError, discovery_url};
pub use jwks::JwksError;
pub use key_file::KeyFileError;
pub use keys::KeySetError;
pub use ssh::{
    CALLER_PRINCIPAL, CHALLENGE_LASTS, Granted, IssueError, KEY_NAMESPACE, KeyChallenge,
    MAX_CALLER_VALIDITY, MAX_KEY_VALIDITY, RegisterError, Revocation, SHORT_TOKEN_PREFIX,
    SHORT_TOKEN_VALIDITY, ShortToken, SshAuthority, SshAuthorityError, SshAuthorityOptions,
    SshCertificateError, TooManyRevoked, is_short_token, short_token_hash, short_token_id,
};
pub use token::{Claimed, MAX_TOKEN_BYTES};
pub use verifier::Verifier;
