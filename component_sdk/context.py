"""What a component knows of the execution that it is in, and what it can do from there.

A component that is an `async def` gets a `StepflowContext`; a plain `def` gets the same with methods that block, a
`sync.BlockingContext`. Whatever it asks of the runtime carries the execution's observability, so that it belongs to
this attempt (PROTOCOL §2).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from component_sdk.access import RuntimeAccess, WaitForName
from component_sdk.caller import Caller
from component_sdk.run import Order
from protocol.types import Observability, ResultOrder, RunStatus

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


class NoActionTaken(BaseException):
    """Ends a component that has nothing to do; `no_action` raises it.

    It is no `Exception`, so that a component's own `except Exception` lets it pass.

    Args:
        reason: For people.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


class Execution:
    """The facts of one attempt at one step."""

    __slots__ = ()

    attempt: int
    """Counts from 1, and grows with every re-execution of the step, whatever the cause."""

    _observability: Observability | None

    @property
    def run_id(self) -> str | None:
        return self._facts.run_id

    @property
    def flow_id(self) -> str | None:
        return self._facts.flow_id

    @property
    def step_id(self) -> str | None:
        return self._facts.step_id

    @property
    def item_index(self) -> int | None:
        """Which item of the run, from 0."""
        return self._facts.item_index

    @property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger, bound to run, step, item and attempt; on stderr, unless structlog is configured."""
        import structlog

        facts = {"run_id": self.run_id, "step_id": self.step_id, "item_index": self.item_index, "attempt": self.attempt}
        is_configured = structlog.is_configured()
        logger: FilteringBoundLogger
        logger = structlog.get_logger() if is_configured else structlog.wrap_logger(structlog.WriteLogger(sys.stderr))
        return logger.bind(**{name: value for name, value in facts.items() if value is not None})

    def no_action(self, reason: str | None = None) -> NoReturn:
        """End the component here: there was nothing to do.

        Args:
            reason: For people.
        """
        raise NoActionTaken(reason)

    @property
    def _facts(self) -> Observability:
        return self._observability or Observability()


class StepflowContext(RuntimeAccess, Execution):
    """The context of an `async def` component.

    Args:
        caller: Takes requests to the runtime.
        observability: As it came with the execution.
        attempt: Counts from 1.
    """

    __slots__ = ("attempt",)

    def __init__(self, caller: Caller, observability: Observability | None = None, attempt: int = 1) -> None:
        super().__init__(caller, observability)
        self.attempt = attempt

    async def get_run(
        self,
        run_id: str,
        wait: bool = False,
        include_results: bool = False,
        result_order: Order = "byIndex",
        *,
        wait_for: WaitForName | None = None,
        timeout_s: float | None = None,
    ) -> RunStatus:
        """Look a run up.

        Args:
            run_id: The run.
            wait: Answer when it has ended.
            include_results: With all results so far.
            result_order: `byIndex`, or `byCompletion`: as they ended.
            wait_for: `settled`: also when it is suspended.
            timeout_s: Bounds the waiting; then the status is the answer as it is.

        Raises:
            RunNotFoundError: There is no such run, or it may not be seen from here.
        """
        return await self._get_run(run_id, wait, include_results, ResultOrder(result_order), wait_for, timeout_s)

    @property
    def caller(self) -> Caller:
        """What takes its requests to the runtime."""
        return self._caller

    def over(self, caller: Caller) -> StepflowContext:
        """The same context, with its requests going another way."""
        return StepflowContext(caller, self._observability, self.attempt)
