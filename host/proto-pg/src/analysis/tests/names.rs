//! What a name still means when SQL has dropped it, and when it has not.

use super::World;
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text);
CREATE TABLE dept (id int PRIMARY KEY, title text);
";

/// `!n`: the server says that it has done step n, counted from 0. `.`: no transaction is open, and nothing
/// is under way. At the end: can the last step show `ssn`?
const TABLE: &[(&[&str], bool)] = &[
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE q",
            "!1",
            "PREPARE q AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        false,
    ),
    // Nobody knows yet whether it was done.
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE q",
            "PREPARE q AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        true,
    ),
    // It is told of what was there before, not of what has been sent since.
    (
        &[
            "PREPARE q AS SELECT title FROM dept",
            "DEALLOCATE q",
            "PREPARE q AS SELECT ssn FROM emp",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE q",
            "PREPARE q AS SELECT ssn FROM emp",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT title FROM dept",
            "DEALLOCATE q; PREPARE q AS SELECT ssn FROM emp",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp; DEALLOCATE q",
            "!0",
            "PREPARE q AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        true,
    ),
    // The text itself gives it another meaning.
    (
        &[
            "PREPARE q AS SELECT title FROM dept",
            "DEALLOCATE q; PREPARE q AS SELECT ssn FROM emp; EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "BEGIN",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "CLOSE c; DECLARE c CURSOR FOR SELECT ssn FROM emp; FETCH c",
        ],
        true,
    ),
    // Another name.
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE r",
            "!1",
            "PREPARE r AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "CLOSE q",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE ALL",
            "!1",
            "PREPARE q AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        false,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DISCARD ALL",
            "!1",
            "PREPARE q AS SELECT title FROM dept",
            "EXECUTE q",
        ],
        false,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DISCARD PLANS",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    (
        &[
            "PREPARE q AS SELECT ssn FROM emp",
            "DEALLOCATE ALL",
            "PREPARE q AS SELECT ssn FROM emp",
            "!1",
            "EXECUTE q",
        ],
        true,
    ),
    // Transactions end, cursors with them; prepared statements do not.
    (
        &[
            "DECLARE c CURSOR FOR SELECT ssn FROM emp",
            ".",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "FETCH ALL FROM c",
        ],
        false,
    ),
    (
        &[
            "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            ".",
            "FETCH ALL FROM c",
        ],
        true,
    ),
    (
        &[
            "DECLARE c BINARY SCROLL CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            ".",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "FETCH ALL FROM c",
        ],
        true,
    ),
    (
        &[
            "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            ".",
            "CLOSE c",
            "!2",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "FETCH ALL FROM c",
        ],
        false,
    ),
    (
        &[
            "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            ".",
            "CLOSE ALL",
            "!2",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "FETCH ALL FROM c",
        ],
        false,
    ),
    (
        &[
            "DECLARE c CURSOR FOR SELECT ssn FROM emp",
            "CLOSE c",
            "!1",
            "DECLARE c CURSOR FOR SELECT title FROM dept",
            "MOVE 1 FROM c",
            "FETCH ALL FROM c",
        ],
        false,
    ),
    (
        &["PREPARE q AS SELECT ssn FROM emp", ".", "EXECUTE q"],
        true,
    ),
];

#[test]
fn what_names_still_mean() {
    let server = Server::start("names");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut wrong = Vec::new();
    for (steps, expect) in TABLE {
        let mut world = World::new(client.snapshot(), client.state());
        let mut sent = Vec::new();
        for step in *steps {
            if let Some(done) = step.strip_prefix('!') {
                let (names, commands): &(u64, Vec<crate::analysis::Command>) =
                    &sent[done.parse::<usize>().unwrap()];
                for command in commands {
                    world.state.dropped(&command.over, *names);
                }
            } else if *step == "." {
                world.state.idle();
            } else {
                let names = world.state.names();
                let analysis = world.analyse(step);
                world.state.forwarded(&analysis);
                let shows = analysis.labelled.iter().any(|c| &*c.column == "ssn");
                sent.push((names, analysis.commands.clone()));
                if Some(step) == steps.last() && (shows != *expect || !analysis.facts.parsed) {
                    wrong.push(format!("{steps:?}: {shows}"));
                }
                continue;
            }
            sent.push((0, Vec::new()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is forgotten because there is too much of it comes back with the next transaction.
#[test]
fn names_of_which_there_were_too_many() {
    let server = Server::start("many_names");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut world = World::new(client.snapshot(), client.state());
    let declare = |world: &mut World, i: usize| {
        let sql = format!("DECLARE c CURSOR FOR SELECT title FROM dept WHERE id = {i}");
        let analysis = world.analyse(&sql);
        world.state.forwarded(&analysis);
    };
    for i in 0..70 {
        declare(&mut world, i);
    }
    assert!(!world.analyse("FETCH c").facts.parsed);
    world.state.idle();
    declare(&mut world, 0);
    assert!(world.analyse("FETCH c").facts.parsed);
}
