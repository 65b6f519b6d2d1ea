//! `cargo xtask demo`: every promise, shown with stock psql before a real PostgreSQL and stock ssh before a
//! real sshd, with nothing but defaults. What does not show what it should fails the demo.

mod ssh;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_tests::dataset::leaks;
use weir_tests::paths;
use weir_tests::postgres::{Cluster, LOGIN_PASSWORD};
use weir_tests::proc::eventually;
use weir_tests::psql::Output;
use weir_tests::weir::{Setup, Weir};

use crate::{build_plugins, deps, sh};

const SOON: Duration = Duration::from_secs(20);

/// An engineer, a database administrator, and somebody from security: groups of the default bundle.
const ALICE: (&str, &str) = ("alice@example.test", "engineering");
const DAN: (&str, &str) = ("dan@example.test", "dba");
const SUE: (&str, &str) = ("sue@example.test", "security");

pub fn run() -> Result<()> {
    let root = paths::root();
    deps::ensure(deps::SESSION)?;
    build_plugins(&root)?;
    sh::run(sh::cargo(&root, &["build", "--locked", "-p", "server"]))?;
    show(&paths::target().join("debug/weir"))
}

/// The demo with a binary that is built.
pub fn show(binary: &Path) -> Result<()> {
    let started = Instant::now();
    let cluster = Cluster::start().context("PostgreSQL")?;
    let database = cluster.database()?;
    let mut setup = Setup::new("demo", &cluster, &database);
    setup.binary = binary.to_path_buf();
    setup.tls = true;
    let host = ssh::Host::start(&mut setup)?;
    let weir = setup.start().context("Weir")?;
    println!(
        "\nPostgreSQL listens on port {}, Weir on {}.",
        cluster.port, weir.pg_port
    );
    println!("The database's password is known to Weir alone; clients bring a token.\n");

    let mut demo = Demo {
        cluster,
        database,
        weir,
        host,
        claims: Vec::new(),
    };
    demo.permitted()?;
    demo.masked()?;
    demo.refused()?;
    demo.held_and_approved()?;
    demo.held_and_denied()?;
    demo.replayed()?;
    demo.hosts()?;
    demo.verified()?;
    demo.summary(started)
}

struct Demo {
    cluster: Cluster,
    database: String,
    weir: Weir,
    host: ssh::Host,
    claims: Vec<(&'static str, Result<(), String>)>,
}

impl Demo {
    fn token(&self, person: (&str, &str)) -> Result<String> {
        self.weir.token(person.0, &[person.1])
    }

    /// A person runs a script in psql, and we look over their shoulder.
    fn psql(&self, person: (&str, &str), script: &str) -> Result<Output> {
        let name = person.0.split('@').next().unwrap_or_default();
        println!("  {name} ({}) $ psql orders", person.1);
        for line in script.lines() {
            println!("    => {line}");
        }
        let mut psql = self.weir.psql(name, &self.token(person)?);
        psql.args = ["-P", "footer=off"].map(str::to_owned).to_vec();
        let out = psql.run(script)?;
        print_output(&out);
        Ok(out)
    }

    fn weir(&self, person: (&str, &str), args: &[&str]) -> Result<Output> {
        let name = person.0.split('@').next().unwrap_or_default();
        println!("  {name} ({}) $ weir {}", person.1, args.join(" "));
        let out = self.weir.cli(Some(&self.token(person)?), args)?;
        print_output(&out);
        Ok(out)
    }

    /// Straight to the server, past Weir.
    fn direct(&self, sql: &str) -> Result<String> {
        self.cluster.sql(&self.database, sql)
    }

    fn claim(&mut self, what: &'static str, holds: bool, why_not: &str) {
        println!("  {} {what}\n", if holds { "✓" } else { "✗" });
        self.claims.push((
            what,
            if holds {
                Ok(())
            } else {
                Err(why_not.to_owned())
            },
        ));
    }

