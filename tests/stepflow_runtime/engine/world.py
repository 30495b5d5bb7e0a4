"""A runtime without wire or process: the real engine and services, a caller that the test drives, and clocks that jump.

`FakeCaller` carries executions out as a test tells it; `HookedStore` lets it look at every write, delay or refuse it;
`open_world` puts them together. Ids are counted and times follow trio's clock, so that a test is the same every time.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec
import trio
import trio.testing
from msgspec import Raw

from protocol.errors import ErrorCode, ItemErrorCode, RpcError
from protocol.forking import RestartParams, TimeTravelParams
from protocol.runs import (
    AppendParams,
    AppendResult,
    CancelRunParams,
    CancelRunResult,
    GetRunParams,
    ItemEntry,
    ResumeParams,
    RunParams,
    RunStatus,
    SubmitParams,
    WakeUpParams,
)
from protocol.types import BlobType
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.engine.effects import deliver_effects
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.recovery import fold_journal, recover_runs
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.flow import Backoff, BackoffKind
from stepflow_runtime.model.ids import ExecutionId, RunId
from stepflow_runtime.model.outcome import Answer, Failure, Outcome
from stepflow_runtime.ports import (
    CommitResult,
    Deliveries,
    Delivery,
    Entry,
    Execution,
    Key,
    Message,
    Registry,
    RunWrite,
    Store,
)
from stepflow_runtime.services.automation.delivering import DeliveryPolicy, DeliveryService
from stepflow_runtime.services.automation.jobs import JobService
from stepflow_runtime.services.automation.schedules import ScheduleService
from stepflow_runtime.services.automation.subscriptions import Subscriptions
from stepflow_runtime.services.automation.webhooks import WebhookService
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from stepflow_runtime.services.byproducts.service import ByproductService
from stepflow_runtime.services.events.service import EventService
from stepflow_runtime.services.forking import ForkService
from stepflow_runtime.services.listing import ListingService
from stepflow_runtime.services.runs import ANSWER_MARGIN, RunService
from stepflow_runtime.services.sleeping import SleepService
from stepflow_runtime.services.submission import SubmitLimits
from stepflow_runtime.services.suspensions import SuspensionService
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.store.memory import open_memory

EPOCH_MS: Final = 1_790_000_000_000
CANCELLED: Final = Failure(ItemErrorCode.CANCELLED, "cancelled")
BOOM: Final = Failure(ItemErrorCode.COMPONENT_FAILED, "boom")
GONE: Final = Failure(ItemErrorCode.UNREACHABLE, "gone")
QUICK: Final = RetryPolicy(backoff=Backoff(type=BackoffKind.CONSTANT, min_delay_ms=10, max_delay_ms=10))
LIMITS: Final = SubmitLimits()
SECRET: Final = b"s" * 32
RETRY_TWICE: Final = DeliveryPolicy((1000, 60_000), max_concurrency=4, max_concurrency_per_webhook=2)
BYPRODUCT_LIMITS: Final = ByproductLimits()

Work = Callable[[Execution], Awaitable[Answer]]
Behaviour = Callable[[Execution], Answer | Work | None]
"""What becomes of an execution: its outcome, work that leads to it, or `None`: it is held until the test answers it."""


class TrioClock:
    """Implements `ports.Clock`; it jumps with trio's."""

    def __init__(self, epoch_ms: int) -> None:
        self._epoch_ms = epoch_ms

    def wall_ms(self) -> int:
        return self._epoch_ms + round(trio.current_time() * 1000)

    def jump(self, by_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._epoch_ms += by_ms

    def monotonic(self) -> float:
        return trio.current_time()


class CountedIds:
    """Implements `ports.Ids`. Each boot has ids of its own, in ascending order."""

    def __init__(self, boot: int = 1) -> None:
        self._boot = boot
        self._count = 0

    def run_id(self) -> RunId:
        self._count += 1
        return RunId(f"0191{self._boot:04d}-0000-7000-8000-{self._count:012d}")

    def execution_id(self) -> ExecutionId:
        self._count += 1
        return ExecutionId(f"execution-{self._boot}-{self._count}")


def echo(execution: Execution) -> Outcome:
    """The component that returns its input."""
    return execution.input


def hold(execution: Execution) -> None:
    """The component that waits for the test."""


class FakeCaller:
    """Implements `ports.ComponentCaller`.

    Args:
        behave: Decides what becomes of each execution.

    Attributes:
        calls: All executions, in the order of their calls.
        held: Those in flight.
        peak: The most items in flight at once, by run.
        heeds_interrupt: Whether an execution that is interrupted is answered `CANCELLED` at once.
    """

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.executor: Executor
        self.nursery: trio.Nursery
        self.calls: list[Execution] = []
        self.held: dict[Execution, None] = {}
        self.cancelled: list[Execution] = []
        self.interrupted: list[Execution] = []
        self.peak: dict[RunId, int] = defaultdict(int)
        self.parked = 0
        self.flushes = 0
        self.heeds_interrupt = True
        self._items: dict[RunId, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._answers: list[tuple[Execution, Answer]] = []
        self._works: dict[ExecutionId, trio.CancelScope] = {}
        self._token = trio.lowlevel.current_trio_token()

    def knows(self, component: str) -> bool:
        return True

    def call(self, execution: Execution) -> None:
        self.calls.append(execution)
        self.held[execution] = None
        items = self._items[execution.run_id]
        items[execution.item_index] += 1
        self.peak[execution.run_id] = max(self.peak[execution.run_id], len(items))
        if execution.timeout_ms is not None:
            self.executor.dispatched(execution)
        reaction = self.behave(execution)
        if callable(reaction):
            scope = self._works[execution.execution_id] = trio.CancelScope()
            self.nursery.start_soon(self._carry_out, execution, reaction, scope)
        elif reaction is not None:
            self.answer_later(execution, reaction)

    async def _carry_out(self, execution: Execution, work: Work, scope: trio.CancelScope) -> None:
        outcome: Answer = CANCELLED
        with scope:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                outcome = await work(execution)
            except RpcError as error:
                outcome = Failure(ItemErrorCode.COMPONENT_FAILED, error.message)
        del self._works[execution.execution_id]
        self.answer_later(execution, outcome)

    def cancel(self, execution: Execution) -> None:
        self.cancelled.append(execution)
        if execution in self.held:
            self._let_go(execution)
            if execution.execution_id in self._works:
                self._works[execution.execution_id].cancel()

    def interrupt(self, execution: Execution) -> None:
        self.interrupted.append(execution)
        if not self.heeds_interrupt or execution not in self.held:
            return
        if execution.execution_id in self._works:
            self._works[execution.execution_id].cancel()
        else:
            self.answer_later(execution, CANCELLED)

    def park(self, execution: Execution) -> None:
        self.parked += 1

    def unpark(self, execution: Execution) -> None:
        self.parked -= 1

    def flush(self) -> None:
        self.flushes += 1

    # --- what the test does ---

    def answer_later(self, execution: Execution, outcome: Answer) -> None:
        """Answers in the next chunk."""
        self._answers.append((execution, outcome))
        self._token.run_sync_soon(self._report, idempotent=True)

    def answer(self, *executions: Execution, outcome: Answer = b"null") -> None:
        """Answers now, in one chunk."""
        for execution in executions:
            self._end(execution, outcome)
        self.executor.end_turn()

    def find(self, item: int, step: str | None = None, attempt: int | None = None) -> Execution:
        """The execution in flight that is meant."""
        (found,) = [
            execution
            for execution in self.held
            if execution.item_index == item
            and step in (None, execution.step_id)
            and attempt in (None, execution.attempt)
        ]
        return found

    @property
    def log(self) -> list[tuple[int, str, int]]:
        """(item, step, attempt) of all calls."""
        return [(call.item_index, call.step_id, call.attempt) for call in self.calls]

    def _report(self) -> None:
        answers, self._answers = self._answers, []
        for execution, outcome in answers:
            if execution in self.held:
                self._end(execution, outcome)
        self.executor.end_turn()

    def _end(self, execution: Execution, outcome: Answer) -> None:
        self._let_go(execution)
        self.executor.answered([(execution, outcome)])

    def _let_go(self, execution: Execution) -> None:
        del self.held[execution]
        items = self._items[execution.run_id]
        items[execution.item_index] -= 1
        if not items[execution.item_index]:
            del items[execution.item_index]


class HookedStore:
    """A store whose writes a test can watch, delay and refuse; all else is the inner store's.

    Attributes:
        writes: Calls of `commit` and `settle` so far, and writes of registry and deliveries.
        commits: The groups that were committed.
        before, after: Awaited around every write, with its number (from 1).
    """

    def __init__(self, inner: Any) -> None:
        self._inner: Store = inner
        self.registry = HookedRegistry(self, inner.registry)
        self.deliveries = HookedDeliveries(self, inner.deliveries)
        self.writes = 0
        self.is_settling = False
        self.commits: list[Sequence[RunWrite]] = []
        self.before: Callable[[int], Awaitable[None]] | None = None
        self.after: Callable[[int], Awaitable[None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, writes: Sequence[RunWrite]) -> list[CommitResult]:
        number = await self.begin()
        results = await self._inner.commit(writes)
        self.commits.append(writes)
        await self.end(number)
        return results

    async def settle(self, messages: Iterable[Message]) -> None:
        self.is_settling = True
        try:
            number = await self.begin()
        finally:
            self.is_settling = False
        await self._inner.settle(messages)
        await self.end(number)

    async def begin(self) -> int:
        """A write begins; its number."""
        self.writes += 1
        number = self.writes
        if self.before is not None:
            await self.before(number)
        return number

    async def end(self, number: int) -> None:
        """A write is done."""
        if self.after is not None:
            await self.after(number)


class HookedDeliveries:
    """The deliveries of a store whose writes a test can watch: they count as the store's."""

    def __init__(self, store: HookedStore, inner: Deliveries) -> None:
        self._store = store
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        number = await self._store.begin()
        await self._inner.note(deliveries)
        await self._store.end(number)


class FakeSender:
    """Implements `ports.Sender`: receivers within the test.

    Attributes:
        sent: URL, headers and body of each try.
        answer: Raises what goes wrong with a try.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, str], Any]] = []
        self.answer: Callable[[str, dict[str, str]], Awaitable[None]] | None = None

    def check_url(self, url: str) -> None:
        if not url.startswith("https://"):
            raise ValueError("its scheme must be https")

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.sent.append((url, dict(headers), msgspec.json.decode(body)))
        if self.answer is not None:
            await self.answer(url, dict(headers))
        else:
            await trio.lowlevel.checkpoint()


class FakeSealer:
    """Implements `ports.Sealer`, readably."""

    def seal(self, secret: bytes) -> str:
        return f"sealed:{secret.hex()}"

    def unseal(self, sealed: str) -> bytes:
        return bytes.fromhex(sealed.removeprefix("sealed:"))


class HookedRegistry:
    """The registry of a store whose writes a test can watch: they count as the store's."""

    def __init__(self, store: HookedStore, inner: Registry) -> None:
        self._store = store
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def add(self, entries: Sequence[Entry]) -> bool:
        number = await self._store.begin()
        added = await self._inner.add(entries)
        await self._store.end(number)
        return added

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        number = await self._store.begin()
        await self._inner.save(entries, removed)
        await self._store.end(number)


class World:
    """A runtime that runs. Methods are named as those of the wire, and answer what the services answer."""

    def __init__(
        self,
        store: Any,
        behave: Behaviour,
        policy: RetryPolicy,
        limits: SubmitLimits,
        boot: int,
        max_frame_bytes: int,
        epoch_ms: int,
        byproduct_limits: ByproductLimits,
    ) -> None:
        self.store = HookedStore(store)
        ported = cast(Any, self.store)
        self.clock = TrioClock(epoch_ms)
        ids = CountedIds(boot)
        self.sender = FakeSender()
        self.subscriptions = Subscriptions()
        self.executor = Executor(ported, self.clock, ids, policy, announcer=self.subscriptions)
        self.caller = FakeCaller(behave)
        self.caller.executor = self.executor
        self.executor.caller = self.caller
        self.programs = Programs(ported)
        self.connections = Connections()
        self.client = Connection("test")
        registry, deliveries = cast(Registry, self.store.registry), cast(Deliveries, self.store.deliveries)
        self.webhooks = WebhookService(
            self.subscriptions,
            ported,
            registry,
            deliveries,
            self.connections,
            self.sender,
            FakeSealer(),
            self.clock,
            ids,
            lambda: SECRET,
            max_webhooks=5,
        )
        self.delivery = DeliveryService(
            deliveries, self.webhooks, self.sender, FakeSealer(), self.clock, RETRY_TWICE, lambda: 0.5
        )
        self.subscriptions.wake = self.delivery.wake
        self.runs = RunService(
            self.executor,
            ported,
            self.programs,
            self.connections,
            self.clock,
            ids,
            limits,
            max_frame_bytes,
            webhooks=self.webhooks,
        )
        visibility = Visibility(self.connections)
        self.suspensions = SuspensionService(self.executor, ported, self.connections, self.runs.suspensions)
        self.sleeps = SleepService(self.executor, ported, self.connections, self.clock, self.runs.suspensions)
        self.forks = ForkService(
            self.executor,
            ported,
            self.programs,
            self.connections,
            self.clock,
            ids,
            self.runs.creator,
            self.runs.suspensions,
        )
        self.listing = ListingService(self.executor, ported, self.programs, visibility)
        self.events = EventService(self.executor, ported, visibility)
        self.blobs = BlobService(ported, self.connections)
        self.byproducts = ByproductService(
            self.executor,
            ported,
            ported.byproducts,
            self.blobs,
            self.connections,
            visibility,
            self.clock,
            byproduct_limits,
            max_frame_bytes - ANSWER_MARGIN,
        )
        self.schedules = ScheduleService(
            self.executor,
            ported,
            registry,
            self.runs.creator,
            self.connections,
            self.clock,
            ids,
            max_schedules=5,
            max_queued_times=5,
        )
        self.jobs = JobService(
            self.executor,
            ported,
            registry,
            self.runs.creator,
            self.connections,
            self.clock,
            ids,
            limits,
        )

    async def put_flow(self, flow: dict[str, Any]) -> str:
        return await self.blobs.put_raw(msgspec.json.encode(flow), BlobType.FLOW)

    async def submit(self, flow: dict[str, Any], inputs: Iterable[Any], **params: Any) -> RunStatus:
        """Stores the flow and submits a run, for the execution `by` if there is one."""
        by = params.pop("by", None)
        values = [Raw(value if isinstance(value, bytes) else msgspec.json.encode(value)) for value in inputs]
        submission = SubmitParams(await self.put_flow(flow), values, **params)
        if by is not None:
            return await self.runs.submit_for(by, submission, "python")
        return await self.runs.submit(submission, self.client)

    async def get(self, run_id: str, **params: Any) -> RunStatus:
        return await self.runs.get(GetRunParams(run_id, **params), self.client)

    async def finish(self, run_id: str) -> RunStatus:
        """Waits for the end of a run and reads all its results."""
        with trio.fail_after(100_000):
            return await self.get(run_id, wait=True, include_results=True)

    async def cancel(self, run_id: str, **params: Any) -> CancelRunResult:
        return await self.runs.cancel(CancelRunParams(run_id, **params), self.client)

    async def append(
        self,
        run_id: str,
        at_index: int,
        inputs: Iterable[bytes],
        *,
        sealed: bool = False,
        nursery: trio.Nursery | None = None,
    ) -> AppendResult | None:
        """Appends raw inputs. With a nursery, no answer is waited for."""
        params = AppendParams(run_id, at_index, [Raw(value) for value in inputs], sealed)
        if nursery is None:
            return await self.runs.append(params, self.client)
        nursery.start_soon(self.runs.append, params, self.client)
        await trio.testing.wait_all_tasks_blocked(0)
        return None

    async def resume(self, run_id: str | None = None, data: Any = None, **params: Any) -> RunStatus:
        raw = Raw(msgspec.json.encode(data))
        return await self.suspensions.resume(ResumeParams(run_id, resume_data=raw, **params), self.client)

    async def restart(self, run_id: str, **params: Any) -> RunStatus:
        return await self.forks.restart(RestartParams(run_id, **params), self.client)

    async def time_travel(self, run_id: str, step: str, **params: Any) -> RunStatus:
        for name in params.keys() & {"input", "resume_data"}:
            params[name] = Raw(msgspec.json.encode(params[name]))
        if "context" in params:
            params["context"] = {name: Raw(msgspec.json.encode(value)) for name, value in params["context"].items()}
        return await self.forks.time_travel(TimeTravelParams(run_id, step, **params), self.client)

    async def wake_up(self, run_id: str, ids: list[str] | None = None) -> int:
        return (await self.sleeps.wake_up(WakeUpParams(run_id, ids), self.client)).stopped_count

    async def pause(self, run_id: str) -> RunStatus:
        return await self.sleeps.pause(RunParams(run_id), self.client)

    async def unpause(self, run_id: str) -> RunStatus:
        return await self.sleeps.unpause(RunParams(run_id), self.client)

    async def journal(self, run_id: str) -> list[AnyEvent]:
        return await read_journal(cast(Store, self.store), RunId(run_id))


@asynccontextmanager
async def open_world(
    store: Any,
    behave: Behaviour = echo,
    *,
    policy: RetryPolicy = QUICK,
    limits: SubmitLimits = LIMITS,
    boot: int = 1,
    max_frame_bytes: int = 32 * 1024 * 1024,
    epoch_ms: int = EPOCH_MS,
    byproduct_limits: ByproductLimits = BYPRODUCT_LIMITS,
    hooks: tuple[Callable[[int], Awaitable[None]] | None, Callable[[int], Awaitable[None]] | None] = (None, None),
    before_start: Callable[[World], None] = lambda world: None,
) -> AsyncGenerator[World, None]:
    """A world over a store, with what was unfinished in it taken up again."""
    world = World(store, behave, policy, limits, boot, max_frame_bytes, epoch_ms, byproduct_limits)
    before_start(world)
    world.store.before, world.store.after = hooks
    async with trio.open_nursery() as nursery:
        world.caller.nursery = nursery
        await world.webhooks.load()
        nursery.start_soon(world.executor.run)
        nursery.start_soon(world.delivery.run)
        nursery.start_soon(deliver_effects, world.executor, cast(Store, world.store))
        await recover_runs(world.executor, cast(Store, world.store), world.programs, world.clock)
        await nursery.start(world.jobs.run)
        await nursery.start(world.schedules.run)
        yield world
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def memory_world(behave: Behaviour = echo, **options: Any) -> AsyncGenerator[World, None]:
    """A world over an empty store in memory."""
    async with open_memory() as store, open_world(store, behave, **options) as world:
        yield world


async def settle_down() -> None:
    """Lets everything happen that happens without time passing."""
    await trio.testing.wait_all_tasks_blocked()


async def read_journal(store: Store, run_id: RunId) -> list[AnyEvent]:
    rows = await store.journal(run_id, 1, 1_000_000)
    return [event for row in rows for event in decode_events(row.events)]


async def fold_all(store: Store, run_id: RunId) -> RunFacts:
    """The facts that the whole journal gives."""
    facts = RunFacts()
    await fold_journal(store, run_id, facts)
    return facts


def describe_facts(facts: RunFacts) -> dict[str, Any]:
    """All that a fold decides, in a form that compares."""
    return {
        "seq": facts.seq,
        "progress": msgspec.structs.asdict(copy.copy(facts.progress)),
        "next": facts.next_item,
        "skipped": sorted(facts.skipped),
        "recoveries": facts.recoveries,
        "stopped": facts.stopped,
        "by request": facts.cancelled_by_request,
        "awake through": facts.awake_through,
        "has suspended": facts.has_suspended,
        "resumptions": list(facts.resumptions),
        "queued": list(facts.queued),
        "live": {
            item.index: (
                item.since,
                item.cancelling,
                item.cancel_reason,
                {
                    step: (
                        record.attempt,
                        record.ended,
                        record.cause,
                        record.component_failures,
                        record.transport_failures,
                        record.due_ms,
                        None
                        if record.waits is None
                        else (
                            record.waits.suspended,
                            record.waits.sleeps,
                            record.waits.token,
                            record.waits.resumed,
                            record.waits.naps,
                        ),
                    )
                    for step, record in item.steps.items()
                },
            )
            for item in (*facts.live.values(), *facts.queued.values())
        },
    }


def outcomes(status: RunStatus) -> list[tuple[int, str]]:
    return [(entry.item_index, entry.result.outcome) for entry in status.results or []]


def values(entries: Iterable[ItemEntry]) -> list[Any]:
    return [
        msgspec.json.decode(entry.result.value) if isinstance(entry.result.value, Raw) else entry.result
        for entry in entries
    ]


def expect_code(error: RpcError, code: ErrorCode) -> RpcError:
    """An error as peers must see it: its code, a sentence, and data with its type."""
    assert error.code == code, error
    assert error.message
    assert error.data["type"] == code.type_name
    return error


# --- flows -----------------------------------------------------------------------------------------------------------


def step(id: str, input: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": id, "component": f"/c/{id}", "input": {"$input": "$"} if input is None else input, **fields}


def ref(id: str) -> dict[str, Any]:
    return {"$step": id}


def flow(*steps: dict[str, Any], output: Any = None, **fields: Any) -> dict[str, Any]:
    """A flow; without `output`, the last step's is its output."""
    return {"steps": list(steps), "output": ref(steps[-1]["id"]) if output is None else output, **fields}


ONE: Final = flow(step("a"), name="One step")
CHAIN: Final = flow(step("a"), step("b", ref("a")), step("c", ref("b")))
DIAMOND: Final = flow(
    step("top"),
    step("left", ref("top")),
    step("right", ref("top")),
    output={"l": ref("left"), "r": ref("right")},
)
