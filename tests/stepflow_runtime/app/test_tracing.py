"""Traces of whole runtimes, as a collector gets them over OTLP/HTTP."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import trio

from protocol.link import Link
from protocol.methods import PUT_BLOB, SUBMIT_RUN
from protocol.runs import RunStatus, SubmitParams
from protocol.types import BlobType, Observability, PutBlobParams
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.model.trace import SpanContext, read_traceparent
from tests.receiver import TRACES, Receiver, open_receiver
from tests.stepflow_runtime.web.kit import ask, submit

SERVER: Final = '''
from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()
FLOW = {"name": "nest", "steps": [{"id": "n", "component": "/python/nest", "input": {"$input": "$"}}],
        "output": {"$step": "n"}}


@server.component
async def nest(levels: int, ctx: StepflowContext) -> list[str]:
    """What this level and those below were told of the trace."""
    if levels == 1:
        return [ctx.traceparent or ""]
    status = await ctx.submit_run(flow=FLOW, inputs=[levels - 1], wait=True)
    return [ctx.traceparent or "", *status.results[0].result.value]


server.run()
'''
FLOW: Final = {
    "name": "nest",
    "steps": [{"id": "n", "component": "/python/nest", "input": {"$input": "$"}}],
    "output": {"$step": "n"},
}


@pytest.fixture
def collector() -> Generator[Receiver]:
    with open_receiver() as receiver:
        yield receiver


def configure(folder: Path, telemetry: dict[str, Any]) -> Config:
    (folder / "server.py").write_text(SERVER)
    parts = {
        "plugins": {"python": {"type": "stepflow", "command": sys.executable, "args": ["server.py"]}},
        "routes": {"/python": [{"plugin": "python"}]},
        "storage": {"type": "memory"},
        "listen": {"http": "127.0.0.1:0"},
        **({"telemetry": telemetry} if telemetry else {}),
    }
    return parse_config(msgspec.json.encode(parts), "stepflow-config.json", folder, {})


@asynccontextmanager
async def traced(folder: Path, **telemetry: Any) -> AsyncGenerator[Link]:
    """A runtime; spans have been sent when it is left."""
    with trio.fail_after(60):
        async with open_runtime(configure(folder, telemetry)) as runtime, runtime.connect_local() as client:
            yield client


async def nest(client: Link, levels: int, observability: Observability | None = None) -> tuple[str, list[str]]:
    """Runs that many levels; returns the root's id, and what each level was told."""
    blob = PutBlobParams(msgspec.Raw(msgspec.json.encode(FLOW)), BlobType.FLOW)
    flow_id = (await client.call(PUT_BLOB, blob)).blob_id
    inputs = [msgspec.Raw(str(levels).encode())]
    params = SubmitParams(flow_id, inputs, wait=True, observability=observability)
    status: RunStatus = await client.call(SUBMIT_RUN, params)
    assert status.results is not None
    assert status.results[0].result.error is None
    return status.run_id, msgspec.json.decode(msgspec.json.encode(status.results[0].result.value))


async def test_three_levels_of_runs_are_one_trace_into_their_components(tmp_path: Path, collector: Receiver) -> None:
    async with traced(tmp_path, endpoint=collector.url + TRACES, stepSampleRatio=1, headers={"X-Key": "k"}) as client:
        root, told = await nest(client, 3)
    chain = collector.chain()
    assert [span.name for span in chain] == ["run nest", "step n"] * 3
    assert {span.trace_id.hex() for span in chain} == {root.replace("-", "")}
    assert told == [f"00-{step.trace_id.hex()}-{step.span_id.hex()}-01" for step in chain[1::2]]
    assert collector.sent[-1].headers["x-key"] == "k"


async def test_a_trace_that_comes_with_a_submission_is_continued(tmp_path: Path, collector: Receiver) -> None:
    caller = Observability("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    async with traced(tmp_path, endpoint=collector.url + TRACES) as client:
        _, told = await nest(client, 2, caller)
    chain = collector.chain(bytes.fromhex(caller.span_id or ""))
    assert [span.name for span in chain] == ["run nest"] * 2  # by default steps have none
    assert {span.trace_id.hex() for span in chain} == {caller.trace_id}
    assert [parent.split("-")[2] for parent in told] == [span.span_id.hex() for span in chain]


async def test_a_trace_that_comes_with_an_http_request_is_continued(tmp_path: Path, collector: Receiver) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with trio.fail_after(60):
        config = configure(tmp_path, {"endpoint": collector.url + TRACES})
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            address: str = await nursery.start(runtime.serve_http)
            async with httpx.AsyncClient(base_url=address, timeout=60) as web:
                web.headers["traceparent"] = f"00-{trace_id}-{span_id}-01"
                run_id = await submit(web, FLOW, [2], wait=True)
                run = await ask(web, "runs/get", runId=run_id, includeResults=True)
            nursery.cancel_scope.cancel()
    chain = collector.chain(bytes.fromhex(span_id))
    assert [span.name for span in chain] == ["run nest"] * 2
    told = run["results"][0]["result"]["value"]
    assert told == [f"00-{trace_id}-{span.span_id.hex()}-01" for span in chain]


@pytest.mark.parametrize(
    ("header", "is_read"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        (" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 ", True),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", True),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c", False),
        ("", False),
        (None, False),
    ],
)
def test_a_traceparent_is_read_as_w3c_says(header: str | None, is_read: bool) -> None:
    found = SpanContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert read_traceparent(header) == (found if is_read else None)


async def test_a_trace_that_is_not_sampled_sends_nothing_and_is_passed_on(tmp_path: Path, collector: Receiver) -> None:
    async with traced(tmp_path, endpoint=collector.url + TRACES, sampleRatio=0, stepSampleRatio=1) as client:
        root, told = await nest(client, 2)
    assert not collector.spans
    assert all(root.replace("-", "") in parent for parent in told)


async def test_a_collector_that_is_away_hinders_nobody(tmp_path: Path) -> None:
    async with traced(tmp_path, endpoint="http://127.0.0.1:1/v1/traces", stepSampleRatio=1) as client:
        _, told = await nest(client, 2)
    assert len(told) == 2


async def test_without_telemetry_components_are_told_of_no_trace(tmp_path: Path) -> None:
    async with traced(tmp_path) as client:
        assert (await nest(client, 2))[1] == ["", ""]


async def test_without_the_extra_the_configuration_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stepflow_runtime.app.tracing", None)
    with pytest.raises(ValueError, match="stepflow-runtime\\[otel\\]"):
        async with traced(tmp_path, endpoint="http://127.0.0.1:1/v1/traces"):
            pass
