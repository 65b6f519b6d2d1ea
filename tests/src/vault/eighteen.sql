-- What only PostgreSQL 18 has.
SET ROLE weir;
CREATE TABLE public.virtuals (
    id integer PRIMARY KEY,
    title text NOT NULL,
    ssn text,
    salary integer,
    -- Virtual is the default.
    shown text GENERATED ALWAYS AS ('<' || ssn || '>'),
    double bigint GENERATED ALWAYS AS (salary::bigint * 2) VIRTUAL,
    kept text GENERATED ALWAYS AS (upper(ssn)) STORED,
    shout text GENERATED ALWAYS AS (upper(title)) VIRTUAL
);
INSERT INTO public.virtuals (id, title, ssn, salary)
SELECT n, 'title ' || n, vault.word('ssn', n, 16), vault.number('salary', n) FROM generate_series(1, 6) AS n;
CREATE VIEW public.virtual_view AS SELECT id, shown AS harmless, shout FROM public.virtuals;
-- A key over ranges; integers in such a key would need the extension btree_gist.
CREATE TABLE public.bookings (
    room int4range,
    during daterange,
    guest text,
    CONSTRAINT bookings_key PRIMARY KEY (room, during WITHOUT OVERLAPS)
);
INSERT INTO public.bookings
SELECT int4range(n, n + 1), daterange(date '2024-01-01' + n, date '2024-01-03' + n), vault.word('guest', n, 16) FROM generate_series(1, 6) AS n;
RESET ROLE;
ANALYZE;
