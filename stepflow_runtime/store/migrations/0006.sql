-- Which run a fork goes on from: that one stays as long as the fork is there.

ALTER TABLE runs ADD COLUMN forked_from TEXT;
CREATE INDEX runs_by_origin ON runs (forked_from, run_id) WHERE forked_from IS NOT NULL;
