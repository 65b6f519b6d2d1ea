//! What the server says when a statement is done, and which names are over then.

use pg_raw_parse::raw::DiscardMode;
use pg_raw_parse::{Node, nodes};

/// The words that begin the tags of statements that return or change rows (cmdtaglist.h). No other
/// statement's tag begins with one of them.
const ROWS: &[&str] = &[
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "FETCH", "MOVE",
];

/// The first word of the tag of CommandComplete. Rules do not change it: it is the tag of what was
/// asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// EXECUTE answers as what it runs.
    Any,
    One(&'static [&'static str]),
    /// Whatever says nothing about rows.
    NoRows,
}

impl Verb {
    /// False: the server did something else than this statement.
    pub fn fits(self, tag: &str) -> bool {
        let word = tag.split(' ').next().unwrap_or_default();
        match self {
            Self::Any => true,
            Self::One(words) => words.contains(&word),
            Self::NoRows => !ROWS.contains(&word),
        }
    }
}

impl Over {
    /// The server says that it has done this, and nothing else.
    pub fn is_told(&self, tag: &str) -> bool {
        tag == match self {
            Self::Nothing => return false,
            Self::Statement(_) => "DEALLOCATE",
            Self::Statements => "DEALLOCATE ALL",
            Self::Portal(_) => "CLOSE CURSOR",
            Self::Portals => "CLOSE CURSOR ALL",
            Self::Everything => "DISCARD ALL",
        }
    }
}

/// Prepared statements and portals that are gone when the statement is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Over {
    Nothing,
    Statement(Box<str>),
    Statements,
    Portal(Box<str>),
    Portals,
    Everything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub verb: Verb,
    pub over: Over,
}

pub(super) fn command(node: Node<'_>) -> Command {
    Command {
        verb: verb(node),
        over: over(node),
    }
}

fn verb(node: Node<'_>) -> Verb {
    match node {
        // SELECT INTO is a SELECT as well.
        Node::SelectStmt(_) => Verb::One(&["SELECT"]),
        Node::InsertStmt(_) => Verb::One(&["INSERT"]),
        Node::UpdateStmt(_) => Verb::One(&["UPDATE"]),
        Node::DeleteStmt(_) => Verb::One(&["DELETE"]),
        Node::MergeStmt(_) => Verb::One(&["MERGE"]),
        Node::CopyStmt(_) => Verb::One(&["COPY"]),
        Node::FetchStmt(_) => Verb::One(&["FETCH", "MOVE"]),
        // With data it says how many rows there were.
        Node::CreateTableAsStmt(_) => Verb::One(&["SELECT", "CREATE", "EXECUTE"]),
        Node::ExecuteStmt(_) => Verb::Any,
        _ => Verb::NoRows,
    }
}

fn over(node: Node<'_>) -> Over {
    let named = |name: Option<&str>, one: fn(Box<str>) -> Over, all| match name {
        Some(name) => one(name.into()),
        None => all,
    };
    match node {
        Node::DeallocateStmt(s) => named(s.name(), Over::Statement, Over::Statements),
        Node::ClosePortalStmt(s) => named(s.portalname(), Over::Portal, Over::Portals),
        Node::DiscardStmt(nodes::DiscardStmt { target, .. })
            if *target == DiscardMode::DISCARD_ALL =>
        {
            Over::Everything
        }
        _ => Over::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(sql: &str) -> Vec<Command> {
        let tree = pg_raw_parse::parse(sql).unwrap();
        tree.stmts().map(command).collect()
    }

    #[test]
    fn what_contradicts_a_statement() {
        for (sql, fits, contradicts) in [
            ("SELECT 1", "SELECT 1", "UPDATE 1"),
            ("TABLE t", "SELECT 0", "INSERT 0 0"),
            ("SELECT 1 INTO t", "SELECT 1", "CREATE TABLE"),
            ("WITH d AS (DELETE FROM t) SELECT 1", "SELECT 1", "DELETE 1"),
            ("UPDATE t SET a = 1", "UPDATE 0", "SELECT 1"),
            ("CREATE TABLE a AS SELECT 1", "CREATE TABLE AS", "DELETE 4"),
            ("MOVE ALL FROM c", "MOVE 3", "SELECT 3"),
            ("BEGIN", "BEGIN", "SELECT 1"),
            ("COMMIT", "ROLLBACK", "COPY 1"),
            ("DROP TABLE t", "DROP TABLE", "UPDATE 9"),
        ] {
            let verb = commands(sql)[0].verb;
            assert!(verb.fits(fits), "{sql}: {fits}");
            assert!(!verb.fits(contradicts), "{sql}: {contradicts}");
        }
        assert!(commands("EXECUTE p")[0].verb.fits("DELETE 7"));
    }

    #[test]
    fn what_is_over() {
        let x = "x".repeat(70);
        let cut: Box<str> = x[..63].into();
        for (sql, expect) in [
            ("DEALLOCATE P", Over::Statement("p".into())),
            ("DEALLOCATE PREPARE \"P\"", Over::Statement("P".into())),
            (&format!("DEALLOCATE {x}"), Over::Statement(cut)),
            ("DEALLOCATE ALL", Over::Statements),
            ("CLOSE c", Over::Portal("c".into())),
            ("CLOSE ALL", Over::Portals),
            ("DISCARD ALL", Over::Everything),
            ("DISCARD PLANS", Over::Nothing),
            ("SELECT 1", Over::Nothing),
        ] {
            assert_eq!(commands(sql)[0].over, expect, "{sql}");
        }
    }
}
