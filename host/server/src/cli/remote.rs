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

impl Reach {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let token = match &self.token_file {
            Some(file) => Zeroizing::new(
                std::fs::read_to_string(file)
                    .with_context(|| format!("the token file {} cannot be read", file.display()))?,
            ),
            None => match std::env::var("WEIR_TOKEN") {
                Ok(token) => Zeroizing::new(token),
                Err(_) => bail!("no token: set WEIR_TOKEN or pass --token-file"),
            },
        };
        self.client_with(&token)
    }

    pub(super) fn client_with(&self, token: &str) -> anyhow::Result<Client> {
        Ok(Client::new(&self.api, token.trim())?)
    }

    pub(super) fn has_token_file(&self) -> bool {
        self.token_file.is_some()
    }
}

impl Remote {
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        self.reach.client()
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
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
            | 0xfff9..=0xfffb | 0xe0000..=0xe007f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
