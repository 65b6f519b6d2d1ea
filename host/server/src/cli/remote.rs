//! Calling the HTTP API: where it is, with which token, and how answers are printed.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use weir_client::{Client, ClientError};
use zeroize::Zeroizing;

/// Where the API is and who calls it.
#[derive(Args)]
pub(super) struct Remote {
    #[command(flatten)]
    reach: Reach,
    /// Print the answer as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// The same, for commands whose answer is not JSON.
#[derive(Args)]
pub(super) struct Reach {
    /// The API's base URL.
    #[arg(long, env = "WEIR_API", default_value = "http://127.0.0.1:8443")]
    api: String,
    /// A file that holds the token; otherwise the environment variable WEIR_TOKEN.
    #[arg(long)]
    token_file: Option<PathBuf>,
}

/// What is listed: one's own, or that of others for who may revoke it.
#[derive(Args)]
pub(super) struct Listed {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// Those of everybody, if you may revoke them.
    #[arg(long)]
    all: bool,
    /// Those of this person or program, if you may revoke them.
    #[arg(long, conflicts_with = "all")]
    pub(super) subject: Option<String>,
}

impl Listed {
    /// More than one's own is asked for.
    pub(super) fn of_others(&self) -> bool {
        self.all || self.subject.is_some()
    }
}

impl Reach {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        self.client_with(&self.token()?)
    }

    fn token(&self) -> anyhow::Result<Zeroizing<String>> {
        Ok(match &self.token_file {
            Some(file) => Zeroizing::new(
                std::fs::read_to_string(file)
                    .with_context(|| format!("the token file {} cannot be read", file.display()))?,
            ),
            None => match std::env::var("WEIR_TOKEN") {
                Ok(token) => Zeroizing::new(token),
                Err(_) => bail!("no token: set WEIR_TOKEN or pass --token-file"),
            },
        })
    }

    pub(super) fn client_with(&self, token: &str) -> anyhow::Result<Client> {
        Ok(Client::new(&self.api, token.trim())?)
    }

    pub(super) fn has_token_file(&self) -> bool {
        self.token_file.is_some()
    }

    /// For answers that are believed later on: nobody on the way may have changed them.
    pub(super) fn demand_tls(&self) -> anyhow::Result<()> {
        match is_private(&self.api) {
            true => Ok(()),
            false => bail!(
                "{} is not https: whoever is on the way could take the token, and say by what the gateway is known",
                shown(&self.api)
            ),
        }
    }
}

impl Remote {
    pub(super) fn demand_tls(&self) -> anyhow::Result<()> {
        self.reach.demand_tls()
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        self.reach.client()
    }

    pub(super) fn token(&self) -> anyhow::Result<Zeroizing<String>> {
        self.reach.token()
    }

    /// Prints JSON when asked for, otherwise what `text` makes of the answer.
    pub(super) fn print<T: Serialize>(
        &self,
        answer: &T,
        text: impl FnOnce(&T),
    ) -> anyhow::Result<()> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(answer)?);
        } else {
            text(answer);
        }
        Ok(())
    }
}

/// https, or http to this machine.
fn is_private(api: &str) -> bool {
    let Some(rest) = api.strip_prefix("http://") else {
        return api.starts_with("https://");
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = host.parse::<std::net::IpAddr>();
    !authority.contains('@') && (host == "localhost" || address.is_ok_and(|a| a.is_loopback()))
}

/// An API error with everything that it says.
pub(super) fn explain(error: ClientError) -> anyhow::Error {
    let ClientError::Refused { status, body } = error else {
        return error.into();
    };
    let mut text = format!("{} ({})", shown(&body.message), status.as_u16());
    if let Some(hint) = &body.hint {
        text.push_str(&format!("\nhint: {}", shown(hint)));
    }
    for p in &body.problems {
        text.push_str(&format!(
            "\n{}:{}:{}: {}",
            p.file,
            p.line,
            p.column,
            shown(&p.message)
        ));
        if let Some(help) = &p.help {
            text.push_str(&format!(" ({})", shown(help)));
        }
    }
    anyhow::anyhow!(text)
}

/// Text from elsewhere, safe for a terminal: control characters are shown, never sent.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || c == '\t' {
            out.push(' ');
        } else if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that hide, join or reorder what a terminal shows.
fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x61c | 0x115f | 0x1160 | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0x3164
            | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_believed_later_comes_over_tls_or_from_this_machine() {
        for (api, private) in [
            ("https://weir.example", true),
            ("http://127.0.0.1:8443", true),
            ("http://[::1]:8443/x", true),
            ("http://localhost", true),
            ("http://weir.example", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://127.0.0.1@evil.example", false),
            ("http://localhost:x@evil.example/", false),
            ("http://evil.example/127.0.0.1", false),
            ("HTTP://weir.example", false),
            ("", false),
        ] {
            assert_eq!(is_private(api), private, "{api}");
        }
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_it_shows() {
        for (text, expect) in [
            ("select 1", "select 1"),
            ("a\nb", "a b"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("x\u{202e}y", "x\\u{202e}y"),
            ("dr\u{200b}op\u{2028}", "dr\\u{200b}op\\u{2028}"),
        ] {
            assert_eq!(shown(text), expect);
        }
    }
}
