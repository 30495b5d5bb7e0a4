"""The results of a run, on stdout as they are wanted, and what they amount to, on stderr, for a person."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct
from rich.markup import escape

from protocol.link import Link
from protocol.runs import Outcome, ResultOrder, RunStatus
from stepflow_runtime.app.cli.options import Format
from stepflow_runtime.app.cli.output import (
    describe_duration,
    make_table,
    paint,
    print_json,
    print_lines,
    print_table,
    seconds_between,
    shorten,
    stderr,
)
from stepflow_runtime.app.cli.runs_view import make_run_value, translate_status
from stepflow_runtime.app.cli.watch import Entry, read_results


class _Error(Struct):
    code: str
    message: str


class _Verdict(Struct):
    """As much of a result as a summary needs."""

    outcome: Outcome
    value: Raw = Raw(b"null")
    error: _Error | None = None
    reason: str | None = None


_read_verdict = msgspec.json.Decoder(_Verdict).decode


class _Failures(Struct):
    """Failures with the same code: how many, and the first of them."""

    count: int
    item_index: int
    message: str


class Tally:
    """Counts failures by their code while results go by."""

    def __init__(self) -> None:
        self.failures: dict[str, _Failures] = {}

    def add(self, entry: Entry) -> None:
        """Takes notice of a result."""
        if bytes(entry.result).startswith(b'{"outcome":"success"'):
            return
        verdict = _read_verdict(entry.result)
        if verdict.error is None:
            return
        known = self.failures.get(verdict.error.code)
        if known is None:
            self.failures[verdict.error.code] = _Failures(1, entry.item_index, verdict.error.message)
        else:
            known.count += 1


async def print_results(
    link: Link,
    status: RunStatus,
    form: Format | None,
    *,
    single: bool = False,
    order: ResultOrder = ResultOrder.BY_INDEX,
    limit: int | None = None,
) -> Tally:
    """Prints the results of a run that there are.

    Args:
        form: `None` for a line an item, or just the result if it is a single one.
        single: Whether the run was given a single input.
        limit: At most so many of them.

    Returns:
        What failed.
    """
    tally = Tally()
    table = make_table(["ITEM", "OUTCOME", "RESULT"])
    kept: list[Entry] = []
    async for page in read_results(link, status.run_id, order, limit):
        for entry in page:
            tally.add(entry)
        match form:
            case Format.JSONL:
                print_lines(map(msgspec.json.encode, page))
            case None if not single:
                print_lines(map(msgspec.json.encode, page))
            case Format.TABLE:
                for entry in page:
                    table.add_row(*_make_cells(entry))
            case _:
                kept += page
    match form:
        case Format.TABLE:
            print_table(table)
        case Format.JSON:
            print_json({**msgspec.to_builtins(make_run_value(status)), "results": kept})
        case None if single:
            for entry in kept:
                print_json(entry.result)
        case _:
            pass
    return tally


def _make_cells(entry: Entry) -> tuple[str, str, str]:
    verdict = _read_verdict(entry.result)
    if verdict.error is not None:
        shown = f"{verdict.error.code}: {verdict.error.message}"
    elif verdict.outcome is Outcome.SUCCESS:
        shown = bytes(verdict.value).decode()
    else:
        shown = verdict.reason or ""
    return str(entry.item_index), paint(verdict.outcome), escape(shorten(shown, 400))


def print_summary(status: RunStatus, tally: Tally, elapsed_s: float | None = None) -> None:
    """What became of a run, in a line, and in one more for each kind of failure."""
    console = stderr()
    console.print(_describe_end(status, elapsed_s))
    width = len(f"{max((kind.count for kind in tally.failures.values()), default=0):,}")
    for code, kind in sorted(tally.failures.items(), key=lambda pair: -pair[1].count):
        first = f"item {kind.item_index}: {shorten(kind.message, 120)}"
        console.print(f"  [red]{kind.count:>{width},} × {escape(code)}[/]  [dim]first at[/] {escape(first)}")


def _describe_end(status: RunStatus, elapsed_s: float | None) -> str:
    items = status.items
    executed = items.success + items.failed
    if elapsed_s is None:
        elapsed_s = seconds_between(status.created_at, status.completed_at or status.created_at)
    parts = [
        paint(status.status, translate_status(status)),
        f"{items.total:,} {'item' if items.total == 1 else 'items'}",
    ]
    if items.success != items.total:
        counts = [("ok", items.success), ("failed", items.failed), ("cancelled", items.cancelled)]
        parts.append(", ".join(f"{count:,} {word}" for word, count in counts if count))
    rate = f" ({executed / elapsed_s:,.0f}/s)" if elapsed_s > 0 and executed > 1 else ""
    parts += [f"{describe_duration(elapsed_s)}{rate}", f"[dim]run {status.run_id}[/]"]
    return " · ".join(filter(None, parts))
