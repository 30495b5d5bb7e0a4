"""Old runs go, what goes on stays, and no blob goes that a run can reach."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import pytest

from stepflow_runtime.store.garbage import find_names
from tests.conformance.wire import RawClient, make_flow, serve
from tests.operations.test_db import execute, stepflow, with_state

LONG_AGO: Final = 10**6


def put(client: RawClient, data: Any, kind: str = "data") -> str:
    blob_id: str = client.call("blobs/put", {"data": data, "blob_type": kind})["blob_id"]
    return blob_id


def submit(client: RawClient, flow_id: str, inputs: list[Any], **params: Any) -> str:
    run_id: str = client.call("runs/submit", {"flowId": flow_id, "inputs": inputs, **params})["runId"]
    return run_id


def run_ids(client: RawClient) -> set[str]:
    return {run["runId"] for run in client.call("runs/list")["runs"]}


def age_blobs(path: Path) -> None:
    execute(path, "UPDATE blobs SET last_put_at = last_put_at - ?", LONG_AGO)


def collect(path: Path, *options: str) -> str:
    code, said = stepflow("db", "gc", "--storage-path", path, *options)
    assert code == 0, said
    return said


def blobs(path: Path) -> set[str]:
    return {blob_id for (blob_id,) in execute(path, "SELECT blob_id FROM blobs")}


# --- runs ---


def test_old_runs_are_deleted_and_young_or_unfinished_ones_stay(tmp_path: Path) -> None:
    with serve(tmp_path, with_state(tmp_path / "state.db")) as runtime, runtime.connect() as client:
        url = "{}:{}".format(*runtime.address)
        flow_id = client.put_flow(make_flow("/builtin/noop"))
        nested = client.put_flow(make_flow("/builtin/eval"))
        old = submit(client, nested, [{"flow_id": flow_id, "input": 1}], wait=True)
        bad = submit(client, client.put_flow(make_flow("/mock/double")), [99], wait=True)
        open_run = submit(client, flow_id, [1], sealed=False)
        time.sleep(6.1)  # ages are whole seconds, and the young run must stay young
        young = submit(client, flow_id, [1], wait=True)
        assert len(run_ids(client)) == 5, "one of them is a sub-run"

        code, said = stepflow("runs", "delete", "--older-than", "6s", "--status", "success", "--dry-run", "--url", url)
        assert (code, old in said, "1 run would be deleted" in said) == (0, True, True), said
        assert len(run_ids(client)) == 5
        code, said = stepflow("runs", "delete", "--older-than", "6s", "--status", "success", "--url", url)
        assert code == 0, said
        assert run_ids(client) == {bad, open_run, young}
        assert stepflow("runs", "delete", "--older-than", "6s", "--url", url)[0] == 0
        assert run_ids(client) == {open_run, young}


def test_ages_are_read_and_nothing_is_deleted_by_mistake() -> None:
    for options in (["--older-than", "soon"], [], ["a-run", "--older-than", "1d"]):
        assert stepflow("runs", "delete", *options)[0] == 2


# --- blobs ---


def test_nothing_goes_that_a_run_can_reach(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        deepest = put(client, {"n": "deepest"})
        named_in_blob = put(client, {"n": "named in a blob", "see": deepest})
        sub_flow = client.put_flow({**make_flow("/builtin/noop"), "name": "named in a flow"})
        flow = make_flow("/builtin/eval", input={"flow_id": {"$literal": sub_flow}, "input": {"$input": "$"}})
        in_input, escaped = put(client, "in an input"), put(client, "escaped in an input")
        in_output = put(client, "in an output")
        raw_input = f'{{"a": "{in_input}", "b": "\\u0062{escaped[1:]}"}}'
        flow_id = client.put_flow(flow)
        params = f'{{"flowId": "{flow_id}", "inputs": [{raw_input}], "wait": true}}'
        answer = client.ask(f'{{"jsonrpc": "2.0", "id": "x", "method": "runs/submit", "params": {params}}}')
        assert answer["result"]["status"] == "success"
        submit(client, client.put_flow(make_flow("/builtin/put_blob")), [{"data": "stored by a step"}], wait=True)
        overridden = put(client, "in an override")
        noop = client.put_flow(make_flow("/builtin/noop"))
        override = {
            "steps": {"only": {"value": {"input": {"$literal": {"x": [overridden, named_in_blob, in_output]}}}}}
        }
        submit(client, noop, [0], wait=True, overrides=override)
        unreachable = {put(client, {"n": n}) for n in range(3)} | {put(client, "aGVsbG8=", "binary")}
    before = blobs(path)
    age_blobs(path)
    assert "4 blobs" in collect(path, "--dry-run")
    assert blobs(path) == before
    assert "4 blobs" in collect(path)
    assert before - blobs(path) == unreachable
    assert {deepest, named_in_blob, sub_flow, in_input, escaped, overridden, noop, flow_id} <= blobs(path)
    assert stepflow("db", "check", "--storage-path", path)[0] == 0


def test_when_its_runs_are_deleted_a_flow_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        run_id = submit(client, client.put_flow(make_flow("/builtin/noop")), [1], wait=True)
        client.call("runs/delete", {"runId": run_id})
    age_blobs(path)
    collect(path)
    assert blobs(path) == set()


def test_what_was_put_lately_stays_and_putting_it_again_makes_it_so(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        forgotten, used = put(client, 1), put(client, 2)
    collect(path)
    assert blobs(path) == {forgotten, used}
    age_blobs(path)
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        assert put(client, 2) == used
    collect(path)
    assert blobs(path) == {used}


def test_a_runtime_that_serves_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        put(client, 1)
        code, said = stepflow("db", "gc", "--keep", "0s", "--storage-path", path)
        assert (code, "Another runtime uses the database" in said) == (2, True), said


@pytest.mark.parametrize("text", ["{0}", '{{"a":["{0}"]}}', "x{0}y", "\\u0062lake3:{1}", "blake3\\u003a{1}"])
def test_names_are_found_wherever_they_stand(text: str) -> None:
    blob_id = "blake3:" + "0a" * 32
    assert list(find_names(text.format(blob_id, "0a" * 32).encode())) == [blob_id]
