-- PostgreSQL, schema version 1. As SQLite's tables, where nothing else is said there; what differs is said here.
--
-- Numbers of events and deliveries come in blocks that each process takes from a sequence: unique, in a row within a
-- request, and no order of commits. So nothing here is listed or collected by number; lists go by time, then number.

CREATE TABLE meta (
    name   TEXT PRIMARY KEY,
    number BIGINT,
    bytes  BYTEA
);

-- Processes that use this database. One that was not seen for a while, or said that it ended, holds no claims.
CREATE TABLE node (
    no      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since   TIMESTAMPTZ NOT NULL,            -- when it came, or came back
    seen_at TIMESTAMPTZ NOT NULL,
    ended   BOOLEAN NOT NULL DEFAULT FALSE
);

CREATE SEQUENCE event_block;
CREATE SEQUENCE delivery_block;

CREATE TABLE tenant (
    no               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               BYTEA NOT NULL UNIQUE,
    name             TEXT NOT NULL,
    subdomain        TEXT NOT NULL UNIQUE,
    created_at       BIGINT NOT NULL,
    retention        TEXT NOT NULL,
    quota            TEXT NOT NULL DEFAULT '{}',
    log_level        BIGINT NOT NULL DEFAULT 2, -- of analytic events: 1 metadata, 2 sanitised, 3 full
    wrapped_key      BYTEA NOT NULL,
    look_after       BIGINT NOT NULL,        -- ms after which any payload may have to go, of retention
    registry_version BIGINT NOT NULL,
    types_version    BIGINT NOT NULL,
    keys_version     BIGINT NOT NULL,
    webhooks         BIGINT NOT NULL DEFAULT 0,
    deleted_at       BIGINT
);

CREATE TABLE signing_key (
    tenant     BIGINT NOT NULL,
    kid        TEXT NOT NULL,
    public     BYTEA NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    state      BIGINT NOT NULL,
    since      BIGINT,
    PRIMARY KEY (tenant, kid)
);

