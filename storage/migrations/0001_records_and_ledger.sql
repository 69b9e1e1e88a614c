-- The records, and what the ledger's sequencer needs to go on after a restart.
--
-- Three kinds of tables, named at each one:
--   records        a projection of the ledger's entries and openings. Every change is an event, applied in the transaction
--                  of its entry; all of it can be rebuilt from the object store, equal row by row.
--   working state  comes and goes without an entry, and may be lost.
--   secrets        never in the object store; re-enrolled after a loss. (None in this file.)
--
-- Every row carries its force. Types are BIGINT, TEXT and BLOB only (BLOB is read as BYTEA on PostgreSQL): times are
-- milliseconds since 1970 UTC, truth is 0 or 1, digests are lower-case hex.

-- records. One row per entry, in the ledger's order; INSERT only.
CREATE TABLE entries (
    force      TEXT   NOT NULL,  -- the ledger's origin
    leaf_index BIGINT NOT NULL,  -- dense from 0; given by the sequencer, never by a database sequence (I4)
    event      TEXT   NOT NULL,  -- chosen by whoever asked: a repeat finds its first result here (I8)
    type       TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,  -- server time; orders nothing
    entry      BLOB   NOT NULL,  -- the canonical bytes whose hash is the leaf
    PRIMARY KEY (force, leaf_index),
    UNIQUE (force, event)
);

-- records. What opens an entry's commitments; apart from the entry because the personal ones can be erased.
CREATE TABLE openings (
    force      TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    evidential BLOB   NOT NULL,  -- JSON array of {name, salt, value}: digests, sizes, devices; never erased
    personal   BLOB   NOT NULL,  -- the same for names, text, places, actors
    PRIMARY KEY (force, leaf_index)
);

-- records. Which entries touch a subject: the events of an item or device without reading the whole ledger.
CREATE TABLE entry_subjects (
    force      TEXT   NOT NULL,
    subject    TEXT   NOT NULL,  -- kind:name
    seq        BIGINT NOT NULL,  -- dense from 0 per subject
    leaf_index BIGINT NOT NULL,
    PRIMARY KEY (force, subject, seq)
);

-- records. Each subject's newest entry and count, so that the next seq and prev cost one look-up at any size.
CREATE TABLE subjects (
    force      TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    entries    BIGINT NOT NULL,  -- the next seq
    last_leaf  BIGINT NOT NULL,
    PRIMARY KEY (force, subject)
);

-- working state. One row per force: how far the ledger is and who may write it.
CREATE TABLE sequencer (
    force          TEXT   NOT NULL PRIMARY KEY,
    epoch          BIGINT NOT NULL,  -- raised by every opening; each write names it, so that an older holder is fenced
    holder         TEXT   NOT NULL,  -- who opened it last, for messages
    size           BIGINT NOT NULL,  -- entries committed
    published_size BIGINT NOT NULL   -- entries under the checkpoint last recorded as published
);

-- working state. The one signed checkpoint per size, kept from signing on: a size is never signed twice (I3).
-- The newest is in the object store too; older ones are followed by consistency proofs.
CREATE TABLE checkpoints (
    force      TEXT   NOT NULL,
    size       BIGINT NOT NULL,
    note       TEXT   NOT NULL,
    PRIMARY KEY (force, size)
);

