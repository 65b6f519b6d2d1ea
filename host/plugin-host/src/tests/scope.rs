//! Who is asked about what: plugins say which protocols they classify.

use std::sync::Arc;

use pipeline::ports::Hooks;
use pipeline::{Facts, Protocol, SshFacts, SshKind};

use super::{Host, facts, session};

fn over(protocol: Protocol) -> [Facts; 2] {
    let connect = Facts::Connect {
        protocol,
        scope: "app".into(),
    };
    let action = match protocol {
        Protocol::Postgres => facts(),
        Protocol::Ssh => {
            let ssh = SshFacts::plain(SshKind::Exec, "deploy".into(), "ls".into());
            Facts::Ssh(Arc::new(ssh))
        }
    };
    [connect, action]
}

/// 0: nobody was asked.
async fn scores(host: &Host, protocol: Protocol) -> Vec<u8> {
    let mut scores = Vec::new();
    for facts in over(protocol) {
        scores.push(host.plugins.classify(&session(), &facts).await.score);
    }
    scores
}

#[tokio::test]
async fn a_plugin_is_asked_about_what_it_is_for() {
    for (mode, postgres, ssh) in [("", 10, 10), ("only-ssh", 0, 10), ("only-http", 0, 0)] {
        let host = Host::evil(mode).await;
        let got = scores(&host, Protocol::Postgres).await;
        assert_eq!(got, [postgres; 2], "{mode:?}");
        assert_eq!(scores(&host, Protocol::Ssh).await, [ssh; 2], "{mode:?}");
    }
    // One that nobody asks is none that is missing, and one that is missing is so for all.
    let host = Host::evil("only-ssh").await;
    host.plugins.expect("gone");
    assert_eq!(scores(&host, Protocol::Postgres).await, [100; 2]);
}

#[tokio::test]
async fn what_fails_does_so_for_its_own_protocol() {
    let host = Host::new()
        .with("sql", "risk-sql", &[])
        .await
        .with("shell", "evil", &[("mode", "only-ssh-and-trap")])
        .await;
    assert!(
        scores(&host, Protocol::Postgres)
            .await
            .iter()
            .all(|s| *s < 30)
    );
    assert!(host.events.take().is_empty());
    assert_eq!(scores(&host, Protocol::Ssh).await, [100; 2]);
    assert!(!host.events.take().is_empty());
}

#[tokio::test]
async fn the_shipped_ones_say_what_they_are_for() {
    let host = Host::new();
    for (name, expect) in [
        ("risk-sql", Some(vec![Protocol::Postgres])),
        ("risk-shell", Some(vec![Protocol::Ssh])),
        ("mask-pii", None),
        ("route-default", None),
    ] {
        let info = host.add(name, name, &[]).await.unwrap();
        assert_eq!(info.protocols, expect, "{name}");
    }
}
