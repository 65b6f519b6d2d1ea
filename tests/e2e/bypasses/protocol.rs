//! D42–D54: tricks with the parser, the session and the protocol.

use std::time::Duration;

use weir_tests::wire::{self, Client, Reply, bind, cstr, execute, fields, frame, parse, startup};

use super::defence::{FAILED, HARMLESS, MASKED, NULLED, PINNED, REDACTED, REFUSED};
use super::run::Scene;
use super::{Row, row, wire};

const M: super::Defence = MASKED;
const N: super::Defence = NULLED;
const R: super::Defence = REFUSED;
const P: super::Defence = PINNED;
const ANY: super::Defence = MASKED.or(NULLED).or(REFUSED).or(REDACTED).or(PINNED);

/// A documented limit: who replaces a definition past Weir is noticed when the catalogue is read
/// again, at the latest a minute later.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // D42: texts that two parsers read differently.
    row("D42", P, &["SET standard_conforming_strings = off", "SELECT '\\'', ssn, '' FROM people"]),
    row("D42", P, &["SET client_encoding = 'SJIS'", "SELECT ssn FROM people"]).alone(),
    row("D42", P, &["SET NAMES 'BIG5'", "SELECT ssn FROM people"]).alone(),
    row("D42", P.or(R), &["SELECT set_config('standard_conforming_strings', 'off', false)", "SELECT ssn FROM people"]),
    row("D42", R, &["SELECT set_config(lower('CLIENT_ENCODING'), 'GBK', false)", "SELECT ssn FROM people"]).alone(),
    row("D42", P, &["SET SESSION standard_conforming_strings TO 0", "SELECT ssn FROM people"]),
    row("D42", P.or(R).or(M), &["ALTER ROLE powerful SET standard_conforming_strings = off", "SELECT ssn FROM people"]).alone(),
    row("D42", P.or(R).or(M), &["ALTER DATABASE {db} SET client_encoding = 'BIG5'", "SELECT ssn FROM people"]).alone(),
    row("D42", M.or(R), &["SELECT ssn, '\\' FROM people -- '"]),
    row("D42", M, &["SELECT E'\\'', ssn, E'\\'' FROM people"]),
    row("D42", M, &["SELECT $a$ ' $a$, ssn, $$ -- $$ FROM people"]),
    row("D42", M, &["SELECT U&'\\0027', ssn FROM people -- '"]),
    row("D42", M, &["SELECT 'a'\n'b', ssn FROM people"]),
    row("D42", M, &["SELECT B'1', X'ff', ssn FROM people"]),
    row("D42", M, &["SELECT 1 /* /* */ , name */, ssn FROM people"]),
    row("D42", M, &["SELECT 1 --\r, name\n, ssn FROM people"]),
    row("D42", FAILED.or(R), &["SELECT\u{a0}ssn FROM people"]).inert("no space to the server"),
    row("D42", P.or(R), &["SET backslash_quote = on", "SET escape_string_warning = off", "SELECT '\\'' || ssn || '' FROM people"]).inert("a syntax error"),
    row("D42", N, &["SELECT ssn||E'\\x41' FROM people"]),
    row("D42", R.or(M), &["SET quote_all_identifiers = on", "SET transform_null_equals = on", "SELECT ssn FROM people"]),

    // D43: several statements in one text.
    row("D43", M.or(R), &["SELECT 1; SELECT ssn FROM people; SELECT 2"]).simple(),
    row("D43", M.or(R), &[";;; SELECT ssn FROM people ;;"]),
    row("D43", M.or(R), &["SELECT id FROM people; SELECT ssn FROM people"]).simple(),
    row("D43", M.or(R), &["BEGIN; SELECT ssn FROM people; COMMIT"]).simple().alone(),
    row("D43", R, &["CREATE TEMP VIEW v{n} AS SELECT ssn AS x FROM people; SELECT x FROM v{n}"]).simple(),
    row("D43", R, &["SET search_path = pg_catalog; SELECT ssn FROM public.people; RESET search_path; SELECT name FROM people; CREATE TABLE z{n} AS SELECT ssn FROM people"]).simple(),
    row("D43", R.or(M), &["COPY scratch (note) FROM STDIN; SELECT ssn FROM people"]).simple(),
    row("D43", R, &["SELECT ssn FROM people; DO $$ BEGIN END $$"]).simple(),
    row("D43", R.or(M).or(N), &["SELECT 1\\; SELECT 2", "SELECT 1; SELECT upper(ssn) FROM people"]).simple(),
    wire("D43", FAILED.or(R), "two statements in one Parse", |s| sent(s, &[parse("", "SELECT 1; SELECT ssn FROM people"), frame(b'S', b"")].concat(), 1)).inert("the server refuses it"),

    // D44: between judging and running.
    wire("D44", ANY, "bound under one search_path, run under another", path_moves),
    wire("D44", ANY, "a view is replaced past Weir, after a statement that reads it was parsed", view_moves),
    wire("D44", ANY, "another session takes away the table that a parsed statement reads, and the next of that name has labels", another_drops),
    wire("D44", R, "another session replaces the view that a parsed statement reads", another_replaces),
    wire("D44", ANY, "a temporary table that is dropped again", temp_goes),
    row("D44", M.or(N).or(R), &["CREATE SCHEMA s{n}", "CREATE TABLE s{n}.people (id integer, ssn text)", "SET search_path = s{n}, public", "PREPARE p AS SELECT ssn FROM people", "DROP TABLE s{n}.people", "EXECUTE p", "DROP SCHEMA s{n}"]).alone(),
    row("D44", M.or(N).or(R), &["SET search_path = nowhere, public", "SELECT ssn FROM people", "RESET search_path"]),

    // D45: other roles, which this person may become: they see no more through Weir.
    row("D45", REDACTED, &["SET ROLE other", "SELECT ssn FROM people"]).alone().inert("that role may not read"),
    row("D45", M, &["SET SESSION AUTHORIZATION postgres", "SELECT ssn FROM people"]).alone(),
    row("D45", M, &["SELECT set_config('role', 'postgres', false), ssn FROM people"]),
    row("D45", M, &["SELECT set_config('session_authorization', 'postgres', false), ssn FROM people"]),
    row("D45", P, &["SET session_replication_role = replica", "SELECT ssn FROM people"]),
    row("D45", M, &["RESET ROLE", "SELECT ssn FROM people"]).alone(),
    row("D45", M, &["SET row_security = off", "SELECT ssn FROM people"]).alone(),
    row("D45", R.or(HARMLESS), &["GRANT ALL ON people TO PUBLIC", "ALTER ROLE other LOGIN SUPERUSER PASSWORD 'x'"]).alone().inert("nothing is read"),
    row("D45", R.or(HARMLESS), &["CREATE ROLE r{n} SUPERUSER LOGIN", "DROP ROLE r{n}"]).alone().inert("nothing is read"),
    row("D45", R.or(HARMLESS), &["GRANT MAINTAIN ON people TO other"]).since(17).inert("nothing is read"),
    row("D45", M, &["RESET ALL", "DISCARD ALL", "SELECT ssn FROM people"]).alone(),
    row("D45", R.or(P).or(HARMLESS), &["ALTER SYSTEM SET log_min_messages = debug5"]).alone().inert("nothing is read"),

    // D46: frames that lie.
    wire("D46", R, "a second query behind the NUL of the first", |s| hostile(s, frame(b'Q', b"SELECT 1\0Q\0\0\0\x1eSELECT ssn FROM people\0"))).inert("the server refuses it"),
    wire("D46", R, "a query without its NUL", |s| hostile(s, frame(b'Q', b"SELECT ssn FROM people"))).inert("the server refuses it"),
    wire("D46", R, "a Parse with fewer types than it says", |s| hostile(s, frame(b'P', b"\0SELECT ssn FROM people\0\0\x09"))).inert("the server refuses it"),
    wire("D46", R, "a Bind that says it has more parameters", |s| hostile(s, frame(b'B', b"\0\0\0\0\0\x7f"))).inert("the server refuses it"),
    wire("D46", R, "a frame of length zero", |s| hostile(s, b"Q\0\0\0\0SELECT ssn FROM people\0".to_vec())).inert("the server refuses it"),
    wire("D46", R, "a kind of message that there is not", |s| hostile(s, frame(b'!', b"SELECT ssn FROM people\0"))).inert("the server refuses it"),
    wire("D46", R, "text that is not UTF-8", |s| hostile(s, frame(b'Q', b"SELECT '\x83\x5c', ssn FROM people\0"))).inert("the server refuses it"),

    // D47: tricks at startup.
    wire("D47", R, "options=-c session_replication_role", |s| started(s, &[("options", "-c session_replication_role=replica")])).inert("nothing is read"),
    wire("D47", R, "options=-c role", |s| started(s, &[("options", "-c role=postgres")])).inert("nothing is read"),
    wire("D47", R, "client_encoding at startup", |s| started(s, &[("client_encoding", "SJIS")])).inert("nothing is read"),
    wire("D47", R, "options=-c standard_conforming_strings", |s| started(s, &[("options", "-cstandard_conforming_strings=off")])).inert("nothing is read"),
    wire("D47", R, "client_min_messages at startup", |s| started(s, &[("client_min_messages", "debug5")])).inert("nothing is read"),
    wire("D47", R, "session_preload_libraries at startup", |s| started(s, &[("session_preload_libraries", "auto_explain")])).inert("nothing is read"),
    wire("D47", R, "a parameter given twice", |s| started(s, &[("search_path", "public"), ("search_path", "pg_temp")])).inert("nothing is read"),
    wire("D47", R, "another user given twice", |s| started(s, &[("user", "postgres")])).inert("nothing is read"),
    wire("D47", M.or(R), "the superuser's name", |s| as_user(s, "postgres")),
    wire("D47", M.or(R), "a search path with pg_temp in front", |s| with_path(s, "pg_temp, public")),

    // D48: formats.
    wire("D48", super::Defence::or(M, N), "formats of single columns", |s| formats(s, &[0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1])),
    wire("D48", super::Defence::or(M, N), "all columns binary, each by itself", |s| formats(s, &[1; 13])),
    wire("D48", super::Defence::or(M, N), "no formats at all", |s| formats(s, &[])),
    wire("D48", ANY.or(FAILED), "more formats than columns", |s| formats(s, &[1; 20])).inert("the server refuses it"),
    wire("D48", super::Defence::or(M, N), "one statement in both formats", both_formats),

    // D49: pipelines.
    wire("D49", ANY.or(HARMLESS), "a refused Parse, then a Bind to the older statement of its name", refused_then_bound),
    wire("D49", ANY, "the unnamed statement again and again", unnamed_again),
    wire("D49", ANY.or(FAILED), "Execute after an error, before Sync", |s| {
        // It takes its time, so that what comes behind it is known when it fails.
        let mut out = parse("", "SELECT 1 / 0 FROM pg_sleep(0.5)");
        out.extend([bind("", "", &[], &[]), execute("", 0)].concat());
        out.extend([parse("", "SELECT ssn FROM people"), bind("", "", &[], &[]), execute("", 0)].concat());
        out.extend(frame(b'S', b""));
        out.extend([parse("", "SELECT ssn FROM people"), bind("", "", &[], &[]), execute("", 0), frame(b'S', b"")].concat());
        sent(s, &out, 2)
    }),
    wire("D49", ANY, "Close, then the same name for something else", |s| {
        let mut out = [parse("s", "SELECT name FROM people"), frame(b'D', b"Ss\0"), frame(b'C', b"Ss\0")].concat();
        out.extend([parse("s", "SELECT ssn FROM people"), bind("", "s", &[], &[]), execute("", 0), frame(b'S', b"")].concat());
        sent(s, &out, 1)
    }),
    wire("D49", ANY, "without Describe", |s| {
        sent(s, &[parse("", "SELECT ssn, salary FROM people"), bind("", "", &[], &[1]), execute("", 0), frame(b'S', b"")].concat(), 1)
    }),

    // D50: results that change their shape.
    wire("D50", ANY, "two portals of one statement, in turns", two_portals),
    wire("D50", ANY, "Execute in two parts", |s| {
        let out = [parse("", "SELECT ssn FROM people"), bind("p", "", &[], &[]), execute("p", 2), execute("p", 2), execute("p", 0), frame(b'S', b"")];
        sent(s, &out.concat(), 1)
    }),
    wire("D50", ANY.or(FAILED), "past Weir, a view with a star gets other columns", star_changes),
    wire("D50", ANY.or(FAILED), "another session takes columns from the table that a star stands for", another_alters),

    // D51: too much, too deep.
    wire("D51", ANY.or(FAILED), "five thousand levels of parentheses", |s| {
        sql(s, &format!("SELECT {}ssn{} FROM people", "(".repeat(5000), ")".repeat(5000)))
    }),
    wire("D51", ANY.or(FAILED), "two thousand concatenations", |s| {
        sql(s, &format!("SELECT {}ssn FROM people", "'' || ".repeat(2000)))
    }),
    wire("D51", ANY.or(FAILED), "three hundred nested sub-selects", |s| {
        sql(s, &format!("SELECT {}ssn{} FROM people WHERE id = 1", "(SELECT ".repeat(300), ")".repeat(300)))
    }),
    wire("D51", ANY.or(FAILED), "five megabytes of comment", |s| sql(s, &format!("SELECT /*{}*/ ssn FROM people", "x".repeat(5 << 20)))),
    wire("D51", ANY.or(FAILED), "two hundred CTEs, each of the one before", |s| {
        let mut text = "WITH c0 AS (SELECT ssn AS x FROM people)".to_owned();
        for n in 1..200 {
            text.push_str(&format!(", c{n} AS (SELECT x FROM c{})", n - 1));
        }
        sql(s, &(text + " SELECT x FROM c199"))
    }),

    // D52: past the proxy. That nobody reaches the server otherwise is the network's business.
    wire("D52", R, "the target's address and credential are told to nobody", told),
    wire("D52", HARMLESS, "a guessed cancel key does nothing", guessed_key).inert("no value is read"),

    // D53: procedures.
    row("D53", ANY, &["CALL give(NULL)"]),
    row("D53", ANY, &["CALL give('x')"]),
    row("D53", R, &["CREATE PROCEDURE p{n}(INOUT v text) LANGUAGE sql AS 'SELECT ssn FROM people WHERE id = 1'", "CALL p{n}(NULL)"]),
    row("D53", ANY, &["CALL give(v => NULL)"]),
    row("D53", R, &["DO $$ DECLARE v text; BEGIN CALL give(v); RAISE NOTICE '%', v; COMMIT; END $$"]).alone(),

    // D54: what one session leaves. There are no pools of upstream sessions.
    wire("D54", ANY.or(HARMLESS), "prepared statements of the session before", |s| {
        left_over(s, "PREPARE p AS SELECT ssn FROM people", "EXECUTE p")
    }).inert("another session"),
    wire("D54", ANY.or(HARMLESS).or(FAILED), "a temporary table of the session before", |s| {
        left_over(s, "CREATE TEMP TABLE left_here AS SELECT 1 AS x", "SELECT x FROM left_here")
    }).inert("another session"),
    wire("D54", HARMLESS, "settings of the session before", |s| {
        left_over(s, "SET application_name = 'left'", "SHOW application_name")
    }).inert("another session"),
];

