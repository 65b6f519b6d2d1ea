//! A statement as a search may find it: its words, without anything that can be a value.
//!
//! What goes: literals of every kind, numbers, comments, quoted names that are not among the names that
//! the statement is known to touch (`WHERE password = "hunter2"`), and whatever a setting is set to. What
//! stays are keywords, names as they were written, operators, and parameters (`$1`). A text whose
//! literals can be read in two ways has none.
//!
//! An unquoted word where a value was meant (`WHERE password = hunter2`) is a name until the server says
//! otherwise. So there are two of these texts: one for a statement that the server has carried out to its
//! end, and one for all others, in which only keywords and names that are known stay.

use super::lex::{
    ambiguous, comment_end, dollar_end, identifier_end, identifier_start, line_end, quoted_end,
};

/// Longer texts are not made searchable.
const MAX_TEXT: usize = 256 << 10;
/// What stands for every value.
const VALUE: &str = "?";

/// Which unquoted words are words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// All: the server has carried the statement out.
    Carried,
    /// Keywords, and names that are known.
    Known,
}

/// None: it cannot be told for sure what in it is a value.
pub fn searchable(sql: &str, words: Words, is_name: impl Fn(&str) -> bool) -> Option<String> {
    if sql.len() > MAX_TEXT || sql.contains('\0') || ambiguous(sql.as_bytes()) {
        return None;
    }
    let mut out = Out::default();
    let mut at = 0;
    while at < sql.len() {
        let (token, end) = next(sql.as_bytes(), at);
        // Every token begins and ends at ASCII, or takes all of a name.
        let text = sql.get(at..end.min(sql.len()))?;
        match token {
            Token::Space => out.space(),
            Token::Value => out.value(),
            Token::Word if words == Words::Known && !is_known(text, &is_name) => out.value(),
            Token::Word => out.word(text),
            Token::Quoted => {
                let name = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
                let name = name.map(|name| name.replace("\"\"", "\""));
                match name.filter(|name| is_name(name)) {
                    Some(_) => out.push(text),
                    None => out.value(),
                }
            }
            Token::Other => out.other(text),
        }
        at = end.max(at + 1);
    }
    let end = |c: char| c == ';' || c.is_whitespace();
    Some(out.text.trim_end_matches(end).trim_start().to_owned())
}

fn is_known(word: &str, is_name: impl Fn(&str) -> bool) -> bool {
    let folded = word.to_lowercase();
    word.starts_with('$') || KEYWORDS.contains(&&*folded) || is_name(&folded)
}

