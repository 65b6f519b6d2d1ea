-- The index of the record: derived from it, and made anew when this changes. Whatever is the same for
-- many rows (who, what kind of action, the statement without its constants) is there once.
CREATE TABLE meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  -- How far the write-ahead log was read.
  file INTEGER,
  chain BLOB,
  -- The first and the last record's time.
  first_at INTEGER,
  last_at INTEGER,
  -- The stored segment up to which older records were read, and whether that is done.
  backfill TEXT,
  backfilled INTEGER NOT NULL DEFAULT 0
);
INSERT INTO meta (id) VALUES (1);

CREATE TABLE actors (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  body TEXT NOT NULL
);
-- Everybody who acts, owns or delegates, by name.
CREATE TABLE people (
  name TEXT NOT NULL,
  actor INTEGER NOT NULL,
  PRIMARY KEY (name, actor)
) WITHOUT ROWID;
CREATE INDEX people_actor ON people (actor);

CREATE TABLE streams (
  id INTEGER PRIMARY KEY,
  uuid BLOB NOT NULL UNIQUE,
  actor INTEGER,
  target TEXT,
  database TEXT,
  source TEXT,
  ended INTEGER NOT NULL DEFAULT 0,
  -- Erased: nothing of it is taken again.
  forgotten INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX streams_target ON streams (target);
CREATE INDEX streams_actor ON streams (actor);

CREATE TABLE shapes (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  body TEXT NOT NULL
);
CREATE TABLE terms (
  kind INTEGER NOT NULL,
  value TEXT NOT NULL,
  shape INTEGER NOT NULL,
  PRIMARY KEY (kind, value, shape)
) WITHOUT ROWID;
CREATE INDEX terms_shape ON terms (shape);

CREATE TABLE texts (
  id INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE,
  text TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(
  text, content = 'texts', content_rowid = 'id', tokenize = "unicode61 remove_diacritics 0"
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);

CREATE TABLE entries (
  id INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  -- The record's number in its stream.
  n INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  seq INTEGER,
  actor INTEGER,
  shape INTEGER,
  text INTEGER,
  -- Why there is no text.
  untold TEXT,
  decision TEXT,
  risk INTEGER,
  hold TEXT,
  approval TEXT,
  outcome TEXT,
  detail TEXT,
  rows INTEGER,
  elapsed_us INTEGER
);
CREATE UNIQUE INDEX entries_place ON entries (stream, n);
CREATE INDEX entries_time ON entries (at, id);
CREATE INDEX entries_actor ON entries (actor, at, id);
CREATE INDEX entries_shape ON entries (shape, at, id);
CREATE INDEX entries_text ON entries (text) WHERE text IS NOT NULL;
CREATE INDEX entries_open ON entries (stream, seq) WHERE kind = 1 AND outcome IS NULL;

-- Holds, rules and approvers, of those few entries that have them.
CREATE TABLE approvals (
  value TEXT NOT NULL,
  entry INTEGER NOT NULL,
  PRIMARY KEY (value, entry)
) WITHOUT ROWID;
CREATE INDEX approvals_entry ON approvals (entry);

-- Outcomes that came before their actions, while older records are read.
CREATE TABLE late (
  stream INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  detail TEXT,
  rows INTEGER,
  elapsed_us INTEGER,
  PRIMARY KEY (stream, seq)
) WITHOUT ROWID;
