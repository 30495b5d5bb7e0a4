"""Every bad input gets a clear error with its code, and loses nothing: the same connection and the same runs go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.wire import PATIENCE_S, ROOT, Answered, Json, RawClient, ServedRuntime, make_flow, serve

SERVER = str(Path(__file__).with_name("crashing_server.py"))
ECHO = make_flow("/crashing/echo")
MISSING_FLOW = "blake3:" + "0" * 64
CYCLE = {
    "steps": [
        {"id": "a", "component": "/crashing/echo", "input": {"$step": "b"}},
        {"id": "b", "component": "/crashing/echo", "input": {"$step": "a"}},
    ],
    "output": {"$step": "a"},
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    def plugin(*args: str) -> Json:
        return {"type": "stepflow", "transport": "stdio", "command": sys.executable, "args": [SERVER, *args]}

    folder = tmp_path_factory.mktemp("bad")
    config = {
        "plugins": {"crashing": plugin(), "stillborn": plugin("now"), "builtin": {"type": "builtin"}},
        "routes": {name: [{"plugin": name[1:]}] for name in ("/crashing", "/stillborn", "/builtin")},
        "storage": {"type": "sqlite", "path": str(folder / "state.db")},
        "retry": {"backoff": {"type": "constant", "delayMs": 1}},
        "limits": {"unavailableTimeoutMs": 3000},
    }
    with serve(folder, config) as runtime:
        yield runtime


@pytest.fixture
def client(runtime: ServedRuntime) -> Generator[RawClient]:
    """A connection on which a run goes on beside the bad input, and which works afterwards as before."""
    with runtime.connect() as client:
        flow_id = client.put_flow(ECHO)
        beside = client.call("runs/submit", {"flowId": flow_id, "inputs": [1], "sealed": False})["runId"]
        yield client
        client.call("runs/append", {"runId": beside, "atIndex": 1, "inputs": [2], "sealed": True})
        status = client.call("runs/get", {"runId": beside, "wait": True, "includeResults": True})
        assert [entry["result"]["value"] for entry in status["results"]] == [1, 2]


def check(error: Answered, code: int, type: str, *words: str) -> None:
    """An error is of this code, and its message has these words."""
    assert error.code == code, error
    assert error.data["type"] == type
    for word in words:
        assert word in error.message, error.message
    assert "Traceback" not in str(error)


def refuse_submit(client: RawClient, **params: Any) -> Answered:
    """What `runs/submit` answers; there must be no run of it."""
    before = client.call("runs/list")["runs"]
    error = client.refuse("runs/submit", {"flowId": client.put_flow(ECHO), "inputs": [1], **params})
    assert len(client.call("runs/list")["runs"]) == len(before)
    return error


def test_a_flow_that_is_unknown(client: RawClient) -> None:
    error = refuse_submit(client, flowId=MISSING_FLOW)
    check(error, -32005, "notFound", MISSING_FLOW)
    assert error.data["kind"] == "flow"


@pytest.mark.parametrize("flow_id", ["", "blake3:xyz", "../../etc/passwd", "\x00"])
def test_a_flow_id_that_is_none(client: RawClient, flow_id: str) -> None:
    check(refuse_submit(client, flowId=flow_id), -32005, "notFound")


@pytest.mark.parametrize("blob", [{"steps": "none"}, [], "flow", {"steps": [{"id": "a"}], "output": 1}])
def test_a_blob_that_is_no_flow(client: RawClient, blob: Any) -> None:
    blob_id = client.call("blobs/put", {"data": blob})["blob_id"]
    error = refuse_submit(client, flowId=blob_id)
    check(error, -32017, "validationFailed")
    assert error.data["issues"]


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"inputs": "x"}, "$.inputs"),
        ({"inputs": {"a": 1}}, "$.inputs"),
        ({"inputs": None}, "$.inputs"),
        ({"flowId": 7}, "$.flowId"),
        ({"wait": "yes"}, "$.wait"),
        ({"overrides": []}, "$.overrides"),
        ({"labels": {"a": 1}}, "$.labels[...]"),
        ({"failurePolicy": "sometimes"}, "$.failurePolicy"),
        ({"timeoutMs": -1}, "$.timeoutMs"),
        ({"maxConcurrency": 0}, "$.maxConcurrency"),
        ({"maxConcurrency": -1}, "$.maxConcurrency"),
        ({"maxConcurrency": 1.5}, "$.maxConcurrency"),
        ({"maxConcurrency": "5"}, "$.maxConcurrency"),
        ({"maxConcurrency": True}, "$.maxConcurrency"),
    ],
)
def test_params_of_a_wrong_type(client: RawClient, params: Json, place: str) -> None:
    error = refuse_submit(client, **params)
    check(error, -32602, "invalidParams", "runs/submit")
    assert error.data["path"] == place


def test_params_that_are_missing(client: RawClient) -> None:
    check(client.refuse("runs/submit", {"inputs": []}), -32602, "invalidParams", "flowId")


def test_overrides_of_a_step_that_is_unknown(client: RawClient) -> None:
    error = refuse_submit(client, overrides={"steps": {"nowhere": {"value": {"input": 1}}}})
    check(error, -32017, "validationFailed", "nowhere")
    assert any("nowhere" in issue["path"] for issue in error.data["issues"])


def test_overrides_that_make_the_flow_invalid(client: RawClient) -> None:
    error = refuse_submit(client, overrides={"steps": {"only": {"value": {"input": {"$step": "only"}}}}})
    check(error, -32017, "validationFailed")


def test_a_flow_with_a_cycle(client: RawClient) -> None:
    error = client.refuse("blobs/put", {"data": CYCLE, "blob_type": "flow"})
    check(error, -32017, "validationFailed", "a", "b")
    assert error.data["issues"][0]["path"].startswith("/steps/")
    blob_id = client.call("blobs/put", {"data": CYCLE})["blob_id"]
    check(refuse_submit(client, flowId=blob_id), -32017, "validationFailed")


@pytest.mark.parametrize(
    "method", ["runs/get", "runs/items", "runs/itemStates", "runs/steps", "runs/events", "runs/cancel", "runs/delete"]
)
def test_a_run_that_is_unknown(client: RawClient, method: str) -> None:
    run_id = "00000000-0000-7000-8000-000000000000"
    error = client.refuse(method, {"runId": run_id})
    check(error, -32010, "runNotFound", run_id)
    assert error.data["runId"] == run_id


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 100_001}, {"startIndex": -1}])
def test_states_of_items_beyond_the_bounds(client: RawClient, params: Json) -> None:
    run_id = "00000000-0000-7000-8000-000000000000"
    error = client.refuse("runs/itemStates", {"runId": run_id, **params})
    check(error, -32602, "invalidParams", next(iter(params)))


TEMPLATE: Json = {"flowId": MISSING_FLOW, "inputs": []}
NIGHTLY: Json = {"cron": "0 2 * * *", "timeZone": "UTC", "run": TEMPLATE}
HOOK: Json = {"url": "https://receiver.example/", "events": ["run.completed"]}


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("jobs/submit", {"runs": []}, -32602, "runs"),
        ("jobs/submit", {}, -32602, "runs"),
        ("jobs/submit", {"runs": [{"inputs": []}]}, -32602, "flowId"),
        ("jobs/submit", {"runs": [TEMPLATE]}, -32005, "run 0 of the job"),
        ("jobs/get", {"jobRunId": "none"}, -32005, "there is no job none"),
        ("jobs/get", {}, -32602, "jobRunId"),
        ("jobs/cancel", {"jobRunId": "none"}, -32005, "there is no job none"),
        ("jobs/list", {"cursor": "%%%"}, -32602, "cursor"),
        ("jobs/list", {"limit": 0}, -32602, "limit"),
        ("schedules/create", NIGHTLY, -32005, MISSING_FLOW),
        ("schedules/create", {**NIGHTLY, "cron": "at night"}, -32602, "no cron expression"),
        ("schedules/create", {**NIGHTLY, "cron": ""}, -32602, "cron"),
        ("schedules/create", {**NIGHTLY, "timeZone": "Mars"}, -32602, "no time zone"),
        ("schedules/create", {**NIGHTLY, "overlap": "both"}, -32602, "overlap"),
        ("schedules/create", {**NIGHTLY, "catchUpMs": -1}, -32602, "catchUpMs"),
        ("schedules/create", {**NIGHTLY, "requestId": 7}, -32602, "requestId"),
        ("webhooks/register", {**HOOK, "requestId": []}, -32602, "requestId"),
        ("schedules/pause", {"scheduleId": "none"}, -32005, "there is no schedule none"),
        ("schedules/unpause", {"scheduleId": "none"}, -32005, "there is no schedule none"),
        ("schedules/delete", {"scheduleId": "none"}, -32005, "there is no schedule none"),
        ("webhooks/register", {**HOOK, "url": ""}, -32602, "url"),
        ("webhooks/register", {**HOOK, "url": "http://receiver.example/"}, -32602, "scheme must be https"),
        ("webhooks/register", {**HOOK, "url": "https://169.254.169.254/"}, -32602, "not on the public internet"),
        ("webhooks/register", {**HOOK, "url": "https://[::ffff:10.0.0.1]/"}, -32602, "not on the public internet"),
        ("webhooks/register", {**HOOK, "events": []}, -32602, "events"),
        ("webhooks/register", {**HOOK, "events": ["run.finished"]}, -32602, "run.finished"),
        ("webhooks/register", {**HOOK, "secret": "hush"}, -32602, "whsec_"),
        ("webhooks/delete", {"webhookId": "none"}, -32005, "there is no webhook none"),
        ("webhooks/redeliver", {}, -32602, "deliveryId"),
        ("webhooks/redeliver", {"deliveryId": "none"}, -32005, "there is no delivery none"),
        ("webhooks/deliveries", {"status": "lost"}, -32602, "status"),
    ],
)
def test_jobs_schedules_and_webhooks_that_cannot_be(
    client: RawClient, method: str, params: Json, code: int, words: str
) -> None:
    check(client.refuse(method, params), code, {-32602: "invalidParams", -32005: "notFound"}[code], words)
    assert client.call("jobs/list")["jobs"] == []
    assert client.call("schedules/list")["schedules"] == []
    assert client.call("webhooks/list")["webhooks"] == []


def test_a_request_id_that_was_used_for_something_else(client: RawClient) -> None:
    nightly = {**NIGHTLY, "run": {**TEMPLATE, "flowId": client.put_flow(ECHO)}, "requestId": "r-1"}
    for thing, verb, params, other in (
        ("schedule", "create", nightly, {"cron": "0 3 * * *"}),
        ("webhook", "register", {**HOOK, "requestId": "r-1"}, {"events": ["run.created"]}),
    ):
        made = client.call(f"{thing}s/{verb}", params)
        again = client.call(f"{thing}s/{verb}", params)
        assert again == {**made, "deduplicated": True}
        error = client.refuse(f"{thing}s/{verb}", {**params, **other})
        check(error, -32014, "conflict", f"the requestId 'r-1' was used for another {thing}: use a new one")
        assert error.data[f"{thing}Id"] == made[f"{thing}Id"]
        client.call(f"{thing}s/delete", {f"{thing}Id": made[f"{thing}Id"]})


def test_a_run_with_a_webhook_that_cannot_be(client: RawClient) -> None:
    error = refuse_submit(client, webhook={"url": "https://127.0.0.1/"})
    check(error, -32602, "invalidParams", "not on the public internet")


def test_a_blob_that_is_unknown(client: RawClient) -> None:
    error = client.refuse("blobs/get", {"blob_id": MISSING_FLOW})
    check(error, -32005, "notFound", MISSING_FLOW)
    assert error.data["kind"] == "blob"


def test_the_older_methods_refuse_alike(client: RawClient) -> None:
    check(client.refuse("flows/evaluate", {"flow_id": MISSING_FLOW, "input": 1}), -32005, "notFound")
    check(client.refuse("flows/get_metadata", {"flow_id": MISSING_FLOW}), -32005, "notFound")
    check(client.refuse("flows/submit_batch", {"flow_id": MISSING_FLOW, "inputs": 1}), -32602, "invalidParams")
    check(client.refuse("flows/get_batch", {"batch_id": "none"}), -32010, "runNotFound")


@pytest.mark.parametrize("component", ["/nowhere/at_all", "no_route", "/builtin/nothing"])
def test_a_component_that_is_not_there_fails_its_items_alone(client: RawClient, component: str) -> None:
    flow = {
        "steps": [{"id": "a", "component": component, "input": 1}],
        "output": {"$if": {"$input": "breaks"}, "then": {"$step": "a"}, "else": "fine"},
    }
    status = client.run(flow, [{"breaks": True}, {"breaks": False}])
    failed, fine = (entry["result"] for entry in status["results"])
    assert failed["error"]["code"] == "COMPONENT_NOT_FOUND"
    assert component.split("/")[-1] in failed["error"]["message"]
    assert fine == {"outcome": "success", "value": "fine"}
    assert status["status"] == "failed"


def test_a_server_that_exits_when_it_is_called(client: RawClient) -> None:
    flow = {
        "steps": [
            {"id": "die", "component": "/crashing/die"},
            {"id": "echo", "component": "/crashing/echo", "input": {"$input": "n"}},
        ],
        "output": {"$if": {"$input": "dies"}, "then": {"$step": "die"}, "else": {"$step": "echo"}},
    }
    status = client.run(flow, [{"dies": n == 3, "n": n} for n in range(6)])
    results = [entry["result"] for entry in status["results"]]
    assert [result.get("value") for result in results] == [0, 1, 2, None, 4, 5]
    error = results[3]["error"]
    assert error["code"] == "UNREACHABLE"
    assert "status 3" in error["message"]
    assert "the disk is gone" in str(error)


def test_a_server_that_exits_at_once(client: RawClient) -> None:
    error = client.run_one("/stillborn/echo", 1)["error"]
    assert error["code"] == "UNREACHABLE"
    assert "stillborn" in error["message"]
    assert "no licence" in str(error)


# --- files ---


def stepflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the command line does in a folder."""
    command = [sys.executable, "-m", "stepflow_runtime.app.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def check_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A command ended with 2, wrote nothing to stdout, and said these words in one sentence."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_flow_file_with_a_key_twice(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("name: twice\nsteps: []\nname: again\noutput: 1\n")
    for command in ("run", "submit"):
        arguments = ("--input", "1") if command == "run" else ("--url", "127.0.0.1:1")
        check_refused(stepflow(tmp_path, command, "flow.yaml", *arguments), "flow.yaml", "name", "3")


def test_a_configuration_with_a_key_twice(tmp_path: Path) -> None:
    (tmp_path / "stepflow-config.yml").write_text("plugins:\n  a: {type: builtin}\n  a: {type: builtin}\nroutes: {}\n")
    check_refused(stepflow(tmp_path, "serve"), "stepflow-config.yml", "a", "3")


def test_a_flow_file_with_a_cycle(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        "steps:\n- {id: a, component: /x/y, input: {$step: b}}\n- {id: b, component: /x/y, input: {$step: a}}\n"
        "output: {$step: a}\n"
    )
    check_refused(stepflow(tmp_path, "run", "flow.yaml", "--input", "1"), "flow.yaml")


def test_a_flow_file_that_is_not_there(tmp_path: Path) -> None:
    check_refused(stepflow(tmp_path, "run", "nowhere.yaml", "--input", "1"), "nowhere.yaml")


def test_an_input_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("steps: []\noutput: 1\n")
    check_refused(stepflow(tmp_path, "run", "flow.yaml", "--input", "{oops"), "--input")


def test_types_are_asked_for_with_true_and_of_flows_that_can_run(client: RawClient) -> None:
    check(client.refuse("flows/validate", {"flow": ECHO, "types": "yes"}), -32602, "invalidParams")
    check(client.refuse("flows/validate", {"types": True}), -32602, "invalidParams")
    cyclic = client.call("flows/validate", {"flow": CYCLE, "types": True})
    assert "types" not in cyclic
    assert [finding["code"] for finding in cyclic["diagnostics"] if finding["severity"] == "error"] == ["cycle"]


def test_components_that_say_nothing_have_unknown_types(client: RawClient) -> None:
    flow = {
        "steps": [
            {"id": "dead", "component": "/stillborn/echo", "input": 1},
            {"id": "missing", "component": "/crashing/nowhere", "input": {"$step": "dead"}},
            {"id": "noop", "component": "/builtin/noop", "input": {"$step": "missing"}},
        ],
        "output": {"$step": "noop"},
    }
    answer = client.call("flows/validate", {"flow": flow, "types": True})
    assert {finding["code"] for finding in answer["diagnostics"]} == {"component_unavailable", "unknown_component"}
    assert answer["types"]["output"] == {}
    assert [step["fit"] for step in answer["types"]["steps"]] == ["unknown", "unknown", "fits"]
