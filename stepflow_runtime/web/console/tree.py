"""A run and the runs beneath it, as lines that are indented. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from protocol.runs import RunStatus


class Line(Struct):
    """One run of a tree."""

    run: RunStatus
    depth: int


def grow(runs: Sequence[RunStatus]) -> Iterator[Line]:
    """The runs of a tree, each after its parent, the oldest first; one whose parent is not among them is a root."""
    known = {run.run_id for run in runs}
    children: dict[str | None, list[RunStatus]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.created_at):
        children[run.parent_run_id if run.parent_run_id in known else None].append(run)
    pending = [(run, 0) for run in reversed(children[None])]
    while pending:
        run, depth = pending.pop()
        yield Line(run, depth)
        pending += [(child, depth + 1) for child in reversed(children[run.run_id])]
