"""Following a run until it ends, and reading its results page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from msgspec import Raw, Struct

from protocol.link import Link
from protocol.methods import GET_RUN
from protocol.runs import GetRunParams, ResultOrder, RunState, RunStatus
from stepflow_runtime.app.cli.boundary import ExitCode

PAGE_ITEMS: Final = 1000
REFRESH_MS: Final = 250
"""How long a poll waits for the end of a run before it tells how far the run has got."""

ENDED: Final = frozenset({RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED})


class Entry(Struct, rename="camel"):
    """One element of `results`; the result itself stays as it came, digit for digit."""

    item_index: int
    result: Raw


class _Page(Struct, rename="camel"):
    results: list[Entry] = []
    next_offset: int | None = None


_GET_PAGE: Final = msgspec.structs.replace(GET_RUN, result=_Page)


async def follow_run(link: Link, run_id: str, on_status: Callable[[RunStatus], None] | None = None) -> RunStatus:
    """Waits until a run has ended.

    Args:
        on_status: Told a few times a second how far it has got; without it, nothing is asked until the end.

    Returns:
        Its last status.
    """
    timeout_ms = None if on_status is None else REFRESH_MS
    while True:
        status: RunStatus = await link.call(GET_RUN, GetRunParams(run_id, wait=True, timeout_ms=timeout_ms))
        if on_status is not None:
            on_status(status)
        if status.status in ENDED:
            return status


async def read_results(
    link: Link, run_id: str, order: ResultOrder = ResultOrder.BY_INDEX, limit: int | None = None
) -> AsyncIterator[list[Entry]]:
    """The results that there are, in pages.

    Args:
        limit: At most so many of them.
    """
    offset: int | None = 0
    left = limit
    while offset is not None and left != 0:
        size = PAGE_ITEMS if left is None else min(left, PAGE_ITEMS)
        page: _Page = await link.call(
            _GET_PAGE,
            GetRunParams(run_id, include_results=True, result_order=order, result_offset=offset, result_limit=size),
        )
        offset = page.next_offset
        if left is not None:
            left -= len(page.results)
        yield page.results


def exit_code(status: RunStatus) -> ExitCode:
    """What a run that has ended means for the exit code."""
    match status.status:
        case RunState.SUCCESS:
            return ExitCode.SUCCESS
        case RunState.CANCELLED:
            return ExitCode.CANCELLED
        case _:
            return ExitCode.FAILED
