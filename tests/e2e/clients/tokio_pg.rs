//! tokio-postgres: binary results, pipelines, portals, types that it asks the server about.

use std::future::Future;

use anyhow::{Context, Result};
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut, stream};
use tokio::sync::mpsc;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Row, SimpleQueryMessage};

use super::run::Report;
use super::rust::{Bench, LONG, MASKED, PATIENCE, Saw, held, locked};
use super::stage::Place;
use super::tls::Tls;

pub fn run(place: &Place) -> Report {
    let mut bench = Bench::new(&locked("tokio-postgres"));
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
    bench.check("pipeline", || pipeline(place));
    bench.check("large", || large(place));
    bench.check("notify", || notify(place));
    bench.check("cancel", || cancel(place));
    bench.check("reset", || reset(place));
    bench.check("introspect", || introspect(place));
    bench.check("multi", || multi(place));
    bench.check("masked", || masked(place));
    bench.check("approved", || approved(place));
    bench.check("denied", || denied(place));
    bench.check("cancelled", || cancelled(place));
    bench.end()
}

struct Session {
    client: Client,
    tls: Tls,
    messages: mpsc::UnboundedReceiver<AsyncMessage>,
    parameters: Vec<(&'static str, Option<String>)>,
}

const REPORTED: &[&str] = &[
    "server_version",
    "server_encoding",
    "integer_datetimes",
    "standard_conforming_strings",
    "TimeZone",
    "application_name",
];

async fn connect(place: &Place, more: impl FnOnce(&mut Config)) -> Result<Session> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(place.port)
        .user(&place.user)
        .password(&place.password)
        .dbname(&place.database)
        .ssl_mode(tokio_postgres::config::SslMode::Require);
    more(&mut config);
    let tls = Tls::trusting(&place.ca)?;
    let (client, mut connection) = config.connect(tls.clone()).await?;
    let parameters = REPORTED
        .iter()
        .map(|name| (*name, connection.parameter(name).map(str::to_owned)))
        .collect();
    let (tell, messages) = mpsc::unbounded_channel();
    // Ends with the client, which closes the connection when it is dropped.
    tokio::spawn(async move {
        let stream = stream::poll_fn(move |cx| connection.poll_message(cx));
        pin_mut!(stream);
        while let Some(Ok(message)) = stream.next().await {
            let _ = tell.send(message);
        }
    });
    Ok(Session {
        client,
        tls,
        messages,
        parameters,
    })
}

async fn plain(place: &Place) -> Result<Client> {
    Ok(connect(place, |_| {}).await?.client)
}

/// Any value, as it came.
struct Raw(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw.to_vec())))
    }
    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

fn show(row: &Row) -> String {
    let values = (0..row.len()).map(|i| Saw::value(row.get::<_, Raw>(i).0.as_deref()));
    format!("row {}", values.collect::<Vec<_>>().join(" "))
}

fn rows(saw: &mut Saw, rows: &[Row]) {
    for row in rows {
        saw.say(show(row));
    }
}

fn simple(saw: &mut Saw, messages: &[SimpleQueryMessage]) {
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|i| Saw::value(row.get(i).map(str::as_bytes)));
                saw.say(format!("row {}", values.collect::<Vec<_>>().join(" ")));
            }
            SimpleQueryMessage::CommandComplete(n) => saw.say(format!("complete {n}")),
            _ => {}
        }
    }
}

/// What came of it, and that the connection works on.
async fn sqlstate<T>(
    saw: &mut Saw,
    client: &Client,
    done: impl Future<Output = Result<T, Error>>,
) -> Result<()> {
    match done.await {
        Ok(_) => saw.say("ran"),
        Err(error) => {
            let db = error.as_db_error().context("no error of the server")?;
            saw.failed(db.code().code(), db.message());
        }
    }
    let one: i32 = client.query_one("SELECT 1", &[]).await?.get(0);
    saw.say(format!("usable {one}"));
    Ok(())
}

async fn connecting(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let session = connect(place, |c| {
        c.application_name("matrix");
    })
    .await?;
    saw.say(format!("{:?}", session.parameters));
    let sql = "SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    rows(&mut saw, &session.client.query(sql, &[]).await?);
    session.client.check_connection().await?;
    Ok(saw)
}

async fn startup(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = connect(place, |c| {
        c.application_name("matrix app");
        c.options("-c statement_timeout=54321 -c DateStyle=German -c TimeZone=Asia/Tokyo");
    })
    .await?
    .client;
    for name in [
        "TimeZone",
        "DateStyle",
        "statement_timeout",
        "application_name",
    ] {
        rows(&mut saw, &client.query(&format!("SHOW {name}"), &[]).await?);
    }
    Ok(saw)
}

