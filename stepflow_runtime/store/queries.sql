-- Every statement of the SQLite store, by name (`sql.py` loads them). The columns of a run's progress are always in
-- the order of `ports.RunProgress`; {record} stands for the columns that make a `RunRecord`, {delivery} for those of a
-- `Delivery`.

-- name: read_epoch
SELECT epoch FROM boot;

-- name: take_epoch
UPDATE boot SET epoch = epoch + 1, stopped = 0;

-- name: was_stopped
SELECT stopped OR epoch = 0 FROM boot;

-- name: note_stop
UPDATE boot SET stopped = 1 WHERE epoch = ?;

-- name: last_run_no
SELECT ifnull(max(run_no), 0) FROM runs;

-- === writing: the rows of a commit ===

-- name: insert_run
INSERT INTO runs (
    run_no, run_id, root_run_id, shard, parent_run_id, item_index, step_id, child_key, flow_id, flow_name, principal,
    idempotency_key, created_at_ms, {progress}, job_run_id, forked_from
) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,{progress_values},?,?);

-- name: insert_spec
INSERT INTO specs VALUES (?, ?);

-- name: insert_label
INSERT INTO labels VALUES (?, ?, ?, ?);

-- name: update_progress
UPDATE runs SET ({progress}) = ({progress_values}) WHERE run_no = ? AND seq = ?;

-- name: insert_journal
INSERT INTO journal VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_segment
INSERT INTO segments VALUES (?, ?, ?, ?);

-- name: put_chunk
INSERT INTO chunks VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET refs = excluded.refs;

-- name: put_snapshot
INSERT INTO snapshots VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq, data = excluded.data;

-- name: insert_message
INSERT INTO outbox VALUES (NULL, ?, ?, ?, ?);

-- name: insert_stream_write
INSERT INTO stream_writes (run_no, last_index, namespace, first_index, count, encoding, writer, key, data)
VALUES (?,?,?,?,?,?,?,?,?)
ON CONFLICT DO NOTHING;

-- name: put_stream
INSERT INTO streams VALUES (?,?,?,?,?)
ON CONFLICT DO UPDATE SET tail = excluded.tail, size = excluded.size, closed = excluded.closed;

-- name: insert_checkpoint
INSERT INTO checkpoints VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING;

