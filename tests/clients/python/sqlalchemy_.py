"""SQLAlchemy, Core and ORM, over the driver that its argument names: psycopg or asyncpg."""

import asyncio
import datetime
import decimal
import ssl
import sys
import uuid

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from checks import *

DRIVER = sys.argv[1]
LOOP = asyncio.new_event_loop()


class Engine:
    """An engine of either kind, whose `run` calls a function with a plain Connection."""

    def __init__(self, settings=None, **more):
        url = sa.URL.create(f"postgresql+{DRIVER}", USER, PASSWORD, HOST, PORT, DATABASE)
        self.is_async = DRIVER == "asyncpg"
        if self.is_async:
            tls = ssl.create_default_context(cafile=CA)
            args = {"ssl": tls, "server_settings": settings or {}}
            self.engine = create_async_engine(url, connect_args=args, **more)
        else:
            options = " ".join(f"-c {k}={v}" for k, v in (settings or {}).items())
            args = {"sslmode": "verify-full", "sslrootcert": CA, "options": options}
            self.engine = sa.create_engine(url, connect_args=args, **more)

    def run(self, function):
        if not self.is_async:
            with self.engine.connect() as conn:
                return function(conn)

        async def inside():
            async with self.engine.connect() as conn:
                return await conn.run_sync(function)

        return LOOP.run_until_complete(asyncio.wait_for(inside(), 100))

    def dispose(self):
        done = self.engine.dispose()
        if self.is_async:
            LOOP.run_until_complete(done)


def engine_check(function):
    def wait():
        engine = Engine()
        try:
            engine.run(function)
        finally:
            engine.dispose()
    wait.__name__ = function.__name__
    check(wait)
    return function


def sqlstate(conn, statement, args=None):
    try:
        conn.execute(statement, args or {})
        say("ran")
    except sa.exc.DBAPIError as e:
        code = getattr(e.orig, "sqlstate", None) or getattr(e.orig, "pgcode", None)
        say("error", code, "reason" if "not today" in str(e) else "")
        conn.rollback()
    say("usable", conn.execute(sa.text("SELECT 1")).scalar())


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]
    born: orm.Mapped[datetime.date | None]
    about: orm.Mapped[dict] = orm.mapped_column(postgresql.JSONB)
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "books"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("authors.id"))
    title: orm.Mapped[str]
    price: orm.Mapped[decimal.Decimal]
    key: orm.Mapped[uuid.UUID]
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


@engine_check
def connect_(conn):
    say(conn.dialect.server_version_info, conn.dialect.default_schema_name, conn.dialect.driver)
    say(conn.execute(sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).scalar())
    say(conn.get_isolation_level(), conn.default_isolation_level)


@check
def startup():
    engine = Engine({"timezone": "Asia/Tokyo", "datestyle": "German", "statement_timeout": "54321"})
    for name in ("TimeZone", "DateStyle", "statement_timeout"):
        say(name, engine.run(lambda conn: conn.execute(sa.text(f"SHOW {name}")).scalar()))
    engine.dispose()


@engine_check
def text(conn):
    kinds = sa.Table("kinds", sa.MetaData(), autoload_with=conn)
    rows(conn.execute(sa.select(kinds).order_by(kinds.c.id)))


@engine_check
def prepared(conn):
    orders = sa.table("orders", sa.column("id"), sa.column("item"))
    for n in range(12):
        found = sa.select(orders.c.id, orders.c.item).where(orders.c.id > n).order_by(orders.c.id).limit(2)
        rows(conn.execute(found))


@engine_check
def params(conn):
    for kind, value in (
        (sa.Boolean, True), (sa.BigInteger, -(2**63)), (sa.Float, 2.25), (sa.Numeric, decimal.Decimal("1.0123")),
        (sa.Text, "t ' \\ \u00e9\U0001f418"), (sa.LargeBinary, b"\x00\x01\xff'"), (sa.Date, datetime.date(2026, 2, 28)),
        (sa.DateTime(True), datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc)),
        (sa.Interval, datetime.timedelta(days=3)), (sa.Uuid, uuid.UUID(int=7)), (postgresql.JSONB, {"a": [1, None]}),
        (postgresql.ARRAY(sa.Integer), [1, 2, None]),
    ):
        for v in (value, None):
            bound = sa.bindparam("v", v, type_=kind)
            rows(conn.execute(sa.select(sa.cast(bound, bound.type), bound.is_(None))))


