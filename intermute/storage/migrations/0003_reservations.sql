-- Every reservation ever granted, keyed by the cursor of the event that granted it.

CREATE TABLE reservations (
    cursor         INTEGER PRIMARY KEY,
    reservation_id TEXT    NOT NULL UNIQUE,
    agent_id       TEXT    NOT NULL,
    patterns       TEXT    NOT NULL,
    exclusive      INTEGER NOT NULL,
    reason         TEXT    NOT NULL,
    ttl_ms         INTEGER NOT NULL,
    created_at_us  INTEGER NOT NULL,
    expires_at_us  INTEGER NOT NULL,
    ended          TEXT,
    ended_at_us    INTEGER
) STRICT;

CREATE INDEX reservations_active ON reservations (cursor) WHERE ended IS NULL;

CREATE INDEX reservations_by_agent ON reservations (agent_id, cursor);
