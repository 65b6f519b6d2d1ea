-- By what people name a short token, and for which token it stands.
ALTER TABLE ssh_tokens ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE ssh_tokens ADD COLUMN token TEXT;
UPDATE ssh_tokens SET id = lower(substr(hex(hash), 1, 16));
CREATE INDEX ssh_tokens_by_id ON ssh_tokens (id);
-- Whose certificates there are so many of.
CREATE INDEX ssh_certificates_by_subject ON ssh_certificates (subject, ends_at);
