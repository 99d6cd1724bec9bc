-- Runs of jobs. A row is written before a run begins, so that each is done once, whichever dyno comes first.
CREATE TABLE blacksky.job_run (
    -- Which app: several may share a database.
    app text NOT NULL,
    job text NOT NULL,
    -- Microseconds since 1970.
    due_at bigint NOT NULL,
    -- Somebody wanted it then; else it was due by the clock.
    asked boolean NOT NULL,
    owner text NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint,
    outcome text,
    detail text NOT NULL DEFAULT '',
    output text NOT NULL DEFAULT '',
    PRIMARY KEY (app, job, due_at, asked)
);