/// What is no name in most places, and never a secret.
#[rustfmt::skip]
const KEYWORDS: &[&str] = &[
    "add", "admin", "after", "all", "alter", "always", "analyze", "and", "any", "array", "as", "asc",
    "atomic", "authorization", "before", "begin", "between", "bigint", "binary", "boolean", "both", "by",
    "call", "cascade", "case", "cast", "chain", "char", "character", "check", "close", "cluster",
    "coalesce", "collate", "column", "columns", "comment", "commit", "committed", "concurrently",
    "conflict", "constraint", "copy", "create", "cross", "csv", "cube", "current", "current_date",
    "current_time", "current_timestamp", "current_user", "cursor", "cycle", "database", "date", "day",
    "deallocate", "declare", "default", "deferrable", "deferred", "delete", "delimiter", "desc", "discard",
    "distinct", "do", "domain", "double", "drop", "each", "else", "enable", "disable", "encoding", "end",
    "escape", "except", "exclude", "excluded", "execute", "exists", "explain", "extension", "extract",
    "false", "fetch", "filter", "first", "following", "for", "force", "foreign", "format", "forward",
    "freeze", "from", "full", "function", "generated", "global", "grant", "group", "grouping", "header",
    "having", "hour", "identity", "if", "ilike", "immediate", "in", "increment", "index", "inherits",
    "initially", "inner", "inout", "insert", "instead", "int", "integer", "intersect", "interval", "into",
    "is", "isnull", "isolation", "join", "json", "jsonb", "key", "language", "last", "lateral", "leading",
    "left", "level", "like", "limit", "listen", "local", "lock", "locked", "matched", "materialized",
    "maxvalue", "merge", "minute", "minvalue", "mode", "month", "move", "natural", "next", "no", "not",
    "nothing", "notify", "notnull", "nowait", "null", "nullif", "nulls", "numeric", "of", "off", "offset",
    "on", "only", "open", "option", "or", "order", "ordinality", "out", "outer", "over", "overlaps",
    "owner", "partition", "password", "preceding", "precision", "prepare", "prepared", "primary", "prior",
    "privileges", "procedure", "public", "quote", "range", "read", "real", "recursive", "references",
    "refresh", "reindex", "release", "rename", "repeatable", "replace", "reset", "restart", "restrict",
    "return", "returning", "returns", "revoke", "right", "role", "rollback", "rollup", "routine", "row",
    "rows", "rule", "savepoint", "schema", "scroll", "second", "security", "select", "sequence",
    "serializable", "session", "session_user", "set", "setof", "sets", "share", "show", "similar", "skip",
    "smallint", "some", "start", "stdin", "stdout", "storage", "system", "table", "tables", "tablesample",
    "tablespace", "temp", "temporary", "text", "then", "ties", "time", "timestamp", "timestamptz", "to",
    "trailing", "transaction", "trigger", "true", "truncate", "type", "unbounded", "uncommitted", "union",
    "unique", "unlisten", "unlogged", "update", "user", "using", "uuid", "vacuum", "valid", "validate",
    "values", "varchar", "variadic", "verbose", "view", "when", "where", "window", "with", "within",
    "without", "work", "write", "year", "zone",
];

enum Token {
    /// Whitespace and comments.
    Space,
    Value,
    Word,
    Quoted,
    Other,
}

