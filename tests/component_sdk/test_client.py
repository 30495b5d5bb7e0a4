"""Scripts against a scripted runtime on TCP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import trio

from component_sdk import (
    CannotConnectError,
    RpcError,
    RunCancelledError,
    RunFailedError,
    RunNotCompletedError,
    RunNotFoundError,
    SdkError,
    connect,
    open_client,
)
from component_sdk import client as client_module
from component_sdk.connection import Spawner
from protocol.dispatch import Handler
from protocol.errors import ErrorCode
from protocol.runs import (
    AppendResult,
    CancelOutcome,
    CancelRunResult,
    EventsParams,
    EventsResult,
    GetRunParams,
    ItemCounts,
    ItemEntry,
    ItemError,
    ItemResult,
    ListRunsResult,
    Outcome,
    ResultOrder,
    RunEvent,
    RunState,
    RunStatus,
)
from protocol.types import Limits, PutBlobResult
from tests.component_sdk.runtimes import ScriptedRuntime, open_both, open_runtime

AT = "2025-01-15T10:30:00.000Z"


def make_entry(index: int, value: Any = None) -> ItemEntry:
    return ItemEntry(index, ItemResult(Outcome.SUCCESS, value), AT)


def make_status(state: RunState = RunState.SUCCESS, total: int = 1, **fields: Any) -> RunStatus:
    items = ItemCounts(total, success=total if state == RunState.SUCCESS else 0)
    return RunStatus(**{"run_id": "r-1", "flow_id": "f:0", "status": state, "items": items, "created_at": AT, **fields})


class ScriptedRun:
    """One run whose items end when the script says so."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.ended: list[ItemEntry] = []
        self.requests: list[str] = []
        self._changed = trio.Event()

    def end(self, *indexes: int) -> None:
        self.ended += [make_entry(index, index * 10) for index in indexes]
        self._changed.set()
        self._changed = trio.Event()

    @property
    def status(self) -> RunStatus:
        is_over = len(self.ended) == self.total
        return make_status(RunState.SUCCESS if is_over else RunState.RUNNING, self.total)

    async def get(self, params: GetRunParams, context: object) -> RunStatus:
        self.requests.append("get")
        while params.wait and len(self.ended) < self.total:
            await self._changed.wait()
        status = self.status
        if params.include_results:
            start = params.result_offset or 0
            if params.result_order == ResultOrder.BY_COMPLETION:
                status.results = self.ended[start : start + (params.result_limit or 1000)]
            else:
                by_index = sorted(self.ended, key=lambda entry: entry.item_index)
                status.results = [entry for entry in by_index if entry.item_index >= start]
        return status

    async def events(self, params: EventsParams, context: object) -> EventsResult:
        self.requests.append("events")
        assert params.timeout_ms
        start = int(params.cursor or 0)
        while len(self.ended) <= start < self.total:
            await self._changed.wait()
        events = [
            RunEvent(seq, "item.completed", AT, "r-1", item_index=entry.item_index)
            for seq, entry in enumerate(self.ended[start:], start)
        ]
        is_over = len(self.ended) == self.total
        return EventsResult(events, next_cursor=str(len(self.ended)), done=is_over)

    @property
    def handlers(self) -> dict[str, Handler]:
        return {"runs/get": self.get, "runs/events": self.events}


async def test_results_come_in_the_order_of_completion_while_the_run_goes_on() -> None:
    run = ScriptedRun(4)
    async with open_both(run.handlers) as (client, _):
        results = client.get_run("r-1").results(order="byCompletion")
        run.end(2)
        assert (await anext(results)).item_index == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_asked, run, (3, 0))
            assert (await anext(results)).item_index == 3
        assert (await anext(results)).item_index == 0
        run.end(1)
        assert [entry.item_index async for entry in results] == [1]


async def _end_when_asked(run: ScriptedRun, indexes: tuple[int, ...]) -> None:
    seen = run.requests.count("events")
    while run.requests.count("events") == seen:
        await trio.lowlevel.checkpoint()
    run.end(*indexes)


async def test_results_by_index_wait_for_each_item_in_turn() -> None:
    run = ScriptedRun(4)
    async with open_both(run.handlers) as (client, _):
        results = client.get_run("r-1").results()
        run.end(2, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_asked, run, (0,))
            assert (await anext(results)).item_index == 0
        assert [(await anext(results)).item_index for _ in range(2)] == [1, 2]
        run.end(3)
        assert [entry.item_index async for entry in results] == [3]


async def test_waiting_for_results_polls_nothing() -> None:
    run = ScriptedRun(1)
    async with open_both(run.handlers) as (client, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_when_asked, run, (0,))
            assert len([entry async for entry in client.get_run("r-1").results()]) == 1
        assert len(run.requests) <= 4


