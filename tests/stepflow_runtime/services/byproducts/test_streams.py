"""Streams: what is written once is read by everybody, in order, from anywhere, live and afterwards."""

from __future__ import annotations

import msgspec
import pytest
import trio

from protocol.byproducts import Encoding, ReadStreamResult, StreamWriterInfo
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunParams, RunState
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import (
    BOOM,
    GONE,
    ONE,
    World,
    flow,
    hold,
    memory_world,
    open_world,
    settle_down,
    step,
)
from tests.stepflow_runtime.services.byproducts.byproduct_kit import Peer

FLAKY = flow(step("a", onError={"action": "retry"}))
SMALL = ByproductLimits(max_stream_chunk_bytes=10, max_stream_write_chunks=3, max_stream_bytes=20, max_streams=2)


async def start(world: World, count: int = 1, **params: object) -> str:
    """A run whose items are held."""
    return (await world.submit(ONE, range(count), **params)).run_id


async def test_chunks_are_read_as_they_were_written_digit_for_digit() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        written = [b'{"a": 1.0}', b"12345678901234567890.10", b"null", b'"x\\u00e4"']
        assert await client.write(run_id, *written) == 4
        read = await client.read(run_id)
        assert [bytes(chunk.data) for chunk in read.chunks] == written
        assert [chunk.index for chunk in read.chunks] == [0, 1, 2, 3]
        assert (read.start_index, read.next_index, read.tail_index, read.done) == (0, 4, 4, False)


async def test_bytes_stay_base64_and_say_so() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, "AAEC/w==", encoding=Encoding.BASE64)
        await client.write(run_id, "AAEC/w==")
        first, second = (await client.read(run_id)).chunks
        assert (bytes(first.data), first.encoding) == (b'"AAEC/w=="', Encoding.BASE64)
        assert second.encoding is None


async def test_several_executions_write_to_one_stream_in_the_order_of_their_answers() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world, 3)
        for number, execution in enumerate(world.caller.calls * 2):
            assert await Peer(world, execution).write(run_id, number) == number + 1
        assert await Peer(world).read_data(run_id) == [0, 1, 2, 3, 4, 5]


async def test_streams_of_other_names_are_apart_and_listed() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 1, namespace="b")
        await client.write(run_id, 2, 3, namespace="a")
        await client.close(run_id, namespace="a")
        assert await client.read_data(run_id, namespace="b") == [1]
        assert await client.read_data(run_id) == []
        listed = await list_streams(world, run_id)
        assert listed == [("a", 2, True), ("b", 1, False)]
        world.caller.answer(world.caller.find(0))
        await world.finish(run_id)
        assert await list_streams(world, run_id) == [("a", 2, True), ("b", 1, True)]


async def list_streams(world: World, run_id: str) -> list[tuple[str, int, bool]]:
    found = await world.byproducts.reader.list_all(RunParams(run_id), world.client)
    return [(stream.namespace, stream.tail_index, stream.closed) for stream in found.streams]


# --- reading ---


@pytest.mark.parametrize(
    ("start_index", "limit", "expected"),
    [(0, 2, [0, 1]), (3, None, [3, 4]), (-1, None, [4]), (-3, 2, [2, 3]), (-99, 1, [0]), (5, None, []), (9, None, [])],
)
async def test_a_stream_is_read_from_any_index(start_index: int, limit: int | None, expected: list[int]) -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 0, 1, 2)
        await client.write(run_id, 3, 4)
        read = await client.read(run_id, start_index, limit=limit)
        assert [msgspec.json.decode(chunk.data) for chunk in read.chunks] == expected
        assert read.start_index == (start_index if start_index >= 0 else max(0, 5 + start_index))
        assert read.next_index == read.start_index + len(expected)


