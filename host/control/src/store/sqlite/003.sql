-- How much each hold takes, so that what is kept of them can be bounded.
ALTER TABLE holds ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE holds SET size = octet_length(document_json);
CREATE INDEX holds_by_size ON holds (principal, size);
