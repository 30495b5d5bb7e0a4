"""Checkpoints: the first value that is written for a step of an item stays, whatever is executed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from protocol.byproducts import CheckpointResult
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import BOOM, GONE, ONE, flow, hold, memory_world, open_world, step
from tests.stepflow_runtime.services.byproducts.byproduct_kit import Peer

FLAKY = flow(step("a", onError={"action": "retry"}))
SMALL = ByproductLimits(max_checkpoint_bytes=10, max_checkpoints=2)


def plain(result: CheckpointResult) -> tuple[Any, bool]:
    return msgspec.json.decode(msgspec.json.encode(result.value)), result.stored


async def test_the_first_value_wins_and_a_look_changes_nothing() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        peer = Peer(world, world.caller.find(0))
        assert plain(await peer.checkpoint(run_id, "k")) == (None, False)
        assert plain(await peer.checkpoint(run_id, "k", {"n": 1})) == ({"n": 1}, True)
        assert plain(await peer.checkpoint(run_id, "k", {"n": 2})) == ({"n": 1}, True)
        assert plain(await peer.checkpoint(run_id, "k")) == ({"n": 1}, True)


async def test_a_value_keeps_its_digits_and_may_be_null() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        peer = Peer(world, world.caller.find(0))
        assert bytes((await peer.checkpoint(run_id, "pi", b"3.10000000000000000000001")).value) == (
            b"3.10000000000000000000001"
        )
        await peer.checkpoint(run_id, "nothing", None)
        assert plain(await peer.checkpoint(run_id, "nothing", 1)) == (None, True)


async def test_of_two_that_write_at_once_one_wins_and_both_hear_the_same() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        peer = Peer(world, world.caller.find(0))
        heard: list[Any] = []

        async def write(value: int) -> None:
            heard.append(plain(await peer.checkpoint(run_id, "k", value)))

        async with trio.open_nursery() as nursery:
            for value in range(10):
                nursery.start_soon(write, value)
        assert len(set(heard)) == 1
        assert heard[0] == plain(await peer.checkpoint(run_id, "k"))


async def test_a_checkpoint_is_found_by_the_next_attempt_of_its_step_and_by_no_other(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1, 2])).run_id
        first = world.caller.find(0)
        await Peer(world, first).checkpoint(run_id, "k", "kept")
        assert plain(await Peer(world, world.caller.find(1)).checkpoint(run_id, "k")) == (None, False)
        world.caller.answer(first, outcome=BOOM)
        await trio.sleep(1)
        second = world.caller.find(0, attempt=2)
        assert plain(await Peer(world, second).checkpoint(run_id, "k")) == ("kept", True)
        with pytest.raises(RpcError) as refused:
            await Peer(world, first).checkpoint(run_id, "late", 1)
        assert refused.value.code == ErrorCode.NOT_CURRENT


async def test_a_checkpoint_outlives_the_runtime(tmp_path: Path, autojump_clock: object) -> None:
    async with open_sqlite(tmp_path / "a.db", inline_only=True) as store, open_world(store, hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await Peer(world, world.caller.find(0)).checkpoint(run_id, "k", [1, 2])
    async with open_sqlite(tmp_path / "a.db", inline_only=True) as store, open_world(store, hold, boot=2) as world:
        await trio.sleep(0.1)
        assert plain(await Peer(world, world.caller.find(0)).checkpoint(run_id, "k", 3)) == ([1, 2], True)


async def test_only_a_step_that_executes_in_the_run_keeps_checkpoints() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        execution = world.caller.find(0)
        child = await world.submit(ONE, [1], by=execution)
        for peer, run in ((Peer(world), run_id), (Peer(world, execution), child.run_id)):
            with pytest.raises(RpcError) as refused:
                await peer.checkpoint(run, "k", 1)
            assert refused.value.code == ErrorCode.NOT_CURRENT
        world.caller.answer(execution, outcome=GONE)


async def test_limits_are_named() -> None:
    async with memory_world(hold, byproduct_limits=SMALL) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        peer = Peer(world, world.caller.find(0))
        await peer.checkpoint(run_id, "a", 1)
        with pytest.raises(RpcError) as refused:
            await peer.checkpoint(run_id, "b", "x" * 9)
        assert refused.value.data["limit"] == "maxCheckpointBytes"
        await peer.checkpoint(run_id, "b", 1)
        with pytest.raises(RpcError) as refused:
            await peer.checkpoint(run_id, "c", 1)
        assert (refused.value.code, refused.value.data["limit"]) == (ErrorCode.LIMIT_EXCEEDED, "maxCheckpoints")
        assert plain(await peer.checkpoint(run_id, "a", 2)) == (1, True)
