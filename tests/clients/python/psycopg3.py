"""psycopg 3, on the libpq that its wheel brings along."""

import datetime
import decimal
import threading
import uuid

import psycopg
from psycopg import pq
from psycopg.types.json import Jsonb

from checks import *


def connect(**more):
    return psycopg.connect(
        host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE,
        sslmode="verify-full", sslrootcert=CA, autocommit=True, **more,
    )


def sqlstate(conn, sql, *args):
    try:
        conn.execute(sql, *args)
        say("ran")
    except psycopg.Error as e:
        say("error", e.sqlstate, "reason" if "not today" in str(e) else "")
    if conn.info.transaction_status == pq.TransactionStatus.INERROR:
        conn.rollback()
    say("usable", conn.execute("SELECT 1").fetchone()[0])


@check
def connect_():
    with connect(application_name="matrix") as conn:
        say("tls", conn.pgconn.ssl_in_use, "version", conn.info.server_version)
        say("encoding", conn.info.encoding, "user", conn.execute("SELECT current_user").fetchone())
        for name in ("server_encoding", "integer_datetimes", "standard_conforming_strings",
                     "IntervalStyle", "is_superuser", "in_hot_standby"):
            say(name, conn.info.parameter_status(name))


@check
def startup():
    with connect(
        application_name="matrix app",
        options="-c statement_timeout=54321 -c search_path=public,pg_catalog "
                "-c DateStyle=German -c extra_float_digits=0 -c work\\_mem=5MB",
    ) as conn:
        names = ("TimeZone", "DateStyle", "statement_timeout", "search_path", "application_name",
                 "extra_float_digits", "work_mem", "client_encoding")
        for when in ("at start", "set", "after RESET ALL"):
            for name in names:
                say(when, name, conn.execute(f"SHOW {name}").fetchone()[0])
            say(conn.info.parameter_status("TimeZone"), conn.info.parameter_status("DateStyle"))
            if when == "at start":
                for name in ("TimeZone = 'Asia/Tokyo'", "statement_timeout = 0", "DateStyle = 'SQL'"):
                    conn.execute(f"SET {name}")
            else:
                conn.execute("RESET ALL")


def kinds(binary):
    with connect() as conn:
        cur = conn.cursor(binary=binary)
        cur.execute("SELECT * FROM kinds ORDER BY id")
        say([(c.name, c.type_code) for c in cur.description])
        rows(cur.fetchall())
        # As they came over the wire.
        say([cur.pgresult.get_value(r, c) for r in range(3) for c in range(cur.pgresult.nfields)])
        say([cur.pgresult.fformat(c) for c in range(cur.pgresult.nfields)])
        say([cur.pgresult.ftable(c) != 0 for c in range(cur.pgresult.nfields)])


@check
def text():
    kinds(False)


@check
def binary():
    kinds(True)


@check
def prepared():
    with connect() as conn:
        conn.prepare_threshold, conn.prepared_max = 2, 3
        for n in range(20):
            for k in range(5):
                sql = f"SELECT id, {k}, item FROM orders WHERE id > %s ORDER BY id LIMIT 2"
                rows(conn.execute(sql, (n,), binary=n % 2 == 0))
        conn.execute("CREATE TEMP TABLE shape (a int)")
        for n in range(4):
            rows(conn.execute("SELECT * FROM shape", prepare=True))
        conn.execute("ALTER TABLE shape ADD COLUMN b int")
        sqlstate(conn, "SELECT * FROM shape")
        conn.execute("DEALLOCATE ALL")
        sqlstate(conn, "SELECT * FROM shape")


VALUES = [
    True, -32768, 2**31 - 1, -(2**63), 1.5, 2.25, decimal.Decimal("12345678901234567890.0123"),
    "text with ' and \\ and \u00e9\U0001f418", "varchar", b"\x00\x01\xff'\\", datetime.date(2026, 2, 28),
    datetime.time(1, 2, 3, 4), datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc), datetime.timedelta(days=3, seconds=5),
    uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), Jsonb({"a": [1, None, "x"]}), [1, 2, None], ["a", None, "b,c"],
]
CASTS = ["bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bytea", "date", "time",
         "timestamp", "timestamptz", "interval", "uuid", "jsonb", "int4[]", "text[]"]


