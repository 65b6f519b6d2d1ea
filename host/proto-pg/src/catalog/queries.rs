//! The catalogue queries, for PostgreSQL 12 to 18.
//!
//! They run inside the client's session, whose search path may hold hostile operators and functions:
//! so they use no unqualified operator or function at all, and leave joining to `build`.

/// Index of each query's result.
pub(super) const NAMESPACES: usize = 0;
pub(super) const CLASSES: usize = 1;
pub(super) const ATTRIBUTES: usize = 2;
pub(super) const INHERITS: usize = 3;
pub(super) const REWRITES: usize = 4;
pub(super) const DEPENDS: usize = 5;
pub(super) const FUNCTIONS: usize = 6;
pub(super) const LANGUAGES: usize = 7;
pub(super) const EXTENSIONS: usize = 8;
pub(super) const OPERATORS: usize = 9;
pub(super) const TYPES: usize = 10;
pub(super) const VIEWS: usize = 11;
pub(super) const DEFAULTS: usize = 12;
pub(super) const CASTS: usize = 13;

pub(super) const QUERIES: &[&str] = &[
    "SELECT oid, nspname FROM pg_catalog.pg_namespace",
    "SELECT oid, relnamespace, relname, relkind FROM pg_catalog.pg_class",
    "SELECT attrelid, attnum, attname, atttypid, attnotnull, attgenerated \
     FROM pg_catalog.pg_attribute \
     WHERE attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped",
    "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits",
    "SELECT oid, ev_class FROM pg_catalog.pg_rewrite \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    // Of rules (2618) on anything, of members on extensions (3079), of default expressions (2604)
    // and of columns (1259 with a column number) on columns.
    "SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype \
     FROM pg_catalog.pg_depend \
     WHERE classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid \
        OR refclassid OPERATOR(pg_catalog.=) '3079'::pg_catalog.oid \
        OR classid OPERATOR(pg_catalog.=) '2604'::pg_catalog.oid \
        OR (classid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid \
            AND objsubid OPERATOR(pg_catalog.>) 0)",
    "SELECT oid, pronamespace, proname, provolatile, prosecdef, prolang, prokind, proargtypes \
     FROM pg_catalog.pg_proc",
    "SELECT oid, lanname FROM pg_catalog.pg_language",
    "SELECT oid, extname FROM pg_catalog.pg_extension",
    "SELECT oid, oprnamespace, oprname FROM pg_catalog.pg_operator \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    "SELECT oid, typnamespace, typname, typtype FROM pg_catalog.pg_type",
    "SELECT oid, pg_catalog.pg_get_viewdef(oid) FROM pg_catalog.pg_class \
     WHERE relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog.\"char\"[]) \
       AND oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    "SELECT oid, adrelid, adnum FROM pg_catalog.pg_attrdef",
    "SELECT casttarget, castfunc, castcontext FROM pg_catalog.pg_cast \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid \
       AND castfunc OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid",
];
