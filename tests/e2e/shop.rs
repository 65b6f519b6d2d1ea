//! The stage of most tests: the planted shop, Weir before it, and its people.

use weir_tests::bundle::Bundle;
use weir_tests::dataset::leaks;
use weir_tests::postgres::{self, Cluster};
use weir_tests::proc::Scratch;
use weir_tests::psql::Psql;
pub use weir_tests::skip::{not_installed, skipped};
use weir_tests::weir::{Setup, Weir};
use weir_tests::wire::{Client, Reply};

/// Who is who. Each is a subject and groups.
pub type Person = (&'static str, &'static [&'static str]);
/// Works with the shop; labelled columns are masked.
pub const ALICE: Person = ("alice@example.test", &["staff"]);
/// The same, and may see labelled columns.
pub const CAROL: Person = ("carol@example.test", &["staff", "cleared"]);
/// Sees no more than Alice, and may search, sort and compare by labelled columns.
pub const ANNA: Person = ("anna@example.test", &["staff", "analysts"]);
/// Decides about holds.
pub const BOB: Person = ("bob@example.test", &["approvers"]);
/// Run Weir.
pub const OLGA: Person = ("olga@example.test", &["operators", "approvers"]);
pub const OTTO: Person = ("otto@example.test", &["operators"]);
/// Nobody in particular.
pub const MALLORY: Person = ("mallory@example.test", &["visitors"]);

pub struct Shop {
    pub weir: Weir,
    pub cluster: &'static Cluster,
    pub database: String,
    pub bundle: Bundle,
    _bundle_dir: Scratch,
}

/// The usual stage.
pub fn shop(name: &str) -> Shop {
    shop_with(name, |_| {}, |_| {})
}

/// With changes to the bundle and the configuration.
pub fn shop_with(
    name: &str,
    bundle_change: impl FnOnce(&mut Bundle),
    setup_change: impl FnOnce(&mut Setup),
) -> Shop {
    let cluster = postgres::shared().unwrap();
    shop_on(cluster, name, bundle_change, setup_change)
}

/// With a server of choice, too.
pub fn shop_on(
    cluster: &'static Cluster,
    name: &str,
    bundle_change: impl FnOnce(&mut Bundle),
    setup_change: impl FnOnce(&mut Setup),
) -> Shop {
    let database = cluster.database().unwrap();
    let mut bundle = Bundle::for_tests().unwrap();
    bundle_change(&mut bundle);
    let dir = Scratch::new(&format!("{name}-bundle")).unwrap();
    let mut setup = Setup::new(name, cluster, &database);
    setup.bundle = Some(bundle.write(dir.path()).unwrap());
    setup_change(&mut setup);
    let weir = setup.start().unwrap();
    Shop {
        weir,
        cluster,
        database,
        bundle,
        _bundle_dir: dir,
    }
}

impl Shop {
    pub fn token(&self, person: Person) -> String {
        self.weir.token(person.0, person.1).unwrap()
    }

    pub fn psql(&self, person: Person) -> Psql {
        self.weir.psql(name(person), &self.token(person))
    }

    pub fn connect(&self, person: Person) -> Client {
        self.weir
            .connect(name(person), &self.token(person))
            .unwrap()
    }

    /// Straight to the server, as its superuser.
    pub fn direct(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }

    /// The same in stock psql: everything that a person would see there, errors and all.
    pub fn psql_direct(&self, sql: &str) -> anyhow::Result<String> {
        let psql = Psql {
            port: self.cluster.port,
            user: postgres::SUPERUSER.into(),
            database: self.database.clone(),
            password: postgres::SUPERUSER_PASSWORD.into(),
            sslmode: "require".into(),
            sslrootcert: None,
            args: Vec::new(),
        };
        Ok(psql.run(sql)?.all())
    }

    /// Did a text that holds this mark reach the server, but to be explained to those who decide?
    pub fn reached(&self, mark: &str) -> bool {
        let log = self.cluster.log();
        let mut marked = log.lines().filter(|line| line.contains(mark));
        marked.any(|line| !line.contains("EXPLAIN (FORMAT JSON) "))
    }
}

fn name(person: Person) -> &'static str {
    person.0.split('@').next().unwrap()
}

/// Nothing planted is in what came back, in whatever form it came.
pub fn assert_no_leak(what: &str, reply: &Reply) {
    if let Some(leak) = leaks(&reply.bytes()) {
        panic!(
            "{what}: {leak} in {:?}",
            String::from_utf8_lossy(&reply.bytes())
        );
    }
}

/// Refused by policy, and the connection works on.
pub fn assert_refused(what: &str, reply: &Reply) {
    let error = reply
        .error()
        .unwrap_or_else(|| panic!("{what} was not refused: {reply:?}"));
    assert_eq!(error.sqlstate(), "42501", "{what}: {error:?}");
}
