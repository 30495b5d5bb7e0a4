"""Suspensions, sleeps and pauses from outside, and bad input about them: each has its code, and changes nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.conformance.test_bad_input import check
from tests.conformance.wire import Json, RawClient, ServedRuntime, make_flow, serve

NOWHERE = "00000000-0000-7000-8000-000000000000"
SCHEMA = {"type": "object", "required": ["yes"]}
ASK = make_flow("/builtin/suspend")
QUESTION = {"payload": "may I?", "resume_schema": SCHEMA}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    config = {"plugins": {"builtin": {"type": "builtin"}}, "routes": {"/builtin": [{"plugin": "builtin"}]}}
    with serve(tmp_path_factory.mktemp("waiting"), config) as runtime:
        yield runtime


@pytest.fixture
def client(runtime: ServedRuntime) -> Generator[RawClient]:
    with runtime.connect() as client:
        yield client


def suspend(client: RawClient, *inputs: Json) -> str:
    """A run whose items all wait."""
    params = {"flowId": client.put_flow(ASK), "inputs": list(inputs), "wait": True, "waitFor": "settled"}
    status = client.call("runs/submit", params)
    assert status["status"] == "suspended"
    run_id: str = status["runId"]
    return run_id


def get(client: RawClient, run_id: str) -> Json:
    status: Json = client.call("runs/get", {"runId": run_id})
    return status


def test_a_built_in_suspension_returns_what_it_was_resumed_with(client: RawClient) -> None:
    run_id = suspend(client, QUESTION)
    status = get(client, run_id)
    assert status["statusDetail"] == "awaitingInput"
    assert status["items"] == {
        "total": 1, "pending": 0, "running": 0, "success": 0, "failed": 0, "cancelled": 0, "suspended": 1,
    }  # fmt: skip
    (suspension,) = status["suspensions"]
    assert suspension.pop("suspendedAt")
    assert suspension == {
        "itemIndex": 0, "stepId": "only", "label": "1", "payload": "may I?", "resumeSchema": SCHEMA,
    }  # fmt: skip
    answer = {"yes": 0.10}
    status = client.call("runs/resume", {"runId": run_id, "resumeData": answer, "wait": True})
    assert status["status"] == "success"
    (entry,) = client.call("runs/get", {"runId": run_id, "includeResults": True})["results"]
    assert entry["result"]["value"] == answer


def test_what_is_not_suspended_is_not_resumed(client: RawClient) -> None:
    run_id = suspend(client, QUESTION)
    before = get(client, run_id)
    wrong: list[Json] = [{"step": "another"}, {"label": "2"}, {"itemIndex": 1}, {"token": None, "step": ""}]
    for params in wrong:
        error = client.refuse("runs/resume", {"runId": run_id, "resumeData": {"yes": 1}, **params})
        check(error, -32015, "notSuspended")
        assert error.data["available"] == []
        assert error.data["runId"] == run_id
    assert get(client, run_id) == before
    ended = client.run(make_flow("/builtin/noop"), [1])["runId"]
    check(client.refuse("runs/resume", {"runId": ended}), -32015, "notSuspended")


def test_several_suspensions_are_listed(client: RawClient) -> None:
    run_id = suspend(client, QUESTION, QUESTION)
    error = client.refuse("runs/resume", {"runId": run_id, "resumeData": {"yes": 1}})
    check(error, -32015, "notSuspended", "itemIndex")
    assert [entry["itemIndex"] for entry in error.data["available"]] == [0, 1]


@pytest.mark.parametrize("data", [{}, {"resumeData": None}, {"resumeData": {}}, {"resumeData": "yes"}])
def test_data_that_does_not_fit_leaves_the_run_suspended(client: RawClient, data: Json) -> None:
    run_id = suspend(client, QUESTION)
    before = get(client, run_id)
    error = client.refuse("runs/resume", {"runId": run_id, **data})
    check(error, -32017, "validationFailed")
    assert error.data["issues"]
    assert get(client, run_id) == before


def test_a_second_resume_is_told_so(client: RawClient) -> None:
    run_id = suspend(client, {"payload": 1})
    client.call("runs/resume", {"runId": run_id, "requestId": "r", "wait": True})
    check(client.refuse("runs/resume", {"runId": run_id}), -32016, "alreadyResumed")
    assert client.call("runs/resume", {"runId": run_id, "requestId": "r"})["status"] == "success"


def test_a_token_under_which_nothing_waits(client: RawClient) -> None:
    error = client.refuse("runs/resume", {"token": "unheard of"})
    check(error, -32005, "notFound")
    assert error.data["kind"] == "token"
    check(client.refuse("runs/resume", {}), -32602, "invalidParams", "runId")


@pytest.mark.parametrize("method", ["runs/resume", "runs/pause", "runs/unpause", "runs/wakeUp"])
def test_a_run_that_is_unknown(client: RawClient, method: str) -> None:
    check(client.refuse(method, {"runId": NOWHERE}), -32010, "runNotFound", NOWHERE)


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"itemIndex": -1}, "$.itemIndex"),
        ({"itemIndex": "0"}, "$.itemIndex"),
        ({"step": 7}, "$.step"),
        ({"requestId": 7}, "$.requestId"),
    ],
)
def test_params_of_a_wrong_type(client: RawClient, params: Json, place: str) -> None:
    error = client.refuse("runs/resume", {"runId": NOWHERE, **params})
    check(error, -32602, "invalidParams")
    assert error.data["path"] == place


def test_nothing_that_sleeps_is_no_error(client: RawClient) -> None:
    run_id = suspend(client, QUESTION)
    assert client.call("runs/wakeUp", {"runId": run_id}) == {"stoppedCount": 0}
    ended = client.run(make_flow("/builtin/noop"), [1])["runId"]
    assert client.call("runs/wakeUp", {"runId": ended}) == {"stoppedCount": 0}


def test_sleepers_sleep_and_are_woken(client: RawClient) -> None:
    flow = client.put_flow(make_flow("/builtin/sleep"))
    params = {"duration_ms": 3_600_000, "passthrough": {"digits": 1}}
    run_id = client.call("runs/submit", {"flowId": flow, "inputs": [params] * 3})["runId"]
    stopped = 0
    while stopped < 3:
        stopped += client.call("runs/wakeUp", {"runId": run_id})["stoppedCount"]
    status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
    assert [entry["result"]["value"] for entry in status["results"]] == [{"digits": 1}] * 3


@pytest.mark.parametrize("input", [{}, {"duration_ms": 1, "until": "2026-01-01T00:00:00Z"}, {"until": "soon"}])
def test_a_sleep_without_an_end_fails(client: RawClient, input: Any) -> None:
    result = client.run_one("/builtin/sleep", input)
    assert (result["outcome"], result["error"]["code"]) == ("failed", "INVALID_INPUT")


def test_nobody_sleeps_who_is_not_executed(client: RawClient) -> None:
    check(client.refuse("runs/sleep", {"durationMs": 1}), -32022, "notCurrent")


def test_an_ended_run_cannot_be_paused(client: RawClient) -> None:
    ended = client.run(make_flow("/builtin/noop"), [1])["runId"]
    for method in ("runs/pause", "runs/unpause"):
        check(client.refuse(method, {"runId": ended}), -32014, "conflict", "ended")


def test_a_paused_run_begins_nothing(client: RawClient) -> None:
    run_id = suspend(client, {"payload": 1})
    assert client.call("runs/pause", {"runId": run_id})["statusDetail"] == "paused"
    status = client.call("runs/resume", {"runId": run_id, "wait": True, "timeoutMs": 50})
    assert (status["statusDetail"], status["items"]["pending"]) == ("paused", 1)
    client.call("runs/unpause", {"runId": run_id})
    assert client.call("runs/get", {"runId": run_id, "wait": True})["status"] == "success"


def test_a_delay_that_is_no_time(client: RawClient) -> None:
    flow = client.put_flow(ASK)
    error = client.refuse("runs/submit", {"flowId": flow, "inputs": [1], "delayUntil": "tomorrow"})
    check(error, -32602, "invalidParams", "delayUntil")
