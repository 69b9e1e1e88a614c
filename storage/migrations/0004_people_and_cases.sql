-- People, how they sign in, cases, and who may see what.
--
-- Who somebody is stands in `users` alone; everywhere else there is only the id, which is random and names nobody.

-- records. People with an account: made and ended by access.changed on the person.
CREATE TABLE users (
    force         TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    name          TEXT   NOT NULL,  -- '' when erased
    number        TEXT   NOT NULL,  -- collar or staff number; one active user per number
    role          TEXT   NOT NULL,  -- operator, investigator
    added_leaf    BIGINT NOT NULL,
    added_at_ms   BIGINT NOT NULL,
    removed_at_ms BIGINT,           -- null while they may sign in
    PRIMARY KEY (force, user_id)
);
CREATE INDEX users_by_number ON users (force, number);

-- records. Investigations: made by case.opened.
CREATE TABLE cases (
    force        TEXT   NOT NULL,
    case_id      TEXT   NOT NULL,
    leaf_index   BIGINT NOT NULL,  -- its case.opened; also the order of lists
    reference    TEXT   NOT NULL,  -- URN; '' when erased
    title        TEXT   NOT NULL,
    opened_by    TEXT   NOT NULL,  -- user id, or '' at the console
    opened_at_ms BIGINT NOT NULL,
    PRIMARY KEY (force, case_id)
);
CREATE INDEX cases_by_leaf ON cases (force, leaf_index);
CREATE INDEX cases_by_reference ON cases (force, reference);

-- records. Who works on a case: made and ended by access.changed on the case, and by case.opened for whoever opens it.
CREATE TABLE case_members (
    force      TEXT   NOT NULL,
    case_id    TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    PRIMARY KEY (force, case_id, user_id)
);
CREATE INDEX case_members_by_user ON case_members (force, user_id, case_id);

-- records. What belongs to a case: made by item.linked, ended by item.unlinked.
CREATE TABLE case_items (
    force             TEXT   NOT NULL,
    case_id           TEXT   NOT NULL,
    item              TEXT   NOT NULL,
    leaf_index        BIGINT NOT NULL,
    exhibit_reference TEXT   NOT NULL,  -- such as JSM/1, or ''
    PRIMARY KEY (force, case_id, item)
);
CREATE INDEX case_items_by_item ON case_items (force, item, case_id);

-- records. Who may see a restricted item: made and ended by access.changed on the item.
CREATE TABLE item_viewers (
    force      TEXT   NOT NULL,
    item       TEXT   NOT NULL,
    user_id    TEXT   NOT NULL,
    leaf_index BIGINT NOT NULL,
    PRIMARY KEY (force, item, user_id)
);

-- secrets. One-time links: only the hash of the token, which is 256 random bits.
CREATE TABLE sign_in_links (
    force         TEXT   NOT NULL,
    token_sha256  TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms    BIGINT,           -- null while it can be used; withdrawn links are removed
    PRIMARY KEY (force, token_sha256)
);
CREATE INDEX sign_in_links_by_user ON sign_in_links (force, user_id);

-- secrets. Who is signed in: only the hash of the token.
CREATE TABLE sessions (
    force         TEXT   NOT NULL,
    token_sha256  TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    expires_at_ms BIGINT NOT NULL,  -- whatever they do
    seen_at_ms    BIGINT NOT NULL,  -- last request; idle for too long ends it
    PRIMARY KEY (force, token_sha256)
);
CREATE INDEX sessions_by_user ON sessions (force, user_id);

-- working state. Bundles made for download: gone after a while, while the record of the hand-over stays.
CREATE TABLE made_bundles (
    force         TEXT   NOT NULL,
    event         TEXT   NOT NULL,  -- that of the hand-over; the file's name too
    user_id       TEXT   NOT NULL,  -- who made it, and alone may download it
    leaf_index    BIGINT NOT NULL,
    name          TEXT   NOT NULL,
    case_id       TEXT   NOT NULL,  -- or ''
    size_bytes    BIGINT NOT NULL,
    made_at_ms    BIGINT NOT NULL,
    PRIMARY KEY (force, event)
);
CREATE INDEX made_bundles_by_user ON made_bundles (force, user_id, leaf_index);
