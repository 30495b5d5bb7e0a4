"""`stepflow runs restart` and `time-travel`, with a runtime that serves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stepflow_runtime.app.cli.cli_kit import Stepflow


@pytest.fixture
def failed(address: str, stepflow: Stepflow) -> Any:
    """A run of two items of which the second one failed."""
    rows = "\n".join(json.dumps({"n": n}) for n in (1, 99))
    with open("rows.jsonl", "w") as file:
        file.write(rows)
    done = stepflow("submit", "flow.yaml", "--inputs", "rows.jsonl", "--wait", "-o", "json")
    run_id = stepflow("runs", "list", "-o", "jsonl").lines[0]["runId"]
    assert done.code == 1
    return run_id


def test_what_failed_is_restarted_in_a_fork(failed: str, stepflow: Stepflow) -> None:
    done = stepflow("runs", "restart", failed, "--only", "failed", "--wait", "-o", "json")
    assert done.code == 1
    assert done.json["forkedFrom"] == failed
    assert done.json["items"]["failed"] == 1
    assert failed in stepflow("runs", "get", done.json["runId"]).out


def test_a_step_goes_again_with_another_input(failed: str, stepflow: Stepflow) -> None:
    done = stepflow("runs", "time-travel", failed, "double", "--input", "2", "--item", "1", "--wait", "-o", "json")
    assert (done.code, done.json["status"]) == (0, "success")
    results = stepflow("runs", "get", done.json["runId"], "--results", "-o", "jsonl").lines
    assert [entry["result"]["value"] for entry in results] == [2, 4]


@pytest.mark.parametrize("command", [["restart"], ["time-travel", "double"]])
def test_what_is_said_twice_under_one_id_is_done_once(failed: str, stepflow: Stepflow, command: list[str]) -> None:
    args = [command[0], failed, *command[1:], "-o", "json"]
    once = stepflow("runs", *args, "--request-id", "once").json["runId"]
    assert stepflow("runs", *args, "--request-id", "once").json["runId"] == once
    assert stepflow("runs", *args).json["runId"] != once


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["time-travel", "RUN", "nothing"], "has no step 'nothing'"),
        (["time-travel", "RUN", "double", "--item", "7"], "itemIndexes must name items"),
        (["time-travel", "RUN", "double", "--context", "x"], "--context takes KEY=VALUE"),
        (["time-travel", "RUN", "double", "--input", "{"], "--input"),
        (["restart", "RUN", "--item", "7"], "itemIndexes must name items"),
        (["restart", "00000000-0000-7000-8000-000000000000"], "there is no run"),
    ],
)
def test_what_cannot_be_is_explained(failed: str, stepflow: Stepflow, args: list[str], words: str) -> None:
    done = stepflow("runs", *[failed if arg == "RUN" else arg for arg in args])
    assert done.code != 0
    assert words in done.err
    assert "Traceback" not in done.err
