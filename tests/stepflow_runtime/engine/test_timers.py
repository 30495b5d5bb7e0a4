"""Timers fire once, whatever clocks do: on a clock that jumps, and a wall clock that is set."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from stepflow_runtime.engine.timers import Timers
from tests.stepflow_runtime.engine.world import TrioClock

HOUR_S = 3600.0


@asynccontextmanager
async def open_timers(clock: TrioClock) -> AsyncGenerator[tuple[Timers, list[str]]]:
    """Running timers, and where what they call is noted."""
    timers = Timers(clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        yield timers, []
        nursery.cancel_scope.cancel()


async def test_after_a_pause_of_an_hour_each_timer_fires_once_in_order(mock_clock: MockClock) -> None:
    async with open_timers(TrioClock(0)) as (timers, fired):
        for delay_s in (3000, 5, 1000, 2 * HOUR_S):
            timers.after(delay_s, partial(fired.append, f"{delay_s:g}"))
        await wait_all_tasks_blocked()
        mock_clock.jump(HOUR_S)  # the machine was paused
        await wait_all_tasks_blocked()
        assert fired == ["5", "1000", "3000"]
        mock_clock.jump(HOUR_S)
        await wait_all_tasks_blocked()
        assert fired == ["5", "1000", "3000", "7200"]


@pytest.mark.parametrize("error_s", [HOUR_S, -HOUR_S])
async def test_a_wall_clock_that_is_set_moves_no_timer(mock_clock: MockClock, error_s: float) -> None:
    clock = TrioClock(0)
    async with open_timers(clock) as (timers, fired):
        timers.at_ms(clock.wall_ms() + 60_000, lambda: fired.append("at"))
        timers.after(60, lambda: fired.append("after"))
        await wait_all_tasks_blocked()
        clock.jump(round(error_s * 1000))
        mock_clock.jump(59)
        await wait_all_tasks_blocked()
        assert fired == []
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert fired == ["at", "after"]


async def test_a_timer_that_an_earlier_one_cancels_does_not_fire_though_both_are_due(mock_clock: MockClock) -> None:
    async with open_timers(TrioClock(0)) as (timers, fired):
        later = timers.after(2, lambda: fired.append("later"))
        timers.after(1, later.cancel)
        await wait_all_tasks_blocked()
        mock_clock.jump(HOUR_S)
        await wait_all_tasks_blocked()
        assert fired == []
