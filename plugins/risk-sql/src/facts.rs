//! Rules over what the statement does.

use weir_plugin::{Relation, SqlFacts, SqlKind, SqlOp};

use crate::Hit;
use crate::config::Settings;
use crate::lex::{Token, code};

pub fn hits(op: &SqlOp, tokens: &[Token<'_>], settings: &Settings) -> Vec<Hit> {
    let code = code(tokens);
    let mut hits = Vec::new();
    if op.facts.contains(SqlFacts::UNPARSED) {
        hits.push(Hit::new(
            "unparsed",
            60,
            "it could not be parsed or resolved in full",
        ));
    }
    if op.facts.contains(SqlFacts::LOCKS) {
        hits.push(Hit::new("locks", 20, "it takes locks that others wait for"));
    }
    if op.facts.contains(SqlFacts::MULTI_STATEMENT) {
        let writes = op.facts.contains(SqlFacts::WRITES);
        let weight = if writes { 35 } else { 20 };
        let text = "several statements in one text";
        hits.push(Hit::new("many_statements", weight, text));
    }
    kinds(op, &code, &mut hits);
    functions(op, &mut hits);
    catalogue_secrets(op, &mut hits);
    labelled(op, &code, settings, &mut hits);
    hits
}

/// By kind, and by the words that make a kind worse.
fn kinds(op: &SqlOp, code: &[Token<'_>], hits: &mut Vec<Hit>) {
    let starts = |words: &[&str]| statement_starts(code).any(|s| begins(s, words));
    let writes_rows = matches!(op.kind, SqlKind::Update | SqlKind::Delete);
    if !op.facts.contains(SqlFacts::HAS_WHERE) && (writes_rows || has_row_write(code)) {
        let text = "UPDATE or DELETE without WHERE: every row";
        hits.push(Hit::new("bulk_write", 60, text).label("bulk_write"));
    }
    if starts(&["truncate"]) {
        let text = "TRUNCATE: every row, without a trace";
        hits.push(Hit::new("destructive", 65, text).label("bulk_write"));
    }
    if starts(&["drop"]) {
        hits.push(Hit::new("destructive", 65, "DROP: it does not come back"));
    }
    match op.kind {
        SqlKind::Ddl => hits.push(Hit::new("ddl", 45, "it changes the schema")),
        SqlKind::Dcl => hits.push(Hit::new("privileges", 50, "it changes who may do what")),
        SqlKind::Utility => {
            hits.push(Hit::new("administration", 35, "it administers the server"));
        }
        _ => {}
    }
    let superuser = code.iter().any(|t| t.is("superuser") || t.is("bypassrls"));
    if superuser && matches!(op.kind, SqlKind::Dcl | SqlKind::Ddl | SqlKind::Utility) {
        let text = "it hands out rights over the whole server";
        hits.push(Hit::new("privileges", 80, text));
    }
    if op.kind == SqlKind::Dcl && follows(code, &["to", "public"]) {
        hits.push(Hit::new(
            "privileges",
            65,
            "it grants something to everybody",
        ));
    }
    for words in [
        ["set", "role"].as_slice(),
        &["set", "session", "authorization"],
    ] {
        if starts(words) {
            hits.push(Hit::new("privileges", 50, "it acts as another role"));
        }
    }
    if starts(&["alter", "system"]) {
        hits.push(Hit::new("administration", 80, "it reconfigures the server"));
    }
    if starts(&["do"]) {
        hits.push(Hit::new(
            "dynamic_code",
            60,
            "DO runs code that nobody parsed",
        ));
    }
    let makes_code = follows(code, &["function"]) || follows(code, &["procedure"]);
    let untrusted = [
        "c",
        "internal",
        "plpythonu",
        "plpython3u",
        "plperlu",
        "plsh",
    ];
    if makes_code && untrusted.iter().any(|l| follows(code, &["language", l])) {
        let text = "it makes a function in a language that can do anything on the server";
        hits.push(Hit::new("dynamic_code", 85, text));
    }
    if starts(&["copy"]) {
        copies(code, hits);
    }
}

fn copies(code: &[Token<'_>], hits: &mut Vec<Hit>) {
    if follows(code, &["to", "program"]) || follows(code, &["from", "program"]) {
        let text = "COPY runs a program on the server";
        hits.push(Hit::new("server_access", 95, text).label("exfiltration"));
        return;
    }
    let file = |way: &str| {
        code.windows(2)
            .any(|w| matches!(w, [a, b] if a.is(way) && b.kind == crate::lex::Kind::String))
    };
    if file("to") {
        let text = "COPY writes a file on the server";
        hits.push(Hit::new("server_access", 90, text).label("exfiltration"));
    } else if file("from") {
        let text = "COPY reads a file on the server";
        hits.push(Hit::new("server_access", 90, text));
    }
}

/// What a function can do, by the end of its name. Weir's parser gives canonical names.
const FUNCTIONS: &[(&[&str], &str, u8, &str)] = &[
    (
        &[
            "pg_read_file",
            "pg_read_binary_file",
            "pg_ls_dir",
            "pg_stat_file",
            "pg_ls_logdir",
            "pg_ls_waldir",
            "lo_import",
            "lo_export",
            "pg_file_write",
            "pg_file_unlink",
            "pg_file_rename",
        ],
        "server_access",
        90,
        "reaches files on the server",
    ),
    (
        &[
            "dblink",
            "dblink_exec",
            "dblink_connect",
            "dblink_connect_u",
            "dblink_open",
            "dblink_send_query",
            "http_get",
            "http_post",
        ],
        "server_access",
        90,
        "reaches other servers",
    ),
    (
        &[
            "query_to_xml",
            "query_to_xmlschema",
            "query_to_xml_and_xmlschema",
            "cursor_to_xml",
            "table_to_xml",
            "schema_to_xml",
            "database_to_xml",
            "ts_stat",
            "ts_rewrite",
        ],
        "dynamic_code",
        75,
        "runs SQL that is given as text",
    ),
    (
        &[
            "pg_terminate_backend",
            "pg_cancel_backend",
            "pg_reload_conf",
            "pg_rotate_logfile",
            "pg_switch_wal",
            "pg_promote",
            "pg_create_restore_point",
            "pg_drop_replication_slot",
            "pg_create_logical_replication_slot",
            "pg_logical_slot_get_changes",
            "pg_logical_emit_message",
        ],
        "dangerous_function",
        60,
        "steers the server",
    ),
    (
        &["pg_sleep", "pg_sleep_for", "pg_sleep_until"],
        "stalls",
        50,
        "holds a connection without work, as blind injections do",
    ),
    (
        &[
            "set_config",
            "setval",
            "pg_notify",
            "lo_unlink",
            "lo_put",
            "lo_from_bytea",
        ],
        "dangerous_function",
        30,
        "changes state from within a query",
    ),
];

fn functions(op: &SqlOp, hits: &mut Vec<Hit>) {
    for function in &op.functions {
        let name = function.rsplit('.').next().unwrap_or(function);
        for (names, code, weight, what) in FUNCTIONS {
            if names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                let hit = Hit::new(code, *weight, format!("{name} {what}"));
                hits.push(match *code {
                    "server_access" => hit.label("exfiltration"),
                    _ => hit,
                });
            }
        }
    }
}

/// Catalogue relations that hold secrets or other people's statements.
fn catalogue_secrets(op: &SqlOp, hits: &mut Vec<Hit>) {
    const SECRETS: &[&str] = &[
        "pg_authid",
        "pg_shadow",
        "pg_user_mapping",
        "pg_user_mappings",
        "pg_subscription",
        "pg_hba_file_rules",
        "pg_largeobject",
    ];
    for relation in op.reads.iter().chain(&op.writes) {
        if relation.schema == "pg_catalog" && SECRETS.contains(&relation.name.as_str()) {
            let text = format!("{} holds secrets of the server", relation.name);
            hits.push(Hit::new("secrets_access", 75, text).label("secrets_access"));
        }
    }
}

/// Rules over relations whose columns carry labels.
fn labelled(op: &SqlOp, code: &[Token<'_>], settings: &Settings, hits: &mut Vec<Hit>) {
    let sensitive: Vec<&Relation> = op.reads.iter().filter(|r| !r.labels.is_empty()).collect();
    let Some(first) = sensitive.first() else {
        return;
    };
    let has = |label: &str| {
        sensitive
            .iter()
            .any(|r| r.labels.iter().any(|l| l == label))
    };
    let secret = has("secret");
    let name = format!("{}.{}", first.schema, first.name);
    let text = format!("it reads {name}, which has labelled columns");
    hits.push(Hit::new(
        "labelled_read",
        if secret { 20 } else { 10 },
        text,
    ));

    let filtered = code
        .iter()
        .any(|t| t.is("where") || t.is("on") || t.is("using"));
    let few = op.limit.is_some_and(|limit| limit <= settings.bulk_limit);
    let reads_rows = matches!(op.kind, SqlKind::Select | SqlKind::Copy);
    let limited = op.facts.contains(SqlFacts::HAS_LIMIT);
    if reads_rows && !filtered && !few && !only_counts(code) {
        let weight = match (limited, secret) {
            (true, false) => 30,
            (true, true) => 40,
            (false, false) => 45,
            (false, true) => 60,
        };
        let text = format!("it reads all of {name}");
        let hit = Hit::new("bulk_read", weight, text).label("bulk_read");
        hits.push(hit);
        if secret {
            let text = format!("it reads all secrets of {name}");
            let hit = Hit::new("secrets_access", weight, text);
            hits.push(hit.label("secrets_access"));
        }
    }
    let copies = op.facts.contains(SqlFacts::WRITES)
        && (follows(code, &["into"]) || follows(code, &["as", "select"]))
        && op.writes.iter().all(|w| w.labels.is_empty());
    if copies {
        let text = format!("it copies rows of {name} to where no label covers them");
        hits.push(Hit::new("copies_labelled_data", 55, text).label("bulk_read"));
    }
}

/// `SELECT count(*) FROM …`: whatever it reads, one number comes back.
fn only_counts(code: &[Token<'_>]) -> bool {
    matches!(code, [select, count, open, star, close, from, ..]
        if select.is("select") && count.is("count") && open.is_symbol("(")
            && star.is_symbol("*") && close.is_symbol(")") && from.is("from"))
}

/// Also inside a CTE.
fn has_row_write(code: &[Token<'_>]) -> bool {
    follows(code, &["delete", "from"]) || statement_starts(code).any(|s| begins(s, &["update"]))
}

/// The tokens from the start of every statement of the text.
fn statement_starts<'t, 'a>(code: &'t [Token<'a>]) -> impl Iterator<Item = &'t [Token<'a>]> {
    let starts = std::iter::once(0).chain(
        code.iter()
            .enumerate()
            .filter(|(_, t)| t.is_symbol(";"))
            .map(|(i, _)| i + 1),
    );
    starts.filter_map(|i| code.get(i..))
}

fn begins(code: &[Token<'_>], words: &[&str]) -> bool {
    code.len() >= words.len() && code.iter().zip(words).all(|(t, w)| t.is(w))
}

/// Do these words follow one another anywhere?
pub fn follows(code: &[Token<'_>], words: &[&str]) -> bool {
    code.windows(words.len()).any(|w| begins(w, words))
}
