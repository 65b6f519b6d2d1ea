-- Public keys that people registered to come in by over SSH.
CREATE TABLE ssh_keys (
    fingerprint TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    kept TEXT NOT NULL,
    registered_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ssh_keys_by_subject ON ssh_keys (subject);
