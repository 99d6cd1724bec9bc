-- The same shape as migrations/postgres.
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    id TEXT NOT NULL,
    key TEXT,
    digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    sent INTEGER,
    detail TEXT NOT NULL DEFAULT '',
    value BLOB NOT NULL,
    UNIQUE (session, id)
) STRICT;
CREATE UNIQUE INDEX outbox_key ON outbox (session, key) WHERE key IS NOT NULL;
CREATE INDEX outbox_queued ON outbox (session, seq) WHERE ended_at IS NULL;
CREATE INDEX outbox_ended ON outbox (session, ended_at) WHERE ended_at IS NOT NULL;
