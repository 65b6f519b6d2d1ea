"""psycopg2, on the libpq that its wheel brings along: text only, parameters merged into the text."""

import datetime
import decimal
import io
import threading
import time
import uuid

import psycopg2
import psycopg2.errorcodes
import psycopg2.extras
from psycopg2.extensions import (ISOLATION_LEVEL_AUTOCOMMIT, ISOLATION_LEVEL_SERIALIZABLE,
                                 TRANSACTION_STATUS_INERROR)

from checks import *

psycopg2.extras.register_uuid()


def connect(autocommit=True, **more):
    conn = psycopg2.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE,
                            sslmode="verify-full", sslrootcert=CA, **more)
    conn.autocommit = autocommit
    return conn


def execute(conn, sql, args=None):
    cur = conn.cursor()
    cur.execute(sql, args)
    return cur.fetchall() if cur.description else cur.statusmessage


def sqlstate(conn, sql, args=None):
    try:
        execute(conn, sql, args)
        say("ran")
    except psycopg2.Error as e:
        say("error", e.pgcode, "reason" if "not today" in str(e) else "")
    if conn.get_transaction_status() == TRANSACTION_STATUS_INERROR:
        conn.rollback()
    say("usable", execute(conn, "SELECT 1")[0][0])


@check
def connect_():
    conn = connect(application_name="matrix")
    say("tls", conn.info.ssl_in_use, "version", conn.server_version, conn.encoding)
    for name in ("server_encoding", "integer_datetimes", "standard_conforming_strings", "application_name"):
        say(name, conn.get_parameter_status(name))
    conn.close()


@check
def startup():
    conn = connect(application_name="matrix app",
                   options="-c statement_timeout=54321 -c DateStyle=ISO,DMY -c search_path=public")
    for name in ("TimeZone", "DateStyle", "statement_timeout", "search_path", "application_name"):
        say(name, execute(conn, f"SHOW {name}"))
    execute(conn, "SET statement_timeout = 5")
    execute(conn, "RESET statement_timeout")
    say(execute(conn, "SHOW statement_timeout"))
    conn.close()


@check
def text():
    conn = connect()
    cur = conn.cursor()
    cur.execute("SELECT * FROM kinds ORDER BY id")
    say([(c.name, c.type_code, c.internal_size, c.precision, c.scale, c.table_oid, c.table_column)
         for c in cur.description])
    rows(cur.fetchall())
    conn.close()


@check
def prepared():
    conn = connect()
    execute(conn, "PREPARE p (int, text) AS SELECT id, item, $2 FROM orders WHERE id > $1 ORDER BY id LIMIT 2")
    for n in range(10):
        rows(execute(conn, "EXECUTE p (%s, %s)", (n, f"it's {n}")))
    execute(conn, "DEALLOCATE p")
    sqlstate(conn, "EXECUTE p (1, 'x')")
    conn.close()


@check
def params():
    conn = connect()
    for value in (True, -(2**63), 2.25, decimal.Decimal("12345678901234567890.0123"), "text ' \\ \u00e9\U0001f418",
                  psycopg2.Binary(b"\x00\x01\xff'\\"), datetime.date(2026, 2, 28), datetime.time(1, 2, 3, 4),
                  datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc), datetime.timedelta(days=3),
                  uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), psycopg2.extras.Json({"a": [1, None]}),
                  [1, 2, None], ["a", None, "b,c"], None):
        rows(execute(conn, "SELECT %s", (value,)))
    rows(execute(conn, "SELECT %(a)s, %(b)s IS NULL", {"a": 1, "b": None}))
    cur = conn.cursor()
    psycopg2.extras.execute_values(cur, "INSERT INTO probe (v) VALUES %s", [(f"v{n}",) for n in range(500)])
    psycopg2.extras.execute_batch(cur, "INSERT INTO probe VALUES (%s)", [(f"b{n}",) for n in range(300)])
    rows(execute(conn, "SELECT count(*), min(v), max(v) FROM probe"))
    conn.close()


