"""Why a write is refused: the same words from every store."""

from __future__ import annotations

from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import Conflict, RunWrite


def missing(write: RunWrite) -> Conflict:
    return Conflict(f"The run {write.run_id} does not exist; it was deleted or never submitted.")


def moved(write: RunWrite, seq: int) -> Conflict:
    return Conflict(f"The run {write.run_id} is at {seq}, not at {write.expected_seq}; read it again.", write.run_id)


def run_exists(existing: RunId) -> Conflict:
    return Conflict(f"A run {existing} exists already; run ids are never used twice.", existing)


def idempotency_key_used(existing: RunId) -> Conflict:
    return Conflict(f"The idempotency key belongs to the run {existing}; use another key for another run.", existing)


def child_exists(existing: RunId) -> Conflict:
    return Conflict(f"The step has submitted the sub-run {existing} under this key, and it did not fail.", existing)


def origin_gone(origin: RunId) -> Conflict:
    return Conflict(f"The run {origin} was deleted meanwhile; nothing can be forked from it any more.")


def needed_by_fork(run_id: RunId, fork: RunId) -> ValueError:
    return ValueError(f"The run {run_id} is needed by its fork {fork}; delete that one first.")


def not_ended(run_id: RunId) -> ValueError:
    return ValueError(f"The run {run_id} has not ended; cancel it and wait for its end before you delete it.")
