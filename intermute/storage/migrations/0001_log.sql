-- What a project is, its history, and the answers remembered for retried requests.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    cursor    INTEGER PRIMARY KEY,
    type      TEXT    NOT NULL,
    actor     TEXT,
    entity_id TEXT    NOT NULL,
    data      TEXT    NOT NULL,
    at_us     INTEGER NOT NULL,
    version   INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
    request_key BLOB    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    answer      TEXT    NOT NULL,
    at_us       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_age ON requests (at_us);