/// Connects with more parameters than usual and reads what comes before ReadyForQuery.
pub fn started(scene: &Scene<'_>, more: &[(&str, &str)]) -> Vec<Reply> {
    let mut client = Client::over(wire::raw(scene.side.weir.pg_port).unwrap()).unwrap();
    let mut params = vec![("user", "mallory"), ("database", "vault")];
    params.extend(more);
    client.send_raw(&startup(&params)).unwrap();
    let mut reply = Reply::default();
    while let Ok(frame) = client.frame() {
        match frame.tag {
            b'R' if frame.body == [0, 0, 0, 3] => {
                client
                    .send_raw(&wire::frame(b'p', &cstr(&scene.side.token)))
                    .unwrap();
            }
            b'E' => reply.errors.push(fields(&frame.body)),
            _ => {}
        }
        let end = frame.tag == b'Z';
        if frame.tag != b'K' {
            reply.frames.push(frame);
        }
        if end {
            break;
        }
    }
    vec![reply]
}

fn sent(scene: &Scene<'_>, bytes: &[u8], syncs: usize) -> Vec<Reply> {
    let mut client = scene.connect();
    client.send_raw(bytes).unwrap();
    (0..syncs).map(|_| client.reply().unwrap()).collect()
}

/// What no client sends: an answer, or the end of the connection.
fn hostile(scene: &Scene<'_>, bytes: Vec<u8>) -> Vec<Reply> {
    let mut client = scene.connect();
    client.send_raw(&bytes).unwrap();
    // Ends the connection, should it still be there.
    let _ = client.send_raw(&[frame(b'S', b""), frame(b'X', b"")].concat());
    let mut reply = Reply::default();
    while let Ok(frame) = client.frame() {
        if frame.tag == b'E' {
            reply.errors.push(fields(&frame.body));
        }
        reply.frames.push(frame);
    }
    vec![reply]
}

