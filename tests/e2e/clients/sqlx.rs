//! sqlx: prepares everything, binary results, a pool, types that it asks the server about.

use anyhow::{Context, Result};
use futures::StreamExt;
use sqlx::postgres::{
    PgConnectOptions, PgDatabaseError, PgListener, PgPoolCopyExt, PgPoolOptions, PgRow, PgSslMode,
    PgValueFormat,
};
use sqlx::{
    AssertSqlSafe, Column, Connection, Executor, PgConnection, Row, Statement, TypeInfo, ValueRef,
};

use super::run::Report;
use super::rust::{Bench, LONG, MASKED, Saw, held, locked};
use super::stage::Place;

pub fn run(place: &Place) -> Report {
    let mut bench = Bench::new(&locked("sqlx"));
    bench.check("connect", || connecting(place));
    bench.check("startup", || startup(place));
    bench.check("text", || text(place));
    bench.check("binary", || binary(place));
    bench.check("prepared", || prepared(place));
    bench.check("params", || params(place));
    bench.check("transaction", || transaction(place));
    bench.check("errors", || errors(place));
    bench.check("cursor", || cursor(place));
    bench.check("copy", || copy(place));
    bench.check("large", || large(place));
    bench.check("notify", || notify(place));
    bench.check("cancel", || cancel(place));
    bench.check("reset", || reset(place));
    bench.check("introspect", || introspect(place));
    bench.check("multi", || multi(place));
    bench.check("masked", || masked(place));
    bench.check("approved", || approved(place));
    bench.check("denied", || denied(place));
    bench.end()
}

fn options(place: &Place) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(place.port)
        .username(&place.user)
        .password(&place.password)
        .database(&place.database)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(&place.ca)
}

async fn connect(place: &Place) -> Result<PgConnection> {
    Ok(PgConnection::connect_with(&options(place)).await?)
}

fn show(row: &PgRow) -> Result<String> {
    let mut out = String::from("row");
    for i in 0..row.len() {
        let value = row.try_get_raw(i)?;
        let bytes = (!value.is_null()).then(|| value.as_bytes());
        let bytes = bytes.transpose().map_err(|e| anyhow::anyhow!("{e}"))?;
        let format = match value.format() {
            PgValueFormat::Text => 't',
            PgValueFormat::Binary => 'b',
        };
        out.push_str(&format!(" {format}{}", Saw::value(bytes)));
    }
    Ok(out)
}

fn rows(saw: &mut Saw, rows: &[PgRow]) -> Result<()> {
    for row in rows {
        saw.say(show(row)?);
    }
    Ok(())
}

async fn ask(saw: &mut Saw, conn: &mut PgConnection, sql: &str) -> Result<()> {
    let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(conn).await?;
    rows(saw, &found)
}

async fn after<T>(
    saw: &mut Saw,
    conn: &mut PgConnection,
    done: Result<T, sqlx::Error>,
) -> Result<()> {
    match done {
        Ok(_) => saw.say("ran"),
        Err(error) => {
            let db = error
                .as_database_error()
                .context("no error of the server")?;
            saw.failed(&db.code().unwrap_or_default(), db.message());
        }
    }
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(conn).await?;
    saw.say(format!("usable {one}"));
    Ok(())
}

async fn connecting(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    conn.ping().await?;
    saw.say(format!("{:?}", conn.server_version_num()));
    let sql = "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    ask(&mut saw, &mut conn, sql).await?;
    conn.close().await?;
    Ok(saw)
}

async fn startup(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let options = options(place)
        .application_name("matrix app")
        .options([("statement_timeout", "54321"), ("search_path", "public")]);
    let mut conn = PgConnection::connect_with(&options).await?;
    for name in [
        "TimeZone",
        "DateStyle",
        "extra_float_digits",
        "statement_timeout",
        "search_path",
        "application_name",
    ] {
        ask(&mut saw, &mut conn, &format!("SHOW {name}")).await?;
    }
    Ok(saw)
}

async fn text(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let found = sqlx::raw_sql("SELECT * FROM kinds ORDER BY id")
        .fetch_all(&mut conn)
        .await?;
    rows(&mut saw, &found)?;
    Ok(saw)
}

async fn binary(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let found = sqlx::query("SELECT * FROM kinds ORDER BY id")
        .fetch_all(&mut conn)
        .await?;
    for column in found.first().context("no row")?.columns() {
        saw.say(format!("{} {}", column.name(), column.type_info().name()));
    }
    rows(&mut saw, &found)?;
    Ok(saw)
}