-- name: insert_artifact
INSERT INTO artifacts VALUES (NULL,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING;

-- name: insert_delivery
INSERT INTO deliveries ({delivery}) VALUES (?,?,?,?,?,?,?,?,?,?,?);

-- === writing: the rest ===

-- name: delete_message
DELETE FROM outbox WHERE run_id = ? AND seq = ?;

-- name: put_blob
INSERT INTO blobs (blob_id, type, data, last_put_at) VALUES (?, ?, ?, unixepoch())
ON CONFLICT (blob_id) DO UPDATE SET data = excluded.data, last_put_at = excluded.last_put_at
WHERE data <> excluded.data OR last_put_at < excluded.last_put_at - 3600;

-- name: delete_run
DELETE FROM runs WHERE run_no = ?;

-- name: delete_spec
DELETE FROM specs WHERE run_no = ?;

-- name: delete_labels
DELETE FROM labels WHERE run_no = ?;

-- name: delete_journal
DELETE FROM journal WHERE run_no = ?;

-- name: delete_segments
DELETE FROM segments WHERE run_no = ?;

-- name: delete_chunks
DELETE FROM chunks WHERE run_no = ?;

-- name: delete_snapshot
DELETE FROM snapshots WHERE run_no = ?;

-- name: delete_stream_writes
DELETE FROM stream_writes WHERE run_no = ?;

-- name: delete_streams
DELETE FROM streams WHERE run_no = ?;

-- name: delete_checkpoints
DELETE FROM checkpoints WHERE run_no = ?;

-- name: delete_artifacts
DELETE FROM artifacts WHERE run_no = ?;

-- name: delete_messages
DELETE FROM outbox WHERE run_id = ?;

-- name: add_entry
INSERT INTO registry (kind, id, is_active, body) VALUES (?, ?, ?, ?);

-- name: save_entry
INSERT INTO registry (kind, id, is_active, body) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET is_active = excluded.is_active, body = excluded.body;

-- name: remove_entry
DELETE FROM registry WHERE kind = ? AND id = ?;

-- name: note_delivery
UPDATE deliveries SET state = ?, attempts = ?, due_ms = ?, last_at_ms = ?, last_error = ? WHERE delivery_id = ?;

-- name: forget_deliveries
DELETE FROM deliveries WHERE webhook_id = ?;

-- name: forget_delivered
DELETE FROM deliveries WHERE state = 'delivered' AND last_at_ms < ?;

-- === what a write meets ===

-- name: find_run_no
SELECT run_no FROM runs WHERE run_id = ?;

-- name: find_status
SELECT run_no, status FROM runs WHERE run_id = ?;

-- name: find_seq
SELECT seq FROM runs WHERE run_id = ?;

-- name: find_run
SELECT run_id FROM runs WHERE run_id = ?;

-- name: find_fork
SELECT run_id FROM runs WHERE forked_from = ? LIMIT 1;

-- name: find_idempotency_key
SELECT run_id FROM runs WHERE principal = ? AND idempotency_key = ?;

-- name: find_live_child
SELECT run_id FROM runs
WHERE parent_run_id = ? AND item_index = ? AND step_id = ? AND child_key = ?
    AND child_key IS NOT NULL AND status NOT IN ('failed', 'cancelled');

-- === reading runs ===

-- name: run
SELECT {record} FROM runs JOIN specs USING (run_no) WHERE run_id = ?;

-- name: progress
SELECT {progress} FROM runs WHERE run_id = ?;

-- name: unfinished
SELECT run_id FROM runs WHERE status IN ('pending', 'running', 'suspended') ORDER BY run_id;

-- name: children
SELECT {record} FROM runs JOIN specs USING (run_no) WHERE parent_run_id = ? ORDER BY run_id;

-- name: child
SELECT {record} FROM runs JOIN specs USING (run_no)
WHERE parent_run_id = ? AND item_index = ? AND step_id = ? AND child_key = ? ORDER BY run_id DESC LIMIT 1;

-- name: children_of_step
SELECT {record} FROM runs JOIN specs USING (run_no)
WHERE parent_run_id = ? AND item_index = ? AND step_id = ? ORDER BY run_id;

-- name: run_by_idempotency_key
SELECT {record} FROM runs JOIN specs USING (run_no) WHERE principal = ? AND idempotency_key = ?;

-- name: list_runs
SELECT {record} FROM runs JOIN specs USING (run_no);

-- name: list_labelled_runs
SELECT {record} FROM labels CROSS JOIN runs USING (run_no) JOIN specs USING (run_no);

-- name: has_label
EXISTS (SELECT 1 FROM labels AS l WHERE l.name = ? AND l.value = ? AND l.run_id = runs.run_id);

-- === reading what a run consists of ===

-- name: journal
SELECT first_seq, last_seq, at_ms, completions_before, events, version FROM journal
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND last_seq >= ? ORDER BY last_seq LIMIT ?;

-- name: tree_journal
SELECT row_no, run_id, first_seq, last_seq, at_ms, completions_before, events FROM journal JOIN runs USING (run_no)
WHERE row_no IN (
    SELECT row_no FROM journal
    WHERE run_no IN (SELECT run_no FROM runs WHERE root_run_id = ?) AND row_no > ? ORDER BY row_no LIMIT ?
)
ORDER BY row_no;

-- name: tree_end
SELECT ifnull(max(row_no), 0) FROM journal WHERE run_no IN (SELECT run_no FROM runs WHERE root_run_id = ?);

-- name: seq_at_completion
SELECT last_seq FROM journal
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND completions > ? AND completions > completions_before
ORDER BY completions LIMIT 1;

-- name: chunks
SELECT chunk, refs FROM chunks
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND chunk BETWEEN ? AND ? ORDER BY chunk;

-- name: inputs
SELECT first_index, count, data FROM segments
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND first_index <= ? ORDER BY first_index DESC LIMIT 1;

-- name: snapshot
SELECT seq, data FROM snapshots WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?);