fn sql(scene: &Scene<'_>, text: &str) -> Vec<Reply> {
    vec![scene.connect().query(text).unwrap()]
}

fn as_user(scene: &Scene<'_>, user: &str) -> Vec<Reply> {
    let mut client = match scene.through {
        true => scene.side.weir.connect(user, &scene.side.token).unwrap(),
        false => scene.connect(),
    };
    vec![client.query("SELECT ssn FROM people").unwrap()]
}

fn with_path(scene: &Scene<'_>, path: &str) -> Vec<Reply> {
    let mut client = match scene.through {
        true => {
            let params = [
                ("user", "mallory"),
                ("database", "vault"),
                ("search_path", path),
            ];
            Client::connect_with(scene.side.weir.pg_port, &params, &scene.side.token).unwrap()
        }
        false => scene.connect(),
    };
    vec![client.query("SELECT ssn FROM people").unwrap()]
}

fn path_moves(scene: &Scene<'_>) -> Vec<Reply> {
    let mut client = scene.connect();
    let mut out = Vec::new();
    for sql in [
        "CREATE SCHEMA IF NOT EXISTS twin",
        "CREATE TABLE IF NOT EXISTS twin.people (ssn text, id integer)",
        "SET search_path = twin, public",
    ] {
        out.push(client.query(sql).unwrap());
    }
    let begin = [parse("s", "SELECT ssn FROM people"), frame(b'S', b"")];
    client.send_raw(&begin.concat()).unwrap();
    out.push(client.reply().unwrap());
    out.push(client.query("SET search_path = public").unwrap());
    let run = [bind("", "s", &[], &[]), execute("", 0), frame(b'S', b"")];
    client.send_raw(&run.concat()).unwrap();
    out.push(client.reply().unwrap());
    out.push(client.query("DROP SCHEMA twin CASCADE").unwrap());
    out
}

