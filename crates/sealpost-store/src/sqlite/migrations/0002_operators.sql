-- Schema version 2: who manages the installation, and tenants that are gone.

CREATE TABLE operator (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;

-- The row stays: its number is in every row it owned, and its subdomain, which receivers trust keys from, is never
-- given to somebody else.
ALTER TABLE tenant ADD COLUMN deleted_at INTEGER;

-- client.role holds one role or several, separated by commas.

-- Keys that sign access tokens, for all tenants; the seed is sealed with the master key. The newest one that is not
-- retired signs.
CREATE TABLE token_key (
    kid        TEXT PRIMARY KEY,
    public     BLOB NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) WITHOUT ROWID;
