//! What the server counts and notes down besides its data, and what that tells of it.
//!
//! Two things tell of stored values. Counts are kept for each partition, so that they show in which one a
//! row is; and an update notes down what it found to be the same as before: an index whose columns do not
//! change is left alone, and the log holds only those bytes of a row that are others. Whoever may write to
//! a labelled column could guess at what was there, and read from these how good the guess was.

/// What can be read from a function or a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Nothing,
    /// How many rows are in which partition.
    Places,
    /// What a write has changed: anything.
    Changes,
}

/// A function that gives all locks. Those of serializable transactions are on the rows and pages that
/// were read.
pub(crate) const LOCKS: &str = "pg_lock_status";

/// Of a function of PostgreSQL's own.
pub(crate) fn function(name: &str) -> Telling {
    const LOG: &[&str] = &[
        "pg_control_checkpoint",
        "pg_create_restore_point",
        "pg_switch_wal",
        "pg_backup_start",
        "pg_backup_stop",
        "pg_start_backup",
        "pg_stop_backup",
        "pg_logical_emit_message",
        "pg_stat_get_wal",
        "pg_stat_get_backend_wal",
        "pg_stat_get_io",
        "pg_stat_get_backend_io",
        "pg_stat_get_wal_senders",
        "pg_stat_get_wal_receiver",
        "pg_stat_get_subscription",
        "pg_get_replication_slots",
        "pg_show_replication_origin_status",
    ];
    const SIZES: &[&str] = &[
        "pg_relation_size",
        "pg_table_size",
        "pg_indexes_size",
        "pg_total_relation_size",
        // A partition's first row takes a page.
        "pg_database_size",
        "pg_tablespace_size",
    ];
    const BLOCKS: &[&str] = &["buf_alloc", "db_blocks_fetched", "db_blocks_hit"];
    let of_log = ["pg_current_wal_", "pg_last_wal_"];
    if LOG.contains(&name) || of_log.iter().any(|p| name.starts_with(p)) {
        return Telling::Changes;
    }
    if let Some(of) = name.strip_prefix("pg_stat_get_") {
        return match of.ends_with("hot_updated") || of.ends_with("newpage_updated") {
            true => Telling::Changes,
            false if BLOCKS.contains(&of) => Telling::Places,
            // Of sessions and of the whole server, not of relations.
            false if of.starts_with("backend_") || of.starts_with("db_") => Telling::Nothing,
            false => Telling::Places,
        };
    }
    match SIZES.contains(&name) || name == LOCKS {
        true => Telling::Places,
        false => Telling::Nothing,
    }
}

/// Of a column in PostgreSQL's own catalogue.
pub(crate) fn column(relation: &str, name: &str) -> Telling {
    const NAMES: &[&str] = &[
        "relid",
        "indexrelid",
        "schemaname",
        "relname",
        "indexrelname",
    ];
    if name.ends_with("_lsn") || matches!(name, "srsublsn" | "subskiplsn") {
        return Telling::Changes;
    }
    match relation {
        "pg_class" => match name {
            "reltuples" | "relpages" | "relallvisible" | "relallfrozen" => Telling::Places,
            _ => Telling::Nothing,
        },
        "pg_stat_wal" => Telling::Changes,
        "pg_stat_database" if name.starts_with("blks_") => Telling::Places,
        "pg_stat_bgwriter" if name == "buffers_alloc" => Telling::Places,
        "pg_stat_io" => match name {
            "backend_type" | "object" | "context" => Telling::Nothing,
            _ => Telling::Changes,
        },
        _ if !counts(relation) || NAMES.contains(&name) => Telling::Nothing,
        _ => match name {
            "n_tup_hot_upd" | "n_tup_newpage_upd" => Telling::Changes,
            _ => Telling::Places,
        },
    }
}

/// Is it one of the views of counts for each relation?
fn counts(relation: &str) -> bool {
    let of = ["pg_stat_", "pg_statio_"];
    let of = of.iter().find_map(|p| relation.strip_prefix(p));
    let of = of.map(|r| r.strip_prefix("xact_").unwrap_or(r));
    let of = of.and_then(|r| {
        let kinds = ["all_", "user_", "sys_"];
        kinds.iter().find_map(|k| r.strip_prefix(k))
    });
    matches!(of, Some("tables" | "indexes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells() {
        for (name, expect) in [
            ("pg_current_wal_insert_lsn", Telling::Changes),
            ("pg_stat_get_xact_tuples_hot_updated", Telling::Changes),
            ("pg_stat_get_live_tuples", Telling::Places),
            ("pg_relation_size", Telling::Places),
            ("pg_database_size", Telling::Places),
            ("pg_stat_get_db_blocks_hit", Telling::Places),
            ("pg_stat_get_db_tuples_updated", Telling::Nothing),
            ("pg_lock_status", Telling::Places),
            ("pg_stat_get_backend_pid", Telling::Nothing),
            ("pg_wal_lsn_diff", Telling::Nothing),
            ("lower", Telling::Nothing),
        ] {
            assert_eq!(function(name), expect, "{name}");
        }
        for (relation, name, expect) in [
            ("pg_class", "reltuples", Telling::Places),
            ("pg_class", "relname", Telling::Nothing),
            ("pg_stat_xact_user_tables", "n_tup_upd", Telling::Places),
            ("pg_stat_all_tables", "n_tup_hot_upd", Telling::Changes),
            ("pg_stat_all_tables", "relname", Telling::Nothing),
            ("pg_statio_user_indexes", "idx_blks_hit", Telling::Places),
            ("pg_stat_replication", "sent_lsn", Telling::Changes),
            ("pg_stat_replication", "state", Telling::Nothing),
            ("pg_stat_database", "tup_updated", Telling::Nothing),
            ("pg_stat_database", "blks_hit", Telling::Places),
        ] {
            assert_eq!(column(relation, name), expect, "{relation}.{name}");
        }
    }
}
