//! What a server may have signed when somebody registers a key: for whoever asks, at the gateway that they know.
//!
//! Who signs anything else gives the key away: a server that lies passes on what another Weir, or somebody else there,
//! asks to be signed, and whoever uses the key later comes in as that one.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use identity::{Claimed, KEY_NAMESPACE, KeyChallenge};
use ssh_keys::PublicKey;
use weir_client::SshKeyChallenge;

use super::remote::shown;

/// What is read of what `weir login` has left: more than it leaves.
const MAX_KNOWN: u64 = 64 << 10;

/// Who asks, and where.
pub(super) struct Asked {
    claimed: Claimed,
    /// What Weir calls them, if they have said so.
    subject: Option<String>,
    /// By what gateways are known, and who says so; none: nobody has said.
    gateways: Option<(Vec<String>, String)>,
}

impl Asked {
    /// With this token. `known` is what `weir login` leaves, which may not be there.
    pub(super) fn with(
        token: &str,
        subject: Option<String>,
        gateway: Option<String>,
        known: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let claimed = Claimed::of(token.trim());
        let claimed = claimed.context("the token does not say whose it is: it is no JWT")?;
        let gateways = match (gateway, known) {
            (Some(gateway), _) => Some((vec![gateway], "--gateway".to_owned())),
            (None, Some(known)) => read(&known)?.map(|of| (of, known.display().to_string())),
            (None, None) => None,
        };
        Ok(Self {
            claimed,
            subject,
            gateways,
        })
    }

    /// Is this for them, with this key, there, and good for nothing else?
    pub(super) fn check(&self, challenge: &SshKeyChallenge, key: &PublicKey) -> anyhow::Result<()> {
        let says = match challenge.namespace == KEY_NAMESPACE {
            true => KeyChallenge::of(&challenge.text, key),
            false => None,
        };
        let Some(says) = says else {
            bail!(
                "what the server wants signed is not the registration of this key, and was not signed: is the address \
                 in WEIR_API or --api that of Weir?"
            );
        };
        let called = match &self.subject {
            Some(subject) => std::slice::from_ref(subject),
            None => self.claimed.subjects.as_slice(),
        };
        let issuer = &self.claimed.issuer;
        if !called.iter().any(|subject| says.is_for(subject, issuer)) {
            bail!(
                "the server wants the key registered for {}, and it was not signed: by the token you are {} of {issuer:?}. \
                 If that is what Weir calls you, say so: --as SUBJECT. If it is somebody else, the server is not to be trusted",
                shown(says.who),
                shown(&called.join(" or ")),
            );
        }
        if let Some((gateways, by)) = &self.gateways
            && !gateways.iter().any(|known| known == says.gateway)
        {
            bail!(
                "the server wants the key registered at the gateway {}, and it was not signed: by {by} it is {}. If you use \
                 another Weir now, name its gateway with --gateway SHA256:…, which its operators know (ssh-keygen -lf of the \
                 host authority), or log in there first: weir login",
                shown(says.gateway),
                shown(&gateways.join(" or ")),
            );
        }
        Ok(())
    }
}