CREATE TABLE client (
    id         BYTEA PRIMARY KEY,
    tenant     BIGINT NOT NULL,
    name       TEXT NOT NULL,
    role       TEXT NOT NULL,
    webhook    BYTEA,
    key_hash   BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX client_of_tenant ON client (tenant);

CREATE TABLE operator (
    id         BYTEA PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE token_key (
    kid        TEXT PRIMARY KEY,
    public     BYTEA NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE custom_domain (
    tenant      BIGINT PRIMARY KEY,
    name        TEXT NOT NULL,
    logo_url    TEXT NOT NULL,
    domain      TEXT NOT NULL,
    token       BYTEA NOT NULL,
    verified_at BIGINT
);
CREATE UNIQUE INDEX custom_domain_verified ON custom_domain (domain) WHERE verified_at IS NOT NULL;

-- Its health changes with every failed delivery: room for that in the page.
CREATE TABLE webhook (
    no           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           BYTEA NOT NULL UNIQUE,
    tenant       BIGINT NOT NULL,
    dialect      BIGINT NOT NULL,
    subscription TEXT NOT NULL,
    url          TEXT NOT NULL,
    url_shown    TEXT NOT NULL,
    disabled     BOOLEAN NOT NULL,
    settings     TEXT NOT NULL,
    retention    BIGINT NOT NULL,
    sealed       BYTEA NOT NULL,
    health       BIGINT NOT NULL DEFAULT 0,
    failing      BOOLEAN NOT NULL DEFAULT FALSE,
    lane_epoch   BIGINT NOT NULL DEFAULT 0,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    deleted_at   BIGINT
) WITH (fillfactor = 80);
CREATE INDEX webhook_changes ON webhook (tenant, version);
CREATE INDEX webhook_list ON webhook (tenant, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE event_type (
    tenant BIGINT NOT NULL,
    name   TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE type_name (
    no   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE event (
    seq            BIGINT PRIMARY KEY,
    tenant         BIGINT NOT NULL,
    id             BYTEA NOT NULL,
    type           BIGINT NOT NULL,
    at             BIGINT NOT NULL,
    accepted_at    BIGINT NOT NULL,
    content        BYTEA NOT NULL,
    flags          BIGINT NOT NULL,
    derived_of     BIGINT,
    payload        BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    first_delivery BIGINT NOT NULL,
    deliveries     BIGINT NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX event_derived ON event (derived_of) WHERE derived_of IS NOT NULL;
CREATE INDEX event_of_tenant ON event (tenant, accepted_at, seq);
CREATE INDEX event_by_age ON event (accepted_at, seq);

-- Never without `until` while it is kept: when to look at it again.
CREATE TABLE payload (
    seq    BIGINT PRIMARY KEY,
    sealed BYTEA,
    gone   SMALLINT NOT NULL DEFAULT 0,
    until  BIGINT
);
-- Sealed bytes are noise to any compression.
ALTER TABLE payload ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX payload_until ON payload (until) WHERE until IS NOT NULL AND gone = 0;

-- The salts, apart: an erasure has this small table vacuumed before it answers, so that no old version of the row is left.
CREATE TABLE payload_salt (
    seq  BIGINT PRIMARY KEY,
    salt BYTEA NOT NULL
);

CREATE TABLE subject (
    tenant  BIGINT NOT NULL,
    subject BYTEA NOT NULL,
    event   BIGINT NOT NULL,
    PRIMARY KEY (tenant, subject, event)
);
CREATE INDEX subject_event ON subject (event);

CREATE TABLE repeat_key (
    tenant  BIGINT NOT NULL,
    key     BYTEA NOT NULL,
    content BYTEA NOT NULL,
    events  BYTEA NOT NULL,                  -- 8-byte big-endian seqs
    event   BIGINT NOT NULL,                 -- the first of them: forgotten, the key means nothing
    PRIMARY KEY (tenant, key)
);
CREATE INDEX repeat_key_event ON repeat_key (event);

-- Every delivery's row is written two times or more: room for that in the page, and dead versions go early.
CREATE TABLE delivery (
    seq          BIGINT PRIMARY KEY,
    id           BYTEA NOT NULL UNIQUE,
    tenant       BIGINT NOT NULL,
    event        BIGINT NOT NULL,
    webhook      BIGINT NOT NULL,
    lane         BIGINT NOT NULL,
    lane_epoch   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    state        SMALLINT NOT NULL,
    reason       SMALLINT NOT NULL DEFAULT 0,
    attempt      SMALLINT NOT NULL,
    fence        BIGINT NOT NULL,
    due          BIGINT,                     -- waiting: when; otherwise NULL
    claimer      BIGINT,                     -- node.no that holds the claim
    cancel       SMALLINT NOT NULL DEFAULT 0,
    only_unknown BOOLEAN NOT NULL DEFAULT TRUE, -- all attempts so far ended `unknown`
    ended        BIGINT,                     -- when it ended, for retention
    job          BIGINT,
    started      BIGINT,                     -- the first attempt, folded in
    took         BIGINT,
    outcome      SMALLINT,
    http         INTEGER
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiting ON delivery (lane, due, seq) WHERE state = 0 AND claimer IS NULL AND due IS NOT NULL;
CREATE INDEX claimed ON delivery (claimer, seq) WHERE claimer IS NOT NULL;
CREATE INDEX delivery_of_tenant ON delivery (tenant, created_at, seq);
CREATE INDEX delivery_of_webhook ON delivery (webhook, created_at, seq);
CREATE INDEX ended_badly ON delivery (webhook, created_at, seq) WHERE state IN (2, 3);
-- First attempts that ended long after their delivery was made, for analytic events; the others are found by that.
CREATE INDEX late ON delivery (tenant, (started + least(took, 60000)), seq)
    WHERE started + least(took, 60000) > created_at + 2000;
CREATE UNIQUE INDEX replayed_once ON delivery (job, event) WHERE job IS NOT NULL;

-- From the second attempt on, and what a first attempt does not fold; by the day they began, so that old days go whole.
CREATE TABLE attempt (
    delivery BIGINT NOT NULL,
    number   SMALLINT NOT NULL,
    started  BIGINT NOT NULL,
    took     BIGINT NOT NULL,
    outcome  SMALLINT NOT NULL,
    http     INTEGER,
    error    TEXT,
    salt     BYTEA,
    excerpt  BYTEA,
    tenant   BIGINT NOT NULL,
    PRIMARY KEY (delivery, number, started)
) PARTITION BY RANGE (started);
CREATE INDEX retried ON attempt (tenant, (started + least(took, 60000)), delivery, number) WHERE number > 1;
CREATE TABLE attempt_other PARTITION OF attempt DEFAULT;

CREATE TABLE redelivery (
    event    BIGINT NOT NULL,
    delivery BIGINT NOT NULL,
    PRIMARY KEY (event, delivery)
);

CREATE TABLE replay_job (
    no         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook    BIGINT NOT NULL,
    lane_epoch BIGINT NOT NULL,
    from_at    BIGINT NOT NULL,
    to_at      BIGINT NOT NULL,              -- not behind the time the job was made
    status     SMALLINT,
    next_at    BIGINT NOT NULL,              -- cursor: the last delivery seen, by time and number
    next_seq   BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    made       BIGINT NOT NULL DEFAULT 0,
    done       BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX replay_job_open ON replay_job (no) WHERE NOT done;

-- Kept for a while after they were swept: a request that was accepted on the older epoch may be stored a moment later.
CREATE TABLE stale_lane (
    webhook BIGINT PRIMARY KEY,
    made_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE erasure (
    id     BYTEA PRIMARY KEY,
    tenant BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    scope  TEXT NOT NULL,
    count  BIGINT NOT NULL
);

-- Of calls. What happened to events and deliveries is told from their own rows.
CREATE TABLE analytic_call (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant  BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    id      BYTEA NOT NULL,
    kind    SMALLINT NOT NULL,
    request BYTEA NOT NULL,
    client  BYTEA,
    data    TEXT
);
CREATE UNIQUE INDEX analytic_call_list ON analytic_call (tenant, at, id);
CREATE INDEX analytic_call_request ON analytic_call (tenant, request);
CREATE INDEX analytic_call_age ON analytic_call (at);

CREATE TABLE audit (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    who    TEXT NOT NULL,
    what   TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT,
    after  TEXT
);
CREATE INDEX audit_list ON audit (tenant, seq);
