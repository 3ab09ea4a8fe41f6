-- Terminal windows in which agents work, expired ones included.

-- `cursor` is of the last event about the window: the order of activity.
CREATE TABLE windows (
    window_id         TEXT PRIMARY KEY,
    cursor            INTEGER NOT NULL,
    window_uuid       TEXT    NOT NULL,
    agent_id          TEXT    NOT NULL,
    display_name      TEXT    NOT NULL,
    tmux_target       TEXT    NOT NULL,
    created_at_us     INTEGER NOT NULL,
    last_active_at_us INTEGER NOT NULL,
    expired_at_us     INTEGER
) STRICT;

CREATE UNIQUE INDEX windows_live ON windows (window_uuid) WHERE expired_at_us IS NULL;

CREATE INDEX windows_by_activity ON windows (cursor) WHERE expired_at_us IS NULL;

-- What is no history: the hash of the token by which a window's pane shows itself.
CREATE TABLE pane_tokens (
    window_id  TEXT PRIMARY KEY,
    token_hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that were to be typed into a recipient's window, keyed by the cursor of the event that
-- planned it. `settled_at_us` is when it was known what came of it; of one that was put off when
-- it was planned that is never.
CREATE TABLE pokes (
    cursor         INTEGER PRIMARY KEY,
    message_id     TEXT    NOT NULL,
    agent_id       TEXT    NOT NULL,
    sender         TEXT    NOT NULL,
    thread_id      TEXT    NOT NULL,
    transport      TEXT    NOT NULL,
    window_uuid    TEXT    NOT NULL,
    tmux_target    TEXT    NOT NULL,
    result         TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    created_at_us  INTEGER NOT NULL,
    settled_at_us  INTEGER,
    surfaced_at_us INTEGER,
    body           TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX pokes_by_message ON pokes (message_id, agent_id);

CREATE INDEX pokes_pending ON pokes (cursor) WHERE result = 'pending';

CREATE INDEX pokes_unsurfaced ON pokes (agent_id, cursor)
WHERE result = 'deferred' AND surfaced_at_us IS NULL;
