-- What runs make beside their results: streams, checkpoints, artifacts. And how many items found nothing to do.

ALTER TABLE runs ADD COLUMN no_action INTEGER NOT NULL DEFAULT 0 CHECK (no_action >= 0);

-- The columns are those of `ports.StreamState`, `StreamWrite`, `Checkpoint` and `ArtifactRecord`.
CREATE TABLE streams (
    run_no INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    tail INTEGER NOT NULL CHECK (tail >= 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    closed INTEGER NOT NULL CHECK (closed IN (0, 1)),
    PRIMARY KEY (run_no, namespace)
) STRICT, WITHOUT ROWID;

-- One row for what a writer wrote at once. A chunk is in the first row whose `last_index` is not below its index.
CREATE TABLE stream_writes (
    run_no INTEGER NOT NULL,
    last_index INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    first_index INTEGER NOT NULL CHECK (first_index >= 0),
    count INTEGER NOT NULL CHECK (count > 0 AND first_index + count = last_index + 1),
    encoding TEXT NOT NULL CHECK (encoding IN ('json', 'base64')),
    writer TEXT,
    key TEXT,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX stream_writes_by_index ON stream_writes (run_no, namespace, last_index);
CREATE UNIQUE INDEX stream_writes_by_key ON stream_writes (run_no, namespace, key) WHERE key IS NOT NULL;
CREATE INDEX stream_writes_by_writer ON stream_writes (run_no, namespace, writer, last_index) WHERE writer IS NOT NULL;

CREATE TABLE checkpoints (
    run_no INTEGER NOT NULL,
    item_index INTEGER NOT NULL,
    step_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (run_no, item_index, step_id, key)
) STRICT;

CREATE TABLE artifacts (
    artifact_no INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    artifact_id TEXT NOT NULL,
    item_index INTEGER,
    name TEXT NOT NULL,
    type TEXT,
    mime_type TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    blob_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (run_no, artifact_id)
) STRICT;
