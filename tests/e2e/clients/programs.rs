//! The programs that come with PostgreSQL: psql, pgbench, pg_dump and pg_restore, on the system's
//! libpq.

use std::process::Command;
use std::time::Duration;

use weir_tests::paths;
use weir_tests::proc::{Scratch, Signal};
use weir_tests::psql::{Psql, Running};

use super::run::{Report, output};
use super::rust::{LONG, PATIENCE, held};
use super::stage::Place;

const LIMIT: Duration = Duration::from_secs(60);
const CUSTOMERS: &str = "SELECT id, ssn, email, card FROM customers WHERE id > 17 ORDER BY id";

/// Collects what each check printed.
struct Checks<'a> {
    place: &'a Place,
    report: Report,
}

impl<'a> Checks<'a> {
    fn new(place: &'a Place, program: &str) -> Self {
        let mut command = program_of_postgres(program);
        command.arg("--version");
        let report = Report {
            version: output(command).0.trim().replace("(PostgreSQL) ", ""),
            complete: true,
            ..Report::default()
        };
        Self { place, report }
    }

    fn saw(&mut self, check: &str, text: &str) {
        let only = std::env::var("WEIR_CHECK").ok();
        if only.is_some_and(|o| !o.split(',').any(|c| c == check)) {
            return;
        }
        let lines = self.report.checks.entry(check.into()).or_default();
        lines.extend(text.lines().map(|line| line.trim_end().to_owned()));
    }

    /// psql with this script.
    fn psql(&mut self, check: &str, script: &str) {
        let said = match psql(self.place, "", &[]).run(script) {
            Ok(out) => out.all(),
            Err(error) => format!("UNEXPECTED {error:#}"),
        };
        self.saw(check, &without_pids(&said));
    }
}

fn program_of_postgres(name: &str) -> Command {
    Command::new(paths::postgres_bin(name).expect("PostgreSQL's clients: run `cargo xtask deps`"))
}

/// `settings` as in a connection string.
fn psql(place: &Place, settings: &str, args: &[&str]) -> Psql {
    Psql {
        port: place.port,
        user: place.user.clone(),
        database: format!("dbname={} {settings}", place.database),
        password: place.password.clone(),
        sslmode: "verify-full".into(),
        sslrootcert: Some(place.ca.clone()),
        args: args.iter().map(|a| (*a).to_owned()).collect(),
    }
}

