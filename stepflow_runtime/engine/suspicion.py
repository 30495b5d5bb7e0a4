"""What may have taken the runtime down (PROTOCOL §6). Pure; whose turn it is then is the business of `turns`.

After an unclean stop everything that was at work is suspect. What was so twice without getting on in between starts
one at a time, so that only the culprit is still there when it strikes again; after `max_stops` it is failed.

Work that was suspect less often goes on beside the one whose turn it is. If the runtime dies then, it is rather that
work, and the one in its turn is spared: `max_stops` times and no more, or where there is always other work a culprit
would never be found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.items import ItemRecord
from stepflow_runtime.model.outcome import Failure

ALONE_AFTER_STOPS: Final = 2
"""After so many unclean stops without progress an item waits for its turn."""

DEFAULT_MAX_STOPS: Final = 5

StepOfItem = tuple[int, str]
_Run = TypeVar("_Run")


class Suspects(NamedTuple):
    """Items of one run that were at work when the runtime was taken down: for whom it counts, and who is spared."""

    counted: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()


NOBODY: Final = Suspects()


def find_at_work(items: Iterable[ItemRecord], delegating: Collection[StepOfItem], now_ms: int) -> list[ItemRecord]:
    """The items that may have taken the runtime down.

    Args:
        items: Those that were live.
        delegating: Steps with a sub-run that has not ended: it is that one's items that were at work.
        now_ms: Wall time; a step whose attempt was not due yet was not at work.
    """
    return [
        item
        for item in items
        if not item.held
        and not item.cancelling
        and any(item.steps[step].due_ms <= now_ms and (item.index, step) not in delegating for step in item.at_work)
    ]


def suspect(at_work: Mapping[_Run, Iterable[ItemRecord]], max_stops: int) -> dict[_Run, Suspects]:
    """Who is suspect of an unclean stop, by run.

    Args:
        at_work: What may have caused it, of all runs of the runtime.
        max_stops: So often an item in its turn is spared.
    """
    was_alone = all(item.stops >= ALONE_AFTER_STOPS for items in at_work.values() for item in items)

    def is_spared(item: ItemRecord) -> bool:
        return not was_alone and item.stops >= ALONE_AFTER_STOPS and item.spared < max_stops

    return {
        run: Suspects(
            tuple(item.index for item in items if not is_spared(item)),
            tuple(item.index for item in items if is_spared(item)),
        )
        for run, items in at_work.items()
    }


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