async fn prepared(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    // Fewer statements are kept than there are, so that old ones are closed.
    let options = options(place).statement_cache_capacity(3);
    let mut conn = PgConnection::connect_with(&options).await?;
    for n in 0..12_i32 {
        for k in 0..5 {
            let sql = format!("SELECT id, item, {k} FROM orders WHERE id > $1 ORDER BY id LIMIT 2");
            let found = sqlx::query(AssertSqlSafe(sql)).bind(n);
            rows(&mut saw, &found.fetch_all(&mut conn).await?)?;
        }
    }
    saw.say(conn.cached_statements_size());
    conn.clear_cached_statements().await?;
    let once = sqlx::query("SELECT $1::int4").bind(7).persistent(false);
    rows(&mut saw, &once.fetch_all(&mut conn).await?)?;
    conn.execute("CREATE TEMP TABLE shape (a int)").await?;
    ask(&mut saw, &mut conn, "SELECT * FROM shape").await?;
    conn.execute("ALTER TABLE shape ADD COLUMN b int").await?;
    let stale = sqlx::query("SELECT * FROM shape")
        .fetch_all(&mut conn)
        .await;
    after(&mut saw, &mut conn, stale).await?;
    Ok(saw)
}

async fn params(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let found = sqlx::query("SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12")
        .bind(true)
        .bind(-32_768_i16)
        .bind(i32::MAX)
        .bind(i64::MIN)
        .bind(1.5_f32)
        .bind(2.25_f64)
        .bind("t ' \\ é🐘")
        .bind(b"\x00\x01\xff'".to_vec())
        .bind(vec![Some(1_i32), None])
        .bind(vec!["a", "b,c"])
        .bind(None::<String>)
        .bind(None::<i32>)
        .fetch_all(&mut conn)
        .await?;
    rows(&mut saw, &found)?;
    let wrong = sqlx::query("SELECT $1::text::int4").bind("no number");
    let wrong = wrong.fetch_all(&mut conn).await;
    after(&mut saw, &mut conn, wrong).await?;
    Ok(saw)
}

async fn transaction(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let mut outer = conn.begin().await?;
    outer.execute("INSERT INTO probe VALUES ('kept')").await?;
    let mut inner = outer.begin().await?;
    inner.execute("INSERT INTO probe VALUES ('lost')").await?;
    let broken = inner.execute("SELECT 1/0").await;
    saw.say(broken.is_err());
    inner.rollback().await?;
    outer.execute("INSERT INTO probe VALUES ('too')").await?;
    outer.commit().await?;
    let mut dropped = conn
        .begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE")
        .await?;
    dropped.execute("DELETE FROM probe").await?;
    drop(dropped);
    ask(&mut saw, &mut conn, "SELECT v FROM probe ORDER BY v").await?;
    Ok(saw)
}

async fn errors(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    for sql in [
        "SELECT 1/0",
        "SELECT nothing FROM orders",
        "SELECT 'x'::int",
        "INSERT INTO probe VALUES (NULL)",
        "INSERT INTO kinds (id) VALUES (1)",
        "SELECT sum(item) FROM orders",
    ] {
        let error = sqlx::query(sql).fetch_all(&mut conn).await;
        let error = error.err().context("no error")?;
        let db = error.as_database_error().context("none of the server")?;
        let db: &PgDatabaseError = db.downcast_ref();
        saw.say(format!(
            "{:?} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            db.severity(),
            db.code(),
            db.message(),
            db.detail(),
            db.hint(),
            db.position(),
            db.table(),
            db.column(),
            db.constraint()
        ));
        ask(&mut saw, &mut conn, "SELECT 1").await?;
    }
    Ok(saw)
}

/// It asks for one row of many, and leaves streams before their end.
async fn cursor(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let sql = "SELECT id, item FROM orders ORDER BY id";
    for _ in 0..3 {
        let one = sqlx::query(sql).fetch_optional(&mut conn).await?;
        rows(&mut saw, &one.into_iter().collect::<Vec<_>>())?;
        let mut stream = sqlx::query(sql).fetch(&mut conn);
        for _ in 0..4 {
            let row = stream.next().await.context("no more rows")??;
            saw.say(show(&row)?);
        }
    }
    let mut tx = conn.begin().await?;
    tx.execute("DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id")
        .await?;
    ask(&mut saw, &mut tx, "FETCH 5 FROM c").await?;
    ask(&mut saw, &mut tx, "FETCH 2 FROM c").await?;
    Ok(saw)
}

async fn copy(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let mut to = conn.copy_in_raw("COPY probe FROM STDIN").await?;
    for n in 0..1000 {
        to.send(format!("line {n}\n").into_bytes()).await?;
    }
    saw.say(to.finish().await?);
    let pool = PgPoolOptions::new().connect_with(options(place)).await?;
    let mut out = pool.copy_out_raw("COPY probe TO STDOUT").await?;
    let mut bytes = 0;
    while let Some(chunk) = out.next().await {
        bytes += chunk?.len();
    }
    saw.say(bytes);
    drop(out);
    let mut to = conn.copy_in_raw("COPY probe FROM STDIN").await?;
    to.send(&b"never\n"[..]).await?;
    to.abort("changed my mind").await?;
    ask(&mut saw, &mut conn, "SELECT count(*) FROM probe").await?;
    pool.close().await;
    Ok(saw)
}

