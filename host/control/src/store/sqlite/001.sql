-- Times are milliseconds since 1970. Texts named *_json hold JSON.

CREATE TABLE meta (pings INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES (0);

CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    principal TEXT NOT NULL,
    target TEXT NOT NULL,
    involved_json TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    document_json TEXT NOT NULL,
    announce INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT,
    decision_reason TEXT
) STRICT;
CREATE INDEX holds_by_state ON holds (state, id);
CREATE INDEX holds_by_principal ON holds (principal, id);

CREATE TABLE votes (
    hold TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    rule TEXT NOT NULL,
    voter TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (hold, rule, voter, kind)
) STRICT;

CREATE TABLE bundles (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL,
    summary_json TEXT NOT NULL,
    files_json TEXT NOT NULL,
    author TEXT,
    involved_json TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    activated_at INTEGER,
    activated_by TEXT,
    retired_at INTEGER
) STRICT;
CREATE UNIQUE INDEX bundles_one_active ON bundles (state) WHERE state = 'active';

-- The order in which versions became active: rolling back goes by it.
CREATE TABLE activations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    previous INTEGER,
    by TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE plugins (
    name TEXT PRIMARY KEY,
    summary_json TEXT NOT NULL,
    size INTEGER NOT NULL,
    config_json TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    uploaded_at INTEGER NOT NULL,
    component BLOB NOT NULL
) STRICT;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    principal TEXT NOT NULL,
    owner TEXT NOT NULL,
    target TEXT NOT NULL,
    database TEXT NOT NULL,
    source TEXT NOT NULL,
    application TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    end TEXT
) STRICT;
CREATE INDEX sessions_live ON sessions (id) WHERE ended_at IS NULL;

CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    hold TEXT NOT NULL REFERENCES holds (id) ON DELETE CASCADE,
    -- 'opened', or the state in which the hold ended.
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- NULL: delivered, or given up.
    next_at INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX outbox_due ON outbox (next_at) WHERE next_at IS NOT NULL;
