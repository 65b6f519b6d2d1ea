//! Texts that are no SQL are answered as the server would.

use pipeline::memory::MemoryPolicy;

use super::protocol::Bench;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::wire::encode;
use crate::wire::startup::PROTOCOL_3_0;

/// As PostgreSQL says it, so that clients draw their caret in the right place.
#[tokio::test(flavor = "multi_thread")]
async fn syntax_errors_have_the_servers_words_and_place() {
    let b = Bench::new("p_syntax", MemoryPolicy::permit_all(), "");
    let pg = Postgres::shared();
    let mut direct = Client::raw(([127, 0, 0, 1], pg.port).into()).await;
    let parameters = [("user", "postgres"), ("database", "p_syntax")];
    direct.startup(PROTOCOL_3_0, &parameters).await;
    direct.login("").await.unwrap();
    let mut c = b.client().await;
    for sql in [
        "SELEC 1",
        "SELECT 1 FROM WHERE",
        "SELECT 'ä', 'b' 'c', , 1, 2",
        "SELECT 'not closed",
        "SELECT (1",
        "SELECT 1; INSERT INTO t VALUE (1); SELEC",
    ] {
        for extended in [false, true] {
            let mut said = Vec::new();
            for c in [&mut direct, &mut c] {
                if extended {
                    encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
                    encode::empty(&mut c.out, b'S');
                } else {
                    encode::query(&mut c.out, sql.as_bytes());
                }
                c.send().await;
                let all = c.until_ready().await;
                let error = all.iter().find(|m| m.tag == 'E').unwrap();
                said.push([b'C', b'M', b'P'].map(|code| error.field(code)));
            }
            assert_eq!(said[0], said[1], "{sql}");
        }
    }
}
