//! Which functions are trusted to compute from their arguments only, and which of PostgreSQL's own
//! are not.

/// What one of PostgreSQL's own functions does besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Computes, or reads settings and the catalogue's names.
    Plain,
    /// Changes sequences or takes locks: a write, and policy is asked about the call.
    Writes,
    /// Sends or keeps its arguments where others, or later statements, find them.
    Keeps,
    /// Changes server or session state, or reads server files: dangerous.
    Control,
    /// Runs SQL text or reads relations by name: dangerous, and can return anything.
    Reads,
}

/// By the last part of the name: an alias in another schema counts the same.
pub(crate) fn nature(name: &str) -> Nature {
    match name {
        "nextval" | "setval" => Nature::Writes,
        "pg_notify" | "pg_logical_emit_message" => Nature::Keeps,
        "query_to_xml"
        | "query_to_xmlschema"
        | "query_to_xml_and_xmlschema"
        | "table_to_xml"
        | "table_to_xmlschema"
        | "table_to_xml_and_xmlschema"
        | "cursor_to_xml"
        | "cursor_to_xmlschema"
        | "schema_to_xml"
        | "schema_to_xmlschema"
        | "schema_to_xml_and_xmlschema"
        | "database_to_xml"
        | "database_to_xmlschema"
        | "database_to_xml_and_xmlschema"
        | "ts_stat"
        | "ts_rewrite"
        | "crosstab"
        | "crosstab2"
        | "crosstab3"
        | "crosstab4"
        | "crosstabn"
        | "connectby"
        | "xpath_table"
        | "get_raw_page"
        | "heap_page_items"
        | "heap_page_item_attrs"
        | "tuple_data_split"
        | "bt_page_items"
        | "brin_page_items"
        | "gin_leafpage_items"
        | "gist_page_items"
        | "hash_page_items"
        | "page_header"
        | "fsm_page_contents"
        | "pg_logical_slot_get_changes"
        | "pg_logical_slot_peek_changes"
        | "pg_logical_slot_get_binary_changes"
        | "pg_logical_slot_peek_binary_changes"
        | "pg_get_wal_records_info"
        | "pg_get_wal_record_info"
        | "pg_get_wal_block_info"
        | "loread"
        | "pg_mcv_list_items" => Nature::Reads,
        "set_config"
        | "pg_sleep"
        | "pg_sleep_for"
        | "pg_sleep_until"
        | "pg_reload_conf"
        | "pg_rotate_logfile"
        | "pg_rotate_logfile_old"
        | "pg_terminate_backend"
        | "pg_cancel_backend"
        | "pg_switch_wal"
        | "pg_create_restore_point"
        | "pg_promote"
        | "pg_wal_replay_pause"
        | "pg_wal_replay_resume"
        | "pg_start_backup"
        | "pg_stop_backup"
        | "pg_backup_start"
        | "pg_backup_stop"
        | "pg_export_snapshot"
        | "pg_import_system_collations"
        | "pg_log_backend_memory_contexts"
        | "pg_log_standby_snapshot"
        | "pg_current_logfile"
        | "pg_stat_file"
        | "pg_stat_get_activity"
        | "pg_hba_file_rules"
        | "pg_ident_file_mappings"
        | "pg_show_all_file_settings"
        | "pg_stat_clear_snapshot"
        | "pg_sync_replication_slots"
        | "pg_drop_replication_slot"
        | "pg_copy_physical_replication_slot"
        | "pg_copy_logical_replication_slot"
        | "pg_create_logical_replication_slot"
        | "pg_create_physical_replication_slot"
        | "pg_replication_slot_advance"
        | "binary_upgrade_create_empty_extension"
        | "pg_execute_server_program"
        | "pg_nextoid"
        | "pg_stop_making_pinned_objects"
        | "currtid2"
        | "pg_clear_attribute_stats"
        | "pg_restore_attribute_stats"
        | "pg_clear_relation_stats"
        | "pg_restore_relation_stats"
        | "load_file"
        | "heap_force_kill"
        | "heap_force_freeze"
        | "pg_truncate_visibility_map" => Nature::Control,
        _ => by_prefix(name),
    }
}

fn by_prefix(name: &str) -> Nature {
    const READS: &[&str] = &["dblink", "pg_read_", "lo_", "pg_file_", "pg_logdir_"];
    const CONTROL: &[&str] = &[
        "pg_ls_",
        "pg_stat_reset",
        "pg_replication_origin_",
        "binary_upgrade_",
    ];
    if READS.iter().any(|p| name.starts_with(p)) || name == "lowrite" {
        Nature::Reads
    } else if name.starts_with("pg_advisory_unlock") {
        // Gives back what the session holds; pools call it before every reuse.
        Nature::Plain
    } else if name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_") {
        Nature::Writes
    } else if CONTROL.iter().any(|p| name.starts_with(p)) {
        Nature::Control
    } else {
        Nature::Plain
    }
}

impl Nature {
    pub fn dangerous(self) -> bool {
        matches!(self, Self::Control | Self::Reads)
    }
}

/// Extensions whose functions compute from their arguments and nothing else.
pub(crate) fn is_pure_extension(name: &str) -> bool {
    matches!(
        name,
        "uuid-ossp"
            | "pgcrypto"
            | "citext"
            | "hstore"
            | "pg_trgm"
            | "unaccent"
            | "ltree"
            | "cube"
            | "earthdistance"
            | "btree_gin"
            | "btree_gist"
            | "intarray"
            | "isn"
            | "seg"
            | "vector"
            | "fuzzystrmatch"
            | "dict_int"
            | "dict_xsyn"
            | "tsm_system_rows"
            | "tsm_system_time"
            | "postgis"
            | "ip4r"
            | "semver"
            | "pg_uuidv7"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natures() {
        for (name, nature) in [
            ("count", Nature::Plain),
            ("lower", Nature::Plain),
            ("nextval", Nature::Writes),
            ("pg_advisory_unlock_all", Nature::Plain),
            ("pg_advisory_xact_lock", Nature::Writes),
            ("pg_try_advisory_lock", Nature::Writes),
            ("pg_notify", Nature::Keeps),
            ("query_to_xml", Nature::Reads),
            ("dblink_exec", Nature::Reads),
            ("pg_read_binary_file", Nature::Reads),
            ("lo_export", Nature::Reads),
            ("pg_ls_dir", Nature::Control),
            ("pg_terminate_backend", Nature::Control),
            ("pg_sleep", Nature::Control),
        ] {
            assert_eq!(super::nature(name), nature, "{name}");
        }
    }
}
