"""Bad input about a run that waits, goes on or has ended: each has its code, and changes nothing.

Nothing: neither what can be read of the run, nor the number of the last event in its journal, which the cursor after
its events stands for.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.conformance.test_bad_input import check
from tests.conformance.wire import Json, RawClient, make_flow

NOWHERE: Final = "00000000-0000-7000-8000-000000000000"
MISSING: Final = "blake3:" + "0" * 64
QUESTION: Final = {"payload": "may I?", "resume_schema": {"type": "object", "required": ["yes"]}}


class Watched:
    """A run of which everything is remembered that can be read of it.

    Args:
        client: Reads it.
        status: As its submission answered.
    """

    def __init__(self, client: RawClient, status: Json) -> None:
        self._client = client
        self.run_id: str = status["runId"]

    def read(self) -> Json:
        """All there is of it, with the end of its journal."""
        wanted: dict[str, Json] = {
            "runs/get": {"includeResults": True},
            "runs/items": {},
            "runs/steps": {},
            "runs/events": {"limit": 1000},
            "runs/streams/list": {},
            "runs/artifacts/list": {},
        }
        read = {name: self._client.call(name, {"runId": self.run_id, **params}) for name, params in wanted.items()}
        read["runs/list"] = self._client.call("runs/list", {"limit": 1000})["runs"]
        return read

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """What is done within changes nothing."""
        before = self.read()
        yield
        assert self.read() == before

    def refuse(self, method: str, code: int, type: str, *words: str, **params: Any) -> Any:
        """The `data` of the error that must be the answer."""
        error = self._client.refuse(method, {"runId": self.run_id, **params})
        check(error, code, type, *words)
        return error.data

    def call(self, method: str, **params: Any) -> Any:
        return self._client.call(method, {"runId": self.run_id, **params})


@pytest.fixture
def waiting(client: RawClient) -> Watched:
    """A run of two items, both of which are suspended."""
    flow_id = client.put_flow(make_flow("/builtin/suspend"))
    params = {"flowId": flow_id, "inputs": [QUESTION, QUESTION], "wait": True, "waitFor": "settled"}
    status = client.call("runs/submit", params)
    assert status["status"] == "suspended"
    return Watched(client, status)


@pytest.fixture
def ended(client: RawClient) -> Watched:
    """A run that has ended."""
    return Watched(client, client.run(make_flow("/builtin/noop"), [1]))


@pytest.fixture
def running(client: RawClient) -> Generator[Watched]:
    """A run that goes on for as long as it is watched: it sleeps."""
    flow_id = client.put_flow(make_flow("/builtin/sleep"))
    watched = Watched(client, client.call("runs/submit", {"flowId": flow_id, "inputs": [{"duration_ms": 3_600_000}]}))
    while watched.call("runs/get").get("statusDetail") != "sleeping":
        pass
    yield watched
    watched.call("runs/cancel", graceMs=0)


@pytest.fixture(params=["waiting", "ended"])
def run(request: pytest.FixtureRequest) -> Watched:
    watched: Watched = request.getfixturevalue(request.param)
    return watched


UNKNOWN: Final[dict[str, Json]] = {
    "runs/get": {},
    "runs/append": {"atIndex": 0, "inputs": [1]},
    "runs/items": {},
    "runs/itemStates": {},
    "runs/steps": {},
    "runs/cancel": {},
    "runs/pause": {},
    "runs/unpause": {},
    "runs/wakeUp": {},
    "runs/resume": {"resumeData": {"yes": 1}},
    "runs/restart": {},
    "runs/timeTravel": {"step": "only"},
    "runs/delete": {},
    "runs/events": {},
    "runs/streams/write": {"chunks": [1]},
    "runs/streams/read": {},
    "runs/streams/close": {},
    "runs/streams/list": {},
    "runs/artifacts/put": {"name": "a", "mimeType": "text/plain", "blobId": MISSING},
    "runs/artifacts/list": {},
    "runs/artifacts/get": {"artifactId": "none"},
}


@pytest.mark.parametrize("run_id", [NOWHERE, "", "no id at all", "../etc/passwd"])
def test_a_run_that_is_unknown(client: RawClient, waiting: Watched, run_id: str) -> None:
    with waiting.unchanged():
        for method, params in UNKNOWN.items():
            error = client.refuse(method, {**params, "runId": run_id})
            check(error, -32010, "runNotFound")
            assert error.data["runId"] == run_id


@pytest.mark.parametrize(
    "which", [{"step": "nowhere"}, {"label": "2"}, {"itemIndex": 2}, {"itemIndex": 10**9}, {"token": "none"}]
)
def test_a_resume_of_what_is_not_suspended(waiting: Watched, which: Json) -> None:
    with waiting.unchanged():
        data = waiting.refuse("runs/resume", -32015, "notSuspended", resumeData={"yes": 1}, **which)
        assert data["available"] == []


def test_a_resume_that_may_mean_two(waiting: Watched) -> None:
    with waiting.unchanged():
        data = waiting.refuse("runs/resume", -32015, "notSuspended", resumeData={"yes": 1})
        assert [found["itemIndex"] for found in data["available"]] == [0, 1]


@pytest.mark.parametrize("data", [{}, {"resumeData": None}, {"resumeData": {"no": 1}}, {"resumeData": [1]}])
def test_a_resume_with_data_against_the_schema(waiting: Watched, data: Json) -> None:
    with waiting.unchanged():
        assert waiting.refuse("runs/resume", -32017, "validationFailed", itemIndex=0, **data)["issues"]


def test_a_resume_of_a_run_that_has_ended(ended: Watched) -> None:
    with ended.unchanged():
        ended.refuse("runs/resume", -32015, "notSuspended", resumeData=1)


@pytest.mark.parametrize("which", [{}, {"correlationIds": ["none"]}, {"correlationIds": []}])
def test_a_wake_up_with_nothing_asleep(run: Watched, which: Json) -> None:
    with run.unchanged():
        assert run.call("runs/wakeUp", **which) == {"stoppedCount": 0}


def test_reading_past_the_end(run: Watched) -> None:
    with run.unchanged():
        total = run.call("runs/get")["items"]["total"]
        for order in ("byIndex", "byCompletion"):
            params = {"includeResults": True, "resultOrder": order, "resultOffset": total + 1}
            assert run.call("runs/get", **params)["results"] == []
        cursor = run.call("runs/events")["nextCursor"]
        assert run.call("runs/events", cursor=cursor)["events"] == []
        assert run.call("runs/steps", itemIndex=total)["steps"] == []


def test_reading_a_stream_past_what_it_has_so_far(waiting: Watched) -> None:
    with waiting.unchanged():
        read = waiting.call("runs/streams/read", startIndex=7)
        assert (read["chunks"], read["done"]) == ([], False)


def test_reading_a_stream_past_its_end(ended: Watched) -> None:
    with ended.unchanged():
        assert ended.refuse("runs/streams/read", -32005, "notFound", startIndex=7)["kind"] == "stream"


def test_what_comes_too_late_for_a_run_that_has_ended(ended: Watched) -> None:
    with ended.unchanged():
        assert ended.call("runs/cancel")["outcome"] == "notCancellable"
        ended.refuse("runs/pause", -32014, "conflict")
        ended.refuse("runs/unpause", -32014, "conflict")
        ended.refuse("runs/append", -32014, "conflict", atIndex=1, inputs=[2])
        ended.refuse("runs/streams/write", -32023, "streamClosed", chunks=[1])


def test_time_travel_while_a_run_goes_on(running: Watched) -> None:
    with running.unchanged():
        running.refuse("runs/timeTravel", -32014, "conflict", step="only")
        running.refuse("runs/restart", -32014, "conflict", only="failed")


@pytest.mark.parametrize(
    ("method", "params", "place"),
    [
        ("runs/timeTravel", {"step": "nowhere"}, "nowhere"),
        ("runs/timeTravel", {"step": "only", "itemIndexes": [1]}, "item"),
        ("runs/timeTravel", {"step": "only", "itemIndexes": []}, "item"),
        ("runs/timeTravel", {"step": "only", "context": {"nowhere": 1}}, "nowhere"),
        ("runs/timeTravel", {}, "step"),
        ("runs/restart", {"itemIndexes": [1]}, "item"),
        ("runs/restart", {"only": "some"}, "only"),
    ],
)
def test_time_travel_to_where_nothing_is(ended: Watched, method: str, params: Json, place: str) -> None:
    with ended.unchanged():
        ended.refuse(method, -32602, "invalidParams", place, **params)


def test_what_comes_too_early_for_a_run_that_goes_on(waiting: Watched) -> None:
    with waiting.unchanged():
        waiting.refuse("runs/delete", -32014, "conflict")


@pytest.mark.parametrize("method", ["runs/list", "runs/items", "runs/steps", "runs/events"])
@pytest.mark.parametrize("cursor", ["", "%", "YS9iL2M", "x" * 5000])
def test_a_cursor_that_is_none(waiting: Watched, method: str, cursor: str) -> None:
    with waiting.unchanged():
        waiting.refuse(method, -32602, "invalidParams", cursor=cursor)


FILTERS: Final[list[tuple[Json, str]]] = [
    ({"status": "completed"}, "$.status"),
    ({"createdAfter": "yesterday"}, "$.createdAfter"),
    ({"createdBefore": 7}, "$.createdBefore"),
    ({"labels": ["a"]}, "$.labels"),
    ({"limit": 0}, "$.limit"),
    ({"limit": 1001}, "$.limit"),
]


@pytest.mark.parametrize(("params", "place"), FILTERS)
def test_a_filter_that_is_none(client: RawClient, params: Json, place: str) -> None:
    error = client.refuse("runs/list", params)
    check(error, -32602, "invalidParams")
    assert error.data["path"] == place