/// What differs from session to session.
fn without_pids(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("with PID ") {
        Some((before, _)) => format!("{before}with PID"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub fn run_psql(place: &Place) -> Report {
    let mut checks = Checks::new(place, "psql");
    checks.psql(
        "connect",
        "\\echo :SERVER_VERSION_NUM :ENCODING\n\
         SELECT ssl, current_user FROM pg_stat_ssl WHERE pid = pg_backend_pid();\n\
         \\set QUIET on\n\\c\nSELECT 1;\n",
    );
    let settings = "application_name='matrix app' options='-c statement_timeout=54321 \
                    -c search_path=public -c DateStyle=German -c TimeZone=Asia/Tokyo'";
    let script = "SHOW statement_timeout; SHOW search_path; SHOW DateStyle; SHOW TimeZone;\n\
                  SHOW application_name; RESET ALL; SHOW DateStyle; SHOW client_encoding;\n";
    let said = psql(place, settings, &[]).run(script).map(|o| o.all());
    checks.saw(
        "startup",
        &said.unwrap_or_else(|e| format!("UNEXPECTED {e}")),
    );
    checks.psql(
        "text",
        "\\x auto\nSELECT * FROM kinds ORDER BY id;\n\\t off\n\\a\n\
         SELECT id, item FROM orders ORDER BY id LIMIT 3;\nSELECT 1 AS a, NULL AS b \\gx\n\
         SELECT 'x' AS name, 7 AS value \\gset\n\\echo :name :value\n\
         SELECT format('SELECT %s', n) FROM generate_series(1, 3) AS n \\gexec\n\
         SELECT i % 2, i, i FROM generate_series(1, 4) AS i \\crosstabview\n",
    );
    checks.psql(
        "prepared",
        "PREPARE p AS SELECT id, item FROM orders WHERE id > $1 ORDER BY id LIMIT 2;\n\
         EXECUTE p (1); EXECUTE p (2); EXECUTE p (3); EXECUTE p (4); EXECUTE p (5); EXECUTE p (6);\n\
         DEALLOCATE p; EXECUTE p (1);\nSELECT 1 AS a, 'x'::text AS b, 2.5 AS c \\gdesc\n",
    );
    checks.psql(
        "params",
        "\\set v 'it''s \\\\ é'\nSELECT :'v', length(:'v');\n\\set n 41\nSELECT :n + 1;\n",
    );
    checks.psql(
        "transaction",
        "\\set ON_ERROR_ROLLBACK on\nBEGIN;\nINSERT INTO probe VALUES ('kept');\nSELECT 1/0;\n\
         INSERT INTO probe VALUES ('too');\nCOMMIT;\nSELECT v FROM probe ORDER BY v;\n\\set ON_ERROR_ROLLBACK off\n\
         BEGIN; SELECT 1/0; SELECT 1; COMMIT;\nBEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;\n\
         INSERT INTO probe VALUES ('no');\nROLLBACK;\n\
         BEGIN; INSERT INTO probe VALUES ('2pc'); PREPARE TRANSACTION 'matrix';\n\
         ROLLBACK PREPARED 'matrix';\nSELECT count(*) FROM probe;\n",
    );
    checks.psql(
        "errors",
        "SELECT 1/0;\nSELECT nothing\nFROM orders;\nSELECT 'x'::int;\n\
         INSERT INTO probe VALUES (NULL);\nINSERT INTO kinds (id) VALUES (1);\n\
         SELECT sum(item) FROM orders;\n\\errverbose\nCREATE TABLE IF NOT EXISTS probe (v text);\n\
         SELECT 'usable';\n",
    );
    checks.psql(
        "cursor",
        "\\set FETCH_COUNT 7\nSELECT id, item FROM orders ORDER BY id LIMIT 30;\n\
         BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id;\n\
         FETCH 3 FROM c; MOVE 10 IN c; FETCH BACKWARD 2 FROM c; CLOSE c; COMMIT;\n",
    );
    checks.psql(
        "copy",
        "\\copy probe from program 'seq 1 1000'\n\\copy probe to program 'wc -l'\n\
         COPY (SELECT id, item FROM orders ORDER BY id LIMIT 3) TO STDOUT;\n\
         COPY probe FROM STDIN;\none\ntwo\n\\.\nSELECT count(*) FROM probe;\n\
         CREATE TEMP TABLE numbers (a int8, b int8);\n\
         COPY numbers FROM STDIN (FORMAT csv, HEADER);\na,b\n1,2\n\\.\n\
         COPY numbers FROM STDIN;\n1\tno number\n\\.\nTABLE numbers;\n",
    );
    more_psql(&mut checks);
    held_psql(&mut checks);
    checks.report
}

fn more_psql(checks: &mut Checks<'_>) {
    let big = "x".repeat(1 << 20);
    checks.psql(
        "large",
        &format!(
            "SELECT length('{big}');\nSELECT repeat('y', 3000000);\n\
             SELECT count(*), sum(n) FROM generate_series(1, 100000) n;\n\
             SELECT n, repeat('z', 100) FROM generate_series(1, 5000) n;\n"
        ),
    );
    checks.psql(
        "notify",
        "LISTEN matrix;\nNOTIFY matrix, 'one';\nSELECT pg_notify('matrix', 'two');\n\
         UNLISTEN *;\nNOTIFY matrix, 'three';\n",
    );
    interrupted(checks, "cancel", LONG, PATIENCE);
    checks.psql(
        "cancel",
        &format!("SET statement_timeout = 300;\n{LONG};\nSELECT 'usable';\n"),
    );
    checks.psql(
        "reset",
        "SET work_mem = '6MB'; RESET ALL; SHOW work_mem;\nSET work_mem = '6MB';\nDISCARD ALL;\n\
         SHOW work_mem; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; CLOSE ALL; UNLISTEN *;\n\
         SHOW client_encoding; SHOW standard_conforming_strings;\n",
    );
    // Every question that psql has about a database that holds nobody else's things.
    checks.psql(
        "introspect",
        "\\d\n\\d+\n\\d customers\n\\d+ orders\n\\d+ kinds\n\\d+ customer_view\n\\d+ customer_copy\n\
         \\di+\n\\df\n\\df+ ssn_of\n\\dT+\n\\dn+\n\\dp\n\\dD\n\\dx\n\\dy\n\\da public.*\n\
         \\dC mood\n\\dd\n\\ddp\n\\det\n\\dF\n\\dL\n\\do public.*\n\\dO public.*\n\\dRp\n\
         \\dP\n\\ds\n\\dv\n\\dm\n\\sf ssn_of\n\\sv customer_view\n\\encoding\n\\timing off\n",
    );
    checks.psql(
        "multi",
        "SELECT 1\\; SELECT 2, 3\\; INSERT INTO probe VALUES ('m')\\; SELECT v FROM probe ORDER BY v;\n\
         SELECT 1\\; SELECT 1/0\\; INSERT INTO probe VALUES ('never');\nSELECT count(*) FROM probe;\n;\n",
    );
    let args = [
        "-c",
        "SELECT 1; SELECT 2",
        "-c",
        "BEGIN; SELECT count(*) FROM probe; COMMIT",
    ];
    let said = psql(checks.place, "", &args).run("").map(|o| o.all());
    checks.saw("multi", &said.unwrap_or_else(|e| format!("UNEXPECTED {e}")));
    checks.psql(
        "masked",
        &format!(
            "{CUSTOMERS};\n\\set FETCH_COUNT 2\n{CUSTOMERS};\n\\set FETCH_COUNT 0\n\
             COPY customers (id, ssn) TO STDOUT;\nTABLE customers;\n"
        ),
    );
}

fn held_psql(checks: &mut Checks<'_>) {
    let (one, two) = (held("1", "approve"), held("2", "approve"));
    let script = format!(
        "\\set QUIET on\nSET client_min_messages = warning;\n{one};\nBEGIN;\n{two};\nCOMMIT;\n\
         SELECT id, balance FROM accounts WHERE id < 4 ORDER BY id;\n"
    );
    let said = psql(checks.place, "", &[]).run(&script);
    let said = said.map_or_else(|e| format!("UNEXPECTED {e}"), |o| o.stdout);
    checks.saw("approved", &said);
    let denied = psql(checks.place, "", &[])
        .run(&format!("{};\nSELECT 'usable 1';\n", held("11", "deny")))
        .map_or_else(|e| format!("UNEXPECTED {e}"), |o| outcome(&o.all()));
    checks.saw("denied", &denied);
    interrupted(checks, "cancelled", &held("21", "leave"), PATIENCE);
}

/// Ctrl-C while it waits; without that much patience if it is done before.
fn interrupted(checks: &mut Checks<'_>, check: &str, sql: &str, patience: Duration) {
    let script = format!("{sql};\n");
    let said = psql(checks.place, "", &[])
        .spawn(&script)
        .and_then(|mut psql| {
            let running = wait_a_while(&mut psql, patience);
            if running {
                psql.signal(Signal::Int)?;
            }
            Ok(psql.wait(LIMIT)?.all())
        });
    let said = said.map_or_else(|e| format!("UNEXPECTED {e:#}"), |text| outcome(&text));
    checks.saw(check, &said);
}

fn wait_a_while(psql: &mut Running, patience: Duration) -> bool {
    let until = std::time::Instant::now() + patience;
    while std::time::Instant::now() < until {
        if !psql.is_running() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    psql.is_running()
}

/// As the scripts of other clients say it.
fn outcome(text: &str) -> String {
    let mut said = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("ERROR:  ") {
            let code = rest.split(':').next().unwrap_or_default();
            let reason = if rest.contains("not today") {
                " reason"
            } else {
                ""
            };
            said.push(format!("error {code}{reason}"));
        } else if line.starts_with("UPDATE ") {
            said.push("ran".into());
        } else if line.starts_with("usable") {
            said.push(line.into());
        }
    }
    // Errors come on another stream than results.
    said.sort_by_key(|line| line.starts_with("usable"));
    said.join("\n")
}

fn tool(place: &Place, name: &str, args: &[&str]) -> Command {
    let mut command = program_of_postgres(name);
    command
        .args(["-h", "127.0.0.1", "-p", &place.port.to_string()])
        .args(["-U", &place.user])
        .args(args)
        .env("PGPASSWORD", &place.password)
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &place.ca)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC");
    command
}

// ---- pgbench

/// The built-in transaction's statements in one pipeline.
const PIPELINE: &str = "\\set aid random(1, 1000)\n\\startpipeline\nBEGIN;\n\
    UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n\
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n\
    INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, 1, now());\n\
    END;\n\\endpipeline\n";

pub fn run_pgbench(place: &Place) -> Report {
    let mut checks = Checks::new(place, "pgbench");
    let scratch = Scratch::new("pgbench").unwrap();
    let file = scratch.join("pipeline.sql");
    std::fs::write(&file, PIPELINE).unwrap();
    let file = file.to_string_lossy().into_owned();
    // Makes tables and fills them by COPY; the tests' bundle drops nothing.
    let bench = |checks: &mut Checks<'_>, check: &str, args: &[&str]| {
        let mut all = args.to_vec();
        all.push(&place.database);
        let (out, noise) = output(tool(place, "pgbench", &all));
        let said = format!("{out}\n{noise}");
        let told = said.lines().filter(|line| {
            [
                "actually processed",
                "failed transactions",
                "error",
                "aborted",
            ]
            .iter()
            .any(|word| line.contains(word))
        });
        let told: Vec<&str> = told.collect();
        checks.saw(check, &format!("{check}\n{}", told.join("\n")));
    };
    bench(&mut checks, "copy", &["-i", "-I", "tgvp", "-q"]);
    bench(&mut checks, "connect", &["-C", "-S", "-t", "10"]);
    let common = ["-n", "-c", "2", "-t", "100"];
    for (check, args) in [
        ("text", ["-S", "-M", "simple"]),
        ("params", ["-S", "-M", "extended"]),
        ("prepared", ["-S", "-M", "prepared"]),
        ("transaction", ["-N", "-M", "prepared"]),
        ("pipeline", ["-f", &file, "--protocol=extended"]),
    ] {
        bench(&mut checks, check, &[&args[..], &common].concat());
    }
    let sums = "SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts) \
                FROM pgbench_history;\n";
    checks.psql("transaction", sums);
    checks.report
}

// ---- pg_dump and pg_restore

pub fn run_pg_dump(place: &Place) -> Report {
    let mut checks = Checks::new(place, "pg_dump");
    let scratch = Scratch::new("pg-dump").unwrap();
    let file = |name: &str| scratch.join(name).to_string_lossy().into_owned();
    let db = place.database.as_str();
    let (plain, noise) = dump(place, &[db]);
    checks.saw("text", &format!("{plain}\n{noise}"));
    let (inserts, noise) = dump(place, &["--inserts", "--rows-per-insert=7", db]);
    checks.saw("cursor", &format!("{inserts}\n{noise}"));
    // Several connections that share one snapshot.
    let dir = file("parallel");
    let (_, noise) = output(tool(place, "pg_dump", &["-Fd", "-j2", "-f", &dir, db]));
    let custom = file("custom");
    let (_, more) = output(tool(place, "pg_dump", &["-Fc", "-f", &custom, db]));
    checks.saw("copy", &format!("dumped{noise}{more}"));
    for (archive, args) in [(&dir, vec!["-j2"]), (&custom, vec!["--single-transaction"])] {
        let into = format!("{db}_{}", args.len() + args[0].len());
        checks.psql("copy", &format!("CREATE DATABASE {into};\n"));
        let args = [&args[..], &["-d", into.as_str(), archive.as_str()]].concat();
        let (_, noise) = output(tool(place, "pg_restore", &args));
        let (again, more) = dump(place, &[into.as_str()]);
        // What is no dump at all would be the same, too.
        let same = again == plain && plain.contains("COPY public.customers");
        let verdict = if same {
            "restored the same"
        } else {
            "UNEXPECTED: another dump"
        };
        checks.saw("copy", &format!("{verdict}\n{noise}{more}"));
    }
    checks.report
}

/// A dump as text, without the key that guards it, which is another one each time.
fn dump(place: &Place, args: &[&str]) -> (String, String) {
    let (text, noise) = output(tool(place, "pg_dump", args));
    let lines = text.lines().filter(|line| {
        let words = ["\\restrict ", "\\unrestrict "];
        !words.iter().any(|word| line.starts_with(word))
    });
    (lines.collect::<Vec<_>>().join("\n"), noise)
}
