"""The plugin of the built-in components.

Those that only compute answer at once. Those that wait (for a blob, a file, a run) run as tasks of one nursery; they
take no server slot. What they do is in `components`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import trio
from msgspec import UNSET

from protocol.errors import EXECUTE_ERRORS, ErrorCode, ItemErrorCode, RpcError
from protocol.observing import ServerInfo
from protocol.types import ComponentInfo
from stepflow_runtime.connect.answers import INTERRUPTED, AnswerQueue
from stepflow_runtime.connect.builtin_schemas import INFERENCES, INPUT_SCHEMAS, OUTPUT_SCHEMAS
from stepflow_runtime.connect.components import COMPUTING, LEAVING, WAITING, Callbacks, IterationFailed, Waiting
from stepflow_runtime.connect.files import FileLoader, LoadFile
from stepflow_runtime.model.outcome import Failure, Outcome, Suspension
from stepflow_runtime.ports import Clock, Execution


class BuiltinPlugin:
    """Executes the built-in components.

    Args:
        name: The plugin's name.
        services: What the components ask of the runtime.
        answers: Where answers go.
        load_file: Reads the files of `load_file`.
        clock: Tells when a sleep is over.
    """

    def __init__(
        self, name: str, services: Callbacks, answers: AnswerQueue, load_file: FileLoader, clock: Clock
    ) -> None:
        self._clock = clock
        self._name = name
        self._services = services
        self._answers = answers
        self._waiting: dict[str, Waiting] = {**WAITING, "/load_file": self._load_file}
        self._read_file = load_file
        self._nursery: trio.Nursery | None = None
        self._working = 0

    @property
    def name(self) -> str:
        return self._name

    def call(self, execution: Execution, path: str) -> None:
        computing, leaving = COMPUTING.get(path), LEAVING.get(path)
        if computing is not None:
            self._answers.put(execution, _compute(partial(computing, execution.input)))
            return
        if leaving is not None:
            self._answers.put(execution, _compute(partial(leaving, execution, self._clock.wall_ms())))
            return
        waiting = self._waiting.get(path)
        if waiting is None:
            known = ", ".join(sorted([*COMPUTING, *LEAVING, *self._waiting]))
            message = f'There is no built-in component "{path}"; there are: {known}.'
            self._answers.put(execution, Failure(ItemErrorCode.COMPONENT_NOT_FOUND, message))
            return
        assert self._nursery is not None, "run() was not started"
        task = Task(self)
        execution.place = task
        if execution.timeout_ms is not None:
            self._answers.sink.dispatched(execution)
        self._nursery.start_soon(self._perform, waiting, execution, task)

    def flush(self) -> None:
        """Nothing is queued."""

    def hold(self) -> None:
        """Nothing is queued."""

    @property
    def load(self) -> int:
        return self._working

    def traffic(self) -> None:
        return None

    def servers(self) -> Sequence[ServerInfo]:
        return ()

    async def components(self) -> Sequence[ComponentInfo]:
        return [
            ComponentInfo(
                path,
                description=(function.__doc__ or "").strip().splitlines()[0],
                input_schema=INPUT_SCHEMAS.get(path, UNSET),
                output_schema=OUTPUT_SCHEMAS.get(path, UNSET),
            )
            for path, function in sorted({**COMPUTING, **LEAVING, **self._waiting}.items())
        ]

    async def infer_schema(self, path: str, input_schema: Any) -> Any:
        infer = INFERENCES.get(path)
        return OUTPUT_SCHEMAS.get(path, UNSET) if infer is None else infer(input_schema)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    async def _perform(self, component: Waiting, execution: Execution, task: Task) -> None:
        outcome: Outcome = INTERRUPTED
        self.count(+1)
        try:
            with task.scope:
                try:
                    outcome = await component(execution, self._services)
                except Exception as error:
                    outcome = explain(error)
        finally:
            self.count(-1)
        if execution.place is task:
            self._answers.put(execution, outcome)

    def count(self, change: int) -> None:
        """So many more executions are at work."""
        self._working += change

    async def _load_file(self, execution: Execution, services: Callbacks) -> bytes:
        """Reads a file beneath the configured folders."""
        return await self._read_file.load(msgspec.json.decode(execution.input, type=LoadFile))


class Task:
    """The place of an execution that runs as a task."""

    __slots__ = ("_plugin", "scope")

    def __init__(self, plugin: BuiltinPlugin) -> None:
        self._plugin = plugin
        self.scope = trio.CancelScope()

    def cancel(self, execution: Execution) -> None:
        execution.place = None
        if execution.waiting:
            self._plugin.count(+1)
        self.scope.cancel()

    def interrupt(self, execution: Execution) -> None:
        self.scope.cancel()

    def park(self, execution: Execution) -> None:
        self._plugin.count(-1)

    def unpark(self, execution: Execution) -> None:
        self._plugin.count(+1)


def explain(error: Exception) -> Failure:
    """Why a built-in component failed, for the step. What nobody foresaw is told without its text."""
    match error:
        case RpcError():
            return Failure(_CODES.get(error.code, ItemErrorCode.COMPONENT_FAILED), error.message, error.data)
        case IterationFailed():
            return Failure(error.code, str(error), error.data)
        case msgspec.MsgspecError():
            return Failure(ItemErrorCode.INVALID_INPUT, f"The input does not fit the component: {error}.")
        case _:
            return Failure(ItemErrorCode.INTERNAL, f"The built-in component failed with {type(error).__name__}.")


_CODES: Final[Mapping[int, ItemErrorCode]] = {
    **EXECUTE_ERRORS,
    ErrorCode.NOT_FOUND: ItemErrorCode.INVALID_INPUT,
    ErrorCode.VALIDATION_FAILED: ItemErrorCode.INVALID_INPUT,
}


def _compute(component: Callable[[], Outcome | Suspension]) -> Outcome | Suspension:
    try:
        return component()
    except Exception as error:
        return explain(error)
