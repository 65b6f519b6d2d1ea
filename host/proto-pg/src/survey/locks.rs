//! Which table lock a statement takes: PostgreSQL's documentation, 13.3.1 "Table-Level Locks", and for
//! ALTER TABLE its own page, which names what needs less than ACCESS EXCLUSIVE.

use pg_raw_parse::raw::{AlterTableType, ConstrType, ObjectType};
use pg_raw_parse::{Node, nodes};
use pipeline::Action;

/// Weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

use Lock::{
    AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive,
    ShareUpdateExclusive,
};

impl Lock {
    pub fn as_str(self) -> &'static str {
        match self {
            AccessShare => "ACCESS SHARE",
            RowShare => "ROW SHARE",
            RowExclusive => "ROW EXCLUSIVE",
            ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Share => "SHARE",
            ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Exclusive => "EXCLUSIVE",
            AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

/// What an access takes on its table. `rows`: the text locks rows. `ddl`: what [`of_text`] found for the
/// rest of the text.
pub(super) fn of_access(action: Action, rows: bool, ddl: Option<Lock>) -> Option<Lock> {
    match action {
        Action::PostgresSelect | Action::PostgresCopyOut => {
            let least = if rows { RowShare } else { AccessShare };
            // LOCK TABLE is reading, to policy.
            Some(ddl.map_or(least, |lock| lock.max(least)))
        }
        Action::PostgresInsert
        | Action::PostgresUpdate
        | Action::PostgresMerge
        | Action::PostgresDelete => Some(RowExclusive),
        Action::PostgresTruncate => Some(AccessExclusive),
        Action::PostgresAlter
        | Action::PostgresDrop
        | Action::PostgresCreate
        | Action::PostgresUtility => ddl,
        _ => None,
    }
}

/// The strongest lock that DDL and maintenance in a text take on the tables that they are about.
pub(super) fn of_text(sql: &str) -> Option<Lock> {
    let tree = pg_raw_parse::parse(sql).ok()?;
    tree.stmts().filter_map(of_statement).max()
}

fn of_statement(node: Node<'_>) -> Option<Lock> {
    let weaker = |concurrently: bool, weak: Lock, strong: Lock| match concurrently {
        true => weak,
        false => strong,
    };
    Some(match node {
        Node::SelectStmt(_)
        | Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_)
        | Node::CopyStmt(_)
        | Node::TransactionStmt(_)
        | Node::VariableSetStmt(_)
        | Node::VariableShowStmt(_)
        | Node::ExplainStmt(_)
        | Node::PrepareStmt(_)
        | Node::ExecuteStmt(_)
        | Node::DeclareCursorStmt(_)
        | Node::FetchStmt(_)
        | Node::ClosePortalStmt(_)
        | Node::DeallocateStmt(_)
        | Node::CreateTableAsStmt(_)
        | Node::ViewStmt(_)
        | Node::GrantStmt(_)
        | Node::CallStmt(_) => return None,
        Node::AlterTableStmt(s) => alter_table(s),
        Node::IndexStmt(s) => weaker(s.concurrent, ShareUpdateExclusive, Share),
        Node::ReindexStmt(s) => {
            let concurrently = s.params().iter().any(|p| is_on(p, "concurrently"));
            weaker(concurrently, ShareUpdateExclusive, Share)
        }
        // What is referenced by a new table.
        Node::CreateStmt(_) => ShareRowExclusive,
        Node::CreateTrigStmt(_) | Node::AlterSeqStmt(_) => ShareRowExclusive,
        Node::CreateStatsStmt(_) | Node::CommentStmt(_) | Node::SecLabelStmt(_) => {
            ShareUpdateExclusive
        }
        Node::RefreshMatViewStmt(s) => weaker(s.concurrent, Exclusive, AccessExclusive),
        Node::VacuumStmt(s) => {
            let full = s.options().iter().any(|o| is_on(o, "full"));
            weaker(!full, ShareUpdateExclusive, AccessExclusive)
        }
        Node::LockStmt(s) => of_number(s.mode),
        Node::DropStmt(s) => weaker(s.concurrent, ShareUpdateExclusive, AccessExclusive),
        Node::RenameStmt(s) => weaker(
            s.rename_type == ObjectType::OBJECT_INDEX,
            ShareUpdateExclusive,
            AccessExclusive,
        ),
        // Whatever is not listed may take the strongest.
        _ => AccessExclusive,
    })
}

fn is_on(option: &nodes::DefElem, name: &str) -> bool {
    let off = match option.arg() {
        Node::String(v) => matches!(v.sval(), Some("off" | "false")),
        Node::Boolean(b) => !b.boolval,
        Node::Integer(i) => i.ival == 0,
        _ => false,
    };
    option.defname() == Some(name) && !off
}

/// As `LOCK TABLE` has them.
fn of_number(mode: i32) -> Lock {
    match mode {
        1 => AccessShare,
        2 => RowShare,
        3 => RowExclusive,
        4 => ShareUpdateExclusive,
        5 => Share,
        6 => ShareRowExclusive,
        7 => Exclusive,
        _ => AccessExclusive,
    }
}

fn alter_table(s: &nodes::AlterTableStmt) -> Lock {
    let commands = s.cmds().iter().map(|node| match node {
        Node::AlterTableCmd(command) => alter_command(command),
        _ => AccessExclusive,
    });
    commands.max().unwrap_or(AccessExclusive)
}

fn alter_command(command: &nodes::AlterTableCmd) -> Lock {
    use AlterTableType as A;
    match command.subtype {
        A::AT_SetStatistics
        | A::AT_SetOptions
        | A::AT_ResetOptions
        | A::AT_ClusterOn
        | A::AT_DropCluster
        | A::AT_ValidateConstraint
        | A::AT_DetachPartitionFinalize => ShareUpdateExclusive,
        A::AT_EnableTrig
        | A::AT_EnableAlwaysTrig
        | A::AT_EnableReplicaTrig
        | A::AT_DisableTrig
        | A::AT_EnableTrigAll
        | A::AT_DisableTrigAll
        | A::AT_EnableTrigUser
        | A::AT_DisableTrigUser => ShareRowExclusive,
        A::AT_AddConstraint => match command.def() {
            Node::Constraint(c) if c.contype == ConstrType::CONSTR_FOREIGN => ShareRowExclusive,
            _ => AccessExclusive,
        },
        _ => AccessExclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Besides the documentation, a real server is the judge: `survey::tests` compares with `pg_locks`.
    #[test]
    fn locks_of_statements() {
        for (sql, expect) in [
            ("SELECT 1", None),
            ("UPDATE t SET a = 1", None),
            ("BEGIN", None),
            ("CREATE INDEX ON t (a)", Some(Share)),
            (
                "CREATE INDEX CONCURRENTLY ON t (a)",
                Some(ShareUpdateExclusive),
            ),
            ("ALTER TABLE t ADD b int", Some(AccessExclusive)),
            (
                "ALTER TABLE t ALTER a SET STATISTICS 5",
                Some(ShareUpdateExclusive),
            ),
            (
                "ALTER TABLE t VALIDATE CONSTRAINT c",
                Some(ShareUpdateExclusive),
            ),
            (
                "ALTER TABLE t VALIDATE CONSTRAINT c, ADD b int",
                Some(AccessExclusive),
            ),
            (
                "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
                Some(ShareRowExclusive),
            ),
            ("ALTER TABLE t ADD CHECK (a > 0)", Some(AccessExclusive)),
            (
                "ALTER TABLE t DISABLE TRIGGER USER",
                Some(ShareRowExclusive),
            ),
            ("VACUUM t", Some(ShareUpdateExclusive)),
            ("VACUUM FULL t", Some(AccessExclusive)),
            ("VACUUM (FULL off) t", Some(ShareUpdateExclusive)),
            ("ANALYZE t", Some(ShareUpdateExclusive)),
            ("REINDEX TABLE t", Some(Share)),
            ("REINDEX (CONCURRENTLY) TABLE t", Some(ShareUpdateExclusive)),
            ("REFRESH MATERIALIZED VIEW m", Some(AccessExclusive)),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY m", Some(Exclusive)),
            ("DROP TABLE t", Some(AccessExclusive)),
            ("DROP INDEX CONCURRENTLY i", Some(ShareUpdateExclusive)),
            ("CLUSTER t", Some(AccessExclusive)),
            ("LOCK TABLE t IN SHARE MODE", Some(Share)),
            ("LOCK t", Some(AccessExclusive)),
            ("COMMENT ON TABLE t IS 'x'", Some(ShareUpdateExclusive)),
            (
                "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
                Some(ShareRowExclusive),
            ),
            ("ANALYZE t; ALTER TABLE t ADD b int", Some(AccessExclusive)),
        ] {
            assert_eq!(of_text(sql), expect, "{sql}");
        }
    }
}
