"""Which answers make a turn, and that a big run leaves turns to others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from protocol.peer import Answer
from stepflow_runtime.connect.in_flight import BatchInFlight
from stepflow_runtime.connect.inbox import CROWD_S, SLICE, Inbox
from tests.stepflow_runtime.connect.connect_kit import MemoryOrigin, execution, open_world

SERVER: Any = object()


class Turns:
    """An inbox, and the roots of what it had handled, a turn each."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.inbox = Inbox(self._handle)

    def _handle(self, server: object, answers: Sequence[Answer]) -> None:
        self.taken.append([answer.token.root_run_id for answer in answers])


@asynccontextmanager
async def open_crowd() -> AsyncGenerator[Turns]:
    """An inbox that works, in which `big` and `small` have taken turns."""
    turns = Turns()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.inbox.run)
        turns.inbox.put(SERVER, answers("big", 1) + answers("small", 1))
        turns.taken.clear()
        yield turns
        nursery.cancel_scope.cancel()


def answers(root: str, count: int) -> list[Answer]:
    return [Answer(execution(root=root), b"1") for _ in range(count)]


async def wait_until_handled() -> None:
    with trio.fail_after(10):
        await trio.testing.wait_all_tasks_blocked()


async def test_a_tree_that_is_alone_has_a_chunk_in_one_turn() -> None:
    turns = Turns()
    turns.inbox.put(SERVER, answers("big", 10 * SLICE))
    assert [len(turn) for turn in turns.taken] == [10 * SLICE]


async def test_trees_one_after_another_are_no_crowd() -> None:
    turns = Turns()
    for root in ("first", "second", "third"):
        turns.inbox.put(SERVER, answers(root, 10 * SLICE))
    assert len(turns.taken) == 3


async def test_in_a_crowd_trees_take_turns_of_a_slice() -> None:
    async with open_crowd() as turns:
        turns.inbox.put(SERVER, answers("big", 3 * SLICE) + answers("small", 1))
        await wait_until_handled()
    assert turns.taken == [["big"] * SLICE, ["small"], ["big"] * SLICE, ["big"] * SLICE]


async def test_a_tree_that_comes_back_after_another_makes_a_crowd() -> None:
    turns = Turns()
    for root in ("big", "small"):
        turns.inbox.put(SERVER, answers(root, 1))
    turns.inbox.put(SERVER, answers("big", SLICE + 1))
    assert len(turns.taken) == 2, "the rest waits for slices"


async def test_between_two_slices_others_go_on_as_far_as_they_can() -> None:
    begun: list[int] = []

    async def follow() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        begun.append(len(turns.taken))

    async with open_crowd() as turns, trio.open_nursery() as nursery:
        turns.inbox.put(SERVER, answers("big", 10 * SLICE))
        nursery.start_soon(follow)
    assert begun[0] <= 1


async def test_a_crowd_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async with open_crowd() as turns:
        await trio.sleep(CROWD_S)
        turns.inbox.put(SERVER, answers("small", 10 * SLICE))
        assert len(turns.taken) == 1


async def test_a_batch_counts_as_its_items() -> None:
    def batch() -> Answer:
        return Answer(BatchInFlight(SERVER, [execution(root="big") for _ in range(SLICE)]), b"1")

    async with open_crowd() as turns:
        turns.inbox.put(SERVER, [*(batch() for _ in range(3)), *answers("small", SLICE)])
        await wait_until_handled()
    assert [turn[0] for turn in turns.taken] == ["big", "small", "big", "big"]


async def test_what_waits_of_a_server_is_handled_when_it_is_gone() -> None:
    async with open_crowd() as turns:
        turns.inbox.put(SERVER, answers("big", 3 * SLICE))
        turns.inbox.empty(SERVER)
        assert [len(turn) for turn in turns.taken] == [3 * SLICE]


async def test_what_a_server_answered_before_it_was_lost_counts() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        (server,) = origin.servers
        crowd = [execution(root=root) for root in ("big", "small")]
        many = [execution(root="big") for _ in range(3 * SLICE)]
        world.call(*crowd, *many)
        messages = await server.take_messages(len(crowd) + len(many))
        lines = [b'{"jsonrpc":"2.0","id":%d,"result":{"output":7}}\n' % message["id"] for message in messages]
        await server._stream.wait_send_all(b"".join(lines))
        await server.close()
        assert set(await world.sink.wait_for(*crowd, *many)) == {7}
