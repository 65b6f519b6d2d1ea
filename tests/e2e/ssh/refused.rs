//! Forwardings that the default bundle refuses: what stock clients tell their users then, in their own words, and
//! that everything else on the same connection goes on.

use super::rig::Rig;
use super::run;

const REASON: &str = r#"no grant permits ssh:forward_local on 127.0.0.1 port N of web1 to User::"erin@example.test""#;

/// What each asks for, and what is then said: output, then errors. `@` is the reason that Weir gives.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "-W",
        r#"ssh -o LogLevel=INFO -F $CFG -W 127.0.0.1:$P1 box </dev/null; echo $?"#,
        "255\nchannel 0: open failed: administratively prohibited: @\nstdio forwarding failed\n",
    ),
    (
        "-L",
        r#"
mkfifo pipe; ssh -o LogLevel=INFO -F $CFG -L $P2:127.0.0.1:$P1 box 'cat; echo whole' <pipe & exec 3>pipe
for i in $(seq 100); do socat -u TCP:127.0.0.1:$P2 - 2>/dev/null && break; sleep 0.1; done; echo in >&3; exec 3>&-; wait"#,
        "in\nwhole\nchannel 3: open failed: administratively prohibited: @\n",
    ),
    (
        "-D",
        r#"
mkfifo pipe; ssh -o LogLevel=INFO -F $CFG -D $P2 box 'cat; echo whole' <pipe & exec 3>pipe
for i in $(seq 100); do curl -s --socks5 127.0.0.1:$P2 http://127.0.0.1:$P1/; test $? = 7 || break; sleep 0.1; done; echo in >&3; exec 3>&-; wait"#,
        "in\nwhole\nchannel 3: open failed: administratively prohibited: @\n",
    ),
    (
        "-R",
        r#"
ssh -o LogLevel=INFO -F $CFG -R $P2:127.0.0.1:$P1 box 'echo whole' </dev/null; echo $?
ssh -o LogLevel=INFO -o ExitOnForwardFailure=yes -F $CFG -R $P2:127.0.0.1:$P1 box 'echo never' </dev/null 2>&1; echo $?"#,
        "whole\n0\nError: remote port forwarding failed for listen port N\n255\n\
         Warning: remote port forwarding failed for listen port N\n",
    ),
    // Its request wants no answer: the client has nothing to say, and the host gets no socket.
    (
        "-A",
        r#"
eval $(ssh-agent -a $D/agent) >/dev/null; ssh -o LogLevel=INFO -A -F $CFG box 'echo "[$SSH_AUTH_SOCK]"; echo whole' </dev/null; echo $?
ssh-agent -k >/dev/null"#,
        "[]\nwhole\n0\n",
    ),
    // Reading $DISPLAY would wait for somebody.
    (
        "-X",
        r#"
DISPLAY=127.0.0.1:7.0 ssh -X -o ForwardX11Trusted=yes -o LogLevel=INFO -F $CFG box 'echo whole' </dev/null 2>err; echo $?; grep -v '^Warning: No xauth data' err"#,
        "whole\n0\nX11 forwarding request failed on channel 0\n",
    ),
];

#[test]
fn clients_say_that_forwardings_are_refused() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let rig = Rig::by_default("ssh-refused").unwrap();
    let way = rig.way("erin@example.test", &["engineering"]).unwrap();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = REFUSED
            .iter()
            .map(|(name, script, wanted)| {
                let way = &way;
                scope.spawn(move || (name, run(way, name, script), *wanted))
            })
            .collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .filter_map(|(name, said, wanted)| {
                let wanted = format!("exit status: 0\n{}", wanted.replace('@', REASON));
                // OpenSSH ends its own lines for a terminal, always.
                let said = without_ports(&said.replace('\r', ""));
                (said != wanted).then(|| format!("{name}\n{said}"))
            })
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ports are others each time.
fn without_ports(text: &str) -> String {
    let mut words = text.split_inclusive([' ', '\n']);
    let mut last = "";
    let mut kept = String::new();
    for word in &mut words {
        let number = word.trim_end();
        let is_port = last == "port " && number.bytes().all(|b| b.is_ascii_digit());
        kept += &if is_port {
            word.replace(number, "N")
        } else {
            word.to_owned()
        };
        last = word;
    }
    kept
}
