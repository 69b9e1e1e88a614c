-- Long recordings are encoded in ranges, each a job of its own, and joined.

-- working state. A range is a row beside the job that joins it: claimed alone, and gone when that one is decided. Nobody takes the job that
-- joins while one of its ranges is waiting or running.
ALTER TABLE jobs ADD COLUMN part_of TEXT NOT NULL DEFAULT '';  -- of a range: recipe_id of the job that joins it
ALTER TABLE jobs ADD COLUMN made TEXT NOT NULL DEFAULT '';     -- of a range that has ended: what came of it, JSON
