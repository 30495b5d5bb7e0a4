"""Restarts and time travel from outside, and bad input about them: each has its code, and changes nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.conformance.test_bad_input import check
from tests.conformance.wire import Json, RawClient, ServedRuntime, serve

NOWHERE = "00000000-0000-7000-8000-000000000000"
SAY = {"user_prompt": {"$step": "get", "path": "$.data.x"}}
FLOW = {
    "steps": [
        {"id": "get", "component": "/builtin/get_blob", "input": {"blob_id": {"$input": "$"}}},
        {"id": "show", "component": "/builtin/create_messages", "input": SAY},
    ],
    "output": {"$step": "show"},
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    config = {"plugins": {"builtin": {"type": "builtin"}}, "routes": {"/builtin": [{"plugin": "builtin"}]}}
    with serve(tmp_path_factory.mktemp("forking"), config) as runtime:
        yield runtime


@pytest.fixture
def client(runtime: ServedRuntime) -> Generator[RawClient]:
    with runtime.connect() as client:
        yield client


@pytest.fixture
def ended(client: RawClient) -> Json:
    """A run of two items; the first one failed."""
    params = {"flowId": client.put_flow(FLOW), "inputs": ["blake3:" + "0" * 64, _put(client)], "wait": True}
    status: Json = client.call("runs/submit", params)
    assert [entry["result"]["outcome"] for entry in status["results"]] == ["failed", "success"]
    return status


def _put(client: RawClient) -> Any:
    return client.call("blobs/put", {"data": {"x": "hello"}})["blob_id"]


def _look(client: RawClient, run_id: str) -> list[Any]:
    """All that is told of a run, and how many runs there are."""
    run = client.call("runs/get", {"runId": run_id, "includeResults": True})
    events = client.call("runs/events", {"runId": run_id, "limit": 1000})
    return [run, events, len(client.call("runs/list", {"limit": 1000})["runs"])]


def test_a_fork_names_its_origin_and_keeps_what_did_not_travel(client: RawClient, ended: Json) -> None:
    before = _look(client, ended["runId"])
    fork = client.call(
        "runs/timeTravel",
        {
            "runId": ended["runId"],
            "step": "show",
            "itemIndexes": [0],
            "context": {"get": {"data": {"x": "hi"}}},
            "wait": True,
        },
    )
    assert fork["forkedFrom"] == ended["runId"]
    assert fork["status"] == "success"
    assert fork["items"]["success"] == 2
    results = client.call("runs/get", {"runId": fork["runId"], "includeResults": True})["results"]
    assert results[1] == ended["results"][1]
    assert results[0]["result"]["value"]["messages"][-1]["content"] == "hi"
    assert _look(client, ended["runId"])[:2] == before[:2]


def test_a_restart_of_what_fails_again_is_another_failed_run(client: RawClient, ended: Json) -> None:
    fork = client.call("runs/restart", {"runId": ended["runId"], "only": "failed"})
    ends = client.call("runs/get", {"runId": fork["runId"], "wait": True})
    assert (ends["status"], ends["items"]["failed"], ends["items"]["success"]) == ("failed", 1, 1)
    listed = client.call("runs/list", {})["runs"]
    assert [run.get("forkedFrom") for run in listed if run["runId"] == fork["runId"]] == [ended["runId"]]


NAMES = {-32010: "runNotFound", -32602: "invalidParams", -32014: "conflict", -32015: "notSuspended"}
BAD: dict[str, tuple[str, dict[str, Any], int]] = {
    "travel of an unknown run": ("runs/timeTravel", {"runId": NOWHERE, "step": "show"}, -32010),
    "restart of an unknown run": ("runs/restart", {"runId": NOWHERE}, -32010),
    "no step": ("runs/timeTravel", {}, -32602),
    "an unknown step": ("runs/timeTravel", {"step": "none"}, -32602),
    "an unknown item": ("runs/timeTravel", {"step": "get", "itemIndexes": [2]}, -32602),
    "a negative item": ("runs/restart", {"itemIndexes": [-1]}, -32602),
    "an unknown item to restart": ("runs/restart", {"itemIndexes": [0, 2]}, -32602),
    "another only": ("runs/restart", {"only": "cancelled"}, -32602),
    "a missing predecessor": ("runs/timeTravel", {"step": "show"}, -32014),
    "a context of what goes again": ("runs/timeTravel", {"step": "get", "context": {"show": 1}}, -32602),
    "a context of an unknown step": ("runs/timeTravel", {"step": "get", "context": {"none": 1}}, -32602),
    "a context that is none": ("runs/timeTravel", {"step": "get", "context": [1]}, -32602),
    "data for what was not suspended": ("runs/timeTravel", {"step": "get", "resumeData": 1}, -32015),
    "a requestId that is none": ("runs/restart", {"requestId": 7}, -32602),
    "a requestId that is none, to travel": ("runs/timeTravel", {"step": "get", "requestId": ["r"]}, -32602),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_has_its_code_and_changes_nothing(client: RawClient, ended: Json, case: str) -> None:
    method, params, code = BAD[case]
    before = _look(client, ended["runId"])
    check(client.refuse(method, {"runId": ended["runId"], **params}), code, NAMES[code])
    assert _look(client, ended["runId"]) == before


@pytest.mark.parametrize(
    ("method", "params"), [("runs/restart", {}), ("runs/timeTravel", {"step": "get", "itemIndexes": [1]})]
)
def test_a_repeated_request_gives_the_first_fork_and_another_under_its_id_is_refused(
    client: RawClient, ended: Json, method: str, params: dict[str, Any]
) -> None:
    params = {"runId": ended["runId"], "requestId": "again", **params}
    fork = client.call(method, params)
    assert "deduplicated" not in fork
    client.call("runs/get", {"runId": fork["runId"], "wait": True})
    before = _look(client, ended["runId"])
    again = client.call(method, {**params, "observability": None})
    assert (again["runId"], again["deduplicated"]) == (fork["runId"], True)
    check(client.refuse(method, {**params, "itemIndexes": [0]}), -32014, "conflict")
    assert _look(client, ended["runId"]) == before


def test_a_run_that_still_runs_is_not_travelled(client: RawClient) -> None:
    sleep = {"id": "s", "component": "/builtin/sleep", "input": {"duration_ms": 3600000}}
    flow = {"steps": [sleep], "output": {"$step": "s"}}
    run_id = client.call("runs/submit", {"flowId": client.put_flow(flow), "inputs": [1]})["runId"]
    check(client.refuse("runs/timeTravel", {"runId": run_id, "step": "s"}), -32014, "conflict")
    check(client.refuse("runs/restart", {"runId": run_id, "only": "failed"}), -32014, "conflict")
    assert client.call("runs/restart", {"runId": run_id})["runId"] == run_id
    client.call("runs/cancel", {"runId": run_id, "graceMs": 0})


def test_a_run_is_not_deleted_before_its_forks(client: RawClient, ended: Json) -> None:
    fork = client.call("runs/restart", {"runId": ended["runId"]})
    client.call("runs/get", {"runId": fork["runId"], "wait": True})
    check(client.refuse("runs/delete", {"runId": ended["runId"]}), -32014, "conflict")
    client.call("runs/delete", {"runId": fork["runId"]})
    client.call("runs/delete", {"runId": ended["runId"]})
