"""The type of an expression, and what is wrong with its references (FLOWS, "Expressions").

Reads expressions as they are written, once they are known to be well-formed. What surely fails has an unknown type, so
that one mistake is told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from protocol.flows import Fit
from stepflow_runtime.model.expression_syntax import KEYWORDS
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.path import parse_path
from stepflow_runtime.model.pointer import extend
from stepflow_runtime.model.types.constants import type_of
from stepflow_runtime.model.types.following import Found, follow
from stepflow_runtime.model.types.lattice import NEVER, NULL, UNKNOWN, Array, Field, Kind, Object, Scalar, Type, unite


class Scope(Struct, frozen=True):
    """The types of what expressions refer to; `outputs`: by step id."""

    input: Type
    variables: Type
    outputs: Mapping[str, Type]


class Remark(Struct, frozen=True):
    """A reference that leads to nothing, or may; `place`: a JSON pointer."""

    fit: Fit
    place: str
    message: str


def infer(value: Any, scope: Scope, pointer: str) -> tuple[Type, list[Remark]]:
    """The type of an expression.

    Args:
        value: The expression as JSON; well-formed.
        scope: What it may refer to.
        pointer: Where it lies in the flow.

    Returns:
        The type, and what was noticed on the way, in order.
    """
    inference = _Inference(scope)
    type = inference.infer(value, pointer, ())
    return type, inference.remarks


class _Inference:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.remarks: list[Remark] = []
        self.doubts = 0
        """How many references may lead to nothing, also where nobody has told whether they do."""

    def infer(self, value: Any, pointer: str, guards: tuple[Any, ...]) -> Type:
        """The type; `guards` are the conditions that hold here: what they look at is there, and not null."""
        if is_array(value):
            return Type((Array(prefix=self.infer_all(value, pointer, guards), rest=NEVER),))
        if not is_object(value):
            return type_of(value)
        keyword = next((word for word in KEYWORDS if word in value), None)
        if keyword is None:
            fields = {name: Field(self.infer(member, extend(pointer, name), guards)) for name, member in value.items()}
            return Type((Object(fields=fields, rest=NEVER),))
        match keyword:
            case "$literal":
                return type_of(value["$literal"])
            case "$if":
                return self.infer_conditional(value, pointer, guards)
            case "$coalesce":
                return self.infer_coalesce(value["$coalesce"], extend(pointer, "$coalesce"), guards)
            case _:
                is_guarded = value in guards
                type = self.infer_reference(keyword, value, pointer, guards, is_guarded)
                return drop_false(type) if is_guarded else type

    def infer_all(self, values: list[Any], pointer: str, guards: tuple[Any, ...]) -> tuple[Type, ...]:
        return tuple([self.infer(value, extend(pointer, index), guards) for index, value in enumerate(values)])

    def infer_conditional(self, value: dict[str, Any], pointer: str, guards: tuple[Any, ...]) -> Type:
        asked, doubts = len(self.remarks), self.doubts
        condition = self.infer(value["$if"], extend(pointer, "$if"), guards)
        self.remarks[asked:] = [  # a condition that fails is false, which may be what is asked
            Remark(Fit.MAY_MISFIT, remark.place, f"{remark.message}; so the condition is never true")
            for remark in self.remarks[asked:]
            if remark.fit is Fit.MISFITS
        ]
        branches: list[Type] = []
        if not drop_false(condition).is_never:
            branches.append(self.infer_perhaps(value["then"], extend(pointer, "then"), (*guards, value["$if"])))
        if self.doubts > doubts or _may_be_false(condition):
            branches.append(self.infer_perhaps(value.get("else"), extend(pointer, "else"), guards))
        return unite(branches)

    def infer_coalesce(self, options: list[Any], pointer: str, guards: tuple[Any, ...]) -> Type:
        found: list[Type] = []
        for index, option in enumerate(options):
            place = extend(pointer, index)
            type = self.infer_perhaps(option, place, guards) if found else self.infer(option, place, guards)
            if not type.is_open and all(shape.kind is not Kind.NULL for shape in type.shapes):
                return unite([*found, type])
            found.append(drop_null(type))
        return unite([*found, NULL])

    def infer_perhaps(self, value: Any, pointer: str, guards: tuple[Any, ...]) -> Type:
        """The type of what is evaluated only sometimes: what surely fails in it fails only then."""
        asked = len(self.remarks)
        type = self.infer(value, pointer, guards)
        self.remarks[asked:] = [
            Remark(Fit.MAY_MISFIT if remark.fit is Fit.MISFITS else remark.fit, remark.place, remark.message)
            for remark in self.remarks[asked:]
        ]
        return type

    def infer_reference(
        self, keyword: str, value: dict[str, Any], pointer: str, guards: tuple[Any, ...], is_guarded: bool
    ) -> Type:
        match keyword:
            case "$input":
                found = follow(self.scope.input, parse_path(value["$input"]))
                owner = "The input"
            case "$step":
                path = parse_path(value["path"]) if value.get("path") is not None else ()
                found = follow(self.scope.outputs.get(value["$step"], UNKNOWN), path, null_is_null=True)
                owner = f"The output of step {value['$step']!r}"
            case _:
                found, owner = self.find_variable(value), f"The variable {value['$variable']!r}"
                if "default" in value and found.fit is not Fit.FITS:
                    default = self.infer_perhaps(value["default"], extend(pointer, "default"), guards)
                    return default if found.fit is Fit.MISFITS else unite([found.type, default])
        self.doubts += found.fit is not Fit.FITS
        if found.fit is Fit.MISFITS or (found.fit is Fit.MAY_MISFIT and not is_guarded):
            place = extend(pointer, "path") if keyword == "$step" else extend(pointer, keyword)
            self.remarks.append(Remark(found.fit, place, f"{owner} {found.message}"))
        return found.type

    def find_variable(self, value: dict[str, Any]) -> Found:
        """A variable that is not required may be given all the same, and mostly is."""
        name, *path = parse_path(value["$variable"])
        variable = follow(self.scope.variables, (name,))
        if variable.fit is Fit.MISFITS:
            return variable
        rest = follow(variable.type, tuple(path))
        if variable.fit is Fit.FITS or rest.fit is Fit.MISFITS:
            return rest
        is_declared = _declares(self.scope.variables, name)
        return Found(rest.type, Fit.UNKNOWN if is_declared else variable.fit, variable.message)


def _declares(type: Type, name: str | int) -> bool:
    return any(isinstance(shape, Object) and name in shape.fields for shape in type.shapes)


def drop_null(type: Type) -> Type:
    """The type without `null`."""
    if type.is_open:
        return type
    return Type(tuple(shape for shape in type.shapes if shape.kind is not Kind.NULL))


def drop_false(type: Type) -> Type:
    """The type of a condition that holds: without `null` and `false`."""
    if type.is_open:
        return type
    kept = [shape for shape in drop_null(type).shapes if shape.kind is not Kind.BOOLEAN]
    booleans = [shape for shape in type.shapes if isinstance(shape, Scalar) and shape.kind is Kind.BOOLEAN]
    if any(shape.values is None or True in shape.values for shape in booleans):
        kept.append(
            Scalar(kind=Kind.BOOLEAN, values=frozenset({True}), vague=any(s.vague or s.extra for s in booleans))
        )
    return Type(tuple(kept))


def _may_be_false(type: Type) -> bool:
    return type.is_open or drop_false(type) != type
