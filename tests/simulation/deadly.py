"""Work that takes the runtime down each time it is executed: it fails in the end, and what was beside it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from protocol.errors import ItemErrorCode
from protocol.runs import Outcome, RunStatus

if TYPE_CHECKING:
    from tests.simulation.world import World

BLAME: Final = {"limit": "maxUncleanStops", "value": 5}

MAX_STRIKES: Final = 40
"""Of all deadly items of a world, of which it has four at most."""

MAX_DEATHS: Final = 4
"""Where the runtime died oftener for other reasons, an innocent item may be blamed."""


async def strike(world: World) -> None:
    """What deadly work does."""
    world.trace.note("strike")
    if world.trace.counts["strike"] > MAX_STRIKES:
        world.trace.violate(f"the runtime was taken down {MAX_STRIKES} times by the same work")
    world.kill_runtime()
    await trio.sleep_forever()


def check_ends(world: World, status: RunStatus, deadly: int) -> None:
    """The deadly item was set aside, and the others were not."""
    for entry in status.results or ():
        error = entry.result.error
        is_blamed = error is not None and (error.code, error.data) == (ItemErrorCode.INTERNAL, BLAME)
        if entry.item_index == deadly and not is_blamed:
            world.trace.violate(f"{status.run_id}/{deadly} takes the runtime down, and ended with {entry.result}")
        others = world.trace.counts["runtime dies"] - world.trace.counts["strike"]
        if entry.item_index != deadly and others <= MAX_DEATHS and entry.result.outcome != Outcome.SUCCESS:
            world.trace.violate(f"{status.run_id}/{entry.item_index} did no harm, and ended with {entry.result}")
