-- Keys by which hosts are known: what they have shown, and what people said of it.
CREATE TABLE ssh_host_keys (
    target TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    state TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    decided_by TEXT,
    decided_at INTEGER,
    reason TEXT,
    PRIMARY KEY (target, fingerprint)
) STRICT;
