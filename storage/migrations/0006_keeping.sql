-- What keeping the system needs to remember between two runs: backups that were verified, and how far the scrub is.
--
-- Everything here is working state: when it is lost, the folder of a backup still says what it holds, and a scrub begins
-- at the first entry.

-- working state. One row per folder that was backed up to: what `status` says of it.
CREATE TABLE backups (
    force           TEXT   NOT NULL,
    folder          TEXT   NOT NULL,
    entries         BIGINT NOT NULL,  -- of the ledger, in the backup
    verified_at_ms  BIGINT NOT NULL,  -- everything that its ledger names was there, and what was new was compared
    read_at_ms      BIGINT,           -- every byte of it was read: by a drill, or because somebody asked
    faults          BIGINT NOT NULL,  -- objects that are damaged here and so are not in it
    PRIMARY KEY (force, folder)
);

-- working state. One row per force: the scrub that is under way, and the last that came to its end.
CREATE TABLE scrubs (
    force         TEXT   NOT NULL PRIMARY KEY,
    started_at_ms BIGINT,            -- of the one under way; null when none is
    next_leaf     BIGINT NOT NULL,   -- of the one under way: entries before it were gone through
    findings      TEXT   NOT NULL,   -- of the one under way: JSON array
    ended_at_ms   BIGINT,            -- of the last that came to its end
    objects       BIGINT NOT NULL,   -- read by it
    ended_findings TEXT  NOT NULL    -- what it found: JSON array
);

-- How much came in lately, and so how long the disk lasts, without going through all items.
CREATE INDEX items_by_time ON items (force, received_at_ms, size_bytes);
CREATE INDEX items_faulty ON items (force) WHERE fault <> '';
CREATE INDEX items_in_quarantine ON items (force) WHERE state = 'quarantined';
