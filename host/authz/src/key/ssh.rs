//! What a decision about an SSH host can depend on.

use pipeline::{Resource, SshFacts};

use crate::cache::Key;
use crate::reads::Reads;

/// Everything that `build` puts into the context. The text, and what comes on standard input, no policy sees.
pub(super) fn facts(key: &mut Key, ssh: &SshFacts, reads: Reads) {
    key.byte(ssh.kind as u8);
    let is_dynamic = ssh.commands.iter().any(|c| c.dynamic);
    for flag in [
        ssh.parsed,
        ssh.code,
        ssh.pty,
        ssh.only_reads,
        ssh.stdin.is_some(),
        is_dynamic,
    ] {
        key.flag(flag);
    }
    if !reads.has(Reads::LINES) {
        return;
    }
    key.texts(ssh.opaque.iter().map(|why| &**why));
    key.number(ssh.commands.len());
    for command in &ssh.commands {
        key.flag(command.argv.is_empty());
        key.text(command.argv.first().map_or("", |program| program));
        key.texts(command.by.iter().map(|by| &**by));
        key.flag(command.as_user.is_some());
        key.text(command.as_user.as_deref().unwrap_or_default());
    }
    key.number(ssh.paths.len());
    for path in &ssh.paths {
        key.flag(path.writes);
        key.text(&path.path);
    }
    key.texts(ssh.env.iter().map(|(name, _)| &**name));
}

/// What is on a host. The numbers go on where those of the other resources end.
pub(super) fn resource(key: &mut Key, resource: &Resource) {
    match resource {
        Resource::SshAccount { login } => {
            key.byte(11);
            key.text(login);
        }
        Resource::SshProgram {
            login,
            name,
            path,
            known,
        } => {
            key.byte(12);
            for name in [login, name, path] {
                key.text(name);
            }
            key.flag(*known);
        }
        Resource::SshFile { login, path, known } => {
            key.byte(13);
            key.text(login);
            key.text(path);
            key.flag(*known);
        }
        Resource::SshEndpoint {
            host,
            port,
            loopback,
            own_ssh,
        } => {
            key.byte(14);
            key.text(host);
            key.number(usize::from(*port));
            key.flag(*loopback);
            key.flag(*own_ssh);
        }
        Resource::SshVariable { login, name, value } => {
            key.byte(15);
            key.text(login);
            key.text(name);
            key.text(value);
        }
        Resource::SshSubsystem { login, name } => {
            key.byte(16);
            key.text(login);
            key.text(name);
        }
        // Not on a host: `super` has them all by itself.
        _ => key.byte(u8::MAX),
    }
}
