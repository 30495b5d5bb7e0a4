"""From records to the wire's `RunStatus`, and the readings of time and cursors that all services share."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import UNSET

from protocol.errors import ErrorCode, RpcError
from protocol.runs import ItemCounts, RunState, RunStatus
from protocol.types import Timestamp
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunProgress, RunRecord


def make_status(record: RunRecord, *, awaits_store: bool = False) -> RunStatus:
    """What `runs/get` tells of a run, without results; whether it waits for a full or failing disk is known outside."""
    spec, progress = record.spec, record.progress
    return RunStatus(
        run_id=spec.run_id,
        flow_id=spec.flow_id,
        flow_name=spec.flow_name,
        flow_label=spec.flow_label,
        status=progress.status,
        status_detail=_find_detail(record, awaits_store),
        current_state_name=progress.current_step,
        items=make_counts(progress),
        created_at=format_time(spec.created_at_ms),
        started_at=_format_optional(progress.started_at_ms),
        updated_at=_format_optional(progress.updated_at_ms),
        completed_at=_format_optional(progress.completed_at_ms),
        parent_run_id=spec.parent.run_id if spec.parent is not None else None,
        root_run_id=spec.root_run_id if spec.parent is not None else None,
        job_run_id=spec.job_run_id,
        forked_from=None if spec.fork is None else spec.fork.origin,
        labels=spec.labels or None,
        created_by=spec.created_by or spec.submitted_by,
        cancel_reason=progress.cancel_reason,
    )


def make_counts(progress: RunProgress) -> ItemCounts:
    """How many items there are in each state."""
    return ItemCounts(
        total=progress.total,
        pending=progress.pending,
        running=progress.running + progress.sleeping,
        success=progress.success,
        failed=progress.failed,
        cancelled=progress.cancelled,
        suspended=progress.suspended or UNSET,
    )


def _find_detail(record: RunRecord, awaits_store: bool) -> str | None:
    progress = record.progress
    if progress.status in TERMINAL_RUN_STATES:
        return "noActionTaken" if progress.total and progress.no_action == progress.total else None
    if awaits_store:
        return "awaitingStorage"
    if progress.cancel_requested:
        return "cancelling"
    if progress.paused:
        return "paused"
    if progress.status is RunState.SUSPENDED:
        return "awaitingInput"
    if not progress.sealed:
        return "open"
    if progress.status is RunState.PENDING:
        return "queued" if record.spec.delay_until_ms is None else "sleeping"
    return "sleeping" if progress.sleeping and not progress.running and not progress.pending else None


@lru_cache(1024)
def format_time(wall_ms: int) -> Timestamp:
    """RFC 3339, UTC, milliseconds, `Z`."""
    seconds, milliseconds = divmod(wall_ms, 1000)
    return f"{_format_second(seconds)}.{milliseconds:03}Z"


@lru_cache(64)
def _format_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _format_optional(wall_ms: int | None) -> Timestamp | None:
    return None if wall_ms is None else format_time(wall_ms)


def parse_time(text: Timestamp, field: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time; UTC if it names no zone.

    Raises:
        RpcError: `INVALID_PARAMS`, naming the field.
    """
    try:
        time = datetime.fromisoformat(text)
        return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000)
    except ValueError:
        raise RpcError(
            ErrorCode.INVALID_PARAMS, f'{field} is not a time: write it like "2026-01-31T08:00:00Z"', path=f"$.{field}"
        ) from None


def encode_cursor(*position: int | str) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode("/".join(map(str, position)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[str]:
    """The position that a cursor stands for.

    Raises:
        RpcError: `INVALID_PARAMS`.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode().split("/")
    except (binascii.Error, ValueError):
        raise bad_cursor() from None


def decode_index_cursor(cursor: str | None, size: int = 1) -> tuple[int, ...]:
    """The numbers that a cursor of `size` numbers stands for; zeros for none."""
    if cursor is None:
        return (0,) * size
    try:
        numbers = tuple(map(int, decode_cursor(cursor)))
    except ValueError:
        raise bad_cursor() from None
    if len(numbers) != size or min(numbers) < 0:
        raise bad_cursor()
    return numbers


def decode_text_cursor(cursor: str | None) -> str | None:
    """The one text that a cursor stands for."""
    if cursor is None:
        return None
    match decode_cursor(cursor):
        case [position] if position:
            return position
        case _:
            raise bad_cursor()


def bad_cursor() -> RpcError:
    return RpcError(
        ErrorCode.INVALID_PARAMS,
        "cursor is not one that this method gave: pass nextCursor on unchanged",
        path="$.cursor",
    )


def run_not_found(run_id: str) -> RpcError:
    """The same for a run that is absent and for one that the caller may not see."""
    return RpcError(ErrorCode.RUN_NOT_FOUND, f"there is no run {run_id}", runId=run_id)
