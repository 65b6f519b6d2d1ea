"""What asyncssh does on an SSH host; prints what it saw."""

import asyncio
import os

import asyncssh


async def main():
    password = os.environ["PASSWORD"]
    how = {"password": password, "client_keys": None} if password else {"client_keys": [os.environ["KEY"]]}
    async with asyncssh.connect(os.environ["HOST"], int(os.environ["PORT"]), username=os.environ["LOGIN"],
                                known_hosts=None, agent_path=None, config=None, **how) as c:
        r = await c.run("exit 7")
        print(r.exit_status, r.exit_signal)
        r = await c.run("echo out; echo err >&2")
        print(r.stdout, r.stderr)
        r = await c.run("sha256sum", input="x" * 3_000_000)
        print(r.stdout)
        r = await c.run("kill -TERM $$")
        print(r.exit_status, r.exit_signal and r.exit_signal[0])
        many = await asyncio.gather(*[c.run(f"sleep 0.0{n % 10}; exit {n}") for n in range(20)])
        print([m.exit_status for m in many])
        async with c.create_process("echo ready; while [ \"$(stty size)\" = '33 90' ]; do sleep 0.1; done; stty size; exit 3",
                                    term_type="xterm", term_size=(90, 33)) as p:
            print((await p.stdout.readline()).strip())
            p.change_terminal_size(100, 44)
            print((await p.stdout.readline()).strip())
            await p.wait()
            print(p.exit_status)
        async with c.create_process("echo ready; exec sleep 3") as p:
            print((await p.stdout.readline()).strip())
            p.send_signal("TERM")
            await p.wait()
            print(p.exit_signal and p.exit_signal[0])
        async with c.start_sftp_client() as sftp:
            there = os.path.join(os.environ["D"], "file")
            data = os.urandom(2_000_000)
            async with sftp.open(there, "wb") as f:
                await f.write(data)
            async with sftp.open(there, "rb") as f:
                print(await f.read() == data)
            await sftp.rename(there, there + "2")
            print(sorted(n for n in await sftp.listdir(os.environ["D"]) if n not in (".", "..")))
            await sftp.remove(there + "2")


asyncio.run(asyncio.wait_for(main(), 60))
