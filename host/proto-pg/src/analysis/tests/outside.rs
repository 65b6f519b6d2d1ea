//! Statements that reach out of the database: files, programs, libraries, other servers.

use pipeline::LabelCatalog;

use super::bypass::Run;
use crate::catalog::tests::server::Server;

/// Ways to files, programs, libraries and other servers. What is read there has no labels.
const OUTSIDE: &[&str] = &[
    "COPY acc (id) FROM PROGRAM 'cat base/1/*'",
    "COPY acc (id) FROM '/tmp/x'",
    "COPY acc TO '/tmp/x'",
    "COPY acc TO PROGRAM 'psql -c x'",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION IF NOT EXISTS plpgsql",
    "ALTER EXTENSION plpgsql UPDATE",
    "CREATE FOREIGN DATA WRAPPER w",
    "ALTER FOREIGN DATA WRAPPER wrap OPTIONS (a 'b')",
    "CREATE SERVER s FOREIGN DATA WRAPPER wrap",
    "ALTER SERVER there OPTIONS (host '127.0.0.1')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER there OPTIONS (user 'postgres')",
    "ALTER USER MAPPING FOR CURRENT_USER SERVER there OPTIONS (user 'postgres')",
    "CREATE FOREIGN TABLE f (a text) SERVER there",
    "ALTER FOREIGN TABLE far OPTIONS (table_name 'emp')",
    "ALTER FOREIGN TABLE far ADD COLUMN more text",
    "ALTER TABLE far ADD COLUMN more text",
    "IMPORT FOREIGN SCHEMA public FROM SERVER there INTO public",
    "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)",
    "LOAD 'auto_explain'",
    "ALTER SYSTEM SET archive_command = 'cat'",
    "CREATE LANGUAGE other",
    "CREATE ACCESS METHOD m TYPE INDEX HANDLER bthandler",
    "SELECT 1; LOAD 'auto_explain'",
];

#[test]
fn ways_around_the_database() {
    let server = Server::start("outside");
    let setup = "CREATE TABLE acc (id int); CREATE FOREIGN DATA WRAPPER wrap;
        CREATE SERVER there FOREIGN DATA WRAPPER wrap; CREATE FOREIGN TABLE far (a text) SERVER there";
    let mut run = Run::with(&server, setup);
    let mut wrong = Vec::new();
    for sql in OUTSIDE {
        let analysis = run.world.analyse(sql);
        if analysis.facts.parsed && (analysis.labelled.is_empty() || analysis.unmaskable.is_none())
        {
            wrong.push(format!("PASSES {sql}"));
        }
    }
    for sql in [
        "COPY acc FROM STDIN",
        "COPY acc TO STDOUT",
        "ALTER TABLE acc ADD COLUMN more text",
        "DROP FOREIGN TABLE far",
        "DROP SERVER there",
        "DROP EXTENSION plpgsql",
    ] {
        let analysis = run.world.analyse(sql);
        if !analysis.facts.parsed || analysis.unmaskable.is_some() {
            wrong.push(format!("REFUSED {sql}"));
        }
    }
    // Where nothing is labelled, nothing is in the way.
    run.world.labels = LabelCatalog::default();
    for sql in OUTSIDE {
        let analysis = run.world.analyse(sql);
        if !analysis.labelled.is_empty() {
            wrong.push(format!("REFUSED WITHOUT LABELS {sql}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