/// A name that is not known is looked up at once, but not more often than once a second.
const LOOKED_UP: Duration = Duration::from_millis(1_200);

fn view_moves(scene: &Scene<'_>) -> Vec<Reply> {
    let database = if scene.through { "vault" } else { "bare" };
    let change = |sql: &str| scene.side.cluster.sql(database, sql).unwrap();
    change("CREATE VIEW moving AS SELECT name AS x FROM people");
    std::thread::sleep(LOOKED_UP);
    let mut client = scene.connect();
    let mut out = vec![client.query("SELECT x FROM moving").unwrap()];
    client
        .send_raw(&[parse("s", "SELECT x FROM moving"), frame(b'S', b"")].concat())
        .unwrap();
    out.push(client.reply().unwrap());
    // Somebody else, past Weir.
    change("CREATE OR REPLACE VIEW moving AS SELECT ssn AS x FROM people");
    for format in [0, 1] {
        let run = [
            bind("", "s", &[], &[format]),
            execute("", 0),
            frame(b'S', b""),
        ];
        client.send_raw(&run.concat()).unwrap();
        out.push(client.reply().unwrap());
    }
    out.push(client.query("SELECT x FROM moving").unwrap());
    change("DROP VIEW moving");
    out
}

/// Somebody else's DDL through Weir, between Parse and Execute, and before the same text comes again.
fn between(
    scene: &Scene<'_>,
    before: &[&str],
    sql: &str,
    change: &[&str],
    after: &[&str],
) -> Vec<Reply> {
    let mut client = scene.connect();
    let mut out: Vec<Reply> = before
        .iter()
        .map(|sql| client.query(sql).unwrap())
        .collect();
    let ask = [parse("s", sql), frame(b'D', b"Ss\0"), frame(b'S', b"")];
    client.send_raw(&ask.concat()).unwrap();
    out.push(client.reply().unwrap());
    let mut other = scene.connect();
    out.extend(change.iter().map(|sql| other.query(sql).unwrap()));
    for format in [0, 1] {
        let run = [
            bind("", "s", &[], &[format]),
            execute("", 0),
            frame(b'S', b""),
        ];
        client.send_raw(&run.concat()).unwrap();
        out.push(client.reply().unwrap());
    }
    out.push(client.query(sql).unwrap());
    out.extend(after.iter().map(|sql| other.query(sql).unwrap()));
    out
}

