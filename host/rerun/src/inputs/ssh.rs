//! From the document of an action on an SSH connection back to its facts.

use std::sync::Arc;

use pipeline::{SshCommand, SshFacts, SshKind, SshPath, SshStdin};
use recorder::doc::{SshCommandDoc, SshDoc, SshStdinDoc};

use super::{Unfit, arcs, unknown};

pub(super) fn facts(doc: &SshDoc) -> Result<SshFacts, Unfit> {
    let kind = SshKind::ALL.into_iter().find(|k| k.as_str() == doc.kind);
    Ok(SshFacts {
        kind: kind.ok_or_else(|| unknown("kind of SSH action", &doc.kind))?,
        channel: doc.channel,
        login: doc.login.as_str().into(),
        text: doc.text.as_str().into(),
        parsed: doc.parsed,
        opaque: arcs(&doc.opaque),
        commands: doc.commands.iter().map(command).collect(),
        code: doc.code,
        stdin: doc.stdin.as_ref().map(stdin).transpose()?,
        paths: doc
            .paths
            .iter()
            .map(|p| SshPath {
                path: p.path.as_str().into(),
                writes: p.writes,
            })
            .collect(),
        env: doc
            .env
            .iter()
            .map(|(name, value)| (Arc::from(name.as_str()), Arc::from(value.as_str())))
            .collect(),
        pty: doc.pty,
        only_reads: doc.only_reads,
    })
}

fn command(doc: &SshCommandDoc) -> SshCommand {
    SshCommand {
        argv: arcs(&doc.argv),
        by: arcs(&doc.by),
        dynamic: doc.dynamic,
        as_user: doc.as_user.as_deref().map(Into::into),
    }
}

fn stdin(doc: &SshStdinDoc) -> Result<SshStdin, Unfit> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&doc.sha256, &mut sha256)
        .map_err(|_| unknown("SHA-256 of a standard input", &doc.sha256))?;
    Ok(SshStdin {
        sha256,
        bytes: doc.bytes,
        text: doc.text.as_str().into(),
    })
}
