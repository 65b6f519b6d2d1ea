//! The ways around that people know, through the real thing: whatever must not run has not run.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use weir_tests::sshd::Way;

use super::table::{COMMANDS, Fate};
use super::{
    AGENT, ENGINEER, EVA, FORWARDER, OPERATOR, Running, Seen, Stage, notice, script, ssh, stage,
};

/// At a time: each is a connection with two logins.
const WORKERS: usize = 6;

/// What became of a client. Whatever waits is denied.
fn fate(stage: &Stage, mut client: Running) -> (Fate, Seen) {
    let begin = Instant::now();
    let mut denied = Vec::new();
    while client.child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60) {
        for line in client
            .err()
            .lines()
            .filter(|line| line.starts_with("weir: hold "))
        {
            let Some((id, _)) = notice(line) else {
                continue;
            };
            if !denied.contains(&id) {
                assert!(stage.deny(&id), "{line}");
                denied.push(id);
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let seen = client.wait();
    let fate = if !denied.is_empty() {
        Fate::Held
    } else if seen.err.contains("weir: refused") {
        Fate::Refused
    } else {
        Fate::Recorded
    };
    (fate, seen)
}

/// Does jobs a few at a time; gives what they found wrong.
fn in_turn<J: Send>(jobs: Vec<J>, work: impl Fn(J) -> Option<String> + Sync) -> Vec<String> {
    let jobs = Mutex::new(jobs.into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(job) = { jobs.lock().unwrap().next() } {
                    wrong.lock().unwrap().extend(work(job));
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let all =
            chunk.iter().fold(0_u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(DIGITS[(all >> (18 - 6 * place)) as usize & 63]));
        }
        out.push_str(&"=".repeat(3 - chunk.len()));
    }
    out
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn no_command_gets_around() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-around");
    let run = format!("echo ran > {}", stage.traces.join(".ssh/tool").display());
    for file in ["tool", "ls", "rc", "src"] {
        let path = stage.traces.join(file);
        std::fs::write(&path, format!("#!/bin/sh\n{run}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let agent = stage.way(AGENT, "web1");
    // Nobody may have so much held in so short a time.
    let engineers = [ENGINEER, EVA].map(|who| stage.way(who, "stage1"));
    let mut jobs = Vec::new();
    for (n, row) in COMMANDS.iter().enumerate() {
        jobs.push((n, row, "agent", &agent, row.agent));
        jobs.push((n, row, "engineer", &engineers[n % 2], row.engineer));
    }
    let wrong = in_turn(jobs, |(n, row, who, way, expect)| {
        let trace = stage.traces.join(format!(".ssh/{who}-{n}"));
        let plain = stage.traces.join(format!("code-{who}-{n}"));
        let encoded = format!("echo ran > {}", trace.display());
        let command = row
            .command
            .replace('%', &base64(&encoded))
            .replace(" # ", &format!(" {} ", hexadecimal(&encoded)))
            .replace('^', &plain.display().to_string())
            .replace("$T", &stage.traces.display().to_string())
            .replace('@', &trace.display().to_string());
        let (is, seen) = fate(stage, ssh(way, &format!("{who}-{n}"), &["box", &command]));
        let ran = expect != Fate::Recorded && (trace.exists() || plain.exists());
        let stopped = is == Fate::Recorded || seen.code == Some(126);
        (is != expect || ran || !stopped).then(|| {
            format!("{who}: {} ({command:?}): {is:?}, not {expect:?}; ran: {ran}; {seen:?}\n  against it: {}", row.trick, row.defence)
        })
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is no command line: who, where, how, and whether the client says that it is stopped.
struct Other {
    trick: &'static str,
    way: usize,
    script: &'static str,
    expect: Fate,
    /// What must be in what the client says.
    says: &'static str,
    defence: &'static str,
}

const AGENT_PROD: usize = 0;
const ENGINEER_PROD: usize = 1;
const ENGINEER_STAGE: usize = 2;
const OPERATOR_PROD: usize = 3;
const FORWARDER_STAGE: usize = 4;

const fn other(
    trick: &'static str,
    way: usize,
    script: &'static str,
    (expect, says): (Fate, &'static str),
    defence: &'static str,
) -> Other {
    Other {
        trick,
        way,
        script,
        expect,
        says,
        defence,
    }
}

use Fate::{Held, Recorded, Refused};

const FILES: &str = "each path of a transfer is asked about";
const FORWARDS: &str = "nobody forwards who is not permitted to, and nobody to SSH";
const TERMINAL: &str = "an agent runs commands one by one";

/// `@` is a trace. What the last line prints is what the client saw.
const OTHERS: &[Other] = &[
    other(
        "a second session of a master",
        AGENT_PROD,
        "ssh -F $CFG -M -S c -fN box; ssh -F $CFG -S c box true && echo first; ssh -F $CFG -S c box 'eval $X > @'; echo $?; ssh -F $CFG -S c -O exit box",
        (Refused, "first\n126"),
        "policy is for each channel, not for the connection",
    ),
    other(
        "a shell of an agent",
        AGENT_PROD,
        "echo 'echo ran > @' | ssh -F $CFG -T box; echo $?",
        (Refused, "126"),
        TERMINAL,
    ),
    other(
        "a terminal of an agent",
        AGENT_PROD,
        "ssh -F $CFG -tt box uptime; echo $?",
        (Recorded, "255"),
        TERMINAL,
    ),
    other(
        "a subsystem of an agent",
        AGENT_PROD,
        "ssh -F $CFG -s box netconf; echo $?",
        (Refused, ""),
        TERMINAL,
    ),
    other(
        "a shell of an engineer in production",
        ENGINEER_PROD,
        "echo 'echo ran > @' | ssh -F $CFG -T box; echo $?",
        (Refused, "126"),
        "no grant",
    ),
    other(
        "a shell of an operator in production",
        OPERATOR_PROD,
        "echo 'echo ran > @' | ssh -F $CFG -T box; echo $?",
        (Held, "126"),
        "shells on production ask about every command",
    ),
    other(
        "a shell elsewhere",
        ENGINEER_STAGE,
        "echo 'echo typed; exit 5' | ssh -F $CFG -T box; echo $?",
        (Recorded, "typed\n5"),
        "recorded",
    ),
    other(
        "a script for bash -s",
        ENGINEER_STAGE,
        "echo 'echo ran > @' | ssh -F $CFG box bash -s; echo $?",
        (Held, "126"),
        "what is fed to a shell is read first",
    ),
    other(
        "scp -O",
        AGENT_PROD,
        "echo x > x; scp -F $CFG -O x box:@; echo $?",
        (Refused, "1"),
        FILES,
    ),
    other(
        "scp -O by an engineer",
        ENGINEER_STAGE,
        "echo x > x; scp -F $CFG -O x box:@; echo $?",
        (Held, "1"),
        FILES,
    ),
    other(
        "scp",
        AGENT_PROD,
        "echo x > x; scp -F $CFG x box:@; echo $?",
        (Refused, "255"),
        FILES,
    ),
    other(
        "scp by an engineer",
        ENGINEER_STAGE,
        "echo x > x; scp -F $CFG x box:@; echo $?",
        (Held, "1"),
        FILES,
    ),
    other(
        "scp from production by an agent",
        AGENT_PROD,
        "scp -F $CFG -O box:/etc/hostname x; echo $?; ls",
        (Refused, "1"),
        FILES,
    ),
    other(
        "authorized_keys by sftp",
        ENGINEER_STAGE,
        "echo x > x; printf 'put x @\\nput x $T/.ssh/authorized_keys\\n' | ssh -F $CFG -O check box 2>/dev/null; printf -- '-put x @\\n-put x '$T'/.ssh/authorized_keys\\n' | sftp -F $CFG -b - box; test -e $T/.ssh/authorized_keys || echo none",
        (Held, "none"),
        "it decides who may log in",
    ),
    other(
        "cron.d by sftp",
        ENGINEER_STAGE,
        "echo '# nothing' > x; echo 'put x /etc/cron.d/weir-e2e-none' | sftp -F $CFG -b - box; echo $?; test -e /etc/cron.d/weir-e2e-none || echo none; rm -f /etc/cron.d/weir-e2e-none",
        (Held, "1\nnone"),
        "it runs by itself",
    ),
    other(
        "cron.d by sftp, of an agent",
        AGENT_PROD,
        "echo '# nothing' > x; echo 'put x /etc/cron.d/weir-e2e-never' | sftp -F $CFG -b - box; test -e /etc/cron.d/weir-e2e-never || echo none; rm -f /etc/cron.d/weir-e2e-never",
        (Refused, "none"),
        "it runs by itself",
    ),
    other(
        "a rename into place by sftp",
        ENGINEER_STAGE,
        "echo x > x; printf 'put x '$T'/harmless\\n-rename '$T'/harmless @\\n' | sftp -F $CFG -b - box; echo $?",
        (Held, "0"),
        FILES,
    ),
    other(
        "a link into place by sftp",
        ENGINEER_STAGE,
        "printf -- '-ln -s /etc/hostname @\\n' | sftp -F $CFG -b - box; echo $?",
        (Held, "0"),
        FILES,
    ),
    other(
        "rsync",
        AGENT_PROD,
        "echo x > x; rsync -e \"ssh -F $CFG\" x box:@; echo $?",
        (Refused, ""),
        FILES,
    ),
    other(
        "rsync by an engineer",
        ENGINEER_STAGE,
        "echo x > x; rsync -e \"ssh -F $CFG\" x box:@; echo $?",
        (Held, ""),
        FILES,
    ),
    other(
        "a program for rsync",
        ENGINEER_STAGE,
        "rsync -e \"ssh -F $CFG\" --rsync-path='echo ran > @; rsync' box:/etc/hostname x; echo $?",
        (Held, ""),
        "that is no transfer but a command",
    ),
    other(
        "options of rsync's other end",
        ENGINEER_STAGE,
        "rsync -e \"ssh -F $CFG\" --remote-option=--log-file=@ box:/etc/hostname x; echo $?",
        (Held, ""),
        "options that write are opaque",
    ),
    other(
        "a push",
        AGENT_PROD,
        "git init -q r; cd r; git -c user.name=x -c user.email=x commit -q --allow-empty -m x; GIT_SSH_COMMAND=\"ssh -F $CFG\" git push box:$T/repo.git HEAD:refs/heads/agent; echo $?; git -C $T/repo.git for-each-ref --count=9 refs/heads/agent",
        (Held, "128\n"),
        FILES,
    ),
    other(
        "a push by an engineer to production",
        ENGINEER_PROD,
        "git init -q r; cd r; git -c user.name=x -c user.email=x commit -q --allow-empty -m x; GIT_SSH_COMMAND=\"ssh -F $CFG\" git push box:$T/repo.git HEAD:refs/heads/prod; echo $?",
        (Refused, "128"),
        FILES,
    ),
    other(
        "a push elsewhere",
        ENGINEER_STAGE,
        "git init -q r; cd r; git -c user.name=x -c user.email=x commit -q --allow-empty -m x; GIT_SSH_COMMAND=\"ssh -F $CFG\" git push -q box:$T/repo.git HEAD:refs/heads/stage; echo $?",
        (Recorded, "0"),
        FILES,
    ),
    other(
        "another program for git",
        ENGINEER_STAGE,
        "GIT_SSH_COMMAND=\"ssh -F $CFG\" git ls-remote --upload-pack='echo ran > @; git-upload-pack' box:$T/repo.git; echo $?",
        (Held, ""),
        "that is no transfer but a command",
    ),
    other(
        "-L to the host's own SSH",
        FORWARDER_STAGE,
        "ssh -F $CFG -W 127.0.0.1:22 box; echo $?",
        (Recorded, "255"),
        FORWARDS,
    ),
    other(
        "-W by an agent",
        AGENT_PROD,
        "ssh -F $CFG -W 127.0.0.1:$HOST_PORT box | grep SSH-2.0; echo ${PIPESTATUS[0]}",
        (Recorded, "255"),
        FORWARDS,
    ),
    other(
        "-W by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -W 127.0.0.1:$HOST_PORT box | grep SSH-2.0; echo ${PIPESTATUS[0]}",
        (Recorded, "255"),
        FORWARDS,
    ),
    other(
        "-L by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -L $FREE:127.0.0.1:$HOST_PORT box & sleep 3; timeout 3 bash -c \"exec 3<>/dev/tcp/127.0.0.1/$FREE; head -c 8 <&3\"; kill %1; echo; echo end",
        (Recorded, "\nend"),
        FORWARDS,
    ),
    other(
        "-D by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -D $FREE box & sleep 3; curl -s -m 3 --http0.9 --socks5 127.0.0.1:$FREE http://127.0.0.1:$HOST_PORT/ | head -c 8; kill %1; echo; echo end",
        (Recorded, "\nend"),
        FORWARDS,
    ),
    other(
        "-R by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -o ExitOnForwardFailure=yes -N -R $FREE:127.0.0.1:1 box; echo $?",
        (Recorded, "255"),
        FORWARDS,
    ),
    other(
        "-R of a socket by an agent",
        AGENT_PROD,
        "ssh -F $CFG -o ExitOnForwardFailure=yes -N -R @:127.0.0.1:1 box; echo $?",
        (Recorded, "255"),
        FORWARDS,
    ),
    other(
        "-L of a socket by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -L $PWD/s:/var/run/docker.sock box & sleep 3; curl -s -m 3 --unix-socket s http://x/_ping; echo $?; kill %1",
        (Recorded, ""),
        FORWARDS,
    ),
    other(
        "-w",
        AGENT_PROD,
        "$PY - <<'E'\nimport os, socket, paramiko\nfrom paramiko.common import cMSG_CHANNEL_OPEN\nt = paramiko.Transport(('127.0.0.1', int(os.environ['PORT'])))\nt.start_client()\nt.auth_password(os.environ['LOGIN'], os.environ['TOKEN'])\nopened = t._send_user_message\ndef tun(m):\n    data = m.asbytes()\n    if data[:1] == cMSG_CHANNEL_OPEN:\n        data += (1).to_bytes(4, 'big') + (0x7fffffff).to_bytes(4, 'big')\n        m = paramiko.Message(data)\n        m.packet.seek(0, 2)\n    opened(m)\nt._send_user_message = tun\ntry:\n    t.open_channel('tun@openssh.com')\n    print('opened')\nexcept paramiko.ChannelException as e:\n    print('refused', e.code)\nE",
        (Recorded, "refused "),
        FORWARDS,
    ),
    other(
        "-A",
        AGENT_PROD,
        "eval $(ssh-agent) >/dev/null; ssh -F $CFG -A box 'printenv SSH_AUTH_SOCK'; echo $?; kill $SSH_AGENT_PID",
        (Recorded, "1"),
        "an agent's agent stays where it is",
    ),
    other(
        "-A by an engineer",
        ENGINEER_STAGE,
        "eval $(ssh-agent) >/dev/null; ssh -F $CFG -A box 'printenv SSH_AUTH_SOCK'; echo $?; kill $SSH_AGENT_PID",
        (Recorded, "1"),
        "an agent is forwarded for whoever is in its group",
    ),
    other(
        "BASH_ENV over the wire",
        ENGINEER_STAGE,
        "echo 'echo ran > @' > rc; ssh -F $CFG -o SetEnv=BASH_ENV=$PWD/rc box 'bash -c true'; ssh -F $CFG -o SetEnv=WEIR_TEST_X=1 box 'test -n \"$WEIR_TEST_X\"'; echo $?",
        (Recorded, "1"),
        "variables that do no harm pass",
    ),
    other(
        "a jump host",
        AGENT_PROD,
        "ssh -F $CFG -o ProxyCommand=\"ssh -F $CFG -l ${LOGIN%%+*} -W ${LOGIN##*+}:22 box\" -l ${LOGIN%%+*} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null box 'eval $X > @'; echo $?",
        (Refused, "126"),
        "a jump ends here, and what is in it is asked about",
    ),
    other(
        "an upload that an agent runs",
        AGENT_PROD,
        "echo 'echo ran > @' > x; scp -q -O -F $CFG x box:$T/by-agent; ssh -F $CFG box \"sh $T/by-agent\"; test -e $T/by-agent || echo none",
        (Held, "none"),
        "an agent's files and what they run wait for people",
    ),
    other(
        "around Weir, by its certificate",
        ENGINEER_STAGE,
        "ssh -F $CFG -p $HOST_PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -l ${LOGIN%%+*} box 'echo ran > @'; echo $?",
        (Recorded, "255"),
        "hosts believe Weir's other authority",
    ),
    other(
        "files over a terminal, which edits what was read",
        ENGINEER_STAGE,
        "for c in '-s box sftp' 'box /usr/lib/openssh/sftp-server' \"box scp -t $T/below\"; do echo ran | ssh -F $CFG -tt $c; echo -n \"$? \"; done; test -e $T/below || echo none",
        (Refused, "126 126 126 none"),
        "where files are transferred there is no terminal",
    ),
    other(
        "an upload that is run",
        ENGINEER_STAGE,
        "echo 'echo ran > '$T/by-upload > x; scp -q -F $CFG x box:$T/uploaded && ssh -F $CFG box \"sh $T/uploaded\"; echo $?",
        (Recorded, "0"),
        "people run files outside production; the upload is on record with its hash",
    ),
];

#[test]
fn nothing_else_gets_around() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-aside");
    let repo = stage.traces.join("repo.git");
    let made = std::process::Command::new("git")
        .args(["init", "-q", "--bare"])
        .arg(&repo)
        .status();
    assert!(made.unwrap().success());
    let ways: [Way; 5] = [
        stage.way(AGENT, "web1"),
        stage.way(ENGINEER, "web1"),
        stage.way(ENGINEER, "stage1"),
        stage.way(OPERATOR, "web1"),
        stage.way(FORWARDER, "stage1"),
    ];
    let jobs = OTHERS.iter().enumerate().collect();
    let wrong = in_turn(jobs, |(n, row): (usize, &Other)| {
        let trace = stage.traces.join(format!(".ssh/{n}"));
        let text = row.script.replace('@', &trace.display().to_string());
        let (is, seen) = fate(
            stage,
            script(stage, &ways[row.way], &format!("other-{n}"), &text),
        );
        let ran = trace.exists();
        let says = seen.text().contains(row.says);
        (is != row.expect || ran || !says).then(|| {
            format!("{}: {is:?}, not {:?}; ran: {ran}; says {:?}: {says}; {seen:?}\n  against it: {}\n{}", row.trick, row.expect, row.says, row.defence, seen.text())
        })
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
