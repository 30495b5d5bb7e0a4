-- Whether the last boot ended in order, and when a blob was last put, to the hour.

ALTER TABLE boot ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0 CHECK (stopped IN (0, 1));

ALTER TABLE blobs ADD COLUMN last_put_at INTEGER NOT NULL DEFAULT 0;
-- What is there already counts as put now: nobody knows how old it is.
UPDATE blobs SET last_put_at = unixepoch();
