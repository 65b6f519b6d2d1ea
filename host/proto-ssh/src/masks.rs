//! What is masked in text: tokens by their form, and the passwords that Weir itself logs in with.
//!
//! A host can print another's password, so every session masks those of all targets. Where these are too many for one
//! set of patterns, a session masks its own target's.

use std::collections::HashMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::{Credential, SshTarget};
use crate::mask::{Patterns, PatternsError};

/// See the module.
pub(crate) struct Masks {
    all: Arc<Patterns>,
    /// By a target's name, where it is more than `all`.
    own: HashMap<Arc<str>, Arc<Patterns>>,
}

impl Masks {
    pub fn new(targets: &[SshTarget]) -> Result<Self, PatternsError> {
        let mut passwords = Vec::new();
        for target in targets {
            let Credential::Password(password) = &target.credential else {
                continue;
            };
            let password = Zeroizing::new(password.expose().as_bytes().to_vec());
            match Patterns::new([password.clone()]) {
                Ok(_) if passwords.contains(&password) => {}
                Ok(_) => passwords.push(password),
                // Too short, or with what no terminal shows: it would be found everywhere, or nowhere.
                Err(error) => {
                    tracing::warn!(target = %target.info.name, %error, "the password of this target cannot be masked in what hosts print");
                }
            }
        }
        match Patterns::new(passwords) {
            Ok(all) => Ok(Self {
                all: Arc::new(all),
                own: HashMap::new(),
            }),
            Err(PatternsError::TooMany) => Self::apart(targets),
            Err(error) => Err(error),
        }
    }

    /// For each target its own.
    fn apart(targets: &[SshTarget]) -> Result<Self, PatternsError> {
        tracing::warn!(
            "targets have too many passwords for one set of masks: a session masks only its own target's"
        );
        let mut own = HashMap::new();
        for target in targets {
            if let Credential::Password(password) = &target.credential
                && let Ok(patterns) =
                    Patterns::new([Zeroizing::new(password.expose().as_bytes().to_vec())])
            {
                own.insert(target.info.name.clone(), Arc::new(patterns));
            }
        }
        Ok(Self {
            all: Arc::new(Patterns::new([])?),
            own,
        })
    }

    /// For the sessions of this target.
    pub fn of(&self, target: &SshTarget) -> Arc<Patterns> {
        let own = self.own.get(&target.info.name);
        own.unwrap_or(&self.all).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::BytesMut;

    use super::*;
    use crate::config::Secret;
    use crate::mask::{Kind, Masker};
    use crate::testing::{Keys, target};

    fn with(name: &str, password: &str, keys: &Keys) -> SshTarget {
        SshTarget {
            credential: Credential::Password(Secret::new(password)),
            ..target(name, 22, keys)
        }
    }

    fn shown(patterns: Arc<Patterns>, text: &str) -> String {
        let mut masker = Masker::new(patterns, Kind::Pipe);
        let mut out = BytesMut::new();
        let _ = masker.push(text.as_bytes(), Instant::now(), &mut out);
        masker.flush(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_password_is_masked_on_every_target() {
        let keys = Keys::new();
        let targets = [
            target("web1", 22, &keys),
            with("db1", "correct horse battery", &keys),
            with("db2", "short", &keys),
            with("db3", "correct horse battery", &keys),
        ];
        let masks = Masks::new(&targets).unwrap();
        for target in &targets {
            let shown = shown(masks.of(target), "it is correct horse battery or short\n");
            assert_eq!(shown, format!("it is {} or short\n", "*".repeat(21)));
        }
    }

    #[test]
    fn too_many_are_masked_on_their_own_target() {
        let keys = Keys::new();
        let mut targets: Vec<SshTarget> = (0..600)
            .map(|n| with(&format!("db{n}"), &format!("a password {n:05}"), &keys))
            .collect();
        targets.push(target("web1", 22, &keys));
        let masks = Masks::new(&targets).unwrap();
        for (n, target) in targets.iter().enumerate().take(600).step_by(97) {
            let text = format!("a password {n:05}\n");
            assert_eq!(shown(masks.of(target), &text), "****************\n");
        }
        let token = format!("ghp_{}\n", "a1".repeat(18));
        assert!(!shown(masks.of(&targets[600]), &token).contains("a1a1"));
    }
}
