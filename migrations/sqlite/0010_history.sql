-- The same shape as migrations/postgres.
CREATE TABLE history (
    session TEXT NOT NULL,
    at INTEGER NOT NULL,
    process INTEGER NOT NULL,
    until INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    text TEXT,
    tries INTEGER NOT NULL,
    dyno TEXT NOT NULL,
    PRIMARY KEY (session, at, process)
) STRICT, WITHOUT ROWID;
CREATE INDEX history_until ON history (session, until);

CREATE TABLE traffic (
    session TEXT NOT NULL,
    hour INTEGER NOT NULL,
    process INTEGER NOT NULL,
    received INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    PRIMARY KEY (session, hour, process)
) STRICT, WITHOUT ROWID;
