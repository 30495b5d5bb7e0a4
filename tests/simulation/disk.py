"""The simulated disk: what was committed stays, whatever happens to the runtime that wrote it.

`Disk` holds the state and outlives runtimes; a `Mount` is the store as one life of a runtime has it. Commits take time,
the disk can be full for a while, and a runtime can die right before or right after a commit. What is committed is
checked as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Final

import trio

from protocol.errand import in_task
from protocol.runs import RunState
from protocol.types import BlobType
from stepflow_runtime.model.events import RunForked, RunPaused, StepSuspended
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import CommitResult, Committed, Message, RunProgress, RunWrite, StoreUnavailable, WatchFor
from stepflow_runtime.store.memory import MemoryStore
from stepflow_runtime.store.watch import News, WatchHub
from tests.simulation.reading import Hopping
from tests.simulation.registry import MountedDeliveries, MountedRegistry
from tests.simulation.trace import Trace

MAX_WRITE_S: Final = 0.004
SLOW_WRITE_S: Final = 0.1
"""How long a write may take, and how long one that is slow."""

AT_LEAST_LOADED: Final = 4
"""More slots may be free for a moment, while inputs are loaded."""


class _LateHub(WatchHub):
    """Tells watchers of a commit when its writer is told, not when it was made."""

    def __init__(self) -> None:
        super().__init__()
        self._untold: list[tuple[RunId, News]] = []

    def notify(self, run_id: RunId, news: News) -> None:
        self._untold.append((run_id, news))

    def tell(self) -> None:
        untold, self._untold = self._untold, []
        for run_id, news in untold:
            super().notify(run_id, news)


class Disk:
    """State that survives.

    Attributes:
        state: As of the last commit.
        full_until: No write succeeds before this time.
        mute_until: Commits before this time are made, and their answers are lost.
        stops: How many runtimes have had it before.
        dies_at: The next commit at which the runtime dies, `before` it or `after` it.
    """

    def __init__(self, chance: Random, trace: Trace) -> None:
        self.state = MemoryStore()
        self.chance = chance
        self.trace = trace
        self.full_until = 0.0
        self.mute_until = 0.0
        self.stops = -1
        self.dies_at: tuple[str, int] | None = None
        self._ended: dict[RunId, RunState] = {}
        self._limits: dict[RunId, int] = {}
        self._waiting: set[RunId] = set()

    def mount(self, die: Callable[[], None]) -> Mount:
        """The store for a new life of the runtime; the one before must be dead."""
        self.stops += 1
        return Mount(self, die)

    def seq(self, run_id: RunId) -> int:
        """How many events of a run are there."""
        run = self.state._runs.get(run_id)
        return 0 if run is None else run.record.progress.seq

    def check(self, write: RunWrite) -> None:
        """A write that was just committed: terminal states stay, and `maxConcurrency` holds and is used."""
        if write.spec is not None:
            self._limits[write.run_id] = write.spec.max_concurrency
        if write.run_id in self._ended:
            self.trace.violate(f"{write.run_id} was {self._ended[write.run_id]} and was written to: {write.events}")
        if write.progress.status in TERMINAL_RUN_STATES:
            self._ended[write.run_id] = write.progress.status
        limit = self._limits[write.run_id]
        progress = write.progress
        if progress.running > limit:
            self.trace.violate(f"{write.run_id} runs {progress.running} items, maxConcurrency is {limit}")
        pending = progress.pending
        if any(isinstance(event, StepSuspended | RunPaused | RunForked) for event in write.events):
            self._waiting.add(write.run_id)  # what goes on has its slot while it is read, and is not at work yet
        is_free = not progress.cancel_requested and self.trace.counts["boot"] == 1
        is_free = is_free and write.run_id not in self._waiting
        if is_free and pending and progress.running < min(limit, AT_LEAST_LOADED):
            self.trace.violate(f"{write.run_id} runs {progress.running} of {limit} items, and {pending} wait")


class Mount:
    """`Store` and `BlobStore` for one life of a runtime; reads go to the state as it is, and take a moment.

    Attributes:
        after_clean_stop: No runtime ends in order here.
    """

    def __init__(self, disk: Disk, die: Callable[[], None]) -> None:
        self.is_dead = False
        self.after_clean_stop = disk.stops == 0
        self.hub = _LateHub()
        self._disk = disk
        self._die = die
        disk.state.hub = self.hub
        self._reads = Hopping(disk.chance, disk.state)
        self.byproducts = Hopping(disk.chance, disk.state.byproducts)
        self.deliveries = MountedDeliveries(self._seek, Hopping(disk.chance, disk.state.deliveries))
        self.registry = MountedRegistry(self._seek, Hopping(disk.chance, disk.state.registry))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        disk = self._disk
        await self._seek()
        crash = self._count_down()
        if crash == "before":
            await self._stop("before a commit")
        before = {write.run_id: disk.seq(write.run_id) for write in writes}
        results = await disk.state.commit(writes)
        for write, result in zip(writes, results, strict=True):
            if isinstance(result, Committed) and disk.seq(write.run_id) > before[write.run_id]:
                disk.check(write)
        disk.trace.note(
            "commit", f"{[(w.run_id, w.expected_seq, [type(e).__name__ for e in w.events]) for w in writes]}"
        )
        if crash == "after":
            await self._stop("after a commit")
        if trio.current_time() < disk.mute_until:
            disk.trace.note("answer lost")
            raise StoreUnavailable("the simulated disk said nothing")
        for _ in range(disk.chance.randrange(3)):  # as a hop from the thread that writes
            await trio.lowlevel.checkpoint()
        self.hub.tell()
        return results

    async def watch(self, run_id: RunId, after_seq: int, until: WatchFor = WatchFor.CHANGE) -> RunProgress | None:
        await in_task()
        await trio.lowlevel.checkpoint()  # whoever asks in a circle is found to go round in circles
        return await self._disk.state.watch(run_id, after_seq, until)

    async def settle(self, messages: Iterable[Message]) -> None:
        await self._seek()
        await self._disk.state.settle(messages)

    async def delete(self, run_ids: Sequence[RunId]) -> None:
        await self._seek()
        await self._disk.state.delete(run_ids)

    async def put(self, blob_id: BlobId, data: bytes, blob_type: BlobType) -> None:
        await self._seek()
        await self._disk.state.put(blob_id, data, blob_type)

    async def _seek(self) -> None:
        if self._disk.chance.random() < 0.7:
            await self._pass_time()
        if self.is_dead:
            await trio.sleep_forever()
        if trio.current_time() < self._disk.full_until:
            self._disk.trace.note("disk full")
            raise StoreUnavailable("the simulated disk is full")

    async def _pass_time(self) -> None:
        with trio.CancelScope(shield=not self.is_dead):
            slowest = SLOW_WRITE_S if self._disk.chance.random() < 0.05 else MAX_WRITE_S
            await trio.sleep(self._disk.chance.random() ** 2 * slowest)
        if self.is_dead:
            await trio.sleep_forever()

    def _count_down(self) -> str | None:
        if self._disk.dies_at is None:
            return None
        when, left = self._disk.dies_at
        self._disk.dies_at = (when, left - 1) if left > 1 else None
        return when if left <= 1 else None

    async def _stop(self, when: str) -> None:
        self._disk.trace.note("dies", when)
        self._die()
        await trio.sleep_forever()
