"""Inputs that runs are about to need, read from the store ahead of their items. Below `executor`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.loading import read_segment
from stepflow_runtime.engine.patience import insist
from stepflow_runtime.engine.salvage import describe_damage
from stepflow_runtime.engine.taking_up import read_reuses_of
from stepflow_runtime.ports import InputSegment, Store, StoreCorrupt


class InputSupply:
    """Reads inputs, one segment after the other.

    Args:
        store: Where they are.
        touch: Takes a turn with a run.
    """

    def __init__(self, store: Store, touch: Callable[[ActiveRun], None]) -> None:
        self._store = store
        self._touch = touch
        self._asked: trio.MemorySendChannel[tuple[ActiveRun, int]]
        self._asked, self._asked_in = trio.open_memory_channel[tuple[ActiveRun, int]](float("inf"))

    def ask(self, run: ActiveRun, index: int) -> None:
        """Has the inputs of a run read, soon, from this index on."""
        self._asked.send_nowait((run, index))

    async def run(self) -> None:
        """Reads what is asked for, until cancelled."""
        async for run, index in self._asked_in:
            try:
                segment = await insist("a run without inputs", partial(read_segment, self._store, run.spec, index))
                if run.spec.fork is not None:
                    await insist("what a fork re-uses", partial(self._read_reuses, run, index, segment))
                run.state.inputs.offer(segment)
            except StoreCorrupt as error:
                run.state.stop(describe_damage(error).message)
            self._touch(run)

    async def _read_reuses(self, run: ActiveRun, index: int, segment: InputSegment) -> None:
        pending = run.state.facts.find_pending(index, segment.first_index + segment.count)
        indexes = [index for first, last in pending for index in range(first, last + 1)]
        run.state.reuses.update(await read_reuses_of(self._store, run.spec, run.state.plan, indexes))
