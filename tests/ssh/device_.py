"""Logs in at the prompt of SSH by the device flow, with one client; prints what it showed and how it ended.

device_.py CLIENT, with what tests set for clients of SSH, and
  PLAY     where play.mjs is; ISSUER: the provider
  PERSON   who agrees there; nobody if empty, and "!" refuses
  ANSWER   what is typed at the prompt, before anybody agrees with a "<" before it; "!": the client goes away instead
"""

import asyncio
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

PATIENCE = 40
PERSON, ANSWER = os.environ["PERSON"], os.environ["ANSWER"]
HOST, PORT, LOGIN = (os.environ[name] for name in ("HOST", "PORT", "LOGIN"))
COMMAND = "echo in as $((40+2))"


def goes_to_a_browser(text):
    url = re.search(r"https?://\S+/device\S*", text).group(0)
    command = ["node", "play.mjs", os.environ["ISSUER"]]
    if PERSON:
        command += ["deny", url] if PERSON == "!" else ["approve", url, PERSON]
        subprocess.run(command, cwd=os.environ["PLAY"], check=True, stdout=subprocess.DEVNULL)


def in_a_terminal(*argv):
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    said, until = b"", time.monotonic() + PATIENCE

    def more():
        nonlocal said
        if not select.select([fd], [], [], max(0, until - time.monotonic()))[0]:
            raise SystemExit(f"it waits: {said!r}")
        try:
            data = os.read(fd, 65536)
        except OSError:
            data = b""
        said += data
        return data

    asked = re.compile(rb"Press Enter once [^:]* is approved at [\s\S]* : ")
    while not asked.search(said) and more():
        pass
    if asked.search(said):
        if ANSWER == "!":
            os.kill(pid, signal.SIGKILL)
        elif ANSWER.startswith("<"):
            os.write(fd, ANSWER[1:].encode() + b"\r")
        goes_to_a_browser(said.decode())
        if not ANSWER.startswith(("<", "!")):
            os.write(fd, ANSWER.encode() + b"\r")
        while more():
            pass
    print(said.decode().replace("\r\n", "\n"))
    print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def openssh(*more, level="INFO"):
    in_a_terminal("ssh", "-F", os.environ["CFG"], "-o", f"LogLevel={level}", "-o", "NumberOfPasswordPrompts=1",
                  "-o", "PreferredAuthentications=keyboard-interactive", *(more or ("-o", "BatchMode=no")), *sys.argv[2:], "box", COMMAND)


def plink():
    in_a_terminal("plink", "-ssh", "-no-antispoof", "-hostkey", os.environ["FINGERPRINT"], "-P", PORT, "-l", LOGIN,
                  HOST, COMMAND)


def dbclient():
    os.environ["HOME"] = os.environ["D"]
    in_a_terminal("dbclient", "-y", "-y", "-p", PORT, "-l", LOGIN, HOST, COMMAND)


def by_paramiko():
    import paramiko
    transport = paramiko.Transport((HOST, int(PORT)))
    transport.start_client(timeout=20)

    def answers(title, instructions, prompts):
        print(instructions, prompts)
        goes_to_a_browser(instructions)
        return [ANSWER] * len(prompts)

    transport.auth_interactive(LOGIN, answers)
    channel = transport.open_session()
    channel.exec_command(COMMAND)
    print(channel.makefile().read().decode())
    print("exit", channel.recv_exit_status())
    transport.close()


async def by_asyncssh():
    import asyncssh

    class Client(asyncssh.SSHClient):
        def kbdint_auth_requested(self):
            return ""

        async def kbdint_challenge_received(self, name, instructions, lang, prompts):
            print(instructions, prompts)
            await asyncio.to_thread(goes_to_a_browser, instructions)
            return [ANSWER] * len(prompts)

    async with asyncssh.connect(HOST, int(PORT), username=LOGIN, known_hosts=None, agent_path=None, config=None,
                                client_keys=None, client_factory=Client) as client:
        result = await client.run(COMMAND)
        print(result.stdout)
        print("exit", result.exit_status)


def ssh2():
    program = """
const { Client } = require('ssh2');
const { execFileSync } = require('child_process');
const env = process.env, c = new Client();
c.on('keyboard-interactive', (name, instructions, lang, prompts, finish) => {
  console.log(instructions, prompts);
  const url = /https?:\\S+\\/device\\S*/.exec(instructions)[0];
  execFileSync('node', ['play.mjs', env.ISSUER, 'approve', url, env.PERSON], { cwd: env.PLAY });
  finish(prompts.map(() => env.ANSWER));
});
c.on('ready', () => c.exec(env.COMMAND, (error, stream) => {
  stream.on('data', (d) => process.stdout.write(d)).on('exit', (n) => { console.log('exit', n); c.end(); });
}));
c.on('error', (e) => console.log('error', e.message));
c.connect({ host: env.HOST, port: env.PORT, username: env.LOGIN, tryKeyboard: true });
"""
    subprocess.run(["node", "-e", program], env={**os.environ, "COMMAND": COMMAND}, timeout=PATIENCE)


CLIENTS = {
    "openssh": openssh,
    "quiet": lambda: openssh(level="ERROR"),
    "batch": lambda: openssh("-o", "BatchMode=yes"),
    "plink": plink,
    "dbclient": dbclient,
    "paramiko": by_paramiko,
    "asyncssh": lambda: asyncio.run(asyncio.wait_for(by_asyncssh(), PATIENCE)),
    "ssh2": ssh2,
}
CLIENTS[sys.argv[1]]()
