"""A flow as it is written: steps, their expressions, and what is done when they fail (FLOWS, "Flow").

Reading is lenient: both spellings of a name (`onError`, `on_error`) are taken, `null` in an optional field means
absent, and unknown fields are ignored with a warning. What was written stays what is stored; these structs are only a
view of it. Whether a flow makes sense as a whole is told by `validate`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from msgspec import UNSET, Struct, UnsetType

from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import extend

Kind = TypeVar("Kind", bound=StrEnum)


NO_SCHEMAS: Final[Mapping[str, Any]] = {}


class ErrorAction(StrEnum):
    FAIL = "fail"
    USE_DEFAULT = "useDefault"
    RETRY = "retry"


class BackoffKind(StrEnum):
    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    FIBONACCI = "fibonacci"


class Backoff(Struct, frozen=True):
    """How long to wait between attempts. A constant one waits `min_delay_ms`."""

    type: BackoffKind = BackoffKind.FIBONACCI
    min_delay_ms: int = 1000
    max_delay_ms: int = 10_000
    factor: float = 2.0
    """Of an exponential one: by what each wait is longer than the one before."""


class OnError(Struct, frozen=True):
    """What becomes of a failed step."""

    action: ErrorAction = ErrorAction.FAIL
    default_value: Any = None
    """Of `useDefault`: the output then, as data."""
    max_retries: int = 3
    backoff: Backoff | None = None
    """`None`: as configured."""


class Step(Struct, frozen=True, kw_only=True):
    id: str
    component: str
    input: Any = None
    """An expression."""
    on_error: OnError = OnError()
    must_execute: bool = False
    timeout_ms: int | None = None
    metadata: Any = UNSET
    pointer: str
    """Where the step lies in the flow."""


class Flow(Struct, frozen=True, kw_only=True):
    name: str | None = None
    description: str | None = None
    version: str | None = None
    input_schema: Any | UnsetType = UNSET
    output_schema: Any | UnsetType = UNSET
    variables_schema: Any | UnsetType = UNSET
    step_schemas: Mapping[str, Any] = NO_SCHEMAS
    """Of steps' outputs, by step id."""
    steps: tuple[Step, ...] = ()
    output: Any = None
    """An expression."""
    examples: Any = UNSET
    metadata: Any = UNSET
    test: Any = UNSET


_FLOW_FIELDS: Final = frozenset(
    {"name", "description", "version", "schema", "$schema", "schemas", "inputSchema", "outputSchema", "steps", "output"}
    | {"examples", "metadata", "test"}
)
_STEP_FIELDS: Final = frozenset({"id", "component", "input", "onError", "mustExecute", "timeoutMs", "metadata"})
_ON_ERROR_FIELDS: Final = frozenset({"action", "defaultValue", "maxRetries", "backoff"})
_BACKOFF_FIELDS: Final = frozenset({"type", "minDelayMs", "maxDelayMs", "delayMs", "factor"})


def parse_flow(value: Any) -> Flow:
    """Read a flow from JSON.

    Raises:
        RpcError: `VALIDATION_FAILED` if it does not have the shape of a flow; `data.issues` says where.
    """
    findings = Findings()
    flow = read_flow(value, findings)
    findings.refuse_errors()
    return flow


def read_flow(value: Any, findings: Findings) -> Flow:
    """Read as much of a flow as can be made out; what is wrong or unknown goes to `findings`."""
    if not is_object(value):
        findings.error("bad_flow", "", "A flow is an object with steps and an output.")
        return Flow()
    fields = _Fields(value, "", _FLOW_FIELDS, findings)
    schemas = _read_schemas(fields)
    return Flow(
        name=fields.text("name"),
        description=fields.text("description"),
        version=fields.text("version"),
        input_schema=schemas.get("input", fields.get("inputSchema")),
        output_schema=schemas.get("output", fields.get("outputSchema")),
        variables_schema=schemas.get("variables", UNSET),
        step_schemas=_read_step_schemas(schemas.get("steps")),
        steps=tuple(_read_steps(fields, findings)),
        output=fields.get("output", null=True, default=None),
        examples=fields.get("examples"),
        metadata=fields.get("metadata"),
        test=fields.get("test"),
    )


def respell_step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step, or a part of one, with its fields and those of its `onError` in camelCase; data are not touched."""
    return _respell_fields(
        step,
        _STEP_FIELDS,
        onError=lambda on_error: _respell_fields(on_error, _ON_ERROR_FIELDS, backoff=_respell_backoff),
    )


def _respell_backoff(backoff: Mapping[str, Any]) -> dict[str, Any]:
    return _respell_fields(backoff, _BACKOFF_FIELDS)


def _respell_fields(
    value: Mapping[str, Any], known: frozenset[str], **inner: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    fields = {_respell(key, known): member for key, member in value.items()}
    for name, respell in inner.items():
        if is_object(member := fields.get(name)):
            fields[name] = respell(member)
    return fields


def _read_schemas(fields: _Fields) -> dict[str, Any]:
    schemas = fields.mapping("schemas")
    properties = schemas.get("properties")
    if not is_object(properties):
        return {}
    parts = {key: part for key, part in properties.items() if part is not None}
    definitions = {key: schemas[key] for key in ("$defs", "definitions") if key in schemas}
    return {key: {**definitions, **part} if is_object(part) else part for key, part in parts.items()}


def _read_step_schemas(schema: Any) -> Mapping[str, Any]:
    """The schemas of steps' outputs; both of `{<id>: …}` and of a schema of that object."""
    if not is_object(schema):
        return NO_SCHEMAS
    properties = schema.get("properties")
    return properties if is_object(properties) and schema.get("type") == "object" else schema


