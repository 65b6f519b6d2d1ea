-- What was revoked of what people come in by over SSH.
CREATE TABLE ssh_revocations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    revoked_by TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,
    ends_at INTEGER
) STRICT;
