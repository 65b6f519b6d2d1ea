"""asyncpg: binary results, its own statement cache, introspection of unknown types."""

import asyncio
import datetime
import decimal
import io
import ssl
import uuid

import asyncpg

from checks import *

LOOP = asyncio.new_event_loop()


async def connect(**more):
    tls = ssl.create_default_context(cafile=CA)
    return await asyncpg.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, ssl=tls, **more)


def check_async(function):
    def wait():
        LOOP.run_until_complete(asyncio.wait_for(function(), 100))
    wait.__name__ = function.__name__
    check(wait)
    return function


async def sqlstate(conn, sql, *args, **more):
    try:
        await conn.execute(sql, *args, **more)
        say("ran")
    except asyncpg.PostgresError as e:
        say("error", e.sqlstate, "reason" if "not today" in str(e) else "")
    except asyncio.TimeoutError:
        say("error", "57014")
    say("usable", await conn.fetchval("SELECT 1"))


@check_async
async def connect_():
    conn = await connect(server_settings={"application_name": "matrix"})
    say("tls", await conn.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"), conn.get_server_version())
    s = conn.get_settings()
    say(s.server_encoding, s.integer_datetimes, s.standard_conforming_strings, s.application_name, s.is_superuser)
    await conn.close()


@check_async
async def startup():
    conn = await connect(server_settings={
        "application_name": "matrix app", "timezone": "Asia/Tokyo", "datestyle": "German", "statement_timeout": "54321",
        "search_path": "public, pg_catalog", "jit": "off"})
    names = ("TimeZone", "DateStyle", "statement_timeout", "search_path", "application_name", "jit")
    for reset in (False, True):
        for name in names:
            say(name, await conn.fetchval(f"SHOW {name}"))
        await conn.execute("SET TimeZone = 'UTC'; SET statement_timeout = 0")
        await conn.reset()
    await conn.close()


@check_async
async def text():
    conn = await connect()
    # The simple protocol: asyncpg shows no rows of it but the status.
    say(await conn.execute("SELECT * FROM kinds"))
    for name in ("ia", "ta", "n", "tz", "ip", "r", "m", "iv"):
        rows(await conn.fetch(f"SELECT {name}::text FROM kinds ORDER BY id"))
    await conn.close()


@check_async
async def binary():
    conn = await connect()
    statement = await conn.prepare("SELECT * FROM kinds ORDER BY id")
    say([(a.name, a.type.oid, a.type.name) for a in statement.get_attributes()])
    rows([r.values() for r in await statement.fetch()])
    rows([r.values() for r in await conn.fetch("SELECT (7, 'seven')::pair, ARRAY[(1, 'x')::pair], 'ok'::mood")])
    await conn.close()


@check_async
async def prepared():
    conn = await connect(statement_cache_size=3, max_cached_statement_lifetime=1)
    for n in range(12):
        for k in range(5):
            rows(await conn.fetch(f"SELECT id, {k}, item FROM orders WHERE id > $1 ORDER BY id LIMIT 2", n))
    await asyncio.sleep(1.1)
    await conn.execute("CREATE TEMP TABLE shape (a int)")
    for n in range(3):
        rows(await conn.fetch("SELECT * FROM shape"))
    await conn.execute("ALTER TABLE shape ADD COLUMN b int")
    rows(await conn.fetch("SELECT * FROM shape"))
    statement = await conn.prepare("SELECT $1::int + 1", name="mine")
    say(await statement.fetchval(41), [p.name for p in statement.get_parameters()], statement.get_statusmsg())
    say(len(await statement.explain(41)))
    await conn.execute("DEALLOCATE ALL")
    try:
        await statement.fetchval(41)
    except asyncpg.PostgresError as e:
        say(e.sqlstate)
    say(await conn.fetchval("SELECT 2"))
    await conn.close()


@check_async
async def params():
    conn = await connect()
    utc = datetime.timezone.utc
    for cast, value in (
        ("bool", True), ("int2", -32768), ("int4", 2**31 - 1), ("int8", -(2**63)), ("float4", 1.5), ("float8", 2.25),
        ("numeric", decimal.Decimal("12345678901234567890.0123")), ("text", "t ' \\ \u00e9\U0001f418"), ("varchar", "v"),
        ("bytea", b"\x00\x01\xff'"), ("date", datetime.date(2026, 2, 28)), ("time", datetime.time(1, 2, 3, 4)),
        ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5, 6)),
        ("timestamptz", datetime.datetime(2026, 1, 2, 3, 4, 5, 6, utc)), ("interval", datetime.timedelta(days=3)),
        ("uuid", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")), ("jsonb", '{"a": [1, null]}'),
        ("int4[]", [1, 2, None]), ("text[]", ["a", None, "b,c"]), ("mood", "happy"), ("pair", (7, "seven")),
    ):
        rows(await conn.fetch(f"SELECT $1::{cast}, $1::{cast} IS NULL", value))
        rows(await conn.fetch(f"SELECT $1::{cast}, $1::{cast} IS NULL", None))
    try:
        await conn.fetch("SELECT $1::int4", "no number")
    except asyncpg.DataError as e:
        say(type(e).__name__)
    say(await conn.fetchval("SELECT 1"))
    await conn.close()


