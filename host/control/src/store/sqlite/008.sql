-- For whom certificates were issued, so that what goes with one is found when it is revoked.
CREATE TABLE ssh_certificates (
    serial TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    token TEXT,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ssh_certificates_by_key_id ON ssh_certificates (key_id);
CREATE INDEX ssh_certificates_by_end ON ssh_certificates (ends_at);
-- With which token a key was registered.
ALTER TABLE ssh_keys ADD COLUMN token TEXT;
-- When the record last said that a host shows this key.
ALTER TABLE ssh_host_keys ADD COLUMN recorded_at INTEGER;
