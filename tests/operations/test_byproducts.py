"""What runs make beside their results is kept as long as the run, in a database of any release, and no longer."""

from __future__ import annotations

import gzip
from pathlib import Path

from tests.conformance.wire import RawClient, serve
from tests.operations.test_db import FIRST_RELEASE, check, stepflow, with_state


def put(client: RawClient, run_id: str, content: str) -> str:
    blob_id: str = client.call("blobs/put", {"data": content, "blob_type": "binary"})["blob_id"]
    client.call("runs/artifacts/put", {"runId": run_id, "name": "a", "mimeType": "image/png", "blobId": blob_id})
    return blob_id


def collect(path: Path) -> str:
    code, said = stepflow("db", "gc", "--keep", "0s", "--storage-path", path)
    assert code == 0, said
    return said


def test_runs_of_the_first_release_make_streams_and_artifacts(tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    path.write_bytes(gzip.decompress(FIRST_RELEASE.read_bytes()))
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        run_id = next(run["runId"] for run in client.call("runs/list")["runs"] if run.get("flowLabel") == "open")
        client.call("runs/streams/write", {"runId": run_id, "chunks": [1, 2.50]})
        put(client, run_id, "AAEC")
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        assert client.call("runs/streams/read", {"runId": run_id})["tailIndex"] == 2
        assert len(client.call("runs/artifacts/list", {"runId": run_id})["artifacts"]) == 1
    assert check(path)[0] == 0


def test_a_blob_that_an_artifact_or_a_chunk_names_is_kept_until_the_run_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        flow_id = client.put_flow({"steps": [], "output": 1})
        run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [], "sealed": False})["runId"]
        kept = put(client, run_id, "AAEC")
        named = client.call("blobs/put", {"data": "named in a chunk"})["blob_id"]
        client.call("runs/streams/write", {"runId": run_id, "chunks": [{"see": named}]})
        doomed = client.call("blobs/put", {"data": "named nowhere"})["blob_id"]
        client.call("runs/cancel", {"runId": run_id})
    collect(path)
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        assert client.call("blobs/get", {"blob_id": kept})["data"] == "AAEC"
        assert client.call("blobs/get", {"blob_id": named})["data"] == "named in a chunk"
        assert client.refuse("blobs/get", {"blob_id": doomed}).code == -32005
        client.call("runs/delete", {"runId": run_id})
    collect(path)
    with serve(tmp_path, with_state(path)) as runtime, runtime.connect() as client:
        assert client.refuse("blobs/get", {"blob_id": kept}).code == -32005
