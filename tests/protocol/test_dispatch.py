"""Requests to handlers, by the catalogue."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from protocol.dispatch import Dispatcher
from protocol.errors import ErrorCode, RpcError
from protocol.methods import Side
from protocol.runs import GetRunParams, ResultOrder
from protocol.types import Empty


async def get_run(params: GetRunParams, context: object) -> object:
    match params.run_id:
        case "gone":
            raise RpcError(ErrorCode.RUN_NOT_FOUND, "There is no run gone.", runId="gone")
        case "defect":
            raise KeyError("hunter2")
        case "endless":
            result: list[Any] = []
            result.append(result)
            return result
        case run_id:
            return {"runId": run_id, "order": params.result_order, "context": context}


async def ping_like(params: Empty, context: object) -> Empty:
    return Empty()


DISPATCHER = Dispatcher({"runs/get": get_run, "runs/cancel": ping_like}, Side.RUNTIME)


async def refuse(method: str, params: bytes) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await DISPATCHER.dispatch(method, params, None)
    return caught.value


async def test_a_handler_gets_decoded_params_and_the_context() -> None:
    result = await DISPATCHER.dispatch("runs/get", b'{"runId":"r","resultOrder":"byCompletion"}', "ctx")
    assert json.loads(result) == {"runId": "r", "order": ResultOrder.BY_COMPLETION, "context": "ctx"}


async def test_an_error_of_the_handler_is_the_answer() -> None:
    error = await refuse("runs/get", b'{"runId":"gone"}')
    assert (error.code, error.message) == (-32010, "There is no run gone.")
    assert error.data == {"type": "runNotFound", "runId": "gone"}


async def test_an_unknown_method_is_named() -> None:
    error = await refuse("runs/got", b"{}")
    assert (error.code, error.message) == (-32601, "There is no method runs/got here.")
    assert error.data == {"type": "methodNotFound", "method": "runs/got"}


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        (b'{"runId":5}', "$.runId", "Invalid params of runs/get at $.runId: expected `str`, got `int`."),
        (b"{}", "$", "Invalid params of runs/get at $: object missing required field `runId`."),
        (b'["r"]', "$", "Invalid params of runs/get at $: params are given by name, as an object, not by position."),
        (
            b'{"runId":"r","timeoutMs":-1}',
            "$.timeoutMs",
            "Invalid params of runs/get at $.timeoutMs: expected `int` >= 0.",
        ),
        (
            b'{"runId":"r","resultOrder":"sideways"}',
            "$.resultOrder",
            "Invalid params of runs/get at $.resultOrder: invalid enum value 'sideways'.",
        ),
    ],
)
async def test_params_that_do_not_fit_say_where_and_what_was_expected(params: bytes, path: str, message: str) -> None:
    error = await refuse("runs/get", params)
    assert (error.code, error.message) == (-32602, message)
    assert error.data == {"type": "invalidParams", "method": "runs/get", "path": path}


@pytest.mark.parametrize("run_id", ["defect", "endless"])
async def test_a_defect_is_logged_and_answered_without_details(run_id: str) -> None:
    with capture_logs() as logs:
        error = await refuse("runs/get", b'{"runId":"%b"}' % run_id.encode())
    assert (error.code, error.message) == (-32603, "runs/get failed inside this program; its log says why.")
    assert error.data == {"type": "internalError", "method": "runs/get"}
    assert error.__cause__ is None
    (entry,) = logs
    assert entry["event"] == "handler_failed"
    assert "Error" in entry["traceback"]


async def test_a_notification_that_fails_goes_to_the_log() -> None:
    with capture_logs() as logs:
        await DISPATCHER.notify("runs/get", b"{}", None)
    assert [entry["event"] for entry in logs] == ["notification_failed"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("runs/got", "There is no method runs/got in the catalogue; add it to protocol.methods, or correct the name."),
        ("components/execute", "components/execute is answered by the server, not by the runtime; remove its handler."),
    ],
)
def test_a_handler_that_could_never_be_called_is_refused_at_once(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dispatcher({name: ping_like}, Side.RUNTIME)


async def test_discover_is_there_by_itself() -> None:
    for side in (Side.RUNTIME, Side.SERVER):
        document = json.loads(await Dispatcher({}, side).dispatch("rpc.discover", b"{}", None))
        assert document["openrpc"].startswith("1.3.")


async def test_handlers_that_run_at_once_do_not_mix_up_their_params() -> None:
    results = [await DISPATCHER.dispatch("runs/get", b'{"runId":"%d"}' % number, number) for number in range(3)]
    assert [json.loads(result)["context"] for result in results] == [0, 1, 2]