@engine_check
def transaction(conn):
    Base.metadata.create_all(conn)
    conn.commit()
    with orm.Session(conn) as session:
        author = Author(name="Ada", born=datetime.date(1815, 12, 10), about={"likes": ["engines"]})
        author.books = [Book(title=f"book {n}", price=decimal.Decimal(n), key=uuid.UUID(int=n)) for n in range(30)]
        session.add(author)
        session.flush()
        try:
            with session.begin_nested():
                session.add(Author(id=author.id, name="twin", about={}))
                session.flush()
        except sa.exc.IntegrityError as e:
            say("rolled back to the savepoint", type(e.orig).__name__)
        session.commit()
        found = session.scalars(sa.select(Author).options(orm.selectinload(Author.books))).one()
        say(found.id, found.name, found.about, len(found.books), found.books[3].title)
        found.name = "Ada L."
        for book in found.books[:5]:
            session.delete(book)
        session.commit()
        say(session.scalar(sa.select(sa.func.count()).select_from(Book)))
        say(session.execute(sa.update(Book).values(price=Book.price + 1).returning(Book.id)).scalars().all())
        session.rollback()
        say(session.scalar(sa.select(sa.func.sum(Book.price))))


@engine_check
def errors(conn):
    for statement in ("SELECT 1/0", "SELECT nothing FROM orders", "INSERT INTO probe VALUES (NULL)",
                      "INSERT INTO kinds (id) VALUES (1)"):
        try:
            conn.execute(sa.text(statement))
        except sa.exc.DBAPIError as e:
            say(type(e).__name__, getattr(e.orig, "sqlstate", None), str(e.orig))
            conn.rollback()
        say("usable", conn.execute(sa.text("SELECT 1")).scalar())


@engine_check
def cursor(conn):
    if conn.dialect.driver == "asyncpg":
        # Its server-side cursors are for asynchronous code: see the other half of the check.
        found = conn.execute(sa.text("SELECT id, item FROM orders ORDER BY id LIMIT 30"))
    else:
        found = conn.execution_options(stream_results=True, yield_per=7).execute(
            sa.text("SELECT id, item FROM orders ORDER BY id LIMIT 30"))
    rows(found)


@engine_check
def pipeline(conn):
    probe = sa.table("probe", sa.column("v", sa.Text))
    conn.execute(probe.insert(), [{"v": f"many {n}"} for n in range(2000)])
    found = conn.execute(probe.insert().returning(probe.c.v), [{"v": f"back {n}"} for n in range(1500)])
    say(sorted(found.scalars())[:5])
    say(conn.execute(sa.select(sa.func.count()).select_from(probe)).scalar())
    conn.commit()


@engine_check
def large(conn):
    size = 1 << 20
    row = conn.execute(sa.text("SELECT length(:x), CAST(:x AS text)"), {"x": "x" * size}).one()
    say(row[0], len(row[1]))


@check
def reset():
    engine = Engine(pool_size=1, max_overflow=0, pool_pre_ping=True)

    def dirty(conn):
        conn.execute(sa.text("SET work_mem = '6MB'"))
        conn.execute(sa.text("INSERT INTO probe VALUES ('not committed')"))
        say(conn.execute(sa.text("SELECT count(*) FROM probe WHERE v = 'not committed'")).scalar())

    for n in range(3):
        engine.run(dirty)
    engine.dispose()


@engine_check
def introspect(conn):
    meta = sa.MetaData()
    meta.reflect(conn, views=True)
    for table in sorted(meta.tables.values(), key=lambda t: t.name):
        say(table.name, [(c.name, str(c.type), c.nullable, c.primary_key) for c in table.columns])
    look = sa.inspect(conn)
    say(look.get_schema_names(), sorted(look.get_table_names()), sorted(look.get_view_names()))
    for name in ("customers", "orders", "kinds"):
        say(look.get_pk_constraint(name), look.get_foreign_keys(name), look.get_indexes(name),
            look.get_unique_constraints(name), look.get_check_constraints(name), look.get_table_comment(name))
    say(look.get_enums())
    say(look.get_view_definition("customer_view"))


@engine_check
def masked(conn):
    customers = sa.table("customers", *(sa.column(c) for c in ("id", "ssn", "email", "card")))
    for n in range(4):
        rows(conn.execute(sa.select(customers).where(customers.c.id > 17).order_by(customers.c.id)))


@engine_check
def approved(conn):
    sqlstate(conn, sa.text(HELD.format(1, "approve")))
    sqlstate(conn, sa.text(HELD.format(":id", "approve")), {"id": 2})
    conn.commit()
    rows(conn.execute(sa.text("SELECT id, balance FROM accounts WHERE id < 4 ORDER BY id")))


@engine_check
def denied(conn):
    sqlstate(conn, sa.text(HELD.format(11, "deny")))
    sqlstate(conn, sa.text(HELD.format(":id", "deny")), {"id": 12})


run(sa.__version__)
