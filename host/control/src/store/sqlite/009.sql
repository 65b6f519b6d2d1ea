-- Short tokens for SSH. Of a token there is its hash only.
CREATE TABLE ssh_tokens (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    subject TEXT NOT NULL,
    kept TEXT NOT NULL,
    source TEXT,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ssh_tokens_by_subject ON ssh_tokens (subject);
CREATE INDEX ssh_tokens_by_end ON ssh_tokens (expires_at);
