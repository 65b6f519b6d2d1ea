//! Clients and servers with code of their own that people use: PuTTY's and Dropbear's.

use std::process::Stdio;

use aws_lc_rs::digest;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::echo::{WAIT, Wire, base64, missing, piped, service};
use super::*;
use crate::testing::sshd::free_port;

#[tokio::test]
async fn dropbear_as_a_client() {
    if missing("dbclient") {
        return;
    }
    for cipher in ["chacha20-poly1305@openssh.com", "aes256-ctr"] {
        let command = |port: &str| {
            let mut command = Command::new("dbclient");
            // It knows no AES-GCM, and of the MACs only those over the plaintext.
            command
                .args(["-y", "-y", "-T", "-c", cipher, "-p", port])
                .args(["someone@127.0.0.1", "cat"])
                .stderr(Stdio::null());
            command
        };
        let leg = piped(server_config(), command, 300_000).await;
        assert!(leg.peer_ident().unwrap().contains("dropbear"));
    }
}

#[tokio::test]
async fn putty_as_a_client() {
    if missing("plink") {
        return;
    }
    let key = TestKey::new();
    let hash = digest::digest(&digest::SHA256, &key.blob);
    let fingerprint = base64(hash.as_ref());
    let fingerprint = format!("SHA256:{}", fingerprint.trim_end_matches('='));
    let command = |port: &str| {
        let mut command = Command::new("plink");
        command.args(["-batch", "-ssh", "-T", "-P", port]).args([
            "-hostkey",
            &fingerprint,
            "someone@127.0.0.1",
            "cat",
        ]);
        command
    };
    let leg = piped(ServerConfig::new(vec![Arc::new(key)]), command, 300_000).await;
    assert!(leg.peer_ident().unwrap().contains("PuTTY"));
}

#[tokio::test]
async fn dropbear_as_a_server() {
    if missing("dropbear") || missing("dropbearkey") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("weir-dropbear-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let key = dir.join("key");
    let key = key.to_str().unwrap();
    let made = Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f", key])
        .output();
    assert!(made.await.unwrap().status.success());
    let address = format!("127.0.0.1:{}", free_port());
    let mut child = Command::new("dropbear")
        .args(["-F", "-E", "-s", "-r", key, "-p", &address, "-P"])
        .arg(dir.join("pid"))
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let all = async {
        for kex in [KexAlgorithm::Curve25519, KexAlgorithm::NistP384] {
            let mut config = client_config();
            config.algorithms.kex = vec![kex];
            let io = loop {
                match TcpStream::connect(&address).await {
                    Ok(io) => break io,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let mut wire = Wire::new(io, Transport::client(Arc::new(config)));
            wire.ready(verify_ed25519).await;
            service(&mut wire).await;
            wire.leg.rekey().unwrap();
            service(&mut wire).await;
        }
    };
    tokio::time::timeout(WAIT, all).await.expect("it hangs");
    child.kill().await.unwrap();
    std::fs::remove_dir_all(dir).unwrap();
}
