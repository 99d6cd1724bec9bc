-- The same shape as migrations/postgres.
CREATE TABLE media (
    session TEXT NOT NULL,
    id TEXT NOT NULL,
    size INTEGER NOT NULL,
    mimetype TEXT NOT NULL DEFAULT '',
    complete INTEGER NOT NULL DEFAULT 0,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (session, id)
) STRICT;
CREATE INDEX media_used ON media (used_at);
CREATE TABLE media_piece (
    session TEXT NOT NULL,
    id TEXT NOT NULL,
    part INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (session, id, part),
    FOREIGN KEY (session, id) REFERENCES media (session, id) ON DELETE CASCADE
) STRICT;
ALTER TABLE outbox ADD COLUMN media TEXT;
CREATE INDEX outbox_media ON outbox (session, media) WHERE media IS NOT NULL AND ended_at IS NULL;