async def test_a_handle_is_not_looked_up_before_something_is_asked() -> None:
    run = ScriptedRun(1)
    async with open_both(run.handlers) as (client, _):
        handle = client.get_run("r-1")
        with pytest.raises(SdkError, match="Nothing is known of the run r-1 yet"):
            _ = handle.status
        assert run.requests == []
        run.end(0)
        await handle.wait()
        assert handle.status == "success"
        assert handle.items.success == 1
        assert handle.created_at == datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
        assert handle.completed_at is None


def serve_status(status: RunStatus) -> dict[str, Handler]:
    async def get(params: GetRunParams, context: object) -> RunStatus:
        offset = params.result_offset or 0
        return msgspec.structs.replace(
            status, results=(status.results or [])[offset:] if params.include_results else None
        )

    return {"runs/get": get}


class Doubled(msgspec.Struct):
    doubled: int


async def test_return_value_is_the_value_of_one_item_and_the_list_of_several() -> None:
    async with open_both(serve_status(make_status(results=[make_entry(0, {"doubled": 2})]))) as (client, _):
        assert await client.get_run("r-1").return_value() == {"doubled": 2}
        assert await client.get_run("r-1").return_value(Doubled) == Doubled(2)
    entries = [make_entry(0, 1), make_entry(1, 2)]
    async with open_both(serve_status(make_status(total=2, results=entries))) as (client, _):
        assert await client.get_run("r-1").return_value() == [1, 2]


async def test_return_value_raises_what_happened() -> None:
    error = ItemError("COMPONENT_FAILED", "ValueError: unlucky")
    entries = [make_entry(0, 1), ItemEntry(1, ItemResult(Outcome.FAILED, error=error), AT)]
    failed = make_status(RunState.FAILED, results=entries, items=ItemCounts(2, success=1, failed=1))
    async with open_both(serve_status(failed)) as (client, _):
        with pytest.raises(RunFailedError, match=r"1 of 2 items .* item 1: ValueError: unlucky") as caught:
            await client.get_run("r-1").return_value()
        assert caught.value.run_id == "r-1"
        assert caught.value.cause == error
    cancelled = make_status(RunState.CANCELLED, results=[], cancel_reason="enough")
    async with open_both(serve_status(cancelled)) as (client, _):
        with pytest.raises(RunCancelledError, match="cancelled: enough"):
            await client.get_run("r-1").return_value()
    async with open_both(serve_status(make_status(RunState.RUNNING))) as (client, _):
        with pytest.raises(RunNotCompletedError, match="is running still"):
            await client.get_run("r-1").return_value(timeout_s=0.001)


async def test_an_unknown_run_is_an_error_of_its_own() -> None:
    async def get(params: GetRunParams, context: object) -> RunStatus:
        raise RpcError(ErrorCode.RUN_NOT_FOUND, "There is no run nope.", runId="nope")

    async with open_both({"runs/get": get}) as (client, _):
        with pytest.raises(RunNotFoundError) as caught:
            await client.get_run("nope").wait()
    assert (caught.value.run_id, str(caught.value)) == ("nope", "There is no run nope.")


async def test_a_batch_is_streamed_and_repeatable() -> None:
    seen: list[Any] = []

    async def submit(params: Any, context: object) -> RunStatus:
        seen.append(params)
        return make_status(RunState.RUNNING)

    async def append(params: Any, context: object) -> AppendResult:
        seen.append(params)
        return AppendResult(params.at_index + len(params.inputs))

    async def get(params: Any, context: object) -> RunStatus:
        return make_status(RunState.RUNNING, 20_001)

    handlers = {"runs/submit": submit, "runs/append": append, "runs/get": get}
    async with open_both(handlers) as (client, _):
        run = await client.start("f:0", inputs=range(20_001), max_concurrency=50)
        await client.start("f:0", inputs=[1])
    assert (run.id, run.items.total) == ("r-1", 20_001)
    assert [len(params.inputs) for params in seen] == [10_000, 10_000, 1, 1]
    assert [params.sealed for params in seen] == [False, False, True, None]
    assert [params.at_index for params in seen[1:3]] == [10_000, 20_000]
    assert seen[0].max_concurrency == 50
    assert seen[0].idempotency_key
    assert seen[3].idempotency_key not in (None, seen[0].idempotency_key)


async def test_runs_are_listed_over_all_pages() -> None:
    async def list_runs(params: Any, context: object) -> ListRunsResult:
        assert (params.status, params.labels) == ("success", {"a": "b"})
        assert params.created_after == "2025-01-15T10:30:00.000Z"
        page = int(params.cursor or 0)
        runs = [make_status(run_id=f"r-{page}{n}") for n in range(2)] if page != 1 else []
        return ListRunsResult(runs, next_cursor=str(page + 1) if page < 2 else None)

    after = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
    async with open_both({"runs/list": list_runs}) as (client, _):
        runs = client.list_runs(status="success", labels={"a": "b"}, created_after=after)
        assert [status.run_id async for status in runs] == ["r-00", "r-01", "r-20", "r-21"]


