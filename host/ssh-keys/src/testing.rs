//! For the tests: keys that are always the same, and OpenSSH's own `ssh-keygen` to compare with.

use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::private::PrivateKey;

/// What `ssh-keygen` can make without hardware: its options, and the key's type.
pub(crate) const KINDS: [(&[&str], &str); 5] = [
    (&["-t", "ed25519"], "ssh-ed25519"),
    (&["-t", "ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
    (&["-t", "ecdsa", "-b", "384"], "ecdsa-sha2-nistp384"),
    (&["-t", "ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
    (&["-t", "rsa", "-b", "2048"], "ssh-rsa"),
];

/// An Ed25519 key that is the same each time.
pub(crate) fn fixed(n: u8) -> PrivateKey {
    let section = crate::private::section_of_seed(&[n; 32]).unwrap();
    PrivateKey::from_section(Zeroizing::new(section)).unwrap()
}

/// Runs `ssh-keygen` in a directory and returns what it prints.
pub(crate) fn ssh_keygen(dir: &Path, args: &[&str]) -> Result<String, String> {
    let child = Command::new("ssh-keygen")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen is needed: apt-get install openssh-client");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match child.status.success() {
        true => Ok(text(&child.stdout)),
        false => Err(text(&child.stderr) + &text(&child.stdout)),
    }
}

/// A new key in the file `name`, and its text.
pub(crate) fn generate(dir: &Path, name: &str, options: &[&str]) -> Vec<u8> {
    let mut args = vec!["-q", "-N", "", "-C", "a comment", "-f", name];
    args.extend_from_slice(options);
    ssh_keygen(dir, &args).unwrap();
    std::fs::read(dir.join(name)).unwrap()
}

pub(crate) fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}
