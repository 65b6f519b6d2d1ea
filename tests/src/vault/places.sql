-- Where rows are, who sees them, what the server counts, and what users made of its own functions.
-- These change what is shown of everything else: counts of all relations are hidden beside a partition
-- key that is labelled. {V} as in schema.sql.
SET ROLE weir;
CREATE TABLE public.accounts (
    id integer PRIMARY KEY,
    holder text NOT NULL,
    bonus integer NOT NULL,
    -- From here on labelled.
    iban text,
    flag integer,
    balance integer
);
INSERT INTO public.accounts
SELECT n, 'holder ' || n, n, vault.word('iban', n, 16), vault.number('balance', n) % 2, vault.number('balance', n)
FROM generate_series(1, 8) AS n;
CREATE INDEX accounts_iban ON public.accounts (iban);
CREATE INDEX accounts_sum ON public.accounts ((balance + bonus));
CREATE MATERIALIZED VIEW public.accounts_kept AS SELECT id, iban AS key FROM public.accounts;
CREATE UNIQUE INDEX accounts_kept_key ON public.accounts_kept (key);
CREATE MATERIALIZED VIEW public.flagged_kept AS SELECT id, holder FROM public.accounts WHERE flag = 1;
CREATE VIEW public.flagged AS SELECT id FROM public.accounts WHERE flag = 1;

-- Rows that only some may see.
CREATE TABLE public.tenants (id integer, name text, code text);
INSERT INTO public.tenants SELECT n, 'tenant ' || n, vault.word('tenant', n, 16) FROM generate_series(1, 6) AS n;
CREATE POLICY own ON public.tenants USING (code = current_setting('app.code', true));
CREATE VIEW public.tenant_names WITH (security_invoker = true) AS SELECT id, name FROM public.tenants;
CREATE TABLE public.remarks (id integer, note text);
INSERT INTO public.remarks SELECT n, 'remark ' || n FROM generate_series(1, 8) AS n;
CREATE POLICY of_flagged ON public.remarks
    USING (EXISTS (SELECT 1 FROM public.accounts AS a WHERE a.id = remarks.id AND a.flag = 1));
CREATE TABLE public.memos (LIKE public.remarks);
INSERT INTO public.memos TABLE public.remarks;
CREATE POLICY of_flagged ON public.memos USING (id IN (SELECT f.id FROM public.flagged AS f));
CREATE TABLE public.rooms (LIKE public.remarks);
INSERT INTO public.rooms TABLE public.remarks;
CREATE POLICY of_remarks ON public.rooms USING (EXISTS (SELECT 1 FROM public.remarks AS r WHERE r.id = rooms.id));
CREATE TABLE public.lockers (LIKE public.remarks);
INSERT INTO public.lockers TABLE public.remarks;
CREATE POLICY of_all ON public.lockers USING (id < 5);
ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.remarks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.memos ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.rooms ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.lockers ENABLE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE, DELETE ON public.accounts, public.tenants, public.tenant_names, public.remarks,
    public.memos, public.rooms, public.lockers, public.flagged TO other;

-- Partitions by a labelled column, one of which has a row in one vault only.
CREATE TABLE public.calls (id integer NOT NULL, caller text, note text) PARTITION BY RANGE (caller);
CREATE TABLE public.calls_low PARTITION OF public.calls FOR VALUES FROM (MINVALUE) TO ('k');
CREATE TABLE public.calls_mid PARTITION OF public.calls FOR VALUES FROM ('k') TO ('xpky');
CREATE TABLE public.calls_one PARTITION OF public.calls FOR VALUES FROM ('xpky') TO ('xpkz');
CREATE TABLE public.calls_high PARTITION OF public.calls FOR VALUES FROM ('xpkz') TO (MAXVALUE);
INSERT INTO public.calls SELECT n, vault.word('caller', n, 16), 'call ' || n FROM generate_series(1, 6) AS n;
CREATE INDEX calls_id ON public.calls (id);
CREATE VIEW public.call_places AS SELECT id, tableoid::regclass AS place FROM public.calls;
CREATE TABLE public.letters (id integer, sender text) PARTITION BY LIST (sender);
CREATE TABLE public.letters_rest PARTITION OF public.letters DEFAULT;
INSERT INTO public.letters SELECT n, vault.word('sender', n, 16) FROM generate_series(1, 6) AS n;
CREATE TABLE public.letters_loose (id integer, sender text);

-- What is made of PostgreSQL's own, some of it with names of its own. Nothing that texts are made of or
-- become: all that is done with labelled ones would be refused.
CREATE SCHEMA made;
CREATE OPERATOR made.< (LEFTARG = integer, RIGHTARG = integer, FUNCTION = pg_catalog.int4pl);
CREATE OPERATOR made.~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.textregexeq);
CREATE AGGREGATE made.sum(integer) (SFUNC = pg_catalog.int4pl, STYPE = integer, INITCOND = '1790000000');
CREATE DOMAIN made.low AS pg_catalog.text CHECK (VALUE < 'g');
RESET ROLE;

-- Rows of a file, which is no number where the foreign table says so, and of another server.
CREATE EXTENSION file_fdw;
CREATE EXTENSION postgres_fdw;
SELECT current_setting('data_directory') || '/postbox.csv' AS file \gset
COPY (SELECT n, vault.word('sender', n, 16) FROM generate_series(1, 6) AS n) TO :'file' (FORMAT csv);
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE public.postbox (id integer, sender text) SERVER files OPTIONS (filename 'postbox.csv', format 'csv');
CREATE FOREIGN TABLE public.postbox_wrong (id integer, sender integer) SERVER files OPTIONS (filename 'postbox.csv', format 'csv');
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw
    OPTIONS (host '127.0.0.1', port '{PORT}', dbname '{FAR}', use_remote_estimate 'true');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'postgres', password_required 'false');
CREATE FOREIGN TABLE public.far_accounts (id integer, iban integer) SERVER elsewhere OPTIONS (table_name 'accounts');
