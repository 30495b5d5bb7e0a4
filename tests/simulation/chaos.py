"""What happens to a world: a seed decides which faults, and when. After the last of them it is calm."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import trio

from tests.simulation.world import World

CHAOS_S: Final = 3.0
"""Faults happen in the first so many seconds."""


def _kill_runtime(world: World, chance: Random) -> None:
    world.kill_runtime()


def _kill_at_commit(world: World, chance: Random) -> None:
    world.disk.dies_at = (chance.choice(["before", "after"]), chance.randint(1, 30))


def _kill_server(world: World, chance: Random) -> None:
    chance.choice(world.hosts).kill(chance.choice([0.0, 0.2, 3.0]))


def _cut(world: World, chance: Random) -> None:
    if world.network.wires:
        wire = chance.choice(world.network.wires)
        wire.cut()
        world.executions.forget(wire)


def _pause(world: World, chance: Random) -> None:
    if world.network.wires:
        seconds = chance.choice([0.05, 0.5, 5.0])
        wire = chance.choice(world.network.wires)
        world.trace.note("pause", f"{wire.name} for {seconds} s")
        wire.hold(seconds)


def _set_clock(world: World, chance: Random) -> None:
    world.clock.skew_ms += chance.choice([-3_600_000, -1000, 1000, 3_600_000])
    world.trace.note("clock set", str(world.clock.skew_ms))


def _fill_disk(world: World, chance: Random) -> None:
    world.trace.note("disk fills")
    world.disk.full_until = trio.current_time() + chance.choice([0.05, 0.3, 1.0])


def _mute_disk(world: World, chance: Random) -> None:
    world.trace.note("disk mutes")
    world.disk.mute_until = trio.current_time() + chance.choice([0.05, 0.3, 1.0])


FAULTS: Final[list[Callable[[World, Random], None]]] = [
    _kill_runtime,
    _kill_at_commit,
    _kill_at_commit,
    _kill_at_commit,
    _kill_server,
    _cut,
    _cut,
    _pause,
    _set_clock,
    _fill_disk,
    _mute_disk,
]


async def rage(world: World, chance: Random) -> None:
    """Lets faults happen, and ends when the last has."""
    times = sorted(chance.random() ** 2 * CHAOS_S for _ in range(chance.choice([0, 1, 2, 4, 8, 12])))
    for at in times:
        await trio.sleep_until(at)
        chance.choice(FAULTS)(world, chance)
