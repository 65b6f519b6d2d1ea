//! What `weir login` leaves: a key of one's own, its certificate, and what the gateway is known by.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ssh_keys::{Certificate, MAX_PRIVATE_BYTES, PrivateKey, PublicKey};
use weir_client::SshAuthorityInfo;
use zeroize::Zeroizing;

/// What is read of a file that is there: more than `weir login` leaves in any.
const MAX_FILE: u64 = 64 << 10;

/// The files, all named after the key's.
#[derive(Debug, Clone)]
pub(super) struct SshFiles {
    pub(super) key: PathBuf,
}

impl SshFiles {
    /// At `key`, or at `~/.ssh/weir`.
    pub(super) fn at(key: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(key) = key {
            demand_expanded(&key, "--key")?;
            if is_openssh_default(&key) {
                bail!(
                    "{} is one of the keys that ssh offers to every host, and its certificate is somebody else's; name another file with --key",
                    key.display()
                );
            }
            // It goes into files of ssh, which is started in any directory.
            let key = std::path::absolute(&key)
                .with_context(|| format!("where --key {} is", key.display()))?;
            return Ok(Self { key });
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.context("HOME is not set: say where the key is to be with --key")?;
        Ok(Self {
            key: PathBuf::from(home).join(".ssh").join("weir"),
        })
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.key.as_os_str().to_owned();
        name.push(end);
        name.into()
    }

    fn public_key(&self) -> PathBuf {
        self.beside(".pub")
    }

    /// Where OpenSSH looks for it by itself.
    pub(super) fn certificate(&self) -> PathBuf {
        self.beside("-cert.pub")
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.beside("_known_hosts")
    }

    /// The key that is there, or a new one.
    pub(super) fn private_key(&self) -> anyhow::Result<PrivateKey> {
        match OpenOptions::new().read(true).open(&self.key) {
            Ok(file) => return read_key(&self.key, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.demand_alone()?,
            Err(error) => {
                return Err(error).context(format!("{} cannot be read", self.key.display()));
            }
        }
        if let Some(dir) = self.key.parent().filter(|d| !d.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.with_context(|| format!("{} cannot be made", dir.display()))?;
        }
        let key = PrivateKey::generate_ed25519()?;
        write_new(&self.key, key.to_openssh("weir").as_bytes())?;
        let line = format!("{}\n", key.public().to_openssh("weir"));
        write_new(&self.public_key(), line.as_bytes())?;
        Ok(key)
    }

    /// Before a key is made, nothing of another one is there: its private half may be in an agent or on a token, and
    /// files of ssh name the public one.
    fn demand_alone(&self) -> anyhow::Result<()> {
        for path in [self.public_key(), self.certificate(), self.known_hosts()] {
            match path.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).context(format!("{} cannot be looked at", path.display()));
                }
                Ok(_) => bail!(
                    "{0} is there without its private key {1}, and is left as it is; name another key with --key, or \
                     remove {0} if nothing uses it",
                    path.display(),
                    self.key.display()
                ),
            }
        }
        Ok(())
    }

    /// A certificate that is there goes only if the authority that signs the new one has signed it.
    fn may_replace(&self, authority: &PublicKey) -> anyhow::Result<()> {
        let path = self.certificate();
        let Some(text) = text_of(&path)? else {
            return Ok(());
        };
        let ours = Certificate::from_openssh(text.trim()).is_ok_and(|old| old.ca() == authority);
        if !ours {
            bail!(
                "{0} is not of the authority of this Weir, and is left as it is; remove it, or name another key with --key",
                path.display()
            );
        }
        Ok(())
    }

    /// What hosts are known by goes only if it is no more than `weir login` leaves, of whatever Weir.
    fn may_replace_known(&self) -> anyhow::Result<()> {
        let path = self.known_hosts();
        let Some(text) = text_of(&path)? else {
            return Ok(());
        };
        let ours = |line: &str| line.starts_with("@cert-authority * ") || line.starts_with("* ");
        if text.lines().count() > 2 || !text.lines().all(ours) {
            bail!(
                "{0} was not written by weir login, and is left as it is; remove it, or name another key with --key",
                path.display()
            );
        }
        Ok(())
    }

    /// Keeps a certificate of this key, and what the gateway is known by.
    pub(super) fn keep(
        &self,
        key: &PublicKey,
        certificate: &str,
        authority: &SshAuthorityInfo,
    ) -> anyhow::Result<Certificate> {
        let certificate = Certificate::from_openssh(certificate).context("Weir's answer")?;
        if certificate.key() != key {
            bail!("Weir answered with a certificate of another key; nothing was kept");
        }
        let known = known_hosts(authority, &["*".to_owned()]).context("Weir's answer")?;
        self.may_replace(certificate.ca())?;
        self.may_replace_known()?;
        let line = format!("{}\n", certificate.to_openssh("weir"));
        replace(&self.certificate(), line.as_bytes())?;
        replace(&self.known_hosts(), known.as_bytes())?;
        Ok(certificate)
    }
}