    fn permitted(&mut self) -> Result<()> {
        title(
            "Permitted",
            "a stock psql, a token for a password, TLS on both legs",
        );
        let sql = "SELECT id, name, balance FROM customers WHERE id <= 3 ORDER BY id;";
        let out = self.psql(ALICE, sql)?;
        let rows = "1|Customer 1|100.25\n2|Customer 2|200.50\n3|Customer 3|300.75\n";
        self.claim(
            "rows come through unchanged",
            out.ok() && out.stdout == rows,
            &out.all(),
        );
        let mut stranger = self.weir.psql("mallory", LOGIN_PASSWORD);
        stranger.args.clear();
        let out = stranger.run("SELECT 1")?;
        println!("  mallory $ psql orders   (with the database's real password)");
        print_output(&out);
        self.claim("without a token nobody gets in", !out.ok(), &out.all());
        Ok(())
    }

    fn masked(&mut self) -> Result<()> {
        title("Masked", "labelled columns, whatever the query calls them");
        let planted = self.direct("SELECT email, ssn FROM customers WHERE id = 3")?;
        println!("  in the table: {planted}\n");
        let mut all = String::new();
        for sql in [
            "SELECT name, email, ssn FROM customers WHERE id = 3;",
            "SELECT ssn AS harmless, 'x' || ssn AS longer FROM customers WHERE id = 3;",
            "SELECT row_to_json(c) FROM customers c WHERE id = 3;",
            "SELECT code FROM customer_view WHERE id = 3;",
            "COPY (SELECT ssn FROM customers WHERE id = 3) TO STDOUT;",
        ] {
            all += &self.psql(ALICE, sql)?.all();
        }
        let shown = leaks(all.as_bytes());
        self.claim(
            "no labelled value comes back",
            shown.is_none(),
            &shown.unwrap_or_default(),
        );
        let masked = all.contains("Customer 3|") && all.lines().count() > 3;
        self.claim("rows with masked columns still come", masked, &all);
        Ok(())
    }

    fn refused(&mut self) -> Result<()> {
        title(
            "Refused",
            "by policy, with a reason, and the connection stays usable",
        );
        let script = "DELETE FROM orders WHERE id = 1;\nSELECT pg_read_file('/etc/passwd');\nSELECT 'still here';";
        let out = self.psql(ALICE, script)?;
        let refused = out.stderr.matches("42501").count();
        self.claim(
            "both are refused with SQLSTATE 42501",
            refused == 2,
            &out.all(),
        );
        self.claim(
            "psql works on",
            out.stdout.contains("still here"),
            &out.all(),
        );
        let left = self.direct("SELECT count(*) FROM orders")?;
        self.claim("nothing was deleted", left == "300", &left);
        Ok(())
    }

    /// Starts the statement that the default bundle holds, and waits until somebody must decide.
    fn hold(&mut self) -> Result<(weir_tests::psql::Running, String)> {
        let sql = "UPDATE accounts SET balance = balance + 1;";
        println!("  dan (dba) $ psql orders\n    => {sql}");
        let mut psql = self.weir.psql("dan", &self.token(DAN)?).spawn(sql)?;
        let hold = self.weir.open_hold(&self.token(SUE)?)?;
        let id = hold
            .get("id")
            .and_then(|id| id.as_str())
            .context("a hold's id")?
            .to_owned();
        psql.wait_for(&id, SOON)?;
        for line in psql.printed().lines() {
            println!("    {line}");
        }
        let sum = self.direct("SELECT sum(balance) FROM accounts")?;
        self.claim(
            "it waits, and has not touched anything",
            sum == "50000",
            &sum,
        );
        Ok((psql, id))
    }

    fn held_and_approved(&mut self) -> Result<()> {
        title(
            "Held and approved",
            "an UPDATE of a whole production table needs a second person",
        );
        let (psql, id) = self.hold()?;
        let own = self.weir(DAN, &["approvals", "approve", &id])?;
        self.claim("nobody approves their own", !own.ok(), &own.all());
        self.weir(SUE, &["approvals", "show", &id])?;
        let voted = self.weir(
            SUE,
            &["approvals", "approve", &id, "--reason", "agreed, ticket 42"],
        )?;
        self.claim("somebody else approves", voted.ok(), &voted.all());
        let out = psql.wait(SOON)?;
        println!("  and dan's psql, which has waited all the time:");
        print_output(&out);
        let sum = self.direct("SELECT sum(balance) FROM accounts")?;
        let ran = out.stdout.contains("UPDATE 50") && sum == "50050";
        self.claim("now it runs, once", ran, &format!("{}{sum}", out.all()));
        Ok(())
    }

