"""The other side's requests while they are worked on: cancellation and limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from protocol.dispatch import Dispatcher
from protocol.errand import Later
from protocol.errors import ErrorCode, RpcError
from protocol.handling import HandlingLimits, let_go_of_params, parked
from protocol.link import Link
from protocol.methods import CANCEL_REQUEST, EXECUTE, GET_RUN, PING, Side
from protocol.peer import Answer
from protocol.runs import GetRunParams
from protocol.streams import memory_stream_pair
from protocol.types import Empty, Limits

from .wires import open_links


class Gate:
    """A handler of `runs/get` that waits until it is opened."""

    def __init__(self, is_parked: bool = False) -> None:
        self.opened = trio.Event()
        self.entered = 0
        self.cancelled = 0
        self._is_parked = is_parked

    async def get_run(self, params: GetRunParams, context: object) -> dict[str, str]:
        self.entered += 1
        try:
            if self._is_parked:
                with parked(), parked():
                    await self.opened.wait()
            else:
                await self.opened.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return {"runId": params.run_id}

    def options(self, **limits: int) -> dict[str, Any]:
        return {
            "dispatcher": Dispatcher({GET_RUN.name: self.get_run}, Side.RUNTIME),
            "handling_limits": HandlingLimits(**limits),
        }


class LaterGate:
    """A handler of `runs/get` that needs no task, and waits until its answer is given."""

    def __init__(self) -> None:
        self.answers: list[Later[dict[str, str]]] = []
        self.is_open = False
        self.ended = 0

    async def get_run(self, params: GetRunParams, context: object) -> dict[str, str]:
        try:
            with parked():
                self.answers.append(Later())
                if self.is_open:
                    self.open()
                return await self.answers[-1]
        finally:
            self.ended += 1

    def open(self) -> None:
        for answer in self.answers:
            answer.complete({"runId": "r"})

    def options(self) -> dict[str, Any]:
        dispatcher = Dispatcher({GET_RUN.name: self.get_run}, Side.RUNTIME, errands=[GET_RUN.name])
        return {"dispatcher": dispatcher}


def post_many(link: Link, count: int) -> None:
    for token in range(count):
        link.post(GET_RUN, GetRunParams("r"), token)


def codes(answers: list[Answer]) -> list[tuple[object, int | None]]:
    return [(answer.token, answer.error.code if answer.error else None) for answer in answers]


async def test_a_cancelled_request_is_cancelled_in_its_handler_and_still_answered() -> None:
    gate, answers = Gate(), list[Answer]()
    async with open_links(gate.options(), {"on_answers": answers.extend}) as (runtime, server):
        wanted = server.post(GET_RUN, GetRunParams("wanted"), "wanted")
        unwanted = server.post(GET_RUN, GetRunParams("unwanted"), "unwanted")
        await wait_all_tasks_blocked()
        server.cancel(unwanted)
        await wait_all_tasks_blocked()
        assert codes(answers) == [("unwanted", ErrorCode.REQUEST_CANCELLED)]
        gate.opened.set()
        await wait_all_tasks_blocked()
        assert answers[1] == Answer("wanted", b'{"runId":"wanted"}')
        server.cancel(wanted)
        await wait_all_tasks_blocked()
        assert (len(answers), gate.cancelled, runtime.handled_requests) == (2, 1, 0)


async def test_a_request_without_a_task_is_cancelled_and_still_answered() -> None:
    gate, answers = LaterGate(), list[Answer]()
    async with open_links(gate.options(), {"on_answers": answers.extend}) as (runtime, server):
        server.post(GET_RUN, GetRunParams("wanted"), "wanted")
        unwanted = server.post(GET_RUN, GetRunParams("unwanted"), "unwanted")
        await wait_all_tasks_blocked()
        assert (runtime.handled_requests, runtime.parked_requests) == (0, 2)
        server.cancel(unwanted)
        await wait_all_tasks_blocked()
        assert codes(answers) == [("unwanted", ErrorCode.REQUEST_CANCELLED)]
        gate.open()
        await wait_all_tasks_blocked()
        assert answers[1] == Answer("wanted", b'{"runId":"r"}')
        assert (gate.ended, runtime.handled_requests, runtime.parked_requests) == (2, 0, 0)


async def test_requests_without_a_task_end_with_their_connection() -> None:
    gate = LaterGate()
    async with open_links(gate.options()) as (runtime, server):
        post_many(server, 3)
        await wait_all_tasks_blocked()
        assert runtime.parked_requests == 3
        await runtime.aclose()
        assert (gate.ended, runtime.parked_requests) == (3, 0)
        gate.open()


async def test_the_peers_last_byte_ends_waits_that_have_no_task() -> None:
    gate, answers = LaterGate(), list[Answer]()
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="c", limits=Limits(), **gate.options())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            right.send_nowait(b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"r"}}\n')
            await wait_all_tasks_blocked()
            await right.aclose()
            await link.wait_closed()
    assert (gate.ended, answers) == (1, [])


async def test_answers_that_need_no_wait_go_out_together() -> None:
    gate, sent = LaterGate(), list[int]()
    gate.is_open = True
    left, right = memory_stream_pair()
    send_nowait = left.send_nowait
    left.send_nowait = lambda data: sent.append(data.count(b"\n")) or send_nowait(data)  # type: ignore
    link = Link(left, side=Side.RUNTIME, name="c", limits=Limits(), **gate.options())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            right.send_nowait(b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"r"}}\n' * 5)
            await wait_all_tasks_blocked()
            await link.aclose()
    assert sent == [5]


async def test_each_request_is_told_with_its_error_and_without_what_it_waited_for(autojump_clock: object) -> None:
    told: list[tuple[str, int | None, float | None]] = []

    async def get_run(params: GetRunParams, context: object) -> dict[str, str]:
        await trio.sleep(0.5)
        with parked():
            await trio.sleep(1)
        if params.run_id == "none":
            raise RpcError(ErrorCode.RUN_NOT_FOUND, "No such run.")
        return {}

    options = {
        "dispatcher": Dispatcher({GET_RUN.name: get_run}, Side.RUNTIME),
        "handling_limits": HandlingLimits(max_handled=2),
        "on_answered": lambda *answered: told.append(answered),
    }
    async with open_links(options, {"on_answers": lambda answers: None}) as (_, server):
        for run_id in ("a", "none", "too many"):
            server.post(GET_RUN, GetRunParams(run_id), run_id)
        await trio.sleep(2)
    assert told[0] == ("runs/get", ErrorCode.THROTTLED, None)
    assert {code: round(seconds or 0, 6) for _, code, seconds in told[1:]} == {None: 0.5, ErrorCode.RUN_NOT_FOUND: 0.5}


async def test_a_call_whose_caller_is_cancelled_is_cancelled_at_the_peer() -> None:
    gate = Gate()
    async with open_links(gate.options()) as (_, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.call, GET_RUN, GetRunParams("r"))
            await wait_all_tasks_blocked()
            assert gate.entered == 1
            nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert gate.cancelled == 1
        assert await server.call(PING, Empty()) == Empty()


async def test_a_peer_that_did_not_declare_it_is_sent_no_cancellation() -> None:
    gate = Gate()
    async with open_links(gate.options(), {"peer_capabilities": []}) as (_, server):
        server.cancel(server.post(GET_RUN, GetRunParams("r"), "token"))
        await wait_all_tasks_blocked()
        assert gate.cancelled == 0


async def test_cancellation_of_a_direct_request_goes_to_who_has_it() -> None:
    cancelled: list[bytes] = []
    options = {"direct": {EXECUTE.name: lambda request: None}, "on_cancel_request": cancelled.append}
    async with open_links(server=options) as (runtime, _):
        request_id = runtime.post(EXECUTE, b"{}", "token")
        runtime.cancel(request_id)
        runtime.notify(CANCEL_REQUEST, b'{"id":"1"}')
        runtime.notify(CANCEL_REQUEST, b"{}")
        await wait_all_tasks_blocked()
        assert cancelled == [request_id, b'"1"']


async def test_ids_that_are_spelled_alike_but_differ_are_not_cancelled_together() -> None:
    gate = Gate()
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="c", limits=Limits(), **gate.options())
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            for id in (b"1", b'"1"', b'"1"'):
                right.send_nowait(b'{"jsonrpc":"2.0","id":%b,"method":"runs/get","params":{"runId":"r"}}\n' % id)
            right.send_nowait(b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"1"}}\n')
            await wait_all_tasks_blocked()
            answers = [json.loads(line) for line in (await right.receive_some()).splitlines()]
            await link.aclose()
    assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [("1", -32800), ("1", -32800)]


async def test_two_equal_ids_in_handlers_are_both_answered_and_both_cancelled() -> None:
    gate = Gate()
    left, right = memory_stream_pair()
    link = Link(left, side=Side.RUNTIME, name="c", limits=Limits(), **gate.options())
    line = b'{"jsonrpc":"2.0","id":1,"method":"runs/get","params":{"runId":"r"}}\n'
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            right.send_nowait(line * 2 + b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}\n')
            await wait_all_tasks_blocked()
            gate.opened.set()
            right.send_nowait(line * 2)
            await wait_all_tasks_blocked()
            answers = [json.loads(line) for line in (await right.receive_some()).splitlines()]
            await link.aclose()
    assert [answer["id"] for answer in answers] == [1, 1, 1, 1]
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32800, -32800, None, None]


async def test_requests_beyond_the_limit_are_throttled_and_those_within_are_answered() -> None:
    gate, answers = Gate(), list[Answer]()
    async with open_links(gate.options(max_handled=3), {"on_answers": answers.extend}) as (_, server):
        post_many(server, 5)
        await wait_all_tasks_blocked()
        assert codes(answers) == [(3, ErrorCode.THROTTLED), (4, ErrorCode.THROTTLED)]
        assert answers[0].error is not None
        assert answers[0].error.data == {
            "type": "throttled",
            "retryAfterMs": 200,
            "limit": "maxHandledRequests",
            "value": 3,
        }
        assert await server.call(PING, Empty()) == Empty()
        gate.opened.set()
        await wait_all_tasks_blocked()
        assert {token for token, code in codes(answers) if code is None} == {0, 1, 2}
        post_many(server, 1)
        await wait_all_tasks_blocked()
        assert len(answers) == 6


async def test_requests_that_hold_too_many_bytes_are_throttled() -> None:
    gate, answers = Gate(), list[Answer]()
    async with open_links(gate.options(max_handled_bytes=1000), {"on_answers": answers.extend}) as (_, server):
        for token in range(3):
            server.post(GET_RUN, GetRunParams("r" * 400), token)
        await wait_all_tasks_blocked()
        (answer,) = answers
        assert answer.error is not None
        assert (answer.token, answer.error.data["limit"]) == (2, "maxHandledBytes")


async def test_one_request_larger_than_the_limit_of_bytes_is_handled_alone() -> None:
    gate, answers = Gate(), list[Answer]()
    async with open_links(gate.options(max_handled_bytes=1000), {"on_answers": answers.extend}) as (_, server):
        server.post(GET_RUN, GetRunParams("r" * 4000), "big")
        await wait_all_tasks_blocked()
        assert gate.entered == 1


async def test_parked_requests_do_not_count_as_handled_but_have_a_limit_of_their_own() -> None:
    gate, answers = Gate(is_parked=True), list[Answer]()
    options = gate.options(max_handled=20, max_parked=10)
    async with open_links(options, {"on_answers": answers.extend}) as (runtime, server):
        for _ in range(10):
            post_many(server, 1)
            await wait_all_tasks_blocked()
        assert (runtime.handled_requests, runtime.parked_requests, answers) == (0, 10, [])
        post_many(server, 1)
        await wait_all_tasks_blocked()
        (refused,) = answers
        assert refused.error is not None
        assert (refused.error.code, refused.error.data["limit"]) == (ErrorCode.THROTTLED, "maxParkedRequests")
        gate.opened.set()
        await wait_all_tasks_blocked()
        assert (runtime.handled_requests, runtime.parked_requests, len(answers)) == (0, 0, 11)


def test_parking_outside_of_a_request_does_nothing() -> None:
    with parked():
        pass


async def test_an_error_inside_parked_is_the_answer() -> None:
    async def get_run(params: GetRunParams, context: object) -> None:
        with parked():
            raise RpcError(ErrorCode.RUN_NOT_FOUND, "There is no such run.")

    options = {"dispatcher": Dispatcher({GET_RUN.name: get_run}, Side.RUNTIME)}
    async with open_links(options) as (runtime, server):
        with pytest.raises(RpcError, match="There is no such run"):
            await server.call(GET_RUN, GetRunParams("r"))
        assert (runtime.handled_requests, runtime.parked_requests) == (0, 0)


async def test_a_wait_that_others_hang_on_is_never_refused_and_counts_all_the_same() -> None:
    entered = 0
    release = trio.Event()

    async def get_run(params: GetRunParams, context: object) -> dict[str, str]:
        nonlocal entered
        with parked(over_limit=params.run_id == "promised"):
            entered += 1
            await release.wait()
        return {"runId": params.run_id}

    answers: list[Answer] = []
    dispatcher = Dispatcher({GET_RUN.name: get_run}, Side.RUNTIME)
    limits = HandlingLimits(max_handled=1, max_parked=1)
    async with open_links({"dispatcher": dispatcher, "handling_limits": limits}, {"on_answers": answers.extend}) as (
        runtime,
        server,
    ):
        for token, run_id in enumerate(["promised", "promised", "promised", "r"]):
            server.post(GET_RUN, GetRunParams(run_id), token)
            await wait_all_tasks_blocked()
        assert (entered, runtime.parked_requests, runtime.handled_requests) == (3, 3, 0)
        assert codes(answers) == [(3, ErrorCode.THROTTLED)]
        release.set()
        await wait_all_tasks_blocked()
        assert (len(answers), runtime.parked_requests, runtime.handled_requests) == (4, 0, 0)


async def test_params_that_were_let_go_of_are_not_held_and_do_not_count() -> None:
    release = trio.Event()

    async def get_run(params: GetRunParams, context: object) -> dict[str, str]:
        with parked():
            let_go_of_params()
            await release.wait()
        return {}

    answers: list[Answer] = []
    dispatcher = Dispatcher({GET_RUN.name: get_run}, Side.RUNTIME)
    async with open_links(
        {"dispatcher": dispatcher, "handling_limits": HandlingLimits(max_handled_bytes=100)},
        {"on_answers": answers.extend},
    ) as (_, server):
        for _ in range(5):
            server.post(GET_RUN, GetRunParams("r" * 90), None)
            await wait_all_tasks_blocked()
        assert not answers
        release.set()
        await wait_all_tasks_blocked()
        assert [answer.error for answer in answers] == [None] * 5
