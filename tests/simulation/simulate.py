"""One seed, from an empty disk to the last check."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from random import Random
from typing import Final
from unittest.mock import patch

import msgspec
import structlog
import trio
import trio._core._run as trio_run
import trio.testing
from msgspec import Struct

import component_sdk.workers
from stepflow_runtime.model.events import StepSucceeded
from tests.invariants import audit_store
from tests.simulation.chaos import rage
from tests.simulation.network import Weather
from tests.simulation.scenarios import SCENARIOS, play
from tests.simulation.sizes import small_sizes
from tests.simulation.trace import Trace
from tests.simulation.world import Machines, World

BOUND_S: Final = 30_000.0
"""Simulated time after which everything must have ended: eight jumps of the wall clock back by an hour, and a while."""

MAX_TURNS: Final = 150_000
"""Turns of trio's loop; ordinary seeds take a few thousand."""

REST_S: Final = 30_000.0
"""Simulated time for what nobody waits for any more."""


PING_S: Final = 60.0
"""Simulated time in which what is there for a moment, as a ping, is gone again."""


class Report(Struct):
    """What a simulation was.

    Args:
        seed: What it followed from.
        violations: What is wrong; empty if nothing is.
        lines: The last that happened.
        counts: How often what happened.
        digest: Of all that happened.
    """

    seed: int
    violations: list[str]
    lines: list[str]
    counts: Counter[str]
    digest: int

    def __str__(self) -> str:
        return "\n".join([*self.lines, *self.violations, f"replay: python -m tests.simulation --seed {self.seed}", ""])


def simulate(seed: int) -> Report:
    """Simulates one seed and checks everything.

    Args:
        seed: Decides all there is to decide.
    """
    patience = _Patience()
    trace = Trace(patience.scope.cancel)
    clock = trio.testing.MockClock(autojump_threshold=0)
    sizes = small_sizes() if Random(f"{seed} sizes").random() < 0.7 else nullcontext()
    with _deterministic(seed), sizes:
        try:
            trio.run(_simulate, seed, trace, patience, clock=clock, instruments=[patience])
        except Exception as error:  # whatever it was, it should not have been
            trace.violations.append("".join(traceback.format_exception(error)))
    return Report(seed, trace.violations, list(trace.lines), trace.counts, trace.digest)


class _Patience(trio.abc.Instrument):
    """Ends a simulation in which much happens and nothing comes of it."""

    def __init__(self) -> None:
        self.turns = 0
        self.scope = trio.CancelScope()

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1
        if self.turns > MAX_TURNS:
            self.scope.cancel()


def draw_machines(chance: Random) -> Machines:
    """The world of a seed."""
    weather = Weather(
        max_delay_s=chance.choice([0.0, 0.002, 0.02, 0.1]),
        split=chance.choice([0.0, 0.2, 0.5]),
        refuse=chance.choice([0.0, 0.1, 0.4]),
        duplicate=chance.choice([0.0, 0.1]),
    )
    return Machines(
        servers=chance.randint(1, 3),
        dial_in=chance.random() < 0.25,
        slots=chance.choice([1, 2, 3, 8, 1000]),
        weather=weather,
        transport_retries=chance.choice([3, 8]),
        max_handled=chance.choice([3, 2000, 2000, 2000]),
        max_parked=chance.choice([2, 10_000, 10_000, 10_000]),
    )


async def _simulate(seed: int, trace: Trace, patience: _Patience) -> None:
    chance = Random(seed)
    is_done = False
    async with trio.open_nursery() as nursery:
        world = World(Random(f"{seed} world"), draw_machines(chance), nursery, trace)
        nursery.start_soon(world.run)
        try:
            with patience.scope, trio.move_on_after(BOUND_S):
                async with trio.open_nursery() as playing:
                    playing.start_soon(rage, world, Random(f"{seed} chaos"))
                    for number in range(chance.randint(1, 4)):
                        scenario = chance.choice(SCENARIOS)
                        playing.start_soon(play, world, scenario, Random(f"{seed} play {number}"), number)
                await _settle(world)
                is_done = True
            if trace.violations:
                return
            if patience.scope.cancelled_caught:
                world.trace.violate(f"it goes round in circles: {_unfinished(world)}")
            elif not is_done:
                world.trace.violate(f"it did not end within {BOUND_S:g} s: {_unfinished(world)}")
            else:
                await trio.sleep(REST_S)
                await world.restart_runtime()
                await trio.sleep(REST_S)
                await _check(world)
        finally:
            nursery.cancel_scope.cancel()
    trace.violations += [f"{wire.name} was left open" for wire in world.network.wires]


async def _settle(world: World) -> None:
    """Waits until no run is unfinished, on a disk that is well."""
    world.disk.dies_at = None
    while _unfinished(world):  # noqa: ASYNC110  simulated time costs nothing
        await trio.sleep(1)


def _unfinished(world: World) -> list[str]:
    return [
        f"{run_id}: {run.record.progress}"
        for run_id, run in world.disk.state._runs.items()
        if run.record.progress.completed_at_ms is None
    ]


async def _check(world: World) -> None:
    trace, state = world.trace, world.disk.state
    trace.violations += await audit_store(state, world.executions, _check_output)
    world.receiver.check(state)
    trace.counts["results told"] += len(world.promises.results)
    trace.counts["runs"] += len(state._runs)
    trace.counts["items"] += sum(run.record.progress.total for run in state._runs.values())
    trace.counts["executions"] += sum(world.executions.begun.values())
    if world.runtime is None:
        trace.violate("no runtime is up")
    else:
        left = world.runtime.leftovers()
        await trio.sleep(PING_S)
        trace.violations += [f"left: {what}" for what in world.runtime.leftovers() if what in left]
    if len(state.hub):
        trace.violate(f"{len(state.hub)} waiters are left")
    if state._outbox:
        trace.violate(f"messages were not delivered: {list(state._outbox)}")


def _check_output(event: StepSucceeded) -> str | None:
    """Components say which attempt they are: an output is of the attempt that it is recorded for."""
    value = msgspec.json.decode(event.value)
    said = value.get("attempt", event.attempt) if isinstance(value, dict) else event.attempt
    if said == event.attempt:
        return None
    return f"the output of {event.item}/{event.step}, attempt {event.attempt}, is that of attempt {said}"


@contextmanager
def _deterministic(seed: int) -> Generator[None]:
    """Trio's order of tasks follows from the seed, no module looks at a real clock, and nothing is logged."""
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    trio_run._r.seed(seed)
    try:
        with (
            patch.object(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            patch.object(component_sdk.workers, "perf_counter", trio.current_time),
        ):
            yield
    finally:
        structlog.configure(**config)
