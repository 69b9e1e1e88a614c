-- What followers of the ledger have still to do, first of all the derivatives to be made.
--
-- Everything here is working state: when it is lost, the followers read the ledger again from the start, and find what
-- is there already by original and recipe.

-- working state. How far each follower of the ledger has read.
CREATE TABLE followers (
    force     TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    next_leaf BIGINT NOT NULL,  -- the first entry it has not taken note of
    PRIMARY KEY (force, name)
);

-- working state. One row per derivative to be made or decided about: item and recipe, so nothing is made twice.
CREATE TABLE jobs (
    force         TEXT   NOT NULL,
    item          TEXT   NOT NULL,
    recipe_id     TEXT   NOT NULL,  -- digest of the recipe as asked for
    kind          TEXT   NOT NULL,  -- probe, proxy, poster
    recipe        TEXT   NOT NULL,  -- as asked for, canonical JSON
    state         TEXT   NOT NULL,  -- waiting, running, ended
    crashes       BIGINT NOT NULL,  -- times the worker died of it; the second is a failure
    troubles      BIGINT NOT NULL,  -- times this machine was to blame (store, database, program); tried again, later each time
    not_before_ms BIGINT NOT NULL,  -- waits until then
    upload        TEXT   NOT NULL,  -- where the attempt writes, or '': cleared away when an attempt was cut off
    object        TEXT   NOT NULL,  -- the name its derivative gets, or ''
    PRIMARY KEY (force, item, recipe_id)
);
CREATE INDEX jobs_by_state ON jobs (force, state, not_before_ms);
