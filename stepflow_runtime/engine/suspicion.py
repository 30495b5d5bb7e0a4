"""What may have taken the runtime down (PROTOCOL §6). Pure; whose turn it is then is the business of `turns`.

After an unclean stop everything that was at work is suspect. What was so twice without getting on in between starts
one at a time, so that only the culprit is still there when it strikes again; after `max_stops` it is failed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.items import ItemRecord
from stepflow_runtime.model.outcome import Failure

ALONE_AFTER_STOPS: Final = 2
"""After so many unclean stops without progress an item waits for its turn."""

DEFAULT_MAX_STOPS: Final = 5

StepOfItem = tuple[int, str]


def find_suspects(items: Iterable[ItemRecord], delegating: Collection[StepOfItem], now_ms: int) -> tuple[int, ...]:
    """The items that may have taken the runtime down.

    Args:
        items: Those that were live.
        delegating: Steps with a sub-run that has not ended: it is that one's items that were at work.
        now_ms: Wall time; a step whose attempt was not due yet was not at work.
    """
    return tuple(
        item.index
        for item in items
        if not item.held
        and not item.cancelling
        and any(item.steps[step].due_ms <= now_ms and (item.index, step) not in delegating for step in item.at_work)
    )


def find_held(items: Iterable[ItemRecord], suspects: Collection[int], held_with: Collection[int]) -> tuple[int, ...]:
    """The items that wait for their turn: suspects of several stops, and whoever has sub-runs with such items."""
    return tuple(
        item.index
        for item in items
        if item.stops + (item.index in suspects) >= ALONE_AFTER_STOPS or item.index in held_with
    )


def blame(item: ItemRecord, max_stops: int) -> Failure | None:
    """The failure of an item that has taken the runtime down too often."""
    if item.stops < max_stops:
        return None
    message = (
        f"the runtime was killed {item.stops} times while it executed this, with nothing gained in between: "
        f"maxUncleanStops is {max_stops}"
    )
    return Failure(ItemErrorCode.INTERNAL, message, {"limit": "maxUncleanStops", "value": max_stops})
