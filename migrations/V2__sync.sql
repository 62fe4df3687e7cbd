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
