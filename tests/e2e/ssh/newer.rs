//! OpenSSH as Debian's next release has it, at both ends: it prefers a key exchange that computers of the future do
//! not break, hides when keys are typed, and its server is three programs instead of one.

use weir_tests::openssh::{Server, newer};

use super::rig::{HOST, Rig};
use super::{LIMIT, Through, again, cases, differing, run, seen};

/// Which of the cases of every OpenSSH are tried again.
const AGAIN: &[&str] = &[
    "exit-codes",
    "streams-apart",
    "both-ways",
    "tty",
    "script-tty",
    "env-not-utf8",
    "client-killed",
    "subsystem",
    "scp",
    "scp-old",
    "sftp",
    "control-master",
    "local",
    "agent",
    // An older server delivers no signals to who logs in as root.
    "asyncssh",
];

/// What only a newer one does: name, script, and what it prints.
const NEW: &[(&str, &str, &str)] = &[
    (
        "versions",
        r#"ssh -V 2>&1 | grep -o '^OpenSSH_[0-9.]*'; ssh -F $CFG box 'readlink /proc/$PPID/exe' | grep -o 'sshd-session'"#,
        "OpenSSH_10.0\nsshd-session\n",
    ),
    (
        "mlkem",
        r#"
ssh -v -F $CFG -o KexAlgorithms=mlkem768x25519-sha256 box 'exit 3' 2>log; echo $?; tr -d '\r' <log | grep -o 'kex: algorithm: .*'"#,
        "3\nkex: algorithm: mlkem768x25519-sha256\n",
    ),
    (
        "rekey-mlkem",
        r#"
head -c 10000000 /dev/zero | ssh -v -o RekeyLimit=1M -o KexAlgorithms=mlkem768x25519-sha256 -F $CFG box cat 2>log | cmp -n 10000000 - /dev/zero; echo ${PIPESTATUS[*]}
test $(grep -c 'SSH2_MSG_NEWKEYS received' log) -gt 9 && echo many"#,
        "0 0 0\nmany\n",
    ),
    // Between keys, and for a while after, it sends pings, which look like keys. It does so only where it may.
    (
        "typed",
        r#"
type() { sleep 1.5; for c in e c h o ' ' h i '$((40+2))'; do printf %s "$c"; sleep 0.04; done; sleep 1; printf '\r'; sleep 0.5; printf 'exit 4\r'; }
type | script -qec "ssh -vvv -E log -F $CFG box" /dev/null >out 2>&1; echo $?; grep -c hi42 out
sed -n 's/.*stopping: .*(\([0-9]*\) chaff packets sent).*/\1/p' log | awk '{n += $1} END {print (n > 0) ? "chaff" : "no chaff"}'"#,
        "4\n1\nchaff\n",
    ),
];

/// What only Weir has: hosts behind it by a jump, and people by certificates.
const WEIR: &str = r#"
cat > jump <<END
Host *
  IdentityFile $KEY
  IdentitiesOnly yes
  UserKnownHostsFile $KNOWN
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  HostKeyAlias [127.0.0.1]:$PORT
Host gate
  HostName 127.0.0.1
  Port $PORT
  User weir
Host @
  User ${LOGIN%+*}
  ProxyJump gate
END
ssh -F jump @ 'echo jumped; exit 6' 2>err; echo $?; cat err
ssh -v -F $CFG box true 2>&1 | grep -o 'Server accepts key: .*' | grep -o 'ED25519-CERT'"#;

#[test]
fn a_newer_openssh_sees_the_same() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let Some(dir) = newer() else {
        return;
    };
    let rig = Rig::permitting_to(&Server::of(&dir), "ssh-newer").unwrap();
    let bin = dir.join("bin");
    let direct = rig.host.direct().unwrap().with_programs(&bin);
    let weir = rig.way("alice", &["weir-permit-all"]).unwrap();
    let weir = weir.with_programs(&bin);
    let cases = again(&[cases::CLIENTS, cases::CASES, cases::FORWARDS], AGAIN);
    let wrong = differing(&direct, &[Through::of(&weir)], &cases);
    assert!(wrong.is_empty(), "{wrong}");
    std::thread::scope(|scope| {
        for way in [&direct, &weir] {
            scope.spawn(move || {
                for (name, script, prints) in NEW {
                    let wanted = format!("exit status: 0\n{prints}");
                    assert_eq!(run(way, name, script), wanted, "{name}");
                }
            });
        }
    });
    let script = WEIR.replace('@', HOST);
    let only = weir.script("weir", &script, LIMIT).unwrap();
    assert_eq!(seen(&only), "exit status: 0\njumped\n6\nED25519-CERT\n");
    // The older client is no stranger to it.
    let direct = rig.host.direct().unwrap();
    let weir = rig.way("bob", &["weir-permit-all"]).unwrap();
    let script = r#"ssh -F $CFG box 'cat; exit 5' <<<in; echo $?; echo put $CFG $D/x | sftp -q -b - -F $CFG box >/dev/null; cmp $CFG x && echo put"#;
    assert_eq!(run(&direct, "older", script), run(&weir, "older", script));
}
