//! A host whose server is russh's: Weir's upstream leg with somebody else at its other end. What russh's client sees
//! is one of the cases of every client.

use weir_tests::russh::{Host, there};
use weir_tests::sshd::{Way, login};

use super::rig::Rig;
use super::{Through, again, cases, differing};

/// Which of the cases of every host are tried on this one: it has no terminals, no files, no forwarding, and no
/// end of writing (`eow`).
const AGAIN: &[&str] = &[
    "exit-codes",
    "streams-apart",
    "stdin",
    "half-close",
    "no-stdin",
    "down",
    "up",
    "both-ways",
    "rekey",
    "env",
    "killed",
    "shell-from-stdin",
    "no-tty",
    "subsystem",
    "control-master",
    "neighbour",
];

#[test]
fn a_host_that_is_not_openssh_is_the_same_through_weir() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    if !there() {
        return;
    }
    let mut host = Host::start("ssh-russh-host").unwrap();
    let target = format!(
        "[[target]]\nname = \"peer1\"\nprotocol = \"ssh\"\nenv = \"prod\"\nhost = \"127.0.0.1\"\n\
         port = {}\nhost_keys = [\"{}\"]\n",
        host.port,
        host.host_key().unwrap()
    );
    let rig = Rig::with_logins("ssh-russh", "\"certificate\", \"token\"", &target).unwrap();
    host.trust(&rig.host.dir.join("authority.pub")).unwrap();
    let other = rig.way("alice", &["weir-permit-all"]).unwrap();
    let weir = Way::new(
        &rig.weir.home.join("way-peer"),
        rig.port,
        &format!("{}+peer1", login().unwrap()),
        &rig.known_host().unwrap(),
        &other.key,
        None,
    )
    .unwrap();
    let direct = host.direct().unwrap();
    let cases = again(&[cases::CASES], AGAIN);
    let wrong = differing(&direct, &[Through::of(&weir)], &cases);
    assert!(wrong.is_empty(), "{wrong}\n--- the host\n{}", host.log());
    assert!(host.is_alive(), "{}", host.log());
}
