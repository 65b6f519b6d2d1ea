//! The real client through the service to a real server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pipeline::memory::{Entry, Memory, MemoryPolicy};
use pipeline::{Action, EndReason};
use ssh_keys::{CertificateKind, Network, Options, PrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::config::{ClientLogin, Credential, HostTrust, SshTarget};
use crate::leg::Leg;
use crate::testing::ports::{Keys, PRINCIPAL, TOKEN};
use crate::testing::sshd::{Sshd, free_port};
use crate::testing::{Dir, Ssh, Weir, finished, options, target, text};
use crate::transport::{ClientConfig, Event, Transport};
use crate::wire::{Put, numbers as n};

mod devices;
mod jumps;
mod logins;
mod targets;

/// A host, a gateway in front of it, and somebody with a directory.
struct World {
    keys: Arc<Keys>,
    memory: Memory,
    weir: Weir,
    dir: Dir,
    _sshd: Sshd,
}

impl World {
    async fn new() -> Option<Self> {
        Self::with(MemoryPolicy::permit_all(), |_, _| {}).await
    }

    async fn with(
        policy: MemoryPolicy,
        change: impl FnOnce(&mut crate::Options, &Keys),
    ) -> Option<Self> {
        let keys = Keys::new();
        let sshd = Sshd::start(&keys).await?;
        let memory = Memory::new(policy);
        let mut options = options(vec![target("web1", sshd.port, &keys)], &keys, &memory);
        change(&mut options, &keys);
        Some(Self {
            weir: Weir::start(options),
            keys,
            memory,
            dir: Dir::new(),
            _sshd: sshd,
        })
    }

    fn ssh(&self) -> Ssh<'_> {
        Ssh::to(&self.weir, &self.keys, &self.dir)
    }

    /// A client with a new certificate.
    fn certified(&self) -> Ssh<'_> {
        let mine = PrivateKey::generate_ed25519().unwrap();
        let certificate = self.keys.user_certificate(mine.public()).to_openssh("");
        self.with_certificate(&mine, &certificate)
    }

    fn with_certificate(&self, key: &PrivateKey, certificate: &str) -> Ssh<'_> {
        let path = self.dir.write("id", &key.to_openssh(""));
        self.dir.write("id-cert.pub", certificate);
        self.ssh()
            .arg("-i")
            .arg(&path.display().to_string())
            .option("IdentitiesOnly=yes")
            .option("BatchMode=yes")
    }
}

fn ended(memory: &Memory) -> Vec<EndReason> {
    let entries = memory.journal.entries();
    let ends = entries.into_iter().filter_map(|e| match e {
        Entry::End(end) => Some(end.reason),
        _ => None,
    });
    ends.collect()
}
