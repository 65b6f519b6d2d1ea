//! AsyncSSH, which knows the key exchange with ML-KEM that OpenSSH has only since 9.9, in both roles. `python3` has
//! to find it; where it does not, the tests say so.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::echo::{Echo, WAIT, Wire, message, service};
use super::*;

const CLIENT: &str = r#"
import asyncio, asyncssh, sys
async def main():
    async with asyncssh.connect("127.0.0.1", int(sys.argv[1]), username="x", known_hosts=None, config=None,
            client_keys=None, agent_path=None, kex_algs=[sys.argv[2]], rekey_bytes=200000) as c:
        data = bytes(range(256)) * 4000
        r = await c.run("cat", input=data, encoding=None)
        assert r.stdout == data, "other bytes came back"
        sys.exit(r.exit_status)
asyncio.run(main())
"#;

const SERVER: &str = r#"
import asyncio, asyncssh, sys
class Server(asyncssh.SSHServer):
    def begin_auth(self, name):
        return False
async def main():
    s = await asyncssh.listen("127.0.0.1", 0, server_factory=Server, kex_algs=[sys.argv[1]],
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])
    print(s.get_port(), flush=True)
    await s.wait_closed()
asyncio.run(main())
"#;

async fn missing() -> bool {
    let mut command = Command::new("python3");
    command
        .args(["-c", "import asyncssh"])
        .stderr(Stdio::null());
    let found = command.status().await.is_ok_and(|s| s.success());
    if !found {
        println!("skipped: python3 finds no asyncssh");
    }
    !found
}

fn algorithms() -> [&'static str; 4] {
    [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
    ]
}

#[tokio::test]
async fn its_client() {
    if missing().await {
        return;
    }
    for kex in algorithms() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut child = Command::new("python3")
            .args(["-c", CLIENT, &port, kex])
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let serve = async {
            let (io, _) = listener.accept().await.unwrap();
            let mut leg = Transport::server(Arc::new(server_config()));
            leg.authenticated();
            let mut wire = Wire::new(io, leg);
            assert_eq!(Echo::serve(&mut wire).await, 1_024_000);
            wire.io.shutdown().await.unwrap();
        };
        let all = async { tokio::join!(serve, child.wait()) };
        let ((), status) = tokio::time::timeout(WAIT, all).await.expect(kex);
        assert_eq!(status.unwrap().code(), Some(7), "{kex}");
    }
}

#[tokio::test]
async fn its_server() {
    if missing().await {
        return;
    }
    for kex in algorithms() {
        let mut child = Command::new("python3")
            .args(["-c", SERVER, kex])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let all = async {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let port = lines.next_line().await.unwrap().unwrap();
            let io = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await;
            let leg = Transport::client(Arc::new(client_config()));
            let mut wire = Wire::new(io.unwrap(), leg);
            wire.ready(verify_ed25519).await;
            service(&mut wire).await;
            let request = message(n::USERAUTH_REQUEST, |m| {
                m.string(b"x").string(b"ssh-connection").string(b"none");
            });
            wire.send(request).await;
            wire.expect(n::USERAUTH_SUCCESS).await;
            wire.leg.rekey().unwrap();
            wire.send(message(n::GLOBAL_REQUEST, |m| {
                m.string(b"nobody-knows@this").flag(true);
            }))
            .await;
            loop {
                match wire.packet().await[0] {
                    n::REQUEST_FAILURE => break,
                    // It tells its host keys.
                    n::GLOBAL_REQUEST => {}
                    other => panic!("a message {other}"),
                }
            }
            assert_eq!(wire.asked, 1);
        };
        tokio::time::timeout(WAIT, all).await.expect(kex);
    }
}
