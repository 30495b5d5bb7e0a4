-- Jobs, schedules and webhooks, the deliveries of webhooks, and which job a run belongs to.

ALTER TABLE runs ADD COLUMN job_run_id TEXT;
CREATE INDEX runs_by_job ON runs (job_run_id, run_id) WHERE job_run_id IS NOT NULL;

CREATE TABLE registry (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    body BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX registry_active ON registry (kind, id) WHERE is_active;

-- The columns are those of `ports.Delivery`. Pending ones are found by when they are due.
CREATE TABLE deliveries (
    delivery_no INTEGER PRIMARY KEY,
    delivery_id TEXT NOT NULL UNIQUE,
    webhook_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    type TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due_ms INTEGER NOT NULL,
    last_at_ms INTEGER,
    last_error TEXT
) STRICT;
CREATE INDEX deliveries_due ON deliveries (due_ms, delivery_no) WHERE state = 'pending';
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, delivery_no);
CREATE INDEX deliveries_by_run ON deliveries (run_id, delivery_no);
CREATE INDEX deliveries_delivered ON deliveries (last_at_ms) WHERE state = 'delivered';
