"""Defects that are planted one by one, to prove that the simulation finds what it is there to find.

Each is a context manager that breaks one guard of the product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from typing import Any, Final
from unittest.mock import patch

import trio

from protocol.link import Link
from protocol.runs import RunState as RunEnd
from protocol.runs import SubmitParams
from protocol.sender import Sender
from stepflow_runtime.connect.in_flight import InFlight
from stepflow_runtime.engine import attempts, recovery
from stepflow_runtime.engine.commands import Wake
from stepflow_runtime.engine.committer import Committer
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.items import ItemRecord, StepRecord
from stepflow_runtime.engine.run_state import RunState
from stepflow_runtime.engine.suspension import Suspensions
from stepflow_runtime.model.events import RetryCause
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.outcome import Failure, Outcome, Resume
from stepflow_runtime.ports import CommitResult, Committed, Delivery, RunWrite
from stepflow_runtime.services import forking, submission
from stepflow_runtime.services.automation.delivering import DeliveryService
from stepflow_runtime.services.automation.job_following import JobFollower
from stepflow_runtime.services.byproducts import artifacts, stream_writing
from stepflow_runtime.services.byproducts.stream_writing import StreamWriter
from stepflow_runtime.services.creation import RunCreator
from stepflow_runtime.store import memory
from stepflow_runtime.store.memory import MemoryStore
from stepflow_runtime.store.watch import WatchHub
from tests.simulation.disk import Mount
from tests.simulation.simulate import simulate


@contextmanager
def _replace(*replacements: tuple[Any, str, Any]) -> Generator[None]:
    with ExitStack() as stack:
        for owner, name, value in replacements:
            stack.enter_context(patch.object(owner, name, value))
        yield


def _ignore(*_: Any, **__: Any) -> None:
    """Does nothing."""


def keep_the_slot() -> AbstractContextManager[None]:
    """An execution that waits for a sub-run keeps its server slot."""
    return _replace((InFlight, "park", _ignore), (InFlight, "unpark", _ignore))


def forget_sub_runs() -> AbstractContextManager[None]:
    """A step that is executed again does not find what it submitted before."""
    numbers = count()
    real = submission.hash_submission

    def hash_anew(params: SubmitParams) -> str:
        return f"{real(params)}-{next(numbers)}"

    return _replace((submission, "hash_submission", hash_anew))


def acknowledge_early() -> AbstractContextManager[None]:
    """What is said to be durable will be, in a moment."""
    real = Mount.commit
    locks: defaultdict[Mount, trio.Lock] = defaultdict(trio.Lock)

    async def commit(self: Mount, writes: Sequence[RunWrite]) -> list[CommitResult]:
        async def write_later() -> None:
            async with locks[self]:
                await real(self, writes)

        nursery = trio.lowlevel.current_task().parent_nursery
        assert nursery is not None
        nursery.start_soon(write_later)
        await trio.lowlevel.checkpoint()
        return [Committed(write.expected_seq + len(write.events)) for write in writes]

    return _replace((Mount, "commit", commit))


def accept_late_answers() -> AbstractContextManager[None]:
    """The answer of an attempt that was given up counts for the one that took its place."""
    real = RunState.step_ended

    def step_ended(self: RunState, index: int, step: str, attempt: int, outcome: Outcome, now_ms: int) -> bool:
        item = self.facts.live.get(index)
        record = item.steps.get(step) if item is not None else None
        return real(self, index, step, attempt if record is None else record.attempt, outcome, now_ms)

    return _replace((InFlight, "cancel", _ignore), (RunState, "step_ended", step_ended))


def tear_frames() -> AbstractContextManager[None]:
    """What the transport does not take at once is forgotten."""
    real = Sender.flush

    def flush(self: Sender) -> None:
        real(self)
        self._peer.data_sent(len(self._unsent))
        self._unsent = memoryview(b"")

    return _replace((Sender, "flush", flush))


def drop_waiters() -> AbstractContextManager[None]:
    """Who waits for an answer is not told that the connection has ended."""
    return _replace((Link, "_report_lost", lambda self: self._peer.close()))


def dispatch_before_the_watermark() -> AbstractContextManager[None]:
    """Items begin before it is durable that they may have begun."""
    real = RunState.start_items

    def start_items(self: RunState, **options: Any) -> None:
        self.durable_through = 1_000_000
        real(self, **options)

    return _replace((RunState, "start_items", start_items))


def exceed_max_concurrency() -> AbstractContextManager[None]:
    """Recovery starts new items beside those that were in flight."""
    return _replace((RunState, "free_slots", property(lambda self: self.spec.max_concurrency)))


def waste_slots() -> AbstractContextManager[None]:
    """No more than half of the slots are used."""
    half = property(lambda self: (self.spec.max_concurrency + 1) // 2 - len(self.facts.live))
    return _replace((RunState, "free_slots", half))


def reuse_attempts() -> AbstractContextManager[None]:
    """Items of a lost window begin with the first attempt again."""
    return _replace((RunFacts, "attempt_of_start", lambda self, index: 1))


def trust_the_clock() -> AbstractContextManager[None]:
    """After a restart, a retry whose time seems to lie ahead is believed not to have begun."""
    real = attempts.attempt_again

    def attempt_again(
        state: RunState,
        item: ItemRecord,
        step: str,
        record: StepRecord,
        error: Failure,
        cause: RetryCause,
        due_ms: int,
    ) -> None:
        if cause is RetryCause.RECOVERY and record.due_ms == due_ms:
            state.after.append(Wake(item.index, step, record.attempt, due_ms, cause))
        else:
            real(state, item, step, record, error, cause, due_ms)

    return _replace((attempts, "attempt_again", attempt_again))


def forget_idempotency_keys() -> AbstractContextManager[None]:
    """The same key gives another run."""

    async def find_nothing(self: RunCreator, spec: object) -> None:
        return None

    class NoKeys(dict[Any, Any]):
        def get(self, *_: Any) -> None:
            return None

    real = MemoryStore.__init__

    def initialize(self: MemoryStore) -> None:
        real(self)
        self._by_idempotency_key = NoKeys()

    return _replace((RunCreator, "_find_idempotent", find_nothing), (MemoryStore, "__init__", initialize))


def wake_nobody() -> AbstractContextManager[None]:
    """Now and then a commit does not wake who waits for it."""
    real = WatchHub.notify
    numbers: Iterator[int] = count(1)

    def notify(self: WatchHub, *args: Any) -> None:
        if next(numbers) % 7:
            real(self, *args)

    return _replace((WatchHub, "notify", notify))


def blame_nobody() -> AbstractContextManager[None]:
    """What was at work when the runtime was killed is not suspect."""
    return _replace((recovery, "_find_suspects", lambda *_: {}))


def write_again() -> AbstractContextManager[None]:
    """The store does not know again what it wrote before its answer was lost."""
    return _replace((memory, "_is_there", lambda *_: False))


def believe_refusals() -> AbstractContextManager[None]:
    """A run that the store refused is believed not to be there."""

    async def is_not_there(self: Committer, run_id: RunId) -> bool:
        return False

    return _replace((Committer, "_may_be_stored", is_not_there))


def double_writes() -> AbstractContextManager[None]:
    """A step that is executed again writes again what it wrote to a stream before."""

    async def is_not_there(*_: object) -> bool:
        return False

    return _replace(
        (StreamWriter, "_is_written", is_not_there), (stream_writing, "_drop_echoes", lambda chunks, *_: list(chunks))
    )


def lose_timers() -> AbstractContextManager[None]:
    """After a restart nobody knows when those who sleep are to be woken."""

    async def watch_nothing(*_: object) -> None:
        """Does nothing."""

    return _replace((recovery, "watch_parked_items", watch_nothing))


def resume_twice() -> AbstractContextManager[None]:
    """Who has found a suspension ends it, also if somebody else has done so meanwhile."""
    real = Suspensions.resume

    def resume(self: Suspensions, index: int, step: str, suspended: int, data: Resume, *rest: Any) -> bool:
        if real(self, index, step, suspended, data, *rest):
            return True
        item = self._state.facts.find(index)
        record = item.steps.get(step) if item is not None else None
        if item is None or record is None or record.ended:
            return False
        self._resume(item, step, record, data)
        return True

    return _replace((Suspensions, "resume", resume))


def tell_once() -> AbstractContextManager[None]:
    """A delivery that was refused is believed to have arrived."""
    real = DeliveryService._send

    async def send(self: DeliveryService, delivery: Delivery) -> None:
        await real(self, delivery)

    return _replace((DeliveryService, "_send", send))


def fork_twice() -> AbstractContextManager[None]:
    """What goes again at a request that is repeated goes again twice."""
    return _replace((forking, "read_request", _ignore))


def put_twice() -> AbstractContextManager[None]:
    """An artifact that an earlier attempt put is put again."""
    numbers = count()
    return _replace((artifacts, "_identify", lambda *_: f"artifact {next(numbers)}"))


def go_on_after_failures() -> AbstractContextManager[None]:
    """A run of a job that failed does not stop the rest."""
    real = JobFollower._carry_out

    async def carry_out(self: JobFollower, *args: Any) -> RunEnd:
        await real(self, *args)
        return RunEnd.SUCCESS

    return _replace((JobFollower, "_carry_out", carry_out))


PLANTED: Final[list[Callable[[], AbstractContextManager[None]]]] = [
    keep_the_slot,
    forget_sub_runs,
    acknowledge_early,
    accept_late_answers,
    tear_frames,
    drop_waiters,
    dispatch_before_the_watermark,
    exceed_max_concurrency,
    waste_slots,
    reuse_attempts,
    trust_the_clock,
    forget_idempotency_keys,
    wake_nobody,
    blame_nobody,
    write_again,
    believe_refusals,
    double_writes,
    lose_timers,
    resume_twice,
    tell_once,
    fork_twice,
    put_twice,
    go_on_after_failures,
]

SEARCHED: Final = range(300)
"""Seeds among which each of them must be found."""


def find_planted(name: str) -> int | None:
    """The first seed that finds a planted defect."""
    [plant] = (plant for plant in PLANTED if plant.__name__ == name)
    with plant():
        return next((seed for seed in SEARCHED if simulate(seed).violations), None)
