-- What the links did, for the page: a row for each stretch of time in which a bot's link stood somewhere, as the
-- dyno that held it saw it. Where no stretch is, no process kept the link.
CREATE TABLE blacksky.history (
    session text NOT NULL,
    -- Times are microseconds since 1970, by the clock of the dyno.
    at bigint NOT NULL,
    -- A number of the process: two may have begun a stretch at once.
    process bigint NOT NULL,
    -- Seen until then: grows while the stretch lasts.
    until bigint NOT NULL,
    -- The word of the state, as in /status.
    state text NOT NULL,
    -- Why the link ended that was open before, in a word and in a sentence.
    reason text,
    text text,
    -- Dials that failed in it.
    tries bigint NOT NULL,
    dyno text NOT NULL,
    PRIMARY KEY (session, at, process)
);
CREATE INDEX history_until ON blacksky.history (session, until);

-- Messages of each hour, counted by each process for itself, so that writing the same count twice is harmless.
CREATE TABLE blacksky.traffic (
    session text NOT NULL,
    -- When the hour begins, microseconds since 1970.
    hour bigint NOT NULL,
    process bigint NOT NULL,
    received bigint NOT NULL,
    sent bigint NOT NULL,
    PRIMARY KEY (session, hour, process)
);
