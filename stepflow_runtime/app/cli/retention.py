"""Deletion of runs that ended long ago, page by page, in a runtime that serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from protocol.errors import ErrorCode, RpcError
from protocol.link import Link
from protocol.methods import DELETE_RUN, LIST_RUNS
from protocol.runs import ListRunsParams, ListRunsResult, RunParams, RunState, RunStatus

_PAGE = 200


class Expired(Struct, frozen=True):
    """A run that was to be deleted.

    Args:
        run: As it was.
        obstacle: Why it was not deleted: something beneath it goes on.
    """

    run: RunStatus
    obstacle: str | None = None


async def delete_older(
    link: Link, age_s: int, statuses: Collection[RunState], *, pretend: bool
) -> AsyncIterator[Expired]:
    """Deletes root runs, and all beneath them, that ended before some time.

    Args:
        age_s: How long ago, in seconds, by the clock of this machine.
        statuses: How they ended; any if there is none.
        pretend: Only tell which they are.
    """
    before = datetime.now(UTC) - timedelta(seconds=age_s)
    time = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    params = ListRunsParams(created_before=time, limit=_PAGE)
    while True:
        page: ListRunsResult = await link.call(LIST_RUNS, params)
        for run in page.runs:
            has_expired = run.completed_at is not None and datetime.fromisoformat(run.completed_at) < before
            if has_expired and run.parent_run_id is None and (not statuses or run.status in statuses):
                yield Expired(run) if pretend else await _delete(link, run)
        if page.next_cursor is None:
            return
        params.cursor = page.next_cursor


async def _delete(link: Link, run: RunStatus) -> Expired:
    try:
        await link.call(DELETE_RUN, RunParams(run.run_id))
    except RpcError as error:
        if error.code not in (ErrorCode.CONFLICT, ErrorCode.RUN_NOT_FOUND):
            raise
        return Expired(run, error.message)
    return Expired(run)
