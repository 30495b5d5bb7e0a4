"""A component server on a connection, as the runtime sees it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest
import trio

from component_sdk import (
    BlockingContext,
    ComponentServer,
    RegistrationError,
    ResourceUnavailable,
    RpcError,
    StepflowContext,
)
from protocol import methods
from protocol.streams import memory_stream_pair
from protocol.types import ComponentParams, Empty, InferSchemaParams, Limits, NoAction
from tests.component_sdk.runtimes import RuntimeSide, make_execution, open_server


class Item(msgspec.Struct):
    item: int


class Doubled(msgspec.Struct):
    doubled: int


def make_server() -> ComponentServer:
    server = ComponentServer()

    @server.component
    async def double(input: Item) -> Doubled:
        """Doubles."""
        return Doubled(input.item * 2)

    @server.component(name="math/half")
    def half(input: Item) -> float:
        return input.item / 2

    @server.component
    async def fail(input: Any) -> None:
        raise ValueError("unlucky " * 1000 if input == "long" else "unlucky")

    @server.component
    async def hang() -> None:
        await trio.sleep_forever()

    return server


async def refuse(runtime: RuntimeSide, component: str, input: Any = None) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await runtime.execute(component, input)
    return caught.value


async def test_initialize_says_what_the_server_can() -> None:
    async with open_server(make_server(), is_initialized=False) as runtime:
        result = await runtime.initialize()
    assert result.server_protocol_version == 1
    assert result.capabilities == ["ping", "cancel", "batch", "resume"]
    assert (result.max_in_flight, result.max_frame_bytes) == (1000, 32 * 1024 * 1024)


async def test_requests_before_initialize_are_refused_and_ping_is_not() -> None:
    async with open_server(make_server(), is_initialized=False) as runtime:
        await runtime.link.call(methods.PING, Empty())
        with pytest.raises(RpcError, match="send `initialize` first"):
            await runtime.link.call(methods.LIST_COMPONENTS, Empty())
        assert (await refuse(runtime, "/double", {"item": 1})).code == -32600


async def test_components_are_listed_with_their_schemas() -> None:
    async with open_server(make_server()) as runtime:
        listed = (await runtime.link.call(methods.LIST_COMPONENTS, Empty())).components
        info = (await runtime.link.call(methods.COMPONENT_INFO, ComponentParams("/double"))).info
        inferred = await runtime.link.call(methods.INFER_SCHEMA, InferSchemaParams("/math/half", {}))
        with pytest.raises(RpcError, match="no component /nope here; there are: /double"):
            await runtime.link.call(methods.COMPONENT_INFO, ComponentParams("/nope"))
    assert [component.component for component in listed] == ["/double", "/math/half", "/fail", "/hang"]
    assert info.description == "Doubles."
    assert info.input_schema["$defs"]["Item"]["properties"] == {"item": {"type": "integer"}}
    assert inferred.output_schema == {"type": "number"}


async def test_what_a_component_gives_may_be_inferred_from_what_it_is_given() -> None:
    server = ComponentServer()

    @server.component(infer=lambda input_schema: {"type": "array", "items": input_schema})
    def repeat(input: Any) -> list[Any]:
        return [input, input]

    @server.component(infer=lambda input_schema: Doubled if input_schema else None)
    def double(input: Any) -> Any:
        return input

    @server.component(infer=lambda input_schema: input_schema["type"])
    def fail(input: Any) -> Any:
        return input

    async with open_server(server) as runtime:

        async def infer(component: str, schema: Any) -> Any:
            return (await runtime.link.call(methods.INFER_SCHEMA, InferSchemaParams(component, schema))).output_schema

        assert await infer("/repeat", {"type": "string"}) == {"type": "array", "items": {"type": "string"}}
        assert (await infer("/double", {"type": "string"}))["$ref"] == "#/$defs/Doubled"
        assert await infer("/double", {}) is msgspec.UNSET
        with pytest.raises(RpcError, match="infer= of /fail failed: KeyError: 'type'"):
            await infer("/fail", {})


class Defaults(msgspec.Struct):
    always: int
    usual: int = 0
    some: list[int] = []
    rare: int | msgspec.UnsetType = msgspec.UNSET


class Terse(msgspec.Struct, omit_defaults=True):
    inner: Defaults | None = None


def test_fields_with_defaults_are_declared_as_written_in_outputs_and_as_optional_in_inputs() -> None:
    server = ComponentServer()

    @server.component
    def swap(input: Defaults) -> Terse:
        return Terse(input)

    info = server.components["/swap"].info
    assert info.input_schema["$defs"]["Defaults"]["required"] == ["always"]
    assert info.output_schema["$defs"]["Defaults"]["required"] == ["always", "usual", "some"]
    assert info.output_schema["$defs"]["Terse"]["required"] == []


async def test_components_are_executed() -> None:
    async with open_server(make_server()) as runtime:
        assert await runtime.execute("/double", {"item": 21}) == {"doubled": 42}
        assert await runtime.execute("/math/half", {"item": 3}) == 1.5


async def test_what_a_component_raises_is_answered_with_its_stack() -> None:
    async with open_server(make_server()) as runtime:
        error = await refuse(runtime, "/fail", 1)
        long = await refuse(runtime, "/fail", "long")
    assert (error.code, error.message) == (-32000, "ValueError: unlucky")
    assert error.data["type"] == "componentFailed"
    assert "raise ValueError" in error.data["stack"]
    assert len(long.message) == 4096
    assert len(long.data["stack"]) <= 16 * 1024


async def test_bad_input_unknown_components_and_bad_params_are_told_apart() -> None:
    async with open_server(make_server()) as runtime:
        bad = await refuse(runtime, "/double", {"item": "many"})
        unknown = await refuse(runtime, "/nope", 1)
        with pytest.raises(RpcError) as caught:
            await runtime.link.call(methods.EXECUTE, make_execution("/double", {"item": 1}, attempt=0))
    assert (bad.code, bad.data["path"]) == (-32103, "$.item")
    assert bad.message == "The input does not fit /double: Expected `int`, got `str` at $.item"
    assert unknown.code == -32601
    assert caught.value.code == -32602


async def test_special_ways_to_end() -> None:
    server = ComponentServer()

    @server.component
    async def away() -> None:
        raise ResourceUnavailable("the GPU is taken")

    @server.component
    async def idle(ctx: StepflowContext) -> int:
        async with trio.open_nursery():
            ctx.no_action("nothing new")

    @server.component
    def idle_in_a_thread(ctx: BlockingContext) -> int:
        ctx.no_action()

    @server.component
    async def unwritable() -> Any:
        return {"when": lambda: None}

    @server.component
    async def exits() -> None:
        raise SystemExit(3)

    @server.component(timeout_s=0.001)
    async def slow() -> None:
        await trio.sleep_forever()

    @server.component
    async def grouped() -> None:
        async with trio.open_nursery():
            raise KeyError("inner")

    async with open_server(server) as runtime:
        away_error = await refuse(runtime, "/away")
        assert (away_error.code, away_error.data["type"]) == (-32102, "resourceUnavailable")
        assert await runtime.execute("/idle") == NoAction("nothing new")
        assert await runtime.execute("/idle_in_a_thread") == NoAction()
        assert "type function cannot be written as JSON" in (await refuse(runtime, "/unwritable")).message
        assert (await refuse(runtime, "/exits")).message == "SystemExit: 3"
        assert (await refuse(runtime, "/slow")).message.startswith("TooSlowError: The component did not end within")
        assert (await refuse(runtime, "/grouped")).message == "KeyError: 'inner'"


async def test_a_cancelled_execution_is_answered_so_and_others_go_on() -> None:
    server = make_server()
    started = trio.Event()
    ended: list[str] = []

    @server.component
    async def patient() -> None:
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async with open_server(server) as runtime:
        request = runtime.post("/patient", None, "patient")
        other = runtime.post("/hang", None, "hang")
        await started.wait()
        runtime.link.cancel(request)
        await runtime.wait_answers(1)
        assert runtime.posted["patient"].error is not None
        assert runtime.posted["patient"].error.code == -32800
        assert ended == ["cancelled"]
        assert await runtime.execute("/double", {"item": 1}) == {"doubled": 2}
        runtime.link.cancel(other)
        await runtime.wait_answers(2)


async def test_a_request_that_has_not_begun_is_cancelled_too() -> None:
    server = ComponentServer()
    executed: list[int] = []

    @server.component
    async def note(input: int) -> None:
        executed.append(input)

    async with open_server(server) as runtime:
        requests = [runtime.post("/note", number, number) for number in range(3)]
        runtime.link.cancel(requests[1])  # all in one chunk: nothing has begun when this is read
        await runtime.wait_answers(3)
    assert executed == [0, 2]
    assert runtime.posted[1].error is not None
    assert runtime.posted[1].error.code == -32800


async def test_a_cancelled_component_that_raises_something_else_is_cancelled_nevertheless() -> None:
    server = ComponentServer()
    started = trio.Event()

    @server.component
    async def clumsy() -> None:
        async def fail_late() -> None:
            try:
                started.set()
                await trio.sleep_forever()
            finally:
                raise RuntimeError("while cleaning up")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_late)
            await trio.sleep_forever()

    async with open_server(server) as runtime:
        request = runtime.post("/clumsy", None, "clumsy")
        await started.wait()
        runtime.link.cancel(request)
        await runtime.wait_answers(1)
        assert runtime.posted["clumsy"].error is not None


async def test_when_the_connection_ends_components_are_cancelled() -> None:
    server = ComponentServer()
    started, cancelled = trio.Event(), trio.Event()

    @server.component
    async def hang() -> None:
        started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.set()
            raise

    async with open_server(server) as runtime:
        runtime.post("/hang", None, "hang")
        await started.wait()
        await runtime.link.aclose()
        await cancelled.wait()


async def test_a_thousand_executions_wait_at_once() -> None:
    server = ComponentServer()
    waiting = 0
    all_wait = trio.Event()

    @server.component
    async def meet(input: int) -> int:
        nonlocal waiting
        waiting += 1
        if waiting == 1000:
            all_wait.set()
        await all_wait.wait()
        return input

    async with open_server(server) as runtime:
        for number in range(1000):
            runtime.post("/meet", number, number)
        await runtime.wait_answers(1000)
    assert all(answer.result == b'{"output":%d}' % number for number, answer in runtime.posted.items())


async def test_components_that_never_await_leave_time_for_others() -> None:
    server = make_server()
    order: list[str] = []

    @server.component
    async def compute() -> None:
        end = trio.current_time() + 0.006
        while trio.current_time() < end:
            pass
        order.append("computed")

    async with open_server(server) as runtime:
        for number in range(40):
            runtime.post("/compute", None, number)
        await runtime.wait_answers(1)
        await runtime.link.call(methods.PING, Empty())
        order.append("pinged")
        await runtime.wait_answers(40)
    assert order.index("pinged") < 40


async def test_plain_components_do_not_block_the_others() -> None:
    server = make_server()
    go_on = threading.Event()

    @server.component
    def block() -> str:
        assert go_on.wait(5)
        return threading.current_thread().name

    async with open_server(server) as runtime:
        runtime.post("/block", None, "block")
        assert await runtime.execute("/double", {"item": 4}) == {"doubled": 8}
        go_on.set()
        await runtime.wait_answers(1)
        assert b"MainThread" not in (runtime.posted["block"].result or b"")


async def test_asyncio_components_run_under_asyncio_and_are_cancelled() -> None:
    server = ComponentServer()
    started = threading.Event()
    cancelled = threading.Event()

    @server.component(backend="asyncio")
    async def double(input: Item) -> Doubled:
        await asyncio.sleep(0)
        return Doubled(input.item * 2)

    @server.component(backend="asyncio")
    async def fail() -> None:
        raise ValueError("unlucky")

    @server.component(backend="asyncio")
    async def hang() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with open_server(server) as runtime:
        assert await runtime.execute("/double", {"item": 4}) == {"doubled": 8}
        assert (await refuse(runtime, "/fail")).message == "ValueError: unlucky"
        request = runtime.post("/hang", None, "hang")
        await trio.to_thread.run_sync(started.wait, 5)
        runtime.link.cancel(request)
        await runtime.wait_answers(1)
        assert cancelled.is_set()
        assert runtime.posted["hang"].error is not None
        assert runtime.posted["hang"].error.code == -32800


async def test_batches_are_answered_as_batches() -> None:
    ours, theirs = memory_stream_pair()
    head = {"jsonrpc": "2.0", "method": "components/execute"}
    batch = [{**head, "id": i, "params": PARAMS | {"input": {"item": i}}} for i in (1, 2)]
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make_server().serve, theirs)
            for message in ({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}, batch):
                await ours.wait_send_all(msgspec.json.encode(message) + b"\n")
                answers = msgspec.json.decode(await ours.receive_some())
            await ours.aclose()
    assert {answer["id"]: answer["result"]["output"]["doubled"] for answer in answers} == {1: 2, 2: 4}


PARAMS: dict[str, Any] = {"component": "/double", "attempt": 1, "observability": None}
INITIALIZE = {"runtime_protocol_version": 1, "limits": Limits(), "capabilities": []}


def test_a_component_is_returned_unchanged() -> None:
    server = ComponentServer()

    async def double(input: Item) -> Doubled:
        return Doubled(input.item * 2)

    assert server.component(double) is double
    assert server.component(name="other")(double) is double
    assert server.component()(plain) is plain
    assert list(server.components) == ["/double", "/other", "/plain"]


def plain(input: int) -> int:
    return input


def test_a_second_component_of_a_name_is_refused_and_changes_nothing() -> None:
    server = make_server()
    before = server.components
    with pytest.raises(RegistrationError, match="There is a component /double already"):
        server.component(name="double")(plain)
    assert server.components == before
