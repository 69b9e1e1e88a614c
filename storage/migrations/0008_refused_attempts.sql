-- What somebody tried to reach and was refused, found by what they asked for: an item's page says so.

-- records. One row per access.refused, except for those that stand for several. The entry's subject is the force, never what was
-- asked for, so nothing else leads from an item to it. Attempts recorded before this table was made appear after a rebuild.
CREATE TABLE refused_attempts (
    force      TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    asked      TEXT   NOT NULL,  -- id as asked for, whether there is such a thing or not
    PRIMARY KEY (force, leaf_index)
);
CREATE INDEX refused_attempts_by_asked ON refused_attempts (force, asked, leaf_index);
