"""The mock plugin: components whose results the configuration lists, for trying flows without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import trio

from protocol.errors import ItemErrorCode
from protocol.observing import ServerInfo
from protocol.types import ComponentInfo
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.model.outcome import Failure, Outcome
from stepflow_runtime.ports import Execution


class MockPlugin:
    """Answers each input with the result that is configured for it.

    Args:
        name: The plugin's name.
        components: By path: the outcome for each input, as `read_behaviors` gives it.
        answers: Where answers go.
    """

    def __init__(self, name: str, components: Mapping[str, Mapping[str, Outcome]], answers: AnswerQueue) -> None:
        self._name = name
        self._components = components
        self._answers = answers

    @property
    def name(self) -> str:
        return self._name

    def call(self, execution: Execution, path: str) -> None:
        self._answers.put(execution, self._outcome(execution, path))

    def flush(self) -> None:
        """Answers need no sending."""

    def hold(self) -> None:
        """Nothing is queued."""

    @property
    def load(self) -> int:
        return 0

    def traffic(self) -> None:
        return None

    def servers(self) -> Sequence[ServerInfo]:
        return ()

    async def components(self) -> Sequence[ComponentInfo]:
        return [ComponentInfo(path) for path in self._components]

    async def infer_schema(self, path: str, input_schema: Any) -> Any:
        """One of the results that it has."""
        outcomes = self._components.get(path, {}).values()
        values = [msgspec.json.decode(outcome) for outcome in outcomes if isinstance(outcome, bytes)]
        return {"enum": values} if values else msgspec.UNSET

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()

    def _outcome(self, execution: Execution, path: str) -> Outcome:
        behaviors = self._components.get(path)
        if behaviors is None:
            return Failure(
                ItemErrorCode.COMPONENT_NOT_FOUND,
                f'The mock plugin "{self._name}" has no component "{path}"; it has: {", ".join(self._components)}.',
            )
        outcome = behaviors.get(json_key(msgspec.json.decode(execution.input)))
        if outcome is None:
            shown = execution.input[:200].decode(errors="replace")
            return Failure(
                ItemErrorCode.COMPONENT_FAILED,
                f'The mock component "{path}" has no behavior for the input {shown}; add one to the configuration.',
            )
        return outcome


def read_behaviors(path: str, behaviors: Any) -> dict[str, Outcome]:
    """Reads the `behaviors` of one component of the configuration.

    Args:
        path: The component, for messages.
        behaviors: A list of `{input, result}`, or a mapping from inputs to results. A key of the mapping is the
            input as JSON, or else the input itself as a string. A result is
            `{outcome: "success", value | result}` or `{outcome: "failed", error: {code?, message?, data?}}`.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(behaviors, dict):
        by_input = cast("Mapping[Any, Any]", behaviors)
        return {json_key(_read_key(key)): _read_result(path, result) for key, result in by_input.items()}
    if isinstance(behaviors, list):
        return dict(_read_behavior(path, behavior) for behavior in cast("Sequence[Any]", behaviors))
    raise ValueError(f'"behaviors" of the mock component "{path}" must be a list of {{input, result}}.')


def json_key(value: Any) -> str:
    """One text for all spellings of a JSON value; `1` and `1.0` are the same number, `true` is none."""
    if isinstance(value, dict):
        fields = cast("Mapping[str, Any]", value)
        members = sorted((msgspec.json.encode(key).decode(), json_key(member)) for key, member in fields.items())
        return "{" + ",".join(f"{key}:{member}" for key, member in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_key, cast("Sequence[Any]", value))) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode()


def _read_key(key: Any) -> Any:
    if not isinstance(key, str):
        return key
    try:
        return msgspec.json.decode(key)
    except msgspec.DecodeError:
        return key


def _read_behavior(path: str, behavior: Any) -> tuple[str, Outcome]:
    if not isinstance(behavior, dict) or "input" not in behavior or "result" not in behavior:
        raise ValueError(f'Each of the "behaviors" of the mock component "{path}" needs "input" and "result".')
    return json_key(behavior["input"]), _read_result(path, behavior["result"])


def _read_result(path: str, result: Any) -> Outcome:
    match result:
        case {"outcome": "success", "value": value} | {"outcome": "success", "result": value}:
            return msgspec.json.encode(value)
        case {"outcome": "failed", "error": {**error}}:
            code = str(error.get("code"))
            return Failure(
                code if code in list(ItemErrorCode) else ItemErrorCode.COMPONENT_FAILED,
                str(error.get("message", "the mock component failed")),
                error.get("data", msgspec.UNSET),
            )
        case _:
            raise ValueError(
                f'A result of the mock component "{path}" must be {{outcome: success, value: …}} or '
                f"{{outcome: failed, error: {{code, message}}}}."
            )
