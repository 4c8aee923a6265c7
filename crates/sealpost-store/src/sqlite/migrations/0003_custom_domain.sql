-- The one custom domain of a tenant.
CREATE TABLE custom_domain (
    tenant      INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    logo_url    TEXT NOT NULL,
    domain      TEXT NOT NULL,               -- A-labels, lower-case
    token       BLOB NOT NULL,
    verified_at INTEGER
);

-- Several tenants may claim a domain; one has proven it.
CREATE UNIQUE INDEX custom_domain_verified ON custom_domain (domain) WHERE verified_at IS NOT NULL;