fn another_drops(scene: &Scene<'_>) -> Vec<Reply> {
    between(
        scene,
        &[
            "CREATE SCHEMA twin",
            "CREATE TABLE twin.people (ssn text, id integer)",
            "SET search_path = twin, public",
        ],
        "SELECT ssn FROM people",
        &["DROP TABLE twin.people"],
        &["DROP SCHEMA twin CASCADE"],
    )
}

fn another_replaces(scene: &Scene<'_>) -> Vec<Reply> {
    between(
        scene,
        &["CREATE VIEW moving AS SELECT name AS x FROM people"],
        "SELECT x FROM moving",
        &["CREATE OR REPLACE VIEW moving AS SELECT ssn AS x FROM people"],
        &["DROP VIEW moving"],
    )
}

fn another_alters(scene: &Scene<'_>) -> Vec<Reply> {
    between(
        scene,
        &[],
        "SELECT * FROM people",
        &[
            "ALTER TABLE people DROP COLUMN name CASCADE",
            "ALTER TABLE people ADD COLUMN name text",
        ],
        &[],
    )
}

fn temp_goes(scene: &Scene<'_>) -> Vec<Reply> {
    let mut client = scene.connect();
    let mut out = vec![
        client
            .query("CREATE TEMP TABLE people (id integer, ssn text)")
            .unwrap(),
    ];
    client
        .send_raw(&[parse("s", "SELECT ssn FROM people"), frame(b'S', b"")].concat())
        .unwrap();
    out.push(client.reply().unwrap());
    out.push(client.query("DROP TABLE pg_temp.people").unwrap());
    let run = [bind("", "s", &[], &[]), execute("", 0), frame(b'S', b"")];
    client.send_raw(&run.concat()).unwrap();
    out.push(client.reply().unwrap());
    out
}

