"""Calls that are made in the next pass of the loop."""

from __future__ import annotations

from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from protocol.soon import call_soon


async def test_calls_are_made_in_their_order_once_the_caller_waits() -> None:
    made: list[int] = []
    for number in range(3):
        call_soon(partial(made.append, number))
    assert made == []
    await wait_all_tasks_blocked()
    assert made == [0, 1, 2]
    call_soon(lambda: made.append(3))
    await wait_all_tasks_blocked()
    assert made == [0, 1, 2, 3]


async def test_a_call_may_ask_for_another_one() -> None:
    made: list[str] = []

    def call_twice() -> None:
        made.append("first")
        call_soon(lambda: made.append("second"))

    call_soon(call_twice)
    await wait_all_tasks_blocked()
    assert made == ["first", "second"]


def test_each_run_of_trio_has_its_own() -> None:
    made: list[int] = []

    async def call(number: int) -> None:
        call_soon(lambda: made.append(number))
        await wait_all_tasks_blocked()

    for number in range(2):
        trio.run(call, number)
    assert made == [0, 1]
