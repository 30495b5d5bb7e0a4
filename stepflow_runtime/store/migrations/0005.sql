-- Items that wait without a slot, and runs that are paused.

ALTER TABLE runs ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0 CHECK (suspended >= 0);
ALTER TABLE runs ADD COLUMN sleeping INTEGER NOT NULL DEFAULT 0 CHECK (sleeping >= 0);
ALTER TABLE runs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
