-- Schema version 7: analytic events.

-- How much a tenant's tell: 1 metadata, 2 sanitised, 3 full.
ALTER TABLE tenant ADD COLUMN log_level INTEGER NOT NULL DEFAULT 2;

-- Of calls, in the order they happened. What happened to events and deliveries is told from their own rows.
CREATE TABLE analytic_call (
    seq     INTEGER PRIMARY KEY,
    tenant  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    id      BLOB NOT NULL,
    kind    INTEGER NOT NULL,                -- analytics::call_code
    request BLOB NOT NULL,
    client  BLOB,
    data    TEXT                             -- JSON; NULL at level 1
);
CREATE UNIQUE INDEX analytic_call_list ON analytic_call (tenant, at, id);
CREATE INDEX analytic_call_request ON analytic_call (tenant, request);

-- Attempts of a tenant by the time they ended. Most first attempts end soon after their delivery was made, and are found
-- by that; only the others are in `late`, so that the common end still touches no index. An attempt that took longer
-- than a minute, which none should, counts as one of a minute.
ALTER TABLE delivery ADD COLUMN tenant INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN tenant INTEGER NOT NULL DEFAULT 0;
UPDATE delivery SET tenant = (SELECT w.tenant FROM webhook w WHERE w.no = delivery.webhook)
    WHERE state = 0 OR started + min(took, 60000) > created_at + 2000;
UPDATE attempt SET tenant = ifnull(
    (SELECT w.tenant FROM delivery d CROSS JOIN webhook w ON w.no = d.webhook WHERE d.seq = attempt.delivery), 0);
CREATE INDEX late ON delivery (tenant, started + min(took, 60000))
    WHERE started + min(took, 60000) > created_at + 2000;
CREATE INDEX retried ON attempt (tenant, started + min(took, 60000)) WHERE number > 1;
