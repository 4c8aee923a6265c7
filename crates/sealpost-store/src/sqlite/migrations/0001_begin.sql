-- Schema version 1. Forward only; each file is applied in one transaction together with its version.
--
-- Times are milliseconds since 1970. `no`/`seq` are our own numbers, `id` the public UUID (16 bytes).
-- Sealed columns hold what vault.rs made; nothing that a person or secret could be read from is in the clear.
-- The delivery table is the hot path: accept inserts, claim and settle update, by primary key or partial index.

-- incarnation; master_check; event_seq and delivery_seq: the last numbers that were given out, as far as rows of them
-- may be gone (numbers are never given twice, so that cursors hold); upkeep's own cursors.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenant (
    no               INTEGER PRIMARY KEY,
    id               BLOB NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    subdomain        TEXT NOT NULL UNIQUE,
    created_at       INTEGER NOT NULL,
    retention        TEXT NOT NULL,          -- JSON
    wrapped_key      BLOB NOT NULL,          -- tenant key, wrapped by the master key
    registry_version INTEGER NOT NULL,
    types_version    INTEGER NOT NULL,       -- registry version of the last change to an event type
    keys_version     INTEGER NOT NULL,       -- registry version of the last change to the key ring
    webhooks         INTEGER NOT NULL DEFAULT 0 -- not deleted ones; counting 200,000 rows for each new one is quadratic
);

CREATE TABLE signing_key (
    tenant     INTEGER NOT NULL,
    kid        TEXT NOT NULL,
    public     BLOB NOT NULL,
    sealed     BLOB NOT NULL,                -- seed
    created_at INTEGER NOT NULL,
    state      INTEGER NOT NULL,             -- 0 next, 1 current, 2 retired
    since      INTEGER,                      -- when retired
    PRIMARY KEY (tenant, kid)
) WITHOUT ROWID;

CREATE TABLE client (
    id         BLOB PRIMARY KEY,
    tenant     INTEGER NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    webhook    BLOB,
    key_hash   BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) WITHOUT ROWID;

CREATE TABLE webhook (
    no           INTEGER PRIMARY KEY AUTOINCREMENT,
    id           BLOB NOT NULL UNIQUE,
    tenant       INTEGER NOT NULL,
    dialect      INTEGER NOT NULL,           -- 0 mattr, 1 truvera
    subscription TEXT NOT NULL,              -- JSON
    url          TEXT NOT NULL,
    url_shown    TEXT NOT NULL,
    disabled     INTEGER NOT NULL,
    settings     TEXT NOT NULL,              -- JSON, without header values
    retention    INTEGER NOT NULL,           -- of settings, for settle: 0 standard, 1 none
    sealed       BLOB NOT NULL,              -- secrets
    health       INTEGER NOT NULL DEFAULT 0, -- failed in a row
    failing      INTEGER NOT NULL DEFAULT 0,
    lane_epoch   INTEGER NOT NULL DEFAULT 0,
    version      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    deleted_at   INTEGER                     -- a tombstone: url, url_shown and sealed are empty then
);
CREATE INDEX webhook_changes ON webhook (tenant, version);
CREATE INDEX webhook_list ON webhook (tenant, created_at, id) WHERE deleted_at IS NULL;

-- Both are loaded into the writer's memory at start; few webhooks are in them.
CREATE INDEX webhook_unwell ON webhook (no) WHERE health > 0 OR failing > 0;
CREATE INDEX webhook_forgetful ON webhook (no) WHERE retention = 1;