@check
def transaction():
    with connect(autocommit=False) as conn:
        execute(conn, "INSERT INTO probe VALUES ('kept')")
        execute(conn, "SAVEPOINT s")
        try:
            execute(conn, "INSERT INTO probe VALUES (NULL)")
        except psycopg2.Error as e:
            say(e.pgcode)
        execute(conn, "ROLLBACK TO SAVEPOINT s")
        execute(conn, "RELEASE SAVEPOINT s")
    rows(execute(conn, "SELECT v FROM probe WHERE v = 'kept'"))
    conn.rollback()
    conn.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE, readonly=True, deferrable=True)
    sqlstate(conn, "INSERT INTO probe VALUES ('no')")
    rows(execute(conn, "SHOW transaction_isolation"))
    conn.rollback()
    conn.reset()
    conn.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    execute(conn, "INSERT INTO probe VALUES ('auto')")
    conn.close()


@check
def errors():
    conn = connect()
    for sql in ("SELECT 1/0", "SELECT nothing FROM orders", "SELECT 'x'::int", "INSERT INTO probe VALUES (NULL)",
                "INSERT INTO kinds (id) VALUES (1)", "SELECT sum(item) FROM orders"):
        try:
            execute(conn, sql)
        except psycopg2.Error as e:
            d = e.diag
            say(type(e).__name__, e.pgcode, psycopg2.errorcodes.lookup(e.pgcode), str(e), d.severity,
                d.message_primary, d.statement_position, d.table_name, d.column_name, d.constraint_name)
        say("usable", execute(conn, "SELECT 1"))
    execute(conn, "CREATE TABLE IF NOT EXISTS probe (v text)")
    say(conn.notices)
    conn.close()


@check
def cursor():
    conn = connect(autocommit=False)
    cur = conn.cursor("named", scrollable=True)
    cur.itersize = 7
    cur.execute("SELECT id, item FROM orders ORDER BY id LIMIT 30")
    rows(cur)
    cur.scroll(0, mode="absolute")
    rows(cur.fetchmany(3))
    cur.close()
    conn.commit()
    cur = conn.cursor("held", withhold=True)
    cur.execute("SELECT id FROM orders ORDER BY id LIMIT 5")
    conn.commit()
    rows(cur.fetchall())
    conn.close()


@check
def copy():
    conn = connect()
    cur = conn.cursor()
    cur.copy_from(io.StringIO("".join(f"line {n}\n" for n in range(1000))), "probe")
    say(cur.statusmessage)
    out = io.StringIO()
    cur.copy_to(out, "probe")
    say(len(out.getvalue()))
    out = io.StringIO()
    cur.copy_expert("COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT", out)
    say(repr(out.getvalue()))
    cur.execute("CREATE TEMP TABLE numbers (a int8, b int8)")
    cur.copy_expert("COPY numbers FROM STDIN WITH CSV HEADER", io.StringIO("a,b\n1,2\n3,4\n"))
    try:
        cur.copy_expert("COPY numbers FROM STDIN", io.StringIO("1\tno number\n"))
    except psycopg2.Error as e:
        say(e.pgcode, e.diag.context)
    rows(execute(conn, "SELECT count(*) FROM numbers"))
    conn.close()


@check
def large():
    conn = connect()
    # Parameters are part of the text here, and Weir reads no text of more than 4 MiB.
    for size in (1 << 18, 1 << 20):
        row = execute(conn, "SELECT length(%s), %s::text, repeat('y', %s)", ("x" * size, "x" * size, size))[0]
        say(row[0], len(row[1]), row[1] == "x" * size, row[2] == "y" * size)
    data = bytes(range(256)) * 4096
    say(bytes(execute(conn, "SELECT %s::bytea", (psycopg2.Binary(data),))[0][0]) == data)
    found = execute(conn, "SELECT n, repeat('z', 1000) FROM generate_series(1, 10000) n")
    say(len(found), sum(r[0] for r in found))
    conn.close()


