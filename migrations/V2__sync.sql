-- What came with whole catching up and the whole outbox. Each section says which.

PRAGMA user_version = 2;              -- the number of this migration

-- Look-ups: whom the user follows, as the server last told.
CREATE TABLE subscription (
    user_id  INTEGER PRIMARY KEY CHECK (user_id >= 0)
) STRICT;

-- Look-ups: the conversations anybody may join, as the server last listed them.
CREATE TABLE public_conversation (
    place  INTEGER PRIMARY KEY,                                 -- order in which the server listed them
    uuid   BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16)
) STRICT;

-- Session: why it ended, and the device it belongs to.
ALTER TABLE session ADD COLUMN refused INTEGER;                 -- code of the server; NULL while it lasts or when logged out
ALTER TABLE session ADD COLUMN device TEXT;                     -- random id shown at each login; NULL before the first

-- Session: what push services call this device.
CREATE TABLE push_token (
    id      INTEGER PRIMARY KEY,                                -- the oldest first
    token   TEXT NOT NULL UNIQUE,
    wanted  INTEGER NOT NULL CHECK (wanted IN (0, 1))           -- 0 to be unregistered, and then forgotten
) STRICT;