@check
def params():
    with connect() as conn:
        for binary in (False, True):
            mark = "%b" if binary else "%t"
            for value, cast in zip(VALUES, CASTS):
                sql = f"SELECT {mark}::{cast}, {mark}::{cast} IS NULL"
                rows(conn.execute(sql, (value, value), binary=binary))
                rows(conn.execute(sql, (None, None), binary=binary))
        every = ", ".join(f"%s::{c}" for c in CASTS)
        rows(conn.execute(f"SELECT {every}", VALUES))
        sqlstate(conn, "SELECT %s::int4", ("no number",))


@check
def transaction():
    with connect() as conn:
        with conn.transaction():
            conn.execute("INSERT INTO probe VALUES ('kept')")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO probe VALUES ('lost')")
                    conn.execute("SELECT 1/0")
            except psycopg.errors.DivisionByZero:
                say("rolled back to the savepoint")
            conn.execute("INSERT INTO probe VALUES ('too')")
        rows(conn.execute("SELECT v FROM probe ORDER BY v"))
        conn.autocommit = False
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        sqlstate(conn, "INSERT INTO probe VALUES ('no')")
        rows(conn.execute("SHOW transaction_isolation"))
        conn.rollback()
        conn.read_only = conn.isolation_level = None
        conn.autocommit = True
        with conn.transaction(force_rollback=True):
            conn.execute("DELETE FROM probe")
        rows(conn.execute("SELECT count(*) FROM probe"))
    with connect() as conn:
        conn.autocommit = False
        conn.tpc_begin(conn.xid(1, "gtrid", "bqual"))
        conn.execute("INSERT INTO probe VALUES ('two phases')")
        try:
            conn.tpc_prepare()
            conn.tpc_commit()
        except psycopg.Error as e:
            say(e.sqlstate)
            conn.tpc_rollback()


@check
def errors():
    with connect() as conn:
        for sql in (
            "SELECT 1/0", "SELECT nothing FROM orders", "SELECT 'x'::int",
            "INSERT INTO orders (id, customer_id, item, amount, placed) "
            "SELECT id, customer_id, item, amount, placed FROM orders LIMIT 1",
            "INSERT INTO probe VALUES (NULL)", "SELECT sum(item) FROM orders",
        ):
            try:
                conn.execute(sql)
            except psycopg.Error as e:
                d = e.diag
                say(type(e).__name__, d.sqlstate, d.severity, d.message_primary, d.message_detail, d.message_hint,
                    d.statement_position, d.schema_name, d.table_name, d.column_name, d.constraint_name)
            say("usable", conn.execute("SELECT 1").fetchone())
        # Weir knows no position of what its parser does not understand, and adds where to ask.
        try:
            conn.execute("SELEC 1")
        except psycopg.Error as e:
            say(type(e).__name__, e.diag.sqlstate, e.diag.message_primary)
        notices = []
        conn.add_notice_handler(lambda d: notices.append((d.severity, d.sqlstate, d.message_primary)))
        conn.execute("CREATE TABLE IF NOT EXISTS probe (v text)")
        say(notices)


@check
def cursor():
    with connect() as conn, conn.transaction():
        for binary in (False, True):
            with conn.cursor("named", binary=binary, scrollable=True) as cur:
                cur.itersize = 7
                cur.execute("SELECT id, item FROM orders ORDER BY id LIMIT 30")
                rows(cur)
                cur.scroll(0, mode="absolute")
                rows(cur.fetchmany(3))
    with connect() as conn:
        cur = conn.cursor(binary=True)
        total = 0
        for row in cur.stream("SELECT id, item FROM orders", size=1):
            total += row[0]
        for row in cur.stream("SELECT id, item FROM orders", size=50):
            total += row[0]
        say(total)