def _read_steps(fields: _Fields, findings: Findings) -> Iterable[Step]:
    steps = fields.get("steps")
    if steps is UNSET:
        return
    if not is_array(steps):
        findings.error("bad_steps", fields.place("steps"), '"steps" is a list of steps.')
        return
    for index, step in enumerate(steps):
        pointer = extend("/steps", index)
        if is_object(step):
            yield _read_step(_Fields(step, pointer, _STEP_FIELDS, findings))
        else:
            findings.error("bad_step", pointer, "A step is an object with an id and a component.")


def _read_step(fields: _Fields) -> Step:
    step_id, component = fields.text("id"), fields.text("component")
    if not step_id:
        fields.refuse("id", "empty_step_id", "A step needs an id that is not empty.")
    if not component:
        fields.refuse("component", "bad_component", 'A step needs a component, such as "/python/double".')
    return Step(
        id=step_id or "",
        component=component or "",
        input=fields.get("input", null=True, default=None),
        on_error=_read_on_error(fields),
        must_execute=fields.flag("mustExecute"),
        timeout_ms=fields.whole("timeoutMs", 1),
        metadata=fields.get("metadata"),
        pointer=fields.pointer,
    )


def _read_on_error(step: _Fields) -> OnError:
    if not (value := step.mapping("onError")):
        return OnError()
    fields = _Fields(value, step.place("onError"), _ON_ERROR_FIELDS, step.findings, code="bad_on_error")
    action = fields.choice("action", ErrorAction) or ErrorAction.FAIL
    max_retries = fields.whole("maxRetries", 0)
    return OnError(
        action=action,
        default_value=fields.get("defaultValue", null=True, default=None),
        max_retries=OnError().max_retries if max_retries is None else max_retries,
        backoff=read_backoff(value["backoff"], fields.place("backoff"), step.findings) if "backoff" in value else None,
    )


def read_backoff(value: Any, pointer: str, findings: Findings) -> Backoff | None:
    """Read a back-off, as it stands in a step's `onError` or in the configuration; `null` is none."""
    if value is None:
        return None
    if not is_object(value):
        findings.error("bad_backoff", pointer, 'A back-off is an object such as {"type": "constant", "delayMs": 500}.')
        return None
    fields = _Fields(value, pointer, _BACKOFF_FIELDS, findings, code="bad_backoff")
    standard = Backoff()
    kind = fields.choice("type", BackoffKind) or standard.type
    shortest = fields.whole("delayMs" if "delayMs" in fields.values else "minDelayMs", 0)
    longest = fields.whole("maxDelayMs", 0)
    factor = fields.get("factor", default=standard.factor)
    if not isinstance(factor, int | float) or isinstance(factor, bool) or factor < 1:
        fields.refuse("factor", "bad_backoff", '"factor" is a number that is at least 1.')
        factor = standard.factor
    min_delay_ms = standard.min_delay_ms if shortest is None else shortest
    max_delay_ms = standard.max_delay_ms if longest is None else longest
    return Backoff(kind, min_delay_ms, max(min_delay_ms, max_delay_ms), float(factor))


def _respell(key: str, known: frozenset[str]) -> str:
    """The camelCase spelling of a known field; any other key as it is."""
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
    return camel if camel in known else key


class _Fields:
    """An object's fields by their camelCase name; what is wrong with one is reported where it lies."""

    def __init__(
        self, value: dict[str, Any], pointer: str, known: frozenset[str], findings: Findings, *, code: str = "bad_field"
    ) -> None:
        self.pointer = pointer
        self.findings = findings
        self.code = code
        self.values: dict[str, Any] = {}
        self.spellings: dict[str, str] = {}
        for key, member in value.items():
            name = _respell(key, known)
            if name in self.values:
                findings.error(code, extend(pointer, key), f"{key!r} and {self.spellings[name]!r} are the same field.")
            elif name not in known:
                close = difflib.get_close_matches(name, known, 1, 0.8)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                findings.warn("unknown_field", extend(pointer, key), f"{key!r} is ignored{hint}")
            self.values[name] = member
            self.spellings[name] = key

    def place(self, name: str) -> str:
        return extend(self.pointer, self.spellings.get(name, name))

    def refuse(self, name: str, code: str, message: str) -> None:
        self.findings.error(code, self.place(name) if name in self.values else self.pointer, message)

    def get(self, name: str, *, null: bool = False, default: Any = UNSET) -> Any:
        value = self.values.get(name, default)
        return default if value is None and not null else value

    def text(self, name: str) -> str | None:
        value = self.get(name, default=None)
        if value is None or isinstance(value, str):
            return value
        self.refuse(name, self.code, f"{name!r} is a string.")
        return None

    def flag(self, name: str) -> bool:
        value = self.get(name, default=False)
        if not isinstance(value, bool):
            self.refuse(name, self.code, f"{name!r} is true or false.")
            return False
        return value

    def whole(self, name: str, minimum: int) -> int | None:
        value = self.get(name, default=None)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
            return value
        self.refuse(name, self.code, f"{name!r} is a whole number that is at least {minimum}.")
        return None

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.get(name, default={})
        if is_object(value):
            return value
        self.refuse(name, self.code, f"{name!r} is an object.")
        return {}

    def choice(self, name: str, kinds: type[Kind]) -> Kind | None:
        text = self.text(name)
        if text is None:
            return None
        for kind in kinds:
            if _respell(text, frozenset((kind.value,))) == kind.value:
                return kind
        close = difflib.get_close_matches(text, kinds, 1)
        hint = f"; did you mean {str(close[0])!r}?" if close else "."
        self.refuse(name, self.code, f"{text!r} is none of {', '.join(kinds)}{hint}")
        return None