async def test_readers_that_wait_are_woken_by_the_commit_of_a_chunk(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        read: list[ReadStreamResult] = []

        async def follow(index: int) -> None:
            read.append(await Peer(world).read(run_id, index, timeout_ms=60_000))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for index in (0, 0, 1):
                    nursery.start_soon(follow, index)
                await settle_down()
                assert not read
                await Peer(world).write(run_id, "first")
                await settle_down()
                assert [result.next_index for result in read] == [1, 1]
                await Peer(world).write(run_id, "second")
        assert read[-1].chunks[0].index == 1


async def test_a_reader_waits_no_longer_than_it_said(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        began = trio.current_time()
        read = await Peer(world).read(run_id, timeout_ms=700)
        assert (read.chunks, read.done) == ([], False)
        assert trio.current_time() - began == pytest.approx(0.7)


async def test_a_component_that_waits_for_a_chunk_takes_no_slot_meanwhile(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        reader = Peer(world, world.caller.find(0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: reader.read(run_id, timeout_ms=60_000))
            await settle_down()
            assert world.caller.parked == 1
            await Peer(world).write(run_id, 1)
        assert world.caller.parked == 0


async def test_the_end_of_a_run_ends_its_streams_for_readers_then_and_afterwards(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 1)
        read: list[ReadStreamResult] = []

        async def follow() -> None:
            read.append(await client.read(run_id, 1, timeout_ms=60_000))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow)
                await settle_down()
                world.caller.answer(world.caller.find(0))
        assert read == [ReadStreamResult([], 1, 1, 1, True)]
        again = await client.read(run_id)
        assert (len(again.chunks), again.done) == (1, True)
        assert (await client.read(run_id, namespace="never written")).done


async def test_an_answer_holds_what_fits_a_frame_and_at_least_one_chunk() -> None:
    async with memory_world(hold, max_frame_bytes=64 * 1024 + 1000) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, *["x" * 300] * 5, "y" * 5000)
        read = await client.read(run_id)
        assert (len(read.chunks), read.next_index, read.done) == (2, 2, False)
        assert len((await client.read(run_id, 5)).chunks) == 1


async def test_an_index_beyond_the_end_of_a_closed_stream_is_not_found() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 1)
        await client.close(run_id)
        with pytest.raises(RpcError) as refused:
            await client.read(run_id, 2)
        assert refused.value.code == ErrorCode.NOT_FOUND
        assert (refused.value.data["kind"], refused.value.data["tailIndex"]) == ("stream", 1)


# --- who may write ---


async def test_nothing_is_written_to_a_closed_stream_or_an_ended_run() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 1, namespace="closed")
        assert await client.close(run_id, namespace="closed") == 1
        assert await client.close(run_id, namespace="closed") == 1
        with pytest.raises(RpcError) as refused:
            await client.write(run_id, 2, namespace="closed")
        assert refused.value.code == ErrorCode.STREAM_CLOSED
        world.caller.answer(world.caller.find(0))
        await world.finish(run_id)
        with pytest.raises(RpcError) as refused:
            await client.write(run_id, 2)
        assert refused.value.code == ErrorCode.STREAM_CLOSED
        assert await client.close(run_id, namespace="closed") == 1


async def test_an_execution_that_is_no_longer_current_writes_nothing() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1])).run_id
        stale = world.caller.find(0)
        peer = Peer(world, stale)
        world.caller.answer(stale, outcome=GONE)
        with pytest.raises(RpcError) as refused:
            await peer.write(run_id, "too late")
        assert refused.value.code == ErrorCode.NOT_CURRENT
        peer.connection.executions.clear()
        with pytest.raises(RpcError) as refused:
            await peer.write(run_id, "too late")
        assert refused.value.code == ErrorCode.NOT_CURRENT
        assert await Peer(world).read_data(run_id) == []


