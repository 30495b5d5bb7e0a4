"""A handle on a run, trio and blocking, against a runtime that serves: every property, method and error of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from component_sdk import (
    Client,
    RpcError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotCompletedError,
    RunNotFoundError,
    Unfit,
    connect,
    open_client,
)
from component_sdk.client import Client as TrioClient
from component_sdk.run import Run
from component_sdk.sync import Client as BlockingClient
from component_sdk.sync import Run as BlockingRun
from protocol.errors import ErrorCode, ItemErrorCode
from tests.conformance.wire import ServedRuntime, serve

SERVER: Final = str(Path(__file__).with_name("run_server.py"))
NOWHERE: Final = "00000000-0000-7000-8000-000000000000"
PATIENCE_S: Final = 20


class Doubled(msgspec.Struct):
    doubled: int


def flow(component: str) -> dict[str, Any]:
    name = component.removeprefix("/")
    return {
        "name": name,
        "steps": [{"id": f"{name}ing", "component": f"/some{component}", "input": {"$input": "$"}}],
        "output": {"$step": f"{name}ing"},
    }


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServedRuntime]:
    plugin = {"type": "stepflow", "transport": "stdio", "command": sys.executable, "args": [SERVER]}
    config = {"plugins": {"some": plugin}, "routes": {"/some": [{"plugin": "some"}]}}
    with serve(tmp_path_factory.mktemp("run"), config) as runtime:
        yield runtime


@pytest.fixture
def address(runtime: ServedRuntime) -> str:
    host, port = runtime.address
    return f"{host}:{port}"


@pytest.fixture
async def client(address: str) -> AsyncGenerator[Client]:
    with trio.fail_after(PATIENCE_S):
        async with open_client(address) as client:
            yield client


async def test_a_run_tells_what_it_is_and_was(client: Client) -> None:
    before = datetime.now(UTC)
    run = await client.start(flow("/double"), [1, 2], labels={"team": "a"}, flow_label="nightly")
    await run.wait()
    assert (run.status, run.status_detail, run.no_action_taken) == ("success", None, False)
    assert run.status.as_("workflow") == "completed"
    assert (run.items.total, run.items.success) == (2, 2)
    assert run.flow_name == "double"
    assert run.flow_id == run.last_seen.flow_id
    assert run.labels == {"team": "a"}
    assert run.current_state_name == "doubleing"
    assert (run.created_by, run.job_run_id, run.suspensions) == (None, None, [])
    assert run.started_at is not None
    assert run.completed_at is not None
    assert before.replace(microsecond=0) <= run.created_at <= run.started_at <= run.completed_at
    assert run.updated_at == run.completed_at
    assert timedelta(0) <= run.completed_at - run.started_at < timedelta(seconds=PATIENCE_S)


async def test_a_run_that_has_not_begun_is_pending_and_then_it_runs(client: Client) -> None:
    run = await client.start(flow("/double"), [1], delay_until=datetime.now(UTC) + timedelta(days=1))
    assert (run.status, run.status.as_("anon")) == ("pending", "PENDING")
    assert (run.started_at, run.completed_at, run.has_ended) == (None, None, False)
    await run.cancel()
    run = await client.start(flow("/nap"), [1])
    await anext(run.events(["step.started"]))
    await run.refresh()
    assert (run.status, run.status.as_("anon")) == ("running", "IN_PROGRESS")
    assert run.started_at is not None
    await run.cancel(grace_s=0)


async def test_a_run_tells_who_submitted_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(PATIENCE_S):
        async with open_client(address, name="ada") as client:
            ours = await client.start(flow("/double"), [1])
            await ours.refresh()
            assert ours.created_by == "ada"
            job = await client.submit_job([{"flow": flow("/double"), "inputs": [1]}], wait=True)
            assert (await client.get_run(job.runs[0].run_id or "").refresh()).created_by == "ada"
        monkeypatch.setenv("STEPFLOW_NAME", "grace")
        async with open_client(address) as client:
            theirs = await client.start(flow("/double"), [1])
            assert theirs.created_by == "grace"
            assert [run.created_by async for run in client.list_runs()][:1] == ["grace"]
        with pytest.raises(RpcError, match="at most 200 characters"):
            async with open_client(address, name="x" * 201):
                pass


async def test_a_run_of_a_job_names_it(client: Client) -> None:
    job = await client.submit_job([{"flow": flow("/double"), "inputs": [1]}], wait=True)
    run = client.get_run(job.runs[0].run_id or "")
    await run.refresh()
    assert run.job_run_id == job.job_run_id


async def test_a_run_that_found_nothing_to_do_says_so(client: Client) -> None:
    run = await client.start(flow("/find_nothing"), [1, 2])
    status = await run.wait()
    assert (run.status, run.status_detail, run.no_action_taken) == ("success", "noActionTaken", True)
    assert status.as_("anon") == "COMPLETED_WITH_NO_ACTION_TAKEN"
    assert await run.return_value() == [None, None]


async def test_an_item_may_have_nothing_as_its_input(client: Client) -> None:
    run = await client.start(flow("/find_nothing"), [None])
    assert await run.return_value() is None
    assert run.status == "success"


async def test_what_a_run_gave_is_read_as_a_type(client: Client) -> None:
    one = await client.start(flow("/double"), [4])
    assert await one.return_value() == {"doubled": 8}
    assert await one.return_value(Doubled) == Doubled(8)
    assert await one.return_value(dict[str, int]) == {"doubled": 8}
    with pytest.raises(Unfit):
        await one.return_value(list[int])
    assert await (await client.start(flow("/double"), [1, 2])).return_value(Doubled) == [Doubled(2), Doubled(4)]


async def test_a_failed_run_raises_the_error_of_its_first_item_that_failed(client: Client) -> None:
    run = await client.start(flow("/fail"), [13])
    with pytest.raises(RunFailedError, match="13 is unlucky") as caught:
        await run.return_value()
    error = caught.value
    assert error.run_id == run.id
    assert error.cause is not None
    assert error.cause.code == ItemErrorCode.COMPONENT_FAILED
    assert error.cause.message == "ValueError: 13 is unlucky"
    assert "run_server.py" in error.cause.data["stack"]


async def test_a_cancelled_run_raises_that_it_was(client: Client) -> None:
    run = await client.start(flow("/ask"), [1])
    await run.wait(wait_for="settled")
    with pytest.raises(RunNotCompletedError) as open_still:
        await run.return_value(timeout_s=0.01)
    assert open_still.value.run_id == run.id
    result = await run.cancel("enough")
    assert (result.outcome, run.status, run.has_ended) == ("cancelled", "cancelled", True)
    with pytest.raises(RunCancelledError, match="enough") as caught:
        await run.return_value()
    assert caught.value.run_id == run.id
    assert (await run.cancel()).outcome == "alreadyCancelled"


async def test_a_suspended_run_is_resumed_and_its_events_tell_it(client: Client) -> None:
    run = await client.start(flow("/ask"), [1])
    await run.wait(wait_for="settled")
    assert (run.status, run.status_detail) == ("suspended", "awaitingInput")
    assert run.status.as_("anon") == "AWAITING_USER_INPUT"
    assert [found.payload for found in run.suspensions] == ["may I?"]
    with pytest.raises(RpcError) as caught:
        await run.resume({"no": 1})
    assert caught.value.code == ErrorCode.VALIDATION_FAILED
    assert (await run.resume({"yes": 1}, wait=True)).status == "success"
    assert await run.return_value() == {"yes": 1}
    told = [event.type async for event in run.events()]
    assert told.index("step.suspended") < told.index("step.resumed") < told.index("run.completed")


async def test_sleeps_are_ended_early(client: Client) -> None:
    run = await client.start(flow("/nap"), [1])
    while not await run.wake_up():
        await trio.lowlevel.checkpoint()
    assert await run.return_value() is True
    assert await run.wake_up() == 0


async def test_a_run_is_paused_and_goes_on(client: Client) -> None:
    run = await client.start(flow("/ask"), [1])
    await run.wait(wait_for="settled")
    await run.pause()
    assert run.status_detail == "paused"
    await run.resume({"yes": 1})
    await run.unpause()
    assert await run.return_value() == {"yes": 1}


async def test_a_run_travels_in_time_as_a_fork_whose_events_tell_it(client: Client) -> None:
    run = await client.start(flow("/double"), [4])
    await run.wait()
    fork = await run.time_travel("doubleing", input=5, wait=True)
    assert (fork.forked_from, fork.has_ended, run.forked_from, run.parent_run_id) == (run.id, True, None, None)
    assert await fork.return_value() == {"doubled": 10}
    assert await run.return_value() == {"doubled": 8}
    told = [event.type async for event in fork.events()]
    assert told.index("run.forked") < told.index("step.completed") < told.index("run.completed")


async def test_a_restart_is_of_the_run_itself_while_it_goes_on_and_of_a_fork_afterwards(client: Client) -> None:
    run = await client.start(flow("/nap"), [1])
    await anext(run.events(["step.started"]))
    assert await run.restart() is run
    await run.cancel(grace_s=0)
    fork = await run.restart()
    assert (fork.forked_from, fork.has_ended) == (run.id, False)
    await fork.cancel(grace_s=0)


async def test_its_stream_is_read_from_any_index_live_and_afterwards(client: Client) -> None:
    run = await client.start(flow("/double"), [3, 4], max_concurrency=1)
    assert [chunk async for chunk in run.stream()] == [{"doubling": 3}, {"doubling": 4}]
    assert [chunk async for chunk in run.stream(start_index=1)] == [{"doubling": 4}]
    assert [chunk async for chunk in run.stream(start_index=-1)] == [{"doubling": 4}]


async def test_a_client_writes_to_its_streams_beside_its_components(client: Client) -> None:
    run = await client.start(flow("/ask"), [1])
    words = run.writer("words")
    assert [await words.write("one"), await words.write(b"two"), await words.write("one")] == [1, 2, 3]
    assert [await words.write(n, key="turn 1") for n in (3, 4)] == [4, 4]
    assert await words.close() == 4
    with pytest.raises(RpcError) as caught:
        await words.write("more")
    assert caught.value.code == ErrorCode.STREAM_CLOSED
    await run.writer().write({"said": "by default"})
    await run.cancel(grace_s=0)
    assert [chunk async for chunk in run.stream("words")] == ["one", b"two", "one", 3]
    assert [chunk async for chunk in run.stream()] == [{"said": "by default"}]
    with pytest.raises(RpcError) as caught:
        await run.writer().write("too late")
    assert caught.value.code == ErrorCode.STREAM_CLOSED


async def test_a_blocking_client_writes_too(address: str) -> None:
    def script() -> None:
        with connect(address) as client:
            run = client.start(flow("/ask"), [1])
            writer = run.writer("words")
            assert [writer.write("one"), writer.write("two"), writer.close()] == [1, 2, 2]
            assert list(run.stream("words")) == ["one", "two"]
            run.cancel(grace_s=0)

    await trio.to_thread.run_sync(script)


async def consume(pages: Any) -> None:
    async for _ in pages:
        pass


ASKED: Final[dict[str, Callable[[Run], Awaitable[Any]]]] = {
    "refresh": Run.refresh,
    "wait": Run.wait,
    "return_value": Run.return_value,
    "results": lambda run: consume(run.results()),
    "item_states": Run.item_states,
    "events": lambda run: consume(run.events()),
    "stream": lambda run: consume(run.stream()),
    "artifacts": Run.artifacts,
    "writer": lambda run: run.writer().write("chunk"),
    "cancel": Run.cancel,
    "resume": Run.resume,
    "wake_up": Run.wake_up,
    "pause": Run.pause,
    "unpause": Run.unpause,
    "restart": Run.restart,
    "time_travel": lambda run: run.time_travel("step"),
}


@pytest.mark.parametrize("name", ASKED)
async def test_a_handle_on_a_run_that_is_not_there_says_so_when_it_is_asked(client: Client, name: str) -> None:
    run = client.get_run(NOWHERE)
    with pytest.raises(RunNotFoundError) as caught:
        await ASKED[name](run)
    assert isinstance(caught.value, RunError)
    assert caught.value.run_id == NOWHERE
    assert isinstance(caught.value.cause, RpcError)
    assert caught.value.cause.code == ErrorCode.RUN_NOT_FOUND


async def test_a_list_of_runs_goes_over_all_pages(client: Client) -> None:
    ids = [(await client.start(flow("/double"), [n], labels={"of": "listing"})).id for n in range(3)]
    assert [status.run_id async for status in client.list_runs(labels={"of": "listing"})] == ids[::-1]
    assert [status.run_id async for status in client.list_runs(labels={"of": "nothing"})] == []


async def test_a_blocking_handle_looks_up_what_it_is_asked(address: str) -> None:
    def script() -> None:
        with connect(address) as client:
            run = client.start(flow("/ask"), [1], labels={"team": "b"})
            handle = client.get_run(run.id)
            handle.wait(wait_for="settled")
            assert (handle.status, handle.status_detail, handle.has_ended) == ("suspended", "awaitingInput", False)
            assert handle.status.as_("mastra") == "suspended"
            assert (handle.labels, handle.flow_name, handle.current_state_name) == ({"team": "b"}, "ask", "asking")
            handle.resume({"yes": 1}, wait=True)
            assert run.status == "success"  # this one had not seen it
            assert run.return_value(dict[str, int]) == {"yes": 1}
            assert run.completed_at is not None
            assert run.last_seen.status == "success"
            with pytest.raises(RunNotFoundError):
                _ = client.get_run(NOWHERE).status

    with trio.fail_after(PATIENCE_S):
        await trio.to_thread.run_sync(script)


def find_public(type: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(type) if not name.startswith("_")}


@pytest.mark.parametrize(("original", "face"), [(Run, BlockingRun), (TrioClient, BlockingClient)])
def test_the_blocking_face_lacks_nothing(original: type, face: type) -> None:
    assert find_public(original) <= find_public(face)


def test_each_method_of_a_run_that_asks_is_asked_above() -> None:
    methods = {name for name, _ in inspect.getmembers(Run, inspect.isfunction) if not name.startswith("_")}
    assert methods == set(ASKED)
