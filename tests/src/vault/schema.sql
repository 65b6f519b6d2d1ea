-- The vault: every way in which a schema can hold a labelled value, next to plain columns that
-- anybody may compute with. {V} is the only thing in which two vaults differ, and only labelled
-- columns depend on it: their nulls are in the same places, and their values have the same lengths.
SET ROLE weir;
CREATE SCHEMA vault;

-- Letters only, so that no part of a secret is part of an ordinary number or word.
CREATE FUNCTION vault.word(what text, n integer, len integer) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT left(translate(md5('{V}' || what || n), '0123456789abcdef', 'qzjxkvwyhgpfbmuc'), len) $$;
-- Nine digits.
CREATE FUNCTION vault.number(what text, n integer) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT 112000000 + (('x' || left(md5('{V}' || what || n), 7))::bit(28)::integer % 787000000) $$;

CREATE TYPE public.address AS (street text, zip integer);
CREATE DOMAIN public.grade AS integer CHECK (VALUE > 100);

CREATE TABLE public.depts (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    floor integer NOT NULL,
    budget numeric(12, 2)
);
INSERT INTO public.depts VALUES
    (1, 'Sales', 1, 120345.50), (2, 'Research', 2, 98721.25), (3, 'Support', 1, NULL),
    (4, 'Legal', 3, 45000.25);

CREATE TABLE public.people (
    id integer PRIMARY KEY,
    name text NOT NULL,
    dept_id integer REFERENCES public.depts,
    boss_id integer REFERENCES public.people,
    city text NOT NULL,
    joined date NOT NULL,
    level integer NOT NULL,
    rating numeric(4, 2),
    active boolean NOT NULL,
    notes text,
    tags text[] NOT NULL,
    profile jsonb NOT NULL,
    -- From here on labelled.
    ssn text UNIQUE,
    salary integer CONSTRAINT salary_is_positive CHECK (salary > 0),
    pay numeric(13, 4),
    born date,
    vip boolean,
    doc jsonb,
    codes text[],
    home public.address,
    blob bytea,
    ref uuid,
    score public.grade,
    seen timestamptz,
    tail text GENERATED ALWAYS AS (right(ssn, 10)) STORED
);
INSERT INTO public.people
SELECT n,
       (ARRAY['Ada', 'Bo', 'Cy', 'Di', 'Ed', 'Flo', 'Gus', 'Hal', 'Ida', 'Jo', 'Kay', 'Lee', 'Mo', 'Nan'])[n],
       CASE WHEN n = 9 THEN NULL ELSE 1 + n % 4 END,
       CASE WHEN n > 3 THEN 1 + n % 3 END,
       (ARRAY['Oslo', 'Rome', 'Bern'])[1 + n % 3],
       date '2021-01-10' + n * 37,
       n % 4,
       CASE WHEN n % 5 = 0 THEN NULL ELSE n * 0.35 END,
       n % 3 <> 0,
       CASE WHEN n % 4 = 0 THEN NULL ELSE 'note ' || n END,
       ARRAY['t' || n % 3, 'u' || n % 2],
       jsonb_build_object('lang', (ARRAY['en', 'no', 'it'])[1 + n % 3], 'seats', n, 'deep', jsonb_build_array(n, n + 1)),
       s.word, s.number, s.number / 7.0 + 200000000, date '1100-01-01' + s.number % 250000, s.number % 2 = 0,
       jsonb_build_object('key', s.word, 'amount', s.number),
       ARRAY[s.word, vault.word('codes', s.k, 16)],
       CASE WHEN s.k IS NOT NULL THEN ROW(vault.word('street', s.k, 16), vault.number('zip', s.k))::public.address END,
       convert_to(vault.word('blob', s.k, 16), 'UTF8'),
       md5('{V}ref' || s.k)::uuid,
       vault.number('score', s.k),
       timestamptz '1600-01-01 00:00:00+00' + vault.number('seen', s.k) * interval '1 second'
