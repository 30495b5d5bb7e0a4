"""Streams, checkpoints and artifacts as components and scripts use them, over a runtime that only notes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio
from msgspec import Struct

from component_sdk import BlockingContext, Run, SdkError, StepflowContext
from component_sdk.testing import RUN_ID, FakeRuntime, execute_component, run_component
from protocol.byproducts import ReadStreamParams, ReadStreamResult, StreamChunk, TailResult, WriteStreamParams
from protocol.errors import ErrorCode, RpcError
from protocol.methods import Method


class Counting(FakeRuntime):
    """Notes the writes that come, and holds them while `gate` is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[bytes]] = []
        self.gate = trio.Event()
        self.gate.set()

    async def call(self, method: Method, params: Struct) -> Any:
        if isinstance(params, WriteStreamParams):
            self.writes.append([bytes(chunk) for chunk in params.chunks])
            await self.gate.wait()
        return await super().call(method, params)


def writer(runtime: FakeRuntime, namespace: str = "default") -> Any:
    from protocol.types import Observability

    return StepflowContext(runtime, Observability(run_id=RUN_ID)).stream(namespace)


async def test_chunks_are_json_or_bytes_and_come_back_as_they_were() -> None:
    async def talk(input: None, ctx: StepflowContext) -> None:
        stream = ctx.stream("log")
        assert await stream.write({"n": 1}) == 1
        assert await stream.write(b"\x00\xff") == 2
        assert await stream.write(None) == 3
        assert await stream.close() == 3

    runtime = FakeRuntime()
    await execute_component(talk, runtime=runtime)
    assert runtime.byproducts.streams == {"log": [{"n": 1}, b"\x00\xff", None]}
    reader = Run(runtime, RUN_ID).stream("log", -2)
    assert [chunk async for chunk in reader] == [b"\x00\xff", None]
    assert reader.next_index == 3


async def test_what_is_written_in_one_tick_goes_in_one_request_in_its_order() -> None:
    runtime = Counting()
    stream = writer(runtime)
    tails: list[int] = []

    async def write(chunk: Any) -> None:
        tails.append(await stream.write(chunk))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(write, number)
    assert len(runtime.writes) == 1
    assert len(runtime.writes[0]) == 10
    assert tails == [10] * 10


async def test_what_is_written_while_a_write_is_on_its_way_goes_in_the_next() -> None:
    runtime = Counting()
    runtime.gate = trio.Event()
    stream = writer(runtime)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, "first")
            await trio.testing.wait_all_tasks_blocked()
            for chunk in ("second", "third", b"bytes"):
                nursery.start_soon(stream.write, chunk)
                await trio.testing.wait_all_tasks_blocked()
            runtime.gate.set()
    assert runtime.writes == [[b'"first"'], [b'"second"', b'"third"'], [b'"Ynl0ZXM="']]


async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_others() -> None:
    runtime = Counting()
    runtime.gate = trio.Event()
    stream = writer(runtime)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, "first")
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0):
                await stream.write("given up")
            nursery.start_soon(stream.write, "last")
            await trio.testing.wait_all_tasks_blocked()
            runtime.gate.set()
    assert runtime.writes == [[b'"first"'], [b'"last"']]


async def test_when_the_one_that_sends_is_cancelled_the_next_goes_on() -> None:
    runtime = Counting()
    runtime.gate = trio.Event()
    stream = writer(runtime)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            leader = trio.CancelScope()

            async def lead() -> None:
                with leader:
                    await stream.write("cancelled")

            nursery.start_soon(lead)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(stream.write, "next")
            await trio.testing.wait_all_tasks_blocked()
            leader.cancel()
            await trio.testing.wait_all_tasks_blocked()
            runtime.gate.set()
    assert runtime.writes == [[b'"cancelled"'], [b'"next"']]


async def test_a_refusal_reaches_everyone_whose_chunk_went_with_it() -> None:
    stream = writer(FakeRuntime())
    await stream.close()
    refused: list[int] = []

    async def write() -> None:
        with pytest.raises(RpcError) as raised:
            await stream.write(1)
        refused.append(raised.value.code)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(write)
    assert refused == [ErrorCode.STREAM_CLOSED] * 3


