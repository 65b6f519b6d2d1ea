//! Two vaults that differ in nothing but their labelled values, each behind a Weir of its own, and a
//! way past Weir to see what would have come without it.
//!
//! The person who asks may do everything except see labelled values or compute with them: read,
//! write, call, administer, with no approvals to wait for. The target's login is a superuser, so
//! that it is Weir that keeps what is kept, and not the server.

use std::sync::atomic::{AtomicU32, Ordering};

use weir_tests::bundle::Bundle;
use weir_tests::postgres::{Cluster, LOGIN, LOGIN_PASSWORD, SUPERUSER, Server};
use weir_tests::proc::Scratch;
use weir_tests::vault::{self, Secrets};
use weir_tests::weir::{Plugin, Setup, Weir};
use weir_tests::wire::{Client, Frame, Reply, bind, cstr, execute, frame, parse};

pub const DATABASE: &str = "vault";
/// A copy that is only asked directly, so that what Weir refuses can be done there.
pub const BARE: &str = "bare";
/// What both are copies of.
const PRISTINE: &str = "pristine";
const PERSON: &str = "mallory";
/// The guards of the default bundle stay in force.
const GRANT: &str = r#"
@id("grant.vault.everything")
permit (principal in Group::"testers", action in Action::"any", resource);
"#;

pub struct Vaults {
    pub version: u32,
    pub sides: [Side; 2],
    pub secrets: Secrets,
    /// The highest number of a relation or type of the vaults, which are the same on both sides.
    newest: u32,
    _bundle: Scratch,
}

/// One of the two.
pub struct Side {
    pub cluster: Cluster,
    pub weir: Weir,
    pub token: String,
}

/// How statements are sent and results asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Simple,
    Text,
    Binary,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Simple, Self::Text, Self::Binary];

    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

impl Vaults {
    /// For a superuser's login, also with what changes how everything else is shown.
    pub fn start(name: &str, server: Server, superuser: bool) -> Self {
        let bundle_dir = Scratch::new(&format!("{name}-bundle")).unwrap();
        let mut bundle = Bundle::default_bundle().unwrap();
        bundle.files.retain(|path, _| !path.starts_with("tests/"));
        bundle.add("vault.cedar", GRANT);
        bundle.add("bundle.toml", &vault::labels());
        let bundle = bundle.write(bundle_dir.path()).unwrap();
        let side = |variant: &str| {
            let cluster = Cluster::start_of(server).unwrap();
            cluster
                .sql(
                    "postgres",
                    &format!("CREATE ROLE powerful SUPERUSER LOGIN PASSWORD '{LOGIN_PASSWORD}'; CREATE ROLE other;
                              CREATE DATABASE {PRISTINE} OWNER {LOGIN}"),
                )
                .unwrap();
            // Two clusters are not tidied up at the same moment, and plans and the order of rows show it.
            for sql in [
                "ALTER SYSTEM SET autovacuum = off",
                "SELECT pg_reload_conf()",
            ] {
                cluster.sql("postgres", sql).unwrap();
            }
            vault::fill(&cluster, PRISTINE, variant, superuser.then_some(BARE)).unwrap();
            copy(&cluster);
            cluster.trust(SUPERUSER).unwrap();
            let mut setup = Setup::new(&format!("{name}-{variant}"), &cluster, DATABASE);
            setup.bundle = Some(bundle.clone());
            setup.env = "staging".into();
            setup.plugins = vec![Plugin::built("mask-pii", "")];
            if superuser {
                setup.user = "powerful".into();
            }
            let weir = setup.start().unwrap();
            let token = weir
                .token(&format!("{PERSON}@example.test"), &["testers"])
                .unwrap();
            Side {
                cluster,
                weir,
                token,
            }
        };
        let (a, b) = std::thread::scope(|scope| {
            let b = scope.spawn(|| side("B"));
            (side("A"), b.join().unwrap())
        });
        Self {
            newest: a.newest(),
            version: vault::version(&a.cluster, PRISTINE).unwrap(),
            secrets: vault::secrets(&a.cluster, PRISTINE).unwrap(),
            sides: [a, b],
            _bundle: bundle_dir,
        }
    }

    /// What a client got, but for what no value can change: which session of Weir's it was, and by
    /// which numbers the server knows what was made since it was started.
    pub fn stream(&self, replies: &[Reply]) -> Vec<u8> {
        let frames = replies.iter().flat_map(|r| &r.frames);
        frames
            .flat_map(|f: &Frame| {
                let mut out = vec![f.tag];
                out.extend(match f.tag {
                    // Which process notifies differs from server to server.
                    b'A' => [&[0; 4], f.body.get(4..).unwrap_or_default()].concat(),
                    b'T' => without_new_oids(&f.body, self.newest),
                    b'E' => without_backend(&without_session(&f.body)),
                    _ => without_session(&f.body),
                });
                out
            })
            .collect()
    }

    /// Everything as it was. Nobody may be connected.
    pub fn reset(&self) {
        std::thread::scope(|scope| {
            for side in &self.sides {
                scope.spawn(|| copy(&side.cluster));
            }
        });
    }
}

/// Takes both copies away, with whoever is connected to them, and makes them anew.
fn copy(cluster: &Cluster) {
    cluster
        .sql(
            "postgres",
            "ALTER ROLE powerful RESET ALL; ALTER ROLE other NOSUPERUSER NOLOGIN PASSWORD NULL",
        )
        .unwrap();
    for database in [DATABASE, BARE] {
        cluster
            .sql(
                "postgres",
                &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
            )
            .unwrap();
        cluster
            .sql(
                "postgres",
                &format!("CREATE DATABASE {database} TEMPLATE {PRISTINE} OWNER {LOGIN}"),
            )
            .unwrap();
    }
}

impl Side {
    fn newest(&self) -> u32 {
        let sql =
            "SELECT greatest((SELECT max(oid) FROM pg_class), (SELECT max(oid) FROM pg_type))";
        self.cluster.sql(PRISTINE, sql).unwrap().parse().unwrap()
    }

