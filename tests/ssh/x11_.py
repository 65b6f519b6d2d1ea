"""What a program does that has a window to show: says hello to $DISPLAY, with the cookie that sshd gave to `xauth`."""

import os
import re
import socket
import sys

display = re.fullmatch(r"(?:localhost|127\.0\.0\.1):(\d+)\.\d+", os.environ.get("DISPLAY", ""))
if not display:
    sys.exit("no display")
number = display.group(1)
added = re.findall(rf"add \S*:{number}\.\d+ (\S+) ([0-9a-f]+)", open(sys.argv[1]).read())
name, cookie = added[-1][0].encode(), bytes.fromhex(added[-1][1])
with socket.create_connection(("127.0.0.1", 6000 + int(number)), 10) as s:
    padded = [part + bytes(-len(part) % 4) for part in (name, cookie)]
    head = b"l\0" + b"".join(n.to_bytes(2, "little") for n in (11, 0, len(name), len(cookie), 0))
    s.sendall(head + b"".join(padded))
    print(s.makefile().read())
