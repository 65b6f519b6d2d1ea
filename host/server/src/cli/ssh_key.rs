//! `weir ssh key`: public keys of one's own, to come in by without a certificate.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::Subcommand;
use identity::KEY_NAMESPACE;
use ssh_keys::PublicKey;
use weir_client::{
    SshKey, SshKeyChallenge, SshKeyChallengeRequest, SshKeyFilter, SshKeyRemoval, SshKeyRequest,
};

use super::remote::{Listed, Remote, explain, shown};
use super::ssh_challenge::Asked;
use super::ssh_files::SshFiles;

/// Names are shown in lists.
const MAX_NAME: usize = 64;

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Register a public key of your own, or renew it. You sign with it, as ssh-keygen does: by the file beside it,
    /// an agent, or a security key.
    Add {
        #[command(flatten)]
        remote: Remote,
        /// The public key, a file *.pub.
        file: PathBuf,
        /// What you call it; the key's comment otherwise.
        #[arg(long)]
        name: Option<String>,
        /// For how many hours; as long as Weir permits otherwise.
        #[arg(long)]
        hours: Option<u32>,
        /// What Weir calls you, where that is not what your token does. Nothing is signed for anybody else.
        #[arg(long = "as", value_name = "SUBJECT")]
        subject: Option<String>,
        /// The fingerprint (SHA256:…) of the authority that the gateway is known by; what weir login has left otherwise.
        /// Nothing is signed for another one.
        #[arg(long, value_name = "FINGERPRINT")]
        gateway: Option<String>,
    },
    /// List your keys.
    List(Listed),
    /// Make a key of yours count no more, and end the sessions that came in by it.
    Remove {
        #[command(flatten)]
        remote: Remote,
        /// Its fingerprint (SHA256:…), its name, or its file *.pub.
        key: String,
    },
}

pub(super) async fn run(command: KeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeyCommand::Add {
            remote,
            file,
            name,
            hours,
            subject,
            gateway,
        } => {
            let line = read_line(&file)?;
            let key = PublicKey::from_openssh(&line);
            let key = key.with_context(|| format!("{}", file.display()))?;
            remote.demand_tls()?;
            let known = SshFiles::at(None).ok().map(|files| files.known_hosts());
            let asked = Asked::with(&remote.token()?, subject, gateway, known)?;
            let client = remote.client()?;
            let public_key = key.to_openssh("");
            let request = SshKeyChallengeRequest {
                public_key: public_key.clone(),
            };
            let challenge = client.ssh_key_challenge(&request).await.map_err(explain)?;
            asked.check(&challenge, &key)?;
            let request = SshKeyRequest {
                public_key,
                name: name.unwrap_or_else(|| comment(&line, &file)),
                hours,
                signature: sign(&file, &challenge)?,
                challenge: challenge.text,
            };
            let done = client.register_ssh_key(&request).await.map_err(explain)?;
            remote.print(&done, line_of)?;
        }
        KeyCommand::List(of) => {
            let client = of.remote.client()?;
            let page = match of.of_others() {
                true => {
                    let subject = of.subject;
                    client.all_ssh_keys(&SshKeyFilter { subject }).await
                }
                false => client.ssh_keys().await,
            };
            let page = page.map_err(explain)?;
            of.remote
                .print(&page, |page| page.items.iter().for_each(line_of))?;
        }
        KeyCommand::Remove { remote, key } => {
            let client = remote.client()?;
            let mine = client.ssh_keys().await.map_err(explain)?.items;
            let fingerprint = named(&key, &mine)?;
            let request = SshKeyRemoval { fingerprint };
            let done = client.remove_ssh_key(&request).await.map_err(explain)?;
            remote.print(&done, |done| {
                println!(
                    "{} does not count any more; {} session(s) ended",
                    shown(&done.fingerprint),
                    done.sessions_ended
                );
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line_of(key: &SshKey) {
    println!(
        "{}  until {}  {}  of {}",
        shown(&key.fingerprint),
        key.expires_at,
        shown(&key.name),
        shown(&key.subject)
    );
}

/// Which of these is meant?
fn named(text: &str, mine: &[SshKey]) -> anyhow::Result<String> {
    let path = Path::new(text);
    let wanted = match text.starts_with("SHA256:") || !path.is_file() {
        true => text.to_owned(),
        false => PublicKey::from_openssh(&read_line(path)?)
            .with_context(|| text.to_owned())?
            .fingerprint(),
    };
    let of = |key: &&SshKey| key.fingerprint == wanted || key.name == wanted;
    let mut found = mine.iter().filter(of);
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key.fingerprint.clone()),
        (Some(_), Some(_)) => {
            bail!("several of your keys are called {text:?}: give the fingerprint")
        }
        (None, _) => bail!("none of your keys is {text:?}: weir ssh key list shows them"),
    }
}

fn read_line(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("{} cannot be read", file.display()))?;
    if text.contains("PRIVATE KEY") {
        bail!(
            "{0} is a private key, and stays with you: name the public one, {0}.pub",
            file.display()
        );
    }
    Ok(text.trim().to_owned())
}

/// The comment in the key's line, or else the file's name.
fn comment(line: &str, file: &Path) -> String {
    let comment = line.splitn(3, ' ').nth(2).unwrap_or_default().trim();
    let name = file.file_stem().map(|name| name.to_string_lossy());
    let text = match comment.is_empty() {
        true => name.unwrap_or_default().into_owned(),
        false => comment.to_owned(),
    };
    let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(MAX_NAME));
    text
}

