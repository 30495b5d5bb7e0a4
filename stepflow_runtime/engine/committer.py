"""Group commit: what runs record is committed together; while one group is on its way, the next one gathers.

A run that records much all the time is not in every group, so that the commits of others need not wait for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, Protocol

import trio

from protocol.log import Logger
from stepflow_runtime.engine.active_run import ActiveRun, Taken
from stepflow_runtime.engine.patience import STORE_RETRY_S
from stepflow_runtime.engine.tally import Tally
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import Announcer, Clock, CommitResult, Committed, Conflict, Fenced, Store, StoreUnavailable

log = Logger(__name__)

MUCH: Final = 64
"""A run that has recorded fewer events is committed with the next group."""

PAUSE_S: Final = 0.005
"""What recorded more, and was committed less than so long ago, gathers on, unless somebody waits for it."""


class Superseded(Exception):
    """Another runtime has taken over; this one must stop and write nothing."""


class CommitSink(Protocol):
    """Who is told what became of commits; the executor."""

    def durable(self, taken: Taken) -> None:
        """This part of the group is durable: what follows from it may happen."""
        ...

    def refused(self, run: ActiveRun) -> None:
        """The run was not created."""
        ...

    def end_turn(self) -> None:
        """All of the group was told."""
        ...


class Committer:
    """Commits for one sink.

    Args:
        store: Where to.
        clock: Gives events their time.
        sink: Who is told.
        tally: Counts commits.
        announcer: Whom events interest; `None` if nobody.
    """

    def __init__(
        self, store: Store, clock: Clock, sink: CommitSink, tally: Tally, announcer: Announcer | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._sink = sink
        self._tally = tally
        self._announcer = announcer
        self._gathering: dict[RunId, ActiveRun] = {}
        self._stuck: set[RunId] = set()
        self._work = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    def gather(self, run: ActiveRun) -> None:
        """What this run has recorded, and records until then, is in the next group."""
        self._gathering[run.spec.run_id] = run
        if self._idle.is_set():
            self._idle = trio.Event()
        self._work.set()

    @property
    def gathered(self) -> int:
        """How many runs the next group has."""
        return len(self._gathering)

    async def wait_idle(self) -> None:
        """Waits until nothing is gathered or on its way."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits until cancelled.

        Raises:
            Superseded: A lease is no longer valid.
        """
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._gathering:
                runs = self._take_due()
                if not runs:
                    await self._wait_until_due()
                    continue
                wall_ms = self._clock.wall_ms()
                group = [run.take(wall_ms) for run in runs]
                if self._announcer is not None:
                    for taken in group:
                        write = taken.write
                        write.deliveries = self._announcer.announce(
                            taken.run.spec, write.events, write.expected_seq + 1, write.at_ms
                        )
                await self._commit(group)
            self._idle.set()

    def _take_due(self) -> list[ActiveRun]:
        now = trio.current_time()
        gathering, self._gathering = self._gathering, {}
        due: list[ActiveRun] = []
        for run_id, run in gathering.items():
            if run.commit_at > now and run.has_recorded(MUCH) and not run.is_awaited:
                self._gathering[run_id] = run
            else:
                run.commit_at = now + PAUSE_S
                due.append(run)
        return due

    async def _wait_until_due(self) -> None:
        """Waits until something that gathers is due, or more has come."""
        with trio.move_on_at(min((run.commit_at for run in self._gathering.values()), default=inf)):
            await self._work.wait()
        self._work = trio.Event()

    def is_stuck(self, run_id: RunId) -> bool:
        """Whether what this run has recorded waits for a store that is unavailable."""
        return run_id in self._stuck or (bool(self._stuck) and run_id in self._gathering)

    async def _commit(self, group: list[Taken]) -> None:
        """Commits a group, and tells. While the store is unavailable new runs are refused and the others wait.

        A store that refuses may have written all the same, and only its answer was lost. So what waits is committed
        again as it was, which changes nothing then; and who submitted is told that nothing was written when that is so.
        """
        refusal: StoreUnavailable | None = None
        while group:
            began = self._clock.monotonic()
            try:
                results = await self._store.commit([taken.write for taken in group])
            except StoreUnavailable as error:
                self._tally.failed_commits += 1
                self._refuse_gathering(error)
                kept = await self._refuse_new(group, error)
                if refusal is None:
                    waiting = "running ones wait" if kept else "none waits"
                    log.warning(f"store unavailable: new runs are refused, {waiting}", reason=str(error))
                group, refusal = kept, error
                self._stuck = {taken.write.run_id for taken in group}
                if group:
                    await trio.sleep(STORE_RETRY_S)
                continue
            self._tally.commits.observe(self._clock.monotonic() - began)
            if refusal is not None:
                log.info("store available again: what waited is committed")
                self._stuck = set()
            self._tell(group, results)
            return

    async def _refuse_new(self, group: list[Taken], error: StoreUnavailable) -> list[Taken]:
        """Tells new runs that they were not stored, if that is certain; returns the others."""
        kept: list[Taken] = []
        for taken in group:
            if taken.write.expected_seq or await self._may_be_stored(taken.write.run_id):
                kept.append(taken)
            else:
                self._tell([taken], [error])
        return kept

    async def _may_be_stored(self, run_id: RunId) -> bool:
        try:
            return await self._store.run(run_id) is not None
        except StoreUnavailable:
            return True

    def _refuse_gathering(self, error: StoreUnavailable) -> None:
        """Runs that were submitted since need not wait to learn that they cannot be stored."""
        new = [run for run in self._gathering.values() if not run.has_been_taken]
        for run in new:
            del self._gathering[run.spec.run_id]
            self._sink.refused(run)
            for ticket in run.take(self._clock.wall_ms()).tickets:
                ticket.fail(error)

    def _tell(self, group: Sequence[Taken], results: Sequence[CommitResult | StoreUnavailable]) -> None:
        for taken, result in zip(group, results, strict=True):
            match result:
                case Committed():
                    self._sink.durable(taken)
                    if taken.write.deliveries and self._announcer is not None:
                        self._announcer.announced()
                case Fenced():
                    raise Superseded(f"another runtime owns run {taken.write.run_id} now")
                case Conflict() | StoreUnavailable() if taken.write.expected_seq == 0:
                    self._gathering.pop(taken.write.run_id, None)
                    self._sink.refused(taken.run)
                case _:
                    raise RuntimeError(f"run {taken.write.run_id} could not be committed: {result}")
        self._sink.end_turn()
        for taken, result in zip(group, results, strict=True):
            for ticket in taken.tickets:
                if isinstance(result, StoreUnavailable):
                    ticket.fail(result)
                else:
                    ticket.complete(result)
