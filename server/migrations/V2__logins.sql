-- One-time keys, accounts that may not log in for a while, and where pushes are to go.

-- What a one-time key is answered with: MD5(user:voximplant.com:password) in hexadecimal digits, which is as good as the
-- password to whoever reads it. NULL where the server does not keep it, or has not seen the password since it does.
ALTER TABLE account ADD COLUMN one_time_hash TEXT;

ALTER TABLE account ADD COLUMN frozen INTEGER NOT NULL DEFAULT 0 CHECK (frozen IN (0, 1));

CREATE INDEX account_barred ON account (id) WHERE deleted = 1 OR frozen = 1;

CREATE TABLE push_token (
    number   INTEGER NOT NULL PRIMARY KEY,   -- oldest first
    account  INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    token    TEXT    NOT NULL,
    UNIQUE (account, token)
) STRICT;

CREATE TABLE setting (
    -- One row: what whoever opens the folder must know, whether the server runs or not.
    single         INTEGER NOT NULL PRIMARY KEY CHECK (single = 1),
    one_time_keys  INTEGER NOT NULL CHECK (one_time_keys IN (0, 1))   -- whether hashes for them may be kept
) STRICT;

INSERT INTO setting (single, one_time_keys) VALUES (1, 1);
