-- Analysts' questions about unlabelled columns, also of tables that have labelled ones. Each must
-- come back as it would without Weir, byte for byte.
SELECT 1
SELECT count(*) FROM people
SELECT id, name, city FROM people
SELECT id, name FROM people ORDER BY joined DESC LIMIT 5
SELECT name, level * 2 AS double_level FROM people WHERE active
SELECT city, count(*) FROM people GROUP BY city ORDER BY city
SELECT city, count(*), avg(rating), min(joined), max(level) FROM people GROUP BY city ORDER BY count(*) DESC, city
SELECT dept_id, string_agg(name, ', ' ORDER BY name) FROM people GROUP BY dept_id ORDER BY dept_id NULLS LAST
SELECT DISTINCT city FROM people ORDER BY 1
SELECT DISTINCT ON (city) city, name, joined FROM people ORDER BY city, joined
SELECT upper(name), length(city), left(city, 2) || '.' FROM people ORDER BY id
SELECT name FROM people WHERE city LIKE 'O%' OR name ~ '^B'
SELECT name FROM people WHERE joined BETWEEN '2021-03-01' AND '2021-12-31' ORDER BY joined
SELECT name FROM people WHERE rating IS NULL
SELECT name, coalesce(rating, 0) AS rating FROM people ORDER BY rating DESC, name
SELECT name, CASE WHEN level > 2 THEN 'senior' WHEN level > 0 THEN 'middle' ELSE 'junior' END FROM people ORDER BY id
SELECT date_trunc('month', joined)::date AS month, count(*) FROM people GROUP BY 1 ORDER BY 1
SELECT extract(year FROM joined) AS year, extract(dow FROM joined) AS dow, count(*) FROM people GROUP BY 1, 2 ORDER BY 1, 2
SELECT age(date '2024-01-01', joined) FROM people ORDER BY id
SELECT to_char(joined, 'YYYY-MM') AS m, sum(level) FROM people GROUP BY m ORDER BY m
SELECT p.name, d.name AS dept FROM people p JOIN depts d ON d.id = p.dept_id ORDER BY p.id
SELECT p.name, d.name AS dept FROM people p LEFT JOIN depts d ON d.id = p.dept_id ORDER BY p.id
SELECT d.name, count(p.id) FROM depts d LEFT JOIN people p ON p.dept_id = d.id GROUP BY d.name ORDER BY 1
SELECT d.name, count(p.id) FILTER (WHERE p.active) AS active FROM depts d LEFT JOIN people p ON p.dept_id = d.id GROUP BY d.name ORDER BY 1
SELECT d.name, d.budget / nullif(count(p.id), 0) AS per_head FROM depts d LEFT JOIN people p ON p.dept_id = d.id GROUP BY d.id ORDER BY d.id
SELECT p.name, b.name AS boss FROM people p JOIN people b ON b.id = p.boss_id ORDER BY p.id
SELECT p.name, (SELECT b.name FROM people b WHERE b.id = p.boss_id) AS boss FROM people p ORDER BY p.id
SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM orders o WHERE o.person_id = p.id AND o.state = 'new') ORDER BY id
SELECT name FROM people p WHERE NOT EXISTS (SELECT 1 FROM people q WHERE q.boss_id = p.id) ORDER BY id
SELECT name FROM people WHERE dept_id IN (SELECT id FROM depts WHERE floor = 1) ORDER BY id
SELECT name FROM people WHERE id = ANY (ARRAY[1, 3, 5]) ORDER BY id
SELECT name FROM people WHERE level >= ALL (SELECT level FROM people) ORDER BY id
SELECT name FROM people WHERE (city, level) IN (('Oslo', 0), ('Rome', 1)) ORDER BY id
SELECT tags[1], array_length(tags, 1), tags || 'x'::text FROM people ORDER BY id
SELECT unnest(tags) AS tag, count(*) FROM people GROUP BY 1 ORDER BY 1
SELECT name FROM people WHERE tags @> ARRAY['t1'] ORDER BY id
SELECT name FROM people WHERE 't1' = ANY (tags) ORDER BY id
SELECT profile ->> 'lang' AS lang, sum((profile ->> 'seats')::integer) FROM people GROUP BY 1 ORDER BY 1
SELECT profile -> 'deep' -> 0, profile #>> '{deep,1}' FROM people ORDER BY id
SELECT name FROM people WHERE profile @> '{"lang": "en"}' ORDER BY id
SELECT key, value FROM people, jsonb_each(profile) WHERE id = 1 ORDER BY key
SELECT x.value FROM people p, jsonb_array_elements(p.profile -> 'deep') AS x ORDER BY p.id, 1
SELECT jsonb_path_query(profile, '$.deep[*]') FROM people ORDER BY id
SELECT jsonb_agg(jsonb_build_object('n', name, 'l', level) ORDER BY id) FROM people
SELECT json_object_agg(name, level ORDER BY id) FROM people
SELECT row_to_json(t) FROM (SELECT id, name FROM people ORDER BY id) AS t
SELECT to_jsonb(t) - 'id' FROM (SELECT id, name, level FROM people ORDER BY id) AS t
SELECT t FROM (SELECT id, name FROM people ORDER BY id) AS t
SELECT (t).name FROM (SELECT id, name FROM people ORDER BY id) AS t
SELECT ROW(id, name) FROM people ORDER BY id
SELECT name, rank() OVER (ORDER BY level DESC, id) FROM people
SELECT name, row_number() OVER (PARTITION BY city ORDER BY id) FROM people ORDER BY id
SELECT name, sum(level) OVER (ORDER BY id) AS running FROM people
SELECT name, lag(name) OVER w, lead(name, 2, '-') OVER w FROM people WINDOW w AS (ORDER BY id)
SELECT city, name, first_value(name) OVER (PARTITION BY city ORDER BY joined) FROM people ORDER BY id
SELECT name, ntile(3) OVER (ORDER BY id), percent_rank() OVER (ORDER BY level), cume_dist() OVER (ORDER BY level) FROM people ORDER BY id
SELECT name, avg(rating) OVER (ORDER BY joined ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM people
SELECT name, count(*) OVER (ORDER BY joined RANGE BETWEEN '90 days' PRECEDING AND CURRENT ROW) FROM people
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY rating), percentile_disc(0.9) WITHIN GROUP (ORDER BY level) FROM people
SELECT mode() WITHIN GROUP (ORDER BY city) FROM people
SELECT corr(level, rating), stddev_samp(rating), var_pop(level) FROM people
SELECT city, level, count(*) FROM people GROUP BY ROLLUP (city, level) ORDER BY city NULLS LAST, level NULLS LAST
SELECT city, active, count(*) FROM people GROUP BY CUBE (city, active) ORDER BY 1 NULLS LAST, 2 NULLS LAST
SELECT city, level, grouping(city, level), count(*) FROM people GROUP BY GROUPING SETS ((city), (level), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST
SELECT city FROM people GROUP BY city HAVING count(*) > 4 ORDER BY city
SELECT bool_and(active), bool_or(active), every(level >= 0) FROM people
SELECT array_agg(name ORDER BY joined), array_agg(DISTINCT city ORDER BY city) FROM people
SELECT count(DISTINCT city), count(DISTINCT (city, level)) FROM people
SELECT name FROM people UNION SELECT name FROM depts ORDER BY 1
SELECT id FROM people INTERSECT SELECT person_id FROM orders ORDER BY 1
SELECT id FROM people EXCEPT SELECT boss_id FROM people ORDER BY 1
SELECT 'p' AS kind, name FROM people UNION ALL SELECT 'd', name FROM depts ORDER BY 1, 2
SELECT city, n FROM (SELECT city, count(*) AS n FROM people GROUP BY city) AS t WHERE n > 1 ORDER BY city
WITH t AS (SELECT city, count(*) AS n FROM people GROUP BY city) SELECT t.city, t.n, sum(t.n) OVER () FROM t ORDER BY 1
WITH a AS (SELECT id, name FROM people), b AS (SELECT person_id, sum(price * quantity) AS spent FROM orders GROUP BY 1) SELECT a.name, b.spent FROM a JOIN b ON b.person_id = a.id ORDER BY b.spent DESC, a.id
WITH a AS MATERIALIZED (SELECT * FROM orders WHERE state = 'paid') SELECT count(*), sum(price) FROM a
WITH RECURSIVE t (id, name, depth) AS (SELECT id, name, 0 FROM people WHERE boss_id IS NULL UNION ALL SELECT p.id, p.name, t.depth + 1 FROM people p JOIN t ON p.boss_id = t.id) SELECT depth, count(*) FROM t GROUP BY depth ORDER BY depth
WITH RECURSIVE t (id, path) AS (SELECT id, ARRAY[id] FROM people WHERE boss_id IS NULL UNION ALL SELECT p.id, t.path || p.id FROM people p JOIN t ON p.boss_id = t.id) SELECT * FROM t ORDER BY path
WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT sum(n) FROM t
WITH RECURSIVE t (id, boss) AS (SELECT id, boss_id FROM people WHERE id < 4 UNION ALL SELECT p.id, p.boss_id FROM people p JOIN t ON p.boss_id = t.id) SEARCH BREADTH FIRST BY id SET o SELECT id FROM t ORDER BY o
SELECT item, sum(quantity), sum(price * quantity) FROM orders GROUP BY item ORDER BY item
SELECT state, count(*), round(avg(price), 2), min(placed), max(placed) FROM orders GROUP BY state ORDER BY state
SELECT date_trunc('week', placed) AS week, sum(price) FROM orders GROUP BY 1 ORDER BY 1
SELECT placed::date AS day, count(*) FROM orders GROUP BY day ORDER BY day LIMIT 20
SELECT p.city, o.state, sum(o.price) FROM orders o JOIN people p ON p.id = o.person_id GROUP BY p.city, o.state ORDER BY 1, 2
SELECT p.name, sum(o.price) AS total FROM people p JOIN orders o ON o.person_id = p.id GROUP BY p.id ORDER BY total DESC, p.id LIMIT 3
SELECT d.name, p.city, count(o.id), sum(o.price) FROM depts d JOIN people p ON p.dept_id = d.id LEFT JOIN orders o ON o.person_id = p.id GROUP BY 1, 2 ORDER BY 1, 2
SELECT p.name, l.item, l.price FROM people p CROSS JOIN LATERAL (SELECT item, price FROM orders o WHERE o.person_id = p.id ORDER BY price DESC LIMIT 2) AS l ORDER BY p.id, l.price
SELECT o.id FROM orders o FULL JOIN people p ON p.id = o.person_id AND o.quantity > 3 ORDER BY 1 NULLS FIRST
SELECT a.id, b.id FROM orders a JOIN orders b ON a.person_id = b.person_id AND a.id < b.id WHERE a.item = b.item ORDER BY 1, 2
SELECT id, name, level FROM staff WHERE active ORDER BY id
SELECT city, avg(level) FROM staff GROUP BY city ORDER BY city
SELECT * FROM staff ORDER BY id
TABLE staff
SELECT s FROM staff s ORDER BY id
SELECT to_jsonb(s) FROM staff s ORDER BY id
SELECT * FROM dept_stats ORDER BY dept
SELECT dept FROM dept_stats WHERE heads > 2 ORDER BY 1
SELECT * FROM city_counts ORDER BY city
SELECT c.city, c.n, s.name FROM city_counts c JOIN staff s USING (city) ORDER BY s.id
SELECT id, name, city FROM staff_codes ORDER BY id
SELECT city, count(*) FROM staff_codes GROUP BY city ORDER BY 1
SELECT b FROM staff_codes_again ORDER BY b
SELECT id, city FROM people_copy ORDER BY id
SELECT id, name, notes FROM active_people ORDER BY id
SELECT id, at, kind, amount FROM events WHERE kind = 'in' ORDER BY id
SELECT kind, date_trunc('month', at)::date AS m, sum(amount) FROM events GROUP BY 1, 2 ORDER BY 1, 2
SELECT count(*) FROM events_2024
SELECT kind, sum(amount) FROM events_2025 GROUP BY kind ORDER BY kind
SELECT id, amount FROM events WHERE at >= '2025-01-01' ORDER BY amount DESC LIMIT 3
SELECT tableoid::regclass, count(*) FROM events GROUP BY 1 ORDER BY 1
SELECT e.kind, p.city, sum(e.amount) FROM events e JOIN people p ON p.id = e.person_id GROUP BY 1, 2 ORDER BY 1, 2
SELECT label, price FROM assets ORDER BY id, price
SELECT label, price FROM ONLY assets ORDER BY id
SELECT label, wheels, price FROM vehicles ORDER BY id
SELECT tableoid::regclass, avg(price) FROM assets GROUP BY 1 ORDER BY 1
SELECT wheels, max(price) FROM vehicles GROUP BY wheels ORDER BY wheels
SELECT color, count(*) FROM badges GROUP BY color ORDER BY color
SELECT b.color, p.name FROM badges b JOIN people p ON p.id = b.person_id ORDER BY p.id
SELECT id, at, minutes FROM visits ORDER BY minutes DESC, id
SELECT at::date, sum(minutes), count(*) FROM visits GROUP BY 1 ORDER BY 1
SELECT width_bucket(minutes, 0, 50, 5) AS bucket, count(*) FROM visits GROUP BY 1 ORDER BY 1
SELECT id, minutes, minutes - lag(minutes) OVER (ORDER BY at) AS delta FROM visits ORDER BY id
SELECT * FROM orders ORDER BY id
TABLE depts
SELECT d.* FROM depts d ORDER BY id
SELECT * FROM orders o JOIN depts d ON d.id = o.quantity ORDER BY o.id LIMIT 10
SELECT o FROM orders o ORDER BY id LIMIT 3
SELECT json_agg(d ORDER BY d.id) FROM depts d
SELECT array_agg(d ORDER BY d.id) FROM depts d
SELECT row_to_json(o) FROM orders o WHERE id < 4 ORDER BY id
SELECT xmlagg(xmlelement(name d, name) ORDER BY id) FROM depts
SELECT generate_series(1, 5) AS n
SELECT d::date FROM generate_series('2024-01-01'::timestamp, '2024-01-05', '1 day') AS d
SELECT g, count(o.id) FROM generate_series(1, 4) AS g LEFT JOIN orders o ON o.quantity = g GROUP BY g ORDER BY g
SELECT x, y FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY['a', 'b'])) AS t (x, y)
SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS v (n, word) ORDER BY n
VALUES (1, 'a'), (2, 'b')
SELECT v.word, count(*) FROM people p JOIN (VALUES (0, 'low'), (1, 'mid'), (2, 'high')) AS v (n, word) ON v.n = p.level GROUP BY 1 ORDER BY 1
SELECT a, b FROM unnest(ARRAY[1, 2], ARRAY['x', 'y']) AS t (a, b)
SELECT ordinality, tag FROM people, unnest(tags) WITH ORDINALITY AS u (tag, ordinality) WHERE id = 3 ORDER BY 1
SELECT 10 / 3, 10 % 3, 2 ^ 10, sqrt(16), round(2.345, 2), abs(-5), 'a' || 'b', 1 = 1
SELECT greatest(1, 2, 3), least('b', 'a'), nullif(1, 1), coalesce(NULL, 'x')
SELECT date '2024-02-28' + 2, interval '1 day' * 3, make_date(2024, 5, 6), date '2024-03-01' - date '2024-02-01'
SELECT 'abc' LIKE 'a%', 'abc' SIMILAR TO '(a|b)%', regexp_replace('abc', 'b', 'x'), position('b' IN 'abc'), trim('  x ')
SELECT md5('x'), encode('abc', 'hex'), to_hex(255), chr(65), ascii('A'), lpad('7', 3, '0')
SELECT format('%s is %L', 'x', 'y'), split_part('a-b-c', '-', 2), string_to_array('a,b', ','), initcap('hello world')
SELECT ARRAY[1, 2] || 3, array_position(ARRAY['a', 'b'], 'b'), cardinality(ARRAY[1, 2, 3]), ARRAY[[1, 2], [3, 4]]
SELECT int4range(1, 5) @> 3, daterange('2024-01-01', '2024-02-01') && daterange('2024-01-15', '2024-03-01')
SELECT to_tsvector('simple', 'some plain words') @@ to_tsquery('simple', 'plain')
SELECT point(1, 2) <-> point(4, 6), box '((0,0),(1,1))', inet '10.0.0.1/8', macaddr '08:00:2b:01:02:03'
SELECT B'101', X'1F', E'a\tb', $$dollar$$, U&'\0061'
SELECT 'x'::text, 1::bigint, '1.5'::numeric, 't'::boolean, '2024-01-01'::date, '{1,2}'::int[], '{"a": 1}'::jsonb, '12:30'::time
SELECT current_schema(), current_database() IS NOT NULL, pg_typeof(1), version() LIKE 'PostgreSQL%'
SHOW server_version
SHOW search_path
SHOW TimeZone
SELECT name, setting FROM pg_settings WHERE name = 'work_mem'
SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0 ORDER BY attnum
SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass ORDER BY 1
SELECT indexrelid::regclass, indisunique FROM pg_index WHERE indrelid = 'orders'::regclass ORDER BY 1
SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1
SELECT typname, typtype FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1
SELECT proname, prokind FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relname IN ('people', 'orders') AND a.attnum > 0 ORDER BY 1, a.attnum
SELECT obj_description('orders'::regclass), col_description('orders'::regclass, 1)
SELECT has_table_privilege('orders', 'SELECT'), pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'orders'
EXPLAIN (COSTS OFF) SELECT name FROM people WHERE city = 'Oslo'
EXPLAIN SELECT o.id FROM orders o JOIN people p ON p.id = o.person_id
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT city, count(*) FROM people GROUP BY city
EXPLAIN (FORMAT JSON, COSTS OFF) SELECT * FROM orders WHERE state = 'new'
COPY (SELECT id, name, city FROM people ORDER BY id) TO STDOUT
COPY (SELECT id, name FROM people ORDER BY id) TO STDOUT (FORMAT csv, HEADER)
COPY (SELECT id, level FROM people ORDER BY id) TO STDOUT (FORMAT binary)
COPY orders TO STDOUT
COPY depts TO STDOUT WITH CSV HEADER
COPY people (id, name, city) TO STDOUT
COPY people (id, name) TO STDOUT (FORMAT csv, DELIMITER ';')
BEGIN ;; SELECT count(*) FROM people ;; COMMIT
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY ;; SELECT sum(price) FROM orders ;; SELECT avg(level) FROM people ;; ROLLBACK
BEGIN ;; DECLARE c CURSOR FOR SELECT id, name FROM people ORDER BY id ;; FETCH 3 FROM c ;; FETCH 2 FROM c ;; MOVE 1 IN c ;; FETCH ALL FROM c ;; CLOSE c ;; COMMIT
BEGIN ;; DECLARE c SCROLL CURSOR FOR SELECT item, price FROM orders ORDER BY id ;; FETCH LAST FROM c ;; FETCH PRIOR FROM c ;; FETCH ABSOLUTE 5 FROM c ;; ROLLBACK
PREPARE q AS SELECT name FROM people WHERE level = 2 ORDER BY id ;; EXECUTE q ;; EXECUTE q ;; DEALLOCATE q
PREPARE q (integer, text) AS SELECT id, name FROM people WHERE level > $1 AND city = $2 ORDER BY id ;; EXECUTE q (0, 'Oslo') ;; EXECUTE q (1, 'Rome') ;; DEALLOCATE q
BEGIN ;; INSERT INTO scratch (id, note, n) VALUES (100, 'new', 1) RETURNING id, note ;; UPDATE scratch SET n = n + 1 WHERE id = 100 RETURNING n ;; DELETE FROM scratch WHERE id = 100 RETURNING * ;; ROLLBACK
BEGIN ;; INSERT INTO scratch SELECT id + 200, name || id, level, joined FROM people ;; SELECT count(*), max(note) FROM scratch ;; ROLLBACK
BEGIN ;; UPDATE people SET notes = 'seen' WHERE city = 'Oslo' RETURNING id, name, notes ;; SELECT count(*) FROM people WHERE notes = 'seen' ;; ROLLBACK
BEGIN ;; UPDATE scratch SET note = p.name || p.id FROM people p WHERE p.id = scratch.id RETURNING scratch.id, scratch.note, p.city ;; ROLLBACK
BEGIN ;; INSERT INTO scratch (id, n) VALUES (1, 9), (300, 9) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING id, n ;; ROLLBACK
BEGIN ;; MERGE INTO scratch s USING orders o ON o.id = s.id WHEN MATCHED THEN UPDATE SET n = o.quantity WHEN NOT MATCHED THEN INSERT (id, n) VALUES (o.id, o.quantity) ;; SELECT count(*), sum(n) FROM scratch ;; ROLLBACK
BEGIN ;; WITH d AS (DELETE FROM scratch WHERE n > 10 RETURNING id, n) SELECT count(*), sum(n) FROM d ;; ROLLBACK
BEGIN ;; WITH u AS (UPDATE people SET level = level + 1 WHERE city = 'Rome' RETURNING id, level) SELECT * FROM u ORDER BY id ;; ROLLBACK
BEGIN ;; SAVEPOINT s ;; INSERT INTO scratch (id) VALUES (900) ;; ROLLBACK TO s ;; SELECT count(*) FROM scratch ;; COMMIT
BEGIN ;; CREATE TEMP TABLE totals AS SELECT person_id, sum(price) AS total FROM orders GROUP BY 1 ;; ROLLBACK
SET work_mem = '8MB' ;; SHOW work_mem ;; RESET work_mem
SET TimeZone = 'UTC' ;; SELECT timestamptz '2024-01-01 12:00+02' ;; RESET TimeZone
SET DateStyle = 'German' ;; SELECT joined FROM people WHERE id = 1 ;; RESET DateStyle
SELECT name FROM people ORDER BY name COLLATE "C" DESC
SELECT name, city FROM people FETCH FIRST 3 ROWS ONLY
SELECT id FROM people ORDER BY level FETCH FIRST 3 ROWS WITH TIES
SELECT id, name FROM people TABLESAMPLE BERNOULLI (100) ORDER BY id
SELECT id FROM people WHERE joined > (SELECT avg(joined - date '2021-01-01') FROM people) * interval '1 day' + date '2021-01-01' ORDER BY id
SELECT p.id, p.name, ranked.r FROM people p JOIN (SELECT id, rank() OVER (PARTITION BY city ORDER BY joined) AS r FROM people) AS ranked USING (id) WHERE ranked.r = 1 ORDER BY id
SELECT id FROM people p WHERE level = (SELECT max(level) FROM people q WHERE q.city = p.city) ORDER BY id
SELECT count(*) FROM people a, people b WHERE a.city = b.city AND a.id < b.id
SELECT a.name, b.name FROM people a JOIN people b USING (city) WHERE a.id < b.id ORDER BY a.id, b.id
SELECT city, id FROM people a NATURAL JOIN (SELECT city, n FROM city_counts) AS c ORDER BY id
SELECT x.city, x.names[1:2] FROM (SELECT city, array_agg(name ORDER BY id) AS names FROM people GROUP BY city) AS x ORDER BY 1
SELECT sum(CASE WHEN active THEN 1 ELSE 0 END) AS active, sum((NOT active)::integer) AS rest FROM people
SELECT city, sum(level) FILTER (WHERE active), avg(level) FILTER (WHERE NOT active) FROM people GROUP BY city ORDER BY city
SELECT ctid IS NOT NULL, xmin IS NOT NULL, tableoid::regclass FROM people ORDER BY id LIMIT 2
SELECT id FROM people WHERE notes IS DISTINCT FROM 'note 1' ORDER BY id
SELECT id, notes FROM people WHERE notes ILIKE '%1%' ORDER BY id
SELECT count(notes), count(*) - count(notes) AS missing FROM people
SELECT name AS ssn FROM people ORDER BY id
SELECT t.ssn FROM (SELECT id, name AS ssn FROM people) AS t ORDER BY t.id
SELECT p.b FROM people AS p (a, b) ORDER BY p.a
WITH people AS (SELECT id, name AS ssn FROM depts) SELECT ssn FROM people ORDER BY id
WITH t AS (SELECT p.id, p.name, p.ssn FROM people p) SELECT id, name FROM t ORDER BY id
SELECT id, name FROM (SELECT * FROM people) AS t ORDER BY id
SELECT (p).name, (p).city FROM people p ORDER BY (p).id
SELECT (q.p).name FROM (SELECT p FROM staff p) AS q ORDER BY (q.p).id
SELECT max(name), min(city) FROM (SELECT name, city FROM people) AS t
SELECT t.name FROM (SELECT name, row_number() OVER (ORDER BY id) AS n FROM people) AS t WHERE n = 3
SELECT n, count(*) FROM (SELECT count(*) AS n FROM orders GROUP BY person_id) AS t GROUP BY n ORDER BY n
SELECT o.id, o.price - avg(o.price) OVER (PARTITION BY o.state) AS off FROM orders o ORDER BY o.id LIMIT 20
SELECT state, price, dense_rank() OVER (PARTITION BY state ORDER BY price DESC) AS r FROM orders ORDER BY state, r, id LIMIT 25
SELECT * FROM (SELECT state, price, rank() OVER (PARTITION BY state ORDER BY price DESC) AS r FROM orders) AS t WHERE r <= 2 ORDER BY 1, 3
SELECT placed::date, sum(price) OVER (ORDER BY placed::date) FROM orders ORDER BY id LIMIT 15
SELECT to_char(placed, 'Day'), count(*) FROM orders GROUP BY 1 ORDER BY 2 DESC, 1
SELECT date_part('hour', placed) AS hour, sum(quantity) FROM orders GROUP BY hour ORDER BY hour
SELECT state, array_agg(item ORDER BY id) FILTER (WHERE quantity > 3) FROM orders GROUP BY state ORDER BY state
SELECT item, jsonb_object_agg(id, state ORDER BY id) FROM orders WHERE id < 20 GROUP BY item ORDER BY item
SELECT item, count(*) AS n FROM orders GROUP BY item HAVING sum(price) > 100 ORDER BY n DESC, item
SELECT sum(price * quantity) AS revenue, count(DISTINCT person_id) AS buyers FROM orders WHERE state <> 'new'
SELECT p.city, sum(o.price * o.quantity) AS revenue FROM people p JOIN orders o ON o.person_id = p.id GROUP BY p.city HAVING count(*) > 1 ORDER BY revenue DESC
SELECT p.name, count(*) FROM people p JOIN orders o ON o.person_id = p.id GROUP BY p.id, p.name ORDER BY 2 DESC, 1
SELECT p.name, max(o.placed) AS latest FROM people p LEFT JOIN orders o ON o.person_id = p.id GROUP BY p.id ORDER BY latest DESC NULLS LAST, p.id
SELECT p.id, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id AND o.state = 'sent' WHERE p.active ORDER BY 1, 2
SELECT p.name FROM people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.id IS NULL ORDER BY p.id
SELECT p.name, x.n FROM people p, LATERAL (SELECT count(*) AS n FROM orders o WHERE o.person_id = p.id) AS x ORDER BY p.id
SELECT d.name, x.names FROM depts d, LATERAL (SELECT array_agg(p.name ORDER BY p.id) AS names FROM people p WHERE p.dept_id = d.id) AS x ORDER BY d.id
SELECT d.name, ARRAY(SELECT p.name FROM people p WHERE p.dept_id = d.id ORDER BY p.id) FROM depts d ORDER BY d.id
SELECT d.name, b.name, count(*) FROM people p JOIN people b ON b.id = p.boss_id JOIN depts d ON d.id = b.dept_id GROUP BY 1, 2 ORDER BY 1, 2
SELECT e.person_id, e.kind, lead(e.kind) OVER (PARTITION BY e.person_id ORDER BY e.at) FROM events e ORDER BY e.id LIMIT 20
SELECT date_trunc('quarter', at)::date AS q, kind, count(*), sum(amount) FROM events GROUP BY q, kind ORDER BY q, kind
SELECT kind, sum(amount), round(100 * sum(amount) / sum(sum(amount)) OVER (), 1) AS share FROM events GROUP BY kind ORDER BY kind
SELECT p.name, e.kind, e.at FROM people p JOIN events e ON e.person_id = p.id WHERE e.at < '2024-05-01' ORDER BY e.id
SELECT DISTINCT ON (person_id) person_id, kind, at FROM events ORDER BY person_id, at DESC
SELECT g.d::date, count(e.id) FROM generate_series('2024-03-01'::timestamp, '2024-04-01', '7 days') AS g (d) LEFT JOIN events e ON e.at BETWEEN g.d::date AND g.d::date + 6 GROUP BY 1 ORDER BY 1
SELECT color, array_agg(person_id ORDER BY person_id) FROM badges GROUP BY color ORDER BY color
SELECT p.name, b.color FROM people p LEFT JOIN badges b ON b.person_id = p.id ORDER BY p.id
SELECT date_part('hour', at) AS h, avg(minutes) FROM visits GROUP BY h ORDER BY h
SELECT id, minutes, sum(minutes) OVER (ORDER BY id) FROM visits WHERE minutes > 10 ORDER BY id
SELECT a.label, a.price, v.wheels FROM assets a LEFT JOIN vehicles v USING (id) ORDER BY a.id, a.price
SELECT label || ' (' || price || ')' FROM vehicles ORDER BY id
SELECT count(*), sum(price), min(wheels) FROM vehicles WHERE label LIKE 'vehicle 1%'
SELECT s.name, d.dept FROM staff s CROSS JOIN dept_stats d WHERE s.level = d.heads ORDER BY 1, 2
SELECT * FROM staff s JOIN city_counts c USING (city) ORDER BY s.id
SELECT city, string_agg(name, '|' ORDER BY id) FROM staff GROUP BY city HAVING bool_or(active) ORDER BY city
SELECT id, name FROM staff_codes WHERE city = 'Oslo' ORDER BY id
SELECT s.id, p.notes FROM staff_codes s JOIN people p USING (id) WHERE p.level = 1 ORDER BY 1
SELECT count(*) FROM active_people WHERE notes IS NOT NULL
SELECT id, name FROM active_people ORDER BY name DESC
SELECT city, count(*) FROM people_copy GROUP BY city ORDER BY city
SELECT name, profile FROM people ORDER BY id
SELECT name, profile || '{"a": 1}' , profile - 'lang' FROM people ORDER BY id
SELECT k, count(*) FROM people, jsonb_object_keys(profile) AS k GROUP BY k ORDER BY k
SELECT name, tags, tags[2], 'u1' = ANY (tags) FROM people ORDER BY id
SELECT tag, array_agg(name ORDER BY id) FROM people, unnest(tags) AS tag GROUP BY tag ORDER BY tag
SELECT id, array_to_string(tags, ','), array_remove(tags, 't1') FROM people ORDER BY id
SELECT name, rating::integer, rating::text, round(rating), floor(rating), rating * 1.1 FROM people ORDER BY id
SELECT name, joined + 30, joined - date '2021-01-01', joined + interval '1 month' FROM people ORDER BY id
SELECT name, current_date - joined > 0, joined > now() FROM people ORDER BY id
SELECT replace(name, 'a', 'o'), reverse(name), substr(name, 1, 2), repeat(name, 2), overlay(name PLACING 'x' FROM 1) FROM people ORDER BY id
SELECT concat_ws('-', id, name, city), format('%s (%s)', name, level) FROM people ORDER BY id
SELECT name::varchar(2), level::bigint, active::text, city::name FROM people ORDER BY id
SELECT level / 2, level % 2, level::numeric / 3, -level, level ^ 2, 7 / (level + 1) FROM people ORDER BY id
SELECT ln(id), power(level, 2), sqrt(id::numeric), sign(level - 1) FROM people ORDER BY id
SELECT budget, budget * 2, budget / floor, coalesce(budget, 0)::integer FROM depts ORDER BY id
SELECT id IN (1, 2), name BETWEEN 'A' AND 'G', city = 'Oslo' AND active, NOT active FROM people ORDER BY id
SELECT ROW(id, name) = ROW(1, 'Ada'), (id, level) < (5, 1) FROM people ORDER BY id
SELECT name FROM people WHERE name > 'C' AND (level = 1 OR city <> 'Bern') AND joined IS NOT NULL ORDER BY name
SELECT name FROM people WHERE length(name) = 2 AND upper(city) = 'OSLO' ORDER BY id
SELECT name FROM people ORDER BY length(name) DESC, name LIMIT 4 OFFSET 2
SELECT name FROM people ORDER BY level DESC NULLS LAST, rating NULLS FIRST, id
SELECT city AS c, level AS l, count(*) FROM people GROUP BY c, l ORDER BY c, l
SELECT (SELECT count(*) FROM people) AS people, (SELECT count(*) FROM orders) AS orders, (SELECT max(budget) FROM depts) AS budget
SELECT EXISTS (SELECT FROM people WHERE city = 'Paris'), NOT EXISTS (SELECT FROM orders WHERE quantity > 100)
SELECT name, level FROM people WHERE level > (SELECT avg(level) FROM people) ORDER BY id
SELECT name FROM people p WHERE (SELECT count(*) FROM orders o WHERE o.person_id = p.id) > 8 ORDER BY id
SELECT name FROM people WHERE id NOT IN (SELECT person_id FROM orders WHERE state = 'new') ORDER BY id
WITH spent AS (SELECT person_id, sum(price) AS s FROM orders GROUP BY 1), ranked AS (SELECT *, rank() OVER (ORDER BY s DESC) AS r FROM spent) SELECT p.name, r.s FROM ranked r JOIN people p ON p.id = r.person_id WHERE r.r < 4 ORDER BY r.r, p.id
WITH RECURSIVE up (id, boss_id, depth) AS (SELECT id, boss_id, 1 FROM people WHERE id = 14 UNION ALL SELECT p.id, p.boss_id, up.depth + 1 FROM people p JOIN up ON p.id = up.boss_id) SELECT id, depth FROM up
WITH RECURSIVE t (d) AS (SELECT date '2024-01-01' UNION ALL SELECT d + 1 FROM t WHERE d < '2024-01-10') SELECT t.d, count(o.id) FROM t LEFT JOIN orders o ON o.placed::date = t.d GROUP BY t.d ORDER BY t.d
SELECT a.n, b.n FROM (SELECT count(*) AS n FROM people) AS a, (SELECT count(*) AS n FROM depts) AS b
SELECT * FROM (SELECT id, name FROM depts UNION ALL SELECT id, name FROM people) AS t ORDER BY 1, 2
SELECT name FROM people WHERE id < 3 UNION ALL SELECT item FROM orders WHERE id < 3 ORDER BY 1
SELECT city FROM people EXCEPT ALL SELECT 'Oslo' ORDER BY 1
SELECT 'total', count(*)::text FROM people UNION ALL SELECT city, count(*)::text FROM people GROUP BY city ORDER BY 1
PREPARE a AS SELECT 11, name FROM depts ORDER BY id ;; EXECUTE a ;; DEALLOCATE a
PREPARE a (text) AS SELECT $1, count(*) FROM people WHERE city = $1 ;; EXECUTE a ('Rome') ;; DEALLOCATE a
BEGIN ;; DECLARE k CURSOR WITH HOLD FOR SELECT name, city FROM people ORDER BY id ;; COMMIT ;; FETCH 5 FROM k ;; FETCH ALL FROM k ;; CLOSE k
BEGIN ;; UPDATE orders SET state = 'paid' WHERE state = 'new' AND id < 10 RETURNING id, state ;; ROLLBACK
BEGIN ;; INSERT INTO orders SELECT id + 1000, person_id, item, quantity, price, 'new', placed FROM orders WHERE id < 4 RETURNING * ;; ROLLBACK
BEGIN ;; DELETE FROM scratch WHERE id IN (SELECT level FROM people) RETURNING * ;; ROLLBACK
BEGIN ;; CREATE TEMP TABLE t AS SELECT id, name, city FROM people ;; SELECT city, count(*) FROM t GROUP BY city ORDER BY 1 ;; ROLLBACK
BEGIN ;; CREATE TEMP VIEW t AS SELECT city, count(*) AS n FROM people GROUP BY city ;; SELECT * FROM t ORDER BY 1 ;; ROLLBACK
BEGIN ;; CREATE INDEX ON orders (state) ;; EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 1 ;; ROLLBACK
16: SELECT any_value(city) IS NOT NULL FROM people
16: SELECT JSON_OBJECT('n': name, 'l': level) FROM people ORDER BY id
17: SELECT jt.* FROM people p, JSON_TABLE(p.profile, '$.deep[*]' COLUMNS (n integer PATH '$')) AS jt ORDER BY p.id, 1
