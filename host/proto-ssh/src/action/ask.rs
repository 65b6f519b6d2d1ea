//! Facts, accesses and the exact bytes of what a client asks for.

use std::sync::Arc;

use pipeline::{Access, Action, Resource, SshFacts, SshKind, SshPath};

use super::exec::exec;
use super::host::Host;
use super::text::readable;
use super::{Asked, Sent, What};
use crate::terms::Place;
use crate::wire::{Put, Reader};

/// What a decision needs.
#[derive(Debug)]
pub(crate) struct Parts {
    pub facts: SshFacts,
    pub accesses: Vec<Access>,
    /// Everything that changes the meaning. An approval is bound to it.
    pub canonical: Vec<u8>,
}

/// An error is a refusal, in words for the client.
pub(crate) fn parts(asked: &Asked, place: &Place) -> Result<Parts, String> {
    let (mut facts, asks) = read(asked, place)?;
    facts.channel = asked.channel;
    facts.pty = asked.before.pty.is_some();
    if facts.pty
        && let What::Exec { line, .. } = &asked.what
    {
        line.at_a_terminal(&mut facts);
    }
    let text = |bytes: &[u8]| Arc::<str>::from(readable(bytes));
    let env = asked.before.env.iter();
    facts.env = env.map(|(name, value)| (text(name), text(value))).collect();
    if let What::Exec { line, .. } = &asked.what
        && let Sent::Verdict(place) = &line.sent
        && let Some(directory) = &place.directory
    {
        facts.env.push(("PWD".into(), text(directory.as_bytes())));
    }
    let accesses = asks.into_iter().map(|(action, resource)| Access {
        action,
        resource,
        target: Some(place.target.clone()),
    });
    Ok(Parts {
        facts,
        accesses: accesses.collect(),
        canonical: canonical(asked),
    })
}

type Asks = Vec<(Action, Resource)>;

fn read(asked: &Asked, place: &Place) -> Result<(SshFacts, Asks), String> {
    let login = &place.login;
    let plain = |kind, text: String| SshFacts::plain(kind, login.clone(), text.into());
    let account = || Resource::SshAccount {
        login: login.clone(),
    };
    Ok(match &asked.what {
        What::Exec { command, line } => exec(command, line, login),
        What::Shell { gated: true } => (
            SshFacts::plain(SshKind::Shell, login.clone(), "".into()),
            vec![(Action::SshGatedShell, account())],
        ),
        What::Shell { gated: false } => (
            SshFacts::opaque(
                SshKind::Shell,
                login.clone(),
                "".into(),
                "what is typed is not known before",
            ),
            vec![(Action::SshShell, account())],
        ),
        What::Subsystem { name } if &**name == b"sftp" => (
            SshFacts {
                only_reads: true,
                ..plain(SshKind::Subsystem, "sftp".into())
            },
            // Where it starts is known: what else it opens is asked about by its path.
            vec![(
                Action::SshSftpList,
                Resource::SshFile {
                    login: login.clone(),
                    path: ".".into(),
                    known: true,
                },
            )],
        ),
        What::Subsystem { name } => {
            let name = readable(name);
            let facts = SshFacts::opaque(
                SshKind::Subsystem,
                login.clone(),
                name.as_str().into(),
                "what the subsystem does is not known",
            );
            let resource = Resource::SshSubsystem {
                login: login.clone(),
                name: name.into(),
            };
            (facts, vec![(Action::SshSubsystem, resource)])
        }
        What::Env { name, value } => {
            let (name, value) = (readable(name), readable(value));
            let resource = Resource::SshVariable {
                login: login.clone(),
                name: name.as_str().into(),
                value: value.as_str().into(),
            };
            let facts = plain(SshKind::Env, format!("{name}={value}"));
            (facts, vec![(Action::SshEnv, resource)])
        }
        What::Pty { term, whole } => (
            plain(SshKind::Pty, terminal(term, whole)),
            vec![(Action::SshPty, account())],
        ),
        What::Agent => (
            plain(SshKind::Agent, "agent".into()),
            vec![(Action::SshForwardAgent, account())],
        ),
        What::X11 => (
            plain(SshKind::X11, "x11".into()),
            vec![(Action::SshForwardX11, account())],
        ),
        What::Tunnel { mode, unit } => (
            plain(SshKind::Tunnel, format!("tunnel mode {mode} unit {unit}")),
            vec![(Action::SshTunnel, account())],
        ),
        What::DirectTcp { .. }
        | What::DirectSocket { .. }
        | What::ListenTcp { .. }
        | What::ListenSocket { .. } => forward(&asked.what, place)?,
        What::File(request) => {
            let channel = asked.channel.unwrap_or_default();
            (request.facts(login, channel), request.accesses(login))
        }
    })
}

