-- The same shape as migrations/postgres. The lease itself is an OS file lock; this row keeps its epoch.
CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY,
    generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    wa_version TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE generation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    -- Microseconds since 1970.
    opened_at INTEGER NOT NULL,
    archived_at INTEGER
) STRICT;
CREATE INDEX generation_session ON generation (session);

CREATE TABLE session_row (
    generation INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    sub BLOB NOT NULL,
    value BLOB NOT NULL,
    at INTEGER NOT NULL,
    mark INTEGER,
    PRIMARY KEY (generation, kind, key, sub)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_row_sub ON session_row (generation, kind, sub) WHERE kind IN (10, 11);

CREATE TABLE inbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL,
    chat BLOB NOT NULL,
    sender BLOB NOT NULL,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    value BLOB NOT NULL,
    handled_at INTEGER,
    UNIQUE (generation, chat, sender, id)
) STRICT;
CREATE INDEX inbox_unhandled ON inbox (generation, seq) WHERE handled_at IS NULL;
CREATE INDEX inbox_handled ON inbox (generation, handled_at) WHERE handled_at IS NOT NULL;
