"""What a client asked for when its connection was lost is asked again, so that it is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from component_sdk import Client, Run
from protocol.automation import JobStatus, Schedule
from protocol.byproducts import TailResult
from protocol.runs import ItemCounts, RegisteredWebhook, RunState, RunStatus
from tests.component_sdk.runtimes import open_both

AT: Final = "2025-01-15T10:30:00.000Z"
STATUS: Final = RunStatus(
    run_id="r-2", flow_id="f:0", status=RunState.SUCCESS, items=ItemCounts(1, success=1), created_at=AT
)

Ask = Callable[[Client, Run], Awaitable[Any]]
ASKS: Final[dict[str, tuple[str, Ask]]] = {
    "runs/submit": ("idempotency_key", lambda client, run: client.submit_run("f:0", [1])),
    "runs/resume": ("request_id", lambda client, run: run.resume(1)),
    "runs/restart": ("request_id", lambda client, run: run.restart()),
    "runs/timeTravel": ("request_id", lambda client, run: run.time_travel("a")),
    "runs/streams/write": ("write_key", lambda client, run: run.writer().write("chunk")),
    "jobs/submit": ("idempotency_key", lambda client, run: client.submit_job([{"flow": "f:0"}])),
    "schedules/create": ("request_id", lambda client, run: client.create_schedule("* * * * *", "f:0")),
    "webhooks/register": ("request_id", lambda client, run: client.register_webhook("https://example.com/hook")),
}
ANSWERS: Final[dict[str, Any]] = {
    "runs/streams/write": TailResult(1),
    "jobs/submit": JobStatus(job_run_id="j-1", status=RunState.PENDING, runs=[], created_at=AT),
    "schedules/create": Schedule(
        schedule_id="s-1",
        cron="* * * * *",
        time_zone="UTC",
        flow_id="f:0",
        overlap="skip",
        catch_up_ms=0,
        created_at=AT,
    ),
    "webhooks/register": RegisteredWebhook("w-1", "whsec_"),
}


@pytest.mark.parametrize("method", ASKS)
async def test_a_request_that_is_repeated_says_that_it_is_the_same(method: str) -> None:
    name, ask = ASKS[method]
    said: list[str] = []

    async def answer(params: Any, context: object) -> Any:
        said.append(getattr(params, name))
        if len(said) == 1:
            await runtime.cut()
        return ANSWERS.get(method, STATUS)

    async with open_both({method: answer}) as (client, runtime):
        await ask(client, client.get_run("r-1"))
        assert len(said) == 2
        assert len(runtime.hellos) == 2
        await ask(client, client.get_run("r-1"))
    assert said[0] == said[1] != said[2]
    assert all(said)
