-- Everything a server keeps. Ids are 16-byte uuids, times are UNIX seconds, JSON is text as it was received.

CREATE TABLE account (
    -- A removed account keeps its row, because events name it; its name is free again.
    id                   INTEGER NOT NULL PRIMARY KEY CHECK (id > 100),
    name                 TEXT    NOT NULL,                 -- user@app.account
    display_name         TEXT    NOT NULL,
    password_hash        TEXT    NOT NULL,                 -- PHC string; empty once removed
    custom_data          TEXT    NOT NULL DEFAULT '{}',
    private_custom_data  TEXT    NOT NULL DEFAULT '{}',
    notifications        TEXT    NOT NULL DEFAULT '[]',    -- JSON array of names as on the wire
    deleted              INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1))
) STRICT;

CREATE UNIQUE INDEX account_by_name ON account (name) WHERE deleted = 0;

CREATE TABLE token_pair (
    -- One pair of tokens, as SHA-256 hashes. A family begins with a login; each refresh adds a pair to it.
    number           INTEGER NOT NULL PRIMARY KEY,
    account          INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    family           BLOB    NOT NULL CHECK (length(family) = 16),
    access_hash      BLOB    NOT NULL UNIQUE CHECK (length(access_hash) = 32),
    access_expires   INTEGER NOT NULL,
    refresh_hash     BLOB    NOT NULL UNIQUE CHECK (length(refresh_hash) = 32),
    refresh_expires  INTEGER NOT NULL,
    used             INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)),   -- either token was shown to us
    successor        INTEGER REFERENCES token_pair (number) ON DELETE SET NULL,
    spent            INTEGER NOT NULL DEFAULT 0 CHECK (spent IN (0, 1))   -- the refresh token gave a new pair
) STRICT;

CREATE INDEX token_pair_by_family ON token_pair (family);
CREATE INDEX token_pair_by_account ON token_pair (account);
CREATE INDEX token_pair_by_successor ON token_pair (successor) WHERE successor IS NOT NULL;
CREATE INDEX token_pair_by_expiry ON token_pair (refresh_expires);

CREATE TABLE subscription (
    account   INTEGER NOT NULL REFERENCES account (id),
    followed  INTEGER NOT NULL REFERENCES account (id),
    PRIMARY KEY (account, followed)
) STRICT, WITHOUT ROWID;

CREATE INDEX subscription_by_followed ON subscription (followed, account);

CREATE TABLE conversation (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    title        TEXT    NOT NULL,
    direct       INTEGER NOT NULL CHECK (direct IN (0, 1)),
    public_join  INTEGER NOT NULL CHECK (public_join IN (0, 1)),
    uber         INTEGER NOT NULL CHECK (uber IN (0, 1)),
    custom_data  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_update  INTEGER NOT NULL,
    head         INTEGER NOT NULL CHECK (head >= 0),       -- sequence of the newest event
    removed      INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
    creator      INTEGER NOT NULL REFERENCES account (id),
    token        BLOB    CHECK (length(token) = 16),       -- the creator's own id for it
    lower_user   INTEGER REFERENCES account (id),          -- the two of a direct conversation, lower number first
    higher_user  INTEGER REFERENCES account (id),
    CHECK ((lower_user IS NOT NULL) = direct AND (higher_user IS NOT NULL) = direct)
) STRICT;

CREATE UNIQUE INDEX conversation_by_token ON conversation (creator, token) WHERE token IS NOT NULL;
CREATE UNIQUE INDEX conversation_by_pair ON conversation (lower_user, higher_user) WHERE direct = 1 AND removed = 0;
CREATE INDEX conversation_by_public_join ON conversation (id) WHERE public_join = 1 AND removed = 0;

CREATE TABLE stay (
    -- A time during which a user took part. Both ends belong to it.
    number        INTEGER NOT NULL PRIMARY KEY,            -- order of joining
    conversation  BLOB    NOT NULL REFERENCES conversation (id),
    account       INTEGER NOT NULL REFERENCES account (id),
    joined_at     INTEGER NOT NULL CHECK (joined_at >= 1), -- sequence of the event that brought the user in
    left_at       INTEGER CHECK (left_at > joined_at),     -- … and out; null while the user is in
    permissions   INTEGER NOT NULL CHECK (permissions >= 0),
    last_read     INTEGER NOT NULL CHECK (last_read >= 0)
) STRICT;

CREATE UNIQUE INDEX stay_present ON stay (conversation, account) WHERE left_at IS NULL;
CREATE INDEX stay_by_account ON stay (account, conversation, number);

CREATE TABLE event (
    -- Gapless from 1 in each conversation. Without row ids, so that a range lies together on disk.
    conversation  BLOB    NOT NULL REFERENCES conversation (id),
    sequence      INTEGER NOT NULL CHECK (sequence >= 1),
    kind          TEXT    NOT NULL CHECK (kind IN ('onCreateConversation', 'onEditConversation',
                      'onRemoveConversation', 'onSendMessage', 'onEditMessage', 'onRemoveMessage')),
    action        TEXT    NOT NULL,
    initiator     INTEGER NOT NULL REFERENCES account (id),
    timestamp     INTEGER NOT NULL,
    message       BLOB    CHECK (length(message) = 16),
    text          TEXT,                                    -- emptied when the message is removed
    payload       TEXT,
    token         BLOB    CHECK (length(token) = 16),      -- the sender's own id for the message
    description   TEXT,                                    -- JSON: the conversation as it was after this event
    PRIMARY KEY (conversation, sequence),
    CHECK ((message IS NOT NULL) = (kind LIKE '%Message')),
    CHECK ((text IS NOT NULL) = (kind IN ('onSendMessage', 'onEditMessage'))),
    CHECK ((description IS NOT NULL) = (kind IN ('onCreateConversation', 'onEditConversation')))
) STRICT, WITHOUT ROWID;

CREATE INDEX event_by_message ON event (conversation, message, sequence) WHERE message IS NOT NULL;
CREATE UNIQUE INDEX event_by_token ON event (conversation, initiator, token) WHERE token IS NOT NULL;

CREATE TABLE answer (
    -- What a repeated request is answered with: a stored event by its position, or another frame as text.
    number        INTEGER NOT NULL PRIMARY KEY,            -- oldest first
    account       INTEGER NOT NULL REFERENCES account (id),
    request       BLOB    NOT NULL CHECK (length(request) = 16),
    kept_at       INTEGER NOT NULL,
    conversation  BLOB    REFERENCES conversation (id),
    sequence      INTEGER,
    frame         TEXT,
    CHECK ((frame IS NULL) = (conversation IS NOT NULL) AND (frame IS NULL) = (sequence IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX answer_by_request ON answer (account, request);
