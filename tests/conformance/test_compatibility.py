"""Component servers of the published protocol's Python SDK, 0.7, run as they are (PROTOCOL §5).

The same server runs twice: with an imitation of `stepflow_py`, and with the real one where it is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.wire import PATIENCE_S, ROOT, Json, RawClient, ServedRuntime, make_flow, serve

HERE = Path(__file__).parent
IMITATION = str(HERE / "imitation")
DOUBLE = make_flow("/legacy/double")
FAIL = make_flow("/legacy/fail")


def find_stepflow_py() -> str:
    """The Python that has the real one."""
    python = os.environ.get("STEPFLOW_PY_PYTHON") or str(ROOT / ".venv-stepflow-py" / "bin" / "python")
    try:
        found = subprocess.run([python, "-c", "import stepflow_py"], capture_output=True, timeout=PATIENCE_S)
    except OSError:
        found = None
    if found is None or found.returncode != 0:
        pytest.skip(
            f"{python} has no stepflow_py: run `python -m venv .venv-stepflow-py` and "
            "`.venv-stepflow-py/bin/pip install stepflow-py==0.7.0`, or name another Python in STEPFLOW_PY_PYTHON"
        )
    return python


def make_config(python: str, python_path: str, **more: Any) -> Json:
    """A configuration with the legacy server as its only plugin."""
    server = {"command": python, "args": [str(HERE / "legacy_server.py")], "env": {"PYTHONPATH": python_path}}
    return {
        "plugins": {"legacy": {"type": "stepflow", "transport": "stdio", **server}},
        "routes": {"/legacy": [{"plugin": "legacy"}]},
        "retry": {"backoff": {"type": "constant", "delayMs": 1}},
        **more,
    }


@pytest.fixture(scope="module", params=["imitation", "stepflow-py 0.7"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    is_real = request.param != "imitation"
    config = make_config(find_stepflow_py(), "") if is_real else make_config(sys.executable, IMITATION)
    with serve(tmp_path_factory.mktemp("legacy"), config) as runtime:
        yield runtime


def succeed(client: RawClient, component: str, input: Any) -> Any:
    """The output of a component."""
    result = client.run_one(component, input)
    assert result["outcome"] == "success", result
    return result["value"]


def test_a_component_is_executed(client: RawClient) -> None:
    assert succeed(client, "/legacy/double", {"n": 21}) == {"n": 42}


def test_many_items_of_a_run_are_executed(client: RawClient) -> None:
    status = client.run(DOUBLE, [{"n": n} for n in range(300)])
    assert [entry["result"]["value"]["n"] for entry in status["results"]] == [2 * n for n in range(300)]


def test_any_exception_is_a_failure_of_the_component(client: RawClient) -> None:
    result = client.run_one("/legacy/fail", {})
    assert result["outcome"] == "failed"
    assert result["error"]["code"] == "COMPONENT_FAILED"
    assert "unlucky" in result["error"]["message"]


def test_a_component_that_it_does_not_have_fails_the_item_alone(client: RawClient) -> None:
    result = client.run_one("/legacy/nowhere", {})
    assert result["outcome"] == "failed"
    assert "/nowhere" in result["error"]["message"]
    assert succeed(client, "/legacy/double", {"n": 1}) == {"n": 2}


def test_blobs_are_put_and_got(client: RawClient) -> None:
    output = succeed(client, "/legacy/keep", {"deep": [1, {"a": None}]})
    assert output["data"] == {"deep": [1, {"a": None}]}
    assert client.call("blobs/get", {"blob_id": output["blob_id"]})["data"] == {"deep": [1, {"a": None}]}


def test_an_error_answered_by_the_runtime_reaches_the_component(client: RawClient) -> None:
    result = client.run_one("/legacy/find", {"blob_id": "blake3:" + "0" * 64})
    assert result["outcome"] == "failed"
    assert "-32005" in result["error"]["message"]


def test_a_flow_is_evaluated(client: RawClient) -> None:
    assert succeed(client, "/legacy/evaluate", {"flow": DOUBLE, "input": {"n": 4}}) == {"result": {"n": 8}}


def test_an_evaluation_that_gives_null_gives_null(client: RawClient) -> None:
    flow: Json = {"steps": [], "output": None}
    assert succeed(client, "/legacy/evaluate", {"flow": flow, "input": {}}) == {"result": None}


def test_a_failed_evaluation_has_a_number_for_a_code(client: RawClient) -> None:
    output = succeed(client, "/legacy/evaluate", {"flow": FAIL, "input": {}})
    assert output["code"] == -32000
    assert "unlucky" in output["message"]


def test_an_evaluation_is_a_sub_run_of_the_run_that_asked_for_it(client: RawClient) -> None:
    parent = client.run(make_flow("/legacy/evaluate"), [{"flow": DOUBLE, "input": {"n": 1}}])
    children = client.call("runs/list", {"parentRunId": parent["runId"]})["runs"]
    assert [child["status"] for child in children] == ["success"]


def test_evaluations_nest(client: RawClient) -> None:
    assert succeed(client, "/legacy/nest", {"depth": 6}) == {"reached": 6}


def test_a_batch_is_evaluated_in_order(client: RawClient) -> None:
    inputs = [{"n": n} for n in range(20)]
    output = succeed(client, "/legacy/fan_out", {"flow": DOUBLE, "inputs": inputs})
    assert output == {"results": [{"n": 2 * n} for n in range(20)]}


def test_a_failed_item_of_a_batch_is_named(client: RawClient) -> None:
    result = client.run_one("/legacy/fan_out", {"flow": DOUBLE, "inputs": [{"n": 1}, {}]})
    assert result["outcome"] == "failed"
    assert "index 1" in result["error"]["message"]


def test_a_batch_is_polled_until_it_has_ended(client: RawClient) -> None:
    details = succeed(client, "/legacy/poll", {"flow": DOUBLE, "inputs": [{"n": 1}, {}, {"n": 3}]})
    counts = {name: value for name, value in details.items() if name.endswith("_runs")}
    assert counts == {
        "total_runs": 3,
        "completed_runs": 2,
        "failed_runs": 1,
        "running_runs": 0,
        "cancelled_runs": 0,
        "paused_runs": 0,
    }
    assert details["flow_name"] == "one step"


def test_metadata_of_flow_and_step_are_told(client: RawClient) -> None:
    flow = {**make_flow("/legacy/metadata", metadata={"colour": "red"}), "metadata": {"team": "x"}, "version": "1.2"}
    (entry,) = client.run(flow, [{}])["results"]
    assert entry["result"]["value"] == {
        "flow_metadata": {"name": "one step", "version": "1.2", "team": "x"},
        "step_metadata": {"colour": "red"},
    }


def test_metadata_of_a_step_that_is_not_there_are_not_told(client: RawClient) -> None:
    output = succeed(client, "/legacy/metadata", {"step_id": "nowhere"})
    assert output == {"flow_metadata": {"name": "one step"}}


def test_the_context_knows_where_it_is(client: RawClient) -> None:
    status = client.run(make_flow("/legacy/tell"), [{}])
    assert status["results"][0]["result"]["value"] == {
        "run_id": status["runId"],
        "flow_id": status["flowId"],
        "step_id": "only",
        "attempt": 1,
    }


def test_what_a_component_prints_harms_nothing(client: RawClient) -> None:
    assert succeed(client, "/legacy/chat", {}) == {}
    assert succeed(client, "/legacy/double", {"n": 1}) == {"n": 2}


LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only there a pipe can be made to hold so much")


@pytest.mark.parametrize("length", [1_000, 60_000, pytest.param(400_000, marks=LINUX_ONLY)])
def test_a_large_output_arrives(client: RawClient, length: int) -> None:
    assert len(succeed(client, "/legacy/grow", {"length": length})["text"]) == length


def test_an_input_that_it_can_just_read_is_sent(client: RawClient) -> None:
    assert succeed(client, "/legacy/double", {"n": 1, "text": "x" * 500_000}) == {"n": 2}


def test_an_input_that_it_cannot_read_fails_its_item_and_loses_no_other(client: RawClient) -> None:
    status = client.run(DOUBLE, [{"n": 1}, {"n": 2, "text": "x" * 600_000}, {"n": 3}])
    assert [entry["result"]["outcome"] for entry in status["results"]] == ["success", "failed", "success"]


def test_a_run_is_cancelled_although_the_server_knows_of_no_cancelling(client: RawClient) -> None:
    flow_id = client.put_flow(make_flow("/legacy/nap"))
    run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [{"s": 30}]})["runId"]
    assert client.call("runs/cancel", {"runId": run_id, "graceMs": 10})["outcome"] == "cancelled"
    assert succeed(client, "/legacy/double", {"n": 1}) == {"n": 2}


def test_a_later_server_may_submit_runs(client: RawClient, request: pytest.FixtureRequest) -> None:
    if "imitation" not in request.node.name:
        pytest.skip("stepflow-py 0.7 has no runs/submit")
    output = succeed(client, "/legacy/submit", {"flow": DOUBLE, "inputs": [{"n": 1}, {"n": 2}]})
    assert [entry["result"]["value"] for entry in output["results"]] == [{"n": 2}, {"n": 4}]


def test_evaluations_end_although_all_server_slots_wait_for_them(tmp_path: Path) -> None:
    config = make_config(sys.executable, IMITATION, limits={"maxInFlight": 2})
    with serve(tmp_path, config) as runtime, runtime.connect() as client:
        inputs = [{"flow": DOUBLE, "input": {"n": n}} for n in range(4)]
        status = client.run(make_flow("/legacy/evaluate"), inputs, timeoutMs=10_000)
        assert status["items"]["success"] == 4, status["items"]
