-- The schema's first version. A migration that was released is never edited: the next one is a new file.

-- The one row that says who may write: a boot takes the next epoch, and writers of older ones are fenced.
CREATE TABLE boot (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO boot VALUES (1, 0);

-- What queries see of a run. `run_no` is a short name for it in this database. The columns from `seq` on are the
-- run's progress and are written with every commit; the others never change.
CREATE TABLE runs (
    run_no INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    root_run_id TEXT NOT NULL,
    shard INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 255),
    parent_run_id TEXT,
    item_index INTEGER,
    step_id TEXT,
    child_key TEXT,
    flow_id TEXT NOT NULL,
    flow_name TEXT,
    principal TEXT,
    idempotency_key TEXT,
    created_at_ms INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    status TEXT NOT NULL CHECK (status IN ('pending', 'running', 'suspended', 'success', 'failed', 'cancelled')),
    total INTEGER NOT NULL,
    sealed INTEGER NOT NULL CHECK (sealed IN (0, 1)),
    running INTEGER NOT NULL CHECK (running >= 0),
    success INTEGER NOT NULL CHECK (success >= 0),
    failed INTEGER NOT NULL CHECK (failed >= 0),
    cancelled INTEGER NOT NULL CHECK (cancelled >= 0),
    started_through INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    cancel_reason TEXT,
    current_step TEXT,
    started_at_ms INTEGER,
    updated_at_ms INTEGER,
    completed_at_ms INTEGER,
    CHECK (success + failed + cancelled <= total),
    CHECK (child_key IS NULL OR parent_run_id IS NOT NULL AND item_index IS NOT NULL AND step_id IS NOT NULL),
    CHECK ((principal IS NULL) = (idempotency_key IS NULL))
) STRICT;
CREATE INDEX runs_by_status ON runs (status, run_id);
CREATE INDEX runs_by_flow ON runs (flow_id, run_id);
CREATE INDEX runs_by_flow_name ON runs (flow_name, run_id) WHERE flow_name IS NOT NULL;
CREATE INDEX runs_by_root ON runs (root_run_id, run_id);
CREATE INDEX runs_by_parent ON runs (parent_run_id, run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX runs_by_step ON runs (parent_run_id, item_index, step_id, run_id) WHERE item_index IS NOT NULL;
CREATE UNIQUE INDEX runs_idempotency ON runs (principal, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- A sub-run is found again, not made twice; one that failed may be followed by another.
CREATE UNIQUE INDEX runs_live_child ON runs (parent_run_id, item_index, step_id, child_key)
    WHERE child_key IS NOT NULL AND status NOT IN ('failed', 'cancelled');

-- What was submitted (`RunSpec`, JSON); apart from `runs`, because that row is rewritten with every commit.
CREATE TABLE specs (
    run_no INTEGER PRIMARY KEY,
    spec BLOB NOT NULL
) STRICT;

CREATE TABLE labels (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    run_id TEXT NOT NULL,
    run_no INTEGER NOT NULL,
    PRIMARY KEY (name, value, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_run ON labels (run_no);

-- One row for the events of one commit of a run. Items whose completion ordinal is below `completions` and not below
-- `completions_before` ended in it.
CREATE TABLE journal (
    row_no INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    completions_before INTEGER NOT NULL,
    completions INTEGER NOT NULL,
    version INTEGER NOT NULL,
    events BLOB NOT NULL,
    CHECK (first_seq <= last_seq),
    CHECK (completions_before <= completions)
) STRICT;
CREATE UNIQUE INDEX journal_by_seq ON journal (run_no, last_seq);
CREATE INDEX journal_by_completion ON journal (run_no, completions) WHERE completions > completions_before;

CREATE TABLE segments (
    run_no INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    count INTEGER NOT NULL CHECK (count > 0),
    data BLOB NOT NULL,
    PRIMARY KEY (run_no, first_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE chunks (
    run_no INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    refs BLOB NOT NULL,
    PRIMARY KEY (run_no, chunk)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    run_no INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE outbox (
    message_no INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (run_id, seq)
) STRICT;

CREATE TABLE blobs (
    blob_no INTEGER PRIMARY KEY,
    blob_id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL CHECK (type IN ('data', 'flow', 'binary')),
    data BLOB NOT NULL
) STRICT;