/// `~` is the shell's to read, and bash reads none behind a `=`. A directory of that name is made and used by nobody.
pub(super) fn demand_expanded(path: &Path, option: &str) -> anyhow::Result<()> {
    let first = path.components().next();
    if first.is_some_and(|first| first.as_os_str().as_encoded_bytes().starts_with(b"~")) {
        bail!(
            "the shell has left the ~ of {0} as it is: write {option} ~/… with a space and without quotes, or ./{0} if \
             that is its name",
            path.display()
        );
    }
    Ok(())
}

/// A key that `ssh` takes by itself (`IdentityFile` of ssh_config(5)), in a directory where it looks for it.
fn is_openssh_default(key: &Path) -> bool {
    let name = key.file_name().and_then(|name| name.to_str());
    let kind = name.and_then(|name| name.strip_prefix("id_"));
    let kind = kind.map(|kind| kind.strip_suffix("_sk").unwrap_or(kind));
    matches!(
        kind,
        Some("rsa" | "dsa" | "ecdsa" | "ed25519" | "xmss" | "mldsa44_ed25519")
    )
}

/// The gateway's authority, and its key for where it shows no certificate. Read and written anew: a line of an
/// answer is not copied into a file that ssh believes.
pub(super) fn known_hosts(
    authority: &SshAuthorityInfo,
    names: &[String],
) -> anyhow::Result<String> {
    let line = |text: &str| PublicKey::from_openssh(text).map(|key| key.to_openssh(""));
    let (ca, key) = (line(&authority.host_ca)?, line(&authority.host_key)?);
    let names = names.join(",");
    Ok(format!("@cert-authority {names} {ca}\n{names} {key}\n"))
}

/// Of a small file that may be there.
fn text_of(path: &Path) -> anyhow::Result<Option<String>> {
    let what = || format!("{} cannot be read", path.display());
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(what),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn read_key(path: &Path, file: fs::File) -> anyhow::Result<PrivateKey> {
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "{0} is readable by others; run: chmod 600 {0}",
            path.display()
        );
    }
    let most = u64::try_from(MAX_PRIVATE_BYTES).unwrap_or(u64::MAX);
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_PRIVATE_BYTES + 1));
    file.take(most + 1).read_to_end(&mut text)?;
    PrivateKey::from_openssh(&text)
        .with_context(|| format!("{}: choose another file with --key", path.display()))
}

/// A file that was not there, for nobody else to read.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = draft(path, bytes)?;
    // A link appears whole or not at all, and never replaces what is there.
    let placed = fs::hard_link(&draft, path);
    fs::remove_file(&draft).ok();
    placed.with_context(|| format!("{} cannot be written", path.display()))
}

/// A file in place of what was there, whole or not at all, for nobody else to read. A link that is there goes itself.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let draft = draft(path, bytes)?;
    let placed = fs::rename(&draft, path);
    if placed.is_err() {
        fs::remove_file(&draft).ok();
    }
    placed.with_context(|| format!("{} cannot be written", path.display()))
}