-- records. Anything held: made by item.received.
CREATE TABLE items (
    force               TEXT   NOT NULL,
    item                TEXT   NOT NULL,
    leaf_index          BIGINT NOT NULL,  -- its item.received; also the order of lists
    state               TEXT   NOT NULL,  -- stored, quarantined, disposed
    state_reason        TEXT   NOT NULL,  -- a code of the documentation, or ''
    name                TEXT   NOT NULL,  -- as given; data, never a path; '' when erased or not given
    size_bytes          BIGINT NOT NULL,
    sha256              TEXT   NOT NULL,
    blake3              TEXT   NOT NULL,
    object              TEXT   NOT NULL,  -- where the bytes rest: the stored object as canonical JSON
    device              TEXT   NOT NULL,  -- - for a workstation
    read_by             TEXT   NOT NULL,
    camera              TEXT   NOT NULL,  -- as claimed; - when not known
    recording           TEXT   NOT NULL,  -- as claimed; - when not known
    upload              TEXT   NOT NULL,
    captured_claimed    TEXT   NOT NULL,  -- by the camera's clock; never merged with received_at
    received_at_ms      BIGINT NOT NULL,  -- server time of the entry
    source_key          TEXT   NOT NULL,  -- device, camera, recording and bytes in one digest; '' unless stored
    disclosure_status   TEXT   NOT NULL,  -- unassessed, served, unused, unused-sensitive, restricted
    restricted          BIGINT NOT NULL,
    verified_at_ms      BIGINT,           -- last item.verified
    fault               TEXT   NOT NULL,  -- code of the last storage.fault not yet followed by item.verified, or ''
    PRIMARY KEY (force, item)
);
CREATE INDEX items_by_leaf ON items (force, leaf_index);
CREATE INDEX items_by_sha256 ON items (force, sha256);
CREATE INDEX items_by_blake3 ON items (force, blake3);
CREATE INDEX items_by_source ON items (force, source_key);
CREATE INDEX items_by_device ON items (force, device, leaf_index);

-- records. The same recording docked again: made by item.duplicate; no second item.
CREATE TABLE duplicates (
    force      TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    item       TEXT   NOT NULL,  -- the item that is held already
    device     TEXT   NOT NULL,
    upload     TEXT   NOT NULL,
    PRIMARY KEY (force, leaf_index)
);

-- records. What was computed from an original: made by item.derived. One per item and recipe.
CREATE TABLE derivatives (
    force      TEXT   NOT NULL,
    item       TEXT   NOT NULL,
    recipe_id  TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    recipe     TEXT   NOT NULL,  -- tool, version, parameters: canonical JSON
    size_bytes BIGINT NOT NULL,
    sha256     TEXT   NOT NULL,
    blake3     TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    media      TEXT   NOT NULL,  -- what the probe found, canonical JSON, or ''
    PRIMARY KEY (force, item, recipe_id)
);

-- records. A derivative that could not be made; the newest failure per item and recipe.
CREATE TABLE derivation_failures (
    force       TEXT   NOT NULL,
    item        TEXT   NOT NULL,
    recipe_id   TEXT   NOT NULL,
    leaf_index  BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    reason_code TEXT   NOT NULL,
    reason      TEXT   NOT NULL,  -- in the program's words; '' when erased
    PRIMARY KEY (force, item, recipe_id)
);

-- records. Cameras, docks, recorders, dock agents: made by device.enrolled, ended by device.revoked.
CREATE TABLE devices (
    force          TEXT   NOT NULL,
    device         TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    credential_id  TEXT   NOT NULL,  -- id of the credential, never the credential
    enrolled_leaf  BIGINT NOT NULL,
    enrolled_at_ms BIGINT NOT NULL,
    revoked_at_ms  BIGINT,           -- null while it may send
    PRIMARY KEY (force, device)
);

-- records. Keys that count from their entry on: made by key.published.
CREATE TABLE published_keys (
    force      TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    role       TEXT   NOT NULL,  -- log, receipt, bundle, dock-agent …
    vkey       TEXT   NOT NULL,  -- C2SP verifier key
    subject    TEXT   NOT NULL,  -- the device it belongs to, or ''
    PRIMARY KEY (force, leaf_index)
);
CREATE INDEX published_keys_by_subject ON published_keys (force, subject, role);

-- records. What left the force: made by bundle.exported, before its bytes leave.
CREATE TABLE bundles (
    force         TEXT   NOT NULL,
    leaf_index    BIGINT NOT NULL,
    bundle_digest TEXT   NOT NULL,
    purpose       TEXT   NOT NULL,
    items         TEXT   NOT NULL,  -- ids, canonical JSON array
    PRIMARY KEY (force, leaf_index)
);
