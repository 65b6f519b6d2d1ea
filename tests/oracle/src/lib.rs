//! What pg_query finds in SQL: tables, functions, statement kinds. The tests of `proto-pg` compare it
//! with what Weir's own analysis finds.
//!
//! Place in the flow: outside. Nothing that is shipped depends on it.
//!
//! Architecture invariants:
//! - pg_query and pg_raw_parse each bring PostgreSQL's parser as a C library with the same symbols, and
//!   the linker would take some of either without a word. So the two are never in one program: what
//!   pg_query says travels as text, in `corpus.jsonl`.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::{Value, json};

    /// One line of the corpus, as pg_query has it.
    fn line(sql: &str) -> Value {
        let parsed = pg_query::parse(sql, pg_query::ParserOptions::DEFAULT)
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let sorted = |names: Vec<String>| names.into_iter().collect::<BTreeSet<_>>();
        json!({
            "sql": sql,
            "kinds": parsed.statement_types(),
            "select": sorted(parsed.select_tables()),
            "dml": sorted(parsed.dml_tables()),
            "ddl": sorted(parsed.ddl_tables()),
            "calls": sorted(parsed.call_functions()),
        })
    }

    /// With `WEIR_ORACLE_WRITE` set it writes the answers; a new line needs no more than its `sql`.
    #[test]
    fn the_corpus_holds_what_pg_query_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus.jsonl");
        let corpus = std::fs::read_to_string(&path).unwrap();
        let mut fresh = String::new();
        for text in corpus.lines() {
            let held: Value = serde_json::from_str(text).unwrap();
            let said = line(held["sql"].as_str().expect(text));
            fresh.push_str(&said.to_string());
            fresh.push('\n');
        }
        if std::env::var_os("WEIR_ORACLE_WRITE").is_some() {
            std::fs::write(&path, fresh).unwrap();
            return;
        }
        // As values: the order of keys depends on features that other crates switch on.
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        for (held, said) in corpus.lines().zip(fresh.lines()) {
            assert_eq!(parsed(held), parsed(said));
        }
    }
}
