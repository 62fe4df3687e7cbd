-- The client's file. A shipped migration never changes: the next one goes into a file of its own.
--
-- Booleans are 0 or 1, uuids 16 bytes, times UNIX seconds of the server, JSON is kept as received.
-- A row id that packs a position is `conversation.id << 32 | sequence`. A checksum is the CRC-32 of the
-- row's other columns, in the order and form that src/store says.

PRAGMA application_id = 1114329932;   -- "BkSL"
PRAGMA user_version = 1;              -- the number of this migration

-- What a login gave. At most one row.
CREATE TABLE session (
    id                 INTEGER PRIMARY KEY CHECK (id = 1),
    user_name          TEXT NOT NULL,
    user_id            INTEGER CHECK (user_id >= 0),            -- NULL until the server has told it
    access             TEXT,                                    -- NULL once only a new login helps
    access_expires_s   INTEGER,
    refresh            TEXT,
    refresh_expires_s  INTEGER,
    server_url         TEXT NOT NULL,                           -- where the user logged in
    extra_root         TEXT,                                    -- path of a PEM file to trust besides the public roots
    CHECK ((access IS NULL) = (refresh IS NULL)
       AND (access IS NULL) = (access_expires_s IS NULL)
       AND (access IS NULL) = (refresh_expires_s IS NULL))
) STRICT;

CREATE TABLE user (
    id                   INTEGER PRIMARY KEY CHECK (id >= 0),   -- the number inside messaging
    name                 TEXT NOT NULL,
    display_name         TEXT NOT NULL,
    custom_data          TEXT NOT NULL,                         -- JSON
    deleted              INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    -- What only the user is told of the own account: all or nothing.
    private_custom_data  TEXT,                                  -- JSON
    notifications        TEXT,                                  -- names on the wire, separated by spaces
    conversations        BLOB CHECK (length(conversations) % 16 = 0),        -- uuids, one after the other
    left_conversations   BLOB CHECK (length(left_conversations) % 16 = 0),
    CHECK ((private_custom_data IS NULL) = (notifications IS NULL)
       AND (private_custom_data IS NULL) = (conversations IS NULL)
       AND (private_custom_data IS NULL) = (left_conversations IS NULL))
) STRICT;

CREATE TABLE conversation (
    id                INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 2147483647),
    uuid              BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    -- As last described by the server; at their defaults while described_at is 0 and nothing was said.
    title             TEXT NOT NULL,
    custom_data       TEXT NOT NULL,                            -- JSON
    direct            INTEGER NOT NULL CHECK (direct IN (0, 1)),
    public_join       INTEGER NOT NULL CHECK (public_join IN (0, 1)),
    uber              INTEGER NOT NULL CHECK (uber IN (0, 1)),
    created_at        INTEGER NOT NULL,
    last_update       INTEGER NOT NULL,
    described_at      INTEGER NOT NULL CHECK (described_at >= 0),   -- sequence of the newest description
    -- 0 member, 1 left, 2 removed for everybody, 3 never was in
    membership        INTEGER NOT NULL CHECK (membership BETWEEN 0 AND 3),
    head              INTEGER NOT NULL CHECK (head >= 0),       -- newest sequence the server told of
    own_read          INTEGER NOT NULL CHECK (own_read >= 0),   -- own read mark
    -- Kept by code, once a page, so that the list of conversations touches no message.
    unread            INTEGER NOT NULL CHECK (unread >= 0),
    last_activity     INTEGER NOT NULL,
    preview_sequence  INTEGER CHECK (preview_sequence >= 1),    -- the newest message not removed
    preview_sender    INTEGER,
    preview_sent_at   INTEGER,
    preview_text      TEXT,                                     -- the first 100 characters
    CHECK ((preview_sequence IS NULL) = (preview_text IS NULL)
       AND (preview_sequence IS NULL) = (preview_sender IS NULL)
       AND (preview_sequence IS NULL) = (preview_sent_at IS NULL))
) STRICT;

-- The list people see: those they are or were in, latest first.
CREATE INDEX conversation_recent ON conversation (last_activity DESC, id DESC) WHERE membership < 2;

CREATE TABLE participant (
    conversation  INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    user_id       INTEGER NOT NULL CHECK (user_id >= 0),
    place         INTEGER NOT NULL,                             -- order in which the server listed them
    permissions   INTEGER NOT NULL CHECK (permissions >= 0),
    last_read     INTEGER NOT NULL CHECK (last_read >= 0),
    PRIMARY KEY (conversation, place),
    UNIQUE (conversation, user_id)
) STRICT, WITHOUT ROWID;

