-- Session ids that carried a login and were imported: never twice, also when the session was archived since.
CREATE TABLE blacksky.imported (
    session text NOT NULL,
    -- SHA-256 of the session id.
    digest bytea NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (session, digest)
);