CREATE TABLE event_type (
    tenant  INTEGER NOT NULL,
    name    TEXT NOT NULL,
    body    TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- Names of event types, once each, for narrow rows. Never deleted.
CREATE TABLE type_name (
    no   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE event (
    seq            INTEGER PRIMARY KEY,
    tenant         INTEGER NOT NULL,
    id             BLOB NOT NULL,
    type           INTEGER NOT NULL,
    at             INTEGER NOT NULL,         -- the event's own time
    accepted_at    INTEGER NOT NULL,
    content        BLOB NOT NULL,            -- keyed hash of the publisher's fields; empty for a derived event
    flags          INTEGER NOT NULL,         -- 1 test
    derived_of     INTEGER,                  -- seq of the event this was derived from
    payload        INTEGER NOT NULL,         -- payload.seq; a derived event shares its source's
    bytes          INTEGER NOT NULL,         -- of the payload text
    first_delivery INTEGER NOT NULL,         -- deliveries made by accept are contiguous
    deliveries     INTEGER NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX event_derived ON event (derived_of) WHERE derived_of IS NOT NULL;

-- payload.seq = seq of the event it came with. salt NULL: destroyed (erased or pruned, see gone).
CREATE TABLE payload (
    seq    INTEGER PRIMARY KEY,
    salt   BLOB,
    sealed BLOB,
    gone   INTEGER NOT NULL DEFAULT 0,       -- 0 kept, 1 pruned, 2 erased
    until  INTEGER                           -- set by settle or upkeep when all deliveries ended: prune at
);
CREATE INDEX payload_until ON payload (until) WHERE until IS NOT NULL AND gone = 0;

CREATE TABLE subject (
    tenant  INTEGER NOT NULL,
    subject BLOB NOT NULL,                   -- keyed hash
    event   INTEGER NOT NULL,
    PRIMARY KEY (tenant, subject, event)
) WITHOUT ROWID;

CREATE TABLE repeat_key (
    tenant  INTEGER NOT NULL,
    key     BLOB NOT NULL,
    content BLOB NOT NULL,
    events  BLOB NOT NULL,                   -- 8-byte big-endian seqs
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;

CREATE TABLE delivery (
    seq        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    event      INTEGER NOT NULL,             -- event.seq
    webhook    INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    lane_epoch INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    state      INTEGER NOT NULL,             -- delivery::Status code
    reason     INTEGER NOT NULL DEFAULT 0,
    attempt    INTEGER NOT NULL,             -- attempts used (claims committed and not given back)
    fence      INTEGER NOT NULL,
    due        INTEGER,                      -- waiting: when; claimed: lease end; ended: NULL
    claimer    INTEGER,                      -- incarnation that holds the claim
    cancel     INTEGER NOT NULL DEFAULT 0,   -- cancel reason asked for while in flight
    job        INTEGER,                      -- bulk redelivery that made it
    -- the first attempt, folded in
    started    INTEGER,
    took       INTEGER,
    outcome    INTEGER,
    http       INTEGER
);
CREATE INDEX waiting ON delivery (lane, due) WHERE state = 0 AND claimer IS NULL AND due IS NOT NULL;
CREATE INDEX claimed ON delivery (claimer, seq) WHERE claimer IS NOT NULL;
-- Rare ends only, so that listing and doctor find them; the common end touches no index.
CREATE INDEX ended_badly ON delivery (webhook, seq) WHERE state IN (2, 3);

-- From the second attempt on, and what a first attempt does not fold: error texts and sealed excerpts.
CREATE TABLE attempt (
    delivery INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    started  INTEGER NOT NULL,
    took     INTEGER NOT NULL,
    outcome  INTEGER NOT NULL,
    http     INTEGER,
    error    TEXT,
    salt     BLOB,                           -- excerpt is sealed under a key derived from the event's key and this
    excerpt  BLOB,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

-- Deliveries of an event that accept did not make.
CREATE TABLE redelivery (
    event    INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (event, delivery)
) WITHOUT ROWID;

CREATE TABLE replay_job (
    no         INTEGER PRIMARY KEY,
    webhook    INTEGER NOT NULL,
    lane_epoch INTEGER NOT NULL,
    from_at    INTEGER,
    to_at      INTEGER,
    status     INTEGER,                      -- only deliveries in this state
    next_seq   INTEGER NOT NULL,             -- cursor
    last_seq   INTEGER NOT NULL,             -- fixed when the job was made
    count      INTEGER NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX replayed_once ON delivery (job, event) WHERE job IS NOT NULL;

-- Filled behind the hot path by upkeep in sorted batches; readers add the unindexed tail.
-- kind 0: events by tenant; 1: deliveries by tenant; 2: deliveries by webhook.
CREATE TABLE listing (
    kind INTEGER NOT NULL,
    key  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (kind, key, seq)
) WITHOUT ROWID;

-- Webhooks whose lane epoch rose and which may have pending rows of an older one.
CREATE TABLE stale_lane (
    webhook INTEGER PRIMARY KEY,
    reason  INTEGER NOT NULL
);

CREATE TABLE erasure (
    id     BLOB PRIMARY KEY,
    tenant INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    scope  TEXT NOT NULL,                    -- JSON: event ids, subject hash or range
    count  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    what   TEXT NOT NULL,
    object TEXT NOT NULL
);
