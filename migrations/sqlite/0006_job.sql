-- The same shape as migrations/postgres.
CREATE TABLE job_run (
    app TEXT NOT NULL,
    job TEXT NOT NULL,
    -- Microseconds since 1970.
    due_at INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    owner TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    detail TEXT NOT NULL DEFAULT '',
    output TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (app, job, due_at, asked)
) STRICT, WITHOUT ROWID;
