//! Ways around a policy that are no command lines, one a row: who tries what, how, what stands against it, and what
//! is on record of it.

use super::table::Fate;

/// What is no command line: who, where, how, and whether the client says that it is stopped.
pub(super) struct Other {
    pub trick: &'static str,
    pub way: usize,
    pub script: &'static str,
    pub expect: Fate,
    /// What must be in what the client says.
    pub says: &'static str,
    pub defence: &'static str,
    /// What was recorded of it.
    pub record: &'static [Entry],
}

/// An action, how it ended, and what must be in its record.
pub(super) type Entry = (&'static str, &'static str, &'static str);

pub(super) const AGENT_PROD: usize = 0;
pub(super) const ENGINEER_PROD: usize = 1;
pub(super) const ENGINEER_STAGE: usize = 2;
pub(super) const OPERATOR_PROD: usize = 3;
pub(super) const FORWARDER_STAGE: usize = 4;

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
        record: &[],
    }
}

impl Other {
    const fn recorded(self, record: &'static [Entry]) -> Self {
        Self { record, ..self }
    }
}

use Fate::{Held, Recorded, Refused};

const FILES: &str = "each path of a transfer is asked about";
const FORWARDS: &str = "nobody forwards who is not permitted to, and nobody to SSH";
const TERMINAL: &str = "an agent runs commands one by one";

/// `@` is a trace. What the last line prints is what the client saw.
pub(super) const OTHERS: &[Other] = &[
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
    )
    .recorded(&[("ssh:pty", "refused", "")]),
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
        (Refused, "126"),
        "shells on production ask about every line and command, at a terminal",
    ),
    other(
        "a shell elsewhere",
        ENGINEER_STAGE,
        "echo 'echo typed; exit 5' | ssh -F $CFG -T box; echo $?",
        (Recorded, "typed\n5"),
        "recorded",
    )
    .recorded(&[("ssh:shell", "failed", "typed")]),
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
    )
    .recorded(&[("ssh:git_write", "done", "repo.git")]),
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
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:22")]),
    other(
        "-W to the host's own SSH at its port",
        FORWARDER_STAGE,
        "ssh -F $CFG -W 127.0.0.1:$HOST_PORT box | grep SSH-2.0; echo ${PIPESTATUS[0]}",
        (Recorded, "255"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:$HOST_PORT")]),
    other(
        "-W by an agent",
        AGENT_PROD,
        "ssh -F $CFG -W 127.0.0.1:$HOST_PORT box | grep SSH-2.0; echo ${PIPESTATUS[0]}",
        (Recorded, "255"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:$HOST_PORT")]),
    other(
        "-W by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -W 127.0.0.1:$HOST_PORT box | grep SSH-2.0; echo ${PIPESTATUS[0]}",
        (Recorded, "255"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:$HOST_PORT")]),
    other(
        "-L by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -L $FREE:127.0.0.1:$HOST_PORT box & sleep 3; timeout 3 bash -c \"exec 3<>/dev/tcp/127.0.0.1/$FREE; head -c 8 <&3\"; kill -9 %1; echo; echo end",
        (Recorded, "\nend"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:$HOST_PORT")]),
    other(
        "-D by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -D $FREE box & sleep 3; curl -s -m 3 --http0.9 --socks5 127.0.0.1:$FREE http://127.0.0.1:$HOST_PORT/ | head -c 8; kill -9 %1; echo; echo end",
        (Recorded, "\nend"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local", "refused", "127.0.0.1:$HOST_PORT")]),
    other(
        "-R by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -o ExitOnForwardFailure=yes -N -R $FREE:127.0.0.1:1 box; echo $?",
        (Recorded, "255"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_remote", "refused", "localhost:")]),
    other(
        "-R of a socket by an agent",
        AGENT_PROD,
        "ssh -F $CFG -o ExitOnForwardFailure=yes -N -R @:127.0.0.1:1 box; echo $?",
        (Recorded, "255"),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_remote_socket", "refused", "@")]),
    other(
        "-L of a socket by an engineer",
        ENGINEER_STAGE,
        "ssh -F $CFG -N -L $PWD/s:/var/run/docker.sock box & sleep 3; curl -s -m 3 --unix-socket s http://x/_ping; echo $?; kill -9 %1",
        (Recorded, ""),
        FORWARDS,
    )
    .recorded(&[("ssh:forward_local_socket", "refused", "/var/run/docker.sock")]),
    other(
        "-w",
        AGENT_PROD,
        "$PY - <<'E'\nimport os, socket, paramiko\nfrom paramiko.common import cMSG_CHANNEL_OPEN\nt = paramiko.Transport(('127.0.0.1', int(os.environ['PORT'])))\nt.start_client()\nt.auth_password(os.environ['LOGIN'], os.environ['TOKEN'])\nopened = t._send_user_message\ndef tun(m):\n    data = m.asbytes()\n    if data[:1] == cMSG_CHANNEL_OPEN:\n        data += (1).to_bytes(4, 'big') + (0x7fffffff).to_bytes(4, 'big')\n        m = paramiko.Message(data)\n        m.packet.seek(0, 2)\n    opened(m)\nt._send_user_message = tun\ntry:\n    t.open_channel('tun\\x40openssh.com')\n    print('opened')\nexcept paramiko.ChannelException as e:\n    print('refused', e.code)\nE",
        (Recorded, "refused 1"),
        FORWARDS,
    )
    .recorded(&[("ssh:tunnel", "refused", "2147483647")]),
    other(
        "-A",
        AGENT_PROD,
        "eval $(ssh-agent) >/dev/null; ssh -F $CFG -A box 'printenv SSH_AUTH_SOCK'; echo $?; kill $SSH_AGENT_PID",
        (Recorded, "1"),
        "an agent's agent stays where it is",
    )
    .recorded(&[("ssh:forward_agent", "refused", "")]),
    other(
        "-A by an engineer",
        ENGINEER_STAGE,
        "eval $(ssh-agent) >/dev/null; ssh -F $CFG -A box 'printenv SSH_AUTH_SOCK'; echo $?; kill $SSH_AGENT_PID",
        (Recorded, "1"),
        "an agent is forwarded for whoever is in its group",
    )
    .recorded(&[("ssh:forward_agent", "refused", "")]),
    other(
        "BASH_ENV over the wire",
        ENGINEER_STAGE,
        "echo 'echo ran > @' > rc; ssh -F $CFG -o SetEnv=BASH_ENV=$PWD/rc box 'bash -c true'; ssh -F $CFG -o SetEnv=WEIR_TEST_X=1 box 'test -n \"$WEIR_TEST_X\"'; echo $?",
        (Held, "126"),
        "what a variable says that the line has not set waits for people, too",
    )
    .recorded(&[("ssh:env", "refused", "BASH_ENV"), ("ssh:exec", "done", "bash -c true")]),
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
        "ssh -F $CFG -p $HOST_PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -l ${LOGIN%%+*} box 'echo ran > @' 2>&1; echo $?",
        (Recorded, "Permission denied (publickey"),
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
    )
    .recorded(&[("ssh:sftp_write", "done", "uploaded"), ("ssh:exec", "done", "uploaded")]),
];