/// Hidden: no pattern of an `Include` takes it for a file of its own.
fn draft(path: &Path, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let name = path.file_name();
    let name = name.with_context(|| format!("{path:?} names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    // Nobody else's, and none that stayed: in a container, each process may be the first one.
    hidden.push(format!(".{}.tmp", uuid::Uuid::now_v7().simple()));
    let draft = path.with_file_name(hidden);
    let what = || format!("{} cannot be written", draft.display());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&draft).with_context(what)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(&draft).ok();
    }
    written.with_context(what)?;
    Ok(draft)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn authority() -> SshAuthorityInfo {
        let line = || {
            let key = PrivateKey::generate_ed25519().unwrap();
            key.public().to_openssh("x")
        };
        SshAuthorityInfo {
            host_ca: line(),
            host_key: line(),
            target_ca: line(),
            host_names: vec!["gw.example".into()],
        }
    }

    #[test]
    fn a_key_is_made_once_for_nobody_else_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let files = SshFiles::at(Some(dir.path().join("new").join("weir"))).unwrap();
        let key = files.private_key().unwrap();
        let again = files.private_key().unwrap();
        assert_eq!(key.public(), again.public());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&files.key), 0o600);
        assert_eq!(mode(files.key.parent().unwrap()), 0o700);
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = files.private_key().unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&files.key, "somebody's notes").unwrap();
        assert!(files.private_key().is_err());
        assert_eq!(fs::read_to_string(&files.key).unwrap(), "somebody's notes");
    }

    #[test]
    fn what_is_of_another_key_is_left_as_it_is() {
        for end in [".pub", "-cert.pub", "_known_hosts"] {
            for link in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let files = SshFiles::at(Some(dir.path().join("work"))).unwrap();
                let theirs = files.beside(end);
                match link {
                    true => std::os::unix::fs::symlink("/nowhere", &theirs).unwrap(),
                    false => fs::write(&theirs, "of somebody's token").unwrap(),
                }
                let error = files.private_key().unwrap_err().to_string();
                let named = error.starts_with(&theirs.display().to_string());
                assert!(named && error.contains("--key"), "{error}");
                assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{end}");
                match link {
                    true => assert!(theirs.is_symlink()),
                    false => assert_eq!(fs::read(&theirs).unwrap(), b"of somebody's token"),
                }
            }
        }
    }

    #[test]
    fn a_home_that_no_shell_has_read_is_no_directory_of_that_name() {
        for path in ["~/.ssh/weir", "~", "~alice/weir"] {
            let error = SshFiles::at(Some(path.into())).unwrap_err().to_string();
            assert!(error.contains("write --key ~/"), "{path}: {error}");
        }
        for path in ["./~/weir", "/x/~/weir", "weir~"] {
            SshFiles::at(Some(path.into())).unwrap();
        }
    }

    /// Two at once, and what one left that was ended: all have the same process here, as two containers do.
    #[test]
    fn no_draft_is_in_the_way_of_another_and_none_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir_config");
        let stale = draft(&path, b"stale").unwrap();
        assert!(
            stale
                .file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b".weir_config.")
        );
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A name that leaves room for no draft, and one that something else has.
        let dir = tempfile::tempdir().unwrap();
        assert!(replace(&dir.path().join("x".repeat(250)), b"new").is_err());
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"new").is_err() && write_new(&taken, b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_keys_of_ssh_itself_are_left_alone() {
        for name in [
            "id_rsa",
            "id_dsa",
            "id_ecdsa",
            "id_ecdsa_sk",
            "id_ed25519",
            "id_ed25519_sk",
        ] {
            let key = PathBuf::from("/home/x/.ssh").join(name);
            let error = SshFiles::at(Some(key)).unwrap_err().to_string();
            assert!(error.contains("--key"), "{name}: {error}");
        }
        for name in ["weir", "id_weir", "id_ed25519_weir", "my_id_rsa"] {
            SshFiles::at(Some(PathBuf::from("/x").join(name))).unwrap();
        }
    }

    #[test]
    fn only_a_certificate_of_the_own_key_is_kept_and_only_keys_are_believed() {
        let dir = tempfile::tempdir().unwrap();
        let files = SshFiles::at(Some(dir.path().join("weir"))).unwrap();
        let key = files.private_key().unwrap();
        let ca = PrivateKey::generate_ed25519().unwrap();
        let sign_by = |public: &PublicKey, ca: &PrivateKey| {
            let spec = ssh_keys::CertificateSpec {
                key: public.clone(),
                kind: ssh_keys::CertificateKind::User,
                serial: 1,
                key_id: "id".into(),
                principals: vec!["weir:caller".into()],
                valid_after: 1,
                valid_before: 2,
                critical: ssh_keys::Options::new(),
                extensions: ssh_keys::Options::new(),
            };
            spec.sign(ca).unwrap().to_openssh("")
        };
        let sign = |public: &PublicKey| sign_by(public, &ca);
        let good = sign(key.public());
        let other = sign(PrivateKey::generate_ed25519().unwrap().public());
        for bad in [other.as_str(), "", "ssh-ed25519 AAAA"] {
            assert!(files.keep(key.public(), bad, &authority()).is_err());
        }
        let mut lying = authority();
        lying.host_ca = format!("{}\n* ssh-ed25519 AAAA", lying.host_ca);
        assert!(files.keep(key.public(), &good, &lying).is_err());
        assert!(!files.certificate().exists() && !files.known_hosts().exists());

        let authority = authority();
        files.keep(key.public(), &good, &authority).unwrap();
        assert_eq!(
            fs::read_to_string(files.certificate()).unwrap(),
            format!("{good} weir\n")
        );
        let known = fs::read_to_string(files.known_hosts()).unwrap();
        assert_eq!(known.lines().count(), 2);
        assert!(
            known.starts_with("@cert-authority * ssh-ed25519 "),
            "{known}"
        );
        // Again, and by nobody else.
        files.keep(key.public(), &good, &authority).unwrap();
        let stranger = PrivateKey::generate_ed25519().unwrap();
        let foreign = sign_by(key.public(), &stranger);
        for there in [foreign.as_str(), "", "somebody's notes"] {
            fs::write(files.certificate(), there).unwrap();
            let error = files.keep(key.public(), &good, &authority).unwrap_err();
            assert!(error.to_string().contains("left as it is"), "{error:#}");
            assert_eq!(fs::read_to_string(files.certificate()).unwrap(), there);
        }
        // Nor what they know hosts by, whatever certificate there is.
        fs::write(files.certificate(), &good).unwrap();
        let known = |text: &str| {
            fs::write(files.known_hosts(), text).unwrap();
            let kept = files.keep(key.public(), &good, &authority);
            (
                kept.is_ok(),
                fs::read_to_string(files.known_hosts()).unwrap() == text,
            )
        };
        let line = &authority.host_key;
        for theirs in [
            format!("web1 {line}\n"),
            format!("@cert-authority *.corp {line}\n"),
            format!("@revoked * {line}\n"),
            format!("* {line}\n* {line}\n* {line}\n"),
            "somebody's notes".to_owned(),
        ] {
            assert_eq!(known(&theirs), (false, true), "{theirs}");
        }
        for ours in [format!("@cert-authority * {line}\n"), String::new()] {
            assert_eq!(known(&ours), (true, false), "{ours}");
        }
        // Nothing is left beside them.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
