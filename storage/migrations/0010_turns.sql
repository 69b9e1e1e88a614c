-- Several servers on one database: whose turn it is with a job or an upload.
--
-- With SQLite there is one server, and what it held when it ended is nobody's. Both columns that count are there for it too.

-- working state. A server that works on a job says until when, in milliseconds of the database's clock, and goes on saying so; a job
-- whose time is past is anybody's. The count tells whoever had it before that it is another's now.
ALTER TABLE jobs ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;            -- how often it was taken
ALTER TABLE jobs ADD COLUMN claimed_until_ms BIGINT NOT NULL DEFAULT 0;  -- while it is running

-- working state. Raised by each server that takes an upload's turn; each change of it names the turn, so that a server whose client
-- has gone on elsewhere neither moves the offset nor ends the upload.
ALTER TABLE uploads ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
