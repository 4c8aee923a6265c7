-- Schema version 5: what a change changed, JSON without secrets; of a thing that was made or is gone one side only.
ALTER TABLE audit ADD COLUMN before TEXT;
ALTER TABLE audit ADD COLUMN after TEXT;
