-- Messages that programs want sent: durable before they are accepted, sent by whoever holds the session's lease.
CREATE TABLE blacksky.outbox (
    session text NOT NULL,
    -- Of the message at WhatsApp: the same however often it has to be sent.
    id text NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    -- Idempotency key of the asker, and what it asked with it.
    key text,
    digest bytea NOT NULL,
    -- Microseconds since 1970.
    created_at bigint NOT NULL,
    ended_at bigint,
    sent boolean,
    detail text NOT NULL DEFAULT '',
    value bytea NOT NULL,
    PRIMARY KEY (session, id)
);
CREATE UNIQUE INDEX outbox_key ON blacksky.outbox (session, key) WHERE key IS NOT NULL;
CREATE INDEX outbox_queued ON blacksky.outbox (session, seq) WHERE ended_at IS NULL;
CREATE INDEX outbox_ended ON blacksky.outbox (session, ended_at) WHERE ended_at IS NOT NULL;
