-- The same shape as migrations/postgres.
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    chat BLOB NOT NULL,
    sender BLOB NOT NULL,
    id BLOB NOT NULL,
    stored_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    dead_at INTEGER,
    value BLOB NOT NULL,
    UNIQUE (session, chat, sender, id)
) STRICT;
CREATE INDEX delivery_owed ON delivery (session, chat, seq) WHERE dead_at IS NULL;
CREATE INDEX delivery_dead ON delivery (session, seq) WHERE dead_at IS NOT NULL;
