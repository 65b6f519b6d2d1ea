"""pg8000: pure Python, text only, the extended protocol for everything with parameters."""

import datetime
import decimal
import io
import ssl
import uuid

import pg8000.native
from pg8000.exceptions import DatabaseError

from checks import *


def connect(**more):
    return pg8000.native.Connection(USER, host=HOST, port=PORT, password=PASSWORD, database=DATABASE,
                                    ssl_context=ssl.create_default_context(cafile=CA), **more)


def sqlstate(conn, sql, **args):
    try:
        conn.run(sql, **args)
        say("ran")
    except DatabaseError as e:
        say("error", e.args[0]["C"], "reason" if "not today" in e.args[0]["M"] else "")
    say("usable", conn.run("SELECT 1")[0][0])


@check
def connect_():
    with connect(application_name="matrix") as conn:
        say("tls", conn.run("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
        for name in ("server_version", "server_encoding", "integer_datetimes", "standard_conforming_strings",
                     "application_name", "is_superuser"):
            say(name, conn.parameter_statuses.get(name))


@check
def startup():
    with connect(application_name="matrix app") as conn:
        say(conn.run("SHOW application_name"), conn.run("SHOW client_encoding"))
        conn.run("SET TimeZone = 'Asia/Tokyo'")
        say(conn.parameter_statuses.get("TimeZone"), conn.run("SELECT '2026-01-01 00:00+00'::timestamptz"))


@check
def text():
    with connect() as conn:
        for args in ({}, {"one": 1}):
            found = conn.run("SELECT * FROM kinds" + (" WHERE id >= :one" if args else "") + " ORDER BY id", **args)
            say([(c["name"], c["type_oid"], c["type_size"], c["type_modifier"], c["table_oid"] != 0)
                 for c in conn.columns])
            rows(found)


@check
def prepared():
    with connect() as conn:
        ps = conn.prepare("SELECT id, item, cast(:t as text) FROM orders WHERE id > :n ORDER BY id LIMIT 2")
        for n in range(12):
            rows(ps.run(n=n, t=f"it's {n}"))
        ps.close()


@check
def params():
    with connect() as conn:
        utc = datetime.timezone.utc
        for cast, value in (
            ("bool", True), ("int4", 2**31 - 1), ("int8", -(2**63)), ("float8", 2.25),
            ("numeric", decimal.Decimal("12345678901234567890.0123")), ("text", "t ' \\ \u00e9\U0001f418"),
            ("bytea", b"\x00\x01\xff'"), ("date", datetime.date(2026, 2, 28)), ("time", datetime.time(1, 2, 3, 4)),
            ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5, 6)),
            ("timestamptz", datetime.datetime(2026, 1, 2, 3, 4, 5, 6, utc)), ("interval", datetime.timedelta(days=3)),
            ("uuid", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")), ("jsonb", '{"a": [1, null]}'),
            ("int4[]", [1, 2, None]), ("text[]", ["a", None, "b,c"]), ("mood", "happy"),
        ):
            rows(conn.run(f"SELECT cast(:v as {cast}), cast(:v as {cast}) IS NULL", v=value))
            rows(conn.run(f"SELECT cast(:v as {cast}), cast(:v as {cast}) IS NULL", v=None))
        sqlstate(conn, "SELECT cast(:v as int4)", v="no number")


@check
def transaction():
    with connect() as conn:
        conn.run("START TRANSACTION")
        conn.run("INSERT INTO probe VALUES (:v)", v="kept")
        conn.run("SAVEPOINT s")
        try:
            conn.run("INSERT INTO probe VALUES (:v)", v=None)
        except DatabaseError as e:
            say(e.args[0]["C"])
        conn.run("ROLLBACK TO SAVEPOINT s")
        conn.run("COMMIT")
        rows(conn.run("SELECT v FROM probe ORDER BY v"))


@check
def errors():
    with connect() as conn:
        for sql in ("SELECT 1/0", "SELECT nothing FROM orders", "SELECT 'x'::int", "INSERT INTO probe VALUES (NULL)",
                    "INSERT INTO kinds (id) VALUES (1)", "SELECT sum(item) FROM orders"):
            try:
                conn.run(sql)
            except DatabaseError as e:
                say(sorted(e.args[0].items()))
            say("usable", conn.run("SELECT 1"))
        conn.run("CREATE TABLE IF NOT EXISTS probe (v text)")
        say([sorted(n.items()) for n in conn.notices])


@check
def cursor():
    with connect() as conn:
        conn.run("START TRANSACTION")
        conn.run("DECLARE c SCROLL CURSOR FOR SELECT id, item FROM orders ORDER BY id")
        rows(conn.run("FETCH FORWARD 5 FROM c"))
        conn.run("MOVE FORWARD 10 FROM c")
        rows(conn.run("FETCH BACKWARD 2 FROM c"))
        conn.run("CLOSE c")
        conn.run("COMMIT")


@check
def copy():
    with connect() as conn:
        conn.run("COPY probe FROM STDIN", stream=io.BytesIO(b"".join(b"line %d\n" % n for n in range(1000))))
        say(conn.row_count)
        out = io.BytesIO()
        conn.run("COPY probe TO STDOUT", stream=out)
        say(len(out.getvalue()))
        out = io.StringIO()
        conn.run("COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT", stream=out)
        say(repr(out.getvalue()))
        conn.run("CREATE TEMP TABLE numbers (a int8, b int8)")
        conn.run("COPY numbers FROM STDIN WITH (FORMAT csv)", stream=["1,2\n", "3,4\n"])
        try:
            conn.run("COPY numbers FROM STDIN", stream=["1\tno number\n"])
        except DatabaseError as e:
            say(e.args[0]["C"], e.args[0]["W"])
        rows(conn.run("SELECT count(*) FROM numbers"))


@check
def large():
    with connect() as conn:
        for size in (1 << 20, 2 << 20):
            row = conn.run("SELECT length(:x), cast(:x as text), repeat('y', cast(:n as int))", x="x" * size, n=size)[0]
            say(row[0], len(row[1]), row[1] == "x" * size, row[2] == "y" * size)
        data = bytes(range(256)) * 4096
        say(conn.run("SELECT cast(:d as bytea)", d=data)[0][0] == data)
        found = conn.run("SELECT n, repeat('z', 1000) FROM generate_series(1, 5000) n")
        say(len(found), sum(r[0] for r in found))


@check
def notify():
    with connect() as listener, connect() as speaker:
        listener.run("LISTEN matrix")
        speaker.run("NOTIFY matrix, 'one'")
        speaker.run("SELECT pg_notify('matrix', :p)", p="two")
        for _ in range(20):
            listener.run("SELECT 1")
            if len(listener.notifications) == 2:
                break
        say([n[1:] for n in listener.notifications])


@check
def cancel():
    with connect() as conn:
        # This driver sends no cancel requests; the server's own limit has to do.
        conn.run("SET statement_timeout = 300")
        sqlstate(conn, LONG)


@check
def reset():
    with connect() as conn:
        for sql in ("RESET ALL", "DISCARD ALL", "CLOSE ALL", "UNLISTEN *"):
            conn.run("SET work_mem = '6MB'")
            sqlstate(conn, sql)
            say(conn.run("SHOW work_mem"))


@check
def multi():
    with connect() as conn:
        say(conn.run("SELECT 1; SELECT 2; INSERT INTO probe VALUES ('m')"), conn.row_count)
        sqlstate(conn, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')")
        say(conn.run("SELECT count(*) FROM probe WHERE v = 'never'"))
        say(conn.run(""))


@check
def masked():
    with connect() as conn:
        rows(conn.run("SELECT id, ssn, email, card FROM customers WHERE id > 17 ORDER BY id"))
        ps = conn.prepare("SELECT id, ssn, email, card FROM customers WHERE id > :n ORDER BY id")
        for n in (16, 17):
            rows(ps.run(n=n))
        out = io.StringIO()
        conn.run("COPY customers (id, ssn, email, card) TO STDOUT", stream=out)
        for line in out.getvalue().splitlines():
            say(line)


@check
def approved():
    with connect() as conn:
        sqlstate(conn, HELD.format(1, "approve"))
        sqlstate(conn, HELD.format(":id", "approve"), id=2)
        rows(conn.run(HELD.format(":id", "approve") + " RETURNING id, balance", id=3))
        rows(conn.run("SELECT id, balance FROM accounts WHERE id < 5 ORDER BY id"))


@check
def denied():
    with connect() as conn:
        sqlstate(conn, HELD.format(11, "deny"))
        sqlstate(conn, HELD.format(":id", "deny"), id=12)


run(pg8000.__version__)