async fn text(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let found = client
        .simple_query("SELECT * FROM kinds ORDER BY id")
        .await?;
    simple(&mut saw, &found);
    Ok(saw)
}

async fn binary(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let statement = client.prepare("SELECT * FROM kinds ORDER BY id").await?;
    for column in statement.columns() {
        let place = (column.table_oid().is_some(), column.column_id());
        saw.say(format!("{} {} {place:?}", column.name(), column.type_()));
    }
    rows(&mut saw, &client.query(&statement, &[]).await?);
    Ok(saw)
}

async fn prepared(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let statement = client
        .prepare("SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 2")
        .await?;
    for n in 0..12 {
        rows(&mut saw, &client.query(&statement, &[&n]).await?);
    }
    client
        .batch_execute("CREATE TEMP TABLE shape (a int)")
        .await?;
    let shape = client.prepare("SELECT * FROM shape").await?;
    client.query(&shape, &[]).await?;
    client
        .batch_execute("ALTER TABLE shape ADD COLUMN b int")
        .await?;
    sqlstate(&mut saw, &client, client.query(&shape, &[])).await?;
    client.batch_execute("DEALLOCATE ALL").await?;
    sqlstate(&mut saw, &client, client.query(&statement, &[&1])).await?;
    Ok(saw)
}

async fn params(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let bytes = b"\x00\x01\xff'".to_vec();
    let list = vec![Some(1_i32), Some(2), None];
    let words = vec![Some("a"), None, Some("b,c")];
    let values: &[(&str, &(dyn ToSql + Sync))] = &[
        ("bool", &true),
        ("int2", &-32_768_i16),
        ("int4", &i32::MAX),
        ("int8", &i64::MIN),
        ("float4", &1.5_f32),
        ("float8", &2.25_f64),
        ("text", &"t ' \\ é🐘"),
        ("varchar", &"v"),
        ("bytea", &bytes),
        ("int4[]", &list),
        ("text[]", &words),
    ];
    for (cast, value) in values {
        let sql = format!("SELECT $1::{cast}, $1::{cast} IS NULL");
        rows(&mut saw, &client.query(&sql, &[*value]).await?);
        let null: Option<&str> = None;
        let typed = format!("SELECT $1::text::{cast}, $1::text IS NULL");
        rows(&mut saw, &client.query(&typed, &[&null]).await?);
    }
    let typed = client
        .query_typed("SELECT $1, $2", &[(&7_i32, Type::INT4), (&"x", Type::TEXT)])
        .await?;
    rows(&mut saw, &typed);
    sqlstate(
        &mut saw,
        &client,
        client.query("SELECT $1::text::int4", &[&"no number"]),
    )
    .await?;
    Ok(saw)
}

async fn transaction(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut client = plain(place).await?;
    let mut outer = client.transaction().await?;
    outer
        .execute("INSERT INTO probe VALUES ($1)", &[&"kept"])
        .await?;
    let inner = outer.savepoint("mine").await?;
    inner
        .execute("INSERT INTO probe VALUES ($1)", &[&"lost"])
        .await?;
    let broken = inner.query("SELECT 1/0", &[]).await;
    saw.say(format!(
        "{:?}",
        broken.err().and_then(|e| e.code().cloned())
    ));
    inner.rollback().await?;
    outer.commit().await?;
    rows(
        &mut saw,
        &client.query("SELECT v FROM probe ORDER BY v", &[]).await?,
    );
    let strict = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::Serializable)
        .read_only(true)
        .start()
        .await?;
    let refused = strict.execute("INSERT INTO probe VALUES ('no')", &[]).await;
    saw.say(format!(
        "{:?}",
        refused.err().and_then(|e| e.code().cloned())
    ));
    drop(strict);
    rows(
        &mut saw,
        &client.query("SELECT v FROM probe ORDER BY v", &[]).await?,
    );
    Ok(saw)
}

