-- Lock modes, and the line of those who wait.

ALTER TABLE reservations ADD COLUMN mode TEXT NOT NULL DEFAULT 'exclusive';

UPDATE reservations SET mode = 'shared' WHERE NOT exclusive;

ALTER TABLE reservations DROP COLUMN exclusive;

ALTER TABLE reservations ADD COLUMN renew_on_heartbeat INTEGER NOT NULL DEFAULT 0;

-- The ticket that was granted, as long as it was not taken up.
ALTER TABLE reservations ADD COLUMN ticket_id TEXT;

-- What is left of the patterns after some were given up.
ALTER TABLE reservations ADD COLUMN kept TEXT;

UPDATE events SET data = json_remove(
    json_set(data, '$.mode', iif(data ->> 'exclusive', 'exclusive', 'shared')), '$.exclusive'
) WHERE type = 'reservation.created';

UPDATE events SET data = json_set(
    data,
    '$.fencing_token',
    (SELECT cursor FROM reservations WHERE reservation_id = entity_id)
) WHERE type IN ('reservation.renewed', 'reservation.released', 'reservation.expired');

CREATE TABLE tickets (
    cursor           INTEGER PRIMARY KEY,
    ticket_id        TEXT    NOT NULL UNIQUE,
    agent_id         TEXT    NOT NULL,
    patterns         TEXT    NOT NULL,
    mode             TEXT    NOT NULL,
    reason           TEXT    NOT NULL,
    ttl_ms           INTEGER NOT NULL,
    renew_on_heartbeat INTEGER NOT NULL,
    held_open        INTEGER NOT NULL,
    created_at_us    INTEGER NOT NULL,
    wait_until_us    INTEGER NOT NULL,
    ended            TEXT,
    ended_at_us      INTEGER,
    reservation_id   TEXT
) STRICT;

CREATE INDEX tickets_waiting ON tickets (cursor) WHERE ended IS NULL;

CREATE INDEX tickets_by_agent ON tickets (agent_id, cursor);