@check_async
async def transaction():
    conn = await connect()
    async with conn.transaction():
        await conn.execute("INSERT INTO probe VALUES ('kept')")
        try:
            async with conn.transaction():
                await conn.execute("INSERT INTO probe VALUES ('lost')")
                await conn.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError:
            say("rolled back to the savepoint")
    rows(await conn.fetch("SELECT v FROM probe ORDER BY v"))
    try:
        async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
            await conn.execute("INSERT INTO probe VALUES ('no')")
    except asyncpg.PostgresError as e:
        say(e.sqlstate, conn.is_in_transaction())
    await conn.close()


@check_async
async def errors():
    conn = await connect()
    notices = []
    conn.add_log_listener(lambda _, m: notices.append((m.severity, m.sqlstate, m.message)))
    for sql in ("SELECT 1/0", "SELECT nothing FROM orders", "SELECT 'x'::int", "INSERT INTO probe VALUES (NULL)",
                "INSERT INTO kinds (id) VALUES (1)", "SELECT sum(item) FROM orders"):
        for how in (conn.execute, conn.fetch):
            try:
                await how(sql)
            except asyncpg.PostgresError as e:
                say(type(e).__name__, e.as_dict().get("severity"), e.sqlstate, e.message, e.detail, e.position,
                    e.table_name, e.column_name, e.constraint_name)
            say("usable", await conn.fetchval("SELECT 1"))
    await conn.execute("CREATE TABLE IF NOT EXISTS probe (v text)")
    await asyncio.sleep(0.1)
    say(notices)
    await conn.close()


@check_async
async def cursor():
    conn = await connect()
    async with conn.transaction():
        async for row in conn.cursor("SELECT id, item FROM orders ORDER BY id LIMIT 30", prefetch=7):
            rows([row.values()])
        cur = await conn.cursor("SELECT id FROM orders WHERE id > $1 ORDER BY id", 100)
        rows([r.values() for r in await cur.fetch(3)])
        say(await cur.forward(10))
        rows([(await cur.fetchrow()).values()])
    await conn.close()


@check_async
async def copy():
    conn = await connect()
    say(await conn.copy_records_to_table("probe", records=[(f"line {n}",) for n in range(1000)]))
    out = io.BytesIO()
    say(await conn.copy_from_table("probe", output=out))
    say(len(out.getvalue()))
    out = io.BytesIO()
    say(await conn.copy_from_query("SELECT id, item FROM orders WHERE id < $1 ORDER BY id", 4, output=out))
    say(out.getvalue())
    await conn.execute("CREATE TEMP TABLE numbers (a int8, b int8)")
    say(await conn.copy_to_table("numbers", source=io.BytesIO(b"1,2\n3,4\n"), format="csv"))
    say(await conn.copy_to_table("numbers", source=io.BytesIO(b"5\t6\n")))
    try:
        await conn.copy_to_table("numbers", source=io.BytesIO(b"1\tno number\n"))
    except asyncpg.PostgresError as e:
        say(e.sqlstate, e.context)

    async def broken():
        yield b"7\t8\n"
        raise KeyError("changed my mind")

    try:
        await conn.copy_to_table("numbers", source=broken())
    except KeyError:
        say("given up")
    rows([r.values() for r in await conn.fetch("SELECT count(*), sum(a) FROM numbers")])
    await conn.close()


@check_async
async def pipeline():
    conn = await connect()
    await conn.executemany("INSERT INTO probe VALUES ($1)", [(f"many {n}",) for n in range(2000)])
    say(await conn.fetchval("SELECT count(*) FROM probe WHERE v LIKE 'many %'"))
    found = await conn.fetchmany("INSERT INTO probe VALUES ($1) RETURNING v", [(f"back {n}",) for n in range(50)])
    rows([r.values() for r in found])
    try:
        await conn.executemany("INSERT INTO probe VALUES ($1)", [("lost",), (None,), ("also lost",)])
    except asyncpg.PostgresError as e:
        say(e.sqlstate)
    say(await conn.fetchval("SELECT count(*) FROM probe WHERE v LIKE '%lost'"))
    await conn.close()


