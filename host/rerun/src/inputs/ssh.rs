//! From the document of an action on an SSH connection back to its facts.

use std::sync::Arc;

use pipeline::{SshCommand, SshFacts, SshHazard, SshKind, SshPath, SshStdin};
use recorder::doc::{SshCommandDoc, SshDoc, SshHazardDoc, SshStdinDoc};

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
        opaque_codes: arcs(&doc.opaque_codes),
        commands: doc.commands.iter().map(command).collect(),
        hazards: doc.hazards.iter().map(hazard).collect(),
        code: doc.code,
        stdin: doc.stdin.as_ref().map(stdin).transpose()?,
        stdin_open: doc.stdin_open,
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

fn hazard(doc: &SshHazardDoc) -> SshHazard {
    SshHazard {
        code: doc.code.as_str().into(),
        program: doc.program.as_str().into(),
        why: doc.why.as_str().into(),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(more: Value) -> Result<SshFacts, Unfit> {
        let mut doc = json!({
            "kind": "exec", "login": "app", "text": "ls", "parsed": true,
        });
        for (name, value) in more.as_object().unwrap() {
            doc[name] = value.clone();
        }
        facts(&serde_json::from_value(doc).unwrap())
    }

    /// What is not on record was not there; what this Weir does not know is not guessed.
    #[test]
    fn documents_are_facts_or_an_error() {
        let plain = read(json!({})).unwrap();
        let expect = SshFacts::plain(SshKind::Exec, "app".into(), "ls".into());
        assert_eq!(plain, expect);
        let judged = read(json!({
            "opaque": ["text from elsewhere"], "opaque_codes": ["fed"],
            "hazards": [{ "code": "network", "program": "nc", "why": "evil" }],
        }));
        let judged = judged.unwrap();
        assert_eq!(judged.opaque_codes, [Arc::<str>::from("fed")]);
        let hazard = SshHazard {
            code: "network".into(),
            program: "nc".into(),
            why: "evil".into(),
        };
        assert_eq!(judged.hazards, [hazard]);
        let stdin = |sha256: &str| json!({ "stdin": { "sha256": sha256, "bytes": 1, "text": "" } });
        assert!(read(stdin(&"ab".repeat(32))).is_ok());
        for (more, what) in [
            (json!({ "kind": "exek" }), "kind of SSH action \"exek\""),
            (stdin("abc"), "SHA-256"),
            (stdin(&"ab".repeat(33)), "SHA-256"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
