"""How far a run has got, drawn on stderr while it runs; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from protocol.runs import RunStatus


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


@contextmanager
def show_progress(
    name: str, total: int | None, *, wanted: bool = True
) -> Generator[Callable[[RunStatus], None] | None]:
    """Draws progress within the context.

    Args:
        name: Of the flow.
        total: How many items there will be, if that is known before they are sent.
        wanted: Whether it is wanted at all.

    Yields:
        What is to be told each status; `None` if nobody would see it.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    progress = Progress(
        SpinnerColumn(finished_text=" "),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[counts]}"),
        _RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        refresh_per_second=8,
        transient=True,
    )
    with progress:
        task = progress.add_task(name, total=total, counts="")

        def show(status: RunStatus) -> None:
            items = status.items
            ended = items.success + items.failed + items.cancelled
            known = items.total if status.status_detail != "open" else total
            progress.update(task, completed=ended, total=known, counts=_describe_counts(status, known))

        yield show


def _describe_counts(status: RunStatus, total: int | None) -> str:
    items = status.items
    ended = items.success + items.failed + items.cancelled
    parts = [f"{ended:,}/{total:,}" if total is not None else f"{ended:,}", f"[green]{items.success:,} ok[/]"]
    if items.failed:
        parts.append(f"[red]{items.failed:,} failed[/]")
    if items.cancelled:
        parts.append(f"[yellow]{items.cancelled:,} cancelled[/]")
    if items.running:
        parts.append(f"[cyan]{items.running:,} running[/]")
    return " · ".join(parts)