@check_async
async def large():
    conn = await connect()
    for size in (1 << 20, 2 << 20):
        row = await conn.fetchrow("SELECT length($1), $1::text, repeat('y', $2)", "x" * size, size)
        say(row[0], len(row[1]), row[1] == "x" * size, row[2] == "y" * size)
    data = bytes(range(256)) * (80 << 10)
    say(await conn.fetchval("SELECT $1::bytea", data) == data)
    found = await conn.fetch("SELECT n, repeat('z', 1000) FROM generate_series(1, 10000) n")
    say(len(found), sum(r[0] for r in found))
    await conn.close()


@check_async
async def notify():
    listener, speaker = await connect(), await connect()
    heard = asyncio.Queue()
    await listener.add_listener("matrix", lambda _c, _p, channel, payload: heard.put_nowait((channel, payload)))
    await speaker.execute("NOTIFY matrix, 'one'")
    await speaker.execute("SELECT pg_notify('matrix', $1)", "two")
    for _ in range(2):
        say(await asyncio.wait_for(heard.get(), 10))
    await listener.close()
    await speaker.close()


@check_async
async def cancel():
    conn = await connect()
    await sqlstate(conn, LONG, timeout=PATIENCE / 2)
    await conn.execute("SET statement_timeout = 300")
    await sqlstate(conn, LONG)
    task = asyncio.ensure_future(conn.fetch(LONG.replace("count", "sum").replace("*", "1")))
    await asyncio.sleep(0.1)
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, asyncpg.PostgresError):
        say("given up")
    say(await conn.fetchval("SELECT 1"))
    await conn.close()


@check_async
async def reset():
    pool = await asyncpg.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE,
                                     ssl=ssl.create_default_context(cafile=CA), min_size=1, max_size=2,
                                     server_settings={"work_mem": "5MB"})
    for n in range(4):
        async with pool.acquire() as conn:
            say(await conn.fetchval("SHOW work_mem"), await conn.fetchval("SELECT $1::int", n))
            await conn.execute("SET work_mem = '6MB'")
            await conn.execute("SELECT pg_advisory_lock(7)")
    await pool.close()


@check_async
async def introspect():
    conn = await connect()
    # Types that the driver has never heard of, and arrays, ranges and composites of them.
    await conn.execute("CREATE TYPE deep AS (a mood[], b pair, c int4range)")
    rows([r.values() for r in await conn.fetch("SELECT (ARRAY['sad', 'ok']::mood[], (1, 'x')::pair, '[1,3)')::deep")])
    await conn.set_type_codec("mood", encoder=str.lower, decoder=str.upper, schema="public")
    rows([r.values() for r in await conn.fetch("SELECT 'sad'::mood")])
    await conn.reload_schema_state()
    rows([r.values() for r in await conn.fetch("SELECT 'ok'::mood")])
    await conn.close()


@check_async
async def multi():
    conn = await connect()
    say(await conn.execute("SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m')"))
    await sqlstate(conn, "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')")
    say(await conn.fetchval("SELECT count(*) FROM probe WHERE v = 'never'"))
    say(await conn.fetch(""), await conn.fetch(" -- nothing"))
    await conn.close()


@check_async
async def masked():
    conn = await connect()
    sql = "SELECT id, ssn, email, card FROM customers WHERE id > $1 ORDER BY id"
    for n in range(3):
        rows([r.values() for r in await conn.fetch(sql, 17)])
    async with conn.transaction():
        async for row in conn.cursor(sql, 17, prefetch=2):
            rows([row.values()])
    await conn.reset()
    rows([r.values() for r in await conn.fetch(sql, 18)])
    await conn.close()


@check_async
async def approved():
    conn = await connect()
    await sqlstate(conn, HELD.format(1, "approve"))
    await sqlstate(conn, HELD.format("$1", "approve"), 2)
    rows([r.values() for r in await conn.fetch(HELD.format("$1", "approve") + " RETURNING id, balance", 3)])
    # One hold for each set of parameters.
    await conn.executemany(HELD.format("$1", "approve"), [(4,), (5,)])
    async with conn.transaction():
        await conn.execute(HELD.format(6, "approve"))
    rows([r.values() for r in await conn.fetch("SELECT id, balance FROM accounts WHERE id < 8 ORDER BY id")])
    await conn.close()


@check_async
async def denied():
    conn = await connect()
    await sqlstate(conn, HELD.format(11, "deny"))
    await sqlstate(conn, HELD.format("$1", "deny"), 12)
    await conn.close()


@check_async
async def cancelled():
    conn = await connect()
    await sqlstate(conn, HELD.format(21, "leave"), timeout=PATIENCE)
    await sqlstate(conn, HELD.format("$1", "leave"), 22, timeout=PATIENCE)
    await conn.close()


run(asyncpg.__version__)
