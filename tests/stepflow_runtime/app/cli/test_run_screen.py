"""The live view of a run: what is drawn in terminals of any size, and what is asked for meanwhile."""

from __future__ import annotations

import io
from typing import Any

import pytest
from msgspec import Struct
from rich.console import Console

from protocol.errors import ItemErrorCode
from protocol.methods import ITEM_STATES, LIST_ITEMS, LIST_RUNS, Method
from protocol.observing import ItemStatesParams, ItemStatesResult
from protocol.runs import (
    ItemCounts,
    ItemError,
    ItemInfo,
    ItemResult,
    ItemState,
    ListItemsParams,
    ListItemsResult,
    ListRunsResult,
    Outcome,
    RunState,
    RunStatus,
)
from stepflow_runtime.app.cli.run_screen import Failed, Scene, draw
from stepflow_runtime.app.cli.run_watching import PAGE_ITEMS, PAGES, Watcher

RUN = "019aa3a0-7777-7000-8000-000000000001"


def make_status(name: str = "Price the orders of the night", **counts: int) -> RunStatus:
    total = counts.pop("total", sum(counts.values()))
    items = ItemCounts(total=total, **counts)
    began = "2026-01-31T08:00:00.000Z"
    return RunStatus(
        run_id=RUN,
        flow_id="f" * 64,
        flow_name=name,
        status=RunState.RUNNING,
        items=items,
        created_at=began,
        completed_at="2026-01-31T08:00:12.500Z",
    )


def make_scene() -> Scene:
    scene = Scene(make_status(success=60, failed=2, running=8, pending=30), bytearray(b"s" * 60 + b"ff" + b"r" * 8))
    scene.states += b"p" * 30
    scene.failures = [Failed(60, "COMPONENT_FAILED", "ValueError: no price list " * 9), Failed(61, "TIMEOUT", "late")]
    scene.children = [make_status("Child", success=3, running=1, pending=4)] * 3
    scene.has_more_children = True
    return scene


def read(scene: Scene, width: int, height: int, **options: bool) -> list[str]:
    return [line.plain for line in draw(scene, width, height, **options)]


@pytest.mark.parametrize("height", [1, 5, 12, 24, 50])
@pytest.mark.parametrize("width", [10, 30, 44, 64, 100, 200])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    lines = read(make_scene(), width, height)
    assert len(lines) <= max(1, height - 1)
    assert max(map(len, lines)) <= width
    if height > 5:
        assert any("62/100" in line for line in lines), "the counts are told in any case"


def test_it_tells_counts_items_failures_and_sub_runs() -> None:
    text = "\n".join(read(make_scene(), 100, 40))
    assert "62/100  62 %" in text
    assert "■ 60 ok   × 2 failed   ▸ 8 running   · 30 waiting" in text
    assert "■" * 60 + "××" + "▸" * 8 + "·" * 30 in text
    assert "× item 61  TIMEOUT  late" in text
    assert text.count("3/8  Child") == 3
    assert "and more" in text


def test_a_mark_for_several_items_shows_what_matters_most() -> None:
    scene = Scene(make_status(success=1000), bytearray(b"s" * 990 + b"f" + b"s" * 9))
    grid = [line for line in read(scene, 10, 40) if set(line) <= set("■×·") and line]
    assert sum(map(len, grid)) <= 80
    assert "".join(grid).count("×") == 1


def test_what_colours_say_marks_say_too_and_ascii_is_enough() -> None:
    out = io.StringIO()
    Console(file=out, no_color=True, width=80, height=40, force_terminal=True).print(make_scene())
    assert "\x1b[3" not in out.getvalue()
    assert "× 2 failed" in out.getvalue()
    lines = read(make_scene(), 44, 30, ascii_only=True)
    assert "\n".join(lines).isascii()
    assert "x item 61" in "\n".join(lines)


class FakeLink:
    """A runtime that tells of one run of so many items, which begin in order."""

    def __init__(self, states: str) -> None:
        self.states = states
        self.asked: list[int] = []

    async def call(self, method: Method, params: Struct) -> Any:
        if method is ITEM_STATES:
            assert isinstance(params, ItemStatesParams)
            start = params.start_index or 0
            self.asked.append(start // PAGE_ITEMS)
            return ItemStatesResult(self.states[start : start + PAGE_ITEMS], start, len(self.states))
        if method is LIST_ITEMS:
            assert isinstance(params, ListItemsParams)
            error = ItemError(ItemErrorCode.COMPONENT_FAILED, f"item {params.start_index} is bad")
            result = ItemResult(Outcome.FAILED, error=error)
            return ListItemsResult([ItemInfo(params.start_index or 0, ItemState.FAILED, result=result)])
        assert method is LIST_RUNS
        return ListRunsResult([])


async def test_only_what_may_have_changed_is_asked_for_and_little_at_a_time() -> None:
    ended, running, pending = "s" * PAGE_ITEMS, "r" + "p" * (PAGE_ITEMS - 1), "p" * PAGE_ITEMS
    link: Any = FakeLink(ended * 2 + running + pending * 97)
    watcher = Watcher(link, make_status(total=len(link.states), success=2 * PAGE_ITEMS), now=0.0)
    await watcher.look()
    assert link.asked == [0, 1, 2, 3], "the first without a sign of life is the last"
    link.asked.clear()
    await watcher.look()
    assert link.asked == [2, 3], "what has ended is known"
    link.states, link.asked = ("r" + "s" * (PAGE_ITEMS - 1)) * 100, []
    for _ in range(100):
        await watcher.look()
    assert len(link.asked) <= 100 * PAGES
    assert watcher.scene.states[2 * PAGE_ITEMS :].decode() == link.states[2 * PAGE_ITEMS :]


async def test_failures_are_looked_up_once_and_no_more_than_are_shown() -> None:
    link: Any = FakeLink("sfsff" + "f" * 100)
    watcher = Watcher(link, make_status(total=105, failed=103, success=2), now=0.0)
    await watcher.look()
    await watcher.look()
    assert [failed.item_index for failed in watcher.scene.failures] == [1, 3, 4]
    assert watcher.scene.failures[0].message == "item 1 is bad"


def test_the_pace_is_that_of_late() -> None:
    watcher = Watcher(FakeLink(""), make_status(total=1000), now=0.0)  # type: ignore[arg-type]
    for second in range(1, 21):
        watcher.note(make_status(total=1000, success=10 * second), now=float(second))
    assert watcher.scene.rate == pytest.approx(10)
