//! What a test says about an SSH host.

use std::sync::Arc;

use pipeline::{Action, Resource, SshCommand, SshFacts, SshKind, SshPath, SshStdin};
use serde::Deserialize;

/// Facts about the action. What is left out is what a plain, fully understood one has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ssh {
    kind: Option<String>,
    parsed: Option<bool>,
    #[serde(default)]
    opaque: Vec<String>,
    #[serde(default)]
    code: bool,
    #[serde(default)]
    dynamic: bool,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    has_stdin: bool,
    #[serde(default)]
    stdin_open: bool,
    #[serde(default)]
    only_reads: bool,
    /// Names of what it runs; without any, the program that is asked about.
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    by: Vec<String>,
    as_user: Option<String>,
    #[serde(default)]
    reads: Vec<String>,
    #[serde(default)]
    writes: Vec<String>,
    #[serde(default)]
    variables: Vec<String>,
}

/// What is asked about, on a host. At most one of the names.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OnHost {
    account: bool,
    /// As it is written in the command line.
    program: Option<String>,
    file: Option<String>,
    /// `host:port`
    endpoint: Option<String>,
    variable: Option<String>,
    /// The variable's.
    value: String,
    subsystem: Option<String>,
    loopback: bool,
    own_ssh: bool,
}

impl OnHost {
    pub fn resources(&self, login: &str, known: bool) -> Result<Vec<Resource>, String> {
        let login = || Arc::<str>::from(login);
        let mut found = Vec::new();
        if self.account {
            found.push(Resource::SshAccount { login: login() });
        }
        if let Some(path) = &self.program {
            found.push(Resource::SshProgram {
                login: login(),
                name: path.rsplit('/').next().unwrap_or(path).into(),
                path: path.as_str().into(),
                known,
            });
        }
        if let Some(path) = &self.file {
            found.push(Resource::SshFile {
                login: login(),
                path: path.as_str().into(),
                known,
            });
        }
        if let Some(endpoint) = &self.endpoint {
            let parts = endpoint.rsplit_once(':');
            let (host, port) = parts.ok_or_else(|| format!("{endpoint:?} must be host:port"))?;
            found.push(Resource::SshEndpoint {
                host: host.into(),
                port: port
                    .parse()
                    .map_err(|_| format!("{endpoint:?} must be host:port"))?,
                loopback: self.loopback,
                own_ssh: self.own_ssh,
            });
        }
        if let Some(name) = &self.variable {
            found.push(Resource::SshVariable {
                login: login(),
                name: name.as_str().into(),
                value: self.value.as_str().into(),
            });
        }
        if let Some(name) = &self.subsystem {
            found.push(Resource::SshSubsystem {
                login: login(),
                name: name.as_str().into(),
            });
        }
        Ok(found)
    }
}

impl Ssh {
    pub fn facts(&self, action: Action, login: &str, on: &OnHost) -> Result<SshFacts, String> {
        let kind = match &self.kind {
            Some(name) => SshKind::ALL
                .into_iter()
                .find(|k| k.as_str() == name)
                .ok_or_else(|| format!("there is no kind of SSH action {name:?}"))?,
            None => kind_of(action),
        };
        let arcs = |list: &[String]| list.iter().map(|t| t.as_str().into()).collect();
        let programs = match (&*self.programs, &on.program) {
            ([], Some(program)) => std::slice::from_ref(program),
            (programs, _) => programs,
        };
        let command = |program: &String| SshCommand {
            argv: vec![program.as_str().into()],
            by: arcs(&self.by),
            dynamic: self.dynamic,
            as_user: self.as_user.as_deref().map(Into::into),
        };
        let path = |path: &String, writes| SshPath {
            path: path.as_str().into(),
            writes,
        };
        let reads = self.reads.iter().map(|p| path(p, false));
        let mut facts = SshFacts::plain(kind, login.into(), "policy test".into());
        facts.parsed = self.parsed.unwrap_or(true);
        facts.opaque = arcs(&self.opaque);
        facts.commands = programs.iter().map(command).collect();
        facts.code = self.code;
        facts.pty = self.pty;
        facts.only_reads = self.only_reads;
        facts.stdin_open = self.stdin_open;
        facts.paths = reads
            .chain(self.writes.iter().map(|p| path(p, true)))
            .collect();
        let variables = self.variables.iter();
        facts.env = variables
            .map(|name| (Arc::from(name.as_str()), Arc::from("x")))
            .collect();
        facts.stdin = self.has_stdin.then(|| SshStdin {
            sha256: [0; 32],
            bytes: 0,
            text: "".into(),
        });
        Ok(facts)
    }
}

fn kind_of(action: Action) -> SshKind {
    use Action as A;
    match action {
        A::SshShell | A::SshGatedShell => SshKind::Shell,
        A::SshSubsystem => SshKind::Subsystem,
        A::SshPty => SshKind::Pty,
        A::SshEnv => SshKind::Env,
        A::SshSftpList | A::SshSftpRead | A::SshSftpWrite => SshKind::Sftp,
        A::SshScpRead | A::SshScpWrite => SshKind::Scp,
        A::SshRsyncRead | A::SshRsyncWrite => SshKind::Rsync,
        A::SshGitRead | A::SshGitWrite => SshKind::Git,
        A::SshForwardLocal
        | A::SshForwardRemote
        | A::SshForwardLocalSocket
        | A::SshForwardRemoteSocket => SshKind::Forward,
        A::SshForwardAgent => SshKind::Agent,
        A::SshForwardX11 => SshKind::X11,
        A::SshTunnel => SshKind::Tunnel,
        _ => SshKind::Exec,
    }
}
