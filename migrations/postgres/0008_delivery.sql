-- Messages that are still owed to a bot's webhook, in one transaction with their row of the inbox. A row goes
-- when the receiver has taken it; one that was tried for too long stays as a dead letter.
CREATE TABLE blacksky.delivery (
    session text NOT NULL,
    chat bytea NOT NULL,
    sender bytea NOT NULL,
    id bytea NOT NULL,
    -- The order within a chat.
    seq bigint GENERATED ALWAYS AS IDENTITY,
    -- Times are microseconds since 1970, by the clock of the dyno.
    stored_at bigint NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    next_at bigint NOT NULL DEFAULT 0,
    dead_at bigint,
    -- What is posted; sealed.
    value bytea NOT NULL,
    PRIMARY KEY (session, chat, sender, id)
);
CREATE INDEX delivery_owed ON blacksky.delivery (session, chat, seq) WHERE dead_at IS NULL;
CREATE INDEX delivery_dead ON blacksky.delivery (session, seq) WHERE dead_at IS NOT NULL;
