//! How safe an intent has to be before its action is forwarded.

use crate::action::{Access, Action};
use crate::facts::{Facts, SqlFacts};
use crate::permit::Request;
use crate::record::{Approval, Durability};
use crate::ssh::{SshFacts, SshKind};

/// A bundle may be content with less than the disk for what reads and does nothing else. What people have agreed to
/// is never only a read.
pub(super) fn durability<R>(request: &Request<R>, approval: Option<&Approval>) -> Durability {
    match approval {
        None if only_reads(&request.facts, &request.accesses) => {
            request.policy.durability_of_reads()
        }
        _ => Durability::Fsync,
    }
}

fn only_reads(facts: &Facts, accesses: &[Access]) -> bool {
    match facts {
        Facts::Connect { .. } => false,
        Facts::Sql(sql) => sql_reads(sql, accesses),
        Facts::Ssh(ssh) => file_reads(ssh, accesses),
    }
}

/// A call that is asked about, locks, and what runs by name are more than a read.
fn sql_reads(sql: &SqlFacts, accesses: &[Access]) -> bool {
    let harmless = |access: &Access| {
        matches!(
            access.action,
            Action::PostgresSelect | Action::PostgresSession | Action::PostgresCopyOut
        )
    };
    sql.only_reads
        && sql.parsed
        && !sql.writes
        && !sql.locks
        && sql.runs.is_empty()
        && sql.writes_to.is_empty()
        && accesses.iter().all(harmless)
}

/// One request of a file transfer that is under way: a directory, attributes, a file to be read. What starts the
/// transfer is a program, and is not among them.
fn file_reads(ssh: &SshFacts, accesses: &[Access]) -> bool {
    let harmless = |access: &Access| {
        matches!(
            access.action,
            Action::SshSftpList | Action::SshSftpRead | Action::SshScpRead
        )
    };
    matches!(ssh.kind, SshKind::Sftp | SshKind::Scp)
        && ssh.only_reads
        && ssh.parsed
        && ssh.commands.is_empty()
        && ssh.stdin.is_none()
        && !ssh.paths.iter().any(|path| path.writes)
        && accesses.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::action::Resource;
    use crate::ssh::{SshCommand, SshPath};

    #[test]
    fn of_hosts_only_reads_of_a_transfer_may_be_less_than_durable() {
        let access = |action| Access {
            action,
            resource: Resource::SshFile {
                login: "root".into(),
                path: "/srv/x".into(),
                known: true,
            },
            target: None,
        };
        let read = |kind| SshFacts {
            only_reads: true,
            ..SshFacts::plain(kind, "root".into(), "open /srv/x".into())
        };
        let writes = |facts: SshFacts| SshFacts {
            paths: vec![SshPath {
                path: "/srv/x".into(),
                writes: true,
            }],
            ..facts
        };
        let started = |facts: SshFacts| SshFacts {
            commands: vec![SshCommand {
                argv: vec!["sftp-server".into()],
                by: Vec::new(),
                dynamic: false,
                as_user: None,
            }],
            ..facts
        };
        let (list, get, put) = (
            Action::SshSftpList,
            Action::SshSftpRead,
            Action::SshSftpWrite,
        );
        for (facts, actions, expect) in [
            (read(SshKind::Sftp), vec![list], true),
            (read(SshKind::Sftp), vec![list, get], true),
            (read(SshKind::Scp), vec![Action::SshScpRead], true),
            (read(SshKind::Sftp), vec![get, put], false),
            (read(SshKind::Sftp), vec![put], false),
            (read(SshKind::Scp), vec![Action::SshScpWrite], false),
            (writes(read(SshKind::Sftp)), vec![list], false),
            (started(read(SshKind::Sftp)), vec![list], false),
            (started(read(SshKind::Scp)), vec![Action::SshScpRead], false),
            (read(SshKind::Subsystem), vec![list], false),
            (read(SshKind::Exec), vec![Action::SshExec], false),
            (read(SshKind::Exec), vec![list], false),
            (
                SshFacts {
                    only_reads: false,
                    ..read(SshKind::Sftp)
                },
                vec![list],
                false,
            ),
            (
                SshFacts {
                    parsed: false,
                    ..read(SshKind::Sftp)
                },
                vec![list],
                false,
            ),
        ] {
            let text = format!("{facts:?} {actions:?}");
            let accesses: Vec<Access> = actions.into_iter().map(access).collect();
            let is = only_reads(&Facts::Ssh(Arc::new(facts)), &accesses);
            assert_eq!(is, expect, "{text}");
        }
    }
}