FROM generate_series(1, 14) AS n
-- Number 7 has no secrets at all.
LEFT JOIN LATERAL (
    SELECT n, vault.word('ssn', n, 16), vault.number('salary', n) WHERE n <> 7
) AS s(k, word, number) ON true;

-- A labelled key, and a column that refers to it.
CREATE TABLE public.badges (
    code text PRIMARY KEY,
    person_id integer NOT NULL REFERENCES public.people,
    color text NOT NULL
);
INSERT INTO public.badges
SELECT vault.word('badge', n, 16), n, (ARRAY['red', 'blue'])[1 + n % 2] FROM generate_series(1, 8) AS n;
CREATE TABLE public.visits (
    id integer PRIMARY KEY,
    badge text NOT NULL REFERENCES public.badges ON UPDATE CASCADE,
    at timestamp NOT NULL,
    minutes integer NOT NULL
);
INSERT INTO public.visits
SELECT n, vault.word('badge', 1 + n % 8, 16), timestamp '2024-05-01 08:00' + n * interval '7 hours', n * 3 % 50
FROM generate_series(1, 30) AS n;

-- Partitions, one of which has its columns in another order.
CREATE TABLE public.events (
    id integer NOT NULL,
    at date NOT NULL,
    person_id integer NOT NULL,
    kind text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    payload text
) PARTITION BY RANGE (at);
CREATE TABLE public.events_2024 PARTITION OF public.events
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE public.events_2025 (
    payload text,
    gone integer,
    kind text NOT NULL,
    id integer NOT NULL,
    at date NOT NULL,
    amount numeric(10, 2) NOT NULL,
    person_id integer NOT NULL
);
ALTER TABLE public.events_2025 DROP COLUMN gone;
ALTER TABLE public.events ATTACH PARTITION public.events_2025
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO public.events
SELECT n, date '2024-03-01' + n * 6, 1 + n % 14, (ARRAY['in', 'out', 'move'])[1 + n % 3], n * 1.25, vault.word('payload', n, 16)
FROM generate_series(1, 80) AS n;

-- Inheritance.
CREATE TABLE public.assets (id integer PRIMARY KEY, label text NOT NULL, price integer NOT NULL, serial text);
CREATE TABLE public.vehicles (wheels integer NOT NULL, plate text) INHERITS (public.assets);
INSERT INTO public.assets
SELECT n, 'asset ' || n, n * 10, vault.word('serial', n, 16) FROM generate_series(1, 6) AS n;
INSERT INTO public.vehicles
SELECT n, 'vehicle ' || n, n * 100, vault.word('serial', n, 16), 2 + n % 3, vault.word('plate', n, 16)
FROM generate_series(10, 15) AS n;

-- Nothing in these is labelled.
CREATE TABLE public.orders (
    id integer PRIMARY KEY,
    person_id integer NOT NULL REFERENCES public.people,
    item text NOT NULL,
    quantity integer NOT NULL,
    price numeric(8, 2) NOT NULL,
    state text NOT NULL,
    placed timestamp NOT NULL
);
INSERT INTO public.orders
SELECT n, 1 + n * 5 % 14, 'item ' || n % 9, 1 + n % 4, n * 1.75, (ARRAY['new', 'paid', 'sent'])[1 + n % 3],
       timestamp '2024-01-01 09:00' + n * interval '29 hours'
FROM generate_series(1, 120) AS n;
CREATE TABLE public.scratch (id integer PRIMARY KEY, note text UNIQUE, n integer, d date);
INSERT INTO public.scratch SELECT n, 'n' || n, n * 2, date '2024-01-01' + n FROM generate_series(1, 10) AS n;
CREATE SEQUENCE public.counter;

CREATE VIEW public.staff AS SELECT id, name, city, level, active FROM public.people;
CREATE VIEW public.staff_codes AS
    SELECT id, name, ssn AS code, salary / 1000 AS k, city FROM public.people;
CREATE VIEW public.staff_codes_again (a, b, c) AS SELECT code, id, upper(code) FROM public.staff_codes;
CREATE VIEW public.dept_stats AS
    SELECT d.name AS dept, count(p.id) AS heads, avg(p.rating) AS rating
    FROM public.depts AS d LEFT JOIN public.people AS p ON p.dept_id = d.id GROUP BY d.name;
