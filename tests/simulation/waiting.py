"""Components that ask, nap and doze, and the client that answers them: whatever fails, each answer counts once.

An answer that was acknowledged is the one that the component got, and no other.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from msgspec import Raw

from component_sdk import StepflowContext
from protocol import methods as m
from protocol.errors import ErrorCode, RpcError
from protocol.runs import (
    GetRunParams,
    Outcome,
    ResumeParams,
    RunParams,
    RunStatus,
    SuspensionInfo,
    WaitFor,
    WakeUpParams,
)
from stepflow_runtime.model.status import TERMINAL_RUN_STATES

if TYPE_CHECKING:
    from tests.simulation.workload import Client

TOO_LATE: Final = {ErrorCode.NOT_SUSPENDED, ErrorCode.ALREADY_RESUMED}

_ASK: Final = {"id": "ask", "component": "/s/ask", "input": {"$input": "$"}}
_DOZE: Final = {
    "id": "doze",
    "component": "/builtin/sleep",
    "input": {"duration_ms": {"$input": "doze"}, "passthrough": {"$input": "$"}},
}
FLOWS: Final[list[dict[str, Any]]] = [
    {"steps": [_ASK], "output": {"$step": "ask"}},
    {"steps": [_DOZE, {**_ASK, "input": {"$step": "doze"}}], "output": {"$step": "ask"}},
    {"steps": [_ASK, _DOZE], "output": {"answers": {"$step": "ask", "path": "answers"}, "dozed": {"$step": "doze"}}},
]


def draw_input(chance: Random, number: int) -> dict[str, Any]:
    return {
        "v": number,
        "asks": chance.choice([0, 1, 1, 2, 3]),
        "naps": [chance.choice([0, 5, 50]) for _ in range(chance.randint(0, 2))],
        "doze": chance.choice([0, 20, 200, 2000]),
    }


async def ask(input: Any, context: StepflowContext) -> Any:
    """Sleeps, asks, and says what it was answered."""
    answers: dict[str, Any] = {}
    for number, nap in enumerate(input["naps"]):
        await context.sleep(nap / 1000, correlation_id=None if number else "first")
    for number in range(1, input["asks"] + 1):
        answers[str(number)] = await context.suspend({"number": number}, schema={"type": "integer"})
    return {"v": input["v"], "attempt": context.attempt, "answers": answers}


async def answer(client: Client, run_id: str, chance: Random) -> None:
    """Answers what a run asks until it has ended; pauses it and wakes its sleepers now and then."""
    given: dict[tuple[int, str], int] = {}
    patience_ms = 20
    while True:
        params = GetRunParams(run_id, wait=True, wait_for=WaitFor.SETTLED, timeout_ms=patience_ms)
        patience_ms = min(patience_ms * 2, 3_600_000)  # the clock may be set back by an hour, and sleepers with it
        status: RunStatus = await client.ask(m.GET_RUN, params)
        if status.status in TERMINAL_RUN_STATES:
            break
        if chance.random() < 0.1:
            await _interrupt(client, run_id, chance)
        if chance.random() < 0.1:
            ids = chance.choice([None, ["first"]])
            await client.ask(m.WAKE_UP_RUN, WakeUpParams(run_id, ids))
        for suspension in status.suspensions or ():
            if chance.random() < 0.4:
                await _compete(client, run_id, suspension, given)
            elif chance.random() < 0.7:
                await _resume(client, run_id, suspension, chance.randrange(1000), given)
        await trio.sleep(chance.choice([0, 0.01]))
    await _check(client, run_id, given)


async def _interrupt(client: Client, run_id: str, chance: Random) -> None:
    try:
        await client.ask(m.PAUSE_RUN, RunParams(run_id))
        await trio.sleep(chance.choice([0, 0.05, 1]))
        await client.ask(m.UNPAUSE_RUN, RunParams(run_id))
    except RpcError as error:
        if error.code != ErrorCode.CONFLICT:  # it has ended meanwhile
            raise


async def _compete(client: Client, run_id: str, suspension: SuspensionInfo, given: dict[tuple[int, str], int]) -> None:
    """Several answer the same at once, each something else."""

    async def say(number: int) -> None:
        async with trio.open_nursery() as nursery:
            other = client.another(nursery, number)
            await _resume(other, run_id, suspension, number, given)
            await other.close()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(say, number)


async def _resume(
    client: Client, run_id: str, suspension: SuspensionInfo, number: int, given: dict[tuple[int, str], int]
) -> None:
    place = suspension.item_index, suspension.label
    params = ResumeParams(
        run_id,
        suspension.step_id,
        suspension.label,
        suspension.item_index,
        resume_data=Raw(msgspec.json.encode(number)),
        request_id=f"{place} {number}",
    )
    try:
        await client.ask(m.RESUME_RUN, params)
    except RpcError as error:
        if error.code not in TOO_LATE:
            raise
        return
    if place in given and given[place] != number:
        client.world.trace.violate(f"{run_id}: suspension {place} was resumed twice, with {given[place]} and {number}")
    given[place] = number


async def _check(client: Client, run_id: str, given: dict[tuple[int, str], int]) -> None:
    status: RunStatus = await client.ask(m.GET_RUN, GetRunParams(run_id, include_results=True))
    for entry in status.results or ():
        if entry.result.outcome is not Outcome.SUCCESS:
            continue  # its server was lost too often
        value = msgspec.json.decode(msgspec.json.encode(entry.result.value))
        for label, got in value["answers"].items():
            if given.get((entry.item_index, label), got) != got:
                said = given[entry.item_index, label]
                client.world.trace.violate(f"{run_id}/{entry.item_index}: {label} was answered {said}, and got {got}")
