"""What paramiko does on an SSH host; prints what it saw."""

import hashlib
import os
import sys

import paramiko


def connect():
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    password = os.environ["PASSWORD"]
    how = {"password": password} if password else {"key_filename": os.environ["KEY"]}
    client.connect(os.environ["HOST"], int(os.environ["PORT"]), os.environ["LOGIN"], allow_agent=False,
                   look_for_keys=False, timeout=20, **how)
    return client


def run(client, command, data=b"", **how):
    stdin, stdout, stderr = client.exec_command(command, timeout=30, **how)
    if data:
        stdin.write(data)
    stdin.channel.shutdown_write()
    out, err = stdout.read(), stderr.read()
    print(command[:60], stdout.channel.recv_exit_status(), out[:60], err[:60], len(out))


def main():
    client = connect()
    run(client, "exit 7")
    run(client, "echo out; echo err >&2")
    run(client, "sha256sum", b"x" * 3_000_000)
    run(client, "head -c 3000000 /dev/zero | tr '\\0' y")
    run(client, "tty >/dev/null && echo tty", get_pty=True)
    run(client, "kill -KILL $$")
    channel = client.get_transport().open_session()
    channel.get_pty("xterm", 90, 33)
    channel.exec_command("echo ready; while [ \"$(stty size)\" = '33 90' ]; do sleep 0.1; done; stty size")
    while not channel.recv(100):
        pass
    channel.resize_pty(100, 44)
    print("resized", channel.recv(100))
    channel.close()
    sftp = client.open_sftp()
    there = os.path.join(os.environ["D"], "file")
    data = os.urandom(2_000_000)
    with sftp.open(there, "wb") as f:
        f.write(data)
    with sftp.open(there, "rb") as f:
        f.prefetch()
        print("same", hashlib.sha256(f.read()).digest() == hashlib.sha256(data).digest())
    sftp.rename(there, there + "2")
    print(sorted(sftp.listdir(os.environ["D"])), sftp.stat(there + "2").st_size)
    sftp.remove(there + "2")
    try:
        sftp.open(there, "rb")
    except OSError as e:
        print("none:", type(e).__name__)
    for n in range(10):
        run(client, f"exit {n}")
    client.close()


if __name__ == "__main__":
    sys.exit(main())
