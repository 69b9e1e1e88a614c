-- Jobs that somebody asked for, how far they are, and whose turn it is.

-- working state. Standard jobs follow from entries; these columns stay as they are then.
ALTER TABLE jobs ADD COLUMN asked_by TEXT NOT NULL DEFAULT '';      -- who asked for it, as entries name them, or ''
ALTER TABLE jobs ADD COLUMN reason TEXT NOT NULL DEFAULT '';        -- why, in their words
ALTER TABLE jobs ADD COLUMN cancelled_by TEXT NOT NULL DEFAULT '';  -- who wants it no more, or ''
ALTER TABLE jobs ADD COLUMN permille BIGINT NOT NULL DEFAULT 0;     -- how much of the original has been read, while it is running

-- working state. Devices take turns: what is made of one item has one turn, and a device's next item one after the last that it waits
-- for, but never one that has passed.
ALTER TABLE jobs ADD COLUMN device TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
DROP INDEX jobs_by_state;
CREATE INDEX jobs_by_state ON jobs (force, state, not_before_ms, turn, item);
CREATE INDEX jobs_by_turn ON jobs (force, state, turn);
CREATE INDEX jobs_by_device ON jobs (force, device, state, turn);
