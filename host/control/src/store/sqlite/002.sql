-- Changes of plugins that wait for a second person: at most one for each.
CREATE TABLE plugin_changes (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    summary_json TEXT NOT NULL,
    size INTEGER NOT NULL,
    config_json TEXT NOT NULL,
    replaces TEXT NOT NULL,
    author TEXT NOT NULL,
    involved_json TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    component BLOB NOT NULL
) STRICT;
ALTER TABLE plugins ADD COLUMN confirmed_by TEXT;