async def test_a_run_is_cancelled_with_a_reason() -> None:
    asked: list[Any] = []

    async def cancel(params: Any, context: object) -> CancelRunResult:
        asked.append(params)
        return CancelRunResult(CancelOutcome.CANCELLED, make_status(RunState.CANCELLED))

    async with open_both({"runs/cancel": cancel}) as (client, _):
        run = client.get_run("r-1")
        assert (await run.cancel(reason="enough", grace_s=0.5)).outcome == "cancelled"
        assert run.status == "cancelled"
    assert (asked[0].reason, asked[0].grace_ms) == ("enough", 500)


async def test_a_client_that_loses_its_connection_dials_again_and_goes_on_waiting() -> None:
    run = ScriptedRun(1)
    async with open_both(run.handlers) as (client, runtime):
        statuses: list[RunStatus] = []

        async def wait() -> None:
            statuses.append(await client.get_run("r-1").wait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while run.requests != ["get"]:
                await trio.lowlevel.checkpoint()
            await runtime.cut()
            while run.requests != ["get", "get"]:
                await trio.lowlevel.checkpoint()
            run.end(0)
    assert statuses[0].status == "success"
    assert len(runtime.hellos) == 2


async def test_a_request_that_ends_every_connection_is_given_up() -> None:
    async def put(params: Any, context: object) -> PutBlobResult:
        runtimes[0].links[-1]._stream._close()  # type: ignore[attr-defined]
        await trio.sleep_forever()
        raise AssertionError

    runtimes: list[ScriptedRuntime] = []
    async with open_both({"blobs/put": put}) as (client, runtime):
        runtimes.append(runtime)
        with pytest.raises(CannotConnectError, match="lost 20 times during one blobs/put"):
            await client.put_blob(1)


async def test_a_token_is_sent_and_a_wrong_one_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret\n")
    async with open_runtime({}) as runtime:
        async with open_client(runtime.address, token_file=tmp_path / "token"):
            pass
        monkeypatch.setenv("STEPFLOW_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("STEPFLOW_URL", "tcp://" + runtime.address)
        async with open_client():
            pass
        with pytest.raises(RpcError, match="not the token"):
            async with open_client(runtime.address, token="wrong"):
                pass
    assert [hello.token for hello in runtime.hellos] == ["secret", "secret", "wrong"]
    assert runtime.hellos[0].role == "client"


async def test_nobody_there_is_said_so() -> None:
    with pytest.raises(CannotConnectError, match="is `stepflow serve` running there"):
        async with open_client("127.0.0.1:1"):
            pass
    with pytest.raises(SdkError, match="write HOST:PORT"):
        async with open_client("nonsense"):
            pass


async def test_scripts_may_block() -> None:
    run = ScriptedRun(3)
    run.end(2, 0, 1)

    async def submit(params: Any, context: object) -> RunStatus:
        return run.status

    async def put(params: Any, context: object) -> PutBlobResult:
        return PutBlobResult("f:0")

    async def list_runs(params: Any, context: object) -> ListRunsResult:
        return ListRunsResult([run.status])

    def script() -> None:
        with connect(runtime.address) as client:
            handle = client.start({"steps": [], "output": 1}, inputs=[1, 2, 3])
            assert [entry.item_index for entry in handle.results(order="byCompletion")] == [2, 0, 1]
            assert handle.return_value() == [0, 10, 20]
            assert handle.return_value(int) == [0, 10, 20]
            assert client.get_run("r-1").status == "success"
            assert [event.type for event in handle.events()] == ["item.completed"] * 3
            assert [status.run_id for status in client.list_runs()] == ["r-1"]
            with pytest.raises(RpcError):
                client.get_blob("nope")

    handlers = {**run.handlers, "runs/submit": submit, "blobs/put": put, "runs/list": list_runs}
    async with open_runtime(handlers) as runtime:
        await trio.to_thread.run_sync(script)


def test_blocking_connect_says_that_nobody_is_there() -> None:
    with pytest.raises(CannotConnectError), connect("127.0.0.1:1"):
        pass


FAKE_RUNTIME = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    hello = {"protocolVersion": 1, "runtimeVersion": "0", "limits": LIMITS}
    result = hello if message["method"] == "connect" else {"blob_id": "b"}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


async def test_a_runtime_is_spawned_and_ends_with_the_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    import sys

    script = tmp_path / "runtime.py"
    limits = msgspec.json.encode(Limits()).decode()
    script.write_text(FAKE_RUNTIME.replace("LIMITS", limits))
    spawners: list[Any] = []

    class FakeSpawner(Spawner):
        def __init__(self, config: str) -> None:
            super().__init__(config)
            assert self.command[-2:] == ["--config", "some.yml"]
            self.command = [sys.executable, str(script)]
            spawners.append(self)

    monkeypatch.setattr(client_module, "Spawner", FakeSpawner)
    with trio.fail_after(10):
        async with open_client(config="some.yml") as client:
            assert await client.put_blob({"a": 1}) == "b"
    assert [process.returncode for process in spawners[0]._processes] == [0]
