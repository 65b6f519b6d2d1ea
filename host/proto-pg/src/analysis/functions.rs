//! Which functions are trusted to compute from their arguments only, and which of PostgreSQL's own
//! are not.

/// What one of PostgreSQL's own functions does besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nature {
    /// Computes, or reads settings and the catalogue's names.
    Plain,
    /// Shows what other people do, or the server's own affairs: policy is asked about the call.
    Shows,
    /// Changes sequences or indexes: a write, and policy is asked about the call.
    Writes,
    /// Sends or keeps its arguments where others, or later statements, find them.
    Keeps,
    /// Changes server or session state, or reads server files: dangerous.
    Control,
    /// Runs SQL text or reads relations by name: dangerous, and can return anything.
    Reads,
}

/// By the last part of the name: an alias in another schema counts the same. What PostgreSQL declares
/// volatile and is not known to be harmless counts as dangerous: it does something, and a newer version
/// has functions that nobody has looked at here.
pub(crate) fn nature(name: &str, volatile: bool) -> Nature {
    match known(name) {
        Some(nature) => nature,
        None if volatile => Nature::Control,
        None => Nature::Plain,
    }
}

/// None: nobody has looked at it.
pub(crate) fn known(name: &str) -> Option<Nature> {
    let nature = match name {
        "nextval"
        | "brin_desummarize_range"
        | "brin_summarize_new_values"
        | "brin_summarize_range"
        | "gin_clean_pending_list" => Nature::Writes,
        // Of an argument each, something can be read back: by lastval, random, show_limit, pg_locks.
        "setval"
        | "setseed"
        | "set_limit"
        | "isn_weak"
        | "pg_notify"
        | "pg_logical_emit_message" => Nature::Keeps,
        "pg_stat_get_wal_senders"
        | "pg_stat_get_wal_receiver"
        | "pg_stat_get_subscription"
        | "pg_get_replication_slots"
        | "pg_show_replication_origin_status"
        | "pg_prepared_statement"
        | "pg_prepared_xact"
        | "pg_cursor"
        | "pg_config"
        | "pg_lock_status"
        | "pg_get_backend_memory_contexts"
        | "pg_get_shmem_allocations"
        | "pg_get_shmem_allocations_numa"
        | "pg_get_aios"
        | "pg_get_loaded_modules" => Nature::Shows,
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
        | "pg_mcv_list_items"
        // Of postgis: statistics of a column, by its name.
        | "st_estimatedextent"
        | "st_estimated_extent"
        | "_postgis_stats"
        | "_postgis_selectivity"
        | "_postgis_join_selectivity" => Nature::Reads,
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
        | "pg_extension_config_dump"
        | "pg_truncate_visibility_map" => Nature::Control,
        _ => return by_prefix(name),
    };
    Some(nature)
}

fn by_prefix(name: &str) -> Option<Nature> {
    const READS: &[&str] = &["dblink", "pg_read_", "lo_", "pg_file_", "pg_logdir_"];
    const SHOWS: &[&str] = &["pg_stat_get_backend_", "pg_stat_statements"];
    const CONTROL: &[&str] = &[
        "pg_ls_",
        "pg_stat_reset",
        "pg_replication_origin_",
        "binary_upgrade_",
    ];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
    if starts(READS) || name == "lowrite" {
        Some(Nature::Reads)
    } else if name.starts_with("pg_advisory_unlock") {
        // Gives back what the session holds; pools call it before every reuse.
        Some(Nature::Plain)
    } else if starts(&["pg_advisory_", "pg_try_advisory_"]) {
        Some(Nature::Keeps)
    } else if starts(CONTROL) {
        Some(Nature::Control)
    } else if starts(SHOWS) {
        Some(Nature::Shows)
    } else {
        is_harmless(name).then_some(Nature::Plain)
    }
}

/// Volatile, but all that they do is to tell.
fn is_harmless(name: &str) -> bool {
    // Of the current moment and chance.
    const MOMENTS: &[&str] = &[
        "clock_timestamp",
        "timeofday",
        "random",
        "random_normal",
        "array_sample",
        "array_shuffle",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "current_query",
        "currval",
        "lastval",
        "pg_sequence_last_value",
        "pg_get_sequence_data",
        "txid_status",
        "pg_blocking_pids",
        "pg_safe_snapshot_blocking_pids",
        "pg_isolation_test_session_is_blocked",
        "pg_notification_queue_usage",
        "pg_jit_available",
        "pg_numa_available",
        "pg_stat_have_stats",
        "pg_stat_force_next_flush",
        "pg_get_multixact_members",
    ];
    // What a call cannot run: triggers, and what takes internal arguments.
    const INTERNAL: &[&str] = &[
        "amvalidate",
        "bernoulli",
        "system",
        "unique_key_recheck",
        "suppress_redundant_updates_trigger",
        "tsvector_update_trigger",
        "tsvector_update_trigger_column",
        "dsnowball_init",
        "dsnowball_lexize",
        "plpgsql_call_handler",
        "plpgsql_inline_handler",
        "plpgsql_validator",
        "brinhandler",
        "bthandler",
        "ginhandler",
        "gisthandler",
        "hashhandler",
        "spghandler",
        "heap_tableam_handler",
    ];
    const PREFIXES: &[&str] = &[
        "RI_FKey_",
        "pg_control_",
        "pg_current_wal_",
        "pg_last_",
        "pg_is_",
        "pg_xact_",
        "pg_partition_",
        "pg_stat_get_",
        "pg_get_wal_re",
        "pg_get_wal_summarizer_state",
        "pg_available_wal_summaries",
    ];
    MOMENTS.contains(&name)
        || INTERNAL.contains(&name)
        || PREFIXES.iter().any(|p| name.starts_with(p))
        || (name.starts_with("pg_")
            && (name.ends_with("_size") || name.ends_with("_actual_version")))
}

impl Nature {
    pub fn dangerous(self) -> bool {
        matches!(self, Self::Control | Self::Reads)
    }

    pub fn writes(self) -> bool {
        !matches!(self, Self::Plain | Self::Shows)
    }

    /// Are its arguments stored, or sent to others?
    pub fn keeps(self) -> bool {
        matches!(self, Self::Keeps | Self::Control)
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
            ("pg_advisory_xact_lock", Nature::Keeps),
            ("pg_try_advisory_lock", Nature::Keeps),
            ("setval", Nature::Keeps),
            ("set_limit", Nature::Keeps),
            ("pg_prepared_xact", Nature::Shows),
            ("pg_stat_get_backend_activity", Nature::Shows),
            ("pg_stat_get_live_tuples", Nature::Plain),
            ("pg_notify", Nature::Keeps),
            ("query_to_xml", Nature::Reads),
            ("dblink_exec", Nature::Reads),
            ("pg_read_binary_file", Nature::Reads),
            ("lo_export", Nature::Reads),
            ("pg_ls_dir", Nature::Control),
            ("pg_terminate_backend", Nature::Control),
            ("pg_sleep", Nature::Control),
            ("array_shuffle", Nature::Plain),
            ("array_sample", Nature::Plain),
            ("uuidv7", Nature::Plain),
        ] {
            assert_eq!(super::nature(name, false), nature, "{name}");
        }
        assert_eq!(
            super::nature("pg_of_a_later_version", true),
            Nature::Control
        );
        assert_eq!(super::nature("random", true), Nature::Plain);
    }
}
