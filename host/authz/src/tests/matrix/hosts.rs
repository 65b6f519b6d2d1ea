//! What the role matrix asks of hosts.

use pipeline::{Action, Resource, SshFacts, SshPath};

type Change = fn(&mut SshFacts);
/// Name, environment, action, resource, and what is special about it.
type Row = (&'static str, &'static str, Action, Resource, Change);

fn account() -> Resource {
    Resource::SshAccount {
        login: "app".into(),
    }
}

fn program(path: &str) -> Resource {
    Resource::SshProgram {
        login: "app".into(),
        name: path.rsplit('/').next().unwrap_or(path).into(),
        path: path.into(),
        known: true,
    }
}

fn file(path: &str) -> Resource {
    Resource::SshFile {
        login: "app".into(),
        path: path.into(),
        known: true,
    }
}

fn variable(name: &str) -> Resource {
    Resource::SshVariable {
        login: "app".into(),
        name: name.into(),
        value: "C.UTF-8".into(),
    }
}

fn endpoint(host: &str, port: u16, loopback: bool) -> Resource {
    Resource::SshEndpoint {
        host: host.into(),
        port,
        loopback,
        own_ssh: false,
    }
}

const PLAIN: Change = |_| {};
const READS: Change = |f| f.only_reads = true;
const OPAQUE: Change = |f| f.parsed = false;
const CODE: Change = |f| f.code = true;
const SHADOW: Change = |f| {
    f.only_reads = true;
    f.paths = vec![SshPath {
        path: "/etc/shadow".into(),
        writes: false,
    }];
};

pub fn actions() -> Vec<Row> {
    use Action as A;
    let ls = || program("ls");
    let service = || program("/usr/bin/systemctl");
    vec![
        ("log in", "prod", A::SshConnect, account(), PLAIN),
        ("a shell", "prod", A::SshShell, account(), PLAIN),
        ("a shell", "staging", A::SshShell, account(), PLAIN),
        ("a gated shell", "prod", A::SshGatedShell, account(), PLAIN),
        ("a terminal", "prod", A::SshPty, account(), PLAIN),
        ("LANG", "prod", A::SshEnv, variable("LANG"), PLAIN),
        ("BASH_ENV", "dev", A::SshEnv, variable("BASH_ENV"), PLAIN),
        ("ls", "prod", A::SshExec, ls(), READS),
        ("cat /etc/shadow", "staging", A::SshExec, ls(), SHADOW),
        ("systemctl restart", "prod", A::SshExec, service(), PLAIN),
        ("systemctl restart", "staging", A::SshExec, service(), PLAIN),
        ("systemctl restart", "dev", A::SshExec, service(), PLAIN),
        ("what is opaque", "staging", A::SshExec, ls(), OPAQUE),
        ("what is opaque", "dev", A::SshExec, ls(), OPAQUE),
        (
            "python3 -c",
            "staging",
            A::SshExec,
            program("python3"),
            CODE,
        ),
        ("sftp: ls /srv", "prod", A::SshSftpList, file("/srv"), PLAIN),
        (
            "sftp: get /srv/x",
            "prod",
            A::SshSftpRead,
            file("/srv/x"),
            PLAIN,
        ),
        (
            "sftp: put /srv/x",
            "prod",
            A::SshSftpWrite,
            file("/srv/x"),
            PLAIN,
        ),
        (
            "sftp: put /srv/x",
            "staging",
            A::SshSftpWrite,
            file("/srv/x"),
            PLAIN,
        ),
        (
            "sftp: put authorized_keys",
            "staging",
            A::SshSftpWrite,
            file("/home/app/.ssh/authorized_keys"),
            PLAIN,
        ),
        (
            "git push",
            "staging",
            A::SshGitWrite,
            file("/srv/x.git"),
            PLAIN,
        ),
        (
            "-L db:5432",
            "dev",
            A::SshForwardLocal,
            endpoint("db", 5432, false),
            PLAIN,
        ),
        (
            "-R 8080",
            "dev",
            A::SshForwardRemote,
            endpoint("localhost", 8080, true),
            PLAIN,
        ),
        (
            "-L localhost:22",
            "dev",
            A::SshForwardLocal,
            endpoint("localhost", 22, true),
            PLAIN,
        ),
        ("-A", "dev", A::SshForwardAgent, account(), PLAIN),
        ("-w", "dev", A::SshTunnel, account(), PLAIN),
        ("secrets in clear", "prod", A::SshReveal, account(), PLAIN),
        ("secrets in clear", "dev", A::SshReveal, account(), PLAIN),
    ]
}