    pub fn connect(&self) -> Client {
        self.weir.connect(PERSON, &self.token).unwrap()
    }

    /// Past Weir, as the superuser.
    pub fn direct(&self) -> Client {
        Client::connect(self.cluster.port, SUPERUSER, BARE, "").unwrap()
    }

    /// The database behind Weir, past it.
    pub fn behind(&self, sql: &str) -> String {
        self.cluster.sql(DATABASE, sql).unwrap()
    }
}

/// Sends one statement. A COPY that wants rows gets none.
pub fn ask(client: &mut Client, mode: Mode, sql: &str) -> Reply {
    let format = match mode {
        Mode::Simple => {
            client.send_raw(&frame(b'Q', &cstr(sql))).unwrap();
            return client.reply_and_feed(&frame(b'c', b"")).unwrap();
        }
        Mode::Text => 0,
        Mode::Binary => 1,
    };
    let mut out = parse("", sql);
    out.extend(bind("", "", &[], &[format]));
    out.extend(frame(b'D', b"P\0"));
    out.extend(execute("", 0));
    out.extend(frame(b'S', b""));
    client.send_raw(&out).unwrap();
    // The Sync that came too early is ignored.
    let feed = [frame(b'c', b""), frame(b'S', b"")].concat();
    client.reply_and_feed(&feed).unwrap()
}

fn without_new_oids(body: &[u8], newest: u32) -> Vec<u8> {
    let mut out = body.to_vec();
    let mut at = 2;
    while let Some(name) = body.get(at..).and_then(|b| b.iter().position(|b| *b == 0)) {
        let table = at + name + 1;
        for place in [table, table + 6] {
            let Some(oid) = out.get_mut(place..place + 4) else {
                return out;
            };
            if u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]) > newest {
                oid.fill(0xff);
            }
        }
        at = table + 18;
    }
    out
}

/// Nor the action's number: how many messages of a batch were decided on before its first error came
/// back is a matter of time.
fn without_session(body: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"Weir session ";
    const OF: &[u8] = b" of ";
    let mut out = body.to_vec();
    let Some(at) = out.windows(MARK.len()).position(|w| w == MARK) else {
        return out;
    };
    let session = at + MARK.len();
    let rest = out[session..]
        .iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'-');
    out.drain(session..rest.map_or(body.len(), |n| session + n));
    if out[..at].ends_with(OF) {
        let to = at - OF.len();
        let digits = out[..to].iter().rev().take_while(|b| b.is_ascii_digit());
        let from = to - digits.count();
        out.drain(from..to);
    }
    out
}

/// A schema of temporary tables is called after its process's place among all of the server's.
fn without_backend(body: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"pg_temp_";
    let mut out = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        let (before, after) = rest.split_at(at + MARK.len());
        out.extend_from_slice(before);
        let digits = after.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = &after[digits..];
    }
    out.extend_from_slice(rest);
    out
}

/// Numbers that make names unique.
pub fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
