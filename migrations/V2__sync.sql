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

-- Look-ups: whom the user follows, as the server last told.
CREATE TABLE subscription (
    user_id  INTEGER PRIMARY KEY CHECK (user_id >= 0)
) STRICT;

-- Look-ups: the conversations anybody may join, as the server last listed them.
CREATE TABLE public_conversation (
    place  INTEGER PRIMARY KEY,                                 -- order in which the server listed them
    uuid   BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16)
) STRICT;
