-- Schema version 4: the audit log is read by tenant, newest first.
CREATE INDEX audit_list ON audit (tenant, seq);
