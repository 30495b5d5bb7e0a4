"""One page of public events, filled from journal rows."""

from __future__ import annotations

from protocol.runs import RunEvent
from stepflow_runtime.model.events import decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import JournalRow
from stepflow_runtime.services.events.public import translate
from stepflow_runtime.services.status import format_time


class EventPage:
    """A page that is being filled.

    Args:
        types: Of the events that are wanted.
        limit: How many it holds.

    Attributes:
        is_full: Whether an event found no room any more.
    """

    def __init__(self, types: frozenset[str], limit: int) -> None:
        self.events: list[RunEvent] = []
        self.is_full = False
        self._types = types
        self._limit = limit

    def take(self, run_id: RunId, row: JournalRow, first: int = 0, skip: int = 0) -> tuple[int, int] | None:
        """Takes the events of a row.

        Args:
            run_id: Whose row it is.
            row: The row.
            first: Where to begin among its events.
            skip: So many public events of that one were taken before.

        Returns:
            Where to go on in this row if the page is full, as `first` and `skip`.
        """
        at = format_time(row.at_ms)
        for number, event in enumerate(decode_events(row.events)[first:], first):
            for kind, item, step, data in translate(event, skip):
                if len(self.events) == self._limit:
                    self.is_full = True
                    return number, skip
                if kind in self._types:
                    self.events.append(RunEvent(row.first_seq + number, kind, at, run_id, item, step, data))
                skip += 1
            skip = 0
        return None
