-- Projections of the agents, and beside them what is known of agents without being history.

CREATE TABLE agents (
    agent_id            TEXT PRIMARY KEY,
    session_id          TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    capabilities        TEXT    NOT NULL,
    metadata            TEXT    NOT NULL,
    status              TEXT    NOT NULL,
    policy              TEXT    NOT NULL,
    live_contact_policy TEXT    NOT NULL,
    created_at_us       INTEGER NOT NULL,
    retired_at_us       INTEGER
) STRICT;

CREATE TABLE contacts (
    agent_id    TEXT    NOT NULL,
    contact_id  TEXT    NOT NULL,
    added_at_us INTEGER NOT NULL,
    cursor      INTEGER NOT NULL,
    PRIMARY KEY (agent_id, contact_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE presence (
    agent_id     TEXT PRIMARY KEY,
    last_seen_us INTEGER NOT NULL,
    focus_state  TEXT    NOT NULL,
    focus_at_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
    agent_id   TEXT PRIMARY KEY,
    token_hash BLOB    NOT NULL,
    bound      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
