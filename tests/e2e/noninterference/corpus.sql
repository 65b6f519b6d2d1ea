-- Labelled columns, in the shapes in which queries really come.
SELECT id, name, ssn FROM people ORDER BY id
SELECT * FROM people WHERE city = 'Oslo' ORDER BY id
SELECT * FROM people p JOIN depts d ON d.id = p.dept_id ORDER BY p.id
SELECT * FROM people p LEFT JOIN orders o ON o.person_id = p.id ORDER BY p.id, o.id LIMIT 20
SELECT p.*, count(*) OVER (PARTITION BY p.city) FROM people p ORDER BY p.id
SELECT * FROM people NATURAL JOIN (SELECT id FROM people WHERE level = 1) AS t ORDER BY id
SELECT id, salary, pay, born, vip FROM people WHERE active ORDER BY id
SELECT name, 'ssn: ' || ssn AS line FROM people ORDER BY id
SELECT name, salary * 12 AS yearly, round(pay) FROM people ORDER BY id
SELECT city, max(salary), min(born), count(ssn) FROM people GROUP BY city ORDER BY city
SELECT city, array_agg(ssn ORDER BY id) FROM people GROUP BY city ORDER BY city
SELECT city, sum(salary) FROM people GROUP BY ROLLUP (city) ORDER BY city
SELECT name, lag(salary) OVER (ORDER BY id), salary - lag(salary) OVER (ORDER BY id) FROM people
SELECT name, CASE WHEN salary > 200000000 THEN 'high' ELSE 'low' END FROM people ORDER BY id
SELECT name, coalesce(ssn, 'none'), ssn IS NULL FROM people ORDER BY id
SELECT name, born::text, extract(year FROM born), to_char(seen, 'YYYY') FROM people ORDER BY id
SELECT name, doc ->> 'key', doc -> 'amount', doc FROM people ORDER BY id
SELECT name, codes[1], cardinality(codes), unnest(codes) FROM people ORDER BY id
SELECT name, (home).street, (home).zip, home FROM people ORDER BY id
SELECT name, encode(blob, 'hex'), ref, ref::text FROM people ORDER BY id
SELECT p, p.ssn FROM people p ORDER BY id
SELECT row_to_json(p), to_jsonb(p) -> 'ssn' FROM people p ORDER BY id
SELECT jsonb_agg(p) FROM people p
SELECT json_build_object('id', id, 'ssn', ssn, 'pay', pay) FROM people ORDER BY id
SELECT xmlforest(name, ssn) FROM people ORDER BY id
SELECT (SELECT ssn FROM people q WHERE q.id = p.boss_id) AS boss FROM people p ORDER BY id
SELECT d.name, (SELECT max(salary) FROM people p WHERE p.dept_id = d.id) FROM depts d ORDER BY id
SELECT d.name, ARRAY(SELECT ssn FROM people p WHERE p.dept_id = d.id ORDER BY p.id) FROM depts d ORDER BY id
SELECT d.name, l.ssn FROM depts d, LATERAL (SELECT ssn FROM people p WHERE p.dept_id = d.id ORDER BY p.id LIMIT 1) AS l ORDER BY d.id
SELECT name FROM people UNION ALL SELECT ssn FROM people
SELECT id, name, NULL FROM depts UNION ALL SELECT id, name, ssn FROM people ORDER BY 1, 2
SELECT id, ssn FROM people UNION ALL SELECT id, payload FROM events ORDER BY 1 LIMIT 30
WITH t AS (SELECT id, ssn, salary FROM people) SELECT t.*, d.name FROM t JOIN depts d ON d.id = t.id ORDER BY t.id
WITH a AS (SELECT id, ssn AS x FROM people), b AS (SELECT id, upper(x) AS y FROM a) SELECT a.x, b.y FROM a JOIN b USING (id) ORDER BY id
WITH RECURSIVE t (id, name, codes) AS (SELECT id, name, ssn FROM people WHERE boss_id IS NULL UNION ALL SELECT p.id, p.name, t.codes || p.ssn FROM people p JOIN t ON p.boss_id = t.id) SELECT * FROM t ORDER BY id
WITH RECURSIVE t (n, x) AS (SELECT 1, salary FROM people WHERE id = 1 UNION ALL SELECT n + 1, x / 2 FROM t WHERE n < 5) SELECT * FROM t
SELECT v.column1 FROM (VALUES ((SELECT ssn FROM people WHERE id = 1)), ('x')) AS v
SELECT * FROM staff_codes ORDER BY id
SELECT id, code, k FROM staff_codes WHERE city = 'Bern' ORDER BY id
SELECT * FROM staff_codes_again ORDER BY b
SELECT s.name, c.code FROM staff s JOIN staff_codes c USING (id) ORDER BY id
SELECT * FROM people_copy ORDER BY id
SELECT city, max(tax) FROM people_copy GROUP BY city ORDER BY city
SELECT * FROM active_people ORDER BY id
SELECT * FROM events ORDER BY id LIMIT 10
SELECT * FROM events_2025 ORDER BY id
SELECT kind, max(payload), count(*) FROM events GROUP BY kind ORDER BY kind
SELECT * FROM assets ORDER BY id, price
SELECT * FROM vehicles ORDER BY id
SELECT a.label, v.plate FROM assets a JOIN vehicles v USING (id) ORDER BY id, a.price
SELECT * FROM badges ORDER BY person_id
SELECT * FROM visits ORDER BY id
SELECT b.code, b.color, p.name, p.ssn FROM badges b JOIN people p ON p.id = b.person_id ORDER BY p.id
SELECT v.id, v.badge, v.minutes FROM visits v ORDER BY v.id
SELECT ssn_of(id) FROM people ORDER BY id
SELECT id, ssn FROM everybody() ORDER BY id
SELECT p.name, e.ssn FROM people p JOIN everybody() e USING (id) ORDER BY id
SELECT say(1)
SELECT fail(1)
SELECT planned(), name FROM depts
SELECT glue(ssn) FROM people WHERE id < 4
SELECT ssn <+> 'x', joined(ssn, name) FROM people ORDER BY id
CALL give(NULL)
-- Conditions, orders, groups.
SELECT name FROM people WHERE ssn = 'wyhvzwkhmjwpwgqz'
SELECT name FROM people WHERE ssn LIKE 'w%' ORDER BY id
SELECT name FROM people WHERE salary > 200000000 ORDER BY id
SELECT name FROM people WHERE born BETWEEN '1200-01-01' AND '1500-01-01' ORDER BY id
SELECT name FROM people WHERE vip AND active
SELECT name FROM people WHERE ssn IS NOT NULL ORDER BY id
SELECT name FROM people WHERE doc ->> 'key' = 'wyhvzwkhmjwpwgqz'
SELECT name FROM people ORDER BY salary DESC LIMIT 3
SELECT name FROM people ORDER BY ssn
SELECT vip, count(*) FROM people GROUP BY vip
SELECT DISTINCT vip FROM people
SELECT city FROM people GROUP BY city HAVING max(salary) > 300000000
SELECT count(*) FROM people a JOIN people b ON a.salary < b.salary
SELECT count(*) FROM badges b JOIN visits v ON v.badge = b.code
SELECT b.color, sum(v.minutes) FROM badges b JOIN visits v ON v.badge = b.code GROUP BY b.color ORDER BY 1
SELECT code FROM staff_codes WHERE k > 200000 ORDER BY id
SELECT x FROM (SELECT name AS x, ssn AS y FROM people) AS t WHERE y > 'm'
WITH t AS (SELECT id, vip AS v FROM people) SELECT id FROM t WHERE v ORDER BY id
SELECT name, rank() OVER (ORDER BY salary) FROM people ORDER BY id
SELECT name, count(*) OVER (PARTITION BY vip) FROM people ORDER BY id
SELECT id FROM people UNION SELECT salary FROM people
SELECT ssn FROM people INTERSECT SELECT code FROM staff_codes
SELECT string_agg(name, ',' ORDER BY salary) FROM people
SELECT count(*) FILTER (WHERE vip) FROM people
SELECT name FROM people WHERE id IN (SELECT person_id FROM badges WHERE code > 'm') ORDER BY id
SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.badge = p.ssn)
-- Errors.
SELECT ssn::integer FROM people
SELECT salary / (salary - salary) FROM people WHERE id = 1
SELECT 1 / (CASE WHEN vip THEN 0 ELSE 1 END) FROM people WHERE id = 1
SELECT 1 / (CASE WHEN salary > 200000000 THEN 0 ELSE 1 END) FROM people ORDER BY id
SELECT (salary - 200000000)::smallint FROM people WHERE id = 12
SELECT sqrt(salary - 250000000) FROM people ORDER BY id
SELECT chr(salary % 3) FROM people ORDER BY id
SELECT substr(name, 1, 250000000 - salary) FROM people ORDER BY id
SELECT repeat('x', (salary - 250000000) / 1000000) FROM people ORDER BY id
SELECT to_date(ssn, 'YYYY') FROM people
SELECT ssn::json, ssn::xml, ssn::uuid FROM people WHERE id = 1
SELECT make_date(2024, salary % 13, 1) FROM people ORDER BY id
SELECT date '2024-01-01' + salary FROM people ORDER BY id
SELECT factorial(salary % 40000) FROM people WHERE id = 1
SELECT array_fill(1, ARRAY[salary % 5 - 1]) FROM people ORDER BY id
SELECT ('{' || ssn || '}')::integer[] FROM people WHERE id = 2
SELECT (ARRAY['a', 'b'])[salary % 2 + 1], tags[salary % 3] FROM people ORDER BY id
SELECT lpad(name, salary % 10), overlay(name PLACING 'x' FROM salary % 3) FROM people ORDER BY id
SELECT bit_length(ssn), get_byte(blob, salary % 20) FROM people ORDER BY id
SELECT numeric '1' / (salary % 2) FROM people ORDER BY id
SELECT 2147483647 + (salary % 2) FROM people ORDER BY id
SELECT power(salary, 100), exp(salary / 1000), ln(salary - 250000000) FROM people ORDER BY id
SELECT width_bucket(salary, 0, 0, 5) FROM people WHERE id = 1
SELECT jsonb_build_object(ssn, 1) FROM people ORDER BY id
SELECT json_object(ARRAY[ssn, 'x']) FROM people ORDER BY id
SELECT (jsonb_build_array(salary) ->> 0)::smallint FROM people ORDER BY id
SELECT salary::integer::bit(8), salary::char(3), salary::varchar(4) FROM people ORDER BY id
SELECT setval('counter', salary) FROM people WHERE id = 1
SELECT name FROM people WHERE 1 / (salary % 2) = 1
SELECT CASE WHEN vip THEN nextval('counter') END FROM people ORDER BY id ;; SELECT last_value FROM counter
SELECT ssn::grade FROM people WHERE id = 1
SELECT name, (SELECT id FROM people q WHERE q.vip = p.vip) FROM people p
UPDATE people SET city = NULL WHERE id = 1
BEGIN ;; UPDATE people SET salary = -5 WHERE id = 1 ;; SELECT 1 ;; ROLLBACK
BEGIN ;; SELECT ssn::integer FROM people ;; SELECT name FROM people ;; ROLLBACK
-- Sessions.
BEGIN ;; DECLARE c CURSOR FOR SELECT id, ssn FROM people ORDER BY id ;; FETCH 4 FROM c ;; MOVE 2 IN c ;; FETCH ALL FROM c ;; COMMIT
BEGIN ;; DECLARE c SCROLL CURSOR FOR SELECT upper(ssn), name FROM people ORDER BY id ;; FETCH LAST FROM c ;; FETCH FIRST FROM c ;; ROLLBACK
BEGIN ;; DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM people ORDER BY id ;; COMMIT ;; FETCH 2 FROM c ;; CLOSE c
PREPARE q AS SELECT id, ssn FROM people ORDER BY id ;; EXECUTE q ;; DEALLOCATE q
PREPARE q (integer) AS SELECT ssn, salary + $1 FROM people ORDER BY id ;; EXECUTE q (5) ;; DEALLOCATE q
COPY people TO STDOUT
COPY people (id, ssn, salary) TO STDOUT
COPY people (id, ssn) TO STDOUT (FORMAT csv)
COPY people (id, ssn) TO STDOUT (FORMAT binary)
COPY (SELECT id, upper(ssn) FROM people ORDER BY id) TO STDOUT
COPY events TO STDOUT
EXPLAIN SELECT ssn FROM people
EXPLAIN (VERBOSE) SELECT upper(ssn) FROM people ORDER BY id
EXPLAIN SELECT id FROM people WHERE vip
EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) SELECT id FROM people WHERE salary > 250000000
EXPLAIN (COSTS OFF) SELECT ssn, count(*) FROM people GROUP BY ssn
EXPLAIN (GENERIC_PLAN) SELECT ssn FROM people WHERE id = 1
BEGIN ;; UPDATE people SET notes = 'x' WHERE id < 4 RETURNING id, ssn, salary ;; ROLLBACK
BEGIN ;; UPDATE people SET notes = ssn WHERE id < 4 RETURNING id ;; ROLLBACK
BEGIN ;; UPDATE people SET salary = 500000000 WHERE id = 1 RETURNING salary ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id, note) SELECT id + 50, ssn FROM people ;; ROLLBACK
BEGIN ;; DELETE FROM visits WHERE id > 25 RETURNING * ;; ROLLBACK
BEGIN ;; DELETE FROM scratch USING people p WHERE p.id = scratch.id RETURNING scratch.id, p.ssn ;; ROLLBACK
BEGIN ;; MERGE INTO scratch s USING people p ON p.id = s.id WHEN MATCHED AND p.vip THEN DELETE ;; SELECT count(*) FROM scratch ;; ROLLBACK
BEGIN ;; CREATE TEMP TABLE t AS SELECT ssn FROM people ;; SELECT * FROM t ;; ROLLBACK
BEGIN ;; CREATE TEMP VIEW t AS SELECT ssn AS x FROM people ;; SELECT x FROM t ;; ROLLBACK
SELECT most_common_vals FROM pg_stats WHERE tablename = 'people'
SELECT relpages, reltuples FROM pg_class WHERE relname = 'people'
SELECT pg_relation_size('people'), pg_column_size(ssn) FROM people WHERE id = 1
SELECT ctid, id FROM people ORDER BY ctid
SELECT attname, attstattarget FROM pg_attribute WHERE attrelid = 'people'::regclass ORDER BY attnum
SELECT set_config('my.value', ssn, false) FROM people WHERE id = 1 ;; SELECT current_setting('my.value', true)
SET my.value = 'plain' ;; SHOW my.value
SELECT pg_notify('x', ssn) FROM people
-- Names: what shadows what, and which column stands where.
SELECT ssn FROM (SELECT name AS ssn, id FROM people) AS t ORDER BY id
SELECT name FROM (SELECT ssn AS name, id FROM people) AS t ORDER BY id
SELECT t.a, t.b FROM (SELECT id, ssn FROM people) AS t (a, b) ORDER BY t.a
SELECT a.b, a.a FROM people AS a (a, b, c) ORDER BY a.a
SELECT t.* FROM people AS t (x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14) ORDER BY x1
SELECT x13 FROM people AS t (x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14) ORDER BY x1
WITH people AS (SELECT id, name AS ssn FROM depts) SELECT ssn FROM people ORDER BY id
WITH depts AS (SELECT id, ssn AS name FROM people) SELECT name FROM depts ORDER BY id
WITH people AS (SELECT id, ssn FROM people) SELECT ssn FROM people ORDER BY id
WITH t AS (SELECT 1 AS id, 'x'::text AS ssn) SELECT ssn, (WITH t AS (SELECT ssn FROM people WHERE id = 1) SELECT ssn FROM t) FROM t
WITH a AS (SELECT ssn FROM people), b AS (WITH a AS (SELECT name AS ssn FROM depts) SELECT ssn FROM a) SELECT ssn FROM b
WITH a AS (SELECT name AS ssn FROM depts), b AS (WITH a AS (SELECT ssn FROM people) SELECT ssn FROM a) SELECT ssn FROM b
SELECT (SELECT ssn) FROM people ORDER BY id
SELECT (SELECT (SELECT p.ssn)) FROM people p ORDER BY id
SELECT (SELECT name FROM (SELECT p.ssn AS name) AS q) FROM people p ORDER BY id
SELECT d.name, (SELECT name FROM people d WHERE d.id = 1) FROM depts d ORDER BY d.id
SELECT people.ssn, p2.name FROM people JOIN people p2 USING (id) ORDER BY id
SELECT j.ssn FROM (people p JOIN depts d ON d.id = p.dept_id) AS j (a, b, c, d) ORDER BY j.a
SELECT j.* FROM (people p CROSS JOIN (SELECT 1 AS one) AS o) AS j ORDER BY j.id
SELECT u.id, ssn FROM people JOIN badges ON badges.person_id = people.id JOIN (SELECT id FROM depts) AS u ON u.id = people.id ORDER BY u.id
SELECT id, k.id FROM people JOIN staff_codes USING (id) AS k ORDER BY id
SELECT k.* FROM people JOIN badges ON true JOIN orders USING (person_id) AS k ORDER BY 1 LIMIT 4
SELECT ssn AS id FROM people ORDER BY people.id
SELECT ssn AS name, name AS ssn FROM people ORDER BY id
SELECT name AS salary, salary AS name FROM people ORDER BY id
SELECT id, ssn FROM people ORDER BY name
SELECT p.name, q.ssn FROM people p, people q WHERE p.id = q.id AND q.id < 5 ORDER BY 1
SELECT "ssn", "people"."ssn", public.people.ssn, vault.public.people.ssn FROM public.people ORDER BY id
SELECT SSN, Ssn FROM PEOPLE ORDER BY ID
SELECT U&"s\0073n" FROM people ORDER BY id
SELECT p.* FROM (SELECT * FROM (SELECT * FROM people) AS a) AS p ORDER BY p.id
SELECT (p).ssn, (p.home).zip, ((p).home).street FROM people p ORDER BY id
SELECT (q.p).ssn FROM (SELECT p FROM people p) AS q ORDER BY (q.p).id
SELECT (q.p).name FROM (SELECT p FROM people p) AS q ORDER BY (q.p).id
SELECT (array_agg(p ORDER BY id))[1] FROM people p
SELECT (ROW(p.*)).* FROM people p ORDER BY p.id LIMIT 3
SELECT ROW(p.*) IS NULL, p IS NOT NULL FROM people p ORDER BY id
SELECT p = p, p IS DISTINCT FROM p FROM people p ORDER BY id
SELECT count(p), count(p.*), count(DISTINCT p.id) FROM people p
TABLE people
TABLE staff_codes
TABLE badges
SELECT * FROM people WHERE id = 1 UNION ALL SELECT * FROM people WHERE id = 2
SELECT id, name FROM people UNION ALL SELECT salary, ssn FROM people
SELECT name, id FROM people UNION ALL (SELECT ssn, salary FROM people ORDER BY id LIMIT 2)
SELECT 1 AS a, 'x' AS b UNION ALL SELECT id, ssn FROM people UNION ALL SELECT 2, 'y'
VALUES (1, 'x'), (2, (SELECT ssn FROM people WHERE id = 2))
SELECT a FROM (VALUES (1), ((SELECT salary FROM people WHERE id = 1))) AS v (a)
SELECT b FROM (VALUES (1, 'x'), ((SELECT salary FROM people WHERE id = 1), 'y')) AS v (a, b)
SELECT l.* FROM depts d LEFT JOIN LATERAL (SELECT p.name, p.ssn FROM people p WHERE p.dept_id = d.id ORDER BY p.id LIMIT 1) AS l ON true ORDER BY d.id
SELECT m.x FROM people p, LATERAL (SELECT p.ssn AS x) AS l, LATERAL (SELECT l.x AS x) AS m ORDER BY p.id
SELECT m.x FROM people p, LATERAL (SELECT p.name AS x) AS l, LATERAL (SELECT l.x || p.city AS x) AS m ORDER BY p.id
SELECT x FROM people, LATERAL unnest(codes) AS x ORDER BY id
SELECT x FROM people, unnest(ARRAY[name, ssn]) AS x ORDER BY id
SELECT x FROM people, jsonb_each_text(doc) AS e (k, x) ORDER BY id
SELECT k FROM people, jsonb_object_keys(doc) AS k ORDER BY id
SELECT x.* FROM people, jsonb_to_record(doc) AS x (key text, amount integer) ORDER BY id
SELECT s FROM people, regexp_split_to_table(ssn, '') AS s WHERE id = 1
SELECT s FROM people, string_to_table(ssn, 'q') AS s WHERE id < 4
SELECT m FROM people, regexp_matches(ssn, '[aeiou]', 'g') AS m ORDER BY id
SELECT n FROM people, generate_series(1, salary % 4) AS n ORDER BY id
SELECT o.ordinality FROM people, unnest(codes) WITH ORDINALITY AS o (c, ordinality) ORDER BY id
SELECT name FROM people, LATERAL (SELECT 1 WHERE vip) AS l ORDER BY id
WITH RECURSIVE t (id, x) AS (SELECT id, name FROM people WHERE id = 1 UNION ALL SELECT p.id, p.ssn FROM people p JOIN t ON p.id = t.id + 1 WHERE p.id < 5) SELECT x FROM t
WITH RECURSIVE t (a, b, n) AS (SELECT name, ssn, 1 FROM people WHERE id = 1 UNION ALL SELECT b, a, n + 1 FROM t WHERE n < 4) SELECT a FROM t
WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < (SELECT salary % 9 FROM people WHERE id = 1)) SELECT n FROM t
WITH RECURSIVE t (id) AS (SELECT 1 UNION SELECT p.id FROM people p JOIN t ON p.id = t.id + 1 WHERE p.vip) SELECT id FROM t
WITH RECURSIVE t (id, x) AS (SELECT id, ssn FROM people WHERE id < 3 UNION ALL SELECT id + 1, x FROM t WHERE id < 5) SEARCH DEPTH FIRST BY x SET o SELECT id FROM t ORDER BY o
WITH RECURSIVE t (id, x) AS (SELECT id, ssn FROM people WHERE id < 3 UNION ALL SELECT id + 1, x FROM t WHERE id < 5) CYCLE x SET c USING p SELECT id, c FROM t ORDER BY id
WITH t AS (UPDATE people SET notes = 'x' WHERE id = 1 RETURNING ssn, name) SELECT ssn FROM t
WITH t AS MATERIALIZED (SELECT ssn FROM people ORDER BY id) SELECT * FROM t
WITH t AS (SELECT id, ssn FROM people WHERE vip) SELECT name FROM depts ORDER BY id
-- Everything that decides: which rows, how many, in which order, whether at all.
SELECT name FROM people WHERE (SELECT ssn < 'm') ORDER BY id
SELECT name FROM people WHERE ssn_of(id) < 'm' ORDER BY id
SELECT name FROM people WHERE length(name) < salary % 5 ORDER BY id
SELECT name FROM people WHERE NOT (vip IS NOT TRUE) ORDER BY id
SELECT name FROM people WHERE coalesce(ssn, '') > 'm' ORDER BY id
SELECT name FROM people WHERE people > ROW(5)::people
SELECT name FROM people p WHERE p::text LIKE '%q%' ORDER BY id
SELECT name FROM people p WHERE hashtext(p::text) > 0 ORDER BY id
SELECT name FROM people WHERE (doc -> 'amount')::integer > 200000000 ORDER BY id
SELECT name FROM people WHERE doc @? '$.amount ? (@ > 200000000)' ORDER BY id
SELECT name FROM people WHERE 'q' = ANY (string_to_array(ssn, NULL)) ORDER BY id
SELECT name FROM people WHERE (home).zip % 2 = 0 ORDER BY id
SELECT name FROM people WHERE blob > '\x70' ORDER BY id
SELECT name FROM people WHERE ref > '80000000-0000-0000-0000-000000000000' ORDER BY id
SELECT name FROM people WHERE date_part('year', born) > 1300 ORDER BY id
SELECT name FROM people WHERE tail LIKE 'q%' ORDER BY id
SELECT name FROM people WHERE id IN (SELECT id FROM people WHERE salary > 200000000) ORDER BY id
SELECT name FROM people WHERE id = (SELECT id FROM people ORDER BY salary LIMIT 1)
SELECT name FROM people WHERE id = (SELECT max(id) FROM people WHERE vip)
SELECT name FROM people WHERE (id, vip) IN (VALUES (1, true), (2, false)) ORDER BY id
SELECT name FROM people WHERE salary = ANY (SELECT max(salary) FROM people)
SELECT d.name FROM depts d WHERE 250000000 < ALL (SELECT salary FROM people p WHERE p.dept_id = d.id) ORDER BY d.id
SELECT name FROM people LIMIT (SELECT salary % 5 FROM people WHERE id = 1)
SELECT name FROM people ORDER BY id OFFSET (SELECT salary % 5 FROM people WHERE id = 1)
SELECT name FROM people ORDER BY CASE WHEN vip THEN 0 ELSE 1 END, id
SELECT name, ssn FROM people ORDER BY 2
SELECT name AS ssn FROM people ORDER BY ssn
SELECT ssn AS name FROM people ORDER BY name
SELECT ssn AS x FROM people GROUP BY x ORDER BY x
SELECT ssn AS name FROM people GROUP BY name
SELECT name AS ssn FROM people GROUP BY ssn, id ORDER BY id
SELECT length(ssn) AS id, count(*) FROM people GROUP BY 1
SELECT count(*) FROM people GROUP BY salary / 1000000
SELECT count(*) FROM people GROUP BY GROUPING SETS ((vip), (city)) ORDER BY 1
SELECT count(*) FROM people GROUP BY CUBE (vip)
SELECT DISTINCT ON (vip) name FROM people ORDER BY vip, id
SELECT DISTINCT left(ssn, 1) FROM people
SELECT count(DISTINCT left(ssn, 1)), count(DISTINCT vip) FROM people
SELECT array_agg(DISTINCT vip) FROM people
SELECT array_agg(name ORDER BY ssn) FROM people
SELECT string_agg(name, ',') FILTER (WHERE salary > 200000000) FROM people
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY left(ssn, 1)) FROM people
SELECT rank(200000000) WITHIN GROUP (ORDER BY salary) FROM people
SELECT city, sum(level) FROM people GROUP BY city HAVING bool_or(vip) ORDER BY city
SELECT name, first_value(name) OVER (ORDER BY salary) FROM people ORDER BY id
SELECT name, sum(level) OVER w FROM people WINDOW w AS (PARTITION BY vip) ORDER BY id
SELECT name, count(*) FILTER (WHERE vip) OVER () FROM people ORDER BY id
SELECT name, nth_value(name, (salary % 3 + 1)::integer) OVER (ORDER BY id) FROM people ORDER BY id
SELECT name, lag(name, salary % 3) OVER (ORDER BY id) FROM people ORDER BY id
SELECT name, sum(level) OVER (ORDER BY salary RANGE BETWEEN 1000 PRECEDING AND CURRENT ROW) FROM people ORDER BY id
SELECT p.name FROM people p JOIN people q ON p.ssn > q.ssn ORDER BY p.id
SELECT p.name, q.name FROM people p LEFT JOIN people q ON q.id = p.boss_id AND q.vip ORDER BY p.id
SELECT p.name FROM people p JOIN badges b ON b.code = p.ssn
SELECT count(*) FROM badges NATURAL JOIN (SELECT badge AS code FROM visits) AS v
SELECT count(*) FROM people p FULL JOIN people q ON p.salary = q.salary
SELECT name FROM people UNION SELECT ssn FROM people
SELECT vip FROM people UNION SELECT true ORDER BY 1
SELECT id FROM people EXCEPT SELECT id FROM people WHERE vip
SELECT id FROM people INTERSECT ALL SELECT salary % 14 FROM people
SELECT CASE WHEN vip THEN name END FROM people ORDER BY id
SELECT CASE salary % 3 WHEN 0 THEN 'a' WHEN 1 THEN 'b' END FROM people ORDER BY id
SELECT name FROM people TABLESAMPLE BERNOULLI (100) REPEATABLE ((SELECT 1)) ORDER BY id
SELECT name FROM people ORDER BY random() * 0, id
SELECT name FROM people WHERE ssn SIMILAR TO '[a-m]%' ORDER BY id FETCH FIRST 2 ROWS WITH TIES
SELECT name FROM people FOR UPDATE
SELECT name FROM people WHERE vip FOR SHARE SKIP LOCKED
-- Writes that ask, in a transaction that is taken back.
BEGIN ;; UPDATE people SET notes = 'x' WHERE vip ;; ROLLBACK
BEGIN ;; DELETE FROM visits WHERE badge > 'm' ;; ROLLBACK
BEGIN ;; UPDATE scratch SET n = 0 FROM people p WHERE p.id = scratch.id AND p.salary > 200000000 ;; ROLLBACK
BEGIN ;; UPDATE scratch SET n = (SELECT salary FROM people WHERE people.id = scratch.id) ;; SELECT n FROM scratch ORDER BY id ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id) SELECT id + 100 FROM people WHERE vip ;; SELECT count(*) FROM scratch ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id, n) VALUES (500, (SELECT salary FROM people WHERE id = 1)) RETURNING n ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = (SELECT salary FROM people WHERE id = 1) RETURNING n ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 0 WHERE (SELECT vip FROM people WHERE id = 1) ;; ROLLBACK
BEGIN ;; UPDATE people SET name = name WHERE id = 1 RETURNING *, ssn AS name ;; ROLLBACK
BEGIN ;; UPDATE people SET ssn = NULL WHERE id = 7 RETURNING ssn ;; ROLLBACK
BEGIN ;; UPDATE people SET ssn = tail WHERE id = 1 RETURNING ssn ;; ROLLBACK
BEGIN ;; WITH d AS (DELETE FROM badges WHERE person_id > 90 RETURNING code) SELECT count(*) FROM d ;; ROLLBACK
BEGIN ;; MERGE INTO scratch s USING people p ON p.salary = s.n WHEN NOT MATCHED THEN DO NOTHING ;; ROLLBACK
BEGIN ;; MERGE INTO scratch s USING depts d ON d.id = s.id WHEN MATCHED THEN UPDATE SET n = (SELECT salary FROM people WHERE people.id = d.id) ;; ROLLBACK
BEGIN ;; CREATE TEMP TABLE t (LIKE people) ;; SELECT count(*) FROM t ;; ROLLBACK
BEGIN ;; CREATE TABLE t AS TABLE people WITH NO DATA ;; ROLLBACK
BEGIN ;; SELECT ssn INTO TEMP t FROM people ;; SELECT * FROM t ;; ROLLBACK
BEGIN ;; CREATE VIEW t AS SELECT name FROM people WHERE vip ;; SELECT name FROM t ;; ROLLBACK
BEGIN ;; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT max(ssn) FROM people' ;; SELECT f() ;; ROLLBACK
BEGIN ;; ALTER TABLE people RENAME ssn TO other ;; SELECT other FROM people ;; ROLLBACK
BEGIN ;; ALTER TABLE people ADD COLUMN more text GENERATED ALWAYS AS (ssn || 'x') STORED ;; SELECT more FROM people ;; ROLLBACK
BEGIN ;; SET LOCAL search_path = pg_catalog, public ;; SELECT ssn FROM people ORDER BY id ;; ROLLBACK
BEGIN ;; DO $$ BEGIN PERFORM set_config('my.x', (SELECT ssn FROM people WHERE id = 1), true); END $$ ;; SHOW my.x ;; ROLLBACK
16: SELECT any_value(ssn), JSON_ARRAYAGG(ssn ORDER BY id) FROM people
16: SELECT JSON_OBJECT('s': ssn), pg_input_is_valid(ssn, 'uuid') FROM people ORDER BY id
17: SELECT jt.* FROM people p, JSON_TABLE(p.doc, '$' COLUMNS (k text PATH '$.key', a integer PATH '$.amount')) AS jt ORDER BY p.id
17: BEGIN ;; MERGE INTO scratch s USING people p ON p.id = s.id WHEN MATCHED THEN UPDATE SET n = 0 RETURNING merge_action(), s.id, p.ssn ;; ROLLBACK
18: SELECT * FROM virtuals ORDER BY id
18: SELECT id, shown, double, kept, shout FROM virtuals WHERE title LIKE '%3' ORDER BY id
18: SELECT id, harmless FROM virtual_view ORDER BY id
18: SELECT id FROM virtuals WHERE double > 500000000 ORDER BY id
18: BEGIN ;; UPDATE virtuals SET title = 'x' WHERE id = 1 RETURNING old.shown, new.shown, old.title ;; ROLLBACK
18: BEGIN ;; UPDATE virtuals SET ssn = 'x' WHERE id = 1 RETURNING old.*, new.* ;; ROLLBACK
18: SELECT * FROM bookings ORDER BY room
18: BEGIN ;; INSERT INTO bookings VALUES ('[1,2)', '[2024-01-02,2024-01-03)', 'x') ;; ROLLBACK
18: SELECT room, during, guest || '' FROM bookings ORDER BY room
-- What computing a column that nobody uses could tell: the server leaves most of them out, not all.
SELECT id, name FROM halves ORDER BY id
SELECT count(*) FROM halves
SELECT id, half FROM halves ORDER BY id
SELECT h FROM halves h ORDER BY id
SELECT count(h) FROM halves h
SELECT id FROM halves ORDER BY id FOR UPDATE
SELECT id FROM some_halves ORDER BY id FOR SHARE
SELECT id FROM (SELECT id FROM some_halves) AS t ORDER BY id FOR UPDATE
SELECT o.id FROM orders o, some_halves h WHERE h.id = o.id ORDER BY 1 FOR UPDATE OF o
SELECT city FROM (SELECT DISTINCT city, half FROM halves) AS t ORDER BY 1
SELECT id FROM (SELECT DISTINCT ON (id) id, half FROM halves ORDER BY id) AS t
SELECT id FROM (SELECT id, half FROM halves UNION ALL SELECT 0, 0) AS t ORDER BY id
SELECT id FROM (SELECT id, half FROM halves GROUP BY id, half) AS t ORDER BY id
SELECT id FROM (SELECT id, half FROM halves ORDER BY half) AS t
SELECT id FROM (SELECT id, half, random() AS r FROM halves) AS t ORDER BY id
SELECT id FROM (SELECT id, half + random() AS r FROM halves) AS t ORDER BY id
SELECT id FROM (SELECT id, half, generate_series(1, 2) FROM halves) AS t ORDER BY id
SELECT id FROM (SELECT id, generate_series(1, half) FROM halves) AS t ORDER BY id
SELECT id FROM (SELECT id, rank() OVER (ORDER BY half) FROM halves) AS t ORDER BY id
SELECT id FROM (SELECT id, half FROM halves OFFSET 0) AS t ORDER BY id
SELECT t.id FROM orders o LEFT JOIN LATERAL (SELECT id, half FROM halves h WHERE h.id = o.id) AS t ON true ORDER BY 1
SELECT j.id FROM (halves h JOIN orders o USING (id)) AS j ORDER BY 1
WITH t AS (SELECT id, half FROM halves) SELECT id FROM t ORDER BY id
WITH t AS MATERIALIZED (SELECT id, half FROM halves) SELECT id FROM t ORDER BY id
WITH t AS (SELECT id, half FROM halves) SELECT a.id FROM t a JOIN t b USING (id) ORDER BY 1
WITH t AS NOT MATERIALIZED (SELECT id, half FROM halves) SELECT a.id FROM t a JOIN t b USING (id) ORDER BY 1
WITH t AS (SELECT id, half FROM halves), u AS (SELECT id FROM t) SELECT a.id FROM u a, u b WHERE a.id = b.id ORDER BY 1
WITH t AS (SELECT id, half, random() FROM halves) SELECT id FROM t ORDER BY id
WITH t AS (SELECT id, half FROM halves WHERE random() < 2) SELECT id FROM t ORDER BY id
WITH RECURSIVE t AS (SELECT id, half FROM halves) SELECT id FROM t ORDER BY id
BEGIN ;; UPDATE scratch SET n = 1 FROM some_halves h WHERE h.id = scratch.id ;; ROLLBACK
BEGIN ;; UPDATE scratch SET n = 1 FROM (SELECT id FROM some_halves) AS h WHERE h.id = scratch.id ;; ROLLBACK
BEGIN ;; DELETE FROM scratch USING some_halves h WHERE h.id = scratch.id ;; ROLLBACK
BEGIN ;; MERGE INTO scratch s USING some_halves h ON h.id = s.id WHEN MATCHED THEN DELETE ;; ROLLBACK
BEGIN ;; WITH t AS (SELECT id FROM some_halves) UPDATE scratch SET n = 1 FROM t WHERE t.id = scratch.id ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id, note) SELECT id + 500, name FROM halves ;; ROLLBACK
BEGIN ;; UPDATE halves SET name = 'x' WHERE id = 1 RETURNING id ;; ROLLBACK
SELECT id, coalesce(ssn, (1 / (id - 3))::text) FROM halves ORDER BY id
BEGIN ;; CREATE MATERIALIZED VIEW m AS SELECT id, half FROM halves WITH NO DATA ;; REFRESH MATERIALIZED VIEW m ;; ROLLBACK
SELECT salary / 3, salary % 7, salary / 2 % 5 FROM people ORDER BY id
