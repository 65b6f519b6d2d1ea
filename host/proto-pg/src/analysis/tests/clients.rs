//! What PostgreSQL's own programs send is understood, and refused to nobody who may read it.

use std::collections::BTreeSet;

use pipeline::Resource;

use super::World;
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x', ssn text, CHECK (id > 0));
INSERT INTO emp (name, ssn) VALUES ('ada', '111-22-3333');
CREATE TABLE dept (id int REFERENCES emp (id), title text);
CREATE INDEX ON emp (lower(name)) WHERE id > 0;
CREATE VIEW names AS SELECT id, name FROM emp;
CREATE MATERIALIZED VIEW m AS SELECT id FROM emp;
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (9);
CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE TYPE pair AS (a int, b text); CREATE TYPE span AS RANGE (SUBTYPE = int);
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON emp FOR EACH ROW EXECUTE FUNCTION note();
CREATE POLICY p ON emp USING (name = current_user); CREATE RULE r AS ON INSERT TO dept DO ALSO SELECT 1;
CREATE STATISTICS s ON id, name FROM emp; CREATE SEQUENCE seq START 5;
COMMENT ON TABLE emp IS 'people';
";

#[test]
fn pg_dump_is_understood() {
    understood("dump", "pg_dump", &["-f", "/dev/null", "postgres"]);
}

/// What psql asks for when somebody looks around.
#[test]
fn psql_is_understood() {
    let commands = [
        "\\d",
        "\\d+ emp",
        "\\d+ names",
        "\\d+ part",
        "\\dt+",
        "\\di+",
        "\\df+",
        "\\dn+",
        "\\du",
        "\\l",
        "\\dT+",
        "\\dv+",
        "\\ds",
        "\\dp",
        "\\dD",
        "\\dx",
        "\\dL",
        "\\do",
        "\\dC",
        "\\dy",
        "\\dX",
        "\\dm",
        "\\dP",
        "\\dO",
        "\\dc",
        "\\dF",
        "\\da",
        "\\ddp",
        "\\sf f",
        "\\sv names",
        "\\conninfo",
    ];
    let mut arguments = vec!["-q", "-o", "/dev/null"];
    arguments.extend(commands.iter().flat_map(|c| ["-c", *c]));
    arguments.push("postgres");
    understood("psql", "psql", &arguments);
}

fn understood(name: &str, program: &str, arguments: &[&str]) {
    let server = Server::start(name);
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut world = World::new(client.snapshot(), client.state());
    client.run("ALTER ROLE postgres SET log_statement = 'all'");
    let texts = server.texts_of(program, arguments);
    assert!(texts.len() > 30, "{}", texts.len());
    let mut asked = BTreeSet::new();
    let mut wrong = Vec::new();
    // Somebody who may read everything: nothing stays masked.
    let mut labels = std::mem::take(&mut world.labels);
    for text in &texts {
        let analysis = world.analyse(text);
        if analysis.refuse.is_some() || !analysis.facts.parsed || analysis.unknown_names {
            let columns = analysis.unknown_names;
            wrong.push(format!("{:?} unknown {columns}: {text}", analysis.refuse));
        }
        for access in &analysis.accesses {
            match &access.resource {
                Resource::PgFunction { function, .. } => asked.insert(function.to_string()),
                Resource::PgTable { table, known, .. } if !known => {
                    asked.insert(format!("unknown {table}"))
                }
                _ => false,
            };
        }
        // Clients that look around choose by nothing that is labelled.
        std::mem::swap(&mut world.labels, &mut labels);
        let computed = world.analyse(text).computed;
        std::mem::swap(&mut world.labels, &mut labels);
        if !computed.is_empty() {
            wrong.push(format!("computes with {computed:?}: {text}"));
        }
        world.state.forwarded(&analysis);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nothing that has to be asked about by itself.
    assert!(asked.is_empty(), "{asked:?}");
}
