//! The relay over real transports: the pipeline's suite with scripted peers, and real programs on both ends.

mod conformance;
mod ends;
mod floods;
mod holds;
mod real;
mod taps;
mod tools;

use std::process::Output;
use std::sync::Arc;

use pipeline::memory::{Memory, MemoryPolicy};
use ssh_keys::PrivateKey;

use crate::testing::ports::Keys;
use crate::testing::sshd::Sshd;
use crate::testing::{Dir, Ssh, Weir, options, target, text};
use crate::{Credential, SshService};

/// `ssh`, a gateway with this relay, and `sshd`.
pub(super) struct Rig {
    pub keys: Arc<Keys>,
    pub memory: Memory,
    pub weir: Weir,
    pub dir: Dir,
    _sshd: Sshd,
}

impl Rig {
    /// None where there is no `sshd`.
    pub async fn start(policy: MemoryPolicy) -> Option<Self> {
        Self::with(policy, |_| {}).await
    }

    pub async fn with(
        policy: MemoryPolicy,
        change: impl FnOnce(&mut crate::Options),
    ) -> Option<Self> {
        let keys = Keys::new();
        let sshd = Sshd::start(&keys).await?;
        let memory = Memory::new(policy);
        // A key that `sshd` lets do everything: what is refused is refused by us.
        let mut to = target("web1", sshd.port, &keys);
        to.credential = Credential::Key(keys.fixed.clone());
        let mut options = options(vec![to], &keys, &memory);
        change(&mut options);
        let weir = Weir::serve(SshService::new(options).unwrap());
        let dir = Dir::new();
        let mine = PrivateKey::generate_ed25519().unwrap();
        keys.registered.lock().push(mine.public().clone());
        dir.write("id", &mine.to_openssh(""));
        Some(Self {
            keys,
            memory,
            weir,
            dir,
            _sshd: sshd,
        })
    }

    pub fn ssh(&self) -> Ssh<'_> {
        Ssh::to(&self.weir, &self.keys, &self.dir)
            .arg("-i")
            .arg(&self.dir.0.join("id").display().to_string())
            .option("BatchMode=yes")
    }

    pub async fn run(&self, command: &str) -> Output {
        self.ssh().run("root+web1", command).await
    }

    /// `ssh` with these arguments in front of the user, for programs that call it.
    pub fn wrapper(&self, more: &[&str]) -> std::path::PathBuf {
        let ssh = self.ssh();
        let command = ssh.command();
        let args = command.as_std().get_args();
        let args: Vec<String> = args
            .map(|a| format!("'{}'", a.to_string_lossy()))
            .chain(more.iter().map(|a| format!("'{a}'")))
            .collect();
        let script = format!("#!/bin/sh\nexec ssh {} \"$@\"\n", args.join(" "));
        self.dir.script("ssh", &script)
    }
}

#[track_caller]
pub(super) fn says(output: &Output, code: i32, stdout: &str) {
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(code), stdout),
        "{}",
        text(&output.stderr)
    );
}
