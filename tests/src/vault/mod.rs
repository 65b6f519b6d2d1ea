//! The vault: a schema with labelled values of every kind and plain ones beside them, two of which
//! differ in nothing but their labelled values; and the search for those values in what a client got.

mod search;

use anyhow::Result;

use crate::postgres::Cluster;
pub use search::Secrets;

const SCHEMA: &str = include_str!("schema.sql");
const EIGHTEEN: &str = include_str!("eighteen.sql");
const PLACES: &str = include_str!("places.sql");

/// Columns that the bundle labels; those that are made from them, it need not name.
const LABELLED: &[(&str, &[&str])] = &[
    (
        "people",
        &[
            "ssn", "salary", "pay", "born", "vip", "doc", "codes", "home", "blob", "ref", "score",
            "seen",
        ],
    ),
    ("badges", &["code"]),
    ("events", &["payload"]),
    ("assets", &["serial"]),
    ("vehicles", &["plate"]),
    ("words", &["ssn"]),
    ("virtuals", &["ssn", "salary"]),
    ("bookings", &["guest"]),
    ("accounts", &["iban", "flag", "balance"]),
    ("tenants", &["code"]),
    ("calls", &["caller"]),
    ("letters", &["sender"]),
    ("postbox", &["sender"]),
    ("postbox_wrong", &["sender"]),
    ("far_accounts", &["iban"]),
];

/// Every labelled value as text, and digests of those that are text.
const VALUES: &str = "
    WITH words (v) AS (
        SELECT ssn FROM people UNION ALL SELECT unnest(codes) FROM people
        UNION ALL SELECT (home).street FROM people UNION ALL SELECT convert_from(blob, 'UTF8') FROM people
        UNION ALL SELECT code FROM badges UNION ALL SELECT payload FROM events
        UNION ALL SELECT serial FROM assets UNION ALL SELECT plate FROM vehicles)
    SELECT 'word ' || v FROM words WHERE v IS NOT NULL
    UNION ALL SELECT 'hex ' || md5(v) FROM words WHERE v IS NOT NULL
    UNION ALL SELECT 'hex ' || encode(d, 'hex') FROM words,
        LATERAL (VALUES (sha224(v::bytea)), (sha256(v::bytea)), (sha384(v::bytea)), (sha512(v::bytea))) AS t(d)
        WHERE v IS NOT NULL
    UNION ALL SELECT 'hex ' || replace(ref::text, '-', '') FROM people WHERE ref IS NOT NULL
    UNION ALL SELECT 'number ' || n FROM people,
        LATERAL (VALUES (salary), (score::integer), ((home).zip), ((doc ->> 'amount')::integer)) AS t(n)
        WHERE n IS NOT NULL
    UNION ALL SELECT 'number ' || pay FROM people WHERE pay IS NOT NULL
    UNION ALL SELECT 'day ' || born || ' ' || born - date '2000-01-01' FROM people WHERE born IS NOT NULL
    UNION ALL SELECT 'moment ' || to_char(seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' '
        || (extract(epoch FROM seen - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint
        FROM people WHERE seen IS NOT NULL";
/// The same of `places.sql`.
const VALUES_OF_PLACES: &str = "
    SELECT 'word ' || v FROM (
        SELECT iban FROM accounts UNION ALL SELECT code FROM tenants
        UNION ALL SELECT caller FROM calls UNION ALL SELECT sender FROM letters) AS words (v)
    UNION ALL SELECT 'number ' || balance FROM accounts";

/// Lines of a bundle's manifest: the labels of the vault's columns.
pub fn labels() -> String {
    let mut out = String::new();
    for (table, columns) in LABELLED {
        for column in *columns {
            out.push_str(&format!(
                "\n[[label]]\nschema = \"public\"\ntable = \"{table}\"\ncolumn = \"{column}\"\nlabels = [\"pii\"]\n"
            ));
        }
    }
    out
}

/// Makes a vault in a database. `variant` is all that two of them differ in. With `far`, also what tells by
/// where it is and what is counted; that is the database that foreign tables read.
pub fn fill(cluster: &Cluster, database: &str, variant: &str, far: Option<&str>) -> Result<()> {
    cluster.sql(database, &SCHEMA.replace("{V}", variant))?;
    if version(cluster, database)? >= 18 {
        cluster.sql(database, EIGHTEEN)?;
    }
    if let Some(far) = far {
        let port = cluster.port.to_string();
        let places = PLACES.replace("{V}", variant).replace("{PORT}", &port);
        cluster.sql(database, &places.replace("{FAR}", far))?;
    }
    // What makes the values would tell them apart.
    cluster.sql(database, "DROP SCHEMA vault CASCADE; VACUUM FULL; ANALYZE")?;
    Ok(())
}

/// The server's major version.
pub fn version(cluster: &Cluster, database: &str) -> Result<u32> {
    let number = cluster.sql(database, "SHOW server_version_num")?;
    Ok(number.trim().parse::<u32>()? / 10_000)
}

/// What must never be seen.
pub fn secrets(cluster: &Cluster, database: &str) -> Result<Secrets> {
    let mut secrets = Secrets::default();
    let mut lines = cluster.sql(database, VALUES)?;
    if cluster.sql(database, "SELECT to_regclass('accounts')")? == "accounts" {
        lines += "\n";
        lines += &cluster.sql(database, VALUES_OF_PLACES)?;
    }
    for line in lines.lines() {
        secrets.add(line)?;
    }
    Ok(secrets)
}
