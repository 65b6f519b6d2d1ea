//! What an action on an SSH connection was, as its document.

use pipeline::{SshCommand, SshFacts, SshHazard, SshPath, SshStdin};

use super::{hex_of, strings};
use crate::doc::{SshCommandDoc, SshDoc, SshHazardDoc, SshPathDoc, SshStdinDoc};

pub(super) fn facts(s: &SshFacts) -> SshDoc {
    SshDoc {
        kind: s.kind.as_str().to_owned(),
        channel: s.channel,
        login: s.login.to_string(),
        text: s.text.to_string(),
        parsed: s.parsed,
        opaque: strings(&s.opaque),
        opaque_codes: strings(&s.opaque_codes),
        commands: s.commands.iter().map(command).collect(),
        hazards: s.hazards.iter().map(hazard).collect(),
        code: s.code,
        stdin: s.stdin.as_ref().map(stdin),
        stdin_open: s.stdin_open,
        paths: s.paths.iter().map(path).collect(),
        env: s
            .env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        pty: s.pty,
        only_reads: s.only_reads,
    }
}

fn command(c: &SshCommand) -> SshCommandDoc {
    SshCommandDoc {
        argv: strings(&c.argv),
        by: strings(&c.by),
        dynamic: c.dynamic,
        as_user: c.as_user.as_deref().map(str::to_owned),
    }
}

fn hazard(h: &SshHazard) -> SshHazardDoc {
    SshHazardDoc {
        code: h.code.to_string(),
        program: h.program.to_string(),
        why: h.why.to_string(),
    }
}

fn path(p: &SshPath) -> SshPathDoc {
    SshPathDoc {
        path: p.path.to_string(),
        writes: p.writes,
    }
}

fn stdin(s: &SshStdin) -> SshStdinDoc {
    SshStdinDoc {
        sha256: hex_of(&s.sha256),
        bytes: s.bytes,
        text: s.text.to_string(),
    }
}