/// `xterm 80x24`, as far as it can be read.
fn terminal(term: &[u8], whole: &[u8]) -> String {
    let mut r = Reader::new(whole);
    let size = (r.string(), r.u32(), r.u32());
    match size {
        (Ok(_), Ok(columns), Ok(rows)) => format!("{} {columns}x{rows}", readable(term)),
        _ => readable(term),
    }
}

/// A connection through the host, or a listener on it.
fn forward(what: &What, place: &Place) -> Result<(SshFacts, Asks), String> {
    let login = &place.login;
    let plain = |text: String| SshFacts::plain(SshKind::Forward, login.clone(), text.into());
    let socket = |verb: &str, path: &[u8], action| {
        let path = readable(path);
        let facts = touching(plain(format!("{verb} {path}")), &path);
        (facts, vec![(action, file(&path, login))])
    };
    Ok(match what {
        What::DirectTcp { host, port } => {
            let (text, resource) = endpoint((host, *port), place, Host::may_be_itself)?;
            let facts = plain(format!("connect to {text}"));
            (facts, vec![(Action::SshForwardLocal, resource)])
        }
        What::ListenTcp { host, port } => {
            let (text, resource) = endpoint((host, *port), place, Host::is_itself)?;
            let facts = plain(format!("listen on {text}"));
            (facts, vec![(Action::SshForwardRemote, resource)])
        }
        What::DirectSocket { path } => socket("connect to", path, Action::SshForwardLocalSocket),
        What::ListenSocket { path } => socket("listen on", path, Action::SshForwardRemoteSocket),
        _ => return Err("this is no forwarding".into()),
    })
}

fn file(path: &str, login: &Arc<str>) -> Resource {
    Resource::SshFile {
        login: login.clone(),
        path: path.into(),
        known: path.starts_with('/') && !path.split('/').any(|part| matches!(part, "." | "..")),
    }
}

fn touching(facts: SshFacts, path: &str) -> SshFacts {
    SshFacts {
        paths: vec![SshPath {
            path: path.into(),
            writes: true,
        }],
        ..facts
    }
}

fn endpoint(
    (host, port): (&[u8], u32),
    place: &Place,
    loopback: impl Fn(&Host) -> bool,
) -> Result<(String, Resource), String> {
    let port = u16::try_from(port).map_err(|_| format!("there is no port {port}"))?;
    let host = Host::read(&readable(host));
    let resource = Resource::SshEndpoint {
        loopback: loopback(&host),
        host: host.text.as_str().into(),
        port,
        own_ssh: place.ports.contains(&port),
    };
    Ok((format!("{}:{port}", host.text), resource))
}

