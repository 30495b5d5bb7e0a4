"""What components ask of the runtime while they execute, from wherever they run."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import trio

from component_sdk import BlockingContext, ComponentServer, FlowBuilder, RpcError, RunNotFoundError, StepflowContext
from component_sdk.testing import FakeRuntime
from protocol import methods
from protocol.errors import ErrorCode
from protocol.link import Link
from protocol.runs import RunStatus, SubmitParams
from protocol.types import BlobType, GetBlobParams, GetBlobResult, PutBlobParams, PutBlobResult
from tests.component_sdk.runtimes import open_server

FLOW = {"name": "sub", "steps": [], "output": {"$input": "$"}}


class Asked:
    """A runtime's handlers that note what was asked and answer from a `FakeRuntime`."""

    def __init__(self, **options: Any) -> None:
        self.fake = FakeRuntime(**options)
        self.params: list[Any] = []
        names = ("blobs/put", "blobs/get", "runs/submit", "runs/append", "runs/get", "runs/events")
        self.handlers = {name: self._handler(methods.METHODS[name]) for name in names}

    def _handler(self, method: methods.Method) -> Any:
        async def handle(params: Any, context: object) -> Any:
            self.params.append(params)
            return await self.fake.call(method, params)

        return handle


def make_server() -> ComponentServer:
    server = ComponentServer()

    @server.component
    async def under_trio(input: list[int], ctx: StepflowContext) -> Any:
        flow_id = await ctx.put_blob(FLOW)
        status = await ctx.submit_run(flow_id=flow_id, inputs=input, wait=True, max_concurrency=5)
        again = await ctx.get_run(run_id=status.run_id, wait=True, include_results=True)
        return {"results": again.results, "run_id": ctx.run_id, "item_index": ctx.item_index}

    @server.component(backend="asyncio")
    async def under_asyncio(input: list[int], ctx: StepflowContext) -> Any:
        flow_id = await ctx.put_blob(FLOW)
        status, _ = await asyncio.gather(ctx.submit_run(flow_id, input, wait=True), ctx.get_blob(flow_id))
        again = await ctx.get_run(status.run_id, include_results=True)
        return {"results": again.results, "run_id": ctx.run_id, "item_index": ctx.item_index}

    @server.component
    def in_a_thread(input: list[int], ctx: BlockingContext) -> Any:
        flow_id = ctx.put_blob(FLOW)
        status = ctx.submit_run(flow_id, input, wait=True)
        run = ctx.start(flow_id, input)
        assert [entry.item_index for entry in run.results()] == list(range(len(input)))
        assert ctx.get_run(status.run_id, include_results=True).results == status.results
        return {"results": status.results, "run_id": ctx.run_id, "item_index": ctx.item_index}

    return server


@pytest.mark.parametrize("component", ["/under_trio", "/under_asyncio", "/in_a_thread"])
async def test_sub_runs_are_submitted_and_read_from_every_backend(component: str) -> None:
    asked = Asked(run_item=lambda flow, value: {"doubled": value * 2})
    async with open_server(make_server(), asked.handlers) as runtime:
        output = await runtime.execute(component, [1, 2], run_id="r-1", item_index=7, execution_id="e-77")
    assert [entry["result"] for entry in output["results"]] == [
        {"outcome": "success", "value": {"doubled": 2}},
        {"outcome": "success", "value": {"doubled": 4}},
    ]
    assert output["results"][0]["itemIndex"] == 0
    assert (output["run_id"], output["item_index"]) == ("r-1", 7)
    assert {params.observability.execution_id for params in asked.params} == {"e-77"}


async def test_submissions_say_all_that_they_are_given() -> None:
    asked = Asked(run_item=lambda flow, value: value)
    server = ComponentServer()

    @server.component
    async def submit(ctx: StepflowContext) -> None:
        await ctx.submit_run(
            flow=FLOW,
            inputs=(n for n in range(3)),
            wait=True,
            wait_for="settled",
            timeout_s=1.5,
            max_concurrency=2,
            overrides={"steps": {}},
            variables={"v": 1},
            labels={"a": "b"},
            flow_label="nightly",
            idempotency_key="k",
            failure_policy="failFast",
            run_timeout_s=60,
            parent_close_policy="abandon",
        )

    async with open_server(server, asked.handlers) as runtime:
        await runtime.execute("/submit")
    params = next(params for params in asked.params if isinstance(params, SubmitParams))
    assert msgspec.json.decode(msgspec.json.encode(params)) == {
        "flowId": params.flow_id,
        "inputs": [0, 1, 2],
        "wait": True,
        "maxConcurrency": 2,
        "overrides": {"steps": {}},
        "observability": {"execution_id": "e-1"},
        "flowLabel": "nightly",
        "variables": {"v": 1},
        "idempotencyKey": "k",
        "failurePolicy": "failFast",
        "labels": {"a": "b"},
        "waitFor": "settled",
        "timeoutMs": 1500,
        "runTimeoutMs": 60000,
        "parentClosePolicy": "abandon",
    }


async def test_many_inputs_go_in_several_requests() -> None:
    asked = Asked(run_item=lambda flow, value: value)
    server = ComponentServer()

    @server.component
    async def submit(ctx: StepflowContext) -> int:
        status = await ctx.submit_run(flow=FLOW, inputs=iter(range(25_000)), wait=True)
        assert status.results is not None
        return len(status.results)

    async with open_server(server, asked.handlers) as runtime:
        assert await runtime.execute("/submit") == 25_000
    kinds = [(type(p).__name__, p.sealed, len(p.inputs)) for p in asked.params if hasattr(p, "sealed")]
    assert kinds == [
        ("SubmitParams", False, 10_000),
        ("AppendParams", False, 10_000),
        ("AppendParams", True, 5_000),
    ]


