//! C36–C41: what can be learned about a value without ever seeing it.
//!
//! Some rows guess: `wyhvzwkhmjwpwgqz` and 276593262 are the ssn and the salary of number 1 in the
//! first vault, `gukzzqwyuubjuvfc` is the code of its first badge. The second vault has others.

use super::defence::{HARMLESS, NULLED, REDACTED, REFUSED};
use super::{Row, row, wire};

const N: super::Defence = NULLED;
const R: super::Defence = REFUSED;
const D: super::Defence = REDACTED;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // C36: conditions.
    row("C36", R, &["SELECT id FROM people WHERE ssn LIKE 'q%' OR ssn LIKE 'w%'"]),
    row("C36", R, &["SELECT name FROM people WHERE ssn = 'wyhvzwkhmjwpwgqz'"]),
    row("C36", R, &["SELECT count(*) FROM people WHERE salary BETWEEN 276593262 AND 276593262"]),
    row("C36", R, &["SELECT id FROM people WHERE vip"]),
    row("C36", R, &["SELECT id FROM people WHERE NOT vip IS TRUE AND city = 'Oslo'"]),
    row("C36", R, &["SELECT id FROM people WHERE born < '1400-01-01'"]),
    row("C36", R, &["SELECT id FROM people WHERE (home).zip = 319015985"]),
    row("C36", R, &["SELECT id FROM people WHERE doc @> '{\"key\": \"wyhvzwkhmjwpwgqz\"}'"]),
    row("C36", R, &["SELECT id FROM people WHERE 'wyhvzwkhmjwpwgqz' = ANY (codes)"]),
    row("C36", R, &["SELECT id FROM people p WHERE p::text LIKE '%wyhvzwkhmjwpwgqz%'"]),
    row("C36", R, &["SELECT id FROM people p WHERE to_jsonb(p) ->> 'ssn' < 'm'"]),
    row("C36", R, &["SELECT id FROM people WHERE CASE WHEN ssn < 'm' THEN true ELSE false END"]),
    row("C36", R, &["SELECT id FROM people WHERE (ssn, id) > ('m', 0)"]),
    row("C36", R, &["SELECT id FROM people WHERE EXISTS (SELECT 1 WHERE ssn < 'm')"]),
    row("C36", R, &["SELECT d.name FROM depts d WHERE d.id IN (SELECT dept_id FROM people WHERE vip)"]),
    row("C36", R, &["SELECT d.name FROM depts d WHERE EXISTS (SELECT 1 FROM people p WHERE p.id = d.id AND p.vip)"]),
    row("C36", R.or(N), &["SELECT d.name, (SELECT count(*) FROM people WHERE vip AND dept_id = d.id) FROM depts d"]),
    row("C36", R, &["SELECT count(*) FROM people p JOIN badges b ON p.ssn < b.code"]),
    row("C36", R, &["SELECT p.id FROM people p LEFT JOIN depts d ON d.id = p.dept_id AND p.vip WHERE d.id IS NULL"]),
    row("C36", R, &["SELECT id FROM staff_codes WHERE code < 'm'"]),
    row("C36", R, &["SELECT b FROM staff_codes_again WHERE c < 'M'"]),
    row("C36", R, &["SELECT id FROM people_copy WHERE tax < 'm'"]),
    row("C36", R, &["SELECT id FROM people WHERE tail < 'm'"]),
    row("C36", R, &["SELECT id FROM events WHERE payload < 'm'"]),
    row("C36", R, &["SELECT id FROM events_2025 WHERE payload < 'm'"]),
    row("C36", R, &["SELECT minutes FROM visits WHERE badge = 'gukzzqwyuubjuvfc'"]),
    row("C36", R, &["SELECT label FROM assets WHERE serial < 'm'"]),
    row("C36", R, &["SELECT x.id FROM (SELECT id, ssn AS s FROM people) x WHERE x.s < 'm'"]),
    row("C36", R, &["WITH t AS (SELECT id, ssn AS s FROM people) SELECT id FROM t WHERE s < 'm'"]),
    row("C36", R, &["SELECT id FROM (SELECT id, ssn < 'm' AS low FROM people) t WHERE low"]),
    row("C36", R, &["SELECT id FROM people, LATERAL (SELECT ssn < 'm') AS l (low) WHERE low"]),
    row("C36", R, &["SELECT dept_id FROM people GROUP BY dept_id HAVING max(ssn) > 'x'"]),
    row("C36", R, &["SELECT dept_id FROM people GROUP BY dept_id HAVING bool_or(vip)"]),
    row("C36", R, &["UPDATE scratch SET n = 1 FROM people p WHERE p.id = scratch.id AND p.vip RETURNING scratch.id"]),
    row("C36", R, &["DELETE FROM scratch WHERE id IN (SELECT id FROM people WHERE vip) RETURNING id"]),
    row("C36", R, &["MERGE INTO scratch s USING people p ON p.id = s.id AND p.vip WHEN MATCHED THEN UPDATE SET n = 77", "SELECT id FROM scratch WHERE n = 77"]),
    row("C36", R, &["MERGE INTO scratch s USING people p ON p.id = s.id WHEN MATCHED AND p.vip THEN UPDATE SET n = 78", "SELECT id FROM scratch WHERE n = 78"]),
    row("C36", R, &["INSERT INTO scratch (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 5 WHERE (SELECT vip FROM people WHERE people.id = 1) RETURNING id"]),
    row("C36", R, &["SELECT id FROM people WHERE ascii(ssn_of(id)) > 110"]),
    row("C36", R.or(N), &["SELECT string_agg(name, '' ORDER BY id) FILTER (WHERE vip) FROM people"]),
    row("C36", R, &["PREPARE s (text) AS SELECT id FROM people WHERE ssn > $1", "EXECUTE s ('m')"]),
    row("C36", R, &["BEGIN", "DECLARE c CURSOR FOR SELECT id FROM people WHERE vip", "FETCH ALL FROM c", "ROLLBACK"]),
    row("C36", R, &["COPY (SELECT id FROM people WHERE vip) TO STDOUT"]),
    row("C36", R, &["SELECT id FROM virtuals WHERE shown < '<m'"]).since(18),
    row("C36", R, &["SELECT id FROM virtuals WHERE double = 553186524"]).since(18),
    row("C36", R, &["SELECT id FROM people TABLESAMPLE BERNOULLI ((SELECT 100 * vip::integer FROM people WHERE id = 1))"]),
    row("C36", R, &["WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, people WHERE id = n AND vip IS NOT NULL AND ssn < 'x') SELECT max(n) FROM t"]),
    row("C36", R, &["CREATE INDEX i{n} ON people (id) WHERE vip", "SELECT reltuples FROM pg_class WHERE relname = 'i{n}'"]).alone(),
    row("C36", R.or(N), &["SELECT sum(CASE WHEN ssn < 'm' THEN 1 ELSE 0 END) FROM people"]),

    // C37: order, groups, limits.
    row("C37", R, &["SELECT id FROM people ORDER BY ssn"]),
    row("C37", R, &["SELECT id FROM people ORDER BY salary DESC NULLS LAST LIMIT 3"]),
    row("C37", R, &["SELECT id, ssn FROM people ORDER BY 2"]),
    row("C37", R, &["SELECT id, ssn AS s FROM people ORDER BY s"]),
    row("C37", R, &["SELECT id FROM people ORDER BY upper(ssn) USING <"]),
    row("C37", R, &["SELECT id FROM people ORDER BY CASE WHEN vip THEN 0 ELSE 1 END, id"]),
    row("C37", R, &["SELECT id FROM people p ORDER BY (SELECT q.salary FROM people q WHERE q.id = p.id)"]),
    row("C37", R, &["SELECT id FROM staff_codes ORDER BY code"]),
    row("C37", R, &["SELECT count(*) FROM people GROUP BY vip"]),
    row("C37", R, &["SELECT count(*) FROM people GROUP BY ssn < 'm'"]),
    row("C37", R, &["SELECT vip, count(*) FROM people GROUP BY 1"]),
    row("C37", R, &["SELECT count(*) FROM people GROUP BY GROUPING SETS ((vip), ())"]),
    row("C37", R, &["SELECT count(*) FROM people GROUP BY ROLLUP (city, vip)"]),
    row("C37", R, &["SELECT DISTINCT vip, city FROM people"]),
    row("C37", R, &["SELECT DISTINCT ON (vip) id FROM people"]),
    row("C37", R, &["SELECT DISTINCT * FROM (SELECT city, vip FROM people) t"]),
    row("C37", R, &["SELECT city, vip FROM people UNION SELECT city, vip FROM people"]),
    row("C37", R, &["SELECT id FROM people LIMIT (SELECT salary % 7 FROM people WHERE id = 1)"]),
    row("C37", R, &["SELECT id FROM people OFFSET (SELECT salary % 7 FROM people WHERE id = 2)"]),
    row("C37", R, &["SELECT id FROM people ORDER BY salary FETCH FIRST 2 ROWS WITH TIES"]),
    row("C37", R.or(N), &["SELECT id, rank() OVER (ORDER BY salary) FROM people"]),
    row("C37", R.or(N), &["SELECT id, dense_rank() OVER w, first_value(id) OVER w FROM people WINDOW w AS (ORDER BY ssn)"]),
    row("C37", R.or(N), &["SELECT array_agg(id ORDER BY ssn) FROM people"]),
    row("C37", R, &["SELECT id FROM people p ORDER BY p"]).inert("the key comes first"),
    row("C37", R, &["SELECT id FROM people ORDER BY home, doc, codes"]),
    row("C37", R, &["BEGIN", "DECLARE c CURSOR FOR SELECT id FROM people ORDER BY ssn", "FETCH FIRST FROM c", "ROLLBACK"]),
    row("C37", R, &["CLUSTER people USING people_ssn_key", "SELECT id FROM people"]).alone(),
    row("C37", R, &["SELECT id FROM bookings, LATERAL (SELECT 1) AS t (id) ORDER BY guest"]).since(18).inert("all rows are the same"),
    row("C37", R.or(N), &["SELECT (SELECT id FROM people ORDER BY ssn LIMIT 1)"]),
    row("C37", R.or(N), &["SELECT ARRAY(SELECT id FROM people ORDER BY salary)"]),

    // C38: time. That a sleep depends on a value shows in no byte, so the error that follows one does.
    row("C38", R, &["SELECT CASE WHEN vip THEN pg_sleep(0.01) END, 1 FROM people LIMIT 4"]),
    row("C38", R, &["SELECT pg_sleep(0.01) FROM people WHERE vip"]),
    row("C38", R, &["SELECT pg_sleep_for('10 milliseconds') FROM people WHERE ssn < 'm'"]),
    row("C38", R.or(N), &["SELECT count(*) FROM people, generate_series(1, 1000 * vip::integer)"]),
    row("C38", R, &["SET statement_timeout = '300ms'", "SELECT count(*) FROM generate_series(1, CASE WHEN (SELECT vip FROM people WHERE id = 1) THEN 100000000 ELSE 1 END)"]).alone(),
    row("C38", R, &["SELECT pg_sleep(0)"]).inert("no value"),

    // C39: errors that depend on values.
    row("C39", N.or(R).or(D), &["SELECT 1 / (CASE WHEN vip THEN 0 ELSE 1 END) FROM people WHERE id = 1"]),
    row("C39", N.or(R).or(D), &["SELECT 1 / (CASE WHEN vip THEN 0 ELSE 1 END) FROM people WHERE id = 2"]).inert("both are the same here"),
    row("C39", R, &["SELECT id FROM people WHERE 1 / (CASE WHEN ssn = 'wyhvzwkhmjwpwgqz' THEN 0 ELSE 1 END) = 1 AND id = 1"]),
    row("C39", N.or(R).or(D), &["SELECT CASE WHEN ssn = 'wyhvzwkhmjwpwgqz' THEN 1 / id - 1 ELSE 1 END FROM people WHERE id = 1"]),
    row("C39", N.or(R).or(D), &["SELECT CASE WHEN ssn = 'wyhvzwkhmjwpwgqz' THEN name::integer ELSE 1 / (id - 1) END FROM people WHERE id = 1"]),
    row("C39", N.or(R).or(D), &["SELECT sqrt(salary - 200000000) FROM people WHERE id = 1"]),
    row("C39", N.or(R).or(D), &["SELECT (salary - 400000000)::smallint FROM people WHERE id = 1"]).inert("out of range in both"),
    row("C39", R, &["SELECT (SELECT id FROM people WHERE vip AND id < 3)"]),
    // What is looked at only as long as the value leaves it open.
    row("C39", R, &["SELECT ssn IN ('wyhvzwkhmjwpwgqz', (1 / (id - 1))::text) FROM people WHERE id = 1"]),
    row("C39", R, &["SELECT ssn BETWEEN 'm' AND (1 / (id - 2))::text FROM people WHERE id = 2"]),
    row("C39", R, &["SELECT p.ssn < ALL (SELECT x FROM (SELECT 'n'::text AS x UNION ALL SELECT (1 / (p.id - p.id))::text) AS g) FROM people p WHERE id = 1"]),
    row("C39", R, &["SELECT p.ssn IN (SELECT x FROM (SELECT 'wyhvzwkhmjwpwgqz'::text AS x UNION ALL SELECT nextval('counter')::text) AS g WHERE p.id > 0) FROM people p WHERE id = 1", "SELECT last_value FROM counter"]).alone(),
    // An index gives the first row, and which row that is shows in what the condition does.
    row("C39", R, &["SET enable_seqscan = off", "SELECT max(ssn) FROM people WHERE 1 / (id - 5) IS NOT NULL", "SELECT max(ssn) FROM people WHERE 1 / (id - 10) IS NOT NULL"]).alone(),
    row("C39", R, &["SELECT salary::\"char\", tags[pay] FROM people WHERE id = 1"]).inert("out of range in both"),
    row("C39", R.or(D), &["SELECT id FROM people LIMIT (SELECT salary - 200000000 FROM people WHERE id = 1)"]),
    row("C39", R.or(N).or(D), &["SELECT substr('abc', 1, (salary - 200000000)) FROM people WHERE id = 1"]),
    row("C39", R.or(N).or(D), &["SELECT ('{1,2}'::integer[])[salary], CAST((CASE WHEN vip THEN '1' ELSE 'x' END) AS integer) FROM people WHERE id = 1"]),
    row("C39", R, &["BEGIN", "SAVEPOINT a", "SELECT 1 / (CASE WHEN vip THEN 0 ELSE 1 END) FROM people WHERE id = 1", "ROLLBACK TO a", "SELECT 1", "ROLLBACK"]).alone(),
    row("C39", R.or(N), &["SELECT fail(1) FROM people WHERE vip AND id = 1"]),
    row("C39", R.or(N).or(D), &["SELECT JSON_VALUE(doc, '$.amount' RETURNING smallint ERROR ON ERROR) FROM people WHERE id = 1"]).since(17),

    // C40: uniqueness, references, constraints.
    row("C40", R, &["INSERT INTO people (id, name, city, joined, level, active, tags, profile, ssn) VALUES (900{n}, 'x', 'x', '2024-01-01', 1, true, '{}', '{}', 'wyhvzwkhmjwpwgqz')"]),
    row("C40", R, &["UPDATE people SET ssn = 'wyhvzwkhmjwpwgqz' WHERE id = 2"]),
    row("C40", R, &["INSERT INTO badges VALUES ('gukzzqwyuubjuvfc', 3, 'x')"]),
    row("C40", R, &["INSERT INTO badges VALUES ('gukzzqwyuubjuvfc', 3, 'x') ON CONFLICT DO NOTHING RETURNING color"]),
    row("C40", R, &["INSERT INTO badges VALUES ('gukzzqwyuubjuvfc', 3, 'x') ON CONFLICT (code) DO UPDATE SET color = 'hit' RETURNING color"]),
    row("C40", R, &["INSERT INTO visits VALUES (5{n}, 'gukzzqwyuubjuvfc', '2024-01-01', 1)"]),
    row("C40", R, &["UPDATE visits SET badge = 'gukzzqwyuubjuvfc' WHERE id = 1"]),
    row("C40", R, &["INSERT INTO badges SELECT 'gukzzqwyuubjuvfc', 3, 'x' WHERE true"]),
    row("C40", R, &["MERGE INTO badges b USING depts d ON b.person_id = 100 + d.id WHEN NOT MATCHED AND d.id = 1 THEN INSERT VALUES ('gukzzqwyuubjuvfc', 1, 'x')"]),
    row("C40", R.or(HARMLESS), &["COPY badges FROM STDIN"]).inert("no rows are sent"),
    row("C40", R, &["BEGIN", "SAVEPOINT a", "INSERT INTO badges VALUES ('gukzzqwyuubjuvfc', 3, 'x')", "ROLLBACK TO a", "SELECT 1", "ROLLBACK"]).alone(),
    row("C40", R.or(D), &["CREATE UNIQUE INDEX u{n} ON people (vip)"]),
    row("C40", R.or(D), &["ALTER TABLE people ADD CONSTRAINT e{n} CHECK (ssn <> 'wyhvzwkhmjwpwgqz')"]).alone(),
    row("C40", R.or(D), &["ALTER TABLE people ADD CONSTRAINT e{n} UNIQUE (dept_id, vip)"]).inert("there are duplicates in both"),
    row("C40", R.or(D).or(HARMLESS), &["ALTER TABLE people ADD CONSTRAINT e{n} EXCLUDE USING btree (salary WITH =) WHERE (salary <> 276593262)"]).inert("distinct in both"),
    row("C40", R.or(D), &["CREATE TABLE p{n} PARTITION OF events DEFAULT", "ALTER TABLE people ADD CONSTRAINT v{n} CHECK (salary <> 276593262) NOT VALID", "ALTER TABLE people VALIDATE CONSTRAINT v{n}"]).alone(),
    row("C40", R, &["ALTER DOMAIN grade ADD CONSTRAINT g{n} CHECK (VALUE <> 294283874)"]).alone(),

    // C41: groups of one.
    row("C41", N, &["SELECT city, sum(salary) FROM people WHERE id = 1 GROUP BY city"]),
    row("C41", R, &["SELECT id, sum(salary), avg(pay) FROM people GROUP BY id"]),
    row("C41", N, &["SELECT name, max(ssn) FROM people GROUP BY name"]),
    row("C41", N, &["SELECT dept_id, sum(salary) FROM people GROUP BY dept_id"]),
    row("C41", R, &["SELECT (SELECT sum(salary) FROM people) - (SELECT sum(salary) FROM people WHERE id <> 1)"]),
    row("C41", N, &["SELECT id, sum(salary) OVER (PARTITION BY id) FROM people"]),
    row("C41", HARMLESS.or(N), &["SELECT count(ssn), count(salary) FROM people"]).inert("that a value is there may be seen"),
    wire("C41", N, "differences of sums, one statement after the other", |scene| {
        let mut client = scene.connect();
        let sums = ["SELECT sum(salary) FROM people", "SELECT sum(salary) FROM people WHERE id <> 3"];
        sums.map(|sql| client.query(sql).unwrap()).into()
    }),
];