async fn large(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    for size in [1_usize << 20, 2 << 20] {
        let x = "x".repeat(size);
        let row = sqlx::query("SELECT length($1), $1, repeat('y', $2)")
            .bind(&x)
            .bind(i32::try_from(size)?)
            .fetch_one(&mut conn)
            .await?;
        let (same, y): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let length: i32 = row.try_get(0)?;
        saw.say(format!("{length} {} {}", same == x, y.len()));
    }
    let data = vec![7_u8; 20 << 20];
    let back: Vec<u8> = sqlx::query_scalar("SELECT $1")
        .bind(&data)
        .fetch_one(&mut conn)
        .await?;
    saw.say(back == data);
    Ok(saw)
}

async fn notify(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let pool = PgPoolOptions::new().connect_with(options(place)).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("matrix").await?;
    pool.execute("NOTIFY matrix, 'one'").await?;
    sqlx::query("SELECT pg_notify('matrix', $1)")
        .bind("two")
        .execute(&pool)
        .await?;
    for _ in 0..2 {
        let heard = listener.recv().await?;
        saw.say(format!("{} {}", heard.channel(), heard.payload()));
    }
    Ok(saw)
}

/// It sends no cancel requests; the server's own limit has to do.
async fn cancel(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    conn.execute("SET statement_timeout = 300").await?;
    let long = sqlx::query(LONG).fetch_all(&mut conn).await;
    after(&mut saw, &mut conn, long).await?;
    Ok(saw)
}

async fn reset(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .after_release(|conn, _| {
            Box::pin(async move {
                conn.clear_cached_statements().await?;
                conn.execute("DISCARD ALL").await?;
                Ok(true)
            })
        })
        .connect_with(options(place).options([("work_mem", "5MB")]))
        .await?;
    for _ in 0..4 {
        let mut conn = pool.acquire().await?;
        ask(&mut saw, &mut conn, "SHOW work_mem").await?;
        conn.execute("SET work_mem = '6MB'").await?;
    }
    pool.close().await;
    Ok(saw)
}

async fn introspect(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let sql = "SELECT 'ok'::mood, (7, 'x')::pair, ARRAY['sad']::mood[], \
               '1'::information_schema.cardinal_number";
    let statement = conn.prepare(sqlx::SqlStr::from_static(sql)).await?;
    for column in statement.columns() {
        saw.say(format!("{:?}", column.type_info().kind()));
    }
    ask(&mut saw, &mut conn, sql).await?;
    Ok(saw)
}

async fn multi(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let sql = "SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m'); \
               SELECT v FROM probe ORDER BY v";
    rows(&mut saw, &sqlx::raw_sql(sql).fetch_all(&mut conn).await?)?;
    let broken = "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')";
    let broken = sqlx::raw_sql(broken).execute(&mut conn).await;
    after(&mut saw, &mut conn, broken).await?;
    ask(&mut saw, &mut conn, "SELECT v FROM probe ORDER BY v").await?;
    saw.say(conn.execute("").await?.rows_affected());
    Ok(saw)
}

async fn masked(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    for _ in 0..3 {
        let found = sqlx::query(MASKED).bind(17).fetch_all(&mut conn).await?;
        rows(&mut saw, &found)?;
    }
    let text = AssertSqlSafe(MASKED.replace("$1", "17"));
    rows(&mut saw, &sqlx::raw_sql(text).fetch_all(&mut conn).await?)?;
    let one = sqlx::query(MASKED)
        .bind(3)
        .fetch_optional(&mut conn)
        .await?;
    rows(&mut saw, &one.into_iter().collect::<Vec<_>>())?;
    Ok(saw)
}

async fn approved(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let simple = sqlx::raw_sql(AssertSqlSafe(held("1", "approve")));
    let done = simple.execute(&mut conn).await;
    after(&mut saw, &mut conn, done).await?;
    let bound = held("$1", "approve");
    for id in [2, 3] {
        let query = sqlx::query(AssertSqlSafe(bound.as_str())).bind(id);
        let done = query.execute(&mut conn).await;
        after(&mut saw, &mut conn, done).await?;
    }
    let mut tx = conn.begin().await?;
    let query = sqlx::query(AssertSqlSafe(bound.as_str())).bind(4);
    saw.say(query.execute(&mut *tx).await?.rows_affected());
    tx.commit().await?;
    let sql = "SELECT id, balance FROM accounts WHERE id < 6 ORDER BY id";
    ask(&mut saw, &mut conn, sql).await?;
    Ok(saw)
}

async fn denied(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut conn = connect(place).await?;
    let simple = sqlx::raw_sql(AssertSqlSafe(held("11", "deny")));
    let done = simple.execute(&mut conn).await;
    after(&mut saw, &mut conn, done).await?;
    let query = sqlx::query(AssertSqlSafe(held("$1", "deny"))).bind(12);
    let done = query.execute(&mut conn).await;
    after(&mut saw, &mut conn, done).await?;
    Ok(saw)
}
