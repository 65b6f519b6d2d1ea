-- What a session speaks. Of those before, it was not kept.
ALTER TABLE sessions ADD COLUMN protocol TEXT NOT NULL DEFAULT '';
