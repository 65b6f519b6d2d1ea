//! The real client through the service to a real server.

use pipeline::memory::{Memory, MemoryPolicy};
use ssh_keys::PrivateKey;

use crate::testing::ports::Keys;
use crate::testing::sshd::Sshd;
use crate::testing::{Dir, Ssh, Weir, options, target, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_a_session_on_a_real_host() {
    let keys = Keys::new();
    let Some(sshd) = Sshd::start(&keys).await else {
        return;
    };
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::start(options(
        vec![target("web1", sshd.port, &keys)],
        &keys,
        &memory,
    ));
    let dir = Dir::new();
    let mine = PrivateKey::generate_ed25519().unwrap();
    let key = dir.write("id", &mine.to_openssh(""));
    let certificate = keys.user_certificate(mine.public()).to_openssh("");
    dir.write("id-cert.pub", &certificate);
    let ssh = Ssh::to(&weir, &keys, &dir)
        .arg("-i")
        .arg(&key.display().to_string())
        .option("BatchMode=yes");
    for user in [
        "root+web1",
        "web1",
        "root%web1",
        "root@web1",
        "alice:web1",
        "root+WEB1",
    ] {
        let out = ssh.run(user, "echo $USER; exit 7").await;
        assert_eq!(text(&out.stdout), "root\n", "{user}: {}", text(&out.stderr));
        assert_eq!(out.status.code(), Some(7), "{user}");
    }
}
