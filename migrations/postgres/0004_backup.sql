-- Copies of sessions. `value` is encoded (src/store/copy/codec.rs) and sealed; its place is (session, taken_at).
CREATE TABLE blacksky.backup (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session text NOT NULL,
    -- Microseconds since 1970, the database's clock.
    taken_at bigint NOT NULL,
    -- When the session was last found to be the same as this copy.
    checked_at bigint NOT NULL,
    generation bigint NOT NULL,
    digest bytea NOT NULL,
    rows bigint NOT NULL,
    -- Bytes of `value`.
    size bigint NOT NULL,
    value bytea NOT NULL,
    UNIQUE (session, taken_at)
);
-- Compressed and sealed already: PostgreSQL's own compression would only cost time.
ALTER TABLE blacksky.backup ALTER COLUMN value SET STORAGE EXTERNAL;