/// Every part with its length, so that no two requests are written alike. The channel's numbers are not in it:
/// they change nothing.
fn canonical(asked: &Asked) -> Vec<u8> {
    let mut out = Vec::new();
    match &asked.what {
        What::Exec { command, line } => {
            out.string(b"exec").string(command);
            match &line.sent {
                Sent::Pinned(sent) => {
                    out.string(b"as").string(sent);
                }
                // What it does hangs on where it stands.
                Sent::Verdict(place) => {
                    let directory = place.directory.as_deref().unwrap_or_default();
                    out.string(b"in").string(directory.as_bytes());
                    for file in &place.open {
                        out.string(b"with").string(file.as_bytes());
                    }
                }
                Sent::AsItCame | Sent::Unpinned => {}
            }
            match &line.script {
                Some(script) => out.string(b"stdin").string(&script.sha256),
                None => &mut out,
            }
        }
        What::Shell { gated: false } => out.string(b"shell"),
        What::Shell { gated: true } => out.string(b"gated-shell"),
        What::Subsystem { name } => out.string(b"subsystem").string(name),
        What::Env { name, value } => out.string(b"env").string(name).string(value),
        What::Pty { whole, .. } => out.string(b"pty-req").string(whole),
        What::Agent => out.string(b"agent"),
        What::X11 => out.string(b"x11"),
        What::DirectTcp { host, port } => out.string(b"direct-tcpip").string(host).uint32(*port),
        What::DirectSocket { path } => out.string(b"direct-streamlocal").string(path),
        What::Tunnel { mode, unit } => out.string(b"tunnel").uint32(*mode).uint32(*unit),
        What::ListenTcp { host, port } => out.string(b"tcpip-forward").string(host).uint32(*port),
        What::ListenSocket { path } => out.string(b"streamlocal-forward").string(path),
        What::File(request) => out.string(b"file").string(&request.canonical()),
    };
    for (name, value) in asked.before.env.iter() {
        out.string(b"env").string(name).string(value);
    }
    if let Some(pty) = &asked.before.pty {
        out.string(b"pty").string(pty);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            login: "root".into(),
            target: Arc::new(pipeline::Target {
                name: "web1".into(),
                protocol: pipeline::Protocol::Ssh,
                env: "test".into(),
                tags: Default::default(),
            }),
            ports: Arc::new([2200, 2222]),
        }
    }

    /// Agents are refused what is not known, and have to be able to begin.
    #[test]
    fn where_a_transfer_starts_is_known() {
        let asked = Asked {
            what: What::Subsystem {
                name: "sftp".into(),
            },
            channel: None,
            before: super::super::Before::default(),
        };
        let (facts, asks) = read(&asked, &place()).unwrap();
        assert!(facts.parsed);
        assert!(matches!(
            asks.as_slice(),
            [(Action::SshSftpList, Resource::SshFile { known: true, .. })]
        ));
    }

    #[test]
    fn a_pager_is_only_one_at_a_terminal() {
        use crate::action::{Before, Line};
        for (command, pty, reads) in [
            ("systemctl status ssh", false, true),
            ("systemctl status ssh", true, false),
            ("sudo systemctl status ssh", true, false),
            ("systemctl status ssh --no-pager", true, true),
            ("journalctl -n 5", true, false),
            ("journalctl -n 5 --no-pager", true, true),
            ("uptime", true, true),
        ] {
            let asked = Asked {
                what: What::Exec {
                    command: command.into(),
                    line: Line::read(command.as_bytes()),
                },
                channel: Some(0),
                before: Before {
                    pty: pty.then(|| "".into()),
                    ..Before::default()
                },
            };
            let facts = parts(&asked, &place()).unwrap().facts;
            assert_eq!(facts.only_reads, reads, "{command} {pty}");
            let escapes = facts.hazards.iter().any(|h| &*h.code == "escape");
            assert_eq!(escapes, !reads, "{command} {pty}");
        }
    }

    /// Guards in policy compare what is written.
    #[test]
    fn policy_sees_an_address_in_one_way_of_writing_it() {
        for host in ["2852039166", "0251.0376.0251.0376", "::ffff:a9fe:a9fe"] {
            let what = What::DirectTcp {
                host: host.into(),
                port: 80,
            };
            let (facts, asks) = forward(&what, &place()).unwrap();
            assert_eq!(&*facts.text, "connect to 169.254.169.254:80");
            let [(_, Resource::SshEndpoint { host, loopback, .. })] = asks.as_slice() else {
                panic!("{asks:?}");
            };
            assert_eq!((&**host, *loopback), ("169.254.169.254", false));
        }
        for (host, expect) in [("0", false), ("3232235777", false), ("127.1", true)] {
            let what = What::ListenTcp {
                host: host.into(),
                port: 80,
            };
            let (_, asks) = forward(&what, &place()).unwrap();
            assert!(
                matches!(&asks[0].1, Resource::SshEndpoint { loopback, .. } if *loopback == expect),
                "{host}"
            );
        }
    }

    /// By whatever name: which of them are the host's own, nobody can tell here.
    #[test]
    fn the_port_of_the_targets_own_ssh_is_told() {
        for host in [
            "127.1",
            "web1.internal",
            "10.0.0.7",
            "elsewhere.example",
            "",
        ] {
            for (port, expect) in [(2200, true), (2222, true), (22, false), (2201, false)] {
                let host = bytes::Bytes::from(host);
                let ways = [
                    What::DirectTcp {
                        host: host.clone(),
                        port,
                    },
                    What::ListenTcp { host, port },
                ];
                for what in ways {
                    let (_, asks) = forward(&what, &place()).unwrap();
                    let [(_, Resource::SshEndpoint { own_ssh, .. })] = asks.as_slice() else {
                        panic!("{asks:?}");
                    };
                    assert_eq!(*own_ssh, expect, "{what:?}");
                }
            }
        }
    }
}
