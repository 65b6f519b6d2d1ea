//! Sessions on SSH hosts, recorded and read again.

use std::sync::Arc;

use pipeline::ports::Journal;
use pipeline::{Facts, Protocol, SessionStart, SshFacts, SshKind, Target};

use super::support::*;

fn on_host_start() -> SessionStart {
    let mut start = start();
    let info = Arc::make_mut(&mut start.info);
    info.scope = "deploy\x1b[2J".into();
    info.target = Arc::new(Target {
        protocol: Protocol::Ssh,
        ..(*info.target).clone()
    });
    start
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_on_a_host_is_shown_as_it_was() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let start = on_host_start();
    let id = start.info.id;
    let journal = recorder.open(start).await.unwrap();
    let connect = Facts::Connect {
        protocol: Protocol::Ssh,
        scope: "deploy\x1b[2J".into(),
    };
    let sftp = SshFacts::plain(SshKind::Sftp, "deploy".into(), "open /srv/x\x1b[2J".into());
    let script = SshFacts::plain(SshKind::Exec, "deploy".into(), "if a\nthen b".into());
    for (seq, facts) in [
        connect,
        Facts::Ssh(Arc::new(sftp)),
        Facts::Ssh(Arc::new(script)),
        on_host("it's\x1b[2J"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut intent = intent(seq as u64, "");
        intent.facts = facts;
        intent.accesses = of_host("a.b");
        journal.intent(intent).await.unwrap();
        journal.outcome(outcome(seq as u64)).await.unwrap();
    }
    journal.close(end()).await.unwrap();
    assert!(recorder.flush(SHORT).await);
    let mut out = Vec::new();
    crate::replay(
        &dir.store(),
        id.0,
        &crate::ReplayOptions::default(),
        &mut out,
    )
    .await
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    for expect in [
        "target       shop (ssh, prod)",
        "login        deploy\\u{1b}[2J",
        "#0 connect as deploy\\u{1b}[2J",
        "#1 sftp: open /srv/x\\u{1b}[2J",
        "#2 exec\n    if a\n    then b\n",
        "#3 exec on channel 7: it's\\u{1b}[2J",
        "not clear    it's\\u{1b}[2J",
        "runs         it's\\u{1b}[2J → it's\\u{1b}[2J it's\\u{1b}[2J (as it's\\u{1b}[2J)",
        "writes       it's\\u{1b}[2J",
        "variable     it's\\u{1b}[2J=it's\\u{1b}[2J",
        "input        12 bytes, SHA-256 abab",
        "access       ssh:exec SshProgram a.b.a.b.a.b",
        "access       ssh:forward_local SshEndpoint a.b.65535 [loopback] [own-ssh]",
    ] {
        assert!(text.contains(expect), "{expect:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b') && !text.contains("database"));
}
