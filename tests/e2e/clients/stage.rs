//! Where the clients run: a database for each of them and each side, Weir with TLS and the default
//! bundle, and people who decide about what is held.

use std::path::PathBuf;
use std::sync::Arc;

use weir_tests::bundle::Bundle;
use weir_tests::paths;
use weir_tests::postgres::{self, Cluster, LOGIN, LOGIN_PASSWORD, SUPERUSER, SUPERUSER_PASSWORD};
use weir_tests::proc::Scratch;
use weir_tests::weir::{Setup, Weir};

use super::people::People;

/// Which way a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    /// Through Weir with the default bundle.
    Weir,
    /// Through Weir with the bundle that permits everything and masks nothing.
    Open,
}

/// What a client is told.
#[derive(Debug, Clone)]
pub struct Place {
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    /// The certificate that the server shows.
    pub ca: PathBuf,
}

pub struct Stage {
    cluster: &'static Cluster,
    weir: Arc<Weir>,
    open: Weir,
    people: People,
    _bundle: Scratch,
}

const TEMPLATE: &str = "clients";

/// Values of every common kind, and NULLs.
const KINDS: &str = r#"
SET ROLE weir;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE kinds (
    id integer PRIMARY KEY, yes boolean, i2 smallint, i8 bigint, f4 real, f8 double precision,
    n numeric, t text, v varchar(20), c char(5), b bytea, d date, ti time, ts timestamp,
    tz timestamptz, iv interval, u uuid, j json, jb jsonb, ia integer[], ta text[], na numeric[],
    ip inet, m mood, r int4range
);
INSERT INTO kinds VALUES
(1, true, -32768, 9223372036854775807, 1.5, -2.25e300, 12345678901234567890.0123, 'tea "and" \ é🐘',
 'var', 'chr', '\x00ff27', '2026-02-28', '01:02:03.000004', '2026-01-02 03:04:05.000006',
 '2026-01-02 03:04:05.000006+00', '1 mon 3 days 04:05:06', '01234567-89ab-cdef-0123-456789abcdef',
 '{"a": [1, null]}', '{"b": {"c": "d"}}', '{1,2,NULL}', '{a,NULL,"b,c"}', '{1.5,NaN}',
 '10.1.2.0/24', 'happy', '[1,5)'),
(2, false, 0, 0, 0, 0, 0, '', '', '', '', '1999-12-31', '00:00', '1999-12-31 23:59:59',
 '1999-12-31 23:59:59+00', '0', '00000000-0000-0000-0000-000000000000', '[]', '{}', '{}', '{}', '{}',
 '::1', 'sad', 'empty');
INSERT INTO kinds (id) VALUES (3);
"#;

impl Stage {
    pub fn new() -> Self {
        let cluster = postgres::shared().unwrap();
        // Copies have the same OIDs, which clients see.
        let template = format!("CREATE DATABASE {TEMPLATE} TEMPLATE planted OWNER {LOGIN}");
        cluster.sql("postgres", &template).unwrap();
        cluster.sql(TEMPLATE, KINDS).unwrap();
        let bundle = Bundle::for_tests().unwrap();
        let dir = Scratch::new("clients-bundle").unwrap();
        let mut setup = Setup::new("clients", cluster, "postgres");
        setup.bundle = Some(bundle.write(dir.path()).unwrap());
        setup.tls = true;
        // Not in production: there the structure of a database is not one's own.
        setup.env = "staging".into();
        // So that those who wait see that they wait.
        setup.postgres = "hold_heartbeat_seconds = 1".into();
        let weir = Arc::new(setup.start().unwrap());
        let people = People::decide(weir.clone());
        let mut setup = Setup::new("clients-open", cluster, "postgres");
        setup.bundle = Some(paths::root().join("policies/examples/permit-all"));
        // It finds card numbers in free text, whatever policy permits.
        setup.plugins.retain(|p| p.name != "mask-pii");
        setup.tls = true;
        setup.user = SUPERUSER.into();
        let password = ("TARGET_PASSWORD".into(), SUPERUSER_PASSWORD.into());
        setup.vars.push(password);
        let open = setup.start().unwrap();
        Self {
            cluster,
            weir,
            open,
            people,
            _bundle: dir,
        }
    }

    /// A database of its own, and the way to it. As a superuser where Weir is one, too.
    pub fn place(&self, client: &str, way: Way, as_superuser: bool) -> Place {
        let database = self.cluster.copy_of(TEMPLATE).unwrap();
        match way {
            Way::Direct => Place {
                port: self.cluster.port,
                user: if as_superuser { SUPERUSER } else { LOGIN }.into(),
                password: if as_superuser {
                    SUPERUSER_PASSWORD
                } else {
                    LOGIN_PASSWORD
                }
                .into(),
                database,
                ca: self.cluster.certificate(),
            },
            Way::Weir => Place {
                port: self.weir.pg_port,
                user: "matrix".into(),
                password: self.weir.token(&who(client), &["staff", "dba"]).unwrap(),
                database,
                ca: self.weir.home.join("weir.crt"),
            },
            Way::Open => Place {
                port: self.open.pg_port,
                user: "matrix".into(),
                password: self.open.token(&who(client), &["weir-permit-all"]).unwrap(),
                database,
                ca: self.open.home.join("weir.crt"),
            },
        }
    }

    /// How many statements of this client people have decided about, and how many have waited.
    pub fn held(&self, client: &str) -> usize {
        self.people.seen(&who(client))
    }

    pub fn end(self) {
        self.people.leave();
    }
}

/// A principal for each client.
fn who(client: &str) -> String {
    let name: String = client
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{name}@clients.test")
}
