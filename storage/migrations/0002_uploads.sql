-- Uploads on their way in, and the tokens devices send them with.
--
-- Nothing here is a record: an upload becomes one through the entry item.received (or item.duplicate). What is lost
-- here costs a sender a second sending, never a byte that was receipted.

-- working state. One row per upload, from its creation until its answer has been there for everybody to fetch.
CREATE TABLE uploads (
    force           TEXT   NOT NULL,
    upload          TEXT   NOT NULL,
    device          TEXT   NOT NULL,  -- - for a workstation
    by_whom         TEXT   NOT NULL,  -- the actor of its entry
    read_by         TEXT   NOT NULL,  -- door through which the bytes come
    shape           TEXT   NOT NULL,  -- whole, partial (of a concatenation), final (a concatenation)
    state           TEXT   NOT NULL,  -- receiving; finishing (all bytes here, no answer yet); finished; composed (a
                                      -- partial whose bytes went into a final); ended (by its client, or expired)
    length_bytes    BIGINT,           -- null while the client has not said
    offset_bytes    BIGINT NOT NULL,  -- durable: everything below it survives a power cut
    item            TEXT   NOT NULL,  -- the ids its entries will have are chosen at the start, so that finishing twice
    event           TEXT   NOT NULL,  -- gives one item.received (I8)
    duplicate_event TEXT   NOT NULL,
    claims          TEXT   NOT NULL,  -- what the sender says of the bytes: JSON
    metadata        TEXT   NOT NULL,  -- the header as sent, to be echoed
    parts           TEXT   NOT NULL,  -- of a final: its partials, JSON array of ids in their order
    manifest        TEXT   NOT NULL,  -- the dock manifest, a signed note, or ''
    writer          TEXT   NOT NULL,  -- where the store's writer stands at the offset, hashing included: JSON, or ''.
                                      -- No footage: what is unfinished lies encrypted beside the parts
    sealed          TEXT   NOT NULL,  -- all bytes, sealed, before they have an object's name: JSON, or ''
    sha256          TEXT   NOT NULL,  -- of all bytes, once they are sealed, or ''
    blake3          TEXT   NOT NULL,
    outcome         TEXT   NOT NULL,  -- stored, duplicate, quarantined, or ''
    outcome_item    TEXT   NOT NULL,  -- the item that holds the bytes, or ''
    outcome_leaf    BIGINT,           -- the entry that the receipt is for
    reason_code     TEXT   NOT NULL,  -- of a quarantine, or ''
    created_at_ms   BIGINT NOT NULL,
    touched_at_ms   BIGINT NOT NULL,  -- last sign of life; expiry counts from here
    PRIMARY KEY (force, upload)
);
CREATE INDEX uploads_by_state ON uploads (force, state, touched_at_ms);
CREATE INDEX uploads_by_device ON uploads (force, device, state);

-- working state. What became of every byte a device began to send (I6): begun is the sum of the others and of the
-- offsets of its open uploads, always, because each change is one transaction.
CREATE TABLE upload_totals (
    force             TEXT   NOT NULL,
    device            TEXT   NOT NULL,
    begun_bytes       BIGINT NOT NULL,
    stored_bytes      BIGINT NOT NULL,
    duplicate_bytes   BIGINT NOT NULL,
    quarantined_bytes BIGINT NOT NULL,
    abandoned_bytes   BIGINT NOT NULL,
    PRIMARY KEY (force, device)
);

-- secrets. Never in the object store; after a loss, devices get new ones.
CREATE TABLE device_tokens (
    force         TEXT   NOT NULL,
    token_sha256  TEXT   NOT NULL,  -- of 256 random bits, so that no slower hash is needed
    device        TEXT   NOT NULL,
    credential_id TEXT   NOT NULL,  -- what entries call it
    issued_at_ms  BIGINT NOT NULL,
    revoked_at_ms BIGINT,           -- null while it opens the door
    PRIMARY KEY (force, token_sha256)
);
CREATE INDEX device_tokens_by_device ON device_tokens (force, device);
