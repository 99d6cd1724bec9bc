-- The same shape as migrations/postgres.
CREATE TABLE imported (
    session TEXT NOT NULL,
    digest BLOB NOT NULL,
    -- Seconds since 1970.
    imported_at INTEGER NOT NULL DEFAULT (unixepoch()),
    PRIMARY KEY (session, digest)
) STRICT, WITHOUT ROWID;