/// Whatever holds the key signs: ssh-keygen finds the file beside it, or asks the agent, and for a passphrase or a
/// touch. The server says what is to be signed, which is checked by now (`ssh_challenge`); and whoever signs is shown
/// for whom and where.
fn sign(file: &Path, challenge: &SshKeyChallenge) -> anyhow::Result<String> {
    eprintln!("Signed with {}:", file.display());
    for line in challenge.text.lines() {
        eprintln!("  {}", shown(line));
    }
    let private = file.with_extension("");
    let key = match file.extension().is_some_and(|end| end == "pub") && private.is_file() {
        true => private,
        false => file.to_owned(),
    };
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", KEY_NAMESPACE, "-f"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("ssh-keygen cannot be started; it comes with OpenSSH's client")?;
    // It reads all of its standard input before it writes anything.
    let written = child
        .stdin
        .take()
        .map(|mut pipe| pipe.write_all(challenge.text.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ssh-keygen could not sign with {}", key.display());
    }
    written
        .transpose()
        .context("ssh-keygen did not read what it was to sign")?;
    String::from_utf8(output.stdout).context("ssh-keygen's answer is not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_called_what_its_comment_or_its_file_says() {
        for (line, expect) in [
            ("ssh-ed25519 AAAA alice at work", "alice at work"),
            ("ssh-ed25519 AAAA", "id_x"),
            ("ssh-ed25519 AAAA a\u{7}b", "ab"),
            (
                &format!("ssh-ed25519 AAAA {}é", "x".repeat(63)),
                &"x".repeat(63),
            ),
        ] {
            assert_eq!(comment(line, Path::new("/home/x/.ssh/id_x.pub")), expect);
        }
    }

    #[test]
    fn a_key_is_removed_only_if_it_is_clear_which() {
        let key = |fingerprint: &str, name: &str| SshKey {
            fingerprint: fingerprint.into(),
            public_key: String::new(),
            name: name.into(),
            subject: "alice".into(),
            registered_at: weir_client::Timestamp::from_millis(0),
            expires_at: weir_client::Timestamp::from_millis(1),
        };
        let mine = [
            key("SHA256:a", "laptop"),
            key("SHA256:b", "old"),
            key("SHA256:c", "old"),
        ];
        assert_eq!(named("laptop", &mine).unwrap(), "SHA256:a");
        assert_eq!(named("SHA256:c", &mine).unwrap(), "SHA256:c");
        for none in ["old", "lap", "SHA256:", ""] {
            assert!(named(none, &mine).is_err(), "{none}");
        }
    }

    #[test]
    fn what_ssh_keygen_signs_is_the_text_with_the_key_that_was_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let public = dir.path().join("id.pub");
        let key = PublicKey::from_openssh(&read_line(&public).unwrap()).unwrap();
        let text = "what is to be signed\n";
        let challenge = SshKeyChallenge {
            text: text.into(),
            namespace: KEY_NAMESPACE.into(),
            expires_at: weir_client::Timestamp::from_millis(0),
        };
        let signature = sign(&public, &challenge).unwrap();
        let signer = ssh_keys::signer_of_text(&signature, KEY_NAMESPACE, text.as_bytes());
        assert_eq!(signer.unwrap(), key);
        // The private one is never sent anywhere.
        let error = read_line(&path).unwrap_err().to_string();
        assert!(error.contains("id.pub"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(sign(&public, &challenge).is_err());
    }
}