/// The token at `at`, and where it ends.
fn next(sql: &[u8], at: usize) -> (Token, usize) {
    let byte = |i: usize| sql.get(i).copied().unwrap_or(0);
    let (here, then) = (byte(at), byte(at + 1));
    match (here, then) {
        (b'-', b'-') => (Token::Space, line_end(sql, at)),
        (b'/', b'*') => (Token::Space, comment_end(sql, at)),
        (b'"', _) => (Token::Quoted, quoted_end(sql, at + 1, b'"', false)),
        (b'e' | b'E', b'\'') => (Token::Value, quoted_end(sql, at + 2, b'\'', true)),
        (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => {
            (Token::Value, quoted_end(sql, at + 2, b'\'', false))
        }
        (b'u' | b'U', b'&') if matches!(byte(at + 2), b'\'' | b'"') => {
            (Token::Value, quoted_end(sql, at + 3, byte(at + 2), false))
        }
        (b'\'', _) => (Token::Value, quoted_end(sql, at + 1, b'\'', false)),
        (b'$', c) if c.is_ascii_digit() => {
            let digits = sql.iter().skip(at + 1).take_while(|c| c.is_ascii_digit());
            (Token::Word, at + 1 + digits.count())
        }
        (b'$', _) => match dollar_end(sql, at) {
            end if end == at + 1 => (Token::Other, end),
            end => (Token::Value, end),
        },
        (b'.', c) if c.is_ascii_digit() => (Token::Value, number_end(sql, at)),
        (c, _) if c.is_ascii_digit() => (Token::Value, number_end(sql, at)),
        (c, _) if identifier_start(c) => (Token::Word, identifier_end(sql, at)),
        (c, _) if c.is_ascii_whitespace() || c == 0x0b => (Token::Space, at + 1),
        _ => (Token::Other, at + 1),
    }
}

/// A number, with whatever clings to it: `0x1F`, `1_000`, `1.5e-3`. An `e` before a quote is none of it.
fn number_end(sql: &[u8], from: usize) -> usize {
    let byte = |i: usize| sql.get(i).copied().unwrap_or(0);
    let mut at = from;
    loop {
        let (here, then) = (byte(at), byte(at + 1));
        let sign = matches!(here, b'e' | b'E') && matches!(then, b'+' | b'-');
        if sign && byte(at + 2).is_ascii_digit() {
            at += 2;
        } else if then == b'\'' && here.is_ascii_alphabetic() {
            return at;
        } else if here.is_ascii_alphanumeric() || matches!(here, b'.' | b'_') {
            at += 1;
        } else {
            return at;
        }
    }
}

#[derive(Default)]
struct Out {
    text: String,
    space: bool,
    /// The first word of the statement.
    verb: String,
    /// What is set: from its `=`, `TO` and the like on there are values only.
    setting: Setting,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Setting {
    #[default]
    No,
    /// A `SET` that is not that of an UPDATE: behind it comes a name.
    Named,
    Value,
}

impl Out {
    fn space(&mut self) {
        self.space = true;
    }

    fn push(&mut self, text: &str) {
        if std::mem::take(&mut self.space) && !self.text.is_empty() && !self.text.ends_with('(') {
            self.text.push(' ');
        }
        self.text.push_str(text);
    }

    /// Of a list of values, one is enough.
    fn value(&mut self) {
        let list = self.text.trim_end().strip_suffix(',').map(str::trim_end);
        if let Some(before) = list
            && before.ends_with(VALUE)
        {
            let len = before.len();
            self.text.truncate(len);
            self.space = false;
            return;
        }
        if self.setting == Setting::Value && self.text.ends_with(VALUE) {
            self.space = false;
            return;
        }
        self.push(VALUE);
    }

    fn word(&mut self, text: &str) {
        if self.setting == Setting::Value {
            return self.value();
        }
        if self.verb.is_empty() {
            self.verb = text.to_ascii_lowercase();
        }
        let lower = text.to_ascii_lowercase();
        match (&*lower, self.setting) {
            ("set", _) if matches!(&*self.verb, "set" | "alter" | "create") => {
                self.setting = Setting::Named;
            }
            // SET TIME ZONE, SET ROLE, SET SESSION AUTHORIZATION
            ("to" | "zone" | "role" | "authorization", Setting::Named) => {
                self.setting = Setting::Value;
            }
            _ => {}
        }
        self.push(text);
    }

    fn other(&mut self, text: &str) {
        match (text, self.setting) {
            (";", _) => {
                self.verb.clear();
                self.setting = Setting::No;
            }
            ("=", Setting::Named) => self.setting = Setting::Value,
            (_, Setting::Value) => return self.value(),
            _ => {}
        }
        if text == ")" {
            self.space = false;
        }
        self.push(text);
        if text == ")" {
            self.one_row();
        }
    }

    /// Of a list of rows of values, one is enough, too.
    fn one_row(&mut self) {
        let Some(before) = self.text.strip_suffix("(?)") else {
            return;
        };
        let before = before.trim_end().strip_suffix(',').map(str::trim_end);
        if let Some(before) = before
            && before.ends_with("(?)")
        {
            let len = before.len();
            self.text.truncate(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_words_stay() {
        for (sql, expected) in [
            ("SELECT  *\n FROM users", "SELECT * FROM users"),
            (
                "SELECT a FROM t WHERE b = 'x''y' AND c >= 1.5e-3 AND d = $1",
                "SELECT a FROM t WHERE b = ? AND c >= ? AND d = $1",
            ),
            (
                "INSERT INTO t (a, b) VALUES (1, 'x'), (2, E'y\\'z') , ( 3 ,'z' )",
                "INSERT INTO t (a, b) VALUES (?)",
            ),
            ("SELECT 1 WHERE a IN (1,2, 3)", "SELECT ? WHERE a IN (?)"),
            ("SELECT .5, 1_000, 0xFF, 1e10", "SELECT ?"),
            ("SELECT t1.a2 FROM t1", "SELECT t1.a2 FROM t1"),
            (
                "SELECT $$x$$, $a$ $$ $a$, B'01', X'ff', U&'\\0061', N'x'",
                "SELECT ?",
            ),
            (
                "SELECT 1 -- 'x\n, a /* b /* c */ d */ FROM t",
                "SELECT ? , a FROM t",
            ),
            (
                "SELECT \"known\", \"unknown\", U&\"known\" FROM t",
                "SELECT \"known\", ? FROM t",
            ),
            ("SELECT \"kn\"\"own\"", "SELECT ?"),
            ("SELECT a->>'b' FROM t", "SELECT a->>? FROM t"),
            (
                "SELECT größe FROM maße WHERE 'ü' = \"ä\"",
                "SELECT größe FROM maße WHERE ? = ?",
            ),
            ("DO $$BEGIN PERFORM 1; END$$", "DO ?"),
            ("SET app.token = hunter2", "SET app.token = ?"),
            (
                "set local app.token to hunter2, other",
                "set local app.token to ?",
            ),
            ("SET TIME ZONE hunter2", "SET TIME ZONE ?"),
            ("SET ROLE hunter2; SELECT a", "SET ROLE ?; SELECT a"),
            (
                "SET SESSION AUTHORIZATION hunter2",
                "SET SESSION AUTHORIZATION ?",
            ),
            (
                "ALTER ROLE bob SET app.token = hunter2",
                "ALTER ROLE bob SET app.token = ?",
            ),
            (
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET a.b TO hunter2 AS 'SELECT 1'",
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET a.b TO ?",
            ),
            (
                "ALTER ROLE bob PASSWORD 'hunter2'",
                "ALTER ROLE bob PASSWORD ?",
            ),
            (
                "UPDATE t SET a = b, c = 'x' WHERE d",
                "UPDATE t SET a = b, c = ? WHERE d",
            ),
            ("COMMENT ON TABLE t IS 'hunter2'", "COMMENT ON TABLE t IS ?"),
            ("SELECT 1e'hunter2\\' x'", "SELECT ??"),
            ("SELECT 'unfinished", "SELECT ?"),
            ("SELECT /* unfinished", "SELECT"),
            ("SELECT $tag$ unfinished", "SELECT ?"),
            ("SELECT a ; \n", "SELECT a"),
            ("", ""),
        ] {
            let found = searchable(sql, Words::Carried, |name| name == "known");
            assert_eq!(found.as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn only_known_words_stay_in_what_was_not_carried_out() {
        for (sql, expected) in [
            (
                "SELECT secret1, id FROM public.Users WHERE password = hunter2 OR x IS NULL",
                "SELECT ?, id FROM public.Users WHERE password = ? OR ? IS NULL",
            ),
            (
                "DELETE FROM users u WHERE $1 = ALL (f(x))",
                "DELETE FROM users ? WHERE $1 = ALL (?(?))",
            ),
            ("hunter2", "?"),
            ("SELECT hunter2, hunter3 , hunter4", "SELECT ?"),
            ("SELECT Größe, größte", "SELECT Größe, ?"),
        ] {
            let names = ["id", "users", "größe"];
            let found = searchable(sql, Words::Known, |name| names.contains(&name));
            assert_eq!(found.as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_searchable() {
        for sql in [
            r"SELECT 'a\' OR hunter2 --'",
            "SELECT 1\0",
            r"SELECT n'\' hunter2 --'",
        ] {
            assert_eq!(searchable(sql, Words::Carried, |_| true), None, "{sql}");
        }
        assert_eq!(
            searchable(&"x ".repeat(MAX_TEXT), Words::Known, |_| true),
            None
        );
    }
}
