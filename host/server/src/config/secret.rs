//! Secrets: taken from the environment, a file, or the configuration itself; never printed.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A secret value. `Debug` and errors show where it came from, never what it is.
#[derive(Clone)]
pub struct Secret {
    value: String,
    origin: String,
}

impl Secret {
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.origin)
    }
}

/// A secret files larger than this is a mistake.
const MAX_SECRET: u64 = 64 << 10;

/// How a secret is written in the configuration.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawSecret {
    Literal(String),
    /// Before the tables: their fields would be taken from a list, and then be told in errors.
    List(Vec<serde::de::IgnoredAny>),
    Env(EnvSecret),
    File(FileSecret),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvSecret {
    env: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSecret {
    file: PathBuf,
}

impl RawSecret {
    pub(super) fn resolve(self, base: &Path) -> Result<Secret, String> {
        let secret = match self {
            Self::List(items) => {
                return Err(format!(
                    "a secret is a string, {{ env = \"NAME\" }} or {{ file = \"path\" }}, not a list \
                     of {}",
                    items.len()
                ));
            }
            Self::Literal(value) => Secret {
                value,
                origin: "in the configuration".into(),
            },
            Self::Env(EnvSecret { env }) => {
                let value = std::env::var(&env)
                    .map_err(|_| format!("the environment variable {env} is not set"))?;
                Secret {
                    value,
                    origin: format!("env {env}"),
                }
            }
            Self::File(FileSecret { file }) => {
                let path = base.join(file);
                let shown = path.display();
                let size = std::fs::metadata(&path)
                    .map_err(|e| format!("the secret file {shown} cannot be read: {e}"))?
                    .len();
                if size > MAX_SECRET {
                    return Err(format!(
                        "the secret file {shown} is {size} bytes long; at most {MAX_SECRET}"
                    ));
                }
                let value = std::fs::read_to_string(&path)
                    .map_err(|e| format!("the secret file {shown} cannot be read: {e}"))?;
                let origin = format!("file {shown}");
                Secret {
                    value: value.trim_end_matches(['\r', '\n']).to_owned(),
                    origin,
                }
            }
        };
        if secret.value.is_empty() {
            return Err(format!("the secret ({}) is empty", secret.origin));
        }
        Ok(secret)
    }
}
