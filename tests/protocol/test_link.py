"""Two links, joined in memory and by what the system has."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from protocol.dispatch import Dispatcher
from protocol.errors import ErrorCode, LinkClosed, RemoteProtocolError, RpcError
from protocol.link import Link
from protocol.methods import DISCOVER, EXECUTE, GET_BLOB, GET_RUN, INITIALIZED, LIST_COMPONENTS, PING, SUBMIT_RUN, Side
from protocol.peer import Answer, RequestReceived
from protocol.runs import GetRunParams, SubmitParams
from protocol.streams import memory_stream_pair
from protocol.types import (
    BlobType,
    ComponentInfo,
    ComponentListResult,
    Empty,
    ExecuteParams,
    GetBlobParams,
    GetBlobResult,
    Limits,
)

from .wires import PAIRS, OpenPair, open_links

BLOB = GetBlobParams("blake3:00")


def serve(**handlers: Callable[[Any, Any], Awaitable[Any]]) -> dict[str, Any]:
    """Options of a link that handles methods of the runtime; `blobs_get` for `blobs/get`."""
    named = {name.replace("_", "/"): handler for name, handler in handlers.items()}
    return {"dispatcher": Dispatcher(named, Side.RUNTIME)}


async def get_blob(params: GetBlobParams, context: object) -> GetBlobResult:
    return GetBlobResult(Raw(b'{"blob":1.10}'), BlobType.DATA)


class Desk:
    """Answers `components/execute` by hand."""

    def __init__(self) -> None:
        self.requests: list[RequestReceived] = []

    @property
    def options(self) -> dict[str, Any]:
        return {"direct": {EXECUTE.name: self.requests.append}}


class Inbox:
    """Gets the answers of posted calls."""

    def __init__(self) -> None:
        self.chunks: list[list[Answer]] = []
        self.chunk_ends = 0

    def end_chunk(self) -> None:
        self.chunk_ends += 1

    @property
    def options(self) -> dict[str, Any]:
        return {"on_answers": self.chunks.append, "on_chunk_end": self.end_chunk}

    @property
    def answers(self) -> list[Answer]:
        return [answer for chunk in self.chunks for answer in chunk]


# --- calling ---


@pytest.mark.parametrize("open_pair", PAIRS, ids=lambda open_pair: open_pair.__name__)
async def test_a_call_returns_the_decoded_result(open_pair: OpenPair) -> None:
    async with open_links(serve(blobs_get=get_blob), open_pair=open_pair) as (_, server):
        assert await server.call(GET_BLOB, BLOB) == GetBlobResult({"blob": 1.1}, BlobType.DATA)


@pytest.mark.parametrize("open_pair", PAIRS, ids=lambda open_pair: open_pair.__name__)
async def test_both_sides_call_at_the_same_time_with_more_than_the_wire_holds(open_pair: OpenPair) -> None:
    big = b'"' + b"x" * 300_000 + b'"'

    async def get_big(params: GetBlobParams, context: object) -> GetBlobResult:
        return GetBlobResult(Raw(big), BlobType.DATA)

    async def list_components(params: Empty, context: object) -> ComponentListResult:
        return ComponentListResult([ComponentInfo("/" + "x" * 300_000)])

    server_options = {"dispatcher": Dispatcher({LIST_COMPONENTS.name: list_components}, Side.SERVER)}
    async with open_links(serve(blobs_get=get_big), server_options, open_pair) as (runtime, server):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(server.call, GET_BLOB, BLOB)
                nursery.start_soon(runtime.call, LIST_COMPONENTS, Empty())
        assert (runtime.queued_bytes, server.queued_bytes) == (0, 0)


async def test_an_error_of_the_peer_is_raised() -> None:
    async with open_links(serve(blobs_get=get_blob)) as (_, server):
        with pytest.raises(RpcError, match="There is no method runs/submit here") as caught:
            await server.call(SUBMIT_RUN, SubmitParams("f", []))
        assert caught.value.code == ErrorCode.METHOD_NOT_FOUND


async def test_a_result_that_is_not_what_the_protocol_says_is_an_error_that_says_so() -> None:
    async def lie(params: GetBlobParams, context: object) -> dict[str, int]:
        return {"data": 1}

    async with open_links(serve(blobs_get=lie)) as (_, server):
        with pytest.raises(RpcError, match="The answer of runtime to blobs/get is not what the protocol says"):
            await server.call(GET_BLOB, BLOB)


async def test_a_link_without_dispatcher_knows_ping_and_nothing_else() -> None:
    async with open_links() as (runtime, server):
        assert await runtime.call(PING, Empty()) == await server.call(PING, Empty()) == Empty()
        with pytest.raises(RpcError, match="There is no method components/list here"):
            await runtime.call(LIST_COMPONENTS, Empty())


async def test_both_sides_discover() -> None:
    async with open_links(
        {"dispatcher": Dispatcher({}, Side.RUNTIME)}, {"dispatcher": Dispatcher({}, Side.SERVER)}
    ) as (runtime, server):
        names = [method["name"] for method in (await runtime.call(DISCOVER, Empty()))["methods"]]
        assert EXECUTE.name in names
        names = [method["name"] for method in (await server.call(DISCOVER, Empty()))["methods"]]
        assert SUBMIT_RUN.name in names


async def test_a_call_that_would_not_fit_a_frame_fails_and_the_link_goes_on() -> None:
    async with open_links(serve(blobs_get=get_blob)) as (runtime, server):
        server.peer_limits = Limits(max_frame_bytes=1000)
        with pytest.raises(RpcError) as caught:
            await server.call(SUBMIT_RUN, SubmitParams("f" * 1000, []))
        assert caught.value.code == ErrorCode.LIMIT_EXCEEDED
        assert await server.call(GET_BLOB, BLOB)
        assert runtime.fault is server.fault is None


# --- posting ---


async def test_posted_calls_are_answered_in_the_order_of_the_wire_with_their_tokens() -> None:
    inbox, desk = Inbox(), Desk()
    async with open_links(inbox.options, desk.options) as (runtime, server):
        for token in range(100):
            runtime.post(EXECUTE, ExecuteParams("/c", Raw(b"%d" % token)), token)
        runtime.flush()
        await wait_all_tasks_blocked()
        for request in reversed(desk.requests):
            server.respond(request, b'{"output":1}')
        server.flush()
        await wait_all_tasks_blocked()
        assert inbox.answers == [Answer(token, b'{"output":1}') for token in reversed(range(100))]
        assert len(inbox.chunks) == 1
        assert inbox.chunk_ends == 1


async def test_what_is_queued_without_flush_is_sent_soon_and_in_one_piece() -> None:
    inbox, desk = Inbox(), Desk()
    left, right = memory_stream_pair()
    pieces: list[int] = []
    send_nowait = left.send_nowait

    def count(data: bytes | memoryview) -> int:
        pieces.append(len(data))
        return send_nowait(data)

    left.send_nowait = count  # type: ignore[method-assign]

    async def open_pair() -> Any:
        return left, right

    async with open_links(inbox.options, desk.options, open_pair) as (runtime, _):
        await wait_all_tasks_blocked()
        for token in range(100):
            runtime.post(EXECUTE, b"{}", token)
        assert pieces == []
        await wait_all_tasks_blocked()
        assert len(desk.requests) == 100
        assert len(pieces) == 1


async def test_an_error_of_a_posted_call_comes_in_its_answer() -> None:
    inbox = Inbox()
    async with open_links(inbox.options) as (runtime, _):
        runtime.post(EXECUTE, b"{}", "token")
        await wait_all_tasks_blocked()
        (answer,) = inbox.answers
        assert answer.error is not None
        assert (answer.token, answer.error.code) == ("token", ErrorCode.METHOD_NOT_FOUND)


async def test_a_notification_reaches_its_handler_and_is_not_answered() -> None:
    seen: list[object] = []

    async def initialized(params: Empty, context: object) -> None:
        seen.append(context)

    options = {"dispatcher": Dispatcher({INITIALIZED.name: initialized}, Side.SERVER), "context": "ctx"}
    async with open_links(server=options) as (runtime, server):
        runtime.notify(INITIALIZED, Empty())
        await wait_all_tasks_blocked()
        assert seen == ["ctx"]
        assert server.queued_bytes == runtime.dropped_answers == 0


# --- the end ---


@pytest.mark.parametrize("open_pair", PAIRS, ids=lambda open_pair: open_pair.__name__)
async def test_waiters_are_woken_when_the_peer_closes(open_pair: OpenPair) -> None:
    inbox = Inbox()
    woken: list[str] = []

    async def wait(link: Link) -> None:
        with pytest.raises(LinkClosed, match="The connection with server has ended"):
            await link.call(EXECUTE, ExecuteParams("/c", Raw(b"1")))
        woken.append("call")

    async with open_links(inbox.options, Desk().options, open_pair) as (runtime, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, runtime)
            nursery.start_soon(wait, runtime)
            runtime.post(EXECUTE, b"{}", "token")
            await wait_all_tasks_blocked()
            await server.aclose()
            await runtime.wait_closed()
        assert woken == ["call", "call"]
        assert inbox.answers == [Answer("token", lost=True)]
        assert runtime.closed
        assert runtime.fault is None
        await runtime.aclose()
        assert len(inbox.answers) == 1
        with pytest.raises(LinkClosed, match="The connection with server has ended"):
            runtime.post(EXECUTE, b"{}", "late")
        with pytest.raises(LinkClosed):
            await runtime.call(PING, Empty())


async def test_handlers_are_cancelled_when_the_peer_closes() -> None:
    ended: list[str] = []

    async def get_forever(params: GetRunParams, context: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("cancelled")

    async with open_links(serve(runs_get=get_forever), Inbox().options) as (runtime, server):
        server.post(GET_RUN, GetRunParams("r"), "token")
        await wait_all_tasks_blocked()
        await server.aclose()
        await runtime.wait_closed()
        assert ended == ["cancelled"]
        assert runtime.handled_requests == 0


async def test_what_is_queued_when_a_link_ends_is_still_sent(autojump_clock: trio.abc.Clock) -> None:
    left, right = memory_stream_pair(capacity_bytes=1000)
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits())
    received = bytearray()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            for _ in range(1000):
                link.notify(INITIALIZED, Empty())
            nursery.start_soon(link.aclose)
            while data := await right.receive_some():
                received += data
    assert [json.loads(line)["method"] for line in received.splitlines()] == ["initialized"] * 1000


async def test_a_link_ends_in_time_when_the_peer_does_not_read(autojump_clock: trio.abc.Clock) -> None:
    left, _ = memory_stream_pair(capacity_bytes=1000)
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits(), drain_timeout_s=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        link.notify(INITIALIZED, b"[" + b"1," * 1000 + b"1]")
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await link.aclose()
        assert trio.current_time() - start == pytest.approx(2)


async def test_a_cancelled_link_sends_whole_lines_only(autojump_clock: trio.abc.Clock) -> None:
    left, right = memory_stream_pair(capacity_bytes=100)
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits())
    received = bytearray()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            await inner.start(link.run)
            link.notify(INITIALIZED, b'{"x":"' + b"x" * 1000 + b'"}')
            await wait_all_tasks_blocked()

            async def read() -> None:
                while data := await right.receive_some():
                    received.extend(data)

            inner.cancel_scope.cancel()
            nursery.start_soon(read)
    assert received.endswith(b"\n")
    assert json.loads(received)["params"]["x"] == "x" * 1000


async def test_a_flush_while_the_rest_of_a_line_waits_does_not_tear_it() -> None:
    left, right = memory_stream_pair(capacity_bytes=100)
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits())
    received = bytearray()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            for number in range(10):
                link.notify(INITIALIZED, b'{"number":%d,"x":"%b"}' % (number, b"x" * 150))
                link.flush()
                received += await right.receive_some()
                link.flush()
            nursery.start_soon(link.aclose)
            while data := await right.receive_some():
                received += data
    assert [json.loads(line)["params"]["number"] for line in received.splitlines()] == list(range(10))


async def test_answers_that_nobody_flushes_are_sent_when_there_is_room() -> None:
    left, right = memory_stream_pair(capacity_bytes=1000)
    link = Link(left, side=Side.RUNTIME, name="client", limits=Limits())
    received = bytearray()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            await right.wait_send_all(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n' * 100)
            while received.count(b"\n") < 100:
                received += await right.receive_some()
            await link.aclose()


async def test_a_link_that_never_ran_can_be_closed() -> None:
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits())
    await link.aclose()
    assert link.closed
    assert await right.receive_some() == b""


async def test_a_breach_of_the_protocol_is_the_fault_of_the_link_and_told_to_its_waiters() -> None:
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits(max_frame_bytes=100))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            right.send_nowait(b"x" * 200)
            await link.wait_closed()
    assert isinstance(link.fault, RemoteProtocolError)
    assert link.fault.data == {"limit": "maxFrameBytes", "value": 100}
    assert json.loads(await right.receive_some())["error"]["code"] == -32020
    with pytest.raises(LinkClosed, match="The connection with server has ended: A line is longer than 100 bytes"):
        link.post(EXECUTE, b"{}", "token")


async def test_a_peer_that_does_not_read_loses_the_connection(autojump_clock: trio.abc.Clock) -> None:
    left, _ = memory_stream_pair()
    inbox = Inbox()
    link = Link(left, side=Side.RUNTIME, name="server", limits=Limits(), max_queued_bytes=200_000, **inbox.options)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            with pytest.raises(LinkClosed):  # noqa: PT012 - which of them is the last is no promise
                for token in range(1000):
                    link.post(EXECUTE, b'{"x":"' + b"x" * 1000 + b'"}', token)
                    link.flush()
            await link.wait_closed()
    assert isinstance(link.fault, RemoteProtocolError)
    assert link.fault.data["limit"] == "maxQueuedBytes"
    assert [answer.token for answer in inbox.answers] == list(range(len(inbox.answers)))
    assert all(answer.lost for answer in inbox.answers)


async def test_a_first_line_from_a_browser_closes_the_connection_without_an_answer() -> None:
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="browser", limits=Limits(), check_first_line=True)
    right.send_nowait(b'POST / HTTP/1.1\r\n\r\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    with trio.fail_after(5):
        await link.run()
    assert isinstance(link.fault, RemoteProtocolError)
    assert await right.receive_some() == b""


async def test_a_batch_with_slow_and_fast_handlers_is_answered_as_one_array() -> None:
    gate = trio.Event()

    async def get_late(params: GetRunParams, context: object) -> dict[str, str]:
        await gate.wait()
        return {"late": params.run_id}

    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="c", limits=Limits(), **serve(runs_get=get_late, blobs_get=get_blob))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            right.send_nowait(
                b'[{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"r"}},'
                b'{"jsonrpc":"2.0","id":"1","method":"ping"},{"jsonrpc":"2.0","method":"nope"},'
                b'{"jsonrpc":"2.0","id":null,"method":"nope"},{"jsonrpc":"2.0","id":2.0,"method":"runs/get","params":[]},7]\n'
            )
            await wait_all_tasks_blocked()
            assert not right._received
            gate.set()
            answers = json.loads(await right.receive_some())
            await link.aclose()
    assert len(answers) == 5
    by_id = {msgspec.json.encode(answer["id"]): answer for answer in answers if answer["id"] is not None}
    assert by_id[b"1"]["result"] == {"late": "r"}
    assert by_id[b'"1"']["result"] == {}
    assert by_id[b"2.0"]["error"]["code"] == -32602
    assert sorted(answer["error"]["code"] for answer in answers if answer["id"] is None) == [-32601, -32600]


async def test_reading_goes_on_while_handlers_and_both_writers_wait() -> None:
    gate = trio.Event()

    async def get_late(params: GetRunParams, context: object) -> dict[str, str]:
        await gate.wait()
        return {"late": params.run_id}

    async def open_narrow_pair() -> Any:
        return memory_stream_pair(capacity_bytes=50)

    inbox, desk = Inbox(), Desk()
    runtime_options = {**serve(runs_get=get_late), **inbox.options}
    async with open_links(runtime_options, desk.options, open_narrow_pair) as (runtime, server):
        for token in range(50):
            runtime.post(EXECUTE, b'{"x":"' + b"x" * 500 + b'"}', token)
            server.post(GET_RUN, GetRunParams("r" * 500), token)
        await wait_all_tasks_blocked()
        assert len(desk.requests) == 50
        assert runtime.handled_requests == 50
        for request in desk.requests:
            server.respond(request, b'"' + b"y" * 500 + b'"')
        await wait_all_tasks_blocked()
        assert len(inbox.answers) == 50
        gate.set()
        await wait_all_tasks_blocked()
        assert runtime.handled_requests == 0