fn formats(scene: &Scene<'_>, formats: &[i16]) -> Vec<Reply> {
    let sql = "SELECT ssn, salary, pay, born, vip, doc, codes, home, blob, ref, score, seen, tail FROM people";
    let out = [
        parse("", sql),
        bind("", "", &[], formats),
        frame(b'D', b"P\0"),
        execute("", 0),
        frame(b'S', b""),
    ];
    sent(scene, &out.concat(), 1)
}

fn both_formats(scene: &Scene<'_>) -> Vec<Reply> {
    let mut out = parse("s", "SELECT ssn, salary, doc FROM people");
    for format in [0, 1, 0, 1] {
        out.extend([bind("", "s", &[], &[format]), execute("", 0)].concat());
    }
    out.extend(frame(b'S', b""));
    sent(scene, &out, 1)
}

fn refused_then_bound(scene: &Scene<'_>) -> Vec<Reply> {
    let mut out = [parse("s", "SELECT name FROM people"), frame(b'S', b"")].concat();
    out.extend(
        [
            parse("s", "SELECT ssn::integer, pg_sleep(9) FROM people"),
            frame(b'S', b""),
        ]
        .concat(),
    );
    out.extend(
        [
            bind("", "s", &[], &[]),
            frame(b'D', b"P\0"),
            execute("", 0),
            frame(b'S', b""),
        ]
        .concat(),
    );
    out.extend(
        [
            frame(b'C', b"Ss\0"),
            parse("s", "SELECT ssn FROM people"),
            frame(b'S', b""),
        ]
        .concat(),
    );
    out.extend([bind("", "s", &[], &[]), execute("", 0), frame(b'S', b"")].concat());
    sent(scene, &out, 5)
}

