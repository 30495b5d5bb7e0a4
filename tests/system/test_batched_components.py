"""Components that take batches, in processes of their own: the same results as one by one, also when one dies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.conformance.wire import make_flow, serve
from tests.system.servers import config

SERVER: Final = """
import json
import os

from component_sdk import Batch, ComponentServer, StepflowContext

server = ComponentServer()


@server.component
async def invert(number: float) -> float:
    return 1 / number


@server.component(batch=Batch(max_size=10, max_wait_s=0.001))
async def invert_many(numbers: list[float]) -> list[float | Exception]:
    return [1 / n if n else ZeroDivisionError("float division by zero") for n in numbers]


@server.component(batch=Batch(max_size=10))
def deadly(numbers: list[int], ctxs: list[StepflowContext]) -> list[int]:
    with open(os.environ["TRACK"], "a") as track:
        for ctx in ctxs:
            print(json.dumps([ctx.item_index, ctx.attempt, len(numbers)]), file=track)
    if 13 in numbers:
        os._exit(1)
    return numbers


if __name__ == "__main__":
    server.run()
""".replace("ctxs: list[StepflowContext]", "ctxs")

BY_HAND: Final = """
import json
import sys


def answer(message, **result):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **result}), flush=True)


for line in sys.stdin:
    message = json.loads(line)
    params = message.get("params")
    match message["method"]:
        case "initialize":
            answer(message, result={"server_protocol_version": 1, "capabilities": ["batch"]})
        case "components/list":
            batch = {"max_size": 4, "max_wait_ms": 3600000}
            answer(message, result={"components": [{"component": "/label", "batch": batch}]})
        case "components/execute_batch":
            results = [{"output": [call["input"], call["attempt"], len(params["calls"])]} for call in params["calls"]]
            if params["calls"][0]["attempt"] == 1 and params["calls"][0]["input"] == 4:
                results.pop()
            answer(message, result={"results": results})
        case "components/execute":
            answer(message, result={"output": [params["input"], params["attempt"], 1]})
"""

SOON: Final = {"backoff": {"type": "constant", "minDelayMs": 1}}


def results_of(status: Any) -> list[Any]:
    return [entry["result"] for entry in status["results"]]


def test_a_batched_component_gives_what_a_single_one_gives(tmp_path: Path) -> None:
    inputs: list[Any] = [n % 50 for n in range(2000)]
    inputs[7] = "no number"
    with serve(tmp_path, config(tmp_path, SERVER)) as runtime, runtime.connect() as client:
        single, many = [
            client.run(make_flow(f"/python/{name}"), inputs, maxConcurrency=137) for name in ("invert", "invert_many")
        ]
    assert many["items"] == single["items"]
    assert many["items"]["failed"] == 2000 // 50 + 1
    for one, other in zip(results_of(single), results_of(many), strict=True):
        for result in (one, other):
            result.get("error", {}).pop("data", None)  # its stack is of another function
        assert json.loads(json.dumps(other).replace("/invert_many", "/invert")) == one


def test_who_kills_the_process_of_a_batch_is_found_alone_and_the_others_are_spared(tmp_path: Path) -> None:
    track = tmp_path / "track"
    parts = {**config(tmp_path, SERVER, env={"TRACK": str(track)}), "retry": {"transportMaxRetries": 3, **SOON}}
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        status = client.run(make_flow("/python/deadly"), list(range(10, 20)))
    executions = [json.loads(line) for line in track.read_text().splitlines()]
    errors = {entry["itemIndex"]: entry["result"].get("error") for entry in status["results"]}
    assert [index for index, error in errors.items() if error] == [3]
    assert errors[3]["code"] == "UNREACHABLE"
    for item in range(10):
        attempts = [(attempt, size) for index, attempt, size in executions if index == item]
        assert attempts == [(1, 10), (2, 10), (3, 1), (4, 1)][: 4 if item == 3 else 3]


def test_a_server_written_by_hand_takes_batches_and_is_lost_if_it_forgets_an_entry(tmp_path: Path) -> None:
    parts = {**config(tmp_path, BY_HAND), "retry": SOON}
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        assert client.run_one("/python/label", "warm")["value"] == ["warm", 1, 1], "nobody is waited for"
        status = client.run(make_flow("/python/label"), list(range(9)))
    assert status["items"]["success"] == 9
    values = [result["value"] for result in results_of(status)]
    assert [value[0] for value in values] == list(range(9))
    assert all(attempt == 2 for _, attempt, _ in values[4:8]), "the batch that was one entry short ran again"