@check
def copy():
    with connect() as conn, conn.cursor() as cur:
        with cur.copy("COPY probe FROM STDIN") as to:
            for n in range(1000):
                to.write_row((f"line {n}\t\\",))
        say(cur.statusmessage)
        with cur.copy("COPY probe TO STDOUT") as out:
            read = [*out.rows()]
        say(len(read), read[0], read[-1], cur.statusmessage)
        with cur.copy("COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT") as out:
            say([bytes(b) for b in out])
        cur.execute("CREATE TEMP TABLE numbers (a int8, b int8)")
        with cur.copy("COPY numbers FROM STDIN (FORMAT binary)") as to:
            to.set_types(["int8", "int8"])
            for n in range(100):
                to.write_row((n, n * n))
        rows(cur.execute("SELECT sum(a), sum(b) FROM numbers"))
        with cur.copy("COPY numbers FROM STDIN (FORMAT csv)") as to:
            to.write("1,2\n3,4\n")
        rows(cur.execute("SELECT count(*) FROM numbers"))
        try:
            with cur.copy("COPY numbers FROM STDIN") as to:
                to.write("1\tno number\n")
        except psycopg.Error as e:
            say(e.sqlstate, e.diag.context)
        try:
            with cur.copy("COPY numbers FROM STDIN") as to:
                to.write("5\t6\n")
                raise KeyError("changed my mind")
        except KeyError as e:
            say("given up", conn.info.transaction_status.name)
        rows(cur.execute("SELECT count(*) FROM numbers"))


@check
def pipeline():
    with connect() as conn:
        with conn.pipeline() as p:
            curs = [conn.execute("SELECT %s::int, item FROM orders WHERE id = %s", (n, n)) for n in range(1, 40)]
            p.sync()
            more = conn.execute("INSERT INTO probe VALUES (%s) RETURNING v", ("piped",))
            rows(more)
            for cur in curs:
                rows(cur)
        # A server that answers at once makes the third execute raise, and nothing is left to be skipped: that is
        # no answer of the pipeline, and it is sent again.
        for _ in range(50):
            try:
                with conn.pipeline() as p:
                    sent = [conn.execute("SELECT 1"), conn.execute("SELECT 1/%s", (0,)), conn.execute("SELECT 2")]
                    for cur in sent:
                        try:
                            p.sync()
                            rows(cur)
                        except psycopg.Error as e:
                            say(type(e).__name__, e.sqlstate)
                break
            except psycopg.errors.DivisionByZero:
                continue
        else:
            say("the pipeline was never sent as a whole")
        rows(conn.execute("SELECT count(*) FROM probe"))
        with conn.cursor() as cur:
            cur.executemany("INSERT INTO probe VALUES (%s) RETURNING v", [(f"many {n}",) for n in range(50)],
                            returning=True)
            seen = [cur.fetchone()[0]]
            while cur.nextset():
                seen.append(cur.fetchone()[0])
            say(seen)


@check
def large():
    with connect() as conn:
        for size in (1 << 20, 2 << 20):
            row = conn.execute("SELECT length(%s), %s::text, repeat('y', %s)", ("x" * size, "x" * size, size)).fetchone()
            say(row[0], len(row[1]), row[1] == "x" * size, row[2] == "y" * size)
        data = bytes(range(256)) * (80 << 10)
        row = conn.execute("SELECT %b::bytea", (data,), binary=True).fetchone()
        say(row[0] == data)
        count = total = 0
        for row in conn.cursor().stream("SELECT n, repeat('z', 1000) FROM generate_series(1, 20000) n"):
            count, total = count + 1, total + row[0]
        say(count, total)


@check
def notify():
    with connect() as listener, connect() as speaker:
        listener.execute("LISTEN matrix")
        speaker.execute("NOTIFY matrix, 'one'")
        speaker.execute("SELECT pg_notify('matrix', 'two')")
        say([(n.channel, n.payload) for n in listener.notifies(timeout=10, stop_after=2)])
        listener.execute("UNLISTEN *")


