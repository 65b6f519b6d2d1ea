//! What the server is asked about tables. Every name is PostgreSQL's own: the connection looks them up in
//! `pg_catalog` alone.

use pipeline::{Action, Cascade, HeldLock};

use crate::catalog::Rows;

/// More than this of anything is no longer read by people.
pub(super) const MOST: usize = 32;
/// Foreign keys over foreign keys.
const MAX_DEPTH: u32 = 8;

/// `{1,2}`, as an array of OIDs.
fn array(oids: &[u32]) -> String {
    let list: Vec<String> = oids.iter().map(u32::to_string).collect();
    format!("'{{{}}}'::oid[]", list.join(","))
}

/// Rows of `pg_class AS {of}`, scaled to its size of now, as the planner does it. Unknown is what was never
/// counted, or was empty then and is not any more, and what has no rows of its own.
fn rows_of(of: &str) -> String {
    format!(
        "CASE WHEN {of}.relkind NOT IN ('r', 'm', 'f') OR {of}.reltuples < 0 THEN NULL \
           WHEN {of}.relkind = 'f' THEN nullif({of}.reltuples, 0)::int8 \
           WHEN {of}.relpages > 0 THEN ({of}.reltuples * (pg_relation_size({of}.oid)::float8 \
             / current_setting('block_size')::int8 / {of}.relpages))::int8 \
           WHEN pg_relation_size({of}.oid) = 0 THEN 0 END"
    )
}

/// OID, rows, bytes. A partitioned table has no rows but its partitions'.
pub(super) fn sizes(oids: &[u32]) -> String {
    format!(
        "SELECT c.oid, CASE WHEN c.relkind = 'p' THEN 0 ELSE {} END, \
         CASE WHEN c.relkind NOT IN ('v', 'f') THEN pg_total_relation_size(c.oid) END \
         FROM pg_class c WHERE c.oid = ANY ({})",
        rows_of("c"),
        array(oids)
    )
}

/// OID, name and function, events.
pub(super) fn triggers(oids: &[u32]) -> String {
    format!(
        "SELECT t.tgrelid, t.tgname || ' runs ' || n.nspname || '.' || p.proname, t.tgtype::int4 \
         FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
         JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE t.tgrelid = ANY ({}) AND NOT t.tgisinternal AND t.tgenabled <> 'D' \
         ORDER BY 1, 2 LIMIT {}",
        array(oids),
        MOST + 1
    )
}

/// Does a trigger with these events (`tgtype` of `pg_trigger.h`) fire on the action?
pub(super) fn fires(events: i32, action: Action) -> bool {
    let wanted = match action {
        Action::PostgresInsert => 4,
        Action::PostgresDelete => 8,
        Action::PostgresUpdate => 16,
        Action::PostgresMerge => 4 | 8 | 16,
        Action::PostgresTruncate => 32,
        _ => 0,
    };
    events & wanted != 0
}

/// What foreign keys do when rows are deleted, keys updated, or tables truncated with CASCADE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Delete,
    Update,
    Truncate,
}

/// Root, table, constraint, what it does, how far away, rows in the table, its OID.
pub(super) fn cascades(oids: &[u32], change: Change) -> String {
    let (does, acts, goes_on) = match change {
        // Rows that are deleted delete others; those that lose their reference do not.
        Change::Delete => (
            "c.confdeltype",
            "c.confdeltype IN ('c','n','d')",
            "h.does = 'c'",
        ),
        Change::Update => ("c.confupdtype", "c.confupdtype IN ('c','n','d')", "true"),
        Change::Truncate => ("'t'::\"char\"", "true", "true"),
    };
    format!(
        "WITH RECURSIVE hit (root, child, con, does, depth) AS (\
           SELECT c.confrelid, c.conrelid, c.oid, {does}, 1 FROM pg_constraint c \
           WHERE c.contype = 'f' AND c.confrelid = ANY ({}) AND {acts} \
           UNION \
           SELECT h.root, c.conrelid, c.oid, {does}, h.depth + 1 FROM hit h \
           JOIN pg_constraint c ON c.contype = 'f' AND c.confrelid = h.child \
           WHERE h.depth < {MAX_DEPTH} AND {goes_on} AND {acts}) \
         SELECT DISTINCT ON (h.root, h.con) h.root, n.nspname || '.' || k.relname, o.conname, \
           h.does, h.depth, {}, h.child \
         FROM hit h JOIN pg_constraint o ON o.oid = h.con JOIN pg_class k ON k.oid = h.child \
         JOIN pg_namespace n ON n.oid = k.relnamespace \
         ORDER BY h.root, h.con, h.depth LIMIT {}",
        array(oids),
        rows_of("k"),
        MOST + 1
    )
}

/// One row of [`cascades`].
pub(super) struct Passed {
    pub root: u32,
    /// The table that is changed, and how, as its triggers see it.
    pub child: u32,
    pub action: Action,
    pub shown: Cascade,
}

pub(super) fn cascade(row: &[Option<String>], change: Change) -> Option<Passed> {
    use Action::{PostgresDelete, PostgresTruncate, PostgresUpdate};
    let text = |i: usize| row.get(i).and_then(Option::as_deref);
    let (rule, action) = match (change, text(3)?) {
        (Change::Delete, "c") => ("ON DELETE CASCADE", PostgresDelete),
        (Change::Delete, "n") => ("ON DELETE SET NULL", PostgresUpdate),
        (Change::Delete, "d") => ("ON DELETE SET DEFAULT", PostgresUpdate),
        (Change::Update, "c") => ("ON UPDATE CASCADE, if a key changes", PostgresUpdate),
        (Change::Update, "n") => ("ON UPDATE SET NULL, if a key changes", PostgresUpdate),
        (Change::Update, "d") => ("ON UPDATE SET DEFAULT, if a key changes", PostgresUpdate),
        (Change::Truncate, _) => ("TRUNCATE CASCADE empties it", PostgresTruncate),
        _ => return None,
    };
    let shown = Cascade {
        table: text(1)?.to_owned(),
        constraint: text(2)?.to_owned(),
        rule,
        depth: text(4)?.parse().ok()?,
        rows: count(text(5)),
    };
    Some(Passed {
        root: text(0)?.parse().ok()?,
        child: text(6)?.parse().ok()?,
        action,
        shown,
    })
}

/// A number of rows; a table that was never analysed has -1.
pub(super) fn count(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

/// What another connection has locked.
pub(super) fn held(pid: u32) -> String {
    format!(
        "SELECT n.nspname || '.' || c.relname, l.mode FROM pg_locks l \
         JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE l.pid = {pid} AND l.granted AND l.locktype = 'relation' AND c.oid >= 16384 \
         AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
         AND l.mode <> 'AccessShareLock' ORDER BY 1, 2 LIMIT {}",
        MOST + 1
    )
}

pub(super) fn held_locks(rows: &Rows) -> Vec<HeldLock> {
    let lock = |row: &Vec<Option<String>>| {
        Some(HeldLock {
            relation: row.first()?.clone()?,
            mode: row.get(1)?.clone()?,
        })
    };
    rows.iter().filter_map(lock).collect()
}
