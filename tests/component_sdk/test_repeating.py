"""What a client asked for when its connection was lost is asked again, so that it is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from component_sdk import AnswerLostError, Client, Run
from protocol.byproducts import TailResult
from protocol.runs import ItemCounts, RunState, RunStatus
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
}


@pytest.mark.parametrize("method", ASKS)
async def test_a_request_that_is_repeated_says_that_it_is_the_same(method: str) -> None:
    name, ask = ASKS[method]
    said: list[str] = []

    async def answer(params: Any, context: object) -> Any:
        said.append(getattr(params, name))
        if len(said) == 1:
            await runtime.cut()
        return TailResult(1) if method == "runs/streams/write" else STATUS

    async with open_both({method: answer}) as (client, runtime):
        await ask(client, client.get_run("r-1"))
        assert len(said) == 2
        assert len(runtime.hellos) == 2
        await ask(client, client.get_run("r-1"))
    assert said[0] == said[1] != said[2]
    assert all(said)


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("schedules/create", lambda client: client.create_schedule("* * * * *", "f:0")),
        ("webhooks/register", lambda client: client.register_webhook("https://example.com/hook")),
    ],
)
async def test_what_would_be_made_twice_is_not_asked_for_again(
    method: str, ask: Callable[[Client], Awaitable[Any]]
) -> None:
    asked = 0

    async def lose(params: Any, context: object) -> Any:
        nonlocal asked
        asked += 1
        await runtime.cut()

    async with open_both({method: lose}) as (client, runtime):
        with pytest.raises(AnswerLostError, match=rf"{method} was answered, and it may have been done: see with list_"):
            await ask(client)
    assert asked == 1
