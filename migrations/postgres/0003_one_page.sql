-- What the holder of a lease last said about its link, so that every dyno can serve the same page.
-- It counts only while the epoch and the owner are those of the session's row and the lease lasts.
CREATE TABLE blacksky.status (
    session text NOT NULL PRIMARY KEY,
    epoch bigint NOT NULL,
    owner text NOT NULL,
    published_at timestamptz NOT NULL,
    -- JSON without any secret.
    status text NOT NULL,
    -- A QR code that waits to be scanned; always sealed.
    qr bytea,
    qr_expires_at timestamptz
);

-- What the page of a dyno asks of the holder of a session. The holder takes it, does it, and says so.
CREATE TABLE blacksky.control (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session text NOT NULL,
    action text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_at timestamptz,
    done_at timestamptz,
    outcome text
);
CREATE INDEX control_open ON blacksky.control (session) WHERE taken_at IS NULL;