async def test_results_that_did_not_fit_a_frame_are_fetched() -> None:
    fake = FakeRuntime(run_item=lambda flow, value: value)
    pages: list[Any] = []

    async def submit(params: Any, context: object) -> RunStatus:
        status: RunStatus = await fake.call(methods.SUBMIT_RUN, params)
        assert status.results is not None
        status.results, status.next_offset = status.results[:2], 2
        return status

    async def get(params: Any, context: object) -> RunStatus:
        pages.append(params.result_offset)
        status: RunStatus = await fake.call(methods.GET_RUN, params)
        assert status.results is not None
        if len(status.results) > 2:
            status.results, status.next_offset = status.results[:2], (params.result_offset or 0) + 2
        return status

    server = ComponentServer()

    @server.component
    async def component(ctx: StepflowContext) -> Any:
        return (await ctx.submit_run(fake.put_blob(FLOW), [0, 1, 2, 3, 4], wait=True)).results

    async with open_server(server, {"runs/submit": submit, "runs/get": get}) as runtime:
        output = await runtime.execute("/component")
    assert [entry["itemIndex"] for entry in output] == [0, 1, 2, 3, 4]
    assert pages == [None, 2, 4]


async def test_binary_blobs_are_bytes_on_both_ends() -> None:
    blobs: dict[str, Any] = {}

    async def put(params: PutBlobParams, context: object) -> PutBlobResult:
        blobs["b"] = (msgspec.json.decode(params.data), params.blob_type)
        return PutBlobResult("b")

    async def get(params: GetBlobParams, context: object) -> GetBlobResult:
        return GetBlobResult(*blobs[params.blob_id])

    server = ComponentServer()

    @server.component
    async def component(ctx: StepflowContext) -> bool:
        return bool(await ctx.get_blob(await ctx.put_blob(b"\xff\x00", "binary")) == b"\xff\x00")

    async with open_server(server, {"blobs/put": put, "blobs/get": get}) as runtime:
        assert await runtime.execute("/component") is True
    assert blobs["b"] == ("/wA=", "binary")


async def test_a_throttled_request_is_sent_again() -> None:
    asked = 0

    async def put(params: PutBlobParams, context: object) -> PutBlobResult:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise RpcError(ErrorCode.THROTTLED, "Too much.", retryAfterMs=1)
        return PutBlobResult("b")

    server = ComponentServer()

    @server.component
    async def component(ctx: StepflowContext) -> str:
        return await ctx.put_blob(1)

    async with open_server(server, {"blobs/put": put}) as runtime:
        assert await runtime.execute("/component") == "b"
    assert asked == 3


async def test_an_unknown_run_is_an_error_of_its_own() -> None:
    server = ComponentServer()

    @server.component
    def component(ctx: BlockingContext) -> Any:
        with pytest.raises(RunNotFoundError) as caught:
            ctx.get_run("nope")
        assert isinstance(caught.value.cause, RpcError)
        return caught.value.run_id

    async with open_server(server, Asked().handlers) as runtime:
        assert await runtime.execute("/component") == "nope"


async def test_threads_that_wait_for_the_runtime_leave_their_place_to_others() -> None:
    server = ComponentServer(max_threads=1)
    runtime_link: list[Link] = []

    @server.component
    def outer(ctx: BlockingContext) -> Any:
        return ctx.get_blob("whatever")

    @server.component
    def inner() -> str:
        return "inner"

    async def get(params: GetBlobParams, context: object) -> GetBlobResult:
        return GetBlobResult(await runtime.execute("/inner"), BlobType.DATA)

    async with open_server(server, {"blobs/get": get}) as runtime:
        runtime_link.append(runtime.link)
        assert await runtime.execute("/outer") == "inner"


async def test_cancelling_reaches_a_thread_that_waits_for_the_runtime() -> None:
    server = ComponentServer()
    asked, cancelled = trio.Event(), trio.Event()

    @server.component
    def component(ctx: BlockingContext) -> Any:
        return ctx.get_blob("whatever")

    async def get(params: GetBlobParams, context: object) -> GetBlobResult:
        asked.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    async with open_server(server, {"blobs/get": get}) as runtime:
        request = runtime.post("/component", None, "c")
        await asked.wait()
        runtime.link.cancel(request)
        await runtime.wait_answers(1)
        assert runtime.posted["c"].error is not None
        assert runtime.posted["c"].error.code == -32800
        await cancelled.wait()


async def test_a_flow_builder_is_a_flow() -> None:
    asked = Asked(run_item=lambda flow, value: flow["name"])
    server = ComponentServer()

    @server.component
    async def component(ctx: StepflowContext) -> Any:
        builder = FlowBuilder("built")
        builder.output(builder.input)
        run = await ctx.start(builder, [1])
        return await run.return_value()

    async with open_server(server, asked.handlers) as runtime:
        assert await runtime.execute("/component") == "built"


def test_the_log_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    import structlog

    from protocol.types import Observability

    structlog.reset_defaults()  # as in a component server that configures nothing
    context = StepflowContext(FakeRuntime(), Observability(run_id="r-9", step_id="s"), attempt=2)
    context.log.info("hello", size=3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(part in captured.err for part in ("hello", "r-9", "attempt", "size"))
