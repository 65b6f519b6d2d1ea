//! E55–E60: what tells of values by where rows are, by who sees them, by what the server counts and notes
//! down, and by what fails; what users made of PostgreSQL's own functions.
//!
//! Some rows guess: `fmgzxjqbkwjgvhby` is the iban of account 1 in the first vault, `wqpwpujughufghxj` the
//! code of tenant 1, `hjgqcwxpjccmpybb` the sender of letter 1. Only there `calls_one` has a row, no
//! account's flag is 1, and the balance of account 1 is above 357000000.

use weir_tests::wire::{Reply, bind, cstr, execute, frame};

use super::defence::{HARMLESS, NULLED, REDACTED, REFUSED};
use super::run::Scene;
use super::{Row, row, wire};

const N: super::Defence = NULLED;
const R: super::Defence = REFUSED;
const D: super::Defence = REDACTED;

/// Of PostgreSQL's types of numbers, the one that ends at 4294967295.
const OID: i32 = 26;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // E55: positions in the log, and counts of what was changed. An update that finds what it writes there
    // leaves the indexes alone, and the log holds less.
    row("E55", N, &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'accounts'"]),
    row("E55", N, &["BEGIN", "UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_stat_get_xact_tuples_hot_updated('accounts'::regclass)", "ROLLBACK"]),
    row("E55", N, &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'accounts'"]).alone(),
    row("E55", R, &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT relname FROM pg_stat_all_tables WHERE relname = 'accounts' AND n_tup_hot_upd > 0"]).alone(),
    row("E55", R.or(N), &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT 1 / pg_stat_get_tuples_hot_updated('accounts'::regclass)"]).alone(),
    row("E55", R, &["CREATE TEMP TABLE at{n} AS SELECT pg_current_wal_insert_lsn() AS lsn", "UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_current_wal_insert_lsn() - lsn FROM at{n}"]),
    row("E55", R, &["BEGIN", "SELECT set_config('a.x', pg_current_wal_insert_lsn()::text, true)", "UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), current_setting('a.x')::pg_lsn)", "ROLLBACK"]),
    row("E55", N, &["SELECT pg_current_wal_lsn(), pg_current_wal_flush_lsn(), pg_current_wal_insert_lsn()"]),
    row("E55", R.or(N), &["SELECT wal_bytes, wal_records FROM pg_stat_wal"]),
    row("E55", R.or(N), &["SELECT * FROM pg_stat_wal"]),
    row("E55", R.or(N), &["SELECT * FROM pg_stat_get_wal()"]),
    row("E55", R.or(N), &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT * FROM pg_stat_get_backend_wal(pg_backend_pid())"]).since(18).alone(),
    row("E55", R.or(N), &["SELECT sum(write_bytes), sum(extends) FROM pg_stat_io WHERE object = 'wal'"]).since(18),
    row("E55", R.or(N), &["SELECT checkpoint_lsn, redo_lsn FROM pg_control_checkpoint()"]),
    row("E55", R.or(N), &["SELECT pg_create_restore_point('p{n}')"]).alone(),
    row("E55", R, &["SELECT 1 WHERE pg_current_wal_insert_lsn()::text < '0/0'"]).inert("the text is never below"),
    row("E55", R, &["COPY (SELECT pg_current_wal_insert_lsn() || '') TO STDOUT"]),
    row("E55", R.or(N), &["SELECT sent_lsn, replay_lsn FROM pg_stat_replication"]).inert("nobody replicates"),

    // E56: values that have to become another type, and fail in one vault: twenty times the salary of number 1
    // is too much for an oid only there.
    row("E56", R, &["SELECT sum(salary) = '5'::oid FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT CASE WHEN true THEN sum(salary) ELSE '1'::oid END FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT CASE city WHEN 'Oslo' THEN '1'::oid ELSE s END FROM (SELECT city, sum(salary) AS s FROM people, generate_series(1, 20) WHERE id = 1 GROUP BY city) AS t"]),
    row("E56", R, &["SELECT * FROM (VALUES ((SELECT sum(salary) FROM people, generate_series(1, 20) WHERE id = 1)), ('1'::oid)) AS v"]),
    row("E56", R, &["VALUES ('1'::oid), ((SELECT sum(salary) FROM people, generate_series(1, 20) WHERE id = 1))"]),
    row("E56", R, &["SELECT coalesce(sum(salary), 'pg_class'::regclass) FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT greatest(sum(salary), '1'::oid) FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT nullif('1'::oid, sum(salary)) FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT ARRAY[sum(salary), '1'::oid] FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT sum(salary) IN (1, '5'::oid) FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R, &["SELECT sum(salary) FROM people, generate_series(1, 20) WHERE id = 1 UNION ALL SELECT '1'::oid"]),
    row("E56", R, &["SELECT '1'::oid UNION ALL (SELECT 2 UNION ALL SELECT sum(salary) FROM people, generate_series(1, 20) WHERE id = 1)"]),
    row("E56", R, &["WITH t AS (SELECT sum(salary) AS x FROM people, generate_series(1, 20) WHERE id = 1 UNION ALL SELECT '1'::oid) SELECT count(x) FROM t"]),
    row("E56", R, &["SELECT (sum(salary) BETWEEN '1'::oid AND '2'::oid) IS NULL FROM people, generate_series(1, 20) WHERE id = 1"]),
    row("E56", R.or(N), &["SELECT coalesce(a.*, ROW(1, '', 1, '', 1, 1)::accounts) FROM accounts AS a"]),
    wire("E56", R, "a parameter whose type the client says beside a labelled sum", parameter),

    // E57: operators, aggregates, domains and casts that users made of PostgreSQL's own functions.
    row("E57", R, &["SELECT balance OPERATOR(made.<) 1790000000 FROM accounts WHERE id = 1"]),
    row("E57", R, &["SET search_path = made, public, pg_catalog", "SELECT balance < 1790000000 FROM accounts WHERE id = 1"]),
    row("E57", R.or(N), &["SELECT 'fmgzxjqbkwjgvhby' OPERATOR(made.~~~) iban FROM accounts WHERE id = 1"]),
    row("E57", R, &["CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = textregexeq)", "SELECT iban OPERATOR(public.||) '^f' FROM accounts WHERE id = 1"]).alone(),
    row("E57", R, &["SELECT made.sum(balance) FROM accounts WHERE id = 1"]),
    row("E57", R, &["SET search_path = made, public, pg_catalog", "SELECT sum(balance) FROM accounts WHERE id = 1"]),
    row("E57", R, &["SELECT made.sum(balance) OVER () FROM accounts WHERE id = 1"]),
    row("E57", R, &["SELECT iban::made.low FROM accounts WHERE id = 1"]),
    row("E57", R, &["CREATE SCHEMA s{n}", "CREATE DOMAIN s{n}.text AS pg_catalog.text CHECK (VALUE < 'g')", "SET search_path = s{n}, public, pg_catalog", "SELECT CAST (iban AS text) FROM accounts WHERE id = 1"]).alone(),
    row("E57", R, &["CREATE CAST (integer AS bpchar) WITH FUNCTION pg_catalog.chr(integer)", "SELECT flag::bpchar FROM accounts WHERE id = 1"]).alone(),
    row("E57", R, &["CREATE OPERATOR public.<<% (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4pl)", "SELECT balance <<% 1790000000 FROM accounts WHERE id = 1"]).alone(),
    row("E57", R, &["CREATE AGGREGATE total{n} (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '1790000000')", "SELECT total{n}(balance) FROM accounts WHERE id = 1"]).alone(),
    row("E57", R, &["CREATE DOMAIN low{n} AS integer CHECK (VALUE < 357000000)", "SELECT balance::low{n} FROM accounts WHERE id = 1"]).alone(),

    // E58: row security policies.
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "SELECT count(*) FROM tenants"]),
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "SELECT id FROM tenant_names"]),
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "COPY tenants (id) TO STDOUT"]),
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "COPY (TABLE tenant_names) TO STDOUT"]),
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "UPDATE tenants SET name = 'x'"]),
    row("E58", R, &["SET ROLE other", "SET app.code = 'wqpwpujughufghxj'", "DELETE FROM tenants"]),
    row("E58", R, &["SET ROLE other", "SELECT length(set_config('app.code', 'wqpwpujughufghxj', false))", "SELECT EXISTS (SELECT 1 FROM tenants)"]),
    row("E58", R, &["SET ROLE other", "SELECT d.id FROM depts AS d LEFT JOIN remarks AS r USING (id)"]).inert("that role may not read both"),
    row("E58", R, &["SET ROLE other", "SELECT id FROM remarks ORDER BY id"]),
    row("E58", R, &["SET ROLE other", "SELECT note FROM memos ORDER BY id"]),
    row("E58", R, &["SET ROLE other", "SELECT count(*) FROM rooms"]),
    row("E58", R, &["SET ROLE other", "PREPARE s AS SELECT id FROM rooms ORDER BY id", "EXECUTE s"]),
    row("E58", R.or(N), &["SET ROLE other", "EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT id FROM remarks"]),
    row("E58", R, &["SELECT count(*) FROM tenants"]).inert("the owner sees all rows"),
    row("E58", HARMLESS, &["SET ROLE other", "SELECT id, note FROM lockers ORDER BY id"]).inert("its policy looks at nothing labelled"),

    // E59: partitions by a labelled column. In what order rows come that nobody sorts is no secret.
    row("E59", R, &["SELECT count(*) FROM calls_one"]),
    row("E59", R, &["SELECT id FROM calls_low ORDER BY id"]),
    row("E59", R, &["TABLE ONLY calls_high"]),
    row("E59", R, &["COPY calls_mid (id) TO STDOUT"]),
    row("E59", R, &["UPDATE calls_one SET note = 'x' RETURNING id"]),
    row("E59", R, &["DELETE FROM calls_one"]),
    row("E59", R, &["TRUNCATE calls_one", "SELECT count(*) FROM calls"]),
    row("E59", R, &["DROP TABLE calls_one", "SELECT count(*) FROM calls"]),
    row("E59", R, &["ALTER TABLE calls DETACH PARTITION calls_one", "SELECT count(*) FROM calls"]),
    row("E59", R, &["ALTER TABLE calls DETACH PARTITION calls_one CONCURRENTLY", "SELECT count(*) FROM calls"]).alone(),
    row("E59", R, &["ALTER TABLE calls_one ADD CHECK (id <> 1)"]),
    row("E59", R, &["CREATE UNIQUE INDEX ON calls_low ((id / id))"]),
    row("E59", N, &["SELECT tableoid, id FROM calls ORDER BY id"]),
    row("E59", R, &["SELECT tableoid::regclass, id FROM calls ORDER BY id"]),
    row("E59", R, &["SELECT place FROM call_places ORDER BY id"]),
    row("E59", R, &["SELECT tableoid::regclass, count(*) FROM calls GROUP BY 1"]),
    row("E59", R, &["SELECT id FROM calls WHERE tableoid = 'calls_one'::regclass"]),
    row("E59", R, &["SELECT id FROM call_places WHERE place = 'calls_one'::regclass"]),
    row("E59", R.or(N), &["UPDATE calls SET note = 'x' WHERE id = 1 RETURNING tableoid::regclass"]),
    row("E59", N, &["SELECT ctid, id FROM calls ORDER BY id"]),
    row("E59", R, &["SELECT id FROM calls WHERE ctid = '(0,1)' ORDER BY id"]),
    row("E59", R, &["SELECT id FROM calls TABLESAMPLE BERNOULLI (50) REPEATABLE (7) ORDER BY id"]),
    row("E59", R, &["SELECT count(*) FROM calls TABLESAMPLE SYSTEM (50) REPEATABLE (3)"]).inert("no partition has two pages"),
    row("E59", N, &["SELECT relname, reltuples FROM pg_class WHERE relname LIKE 'calls%' ORDER BY 1"]),
    row("E59", R, &["SELECT relname FROM pg_class WHERE relname LIKE 'calls%' AND reltuples > 0 ORDER BY 1"]),
    row("E59", R, &["SELECT c::text FROM pg_class AS c WHERE relname = 'calls_one'"]),
    row("E59", N, &["SELECT pg_relation_size('calls_one'), pg_table_size('calls_one')"]),
    row("E59", N, &["SELECT relid::regclass, pg_total_relation_size(relid) FROM pg_partition_tree('calls') ORDER BY 1"]),
    row("E59", HARMLESS, &["SELECT relid::regclass, level FROM pg_partition_tree('calls') ORDER BY 1"]).inert("which ones there are is no secret"),
    row("E59", R, &["SELECT relid::regclass FROM pg_partition_tree('calls') WHERE isleaf AND pg_relation_size(relid) > 0 ORDER BY 1"]),
    row("E59", N, &["UPDATE calls SET note = 'x' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT relname, n_live_tup, n_tup_upd FROM pg_stat_user_tables WHERE relname LIKE 'calls%' ORDER BY 1"]).alone(),
    row("E59", N, &["UPDATE calls SET note = 'x' WHERE id = 1", "SELECT relname, n_tup_upd FROM pg_stat_xact_user_tables WHERE relname LIKE 'calls%' ORDER BY 1"]),
    row("E59", N, &["UPDATE calls SET note = 'x' WHERE id = 1", "SELECT pg_stat_force_next_flush()", "SELECT pg_stat_get_tuples_updated('calls_one'::regclass), pg_stat_get_mod_since_analyze('calls_one'::regclass)"]).alone(),
    row("E59", R, &["SELECT size FROM pg_stat_file(pg_relation_filepath('calls_one'))"]),
    row("E59", N, &["SELECT pg_database_size(current_database())"]),
    row("E59", N, &["SELECT count(*) FROM calls", "SELECT pg_stat_force_next_flush()", "SELECT blks_hit FROM pg_stat_database WHERE datname = current_database()"]).alone(),
    row("E59", R.or(N), &["SELECT count(*) FROM calls", "SELECT pg_stat_force_next_flush()", "SELECT relname, heap_blks_hit FROM pg_statio_user_tables WHERE relname LIKE 'calls%' ORDER BY 1"]).alone(),
    row("E59", R.or(N), &["EXPLAIN SELECT id FROM calls"]),
    row("E59", R.or(D), &["VACUUM (VERBOSE) calls"]).alone(),
    row("E59", R.or(D), &["ANALYZE (VERBOSE) calls"]),
    row("E59", R.or(N), &["SET enable_seqscan = off", "SET enable_bitmapscan = off", "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT id FROM calls WHERE id = 1", "SELECT relation::regclass, locktype FROM pg_locks WHERE mode = 'SIReadLock' AND locktype = 'tuple'", "ROLLBACK"]).alone(),
    row("E59", R, &["SET enable_seqscan = off", "SET enable_bitmapscan = off", "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT id FROM calls WHERE id IN (1, 2, 3, 5) ORDER BY id", "SELECT count(*) FROM pg_locks", "ROLLBACK"]).alone(),
    row("E59", R, &["SET enable_seqscan = off", "SET enable_bitmapscan = off", "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT id FROM calls WHERE id IN (1, 2, 3, 5) ORDER BY id", "SELECT pg_lock_status()", "ROLLBACK"]).alone(),
    row("E59", R, &["CREATE TABLE letters_new PARTITION OF letters FOR VALUES IN ('hjgqcwxpjccmpybb')"]),
    row("E59", R, &["ALTER TABLE letters ATTACH PARTITION letters_loose FOR VALUES IN ('hjgqcwxpjccmpybb')"]),
    row("E59", R, &["CREATE TABLE letters_more PARTITION OF letters FOR VALUES IN ('hjgqcwxpjccmpybb') PARTITION BY LIST (id)"]),

    // E60: expressions of indexes, materialized views with unique indexes, other servers' tables.
    row("E60", R, &["UPDATE accounts SET bonus = 1790000000 WHERE id = 1"]),
    row("E60", R, &["INSERT INTO accounts (id, holder, bonus) VALUES (1, '', 1) ON CONFLICT (id) DO UPDATE SET bonus = 1790000000"]),
    row("E60", R, &["CREATE INDEX i{n} ON accounts ((1 / (flag - 1)))"]),
    row("E60", R.or(D), &["CREATE INDEX i{n} ON accounts ((balance + 1785000000))"]),
    row("E60", R, &["CREATE INDEX CONCURRENTLY i{n} ON accounts ((1 / (flag - 1)))"]).alone(),
    row("E60", R, &["SELECT histogram_bounds, most_common_vals FROM pg_stats WHERE tablename = 'accounts_sum'"]),
    row("E60", R, &["ALTER INDEX accounts_sum ALTER COLUMN 1 SET STATISTICS 1000", "ANALYZE accounts", "SELECT * FROM pg_stats WHERE tablename = 'accounts_sum'"]),
    row("E60", HARMLESS.or(R).or(D), &["REINDEX INDEX accounts_sum"]).alone().inert("what is in it was computed before"),
    row("E60", R, &["INSERT INTO accounts (id, holder, bonus, iban) VALUES (9, '', 1, 'fmgzxjqbkwjgvhby')", "REFRESH MATERIALIZED VIEW accounts_kept"]),
    row("E60", R, &["UPDATE accounts SET iban = 'fmgzxjqbkwjgvhby' WHERE id = 2", "REFRESH MATERIALIZED VIEW CONCURRENTLY accounts_kept"]),
    row("E60", R, &["CREATE UNIQUE INDEX ON flagged_kept ((1))"]),
    row("E60", R, &["REFRESH MATERIALIZED VIEW flagged_kept", "SELECT id FROM flagged_kept ORDER BY id"]),
    row("E60", D.or(R), &["SELECT count(*) FROM postbox_wrong"]),
    row("E60", D.or(R), &["COPY (SELECT count(*) FROM postbox_wrong) TO STDOUT"]),
    row("E60", D.or(R), &["SELECT f.id FROM postbox_wrong AS f JOIN depts USING (id) FOR UPDATE OF depts"]),
    row("E60", D.or(R), &["ANALYZE postbox_wrong"]),
    row("E60", R.or(N), &["EXPLAIN (VERBOSE) SELECT id FROM postbox"]).inert("both files are of one size"),
    row("E60", D.or(R), &["SELECT far_accounts.id FROM far_accounts JOIN depts USING (id) FOR UPDATE OF depts"]),
    row("E60", R.or(N), &["EXPLAIN SELECT id FROM far_accounts WHERE id < 3"]).inert("nothing labelled decides"),
    row("E60", R.or(N), &["EXPLAIN SELECT id FROM far_accounts WHERE iban < 1"]).inert("the other server cannot compare them"),
];

/// Parse says what the parameter's type is.
fn parameter(scene: &Scene<'_>) -> Vec<Reply> {
    let sql = "SELECT sum(salary) = $1 FROM people, generate_series(1, 20) WHERE id = 1";
    let mut body = [cstr(""), cstr(sql)].concat();
    body.extend(1_i16.to_be_bytes());
    body.extend(OID.to_be_bytes());
    let out = [
        frame(b'P', &body),
        bind("", "", &[Some("5")], &[]),
        execute("", 0),
        frame(b'S', b""),
    ];
    let mut client = scene.connect();
    client.send_raw(&out.concat()).unwrap();
    vec![client.reply().unwrap()]
}
