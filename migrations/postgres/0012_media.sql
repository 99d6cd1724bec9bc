-- Files that programs gave for messages they want sent, in pieces, so that whoever sends them needs not hold them as a
-- whole. One goes a day after its last use, and stays for as long as a message waits for it.
CREATE TABLE blacksky.media (
    session text NOT NULL,
    id text NOT NULL,
    -- Bytes; as many as there may be at the most until it is complete.
    size bigint NOT NULL,
    -- What its first bytes say it is.
    mimetype text NOT NULL DEFAULT '',
    complete boolean NOT NULL DEFAULT false,
    -- When it was begun or last used; microseconds since 1970, by the clock of the dyno.
    used_at bigint NOT NULL,
    PRIMARY KEY (session, id)
);
CREATE INDEX media_used ON blacksky.media (used_at);
CREATE TABLE blacksky.media_piece (
    session text NOT NULL,
    id text NOT NULL,
    -- Counts from 0.
    part bigint NOT NULL,
    -- Sealed.
    value bytea NOT NULL,
    PRIMARY KEY (session, id, part),
    FOREIGN KEY (session, id) REFERENCES blacksky.media ON DELETE CASCADE
);
-- Sealed bytes do not get smaller.
ALTER TABLE blacksky.media_piece ALTER COLUMN value SET STORAGE EXTERNAL;
-- The file that a message needs.
ALTER TABLE blacksky.outbox ADD COLUMN media text;
CREATE INDEX outbox_media ON blacksky.outbox (session, media) WHERE media IS NOT NULL AND ended_at IS NULL;
