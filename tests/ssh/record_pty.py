"""A person at a terminal: runs a program in one, types when it has shown something, and keeps what it was shown.

record_pty.py STEPS SEEN COLUMNSxROWS PROGRAM...

STEPS is a file of JSON: a list of ["raw"], which waits until the program has taken over the terminal, ["expect", text],
["type", text] and ["resize", columns, rows]. SEEN gets the bytes that the program wrote to its terminal, exactly. With
COLUMNSxROWS,raw the terminal adds nothing from the beginning. Ends as the program does; 90: it did not show what was
expected.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time
import tty

# No step takes longer, however busy the machine is.
PATIENCE = 30


def resize(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    def __init__(self, fd, kept):
        self.fd, self.kept = fd, kept
        self.seen = b""
        self.over = False

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            # What Linux says when nobody has the other end open.
            data = b""
        if not data:
            self.over = True
        self.kept.write(data)
        self.kept.flush()
        self.seen += data

    def raw(self):
        until = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if self.over or time.monotonic() > until:
                raise TimeoutError("nobody takes over the terminal")
            self.read(0.02)

    def expect(self, text):
        wanted = text.encode()
        until = time.monotonic() + PATIENCE
        while wanted not in self.seen:
            left = until - time.monotonic()
            if self.over or left <= 0:
                raise TimeoutError(f"{text!r} is not in {self.seen!r}")
            self.read(left)
        self.seen = self.seen[self.seen.index(wanted) + len(wanted):]

    def rest(self):
        until = time.monotonic() + PATIENCE
        while not self.over:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("it does not end")
            self.read(left)


def main():
    steps, seen, size, *program = sys.argv[1:]
    with open(steps, encoding="utf-8") as file:
        steps = json.load(file)
    size, _, mode = size.partition(",")
    control, terminal = pty.openpty()
    resize(terminal, *map(int, size.split("x")))
    if mode == "raw":
        tty.setraw(terminal)
    pid = os.fork()
    if pid == 0:
        os.close(control)
        os.login_tty(terminal)
        os.execvp(program[0], program)
    os.close(terminal)
    with open(seen, "wb") as kept:
        person = Terminal(control, kept)
        try:
            for step, *what in steps:
                if step == "raw":
                    person.raw()
                elif step == "expect":
                    person.expect(*what)
                elif step == "type":
                    os.write(control, what[0].encode())
                elif step == "resize":
                    resize(control, *what)
                else:
                    raise ValueError(f"no such step: {step}")
            person.rest()
        except (TimeoutError, OSError) as error:
            print(error, file=sys.stderr)
            # A shell minds nothing less.
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            sys.exit(90)
    _, status = os.waitpid(pid, 0)
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


if __name__ == "__main__":
    main()
