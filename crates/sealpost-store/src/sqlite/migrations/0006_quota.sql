-- Schema version 6: a tenant's own limits, JSON; what is absent follows the installation's.
ALTER TABLE tenant ADD COLUMN quota TEXT NOT NULL DEFAULT '{}';
