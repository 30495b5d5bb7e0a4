"""Printing what was found, on stdout: a table for people, JSON or a JSON value a line for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepflow_runtime.app.cli.options import Format

STYLES: Final = {
    "success": "green",
    "failed": "red",
    "cancelled": "yellow",
    "running": "cyan",
    "pending": "dim",
    "suspended": "magenta",
}
"""Colours of states."""

_NEVER_FOLDED: Final = frozenset({"RUN", "STATUS", "AGE", "SEQ", "AT", "ITEM", "OUTCOME", "COMPONENT", "STEP"})


def stdout() -> Console:
    """For people, as wide as a line needs where nobody looks."""
    return Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True)


def stderr() -> Console:
    """For people."""
    return Console(stderr=True, soft_wrap=not sys.stderr.isatty())


def paint(state: str, word: str | None = None) -> str:
    """A state, or another word for it, as markup in its colour."""
    style = STYLES.get(state)
    text = escape(word or state)
    return f"[{style}]{text}[/]" if style else text


def print_json(value: Any) -> None:
    """One JSON value: indented on a terminal, else on one line."""
    text = msgspec.json.encode(value)
    if sys.stdout.isatty():
        text = msgspec.json.format(text, indent=2)
    print_lines([text])


def print_lines(lines: Iterable[bytes]) -> None:
    """Lines as they are."""
    write = sys.stdout.buffer.write
    sys.stdout.flush()
    for line in lines:
        write(line)
        write(b"\n")
    sys.stdout.buffer.flush()


def print_rows(form: Format, rows: Sequence[Any], columns: Sequence[str], cells: Any, nothing: str) -> None:
    """Things of one kind.

    Args:
        rows: What `json` and `jsonl` print.
        columns: The heads of the table.
        cells: Makes the cells of a row, as markup.
        nothing: What a table without rows says.
    """
    match form:
        case Format.JSON:
            print_json(list(rows))
        case Format.JSONL:
            print_lines(msgspec.json.encode(row) for row in rows)
        case Format.TABLE if rows:
            table = make_table(columns)
            for row in rows:
                table.add_row(*cells(row))
            print_table(table)
        case Format.TABLE:
            stderr().print(nothing)


def print_facts(form: Format, value: Any, facts: Iterable[tuple[str, str | None]]) -> None:
    """One thing, with its facts as pairs of name and markup; those without one are left out."""
    if form is not Format.TABLE:
        print_json(value) if form is Format.JSON else print_lines([msgspec.json.encode(value)])
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, fact in facts:
        if fact:
            table.add_row(name, fact)
    print_table(table)


def make_table(columns: Sequence[str]) -> Table:
    """An empty table; what is longer than the terminal is folded, never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _NEVER_FOLDED)
    return table


def print_table(table: Table) -> None:
    """A table; without what fills up its lines where nobody looks."""
    console = stdout()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def shorten(text: str, width: int = 100) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def describe_duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def seconds_between(start: str, end: str) -> float:
    """Between two times of the wire."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
