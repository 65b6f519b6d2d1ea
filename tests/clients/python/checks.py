"""What the Python clients of the matrix share: where to connect, and how to tell what came.

A script registers its checks in order and prints, for each, what it saw. It does not know whether
it talks to PostgreSQL or to Weir: what it prints must be the same.
"""

import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = os.environ["WEIR_HOST"]
PORT = int(os.environ["WEIR_PORT"])
USER = os.environ["WEIR_USER"]
PASSWORD = os.environ["WEIR_PASSWORD"]
DATABASE = os.environ["WEIR_DATABASE"]
# The certificate that the server shows, to be verified with the host's name.
CA = os.environ["WEIR_CA"]

# What runs until it is cancelled.
LONG = "SELECT count(*) FROM generate_series(1, 20000000000)"
# What policy lets no single person do: it waits for somebody else.
HELD = "UPDATE accounts SET balance = balance + 1 WHERE id = {} /* {} */"
# How long a client waits for either before it cancels.
PATIENCE = 1.0

_checks = []


def check(function):
    """Registers a check under the name of its function, without what keeps it from a keyword."""
    _checks.append((function.__name__.rstrip("_"), function))
    return function


def say(*values):
    """One line of what was seen."""
    print(*(repr(v) if isinstance(v, (bytes, bytearray, memoryview)) else v for v in values))


def rows(found):
    for row in found:
        print("row", [bytes(v) if isinstance(v, memoryview) else v for v in row])


def run(version):
    print("@version", version)
    only = [name for name in os.environ.get("WEIR_CHECK", "").split(",") if name]
    for name, function in _checks:
        if only and name not in only:
            continue
        print("@check", name)
        try:
            function()
        except BaseException as e:
            where = traceback.extract_tb(e.__traceback__)
            ours = [f"{f.name}:{f.lineno}" for f in where if f.filename.startswith(HERE)]
            print("UNEXPECTED", type(e).__name__, str(e)[:1000].replace("\n", "\n  "), *ours)
        sys.stdout.flush()
    print("@end")