async def test_a_component_writes_and_reads_only_what_it_may_see() -> None:
    async with memory_world(hold) as world:
        run_id, other = await start(world), await start(world)
        peer = Peer(world, next(call for call in world.caller.calls if call.run_id == run_id))
        with pytest.raises(RpcError) as refused:
            await peer.write(other, 1)
        assert refused.value.code == ErrorCode.RUN_NOT_FOUND
        with pytest.raises(RpcError) as refused:
            await peer.read(other)
        assert refused.value.code == ErrorCode.RUN_NOT_FOUND


async def test_a_step_of_a_sub_run_writes_to_its_root() -> None:
    async with memory_world(hold) as world:
        root = await start(world)
        child = await world.submit(ONE, [1], by=world.caller.find(0))
        execution = next(call for call in world.caller.calls if call.run_id == child.run_id)
        assert await Peer(world, execution).write(root, "from below") == 1
        assert await Peer(world).read_data(root) == ["from below"]


async def test_who_asks_is_told_which_step_wrote_a_chunk() -> None:
    async with memory_world(hold) as world:
        root = await start(world, 2)
        child = await world.submit(ONE, [1], by=world.caller.find(0))
        below = next(call for call in world.caller.calls if call.run_id == child.run_id)
        for execution in (world.caller.find(1), below, None):
            await Peer(world, execution).write(root, "chunk")
        chunks = (await Peer(world).read(root, include_writers=True)).chunks
        step = world.caller.find(1).step_id
        assert [chunk.writer for chunk in chunks] == [
            StreamWriterInfo(1, step),
            StreamWriterInfo(0, below.step_id, child.run_id),
            None,
        ]
        assert {chunk.writer for chunk in (await Peer(world).read(root)).chunks} == {None}


# --- executed again ---


async def test_a_step_that_is_executed_again_doubles_nothing(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1])).run_id
        first = Peer(world, world.caller.find(0))
        await first.write(run_id, "a", "b")
        await first.write(run_id, "b")
        world.caller.answer(world.caller.find(0), outcome=BOOM)
        await trio.sleep(1)
        second = Peer(world, world.caller.find(0, attempt=2))
        assert await second.write(run_id, "b") == 3
        assert await second.write(run_id, "a", "c") == 4
        assert await second.write(run_id, "b") == 4
        assert await second.write(run_id, "b", "a") == 6
        assert await Peer(world).read_data(run_id) == ["a", "b", "b", "c", "b", "a"]


async def test_what_others_wrote_is_no_echo(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1, 2])).run_id
        await Peer(world, world.caller.find(1)).write(run_id, "same")
        await Peer(world).write(run_id, "same")
        await Peer(world, world.caller.find(0)).write(run_id, "same", namespace="other")
        world.caller.answer(world.caller.find(0), outcome=BOOM)
        await trio.sleep(1)
        assert await Peer(world, world.caller.find(0, attempt=2)).write(run_id, "same") == 3


async def test_the_same_write_key_of_the_same_step_writes_once(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1, 2])).run_id
        first, other = Peer(world, world.caller.find(0)), Peer(world, world.caller.find(1))
        assert await first.write(run_id, "draft", write_key="k") == 1
        assert await first.write(run_id, "another", write_key="k") == 1
        assert await other.write(run_id, "theirs", write_key="k") == 2
        assert await Peer(world).write(run_id, "a client's", write_key="k") == 3
        world.caller.answer(world.caller.find(0), outcome=BOOM)
        await trio.sleep(1)
        second = Peer(world, world.caller.find(0, attempt=2))
        assert await second.write(run_id, "anew", write_key="k") == 3
        assert await second.write(run_id, "draft") == 4