@check
def notify():
    listener, speaker = connect(), connect()
    execute(listener, "LISTEN matrix")
    execute(speaker, "NOTIFY matrix, 'one'")
    execute(speaker, "SELECT pg_notify('matrix', 'two')")
    deadline = time.monotonic() + 10
    while len(listener.notifies) < 2 and time.monotonic() < deadline:
        listener.poll()
        time.sleep(0.02)
    say([(n.channel, n.payload) for n in listener.notifies])


@check
def cancel():
    conn = connect()
    timer = threading.Timer(PATIENCE / 2, conn.cancel)
    timer.start()
    sqlstate(conn, LONG)
    timer.join()
    execute(conn, "SET statement_timeout = 300")
    sqlstate(conn, LONG)
    conn.close()


@check
def reset():
    conn = connect(options="-c work_mem=5MB")
    for sql in ("RESET ALL", "DISCARD ALL", "SET SESSION AUTHORIZATION DEFAULT", "CLOSE ALL"):
        execute(conn, "SET work_mem = '6MB'")
        sqlstate(conn, sql)
        say(execute(conn, "SHOW work_mem"))
    execute(conn, "SET work_mem = '6MB'")
    conn.reset()
    say(execute(conn, "SHOW work_mem"))
    conn.close()


@check
def introspect():
    conn = connect()
    say(psycopg2.extras.HstoreAdapter.get_oids(conn))
    pair = psycopg2.extras.register_composite("pair", conn)
    say(pair.name, pair.attnames, pair.atttypes)
    rows(execute(conn, "SELECT (7, 'seven')::pair"))
    say(psycopg2.extras.register_ipaddress(conn) is None)
    conn.close()


@check
def multi():
    conn = connect()
    say(execute(conn, "SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m'); SELECT v FROM probe WHERE v = 'm'"))
    sqlstate(conn, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')")
    say(execute(conn, "SELECT count(*) FROM probe WHERE v = 'never'"))
    try:
        execute(conn, "")
    except psycopg2.Error as e:
        say(type(e).__name__, e)
    conn.close()


@check
def masked():
    conn = connect(autocommit=False)
    rows(execute(conn, "SELECT id, ssn, email, card FROM customers WHERE id > %s ORDER BY id", (17,)))
    cur = conn.cursor("named")
    cur.itersize = 2
    cur.execute("SELECT id, ssn, email, card FROM customers ORDER BY id LIMIT 3")
    rows(cur)
    execute(conn, "PREPARE p AS SELECT id, ssn, email, card FROM customers WHERE id = $1")
    rows(execute(conn, "EXECUTE p (4)"))
    out = io.StringIO()
    conn.cursor().copy_expert("COPY customers (id, ssn, email, card) TO STDOUT", out)
    for line in out.getvalue().splitlines():
        say(line)
    conn.reset()
    rows(execute(conn, "SELECT id, ssn, email, card FROM customers WHERE id = 4"))
    conn.close()


@check
def approved():
    conn = connect()
    sqlstate(conn, HELD.format(1, "approve"))
    conn.autocommit = False
    execute(conn, "INSERT INTO probe VALUES ('in the same transaction')")
    sqlstate(conn, HELD.format("%s", "approve") + " RETURNING balance", (2,))
    conn.commit()
    rows(execute(conn, "SELECT id, balance FROM accounts WHERE id < 4 ORDER BY id"))
    conn.close()


@check
def denied():
    conn = connect()
    sqlstate(conn, HELD.format(11, "deny"))
    conn.autocommit = False
    sqlstate(conn, HELD.format("%s", "deny"), (12,))
    conn.close()


@check
def cancelled():
    conn = connect()
    timer = threading.Timer(PATIENCE, conn.cancel)
    timer.start()
    sqlstate(conn, HELD.format(21, "leave"))
    timer.cancel()
    conn.close()


libpq = psycopg2.extensions.libpq_version()
run(f"{psycopg2.__version__.split(' ')[0]} (libpq {libpq // 10000}.{libpq % 10000})")