    fn held_and_denied(&mut self) -> Result<()> {
        title("Held and denied", "any denial is final");
        // The sum that `hold` expects to see untouched.
        self.direct("UPDATE accounts SET balance = 1000")?;
        let (psql, id) = self.hold()?;
        self.weir(
            SUE,
            &["approvals", "deny", &id, "--reason", "twice is too much"],
        )?;
        let out = psql.wait(SOON)?;
        print_output(&out);
        let told = out.stderr.contains("42501") && out.stderr.contains("twice is too much");
        self.claim("it is refused with the denier's reason", told, &out.all());
        let sum = self.direct("SELECT sum(balance) FROM accounts")?;
        self.claim("it never ran", sum == "50000", &sum);
        Ok(())
    }

    fn replayed(&mut self) -> Result<()> {
        title(
            "Replayed",
            "what was asked, what was decided, what was seen",
        );
        let admin = self.weir.token("ada@example.test", &["weir-admins"])?;
        let session = self.weir.session_of(&admin, DAN.0)?;
        let text = eventually("the recording", SOON, || {
            let out = self.weir.cli(None, &["replay", &session])?;
            Ok((out.ok() && out.stdout.contains("twice is too much")).then_some(out.stdout))
        })?;
        println!("  $ weir replay {session}");
        for line in text.lines() {
            println!("    {line}");
        }
        let whole =
            text.contains(DAN.0) && text.contains("UPDATE accounts SET balance = balance + 1");
        self.claim("the transcript has who, what and why", whole, &text);
        Ok(())
    }

    fn verified(&mut self) -> Result<()> {
        title("Verified", "recordings that nobody can change unseen");
        println!("  $ weir verify");
        let out = self.weir.cli(None, &["verify"])?;
        print_output(&out);
        self.claim("every chain and every segment holds", out.ok(), &out.all());
        self.weir.stop();
        let file = largest(&self.weir.home.join("data/recordings"))?;
        let whole = std::fs::read(&file)?;
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        if let Some(byte) = changed.get_mut(middle) {
            *byte ^= 1;
        }
        sh::run(sh::cmd(
            Path::new("/"),
            "chmod",
            &["u+w", &file.to_string_lossy()],
        ))?;
        std::fs::write(&file, changed)?;
        println!("  … one bit of one recording is changed …\n  $ weir verify");
        let out = self.weir.cli(None, &["verify"])?;
        print_output(&out);
        self.claim("one changed bit is noticed", !out.ok(), &out.all());
        Ok(())
    }

    fn summary(self, started: Instant) -> Result<()> {
        title("Summary", "");
        let mut failed = 0;
        for (what, holds) in &self.claims {
            match holds {
                Ok(()) => println!("  ✓ {what}"),
                Err(why) => {
                    failed += 1;
                    println!("  ✗ {what}\n{why}");
                }
            }
        }
        let shown = self.claims.len() - failed;
        let seconds = started.elapsed().as_secs();
        println!("\n{shown} shown, {failed} not shown, in {seconds} s; everything is cleaned up.");
        if failed > 0 {
            bail!(
                "{failed} of {} claims did not hold:\n{}",
                self.claims.len(),
                self.weir.log()
            );
        }
        Ok(())
    }
}

/// The biggest file below a directory: a segment, rather than an index.
fn largest(dir: &Path) -> Result<std::path::PathBuf> {
    let mut dirs = vec![dir.to_path_buf()];
    let mut best = None;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let meta = std::fs::metadata(&path)?;
            if meta.is_dir() {
                dirs.push(path);
            } else if best.as_ref().is_none_or(|(size, _)| meta.len() > *size) {
                best = Some((meta.len(), path));
            }
        }
    }
    best.map(|(_, path)| path).context("there is no recording")
}

fn title(name: &str, what: &str) {
    let line = "─".repeat(72_usize.saturating_sub(name.len()));
    println!("── {name} {line}");
    if !what.is_empty() {
        println!("   {what}\n");
    }
}

fn print_output(out: &Output) {
    for line in out.stdout.lines().chain(out.stderr.lines()) {
        println!("    {line}");
    }
}
