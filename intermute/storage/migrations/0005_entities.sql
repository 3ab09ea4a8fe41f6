-- Entities as they are now, keyed by the cursor of the event that created them, and the features
-- that user journeys are linked to.

-- `data` holds all of the entity. The other columns are what lists filter by ('' where there is
-- nothing) and the order in which they have it: `rank` upwards, then `sorted_at_us` downwards.
CREATE TABLE entities (
    cursor       INTEGER PRIMARY KEY,
    kind         TEXT    NOT NULL,
    entity_id    TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    parent_id    TEXT    NOT NULL,
    agent        TEXT    NOT NULL,
    category     TEXT    NOT NULL,
    rank         REAL    NOT NULL,
    sorted_at_us INTEGER NOT NULL,
    data         TEXT    NOT NULL,
    UNIQUE (kind, entity_id)
) STRICT;

CREATE INDEX entities_by_kind ON entities (kind, rank, sorted_at_us DESC, cursor DESC);

CREATE INDEX entities_by_status ON entities (kind, status, rank, sorted_at_us DESC, cursor DESC)
WHERE status <> '';

CREATE INDEX entities_by_parent ON entities (kind, parent_id, rank, sorted_at_us DESC, cursor DESC)
WHERE parent_id <> '';

CREATE INDEX entities_by_agent ON entities (kind, agent, rank, sorted_at_us DESC, cursor DESC)
WHERE agent <> '';

CREATE INDEX entities_by_category ON entities (kind, category, rank, sorted_at_us DESC, cursor DESC)
WHERE category <> '';

CREATE TABLE cuj_links (
    cuj_id       TEXT    NOT NULL,
    feature_id   TEXT    NOT NULL,
    linked_at_us INTEGER NOT NULL,
    PRIMARY KEY (cuj_id, feature_id)
) STRICT, WITHOUT ROWID;
