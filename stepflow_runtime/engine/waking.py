"""The shell around what waits in runs: suspensions with their tokens, alarms, sleeps, and items that go on.

Below `executor`, which takes the turns; `suspension` decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

import trio

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from stepflow_runtime.engine.active_run import ActiveRun
from stepflow_runtime.engine.patience import insist
from stepflow_runtime.engine.salvage import describe_damage
from stepflow_runtime.engine.taking_up import load_items
from stepflow_runtime.engine.timers import Timers
from stepflow_runtime.model.events import ItemParked, StepSuspended
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import NULL, Answer, Failure, Resume, Suspension
from stepflow_runtime.model.schema import SchemaError, parse_schema
from stepflow_runtime.ports import Clock, Execution, Store, StoreCorrupt

MAX_LOADED: Final = 1000
"""Items that are read at once."""


MAX_SPENT_TOKENS: Final = 10_000
"""Tokens that are known after their suspension was resumed: who comes late is told so."""


class FoundSuspension(Protocol):
    """A suspension as who resumes it has found it; see `Suspensions.resume`."""

    @property
    def seq(self) -> int: ...
    @property
    def event(self) -> StepSuspended: ...
    @property
    def parked(self) -> ItemParked | None: ...
    @property
    def parked_seq(self) -> int: ...


class Waking:
    """Lets go on what has waited long enough.

    Args:
        store: Where items are read.
        clock, timers: Of the engine.
        touch: Takes a turn with a run.
        wait_committed: Waits until a run is durable up to a sequence number.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        timers: Timers,
        touch: Callable[[ActiveRun], None],
        wait_committed: Callable[[ActiveRun, int], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._timers = timers
        self._touch = touch
        self._wait_committed = wait_committed
        self._tokens: dict[str, ActiveRun] = {}
        self._spent_tokens: dict[str, RunId] = {}
        self._loads: trio.MemorySendChannel[tuple[ActiveRun, int]]
        self._loads, self._loads_in = trio.open_memory_channel[tuple[ActiveRun, int]](float("inf"))

    # --- runs come and go ---

    def adopt(self, run: ActiveRun) -> None:
        """Knows the tokens of a run that was recovered."""
        self._tokens.update(dict.fromkeys(run.tokens.values(), run))

    def drop(self, run: ActiveRun) -> None:
        """Forgets a run."""
        if run.alarm is not None:
            run.alarm[1].cancel()
        for token in run.tokens.values():
            self._tokens.pop(token, None)

    # --- suspensions ---

    def admit(self, run: ActiveRun, execution: Execution, suspension: Suspension) -> Answer:
        """The suspension, if it can be resumed and no other one has its token; else why the step fails."""
        if suspension.schema != NULL:
            try:
                parse_schema(suspension.schema)
            except SchemaError as error:
                return Failure(ItemErrorCode.COMPONENT_FAILED, f"step {execution.step_id!r} cannot suspend: {error}")
        place, token = (execution.item_index, execution.step_id), suspension.token
        if token is None:
            run.tokens.pop(place, None)
            return suspension
        holder = self._find_holder(token)
        if holder is not None and holder != (run, *place):
            message = f"step {execution.step_id!r} suspends with a token under which another one waits: use a new one"
            return Failure(ItemErrorCode.COMPONENT_FAILED, message)
        run.note_token(*place, token)
        self._tokens[token] = run
        return suspension

    def _find_holder(self, token: str) -> tuple[ActiveRun, int, str] | None:
        run = self._tokens.get(token)
        if run is None:
            return None
        for (item, step), known in run.tokens.items():
            if known == token and run.state.facts.is_open(item):
                return run, item, step
        return None

    def find_run(self, token: str) -> RunId | None:
        """The run in which a suspension has this token, or had it until it was resumed lately."""
        run = self._tokens.get(token)
        return run.spec.run_id if run is not None else self._spent_tokens.get(token)

    def resume(self, run: ActiveRun, suspension: FoundSuspension, data: bytes, request_id: str | None) -> bool:
        """Ends a suspension, if nobody else has; tells whether this did."""
        event = suspension.event
        if not run.state.waiting.resume(
            event.item,
            event.step,
            suspension.seq,
            Resume(event.label, data),
            request_id,
            suspension.parked,
            suspension.parked_seq,
        ):
            return False
        token = run.tokens.pop((event.item, event.step), None)
        if token is not None and self._tokens.pop(token, None) is not None:
            self._spent_tokens[token] = run.spec.run_id
            if len(self._spent_tokens) > MAX_SPENT_TOKENS:
                del self._spent_tokens[next(iter(self._spent_tokens))]
        self._touch(run)
        return True

    # --- sleeps and pauses ---

    async def sleep(self, execution: Execution, key: str, until_ms: int, correlation_id: str | None) -> bool:
        """Sleeps for an execution, until the time of the sleep that has this key; tells whether it was woken up.

        Raises:
            RpcError: `NOT_CURRENT` if the execution has ended.
        """
        run: ActiveRun = execution.owner
        place = execution.item_index, execution.step_id, key
        nap = run.state.waiting.begin_nap(*place, execution.attempt, until_ms, correlation_id)
        if nap is None:
            raise RpcError(ErrorCode.NOT_CURRENT, "this execution has ended and sleeps no more: stop this work")
        self._touch(run)
        if not nap.stopped:
            over = run.naps[place] = trio.Event()
            timer = self._timers.at_ms(nap.due_ms, over.set)
            try:
                await over.wait()
            finally:
                timer.cancel()
                run.naps.pop(place, None)
        found = run.state.waiting.find_nap(*place)
        await self._wait_committed(run, run.state.facts.seq)
        return found is not None and found.stopped

    def wake_up(self, run: ActiveRun, correlation_ids: Sequence[str] | None) -> int:
        """Ends sleeps before their time; returns how many."""
        count = run.state.waiting.stop_sleeps(self._clock.wall_ms(), correlation_ids)
        for place, over in run.naps.items():
            nap = run.state.waiting.find_nap(*place)
            if nap is not None and nap.stopped:
                over.set()
        self._touch(run)
        return count

    def set_pause(self, run: ActiveRun, *, is_on: bool) -> None:
        """Pauses a run, or lets it go on."""
        if is_on:
            run.state.pause.begin()
        else:
            run.state.pause.end()
        self._touch(run)

    # --- times ---

    def arm(self, run: ActiveRun) -> None:
        """Sets the alarm of a run to its next time, unless that has come already: then only slots are waited for."""
        due_ms = run.state.waiting.next_ms
        if run.alarm is not None:
            armed_ms, timer = run.alarm
            if armed_ms == due_ms:
                return
            timer.cancel()
            run.alarm = None
        if due_ms is not None and due_ms > self._clock.wall_ms():
            run.alarm = due_ms, self._timers.at_ms(due_ms, partial(self._ring, run, due_ms))

    def _ring(self, run: ActiveRun, due_ms: int) -> None:
        run.alarm = None
        state = run.state
        if not state.facts.is_terminal and not state.facts.progress.paused and not state.is_stopping:
            state.waiting.give_slots(max(due_ms, self._clock.wall_ms()))  # the clock may have been set back
        self._touch(run)

    # --- items ---

    def load(self, run: ActiveRun, index: int) -> None:
        """Reads an item that goes on, soon."""
        self._loads.send_nowait((run, index))

    async def run(self) -> None:
        """Reads what is asked for, until cancelled."""
        async for first in self._loads_in:
            wanted: dict[ActiveRun, list[int]] = {}
            for run, index in [first, *self._take_more()]:
                wanted.setdefault(run, []).append(index)
            for run, indexes in wanted.items():
                await self._load(run, indexes)
                self._touch(run)

    def _take_more(self) -> list[tuple[ActiveRun, int]]:
        waiting = min(self._loads_in.statistics().current_buffer_used, MAX_LOADED)
        return [self._loads_in.receive_nowait() for _ in range(waiting)]

    async def _load(self, run: ActiveRun, indexes: list[int]) -> None:
        await self._wait_committed(run, run.state.facts.seq)
        read = partial(load_items, self._store, run.state.facts, run.state.plan, indexes, run.committed.seq)
        try:
            loaded = await insist("what goes on in a run", read)
        except StoreCorrupt as error:
            run.state.stop(describe_damage(error).message)
            return
        for index in indexes:
            run.state.waiting.take_up(index, loaded[index])
