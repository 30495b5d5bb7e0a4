"""Bad input about streams, artifacts and checkpoints: each has its code, and changes nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.conformance.test_bad_input import check
from tests.conformance.wire import Json, RawClient, ServedRuntime, make_flow, serve

NOWHERE = "00000000-0000-7000-8000-000000000000"
MISSING = "blake3:" + "0" * 64


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    config = {
        "plugins": {"builtin": {"type": "builtin"}},
        "routes": {"/builtin": [{"plugin": "builtin"}]},
        "limits": {"maxStreamChunkBytes": 20, "maxStreamWriteChunks": 3, "maxStreamBytes": 50, "maxStreams": 2},
    }
    with serve(tmp_path_factory.mktemp("byproducts"), config) as runtime:
        yield runtime


class OpenRun:
    """A run that goes on, with one chunk in its stream."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        flow_id = client.put_flow(make_flow("/builtin/noop"))
        self.run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [], "sealed": False})["runId"]
        self.call("runs/streams/write", chunks=["first"])

    def call(self, method: str, **params: Any) -> Any:
        return self.client.call(method, {"runId": self.run_id, **params})

    def refuse(self, method: str, code: int, type: str, *words: str, **params: Any) -> Json:
        error = self.client.refuse(method, {"runId": self.run_id, **params})
        check(error, code, type, *words)
        data: Json = error.data
        return data


@pytest.fixture
def run(runtime: ServedRuntime) -> Generator[OpenRun]:
    """At the end its stream is as it was, and it has put nothing."""
    with runtime.connect() as client:
        run = OpenRun(client)
        yield run
        assert [chunk["data"] for chunk in run.call("runs/streams/read")["chunks"]] == ["first"]
        assert run.call("runs/streams/list") == {"streams": [{"namespace": "default", "tailIndex": 1, "closed": False}]}
        assert run.call("runs/artifacts/list") == {"artifacts": []}


PARAMS: Json = {
    "runs/streams/write": {"chunks": [1]},
    "runs/streams/read": {},
    "runs/streams/close": {},
    "runs/streams/list": {},
    "runs/artifacts/put": {"name": "a", "mimeType": "text/plain", "blobId": MISSING},
    "runs/artifacts/list": {},
    "runs/artifacts/get": {"artifactId": "none"},
    "runs/checkpoint": {"key": "k"},
}


@pytest.mark.parametrize("method", PARAMS)
def test_a_run_that_is_unknown(run: OpenRun, method: str) -> None:
    error = run.client.refuse(method, {**PARAMS[method], "runId": NOWHERE})
    check(error, -32010, "runNotFound", NOWHERE)


@pytest.mark.parametrize(
    "method", ["runs/streams/write", "runs/streams/close", "runs/artifacts/put", "runs/checkpoint"]
)
def test_an_execution_that_is_not_current(run: OpenRun, method: str) -> None:
    run.refuse(method, -32022, "notCurrent", **PARAMS[method], observability={"execution_id": "made-up"})


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"chunks": 1}, "$.chunks"),
        ({"chunks": None}, "$.chunks"),
        ({"chunks": [1], "namespace": ""}, "$.namespace"),
        ({"chunks": [1], "namespace": "n" * 201}, "$.namespace"),
        ({"chunks": [1], "namespace": 1}, "$.namespace"),
        ({"chunks": [1], "encoding": "hex"}, "$.encoding"),
        ({"chunks": ["no base64!"], "encoding": "base64"}, "$.chunks[0]"),
        ({"chunks": ["AAEC", {}], "encoding": "base64"}, "$.chunks[1]"),
        ({"chunks": [1], "writeKey": ""}, "$.writeKey"),
    ],
)
def test_a_write_of_a_wrong_form(run: OpenRun, params: Json, place: str) -> None:
    assert run.refuse("runs/streams/write", -32602, "invalidParams", **params)["path"] == place


@pytest.mark.parametrize(
    ("chunks", "limit", "value"),
    [
        (["x" * 19], "maxStreamChunkBytes", 20),
        ([1, 2, 3, 4], "maxStreamWriteChunks", 3),
        (["x" * 15] * 3, "maxStreamBytes", 50),
    ],
)
def test_a_write_beyond_a_limit(run: OpenRun, chunks: list[Any], limit: str, value: int) -> None:
    data = run.refuse("runs/streams/write", -32020, "limitExceeded", limit, chunks=chunks)
    assert (data["limit"], data["value"]) == (limit, value)


@pytest.mark.parametrize(
    ("params", "place"),
    [({"startIndex": "0"}, "$.startIndex"), ({"limit": 0}, "$.limit"), ({"timeoutMs": -1}, "$.timeoutMs")],
)
def test_a_read_of_a_wrong_form(run: OpenRun, params: Json, place: str) -> None:
    assert run.refuse("runs/streams/read", -32602, "invalidParams", **params)["path"] == place


def test_a_read_past_the_end_of_an_ended_run(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        run = OpenRun(client)
        assert not run.call("runs/streams/read", startIndex=5)["done"]
        client.call("runs/cancel", {"runId": run.run_id})
        assert run.call("runs/streams/read", startIndex=1)["done"]
        data = run.refuse("runs/streams/read", -32005, "notFound", startIndex=2)
        assert (data["kind"], data["tailIndex"]) == ("stream", 1)


def test_what_is_added_to_an_ended_run(runtime: ServedRuntime) -> None:
    with runtime.connect() as client:
        run = OpenRun(client)
        blob_id = client.call("blobs/put", {"data": 1})["blob_id"]
        client.call("runs/cancel", {"runId": run.run_id})
        run.refuse("runs/streams/write", -32023, "streamClosed", chunks=[1])
        params = {**PARAMS["runs/artifacts/put"], "blobId": blob_id}
        run.refuse("runs/artifacts/put", -32022, "notCurrent", **params)


@pytest.mark.parametrize("mime_type", ["", "text", "text/", "a/b\r\nX: y", "text/plain; charset"])
def test_a_mime_type_that_is_none(run: OpenRun, mime_type: str) -> None:
    params = {**PARAMS["runs/artifacts/put"], "mimeType": mime_type}
    assert run.refuse("runs/artifacts/put", -32602, "invalidParams", **params)["path"] == "$.mimeType"


def test_an_artifact_without_content(run: OpenRun) -> None:
    assert run.refuse("runs/artifacts/put", -32005, "notFound", **PARAMS["runs/artifacts/put"])["kind"] == "blob"
    assert run.refuse("runs/artifacts/get", -32005, "notFound", artifactId="none")["kind"] == "artifact"


def test_a_checkpoint_of_somebody_who_executes_nothing(run: OpenRun) -> None:
    run.refuse("runs/checkpoint", -32022, "notCurrent", key="k", value=1)


def test_events_of_sub_runs_with_a_cursor_of_one_run(run: OpenRun) -> None:
    cursor = run.call("runs/events")["nextCursor"]
    run.refuse("runs/events", -32602, "invalidParams", cursor=cursor, includeSubRuns=True)
    run.refuse("runs/events", -32602, "invalidParams", cursor=cursor, tail=5)
    run.refuse("runs/events", -32602, "invalidParams", tail=5, includeSubRuns=True)
    run.refuse("runs/events", -32602, "invalidParams", tail=-1)
    cursor = run.call("runs/events", includeSubRuns=True)["nextCursor"]
    run.refuse("runs/events", -32602, "invalidParams", cursor=cursor)