/// Fingerprints of the authorities in it; none, if there is no such file.
fn read(known: &PathBuf) -> anyhow::Result<Option<Vec<String>>> {
    let file = match File::open(known) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(format!("{} cannot be read", known.display())),
    };
    let mut text = String::new();
    let read = file.take(MAX_KNOWN).read_to_string(&mut text);
    read.with_context(|| format!("{} cannot be read", known.display()))?;
    let authority = |line: &str| {
        let rest = line.strip_prefix("@cert-authority ")?;
        let (_, key) = rest.trim_start().split_once(' ')?;
        Some(PublicKey::from_openssh(key.trim()).ok()?.fingerprint())
    };
    let all: Vec<String> = text.lines().filter_map(authority).collect();
    if all.is_empty() {
        bail!(
            "{} names no authority of a gateway: name it with --gateway SHA256:…, or log in again: weir login",
            known.display()
        );
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use identity::{DEV_ISSUER, DevIssuer, DevToken, SshAuthority, SshAuthorityOptions};
    use pipeline::{Actor, Principal, PrincipalKind};
    use ssh_keys::PrivateKey;

    use super::*;
    use crate::cli::ssh_files::known_hosts;

    /// A server that lies passes on what another one, or somebody else, is to sign.
    #[test]
    fn nothing_is_signed_for_somebody_else_or_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let now = SystemTime::now();
        let dev = DevIssuer::open(&at("dev")).unwrap();
        let token = dev.mint(&DevToken::user("alice", &[]), now).unwrap();
        let open = |name: &str| {
            let options = SshAuthorityOptions::new(at(name));
            SshAuthority::open(&options).unwrap()
        };
        let (here, elsewhere) = (open("here"), open("elsewhere"));
        let key = PrivateKey::generate_ed25519().unwrap().public().clone();
        let asks = |authority: &SshAuthority, subject: &str, issuer: &str| {
            let actor = Actor::new(PrincipalKind::User, subject, &[]);
            let mut who = Principal::direct(actor, issuer, now);
            who.issued_at = Some(now);
            SshKeyChallenge {
                text: authority.key_challenge(&key, &who, now).unwrap(),
                namespace: KEY_NAMESPACE.into(),
                expires_at: now.into(),
            }
        };
        let line = |key: &PublicKey| key.to_openssh("");
        let mut info = crate::cli::ssh_files::tests::authority();
        info.host_ca = line(here.host_ca());
        let left = at("known");
        std::fs::write(&left, known_hosts(&info, &["*".to_owned()]).unwrap()).unwrap();
        let print = || Some(here.host_ca().fingerprint());
        let named = |name: &str| Some(name.to_owned());
        let check = |subject: Option<String>, gateway, known, challenge: &SshKeyChallenge| {
            let asked = Asked::with(&token, subject, gateway, known).unwrap();
            asked.check(challenge, &key).map_err(|e| e.to_string())
        };
        let mine = asks(&here, "alice", DEV_ISSUER);
        assert_eq!(check(None, None, None, &mine), Ok(()));
        assert_eq!(check(None, print(), None, &mine), Ok(()));
        assert_eq!(check(None, None, Some(left.clone()), &mine), Ok(()));
        assert_eq!(check(None, None, Some(at("nothing")), &mine), Ok(()));
        for other in [
            asks(&here, "mallory", DEV_ISSUER),
            asks(&here, "malice", DEV_ISSUER),
            asks(&here, "alice", "https://mallory.example"),
        ] {
            let error = check(None, None, None, &other).unwrap_err();
            assert!(error.contains("was not signed"), "{error}");
            assert!(error.contains("alice") && error.contains("--as"), "{error}");
        }
        // What Weir puts before a name, only its people know.
        let prefixed = asks(&here, "corp:alice", DEV_ISSUER);
        assert!(check(None, None, None, &prefixed).is_err());
        assert_eq!(check(named("corp:alice"), None, None, &prefixed), Ok(()));
        assert!(check(named("corp:alice"), None, None, &mine).is_err());
        let there = asks(&elsewhere, "alice", DEV_ISSUER);
        for (gateway, known) in [(print(), None), (None, Some(left))] {
            let error = check(None, gateway, known, &there).unwrap_err();
            assert!(error.contains("at the gateway SHA256:"), "{error}");
        }
        // Nor for anything else.
        let with = |namespace: &str, text: String| SshKeyChallenge {
            text,
            namespace: namespace.into(),
            expires_at: now.into(),
        };
        let text = mine.text.clone();
        for (namespace, text) in [
            ("git", text.clone()),
            ("file", "tree 0\n".into()),
            (KEY_NAMESPACE, "tree 0\n".into()),
            (KEY_NAMESPACE, text.replace("mine", "yours")),
            (KEY_NAMESPACE, text.replace(&key.fingerprint(), "SHA256:x")),
            (KEY_NAMESPACE, format!("{text}more\n")),
            (KEY_NAMESPACE, text.replace("alice", "al\u{1b}[2Kice")),
        ] {
            let error = check(None, None, None, &with(namespace, text)).unwrap_err();
            assert!(error.contains("was not signed"), "{error}");
        }
        let empty = at("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(Asked::with(&token, None, None, Some(empty)).is_err());
        assert!(Asked::with("weir_st_x", None, None, None).is_err());
    }
}
