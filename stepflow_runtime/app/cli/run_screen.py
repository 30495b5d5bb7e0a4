"""A run that goes on, drawn for a terminal of any width: its counts, its items, its sub-runs, what failed.

Pure drawing: what is known lies in `Scene`, `run_watching` keeps it current. What colours say, marks say too, for
terminals without colour; on one that knows only ASCII, the marks are of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from math import ceil
from typing import Final

from msgspec import Struct
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from protocol.observing import STATES
from protocol.runs import ItemState, RunStatus
from stepflow_runtime.app.cli.output import STYLES, describe_duration, seconds_between, shorten

NARROW: Final = 64
"""Below so many columns, only what matters most is told."""

LOW: Final = 24
"""Below so many lines, of sub-runs and failures only one is told."""

GRID_ROWS: Final = 8
MAX_ENTRIES: Final = 3
"""So many sub-runs are told, and so many failures."""

_MIXED: Final = "mixed"
"""Items of which some have ended well and none is under way or failed."""

_LOUDEST: Final = (ItemState.FAILED, ItemState.SUSPENDED, ItemState.RUNNING, ItemState.CANCELLED)
"""What a mark for several items shows if one of them is so."""

_MARKS: Final = {"success": "■", "failed": "×", "cancelled": "–", "running": "▸", "suspended": "?", "pending": "·"}
_ASCII_MARKS: Final = dict(zip(_MARKS, "#x->?.", strict=True))
_BAR: Final = {"success": "█", "failed": "▓", "cancelled": "▒", "running": "░"}
_ASCII_BAR: Final = {name: _ASCII_MARKS[name] for name in _BAR}
_WORDS: Final = {"success": "ok", "pending": "waiting"}


class Failed(Struct, frozen=True):
    """An item that failed, and why."""

    item_index: int
    code: str
    message: str


class Scene(Struct):
    """All that is known of the run that is watched.

    Args:
        status: As it was told last.
        states: A letter for each item, as `runs/itemStates` tells them.
        rate: Items that end in a second, of late; `None` while that is not known.
        children: Sub-runs, the newest first.
        has_more_children: Whether there are more than these.
        failures: Some of the items that failed.
    """

    status: RunStatus
    states: bytearray
    rate: float | None = None
    children: list[RunStatus] = []
    has_more_children: bool = False
    failures: list[Failed] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from draw(self, options.max_width, console.size.height, ascii_only=options.ascii_only)


def draw(scene: Scene, width: int, height: int, *, ascii_only: bool = False) -> Iterator[Text]:
    """The lines, none of them wider or in all higher than the terminal.

    Args:
        width, height: Of the terminal, in characters.
        ascii_only: Whether it knows no other marks.
    """
    marks = _ASCII_MARKS if ascii_only else _MARKS
    bars = _ASCII_BAR if ascii_only else _BAR
    head = [*_draw_title(scene.status, width), _draw_bar(scene.status, width, bars), *_draw_counts(scene, width, marks)]
    most = MAX_ENTRIES if height >= LOW else 1
    below = [*_draw_failures(scene, width, marks, most), *_draw_children(scene, width, bars, most)]
    room = height - len(head) - len(below) - 4
    grid = list(_draw_grid(scene, width, min(GRID_ROWS, room), marks)) if room > 0 else []
    for line in (*head, *grid, *below)[: max(1, height - 1)]:
        line.truncate(width, overflow="ellipsis")
        if ascii_only:
            line.plain = line.plain.replace("…", "~")
        line.no_wrap, line.overflow = True, "crop"
        yield line


def _draw_title(status: RunStatus, width: int) -> Iterator[Text]:
    style = STYLES.get(status.status, "")
    name = status.flow_label or status.flow_name or status.flow_id[:14]
    ends = status.completed_at or datetime.now(UTC).isoformat()
    state = Text.assemble((status.status, f"bold {style}"))
    if status.status_detail:
        state.append(f" ({status.status_detail})", style)
    state.append(f"  {describe_duration(max(0.0, seconds_between(status.created_at, ends)))}", "dim")
    yield _join(Text(shorten(name, max(8, width - len(state) - 2)), "bold"), state, width)
    yield Text(f"run {status.run_id}" if width >= NARROW else status.run_id, "dim")


def _draw_bar(status: RunStatus, width: int, bars: dict[str, str]) -> Text:
    """What has become of the items, in shares of the width; nothing that there is vanishes."""
    items, bar = status.items, Text()
    counts = {name: getattr(items, name) for name in bars}
    for name, count in counts.items():
        cells = 0 if not count else max(1, count * width // max(1, items.total))
        bar.append(bars[name] * min(cells, width - len(bar)), STYLES[name])
    bar.append(("·" if bars is _BAR else ".") * (width - len(bar)), "dim")
    return bar


def _draw_counts(scene: Scene, width: int, marks: dict[str, str]) -> Iterator[Text]:
    items = scene.status.items
    ended = items.success + items.failed + items.cancelled
    share = f"  {ended * 100 // items.total} %" if items.total else ""
    pace = Text(_describe_pace(scene, items.total - ended), "dim")
    yield _join(Text(f"{ended:,}/{items.total:,}{share}"), pace, width)
    counts = {name: getattr(items, name) or 0 for name in marks}
    told = _tell_counts(counts, marks, with_words=True)
    yield told if len(told) <= width else _tell_counts(counts, marks, with_words=False)
    yield Text()


def _tell_counts(counts: dict[str, int], marks: dict[str, str], *, with_words: bool) -> Text:
    told = Text()
    for name, count in counts.items():
        if count:
            word = f" {_WORDS.get(name, name)}  " if with_words else ""
            told.append(f"{marks[name]} {count:,}{word} ", STYLES[name])
    return told


def _describe_pace(scene: Scene, left: int) -> str:
    if not scene.rate or scene.status.completed_at is not None:
        return ""
    rate = f"{scene.rate:,.0f}" if scene.rate >= 10 else f"{scene.rate:.1f}"
    return f"{rate} items/s, {describe_duration(left / scene.rate)} left" if left else f"{rate} items/s"


def _draw_grid(scene: Scene, width: int, rows: int, marks: dict[str, str]) -> Iterator[Text]:
    """A mark for each item, or for several of them that follow each other."""
    total = len(scene.states)
    if total < 2:
        return
    each = ceil(total / (width * rows))
    line = Text()
    for first in range(0, total, each):
        state = _sum_up(scene.states[first : first + each])
        line.append(marks["success" if state == _MIXED else state], "dim green" if state == _MIXED else STYLES[state])
        if len(line) == width:
            yield line
            line = Text()
    if line:
        yield line
    if each > 1:
        yield Text(f"each mark is {each:,} items", "dim")
    yield Text()


def _sum_up(letters: bytes | bytearray) -> str:
    """How several items are, in one word."""
    counts = Counter(STATES[chr(letter)] for letter in letters)
    for state in _LOUDEST:
        if counts[state]:
            return state.value
    if counts[ItemState.SUCCESS] == len(letters):
        return ItemState.SUCCESS.value
    return _MIXED if counts[ItemState.SUCCESS] else ItemState.PENDING.value


def _draw_failures(scene: Scene, width: int, marks: dict[str, str], most: int) -> Iterator[Text]:
    for failed in scene.failures[:most]:
        text = Text.assemble((f"{marks['failed']} item {failed.item_index}  ", "red"))
        if width >= NARROW:
            text.append(f"{failed.code}  ", "red dim")
        text.append(shorten(failed.message, max(8, width - len(text))))
        yield text
    left = scene.status.items.failed - min(len(scene.failures), most)
    if scene.failures and left > 0:
        yield Text(f"  and {left:,} more", "dim")
    if scene.failures:
        yield Text()


def _draw_children(scene: Scene, width: int, bars: dict[str, str], most: int) -> Iterator[Text]:
    if not scene.children:
        return
    yield Text("sub-runs, the newest first", "dim")
    wide = width >= NARROW
    for child in scene.children[:most]:
        line = Text("  ")
        line.append_text(_draw_bar(child, 16 if wide else 6, bars))
        ended = child.items.success + child.items.failed + child.items.cancelled
        line.append(f"  {child.status:<9}", STYLES.get(child.status, ""))
        line.append(f"  {ended:,}/{child.items.total:,}  ")
        line.append(shorten(child.flow_label or child.flow_name or child.flow_id[:14], 40))
        if wide:
            line.append(f"  {child.run_id}", "dim")
        yield line
    if scene.has_more_children or len(scene.children) > most:
        yield Text("  and more: stepflow runs list --parent RUN", "dim")


def _join(left: Text, right: Text, width: int) -> Text:
    """Two texts at the ends of a line; the right one goes if there is no room."""
    gap = width - len(left) - len(right)
    if gap < 1:
        return left
    left.append(" " * gap)
    left.append_text(right)
    return left
