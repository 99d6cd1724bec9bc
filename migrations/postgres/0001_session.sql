-- A session and its lease in one row: whoever writes the session locks this row first.
CREATE TABLE blacksky.session (
    id text NOT NULL PRIMARY KEY,
    -- Current linking of the session; rows of older ones are archived.
    generation bigint NOT NULL,
    -- Fencing token: microseconds of the database's clock, always growing.
    epoch bigint NOT NULL,
    -- Empty when nobody holds the lease.
    owner text NOT NULL,
    expires_at timestamptz NOT NULL,
    -- Last WhatsApp Web version that led to an open link.
    wa_version text,
    -- Makes the epoch part of a key: FOR KEY SHARE lets renewals pass and makes a take-over wait.
    UNIQUE (id, epoch, generation)
);

CREATE TABLE blacksky.generation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_at timestamptz
);
CREATE INDEX generation_session ON blacksky.generation (session);

-- Everything a WhatsApp client keeps. Kinds, and what `at` and `mark` mean for each, are in src/store/kind.rs.
CREATE TABLE blacksky.session_row (
    generation bigint NOT NULL,
    kind smallint NOT NULL,
    key bytea NOT NULL,
    sub bytea NOT NULL,
    value bytea NOT NULL,
    at bigint NOT NULL,
    mark bigint,
    PRIMARY KEY (generation, kind, key, sub)
);
-- Lookups by the second half of the key: devices of a group (10), phone numbers (11).
CREATE INDEX session_row_sub ON blacksky.session_row (generation, kind, sub) WHERE kind IN (10, 11);

CREATE TABLE blacksky.inbox (
    generation bigint NOT NULL,
    chat bytea NOT NULL,
    sender bytea NOT NULL,
    id bytea NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    -- Sender's clock, microseconds since 1970.
    at bigint NOT NULL,
    value bytea NOT NULL,
    handled_at timestamptz,
    PRIMARY KEY (generation, chat, sender, id)
);
CREATE INDEX inbox_unhandled ON blacksky.inbox (generation, seq) WHERE handled_at IS NULL;
CREATE INDEX inbox_handled ON blacksky.inbox (generation, handled_at) WHERE handled_at IS NOT NULL;