async def test_a_keyed_write_is_found_again_while_it_is_on_its_way_and_after_the_end() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        tails: list[int] = []

        async def write() -> None:
            tails.append(await Peer(world).write(run_id, "once", write_key="k"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(write)
        world.caller.answer(world.caller.find(0))
        await world.finish(run_id)
        await write()
        assert tails == [1] * 6


async def test_after_a_restart_chunks_are_there_and_found_again(
    tmp_path_factory: pytest.TempPathFactory, autojump_clock: object
) -> None:
    path = tmp_path_factory.mktemp("streams") / "runs.db"
    async with open_sqlite(path, inline_only=True) as store, open_world(store, hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        await Peer(world, world.caller.find(0)).write(run_id, 1, 2)
    async with open_sqlite(path, inline_only=True) as store, open_world(store, hold, boot=2) as world:
        await trio.sleep(0.1)
        again = Peer(world, world.caller.find(0))
        assert await again.write(run_id, 1, 2, 3) == 3
        assert await Peer(world).read_data(run_id) == [1, 2, 3]
        world.caller.answer(world.caller.find(0))
        assert (await world.finish(run_id)).status is RunState.SUCCESS


# --- commits ---


async def test_writes_of_many_executions_in_one_turn_go_in_one_commit() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world, 50)
        before = len(world.store.commits)
        async with trio.open_nursery() as nursery:
            for execution in world.caller.calls:
                nursery.start_soon(Peer(world, execution).write, run_id, execution.item_index)
        assert len(world.store.commits) - before <= 2
        assert sorted(await Peer(world).read_data(run_id)) == list(range(50))


async def test_a_write_is_answered_when_it_is_durable_and_not_before() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        gate = trio.Event()
        answered = trio.Event()

        async def write() -> None:
            await Peer(world).write(run_id, 1)
            answered.set()

        async def wait(_: int) -> None:
            await gate.wait()

        world.store.before = wait
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await settle_down()
            assert not answered.is_set()
            assert await Peer(world).read_data(run_id) == []
            gate.set()
        assert await Peer(world).read_data(run_id) == [1]


# --- limits ---


@pytest.mark.parametrize(
    ("chunks", "limit"),
    [(["x" * 10], "maxStreamChunkBytes"), ([1, 2, 3, 4], "maxStreamWriteChunks"), (["x" * 8] * 3, "maxStreamBytes")],
)
async def test_a_limit_is_named_when_it_is_passed_and_nothing_is_written(chunks: list[object], limit: str) -> None:
    async with memory_world(hold, byproduct_limits=SMALL) as world:
        run_id = await start(world)
        with pytest.raises(RpcError) as refused:
            await Peer(world).write(run_id, *chunks)
        assert (refused.value.code, refused.value.data["limit"]) == (ErrorCode.LIMIT_EXCEEDED, limit)
        assert await list_streams(world, run_id) == []
        assert await Peer(world).write(run_id, "x" * 8, "x" * 8) == 2


async def test_a_run_has_so_many_streams_and_no_more() -> None:
    async with memory_world(hold, byproduct_limits=SMALL) as world:
        run_id = await start(world)
        client = Peer(world)
        await client.write(run_id, 1, namespace="a")
        await client.close(run_id, namespace="b")
        for refused in (client.write(run_id, 1, namespace="c"), client.close(run_id, namespace="c")):
            with pytest.raises(RpcError) as raised:
                await refused
            assert raised.value.data["limit"] == "maxStreams"


async def test_what_is_no_base64_is_refused_with_its_place() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        for bad in ("AAE", "*", 1, None):
            with pytest.raises(RpcError) as refused:
                await Peer(world).write(run_id, "AAEC", bad, encoding=Encoding.BASE64)
            assert (refused.value.code, refused.value.data["path"]) == (ErrorCode.INVALID_PARAMS, "$.chunks[1]")


async def test_a_large_write_is_stored_in_parts_and_found_by_its_key() -> None:
    async with memory_world(hold) as world:
        run_id = await start(world)
        client, chunks = Peer(world), ["x" * 700_000] * 3
        assert await client.write(run_id, *chunks, write_key="big") == 3
        assert len(await world.store.byproducts.writes(run_id, "default", 0, 9)) == 3
        assert await client.write(run_id, *chunks, write_key="big") == 3
        assert await client.read_data(run_id) == chunks