fn unnamed_again(scene: &Scene<'_>) -> Vec<Reply> {
    let mut out = Vec::new();
    for sql in [
        "SELECT name FROM people",
        "SELECT ssn FROM people",
        "SELECT id::text FROM people",
        "SELECT code FROM staff_codes",
    ] {
        out.extend([parse("", sql), bind("", "", &[], &[]), execute("", 0)].concat());
    }
    out.extend(frame(b'S', b""));
    out.extend([bind("", "", &[], &[]), execute("", 0), frame(b'S', b"")].concat());
    sent(scene, &out, 2)
}

fn two_portals(scene: &Scene<'_>) -> Vec<Reply> {
    let mut out = [
        parse("a", "SELECT name FROM people"),
        parse("b", "SELECT ssn FROM people"),
    ]
    .concat();
    out.extend([bind("pa", "a", &[], &[]), bind("pb", "b", &[], &[])].concat());
    for portal in ["pa", "pb", "pa", "pb", "pb", "pa"] {
        out.extend(execute(portal, 2));
    }
    out.extend(frame(b'S', b""));
    sent(scene, &out, 1)
}

fn star_changes(scene: &Scene<'_>) -> Vec<Reply> {
    let database = if scene.through { "vault" } else { "bare" };
    let change = |sql: &str| scene.side.cluster.sql(database, sql).unwrap();
    change("CREATE VIEW stars AS SELECT id, name AS x FROM people");
    std::thread::sleep(LOOKED_UP);
    let mut client = scene.connect();
    let ask = [
        parse("s", "SELECT * FROM stars"),
        frame(b'D', b"Ss\0"),
        frame(b'S', b""),
    ];
    client.send_raw(&ask.concat()).unwrap();
    let mut out = vec![client.reply().unwrap()];
    change("CREATE OR REPLACE VIEW stars AS SELECT id, ssn AS x, salary FROM people");
    let run = [bind("", "s", &[], &[]), execute("", 0), frame(b'S', b"")];
    client.send_raw(&run.concat()).unwrap();
    out.push(client.reply().unwrap());
    out.push(client.query("SELECT x FROM stars").unwrap());
    change("DROP VIEW stars");
    out
}

/// Where the server is and how to log in there.
fn told(scene: &Scene<'_>) -> Vec<Reply> {
    let mut client = scene.connect();
    let asks = [
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'powerful'",
        "SELECT passwd FROM pg_shadow",
        "SELECT * FROM pg_hba_file_rules",
    ];
    let replies: Vec<Reply> = asks.map(|sql| client.query(sql).unwrap()).into();
    for reply in replies.iter().filter(|_| scene.through) {
        let bytes = reply.bytes();
        for told in [
            weir_tests::postgres::LOGIN_PASSWORD.as_bytes(),
            b"SCRAM-SHA-256",
        ] {
            assert!(!weir_tests::dataset::find(&bytes, told), "{reply:?}");
        }
    }
    replies
}

fn guessed_key(scene: &Scene<'_>) -> Vec<Reply> {
    use std::io::Write;
    let mut client = scene.connect();
    let mut key = client.key.clone();
    if let Some(last) = key.last_mut() {
        *last ^= 1;
    }
    let mut request = (12 + key.len() as u32 - 4).to_be_bytes().to_vec();
    request.extend(80_877_102_u32.to_be_bytes());
    request.extend(&key);
    let mut stream = wire::raw(scene.side.weir.pg_port).unwrap();
    stream.write_all(&request).unwrap();
    vec![
        client
            .query("SELECT count(*) FROM generate_series(1, 300000)")
            .unwrap(),
    ]
}

fn left_over(scene: &Scene<'_>, leave: &str, look: &str) -> Vec<Reply> {
    let mut first = scene.connect();
    first.query(leave).unwrap();
    first.send_raw(&frame(b'X', b"")).unwrap();
    drop(first);
    let reply = scene.connect().query(look).unwrap();
    assert!(reply.text(0, 0).as_deref() != Some("left"), "{reply:?}");
    vec![reply]
}
