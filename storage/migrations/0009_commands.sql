-- Several servers on one database: who writes the ledger now, and what the others ask of the one that does.
--
-- With SQLite there is one server, which writes without a lease, and the table stays empty.

-- working state. Until when the holder of the epoch may take the ledger to be its own, in milliseconds of the database's clock,
-- never of a server's; 0 when it was given up. It decides who begins, and fences nobody: that is what the epoch does.
ALTER TABLE sequencer ADD COLUMN leased_until_ms BIGINT NOT NULL DEFAULT 0;

-- working state. A command on its way from the server that was asked to the one that writes, with its outcome once it has one. A row
-- that is lost is put there again by its server, whose client waits. The event id in it makes every repeat harmless.
CREATE TABLE commands (
    force       TEXT   NOT NULL,
    server      TEXT   NOT NULL,  -- who was asked: random, new with each opening of the ledger
    number      BIGINT NOT NULL,  -- counts what that server was asked
    asked_at_ms BIGINT NOT NULL,  -- by the database's clock: the order in which they are taken. What becomes of it has the ledger's
    hurry       BIGINT NOT NULL,  -- 1 when somebody waits; 0: it goes with the next batch
    command     BLOB   NOT NULL,  -- stored form of a command. Holds names and the salts that hide them, so it goes when answered
    outcome     TEXT   NOT NULL,  -- '' while it waits; placed, repeated, refused or given-up: written with the entries
    leaf_index  BIGINT,           -- of placed and repeated
    reason      TEXT   NOT NULL,  -- of refused: the stored form of the refusal; of given-up: why nothing was written
    PRIMARY KEY (force, server, number)
);
CREATE INDEX commands_that_wait ON commands (force, outcome, asked_at_ms);
