-- What came with whole catching up and the whole outbox. Each section says which.

PRAGMA user_version = 2;              -- the number of this migration

-- Catching up: history policies that single conversations have.
CREATE TABLE history (
    conversation  INTEGER PRIMARY KEY REFERENCES conversation (id) ON DELETE CASCADE,
    depth         INTEGER CHECK (depth >= 0)                    -- newest positions wanted; NULL for all of them
) STRICT;

-- Catching up: when everything the server had told of was last known to be held. At most one row.
CREATE TABLE whole (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    at  INTEGER NOT NULL                                        -- by the clock of this machine
) STRICT;

-- Catching up: up to where heads were compared, in the words of the server that gave it. At most one row.
CREATE TABLE heads_cursor (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    server_url  TEXT NOT NULL,                                  -- no other server is asked with it
    cursor      TEXT NOT NULL
) STRICT;

-- Look-ups: whom the user follows, as the server last told.
CREATE TABLE subscription (
    user_id  INTEGER PRIMARY KEY CHECK (user_id >= 0)
) STRICT;

-- Look-ups: the conversations anybody may join, as the server last listed them.
CREATE TABLE public_conversation (
    place  INTEGER PRIMARY KEY,                                 -- order in which the server listed them
    uuid   BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16)
) STRICT;

-- Lease: the process that syncs. Writing a higher generation makes the writer the holder; a transaction of an
-- earlier holder finds it and keeps nothing.
CREATE TABLE lease (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    generation  INTEGER NOT NULL CHECK (generation >= 0),
    process     INTEGER CHECK (process >= 0),                   -- NULL before the first holder
    program     TEXT,
    since       INTEGER,                                        -- UNIX seconds, by the clock of the machine
    CHECK ((process IS NULL) = (program IS NULL) AND (process IS NULL) = (since IS NULL))
) STRICT;

INSERT INTO lease (id, generation) VALUES (1, 0);

-- Lease: what the other processes want, in the order of their commits; the newest stay for a while after the holder
-- took them over, so that those who wished learn what became of it.
CREATE TABLE wish (
    number        INTEGER PRIMARY KEY,
    -- 0 a new entry for the outbox, 1 an entry is to be taken back, 2 a refused entry is to be tried again
    kind          INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 2),
    token         BLOB NOT NULL CHECK (length(token) = 16),     -- of the entry
    wished_at     INTEGER NOT NULL,                             -- UNIX seconds, by the clock of the machine
    intent        TEXT,                                         -- JSON, of a new entry
    conversation  BLOB CHECK (length(conversation) = 16),       -- uuid, as that of an entry in outbox
    answer        INTEGER CHECK (answer BETWEEN 0 AND 2),       -- 0 accepted, 1 done, 2 refused; NULL until taken over
    entry         BLOB CHECK (length(entry) = 16),              -- token of the entry that carries it, when accepted
    checksum      INTEGER NOT NULL,                             -- of token, kind, time and intent
    UNIQUE (token, kind),
    CHECK ((kind = 0) = (intent IS NOT NULL)),
    CHECK (coalesce(answer = 0, 0) = (entry IS NOT NULL))
) STRICT;

CREATE INDEX wish_waiting ON wish (number) WHERE answer IS NULL;
CREATE INDEX wish_about ON wish (conversation) WHERE answer IS NULL AND kind = 0;
CREATE INDEX wish_making ON wish (number) WHERE answer IS NULL AND kind = 0 AND conversation = token;

-- Session: why it ended, and the device it belongs to.
ALTER TABLE session ADD COLUMN refused INTEGER;                 -- code of the server; NULL while it lasts or when logged out
ALTER TABLE session ADD COLUMN device TEXT;                     -- random id shown at each login; NULL before the first

-- Session: what push services call this device.
CREATE TABLE push_token (
    id      INTEGER PRIMARY KEY,                                -- the oldest first
    token   TEXT NOT NULL UNIQUE,
    wanted  INTEGER NOT NULL CHECK (wanted IN (0, 1))           -- 0 to be unregistered, and then forgotten
) STRICT;

-- Second tellings: where the server told of an event held something else than before. What it told first is kept.
CREATE TABLE contradiction (
    id    INTEGER PRIMARY KEY,                                  -- packed position
    -- 0 kind of event, 1 message, 2 action, 3 initiator, 4 time, 5 content, 6 description
    part  INTEGER NOT NULL CHECK (part BETWEEN 0 AND 6)
) STRICT;

-- Outbox: the uuid of the conversation that an entry is about, of one that makes it its token; NULL when it is about the
-- user. Taken from the intent, so that a screen reads only what it shows.
ALTER TABLE outbox ADD COLUMN conversation BLOB CHECK (length(conversation) = 16);

-- An intent is an object with one member, whose value has the conversation or is it, or a text alone. One that is
-- damaged stays as it is.
UPDATE outbox SET conversation = CASE
    WHEN json_type(intent, '$.create_conversation') IS NOT NULL THEN token
    ELSE (SELECT named.uuid
          FROM (SELECT unhex(CASE type WHEN 'object' THEN json_extract(value, '$.conversation') WHEN 'text' THEN value END,
                             '-') AS uuid
                FROM json_each(outbox.intent) WHERE key IS NOT NULL) AS named
          WHERE length(named.uuid) = 16)
    END
WHERE json_valid(intent);

CREATE INDEX outbox_about ON outbox (conversation) WHERE state <> 3;
CREATE INDEX outbox_making ON outbox (position) WHERE state <> 3 AND conversation = token;
