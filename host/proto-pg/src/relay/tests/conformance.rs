//! The pipeline's suite for protocol crates, over the wire.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::conformance::futures_like::BoxFuture;
use pipeline::conformance::{self, Harness, Reply};
use pipeline::{Action, Ports};

use crate::testing::Weir;
use crate::testing::client::{Answer, Client};
use crate::testing::postgres::Postgres;

struct Pg {
    /// Services live as long as the test.
    services: Mutex<Vec<Weir>>,
    /// Through the extended protocol instead of simple queries.
    extended: bool,
    database: &'static str,
}

struct Wire {
    client: Client,
    extended: bool,
}

fn reply(answer: Answer) -> Reply {
    match answer {
        Answer {
            status: None,
            error,
            ..
        } => Reply::Closed(format!("{error:?}")),
        Answer {
            error: Some((_, message)),
            ..
        } => Reply::Refused(message),
        _ => Reply::Done,
    }
}

impl Wire {
    async fn run(&mut self, sql: &str) -> Reply {
        // The service may have closed the connection: that is an answer, too.
        let out = &mut self.client.out;
        if self.extended {
            use crate::wire::encode;
            encode::parse(out, b"", sql.as_bytes(), &[]);
            encode::bind(out, b"", b"", encode::BIND_PLAIN);
            encode::execute(out, b"", 0);
            encode::empty(out, b'S');
        } else {
            crate::wire::encode::query(out, sql.as_bytes());
        }
        let bytes = self.client.out.split();
        use tokio::io::AsyncWriteExt;
        if self.client.io.write_all(&bytes).await.is_err() {
            return Reply::Closed("cannot write".into());
        }
        reply(self.client.answer().await)
    }
}

#[async_trait]
impl conformance::Client for Wire {
    async fn read(&mut self) -> Reply {
        self.run("SELECT 1").await
    }
    async fn write(&mut self) -> Reply {
        self.run("INSERT INTO writes VALUES (1)").await
    }
    fn canceller(&self) -> Box<dyn FnOnce() -> BoxFuture + Send> {
        let cancel = self.client.canceller();
        Box::new(move || Box::pin(cancel))
    }
    async fn vanish(self: Box<Self>) {}
}

#[async_trait]
impl Harness for Pg {
    fn write_action(&self) -> &'static [Action] {
        &[Action::PostgresInsert]
    }

    async fn connect(&self, ports: Ports) -> Result<Box<dyn conformance::Client>, Reply> {
        let weir = Weir::to(Postgres::shared(), ports);
        let addr = weir.addr;
        self.services.lock().push(weir);
        match Client::connect(addr, &format!("db/{}", self.database)).await {
            Ok(client) => Ok(Box::new(Wire {
                client,
                extended: self.extended,
            })),
            Err(m) => Err(Reply::Closed(m.field(b'M'))),
        }
    }

    async fn upstream_writes(&self) -> u64 {
        let database = self.database;
        tokio::task::spawn_blocking(move || {
            Postgres::shared()
                .sql(database, "SELECT count(*) FROM writes")
                .parse()
                .unwrap()
        })
        .await
        .unwrap()
    }
}

async fn suite(database: &'static str, extended: bool) {
    let pg = Postgres::shared();
    pg.database(database);
    pg.sql(
        database,
        "CREATE TABLE writes (n int); GRANT ALL ON writes TO weir",
    );
    let harness = Arc::new(Pg {
        services: Mutex::default(),
        extended,
        database,
    });
    conformance::run(&*harness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_queries_keep_the_promises() {
    suite("conformance_simple", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_protocol_keeps_the_promises() {
    suite("conformance_extended", true).await;
}
