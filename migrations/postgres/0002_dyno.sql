-- The dynos that are up: one that stops looks here for another that can go on with its sessions.
CREATE TABLE blacksky.dyno (
    -- The same word as in session.owner.
    owner text NOT NULL PRIMARY KEY,
    -- The platform's name for it, such as web.1.
    name text NOT NULL,
    booted_at timestamptz NOT NULL,
    -- The sessions it stands by for or keeps.
    sessions text[] NOT NULL,
    -- Could open a link at once. Not while it starts, nor while it stops.
    ready boolean NOT NULL,
    seen_at timestamptz NOT NULL,
    -- Gone, unless seen again before.
    expires_at timestamptz NOT NULL
);