async def test_a_keyed_write_goes_alone_with_its_key() -> None:
    keys: list[str | None] = []

    class Noting(FakeRuntime):
        async def call(self, method: Method, params: Struct) -> Any:
            assert isinstance(params, WriteStreamParams)
            keys.append(params.write_key)
            return TailResult(1)

    stream = writer(Noting())
    await stream.write(1, key="turn-1")
    await stream.write(1)
    assert keys == ["turn-1", None]


def test_asyncio_components_and_plain_ones_write_too() -> None:
    async def asynchronous(input: None, ctx: StepflowContext) -> str:
        stream = ctx.stream()
        await asyncio.gather(*(stream.write(number) for number in range(5)))
        return str(await ctx.checkpoint("k", lambda: asyncio.sleep(0, "value")))

    def plain(input: None, ctx: BlockingContext) -> str:
        stream = ctx.stream()
        assert stream.write(b"5") == 6
        stream.close()
        ctx.put_artifact("a.txt", "text")
        assert list(ctx.read_stream(RUN_ID, start_index=4)) == [4, b"5"]
        return str(ctx.checkpoint("k", lambda: "another"))

    runtime = Counting()
    assert run_component(asynchronous, runtime=runtime, backend="asyncio") == "value"
    assert len(runtime.writes) == 1
    assert run_component(plain, runtime=runtime) == "value"
    assert [artifact.name for artifact in runtime.byproducts.artifacts] == ["a.txt"]


async def test_a_reader_goes_on_after_what_it_has() -> None:
    asked: list[int | None] = []

    class Growing(FakeRuntime):
        async def call(self, method: Method, params: Struct) -> Any:
            assert isinstance(params, ReadStreamParams)
            asked.append(params.start_index)
            start = 7 if params.start_index == -1 else params.start_index or 0
            chunks = [] if len(asked) == 2 else [StreamChunk(start, start)]
            return ReadStreamResult(chunks, start, start + len(chunks), 9, len(asked) == 3)

    assert [chunk async for chunk in Run(Growing(), "r").stream(start_index=-1)] == [7, 8]
    assert asked == [-1, 8, 8]


# --- checkpoints and artifacts ---


async def test_a_checkpoint_is_computed_once_and_read_as_its_type() -> None:
    class Draft(Struct):
        text: str

    calls: list[str] = []

    async def compute() -> Draft:
        calls.append("computed")
        return Draft("hello")

    async def work(input: None, ctx: StepflowContext) -> str:
        drafts = [await ctx.checkpoint("draft", compute, type=Draft) for _ in range(2)]
        assert all(isinstance(draft, Draft) for draft in drafts)
        return str(drafts[1].text)

    runtime = FakeRuntime()
    assert await execute_component(work, runtime=runtime) == "hello"
    assert await execute_component(work, runtime=runtime, attempt=2) == "hello"
    assert calls == ["computed"]
    assert runtime.byproducts.checkpoints == {"draft": {"text": "hello"}}


async def test_a_function_that_fails_keeps_nothing() -> None:
    async def work(input: None, ctx: StepflowContext) -> None:
        await ctx.checkpoint("k", lambda: 1 // 0)

    runtime = FakeRuntime()
    with pytest.raises(ZeroDivisionError):
        await execute_component(work, runtime=runtime)
    assert runtime.byproducts.checkpoints == {}


@pytest.mark.parametrize(
    ("name", "data", "mime_type", "blob"),
    [
        ("scan.png", b"\x89PNG", "image/png", b"\x89PNG"),
        ("raw", b"\x00", "application/octet-stream", b"\x00"),
        ("notes", "hello", "text/plain", b"hello"),
        ("report", {"n": 1}, "application/json", {"n": 1}),
    ],
)
async def test_an_artifact_is_stored_as_what_it_is(name: str, data: Any, mime_type: str, blob: Any) -> None:
    async def work(input: None, ctx: StepflowContext) -> None:
        artifact = await ctx.put_artifact(name, data, type="mine")
        assert await ctx.get_blob(artifact.blob_id) == blob

    runtime = FakeRuntime()
    await execute_component(work, runtime=runtime)
    (artifact,) = await Run(runtime, RUN_ID).artifacts()
    assert (artifact.name, artifact.mime_type, artifact.type) == (name, mime_type, "mine")


async def test_without_a_run_nothing_can_be_added() -> None:
    with pytest.raises(SdkError, match="which run"):
        StepflowContext(FakeRuntime()).stream()