async fn errors(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut session = connect(place, |_| {}).await?;
    let client = &session.client;
    for sql in [
        "SELECT 1/0",
        "SELECT nothing FROM orders",
        "SELECT 'x'::int",
        "INSERT INTO probe VALUES (NULL)",
        "INSERT INTO kinds (id) VALUES (1)",
        "SELECT sum(item) FROM orders",
    ] {
        for simple in [true, false] {
            let error = if simple {
                client.batch_execute(sql).await.err()
            } else {
                client.query(sql, &[]).await.err()
            };
            let error = error.context("no error")?;
            let db = error.as_db_error().context("no error of the server")?;
            saw.say(format!(
                "{} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
                db.severity(),
                db.code().code(),
                db.message(),
                db.detail(),
                db.hint(),
                db.position(),
                db.table(),
                db.column(),
                db.constraint(),
            ));
            rows(&mut saw, &client.query("SELECT 1", &[]).await?);
        }
    }
    let sql = "CREATE TABLE IF NOT EXISTS probe (v text)";
    client.batch_execute(sql).await?;
    if let Some(AsyncMessage::Notice(notice)) = session.messages.recv().await {
        saw.say(format!("{} {}", notice.severity(), notice.message()));
    }
    Ok(saw)
}

async fn cursor(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut client = plain(place).await?;
    let tx = client.transaction().await?;
    let sql = "SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 30";
    let portal = tx.bind(sql, &[&5]).await?;
    let other = tx.bind(sql, &[&100]).await?;
    for _ in 0..6 {
        rows(&mut saw, &tx.query_portal(&portal, 7).await?);
        rows(&mut saw, &tx.query_portal(&other, 2).await?);
    }
    tx.commit().await?;
    Ok(saw)
}

