-- The same shape as migrations/postgres.
CREATE TABLE backup (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    digest BLOB NOT NULL,
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    -- Last, so that the columns before it are read without it.
    value BLOB NOT NULL,
    UNIQUE (session, taken_at)
) STRICT;