-- name: streams
SELECT namespace, tail, size, closed FROM streams
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) ORDER BY namespace;

-- name: stream
SELECT tail, size, closed, status FROM runs LEFT JOIN streams ON streams.run_no = runs.run_no AND namespace = ?
WHERE run_id = ?;

-- name: stream_writes
SELECT namespace, first_index, count, encoding, writer, key, data FROM stream_writes
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND namespace = ? AND last_index >= ?
ORDER BY last_index LIMIT ?;

-- name: stream_writes_of
SELECT namespace, first_index, count, encoding, writer, key, data FROM stream_writes
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND namespace = ? AND writer = ? AND key IS NULL
ORDER BY last_index;

-- name: has_stream_write
SELECT 1 FROM stream_writes WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND namespace = ? AND key = ?;

-- name: checkpoint
SELECT value FROM checkpoints
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND item_index = ? AND step_id = ? AND key = ?;

-- name: count_checkpoints
SELECT count(*) FROM checkpoints
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) AND item_index = ? AND step_id = ?;

-- name: artifacts
SELECT artifact_id, item_index, name, type, mime_type, size, blob_id, created_at_ms FROM artifacts
WHERE run_no = (SELECT run_no FROM runs WHERE run_id = ?) ORDER BY artifact_no;

-- name: outbox
SELECT run_id, seq, kind, body FROM outbox ORDER BY message_no;

-- name: blob
SELECT data, type FROM blobs WHERE blob_id = ?;

-- name: blob_ids
SELECT blob_id FROM blobs WHERE blob_id > ? ORDER BY blob_id LIMIT ?;

-- === jobs, schedules, webhooks ===

-- name: entry
SELECT kind, id, is_active, body FROM registry WHERE kind = ? AND id = ?;

-- name: entries
SELECT kind, id, is_active, body FROM registry
WHERE kind = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3;

-- name: active_entries
SELECT kind, id, is_active, body FROM registry WHERE kind = ? AND is_active ORDER BY id;

-- name: deliveries
SELECT {delivery} FROM deliveries;

-- name: delivery
SELECT {delivery} FROM deliveries WHERE delivery_id = ?;

-- name: due_deliveries
SELECT {delivery} FROM deliveries
WHERE state = 'pending' AND due_ms <= ?
    AND delivery_id NOT IN (SELECT value FROM json_each(?)) AND webhook_id NOT IN (SELECT value FROM json_each(?))
ORDER BY due_ms, delivery_no LIMIT ?;

-- name: next_due
SELECT min(due_ms) FROM deliveries
WHERE state = 'pending' AND delivery_id NOT IN (SELECT value FROM json_each(?));

-- name: count_pending
SELECT count(*) FROM deliveries WHERE state = 'pending';

-- === blobs that nothing can reach ===

-- name: flows_of_runs
SELECT DISTINCT flow_id FROM runs;

-- name: blobs_put_lately
SELECT blob_id FROM blobs WHERE last_put_at > unixepoch() - ?;

-- name: named_by_specs
SELECT spec FROM specs;

-- name: named_by_journals
SELECT events FROM journal;

-- name: named_by_inputs
SELECT data FROM segments;

-- name: named_by_streams
SELECT data FROM stream_writes;

-- name: named_by_checkpoints
SELECT value FROM checkpoints;

-- name: named_by_artifacts
SELECT CAST(blob_id AS BLOB) FROM artifacts;

-- name: named_by_snapshots
SELECT data FROM snapshots;

-- name: named_by_outbox
SELECT body FROM outbox;

-- name: named_by_registry
SELECT body FROM registry;

-- name: blob_content
SELECT data FROM blobs WHERE blob_id = ?;

-- name: blob_sizes
SELECT blob_id, length(data) FROM blobs;

-- name: count_blobs
SELECT count(*) FROM blobs;

-- name: delete_blob
DELETE FROM blobs WHERE blob_id = ?;

-- name: delete_unused_blob
DELETE FROM blobs WHERE blob_id = ? AND last_put_at <= unixepoch() - ?;