-- Messages as people see them. While a message is as written, its row is also the event of its birth.
-- No foreign key and no index besides the packed id: this table takes every page of catch-up.
CREATE TABLE message (
    id        INTEGER PRIMARY KEY,                              -- packed position of its birth
    uuid      BLOB NOT NULL CHECK (length(uuid) = 16),
    sender    INTEGER NOT NULL,
    sent_at   INTEGER NOT NULL,
    state     INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),   -- 0 as written, 1 edited, 2 removed
    revision  INTEGER NOT NULL,                                 -- sequence of its last change
    text      TEXT NOT NULL,                                    -- empty when removed
    payload   TEXT,                                             -- JSON; NULL when empty or removed
    action    TEXT,                                             -- of its birth; NULL for the usual one
    unknown   TEXT,                                             -- members of its birth we do not know, JSON
    checksum  INTEGER NOT NULL
) STRICT;

-- Every numbered event that is not the birth of a message as written: edits, removals, conversation
-- events, kinds we do not know; and the birth, as it was, of a message that was edited since.
CREATE TABLE event (
    id           INTEGER PRIMARY KEY,                           -- packed position
    -- 0 conversation created, 1 conversation edited, 2 conversation removed,
    -- 3 message sent, 4 message edited, 5 message removed, 6 unknown to us
    kind         INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 6),
    action       TEXT,                                          -- NULL for the usual one of this kind
    initiator    INTEGER NOT NULL,
    happened_at  INTEGER NOT NULL,
    message      BLOB CHECK (length(message) = 16),             -- uuid, kinds 3 to 5
    text         TEXT,                                          -- of a message, or the name of an unknown kind
    data         TEXT,                                          -- JSON: payload, description, unknown event
    unknown      TEXT,                                          -- members we do not know, JSON
    checksum     INTEGER NOT NULL,
    CHECK ((kind BETWEEN 3 AND 5) = (message IS NOT NULL))
) STRICT;

-- Finds a message by its uuid: four bytes of each, in the order of positions, one row for each 128
-- positions; zero where no message was born. An index of uuids would cost seven times the insert.
CREATE TABLE message_hash (
    id      INTEGER PRIMARY KEY,                                -- packed first position of the row
    hashes  BLOB NOT NULL CHECK (length(hashes) BETWEEN 4 AND 512 AND length(hashes) % 4 = 0)
) STRICT;

-- Edits and removals of messages whose birth is not held yet.
CREATE TABLE waiting (
    conversation  INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    message       BLOB NOT NULL CHECK (length(message) = 16),   -- uuid
    sequence      INTEGER NOT NULL,                             -- of the edit or removal, whose row is in event
    removal       INTEGER NOT NULL CHECK (removal IN (0, 1)),
    PRIMARY KEY (conversation, message, sequence)
) STRICT, WITHOUT ROWID;

-- Ranges asked for and completely answered. Never overlapping, never touching.
CREATE TABLE coverage (
    conversation  INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    first         INTEGER NOT NULL CHECK (first >= 1),
    last          INTEGER NOT NULL CHECK (last >= first),       -- inclusive
    PRIMARY KEY (conversation, first)
) STRICT, WITHOUT ROWID;

-- Positions that hold nothing though they were asked for. Never overlapping.
CREATE TABLE hole (
    conversation  INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
    first         INTEGER NOT NULL CHECK (first >= 1),
    last          INTEGER NOT NULL CHECK (last >= first),       -- inclusive
    reason        INTEGER NOT NULL CHECK (reason IN (0, 1)),    -- 0 not in history, 1 not a member then
    PRIMARY KEY (conversation, first)
) STRICT, WITHOUT ROWID;

-- What we asked for and cannot yet prove done, and how it ended. No foreign key to conversation: an
-- entry may name one the store has not heard of, and must outlive whatever happens to it.
CREATE TABLE outbox (
    position              INTEGER PRIMARY KEY CHECK (position >= 0),  -- order of acceptance
    token                 BLOB NOT NULL UNIQUE CHECK (length(token) = 16),
    request               BLOB NOT NULL CHECK (length(request) = 16),
    -- 0 queued, 1 sending, 2 uncertain, 3 settled, 4 failed
    state                 INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    attempts              INTEGER NOT NULL CHECK (attempts >= 0),
    queued_at             INTEGER NOT NULL,
    intent                TEXT NOT NULL,                        -- JSON
    settled               INTEGER NOT NULL CHECK (settled IN (0, 1)),  -- whether what it brought is known
    settled_conversation  BLOB CHECK (length(settled_conversation) = 16),
    settled_message       BLOB CHECK (length(settled_message) = 16),
    settled_sequence      INTEGER,
    error_code            INTEGER,
    error_description     TEXT,
    checksum              INTEGER NOT NULL,
    CHECK ((error_code IS NULL) = (error_description IS NULL))
) STRICT;

CREATE INDEX outbox_state ON outbox (state, position);

-- What each transaction touched, the newest ten thousand.
CREATE TABLE change (
    number   INTEGER NOT NULL,
    subject  INTEGER NOT NULL CHECK (subject BETWEEN 0 AND 3),  -- 0 session, 1 conversation, 2 user, 3 outbox entry
    key      BLOB NOT NULL,                                     -- uuid, user id in 8 bytes, token; empty for the session
    PRIMARY KEY (number, subject, key)
) STRICT, WITHOUT ROWID;
