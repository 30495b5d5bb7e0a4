"""Coroutines without a task: who completes what they wait for carries them on."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from protocol.errand import Errand, Later, find_errand, in_task

whose: ContextVar[str] = ContextVar("whose", default="nobody's")


class NotedLater(Later[int]):
    def __init__(self, forgotten: list[object]) -> None:
        super().__init__()
        self._forgotten = forgotten

    def forgotten(self) -> None:
        self._forgotten.append("forgotten")


class NotedErrand(Errand):
    def __init__(self, coroutine: Coroutine[Any, Any, None], nursery: trio.Nursery, ends: list[bool]) -> None:
        super().__init__(coroutine, nursery, "an errand")
        self._ends = ends

    def ended(self, *, is_cancelled: bool) -> None:
        self._ends.append(is_cancelled)


class Desk:
    """Starts errands, and notes what became of them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.ends: list[bool] = []
        self.said: list[Any] = []
        self._nursery = nursery

    def prepare(self, coroutine: Coroutine[Any, Any, None]) -> Errand:
        return NotedErrand(coroutine, self._nursery, self.ends)

    def start(self, coroutine: Coroutine[Any, Any, None], *, as_task: bool = False) -> Errand:
        errand = self.prepare(coroutine)
        if as_task:
            errand.become_task()
        else:
            errand.go_on()
        return errand


@pytest.fixture
async def desk() -> AsyncGenerator[Desk]:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            yield Desk(nursery)
            nursery.cancel_scope.cancel()


async def test_an_errand_that_need_not_wait_is_over_when_its_start_returns(desk: Desk) -> None:
    there = Later[int]()
    there.complete(7)

    async def fetch() -> None:
        desk.said.append(await there)

    desk.start(fetch())
    assert (desk.said, desk.ends) == ([7], [False])


async def test_an_errand_goes_on_within_the_call_that_brings_what_it_waits_for(desk: Desk) -> None:
    first, second = Later[int](), Later[int]()

    async def fetch() -> None:
        desk.said.append(await first)
        try:
            await second
        except ValueError as error:
            desk.said.append(str(error))

    desk.start(fetch())
    first.complete(1)
    assert (desk.said, desk.ends) == ([1], [])
    second.fail(ValueError("none is left"))
    assert (desk.said, desk.ends) == ([1, "none is left"], [False])


async def test_a_task_waits_for_the_same(desk: Desk) -> None:
    later = Later[int]()

    async def fetch() -> None:
        desk.said.append(await later)

    desk.start(fetch(), as_task=True)
    await wait_all_tasks_blocked()
    later.complete(3)
    assert desk.said == []
    await wait_all_tasks_blocked()
    assert (desk.said, desk.ends) == ([3], [False])


async def test_a_task_that_is_cancelled_waits_no_more_and_that_is_told() -> None:
    forgotten: list[object] = []
    later = NotedLater(forgotten)
    with trio.move_on_after(0) as scope:
        await later
    assert (scope.cancelled_caught, forgotten) == (True, ["forgotten"])
    later.complete(1)
    assert await later == 1


async def test_an_errand_that_is_cancelled_ends_where_it_waits(desk: Desk) -> None:
    later = NotedLater(desk.said)

    async def fetch() -> None:
        try:
            await later
        finally:
            desk.said.append("cleaned up")

    errand = desk.start(fetch())
    errand.cancel()
    assert (desk.said, desk.ends) == (["forgotten", "cleaned up"], [True])
    later.complete(1)


async def test_an_errand_that_is_cancelled_while_it_works_ends_when_it_waits(desk: Desk) -> None:
    async def fetch() -> None:
        errands[0].cancel()
        desk.said.append("goes on")
        await Later[int]()
        desk.said.append("never said")

    errands = [desk.prepare(fetch())]
    errands[0].go_on()
    assert (desk.said, desk.ends) == (["goes on"], [True])


async def test_an_errand_that_is_abandoned_was_not_cancelled(desk: Desk) -> None:
    async def fetch() -> None:
        await Later[int]()

    desk.start(fetch()).abandon()
    assert desk.ends == [False]


async def test_an_errand_becomes_a_task_before_it_awaits_what_is_trios(desk: Desk) -> None:
    opened, later = trio.Event(), Later[str]()

    async def fetch() -> None:
        whose.set("its own")
        desk.said.append(await later)
        await in_task()
        await opened.wait()
        await in_task()  # which it is
        desk.said.append(whose.get())

    desk.start(fetch())
    later.complete("asked")
    await wait_all_tasks_blocked()
    assert desk.said == ["asked"]
    opened.set()
    await wait_all_tasks_blocked()
    assert (desk.said, desk.ends, whose.get()) == (["asked", "its own"], [False], "nobody's")


@pytest.mark.parametrize("as_task", [True, False])
async def test_an_errand_that_is_a_task_is_cancelled_as_such(desk: Desk, as_task: bool) -> None:
    async def fetch() -> None:
        await in_task()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            desk.said.append("cancelled")
            raise

    errand = desk.start(fetch(), as_task=as_task)
    await wait_all_tasks_blocked()
    errand.cancel()
    await wait_all_tasks_blocked()
    assert (desk.said, desk.ends) == (["cancelled"], [True])


async def test_an_errand_that_awaits_trio_without_a_word_is_told_so(desk: Desk) -> None:
    async def fetch() -> None:
        with pytest.raises(RuntimeError, match=r"an errand awaits trio, and did not say in_task\(\)"):
            await trio.lowlevel.checkpoint()
        desk.said.append(await later)

    later = Later[int]()
    desk.start(fetch())
    later.complete(2)
    assert (desk.said, desk.ends) == ([2], [False])


async def test_what_an_errand_raises_is_raised_in_its_nursery_and_not_where_it_was_carried_on() -> None:
    later, ends = Later[int](), list[bool]()

    async def fetch() -> None:
        raise ValueError(f"{await later} is one too many")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="7 is one too many")):
        async with trio.open_nursery() as nursery:
            NotedErrand(fetch(), nursery, ends).go_on()
            later.complete(7)
            assert ends == [False]


async def test_in_a_task_of_somebody_else_nothing_becomes_a_task() -> None:
    before = trio.lowlevel.current_task()
    await in_task()
    assert trio.lowlevel.current_task() is before


async def test_an_errand_that_has_ended_leaves_nothing_to_the_collector(desk: Desk) -> None:
    later = Later[int]()

    async def fetch() -> None:
        desk.said.append(weakref.ref(find_errand()))
        await later

    gc.disable()
    try:
        desk.start(fetch())
        later.complete(1)
        assert [errand() for errand in desk.said] == [None]
    finally:
        gc.enable()
