-- Lists and searches that stay quick with a hundred thousand items, whoever asks.

-- records, with the rest of the item's row: name, camera and recording in lower case, so that a search reads one narrow index.
ALTER TABLE items ADD COLUMN search TEXT NOT NULL DEFAULT '';
-- In how many cases it is. It only says where to look: who may see an item is asked of case_items itself.
ALTER TABLE items ADD COLUMN cases BIGINT NOT NULL DEFAULT 0;
UPDATE items SET search = LOWER(name || ' ' || camera || ' ' || recording), cases = (SELECT COUNT(*) FROM case_items c
    WHERE c.force = items.force AND c.item = items.item);
CREATE INDEX items_to_find ON items (force, cases, leaf_index, search);