CREATE VIEW public.active_people AS SELECT id, name, notes, ssn FROM public.people WHERE active;
CREATE MATERIALIZED VIEW public.people_copy AS SELECT id, ssn AS tax, salary + 1 AS more, city FROM public.people;
CREATE MATERIALIZED VIEW public.city_counts AS SELECT city, count(*) AS n FROM public.people GROUP BY city;
CREATE VIEW public.ruled AS SELECT id, note FROM public.scratch;
CREATE RULE ruled_insert AS ON INSERT TO public.ruled
    DO INSTEAD INSERT INTO public.scratch (id, note) VALUES (NEW.id, NEW.note)
    RETURNING id, (SELECT ssn FROM public.people WHERE people.id = 1);

CREATE FUNCTION public.ssn_of(wanted integer) RETURNS text LANGUAGE sql STABLE
    AS 'SELECT ssn FROM public.people WHERE id = wanted';
CREATE FUNCTION public.everybody() RETURNS SETOF public.people LANGUAGE sql STABLE
    AS 'SELECT * FROM public.people';
CREATE FUNCTION public.ssn_for_all(wanted integer) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS
$$ BEGIN RETURN (SELECT ssn FROM public.people WHERE id = wanted); END $$;
CREATE FUNCTION public.say(wanted integer) RETURNS integer LANGUAGE plpgsql AS
$$ DECLARE v text; BEGIN SELECT ssn INTO v FROM public.people WHERE id = wanted; RAISE NOTICE 'it is %', v; RETURN 1; END $$;
CREATE FUNCTION public.fail(wanted integer) RETURNS integer LANGUAGE plpgsql AS
$$ DECLARE v text; BEGIN SELECT ssn INTO v FROM public.people WHERE id = wanted; RAISE EXCEPTION 'it was %', v; END $$;
CREATE FUNCTION public.tell(wanted integer) RETURNS integer LANGUAGE plpgsql AS
$$ DECLARE v text; BEGIN SELECT ssn INTO v FROM public.people WHERE id = wanted; PERFORM pg_notify('ears', v); RETURN 1; END $$;
CREATE FUNCTION public.opened() RETURNS refcursor LANGUAGE plpgsql AS
$$ DECLARE c refcursor := 'opened'; BEGIN OPEN c FOR SELECT ssn FROM public.people ORDER BY id; RETURN c; END $$;
CREATE PROCEDURE public.give(INOUT v text) LANGUAGE plpgsql AS
$$ BEGIN SELECT ssn INTO v FROM public.people WHERE id = 1; END $$;
CREATE FUNCTION public.planned() RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN (SELECT ssn FROM public.people WHERE id = 2); END $$;
CREATE FUNCTION public.joined(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $2 $$;
CREATE AGGREGATE public.glue(text) (SFUNC = public.joined, STYPE = text, INITCOND = '');
CREATE OPERATOR public.<+> (LEFTARG = text, RIGHTARG = text, FUNCTION = public.joined);
CREATE DOMAIN public.noisy AS text CHECK (public.say(1) = 1);
-- Words of a labelled column, put there by PostgreSQL's own trigger.
CREATE TABLE public.words (id integer PRIMARY KEY, ssn text, found tsvector);
CREATE TRIGGER words_of_ssn BEFORE INSERT OR UPDATE ON public.words
    FOR EACH ROW EXECUTE FUNCTION tsvector_update_trigger(found, 'pg_catalog.simple', ssn);
INSERT INTO public.words SELECT id, ssn FROM public.people WHERE ssn IS NOT NULL;
-- Rows that a view gave, and that stay when the view becomes another.
CREATE VIEW public.plain AS SELECT id AS a, ssn AS b FROM public.people;
CREATE MATERIALIZED VIEW public.plain_copy AS SELECT a, b FROM public.plain;
RESET ROLE;
CREATE EXTENSION pgcrypto;
ANALYZE;
