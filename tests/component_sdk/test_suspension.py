"""How components suspend and sleep: what leaves, what comes back, on every backend, without a runtime."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw, Struct

from component_sdk import BlockingContext, ComponentServer, StepflowContext, Unfit
from component_sdk.testing import FakeRuntime, run_component
from protocol import methods
from protocol.types import ExecuteResult, Resume, Suspend
from tests.component_sdk.runtimes import make_execution, open_server


class Decision(Struct):
    approved: bool


async def ask(input: Any, ctx: StepflowContext) -> Any:
    first = await ctx.suspend({"question": input}, timeout=1.5)
    second: Decision = await ctx.suspend(schema=Decision, token="t")
    return [first, second.approved]


def ask_in_thread(input: Any, ctx: BlockingContext) -> Any:
    return [ctx.suspend("one"), ctx.suspend("two")]


async def ask_carelessly(input: Any, ctx: StepflowContext) -> Any:
    try:
        return await ctx.suspend("may I?")
    except Exception:
        return "no"


def test_the_first_suspension_that_was_not_resumed_ends_the_execution() -> None:
    first = run_component(ask, 7)
    assert isinstance(first, Suspend)
    assert (first.label, first.token, first.timeout_ms, first.resume_schema) == ("1", None, 1500, UNSET)
    assert msgspec.json.decode(msgspec.json.encode(first.payload)) == {"question": 7}
    second = run_component(ask, 7, resumes={"1": "yes"})
    assert isinstance(second, Suspend)
    assert (second.label, second.token, second.payload) == ("2", "t", UNSET)
    assert msgspec.json.decode(msgspec.json.encode(second.resume_schema))["$defs"]["Decision"]["required"] == [
        "approved"
    ]
    assert run_component(ask, 7, resumes={"1": "yes", "2": {"approved": True}}) == ["yes", True]


def test_an_answer_that_is_not_of_the_type_is_an_error() -> None:
    with pytest.raises(Unfit):
        run_component(ask, 7, resumes={"1": None, "2": {}})


def test_a_plain_function_suspends_too() -> None:
    assert run_component(ask_in_thread, 1, resumes={"1": 1}).label == "2"
    assert run_component(ask_in_thread, 1, resumes={"1": 1, "2": None}) == [1, None]


def test_a_component_for_asyncio_suspends_too() -> None:
    assert run_component(ask, 1, backend="asyncio").label == "1"
    assert run_component(ask, 1, backend="asyncio", resumes={"1": 1, "2": {"approved": False}}) == [1, False]


def test_except_exception_lets_a_suspension_pass() -> None:
    assert run_component(ask_carelessly).label == "1"


def test_labels_name_suspensions() -> None:
    async def ask_by_name(input: Any, ctx: StepflowContext) -> Any:
        return await ctx.suspend(label="approval")

    assert run_component(ask_by_name).label == "approval"
    assert run_component(ask_by_name, resumes={"approval": 5}) == 5


def test_sleeps_take_no_time_in_tests_and_say_how_long_they_were() -> None:
    async def sleep(input: Any, ctx: StepflowContext) -> Any:
        await ctx.sleep(1.5, correlation_id="nap")
        return await ctx.sleep(datetime(2026, 1, 1, tzinfo=UTC))

    runtime = FakeRuntime()
    assert run_component(sleep, runtime=runtime) is False
    first, second = runtime.sleeps
    assert (first.duration_ms, first.until, first.correlation_id) == (1500, None, "nap")
    assert (second.duration_ms, second.until) == (None, "2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize("backend", [None, "asyncio"])
async def test_what_a_component_is_registered_with_counts_where_a_suspension_names_no_schema(
    backend: str | None,
) -> None:
    server = ComponentServer()

    @server.component(resume=Decision, backend=backend)
    async def decide(input: Any, ctx: StepflowContext) -> Any:
        decision: Decision = await ctx.suspend()
        return [decision.approved, await ctx.suspend(schema=int)]

    async with open_server(server) as runtime:
        params = make_execution("/decide", 1)
        left: ExecuteResult = await runtime.link.call(methods.EXECUTE, params)
        assert isinstance(left.suspend, Suspend)
        schema = msgspec.json.decode(msgspec.json.encode(left.suspend.resume_schema))
        assert schema["$defs"]["Decision"]["required"] == ["approved"]
        params.resumes = [Resume("1", Raw(b'{"approved":true}')), Resume("2", Raw(b"7"))]
        ended: ExecuteResult = await runtime.link.call(methods.EXECUTE, params)
        assert bytes(ended.output) == b"[true,7]"  # type: ignore[arg-type]
