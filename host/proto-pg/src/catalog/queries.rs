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
pub(super) const RANGES: usize = 14;
pub(super) const TRIGGERS: usize = 15;
pub(super) const CONSTRAINTS: usize = 16;
pub(super) const INDEXES: usize = 17;
pub(super) const POLICIES: usize = 18;
pub(super) const EVENT_TRIGGERS: usize = 19;
pub(super) const PARTITIONED: usize = 20;

pub(super) const QUERIES: &[&str] = &[
    "SELECT oid, nspname FROM pg_catalog.pg_namespace",
    "SELECT oid, relnamespace, relname, relkind FROM pg_catalog.pg_class",
    "SELECT attrelid, attnum, attname, atttypid, attnotnull, attgenerated, attidentity, \
            attcollation \
     FROM pg_catalog.pg_attribute \
     WHERE attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped",
    "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits",
    // `xmin`: who else replaces a view makes a new version of its rule.
    "SELECT oid, ev_class, ev_type, xmin FROM pg_catalog.pg_rewrite \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    // Of rules (2618) on anything, of members on extensions (3079), of default expressions (2604),
    // constraints (2606), policies (3256) and triggers (2620) on anything, of columns (1259 with a
    // column number) on columns, and of indexes (1259) and types (1247) on functions (1255),
    // operators (2617) and operator classes (2616), and of indexes on columns.
    "SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype \
     FROM pg_catalog.pg_depend \
     WHERE classid OPERATOR(pg_catalog.=) '2618'::pg_catalog.oid \
        OR refclassid OPERATOR(pg_catalog.=) '3079'::pg_catalog.oid \
        OR classid OPERATOR(pg_catalog.=) \
           ANY ('{2604,2606,3256,2620}'::pg_catalog.oid[]) \
        OR (classid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid \
            AND (objsubid OPERATOR(pg_catalog.>) 0 \
                 OR (refclassid OPERATOR(pg_catalog.=) '1259'::pg_catalog.oid \
                     AND refobjsubid OPERATOR(pg_catalog.>) 0))) \
        OR (classid OPERATOR(pg_catalog.=) ANY ('{1259,1247}'::pg_catalog.oid[]) \
            AND refclassid OPERATOR(pg_catalog.=) \
                ANY ('{1255,2617,2616}'::pg_catalog.oid[]))",
    "SELECT oid, pronamespace, proname, provolatile, prosecdef, prolang, prokind, proargtypes, \
            proretset \
     FROM pg_catalog.pg_proc",
    "SELECT oid, lanname FROM pg_catalog.pg_language",
    "SELECT oid, extname FROM pg_catalog.pg_extension",
    "SELECT oid, oprnamespace, oprname, oprcode::pg_catalog.oid, oprleft, oprright \
     FROM pg_catalog.pg_operator \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    "SELECT oid, typnamespace, typname, typtype, typrelid, typelem, typbasetype \
     FROM pg_catalog.pg_type",
    "SELECT oid, pg_catalog.pg_get_viewdef(oid) FROM pg_catalog.pg_class \
     WHERE relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog.\"char\"[]) \
       AND oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    "SELECT oid, adrelid, adnum FROM pg_catalog.pg_attrdef",
    "SELECT castsource, casttarget, castfunc, castcontext FROM pg_catalog.pg_cast \
     WHERE oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid",
    // Before version 14 there are no multiranges, and the name finds the column outside.
    "SELECT o.rngtypid, o.rngsubtype, \
            (SELECT rngmultitypid FROM pg_catalog.pg_range AS i \
             WHERE i.rngtypid OPERATOR(pg_catalog.=) o.rngtypid) \
     FROM (SELECT rngtypid, rngsubtype, '0'::pg_catalog.oid AS rngmultitypid \
           FROM pg_catalog.pg_range) AS o",
    // Those of foreign keys too: who reads this knows them by their functions.
    "SELECT oid, tgrelid, tgfoid, tgtype, tgenabled, tgdeferrable FROM pg_catalog.pg_trigger",
    "SELECT oid, conrelid, contypid, confrelid, contype, confupdtype, confdeltype, condeferrable, \
            conkey, confkey \
     FROM pg_catalog.pg_constraint",
    // Before version 15 there is no such column in pg_index, and the name finds the one outside.
    "SELECT o.indexrelid, o.indrelid, o.indisunique, o.indisexclusion, o.indkey, \
            (SELECT indnullsnotdistinct FROM pg_catalog.pg_index AS i \
             WHERE i.indexrelid OPERATOR(pg_catalog.=) o.indexrelid) \
     FROM (SELECT indexrelid, indrelid, indisunique, indisexclusion, indkey, \
                  false AS indnullsnotdistinct \
           FROM pg_catalog.pg_index \
           WHERE indexrelid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid) AS o",
    "SELECT oid, polrelid FROM pg_catalog.pg_policy",
    "SELECT evtfoid, evtenabled FROM pg_catalog.pg_event_trigger",
    "SELECT partrelid, partattrs FROM pg_catalog.pg_partitioned_table",
];