async fn copy(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let sink = client.copy_in("COPY probe FROM STDIN").await?;
    pin_mut!(sink);
    for n in 0..1000 {
        sink.send(bytes::Bytes::from(format!("line {n}\n"))).await?;
    }
    saw.say(sink.finish().await?);
    let out = client.copy_out("COPY probe TO STDOUT").await?;
    let out: Vec<bytes::Bytes> = out.try_collect().await?;
    saw.say(out.iter().map(bytes::Bytes::len).sum::<usize>());
    let sql = "COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT";
    let out: Vec<bytes::Bytes> = client.copy_out(sql).await?.try_collect().await?;
    saw.say(format!("{out:?}"));
    let sink = client.copy_in("COPY orders FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"no number\n")).await?;
    let failed = sink.finish().await.err().context("no error")?;
    saw.say(format!("{:?}", failed.code()));
    rows(
        &mut saw,
        &client.query("SELECT count(*) FROM probe", &[]).await?,
    );
    Ok(saw)
}

async fn pipeline(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let sql = "SELECT $1::int4, item FROM orders WHERE id = $1";
    let all: Vec<i32> = (1..60).collect();
    let found = futures::future::try_join_all(all.iter().map(|n| {
        let client = &client;
        async move { client.query(sql, &[n]).await }
    }));
    for found in found.await? {
        rows(&mut saw, &found);
    }
    let zero: [&(dyn ToSql + Sync); 1] = [&0_i32];
    let (a, b, c) = futures::join!(
        client.query("SELECT 1", &[]),
        client.query("SELECT 1 / $1::int4", &zero),
        client.query("SELECT 2", &[]),
    );
    rows(&mut saw, &a?);
    saw.say(format!("{:?}", b.err().and_then(|e| e.code().cloned())));
    rows(&mut saw, &c?);
    Ok(saw)
}

async fn large(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    for size in [1_usize << 20, 2 << 20] {
        let x = "x".repeat(size);
        let n = i32::try_from(size)?;
        let sql = "SELECT length($1), $1::text, repeat('y', $2)";
        let row = client.query_one(sql, &[&x, &n]).await?;
        let (same, y): (&str, &str) = (row.get(1), row.get(2));
        saw.say(format!(
            "{} {} {}",
            row.get::<_, i32>(0),
            same == x,
            y.len()
        ));
    }
    let data = vec![7_u8; 20 << 20];
    let row = client.query_one("SELECT $1::bytea", &[&data]).await?;
    saw.say(row.get::<_, &[u8]>(0) == data);
    Ok(saw)
}

async fn notify(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut listener = connect(place, |_| {}).await?;
    let speaker = plain(place).await?;
    listener.client.batch_execute("LISTEN matrix").await?;
    speaker.batch_execute("NOTIFY matrix, 'one'").await?;
    speaker
        .query("SELECT pg_notify('matrix', $1)", &[&"two"])
        .await?;
    for _ in 0..2 {
        if let Some(AsyncMessage::Notification(heard)) = listener.messages.recv().await {
            saw.say(format!("{} {}", heard.channel(), heard.payload()));
        }
    }
    Ok(saw)
}

async fn cancel(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let session = connect(place, |_| {}).await?;
    let client = &session.client;
    let (long, cancel) = futures::join!(
        sqlstate(&mut saw, client, client.batch_execute(LONG)),
        cancel_after(&session, PATIENCE / 2),
    );
    long?;
    cancel?;
    client.batch_execute("SET statement_timeout = 300").await?;
    sqlstate(&mut saw, client, client.query(LONG, &[])).await?;
    Ok(saw)
}

async fn cancel_after(session: &Session, after: std::time::Duration) -> Result<()> {
    let token = session.client.cancel_token();
    tokio::time::sleep(after).await;
    Ok(token.cancel_query(session.tls.clone()).await?)
}

async fn reset(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = connect(place, |c| {
        c.options("-c work_mem=5MB");
    })
    .await?
    .client;
    for sql in [
        "RESET ALL",
        "DISCARD ALL",
        "SET SESSION AUTHORIZATION DEFAULT",
        "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
         SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES",
    ] {
        client.batch_execute("SET work_mem = '6MB'").await?;
        sqlstate(&mut saw, &client, client.batch_execute(sql)).await?;
        rows(&mut saw, &client.query("SHOW work_mem", &[]).await?);
    }
    Ok(saw)
}

/// Types that it does not know are asked about: enums, composites, ranges, domains, arrays of them.
async fn introspect(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let sql = "SELECT 'ok'::mood, (7, 'x')::pair, ARRAY['sad']::mood[], ARRAY[(1, 'y')::pair], \
               '1'::information_schema.cardinal_number";
    let statement = client.prepare(sql).await?;
    for column in statement.columns() {
        saw.say(format!("{:?}", column.type_().kind()));
    }
    rows(&mut saw, &client.query(&statement, &[]).await?);
    Ok(saw)
}

async fn multi(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let sql = "SELECT 1; SELECT 2, 3; INSERT INTO probe VALUES ('m'); \
               SELECT v FROM probe ORDER BY v";
    simple(&mut saw, &client.simple_query(sql).await?);
    let broken = "SELECT 1; SELECT 1/0; INSERT INTO probe VALUES ('never')";
    sqlstate(&mut saw, &client, client.batch_execute(broken)).await?;
    simple(&mut saw, &client.simple_query("").await?);
    simple(
        &mut saw,
        &client
            .simple_query("SELECT v FROM probe ORDER BY v")
            .await?,
    );
    Ok(saw)
}

async fn masked(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut client = plain(place).await?;
    let statement = client.prepare(MASKED).await?;
    for _ in 0..3 {
        rows(&mut saw, &client.query(&statement, &[&17]).await?);
    }
    let text = MASKED.replace("$1", "17");
    for message in client.simple_query(&text).await? {
        if let SimpleQueryMessage::Row(_) = &message {
            simple(&mut saw, &[message]);
        }
    }
    let tx = client.transaction().await?;
    let portal = tx.bind(&statement, &[&14]).await?;
    for _ in 0..3 {
        rows(&mut saw, &tx.query_portal(&portal, 2).await?);
    }
    Ok(saw)
}

async fn approved(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let mut client = plain(place).await?;
    let simple = held("1", "approve");
    sqlstate(&mut saw, &client, client.batch_execute(&simple)).await?;
    let bound = held("$1", "approve");
    sqlstate(&mut saw, &client, client.execute(&bound, &[&2])).await?;
    // Sent at once: what is behind the held one waits with it.
    let returning = format!("{bound} RETURNING id, balance");
    let (before, held_one, after) = futures::join!(
        client.query("SELECT 'before'", &[]),
        client.query(&returning, &[&3]),
        client.query("SELECT 'after'", &[]),
    );
    rows(&mut saw, &before?);
    rows(&mut saw, &held_one?);
    rows(&mut saw, &after?);
    let tx = client.transaction().await?;
    saw.say(tx.execute(&bound, &[&4]).await?);
    tx.commit().await?;
    let sql = "SELECT id, balance FROM accounts WHERE id < 6 ORDER BY id";
    rows(&mut saw, &client.query(sql, &[]).await?);
    Ok(saw)
}

async fn denied(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let client = plain(place).await?;
    let simple = held("11", "deny");
    sqlstate(&mut saw, &client, client.batch_execute(&simple)).await?;
    let bound = held("$1", "deny");
    sqlstate(&mut saw, &client, client.execute(&bound, &[&12])).await?;
    Ok(saw)
}

async fn cancelled(place: &Place) -> Result<Saw> {
    let mut saw = Saw::default();
    let session = connect(place, |_| {}).await?;
    let client = &session.client;
    let sql = held("$1", "leave");
    let (waited, cancel) = futures::join!(
        sqlstate(&mut saw, client, client.execute(&sql, &[&21])),
        cancel_after(&session, PATIENCE),
    );
    waited?;
    cancel?;
    Ok(saw)
}
