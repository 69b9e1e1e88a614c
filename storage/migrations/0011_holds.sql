-- Orders that suspend disposal, until when items are kept, and which programs may use and write this database.

-- records. Holds, on an item or on everything of a case: made by hold.set, ended by hold.released.
CREATE TABLE holds (
    force      TEXT   NOT NULL,
    subject    TEXT   NOT NULL,  -- item:ID or case:ID
    leaf_index BIGINT NOT NULL,  -- the hold.set that made it
    set_at_ms  BIGINT NOT NULL,
    reason     TEXT   NOT NULL,  -- '' when erased
    PRIMARY KEY (force, subject)
);

-- records. Until when an item is kept: the newest retention.reviewed of it.
CREATE TABLE retention (
    force         TEXT   NOT NULL,
    item          TEXT   NOT NULL,
    leaf_index    BIGINT NOT NULL,
    keep_until_ms BIGINT NOT NULL,
    PRIMARY KEY (force, item)
);

-- The oldest program that works on this schema, by the newest migration that it knows. What only adds leaves it where it was.
ALTER TABLE schema_history ADD COLUMN works_from BIGINT NOT NULL DEFAULT 0;

-- The newest migration that a program knew which has opened this ledger. One that knows fewer does not write: it would enter events
-- whose rows it cannot make.
ALTER TABLE sequencer ADD COLUMN writes_from BIGINT NOT NULL DEFAULT 0;
