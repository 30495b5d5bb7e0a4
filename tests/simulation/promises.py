"""What peers were told, and whether it is so: an answer is a promise, and is checked when it arrives and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocol.runs import ItemEntry, RunState, RunStatus
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES

if TYPE_CHECKING:
    from stepflow_runtime.ports import RunProgress
    from tests.simulation.disk import Disk
    from tests.simulation.trace import Trace


class Promises:
    """What was said of each run.

    Args:
        disk: What is so.
        trace: Where broken promises go.
    """

    def __init__(self, disk: Disk, trace: Trace) -> None:
        self._disk = disk
        self._trace = trace
        self._ends: dict[str, RunState] = {}
        self._results: dict[tuple[str, int], bytes] = {}
        self._by_key: dict[str, str] = {}

    def progress(self, run_id: str) -> RunProgress | None:
        """How the run stands on the disk."""
        run = self._disk.state._runs.get(RunId(run_id))
        return None if run is None else run.record.progress

    def note_run(self, run_id: str, total: int) -> None:
        """A peer was told that the run is there, with so many items."""
        progress = self.progress(run_id)
        if progress is None:
            self._trace.violate(f"{run_id} was acknowledged and is not on the disk")
        elif progress.total < total:
            self._trace.violate(f"{run_id} was said to have {total} items, and has {progress.total}")

    def note_key(self, key: str, run_id: str) -> None:
        """A peer was told which run an idempotency key gave."""
        first = self._by_key.setdefault(key, run_id)
        if first != run_id:
            self._trace.violate(f"idempotency key {key} gave {first} and {run_id}")

    def note_end(self, status: RunStatus) -> None:
        """A peer was told how a run stands, after it waited; results and an end are for ever."""
        progress = self.progress(status.run_id)
        self.note_run(status.run_id, status.items.total)
        if status.status in TERMINAL_RUN_STATES:
            first = self._ends.setdefault(status.run_id, status.status)
            if progress is None or progress.status is not status.status or first is not status.status:
                self._trace.violate(f"{status.run_id} was said to be {status.status}, on the disk is {progress}")
            if status.results is not None and status.next_offset is None:
                indexes = [entry.item_index for entry in status.results]
                if indexes != list(range(status.items.total)):
                    self._trace.violate(f"{status.run_id} has {status.items.total} items, results are of {indexes}")
        for entry in status.results or ():
            self.note_result(status.run_id, entry)

    def note_result(self, run_id: str, entry: ItemEntry) -> None:
        """A peer was told a result."""
        encoded = msgspec.json.encode(entry)
        if self._results.setdefault((run_id, entry.item_index), encoded) != encoded:
            self._trace.violate(f"the result of {run_id}/{entry.item_index} changed")

    @property
    def results(self) -> dict[tuple[str, int], bytes]:
        """All results that were told, as they were encoded."""
        return self._results