@check
def cancel():
    with connect() as conn:
        for how in (conn.cancel_safe, conn.cancel):
            timer = threading.Timer(PATIENCE / 2, how)
            timer.start()
            sqlstate(conn, LONG)
            timer.join()
        conn.execute("SET statement_timeout = 300")
        sqlstate(conn, LONG)


@check
def reset():
    with connect(options="-c work_mem=5MB") as conn:
        for sql in ("RESET ALL", "DISCARD ALL", "SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE",
                    "CLOSE ALL; UNLISTEN *; RESET ALL", "DISCARD TEMP", "DISCARD SEQUENCES", "DISCARD PLANS"):
            conn.execute("SET work_mem = '6MB'")
            sqlstate(conn, sql)
            rows(conn.execute("SHOW work_mem"))
            rows(conn.execute("SHOW client_encoding"))


@check
def introspect():
    with connect() as conn:
        say([getattr(psycopg.types.TypeInfo.fetch(conn, t), "oid", None) for t in ("hstore", "int4", "nonsense")])
        info = psycopg.types.enum.EnumInfo.fetch(conn, "mood")
        say(info.labels)
        info = psycopg.types.composite.CompositeInfo.fetch(conn, "pair")
        say(info.field_names)
        say(psycopg.types.range.RangeInfo.fetch(conn, "int4range").subtype_oid)


@check
def multi():
    with connect() as conn:
        cur = conn.execute("SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m'); SELECT v FROM probe ORDER BY v")
        while True:
            say(cur.statusmessage)
            if cur.description:
                rows(cur.fetchall())
            if not cur.nextset():
                break
        sqlstate(conn, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')")
        rows(conn.execute("SELECT count(*) FROM probe"))
        conn.execute("BEGIN; INSERT INTO probe VALUES ('n'); COMMIT; BEGIN; DELETE FROM probe; ROLLBACK")
        rows(conn.execute("SELECT count(*) FROM probe"))
        sqlstate(conn, "")
        sqlstate(conn, " ; -- nothing")


@check
def masked():
    with connect() as conn:
        conn.prepare_threshold = 2
        for n in range(5):
            for binary in (False, True):
                rows(conn.execute("SELECT id, ssn, email, card FROM customers WHERE id > %s ORDER BY id", (17,),
                                  binary=binary))
        with conn.transaction(), conn.cursor("named", binary=True) as cur:
            cur.itersize = 2
            cur.execute("SELECT id, ssn, email, card FROM customers ORDER BY id LIMIT 3")
            rows(cur)
        with conn.pipeline():
            curs = [conn.execute("SELECT id, ssn, email, card FROM customers WHERE id = %s", (n,)) for n in (4, 5)]
            for cur in curs:
                rows(cur)
        conn.execute("DISCARD ALL")
        rows(conn.execute("SELECT id, ssn, email, card FROM customers WHERE id = 4"))


@check
def approved():
    with connect() as conn:
        sqlstate(conn, HELD.format(1, "approve"))
        sqlstate(conn, HELD.format("%s", "approve"), (2,))
        rows(conn.execute("SELECT id, balance FROM accounts WHERE id < 5 ORDER BY id"))
        with conn.pipeline():
            before = conn.execute("SELECT 'before'")
            held = conn.execute(HELD.format("%s", "approve") + " RETURNING id, balance", (3,))
            after = conn.execute("SELECT 'after'")
            for cur in (before, held, after):
                rows(cur)
        with conn.transaction():
            conn.execute(HELD.format(4, "approve"))
        rows(conn.execute("SELECT id, balance FROM accounts WHERE id < 5 ORDER BY id"))


@check
def denied():
    with connect() as conn:
        sqlstate(conn, HELD.format(11, "deny"))
        sqlstate(conn, HELD.format("%s", "deny"), (12,))


@check
def cancelled():
    with connect() as conn:
        for sql, args in ((HELD.format(21, "leave"), None), (HELD.format("%s", "leave"), (22,))):
            timer = threading.Timer(PATIENCE, conn.cancel_safe)
            timer.start()
            sqlstate(conn, sql, args)
            timer.cancel()


run(f"{psycopg.__version__} (libpq {pq.version() // 10000}.{pq.version() % 10000})")
