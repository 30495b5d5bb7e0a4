"""What of a run waits without a slot: when it goes on, and with what. Pure; a part of `run_state`, which is above.

A step that is suspended, or sleeps, has left its process. When all that an item has begun is so, the item is *parked*:
it gives its slot back, and nothing is kept of it but the place in the journal where it was parked. What was resumed
waits for a slot in a queue, a sleep that is over in its heap. When there is a slot the shell is asked to read what the
item had, and hands it to `take_up`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from heapq import heapify, heappop, heappush
from operator import sub
from typing import Final

from msgspec import Raw, Struct

from protocol.errors import ItemErrorCode
from stepflow_runtime.engine.commands import LoadItem
from stepflow_runtime.engine.fork import NOTHING, Reuse
from stepflow_runtime.engine.items import ItemRecord, StepRecord, find_seqs, restore_evaluation, summarize
from stepflow_runtime.engine.results import seq_of
from stepflow_runtime.engine.whole import Whole
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent, Nap, Parked
from stepflow_runtime.model.outcome import NULL, Failure, Resume, Suspension
from stepflow_runtime.ports import SEGMENT_ITEMS, SLEEPS

INDEX_BITS: Final = 32
_INDEX: Final = (1 << INDEX_BITS) - 1

FEW: Final = 64
"""Parked items in a row, up to so many, are cancelled by an event each; of more, a segment of items by one."""


class LoadedItem(Struct, frozen=True):
    """What the shell read of an item.

    Args:
        input: Its input.
        events: Those that ended steps of it, and that resumed them, by sequence number.
        parked: The event that parked it, if it was parked.
        parked_seq: Its sequence number.
        reuse: What it began with, in a fork.
    """

    input: bytes
    events: Mapping[int, AnyEvent]
    parked: ev.ItemParked | None = None
    parked_seq: int = 0
    reuse: Reuse = NOTHING


class Suspensions:
    """What waits in one run.

    Attributes:
        loading: The items that have a slot and are being read, and the time that made them go on.
    """

    __slots__ = ("_expiries", "_sleeps", "_state", "loading")

    def __init__(self, state: Whole) -> None:
        self._state = state
        self._sleeps: list[int] = []
        """Heaps of `due_ms << INDEX_BITS | index`, an entry for each step; one that waits no more is passed over."""
        self._expiries: list[int] = []
        self.loading: dict[int, int] = {}

    def __bool__(self) -> bool:
        """Whether anything waits for a time or a slot."""
        return bool(self._sleeps or self._expiries or self._state.facts.queued)

    def __len__(self) -> int:
        """How many times are waited for."""
        return len(self._sleeps) + len(self._expiries)

    @property
    def next_ms(self) -> int | None:
        """The first time that is waited for, also if it has come and there is no slot."""
        heads = [heap[0] >> INDEX_BITS for heap in (self._sleeps, self._expiries) if heap]
        return min(heads) if heads else None

    # --- steps leave ---

    def suspend(self, item: ItemRecord, step: str, record: StepRecord, suspension: Suspension, now_ms: int) -> None:
        """A step leaves; its item too, if that was the last of it."""
        label, due_ms = suspension.label, 0
        if label is None:
            label = str(1 + (len(record.waits.resumes) if record.waits is not None else 0))
        if suspension.until_ms is not None:
            due_ms = max(suspension.until_ms, 1)
        elif suspension.timeout_ms is not None:
            due_ms = now_ms + suspension.timeout_ms
        self._state.record(
            ev.StepSuspended(
                item.index,
                step,
                record.attempt,
                label,
                Raw(suspension.payload),
                Raw(suspension.schema),
                suspension.token,
                due_ms,
                suspension.until_ms is not None,
            )
        )
        self.watch(item.index, due_ms, suspension.until_ms is not None)
        self.park_if_idle(item)

    def watch(self, index: int, due_ms: int, sleeps: bool) -> None:
        """Notes when a suspended step of an item goes on by itself (`sleeps`), or is given up; 0 for never."""
        if due_ms:
            heappush(self._sleeps if sleeps else self._expiries, due_ms << INDEX_BITS | index)

    def begin_again(self) -> None:
        """Watches what waits in the items that are in memory, and nothing else yet."""
        self._sleeps.clear()
        self._expiries.clear()
        for item in (*self._state.facts.live.values(), *self._state.facts.queued.values()):
            for record in item.steps.values():
                if record.waits is not None and record.is_suspended:
                    self.watch(item.index, record.due_ms, record.waits.sleeps)

    def park_if_idle(self, item: ItemRecord) -> None:
        """Takes the slot of an item of which nothing is at work or may begin any more, if something is suspended."""
        if item.at_work or self._state.holds_back(item):
            return
        suspended = [record.waits for record in item.steps.values() if record.is_suspended]
        if suspended:
            sleeps = any(waits is not None and waits.sleeps for waits in suspended)
            how = Parked.SLEEPING if sleeps else Parked.SUSPENDED
            self._state.record(ev.ItemParked(item.index, how, item.since, summarize(item), item.idle))

    # --- steps go on ---

    def resume(
        self,
        index: int,
        step: str,
        suspended: int,
        resume: Resume,
        request_id: str | None = None,
        parked: ev.ItemParked | None = None,
        parked_seq: int = 0,
    ) -> bool:
        """Ends a suspension, if nobody else has.

        Args:
            index, step: Whose it is.
            suspended: The sequence number of the event that began it.
            resume: What the step is resumed with.
            request_id: Who asked.
            parked: The event that parked the item, if it was parked when the caller looked.
            parked_seq: Its sequence number.

        Returns:
            Whether this resumed it.
        """
        state, facts = self._state, self._state.facts
        if state.is_stopping or facts.is_terminal:
            return False
        item = facts.find(index)
        if item is None:
            if parked is None or seq_of(facts.results.find_parked(index)) != parked_seq:
                return False
            if not any(summary.id == step and summary.suspended == suspended for summary in parked.steps):
                return False
            self._wake(index, parked, queued=True)
            item = facts.queued[index]
        record = item.steps.get(step)
        if record is None or record.waits is None or not record.is_suspended or item.cancelling:
            return False
        if record.waits.suspended != suspended or record.waits.sleeps:
            return False
        self._resume(item, step, record, resume, request_id)
        return True

    def _resume(
        self, item: ItemRecord, step: str, record: StepRecord, resume: Resume, request_id: str | None = None
    ) -> None:
        attempt = record.attempt + 1
        self._state.record(ev.StepResumed(item.index, step, attempt, resume.label, Raw(resume.data), request_id))
        if item.progress is not None:
            self._state.execute_again(item, step, self._state.after)

    def _wake(self, index: int, parked: ev.ItemParked, *, queued: bool) -> None:
        facts = self._state.facts
        is_awake = seq_of(facts.results.find_parked(index)) < facts.awake_through
        self._state.record(ev.ItemWoken(index, parked.how, parked.since, parked.steps, queued, parked.idle, is_awake))

    def begin_nap(
        self, index: int, step: str, key: str, attempt: int, due_ms: int, correlation_id: str | None
    ) -> Nap | None:
        """A component sleeps: again, if an earlier attempt began to under this key. `None` if it is not current."""
        item, record = self._state.facts.live.get(index), self._state.current(index, step, attempt)
        if item is None or record is None:
            return None
        if record.waits is None or key not in record.waits.naps:
            self._state.record(ev.SleepBegan(index, step, key, due_ms, correlation_id))
        assert record.waits is not None
        return record.waits.naps[key]

    def find_nap(self, index: int, step: str, key: str) -> Nap | None:
        """The sleep of a component, while its item is live."""
        item = self._state.facts.live.get(index)
        waits = item.steps[step].waits if item is not None else None
        return waits.naps.get(key) if waits is not None else None

    def stop_sleeps(self, now_ms: int, correlation_ids: Collection[str] | None = None) -> int:
        """Ends sleeps before their time; returns how many that were."""
        meant = None if correlation_ids is None else tuple(correlation_ids)
        count = sum(
            nap.due_ms > now_ms and not nap.stopped and (meant is None or nap.correlation_id in meant)
            for item in self._state.facts.live.values()
            for step in item.at_work
            if (waits := item.steps[step].waits) is not None
            for nap in waits.naps.values()
        )
        if meant is None:
            early = {entry for entry in self._sleeps if entry >> INDEX_BITS > now_ms}
            count += sum(self._waits(entry & _INDEX) for entry in early)
            if early:
                self._sleeps = [entry & _INDEX for entry in self._sleeps]
                heapify(self._sleeps)
        if count:
            self._state.record(ev.SleepsStopped(now_ms, meant))
        return count

    def _waits(self, index: int) -> bool:
        facts = self._state.facts
        return facts.results.find_parked(index) > 0 or facts.find(index) is not None

    # --- items come back ---

    def give_slots(self, now_ms: int) -> None:
        """Lets as much go on as there are slots: what was resumed, then what is due."""
        facts = self._state.facts
        slots = self._state.free_slots
        for index in facts.queued:
            if slots > 0 and index not in self.loading:
                self._load(index, now_ms)
                slots -= 1
        for heap in (self._sleeps, self._expiries):
            while heap and heap[0] >> INDEX_BITS <= now_ms:
                index = heap[0] & _INDEX
                item = facts.live.get(index)
                if item is None and facts.results.find_parked(index) and index not in self.loading:
                    if slots <= 0:
                        break
                    self._load(index, now_ms)
                    slots -= 1
                heappop(heap)
                if index in self.loading:
                    self.loading[index] = now_ms
                if item is not None:
                    self._follow_time(item, now_ms)

    def _load(self, index: int, now_ms: int) -> None:
        self.loading[index] = now_ms
        self._state.now.append(LoadItem(index))

    def take_up(self, index: int, loaded: LoadedItem) -> None:
        """An item was read and goes on, if it is still to do so; it is read again if that was not all of it."""
        state, facts = self._state, self._state.facts
        now_ms = self.loading.pop(index)
        if state.is_stopping:
            return
        if index in facts.queued:
            if not loaded.events.keys() >= set(find_seqs(facts.queued[index])):  # it was resumed once more meanwhile
                self._load(index, now_ms)
                return
            state.record(ev.ItemContinued(index))
        else:
            parked = loaded.parked
            if parked is None or seq_of(facts.results.find_parked(index)) != loaded.parked_seq:
                return
            self._wake(index, parked, queued=False)
        item = facts.live[index]
        resumed = item.at_work
        advance = restore_evaluation(item, state.plan, loaded.input, state.spec.variables, loaded.events, loaded.reuse)
        for step in resumed:
            state.execute_again(item, step, state.after)
        state.begin_steps(item, [ready for ready in advance.ready if ready[0] not in item.steps])
        for record in item.steps.values():  # its entries may have been passed over while it had no slot
            if record.waits is not None and record.is_suspended:
                self.watch(index, record.due_ms, record.waits.sleeps)
        self._follow_time(item, now_ms)

    def _follow_time(self, item: ItemRecord, now_ms: int) -> None:
        """Ends the waits of an item whose time has come, if any."""
        state = self._state
        for step, record in list(item.steps.items()):
            if state.facts.live.get(item.index) is not item:
                return
            if record.waits is None or not record.is_suspended:
                continue
            is_due = 0 < record.due_ms <= now_ms
            if record.waits.sleeps and is_due:
                label = str(1 + len(record.waits.resumes))
                self._resume(item, step, record, Resume(label, NULL))
            elif is_due and not record.waits.sleeps:
                message = f"step {step!r} was not resumed in time (timeout_ms of its suspension)"
                state.fail_step(item, step, record, Failure(ItemErrorCode.TIMEOUT, message))
        if state.facts.live.get(item.index) is item:
            self.park_if_idle(item)

    # --- items end ---

    def cancel_parked(self, reason: str | None, items: Collection[int] | None = None) -> list[int]:
        """Cancels the parked items, or those of them that are meant; returns which they were."""
        facts, cancelled = self._state.facts, list[int]()
        if items is not None:
            parked = [(index, ref) for index in items if (ref := facts.results.find_parked(index))]
            stretches = iter([[entry] for entry in parked])
        else:
            stretches = _find_stretches(list(facts.results.iterate_parked()))
        for stretch in stretches:
            cancelled += [index for index, _ in stretch]
            if len(stretch) <= FEW:
                for index, ref in stretch:
                    self._state.record(ev.ItemCancelled(index, reason, seq_of(ref), _how(ref)))
                continue
            for at in range(0, len(stretch), SEGMENT_ITEMS):
                part = stretch[at : at + SEGMENT_ITEMS]
                seqs = [seq_of(ref) for _, ref in part]
                distances = tuple(map(sub, seqs, [0, *seqs]))
                self._state.record(ev.ItemsCancelled(part[0][0], part[-1][0], reason, _how(part[0][1]), distances))
        return cancelled


def _how(ref: int) -> Parked:
    return Parked.SLEEPING if ref & SLEEPS else Parked.SUSPENDED


def _find_stretches(parked: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Items that follow on each other and are parked in the same way."""
    stretch: list[tuple[int, int]] = []
    for index, ref in parked:
        if stretch and (stretch[-1][0] + 1 != index or (stretch[-1][1] ^ ref) & SLEEPS):
            yield stretch
            stretch = []
        stretch.append((index, ref))
    if stretch:
        yield stretch
