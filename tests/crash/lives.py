"""What a runtime lives through: one workload with all that runs can do, and what must hold at its end.

It has fan-out, chains, retries, an open run, sub-runs, streams, checkpoints, artifacts, a tree that is
restarted and cancelled, a run that is mended by time travel, a job and a webhook.
The client does what clients do: it submits again under the same idempotency keys, appends again at the same index, and
waits. Executions are counted over all lives of the runtime.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest.mock import patch

import trio
import trio._core._run as trio_run
import trio.testing
from msgspec import Struct, field

from protocol.errors import RpcError
from protocol.runs import RunState, RunStatus, WaitFor
from stepflow_runtime.model.events import StepFailed, StepSucceeded
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Outcome, Suspension
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import Execution, RunFilter
from stepflow_runtime.store.sqlite import SqliteStore, open_sqlite
from tests.crash import nightly
from tests.crash.telling import ITEMS, TELLING, check_told, tell
from tests.invariants import Executions, audit_store
from tests.stepflow_runtime.engine.world import (
    BOOM,
    CHAIN,
    EPOCH_MS,
    ONE,
    World,
    flow,
    open_world,
    outcomes,
    read_journal,
    ref,
    step,
    values,
)

T = TypeVar("T")

Hook = Callable[[int], Awaitable[None]]
"""Is awaited before or after a write, with its number."""

FLAKY: Final = flow(step("flaky", onError={"action": "retry"}), step("a", ref("flaky")))
PARENT: Final = flow(step("spawn"), step("b", ref("spawn")))
STUCK: Final = flow(step("stuck"))
STUCK_PARENT: Final = flow(step("spawn-stuck"))
BRITTLE: Final = flow(step("a"), step("brittle", ref("a")), step("c", ref("brittle")))
ASKING: Final = flow(step("ask"), step("doze", ref("ask")))

SUCCESSES: Final = {
    "fan": range(9),
    "chain": range(3),
    "flaky": range(2),
    "open": range(5),
    "asking": range(2),
    "mended": [0, 10, 2, 10],
}


class Died(Exception):
    """The runtime is gone."""


class Lives(Struct):
    """What happened over all lives of a runtime.

    `executed` are (run, item, step, attempt) in order; `begun` counts executions by place; `announced` is what the
    webhook was told.
    """

    path: Path
    boots: int = 0
    now_ms: int = EPOCH_MS
    writes: int = 0
    executed: list[tuple[str, int, str, int]] = field(default_factory=list)
    executions: Executions = field(default_factory=Executions)
    begun: dict[tuple[str, int, str], int] = field(default_factory=lambda: defaultdict(int))
    announced: nightly.Told = field(default_factory=lambda: defaultdict(set))


def components(lives: Lives, world: Callable[[], World]) -> Callable[[Execution], Any]:
    async def spawn(execution: Execution) -> Outcome:
        status = await insist(world().submit, ONE, [1, 2], by=execution, wait=True)
        return b"%d" % len(status.results or [])

    async def spawn_stuck(execution: Execution) -> Outcome:
        await insist(world().submit, STUCK, [1], by=execution, wait=True)
        raise AssertionError("it never ends")

    async def tell_all(execution: Execution) -> Outcome:
        return await tell(world(), execution, partial(insist, world().blobs.put_raw))

    async def stick(execution: Execution) -> Outcome:
        await trio.sleep_forever()
        raise AssertionError

    def behave(execution: Execution) -> Any:
        place = (execution.run_id, execution.item_index, execution.step_id)
        lives.executed.append((*place, execution.attempt))
        lives.executions.begin((*place, execution.attempt), execution, world().clock.wall_ms())
        lives.begun[place] += 1
        match execution.step_id:
            case "spawn":
                return spawn
            case "spawn-stuck":
                return spawn_stuck
            case "stuck":
                return stick
            case "tell":
                return tell_all
            case "flaky" if lives.begun[place] == 1:
                return BOOM
            case "brittle" if execution.input in (b"1", b"3"):
                return BOOM
            case "ask":
                return execution.resumes[0].data if execution.resumes else Suspension(timeout_ms=3_600_000)
            case "doze" if not execution.resumes:
                return Suspension(until_ms=world().clock.wall_ms() + 500)
            case _:
                return execution.input

    return behave


async def insist(work: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
    """Asks again, as clients do, while nothing can be stored."""
    while True:
        try:
            return await work(*args, **options)
        except RpcError as error:
            if error.data.get("reason") != "storeUnavailable":
                raise
            await trio.sleep(error.data["retryAfterMs"] / 1000)


async def answer(world: World, run_id: str) -> None:
    """Answers each item with its index, as often as it asks."""
    status = await world.get(run_id, wait=True, wait_for=WaitFor.SETTLED)
    for suspension in status.suspensions or []:
        item = suspension.item_index
        await world.resume(run_id, item, item_index=item, label="1", request_id=f"answer {item}")


async def mend(world: World) -> RunStatus:
    """A run of which items fail, and its fork in which they do not; there is one, however often this is done."""
    broken = await insist(world.submit, BRITTLE, range(4), idempotency_key="broken")
    await world.finish(broken.run_id)
    fork = await insist(world.time_travel, broken.run_id, "brittle", item_indexes=[1, 3], input=10, request_id="mended")
    assert len(await world.store.runs(RunFilter(forked_from=broken.run_id), None, 10)) == 1
    return fork


async def use(world: World) -> dict[str, RunStatus]:
    """What the client wants; to be said again after a death."""
    job_id = await nightly.order(world, insist)
    fan = await insist(world.submit, ONE, range(9), max_concurrency=2, idempotency_key="fan")
    chain = await insist(world.submit, CHAIN, range(3), max_concurrency=1, idempotency_key="chain")
    flaky = await insist(world.submit, FLAKY, range(2), idempotency_key="flaky")
    opened = await insist(world.submit, ONE, [0, 1], sealed=False, idempotency_key="open")
    parent = await insist(world.submit, PARENT, range(2), idempotency_key="parent")
    telling = await insist(world.submit, TELLING, range(ITEMS), idempotency_key="telling")
    stuck = await insist(world.submit, STUCK_PARENT, range(2), idempotency_key="stuck", max_concurrency=1)
    await insist(world.append, opened.run_id, 2, [b"2", b"3"])
    await trio.sleep(1)
    await insist(world.append, opened.run_id, 4, [b"4"], sealed=True)
    again = await insist(world.restart, stuck.run_id, request_id="again")
    assert again.run_id == stuck.run_id, "what went again while the run went on was forked when it had ended"
    await insist(world.cancel, stuck.run_id, reason="enough")
    asking = await insist(world.submit, ASKING, range(2), max_concurrency=1, idempotency_key="asking")
    await answer(world, asking.run_id)
    mended = await mend(world)
    named = {
        "mended": mended,
        "asking": asking,
        "fan": fan,
        "chain": chain,
        "flaky": flaky,
        "open": opened,
        "parent": parent,
        "stuck": stuck,
    }
    named["telling"] = telling
    await nightly.finish(world, job_id)
    return {name: await world.finish(status.run_id) for name, status in named.items()}


async def live(lives: Lives, before: Hook | None = None, after: Hook | None = None) -> dict[str, RunStatus] | None:
    """One life of the runtime, until its work is done or it dies; and then, that all is as it must be."""
    lives.boots += 1
    results: dict[str, RunStatus] | None = None
    async with open_sqlite(lives.path, synchronous="OFF", inline_only=True) as store:
        ended_steps, terminal = await take_stock(store)
        executed_before = len(lives.executed)
        worlds: list[World] = []
        try:
            async with open_world(
                store,
                components(lives, lambda: worlds[0]),
                boot=lives.boots,
                epoch_ms=lives.now_ms,
                hooks=(before, after),
                before_start=worlds.append,
            ) as world:
                with trio.fail_after(10_000):
                    results = await use(world)
                    await check_children(world, results)
                    await check_told(world, results["telling"])
                await trio.sleep(100)
                assert not world.caller.held
                assert not await store.outbox()
                assert await audit_store(store, lives.executions) == []
                nightly.note_told(world, lives.announced)
                await nightly.check_announced(store, lives.announced)
        except* Died:
            pass
        lives.writes, lives.now_ms = worlds[0].store.writes, worlds[0].clock.wall_ms()
        nightly.note_told(worlds[0], lives.announced)
        again = {place[:3] for place in lives.executed[executed_before:]} & ended_steps
        assert not again, "a committed step was executed again"
        _, terminal_now = await take_stock(store)
        assert terminal.items() <= terminal_now.items(), "a terminal state changed"
    return results


async def take_stock(store: SqliteStore) -> tuple[set[tuple[str, int, str]], dict[RunId, tuple[RunState, int]]]:
    """The steps that have durably ended, and the runs, with their states and last sequence numbers."""
    ended: set[tuple[str, int, str]] = set()
    terminal: dict[RunId, tuple[RunState, int]] = {}
    for record in await store.runs(RunFilter(), None, 1000):
        run_id, progress = record.spec.run_id, record.progress
        if progress.status in TERMINAL_RUN_STATES:
            terminal[run_id] = (progress.status, progress.seq)
        for event in await read_journal(store, run_id):
            if isinstance(event, (StepSucceeded, StepFailed)):
                ended.add((run_id, event.item, event.step))
    return ended, terminal


async def check_children(world: World, results: dict[str, RunStatus]) -> None:
    children = await world.store.children(RunId(results["parent"].run_id))
    assert sorted(child.spec.parent.item_index for child in children) == [0, 1], "a sub-run was lost, or made twice"
    assert {child.progress.status for child in children} == {RunState.SUCCESS}
    for child in await world.store.children(RunId(results["stuck"].run_id)):
        assert (await world.finish(child.spec.run_id)).status is RunState.CANCELLED


def check_results(results: dict[str, RunStatus] | None) -> None:
    assert results is not None
    for name, expected in SUCCESSES.items():
        assert results[name].status is RunState.SUCCESS, name
        assert [entry.item_index for entry in results[name].results or []] == list(range(len(expected)))
        assert values(results[name].results or []) == list(expected)
    assert values(results["parent"].results or []) == [2, 2]
    assert results["stuck"].status is RunState.CANCELLED
    assert outcomes(results["stuck"]) == [(0, "cancelled"), (1, "cancelled")]


def run(*args: Any) -> Any:
    """`trio.run` in a time that jumps, with the same order of tasks each time, so that write `n` is the same write."""
    trio_run._r.seed(0)
    with patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        return trio.run(*args, clock=trio.testing.MockClock(autojump_threshold=0))


def count_writes(folder: Path) -> int:
    lives = Lives(folder / "clean.db")
    check_results(run(live, lives))
    return lives.writes
