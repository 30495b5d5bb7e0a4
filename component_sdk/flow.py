"""Flows built in Python: the same data as the YAML, hence the same id (FLOWS).

    flow = FlowBuilder("double everything")
    doubled = flow.step("double", "/python/double", input={"item": flow.input["item"]})
    flow.output({"x": doubled["x"], "mode": flow.variable("mode", default="fast")})
    flow.build()

References are written by indexing, `flow.input["rows"][0]`, or as a path, `flow.input.at("$.rows[0]")`. Knows the
shape of the language, not its rules: whether the flow makes sense is told by the runtime, with a path for each finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from component_sdk.errors import SdkError

_PLAIN_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Expression:
    """A part of a flow that is computed when the flow runs; written by `to_data`."""

    def to_data(self) -> dict[str, Any]:
        """The expression as the flow language writes it."""
        raise NotImplementedError


class Reference(Expression):
    """A value somewhere in an item's input, a step's output or a variable; index it to go deeper.

    Args:
        kind: `$input`, `$step` or `$variable`.
        name: The step's or variable's; empty for `$input`.
        path: Field names and indexes from there.
        extra: Further keys of the expression.
    """

    def __init__(
        self, kind: str, name: str = "", path: tuple[str | int, ...] = (), extra: Mapping[str, Any] | None = None
    ) -> None:
        self._kind = kind
        self._name = name
        self._path = path
        self._extra = dict(extra or {})

    def __getitem__(self, segment: str | int) -> Reference:
        return Reference(self._kind, self._name, (*self._path, segment), self._extra)

    __iter__ = None  # indexing never ends: without this, `list(reference)` would not either

    def at(self, path: str) -> Expression:
        """What lies at a path in the flow language, such as `$.rows[0]`; it stands in the flow as it is written here.

        Raises:
            SdkError: It is not asked of the whole of an input or of an output.
        """
        match self._kind, self._path:
            case "$step", ():
                return Operation({"$step": self._name, "path": path})
            case "$input", ():
                return Operation({"$input": path})
            case _:
                raise SdkError("Only the whole input and a step's whole output have an `at`; index this one instead.")

    def to_data(self) -> dict[str, Any]:
        match self._kind:
            case "$step":
                path = {"path": write_path(self._path)} if self._path else {}
                return {"$step": self._name, **path}
            case "$variable":
                return {"$variable": write_path((self._name, *self._path)), **self._extra}
            case _:
                return {"$input": write_path(self._path)}


class Operation(Expression):
    """An expression that is no reference which can be indexed: `$if`, `$coalesce`, `$literal`, or one at a path."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def to_data(self) -> dict[str, Any]:
        return self._data


def write_path(path: tuple[str | int, ...]) -> str:
    """Write a path in its shortest form: `$`, `field`, or `$.a[0]["b c"]`."""
    match path:
        case (str() as field,) if field and not field.startswith("$"):
            return field
        case _:
            return "$" + "".join(_write_segment(segment) for segment in path)


def _write_segment(segment: str | int) -> str:
    if isinstance(segment, int):
        return f"[{segment}]"
    return f".{segment}" if _PLAIN_FIELD.fullmatch(segment) else f"[{json.dumps(segment, ensure_ascii=False)}]"


def literal(value: Any) -> Expression:
    """Data that is not read as an expression, however it looks."""
    return Operation({"$literal": value})


def coalesce(*values: Any) -> Expression:
    """The first of these that is not null."""
    return Operation({"$coalesce": [write_value(value) for value in values]})


def if_(condition: Any, then: Any, else_: Any = None) -> Expression:
    """One value or the other; null, false and a failed condition are false."""
    otherwise = {} if else_ is None else {"else": write_value(else_)}
    return Operation({"$if": write_value(condition), "then": write_value(then), **otherwise})


def write_value(value: Any) -> Any:
    """Write a value with the expressions in it as the flow language has them."""
    plain: Any = value.to_data() if isinstance(value, Expression) else value
    if isinstance(value, Mapping):
        return {key: write_value(member) for key, member in plain.items()}
    if isinstance(value, list | tuple):
        return [write_value(element) for element in plain]
    return plain


def use_default(value: Any = None) -> dict[str, Any]:
    """For `on_error`: a failed step has this value instead."""
    return {"action": "useDefault", **({} if value is None else {"defaultValue": write_value(value)})}


def retry(max_retries: int | None = None, backoff: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """For `on_error`: a failed step is executed again.

    Args:
        max_retries: How often; the runtime's default is 3.
        backoff: As in the flow language, e.g. `{"type": "constant", "delayMs": 100}`.
    """
    options = {"maxRetries": max_retries, "backoff": backoff}
    return {"action": "retry", **{key: option for key, option in options.items() if option is not None}}


class FlowBuilder:
    """A flow that is being built.

    Args:
        name: The flow's name.
        description: For people.
        schemas: `{type: object, properties: {input, output, variables, steps}}`.
        metadata: Anything; kept and ignored.
        fields: Further fields as the flow language has them, such as `test`.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        description: str | None = None,
        version: str | None = None,
        schemas: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        head = {
            "name": name,
            "description": description,
            "version": version,
            "schemas": schemas,
            "metadata": metadata,
        }
        self._head = {key: value for key, value in head.items() if value is not None} | dict(fields or {})
        self._steps: dict[str, dict[str, Any]] = {}
        self._tail: dict[str, Any] = {}

    @property
    def input(self) -> Reference:
        """The item's input."""
        return Reference("$input")

    def variable(self, name: str, default: Any = None) -> Reference:
        """A variable; `default` is its value where none is given."""
        return Reference("$variable", name, extra={} if default is None else {"default": write_value(default)})

    def step(
        self,
        id: str,
        component: str,
        *,
        input: Any = None,
        on_error: Mapping[str, Any] | None = None,
        must_execute: bool = False,
        timeout_s: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Reference:
        """Add a step.

        Args:
            id: Its name in this flow.
            component: The path of the component, with its route: `/python/double`.
            input: JSON with expressions in it; `None` leaves it out.
            on_error: `use_default(…)` or `retry(…)`; without it the item fails.
            must_execute: Executed even if nothing depends on it.
            timeout_s: Ends an attempt.
            fields: Further fields as the flow language has them.

        Returns:
            A reference to its output.

        Raises:
            SdkError: A step of this id is there already.
        """
        if id in self._steps:
            raise SdkError(f"There is a step {id!r} already; give this one another id.")
        step: dict[str, Any] = {"id": id, "component": component}
        if input is not None:
            step["input"] = write_value(input)
        if on_error is not None:
            step["onError"] = dict(on_error)
        if must_execute:
            step["mustExecute"] = True
        if timeout_s is not None:
            step["timeoutMs"] = round(timeout_s * 1000)
        if metadata is not None:
            step["metadata"] = dict(metadata)
        self._steps[id] = step | dict(fields or {})
        return Reference("$step", id)

    def output(self, value: Any) -> None:
        """Set what an item of this flow gives: JSON with expressions in it."""
        self._tail["output"] = write_value(value)

    def build(self) -> dict[str, Any]:
        """The flow as data.

        Raises:
            SdkError: It has no output.
        """
        if "output" not in self._tail:
            raise SdkError("The flow has no output; call `flow.output(…)`: only the steps that it needs are executed.")
        return {**self._head, "steps": list(self._steps.values()), **self._tail}
