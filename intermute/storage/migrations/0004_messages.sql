-- Messages, keyed by the cursor of the event that created them, and who has them.

-- `body` stands last, because what comes after a long text is slow to reach. `preview` is the
-- beginning of a body that is too long to be read for a list.
CREATE TABLE messages (
    cursor        INTEGER PRIMARY KEY,
    message_id    TEXT    NOT NULL UNIQUE,
    thread_id     TEXT    NOT NULL,
    topic         TEXT    NOT NULL,
    sender        TEXT    NOT NULL,
    to_agents     TEXT    NOT NULL,
    cc_agents     TEXT    NOT NULL,
    bcc_agents    TEXT    NOT NULL,
    importance    TEXT    NOT NULL,
    ack_required  INTEGER NOT NULL,
    broadcast     INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    edited_at_us  INTEGER,
    edited_cursor INTEGER,
    subject       TEXT    NOT NULL,
    preview       TEXT,
    body          TEXT    NOT NULL
) STRICT;

CREATE INDEX messages_by_thread ON messages (thread_id, cursor) WHERE thread_id <> '';

CREATE INDEX messages_by_topic ON messages (topic, cursor) WHERE topic <> '';

CREATE INDEX broadcasts ON messages (cursor) WHERE broadcast = 1;

-- One row for each recipient of each message. `ack_due`: an acknowledgement is asked for and has
-- not come.
CREATE TABLE deliveries (
    agent_id   TEXT    NOT NULL,
    cursor     INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    ack_due    INTEGER NOT NULL,
    read_at_us INTEGER,
    ack_at_us  INTEGER,
    PRIMARY KEY (agent_id, cursor)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_unread ON deliveries (agent_id, cursor) WHERE read_at_us IS NULL;

CREATE INDEX deliveries_ack_due ON deliveries (agent_id, cursor) WHERE ack_due = 1;

CREATE TABLE mailboxes (
    agent_id TEXT PRIMARY KEY,
    total    INTEGER NOT NULL,
    unread   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The threads that an agent takes part in, and its messages in each of them.
CREATE TABLE thread_members (
    agent_id      TEXT    NOT NULL,
    thread_id     TEXT    NOT NULL,
    last_cursor   INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    PRIMARY KEY (agent_id, thread_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX thread_members_by_age ON thread_members (agent_id, last_cursor);

CREATE TABLE thread_messages (
    agent_id  TEXT    NOT NULL,
    thread_id TEXT    NOT NULL,
    cursor    INTEGER NOT NULL,
    PRIMARY KEY (agent_id, thread_id, cursor)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE message_words USING fts5 (
    subject, body, content = 'messages', content_rowid = 'cursor', columnsize = 0,
    tokenize = 'unicode61 remove_diacritics 2'
);
