"""What the parts of a run's state ask of the whole, `run_state.RunState`, which is made of them."""

from __future__ import annotations

from typing import Protocol

from stepflow_runtime.engine.commands import Command
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.fork import Reuse
from stepflow_runtime.engine.inputs import InputWindow
from stepflow_runtime.engine.items import ItemRecord, StepRecord
from stepflow_runtime.engine.plan import Advance, Plan
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.model.spec import RunSpec


class Whole(Protocol):
    """A live run; see `RunState`."""

    spec: RunSpec
    plan: Plan
    policy: RetryPolicy
    facts: RunFacts
    inputs: InputWindow
    reuses: dict[int, Reuse]
    durable_through: int
    now: list[Command]
    after: list[Command]

    @property
    def is_stopping(self) -> bool: ...

    @property
    def free_slots(self) -> int: ...

    def holds_back(self, item: ItemRecord) -> bool:
        """Whether steps of an item are ready, and do not begin because the run is paused."""
        ...

    def record(self, event: AnyEvent) -> None: ...

    def current(self, index: int, step: str, attempt: int) -> StepRecord | None: ...

    def begin_steps(self, item: ItemRecord, ready: list[tuple[str, bytes]]) -> None: ...

    def follow(self, item: ItemRecord, advance: Advance) -> None: ...

    def execute_again(self, item: ItemRecord, step: str, commands: list[Command]) -> None: ...

    def fail_step(self, item: ItemRecord, step: str, record: StepRecord, failure: Failure) -> None: ...

    def cancel_item(self, item: ItemRecord) -> None: ...

    def retry_due(self, index: int, step: str, attempt: int) -> None: ...
