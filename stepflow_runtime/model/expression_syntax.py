"""How expressions are written, and their compilation (FLOWS, "Expressions").

What makes an object an expression is one of the `KEYWORDS`; everything else stands for itself. The compiled tree, and
what it is worth, is in `expression`. Data is never compiled: only what stands in the flow.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from protocol.errors import RpcError
from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.expression import (
    Coalesce,
    Conditional,
    Constant,
    Expression,
    InputReference,
    StepReference,
    Template,
    VariableReference,
)
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.path import Path, PathError, parse_path
from stepflow_runtime.model.pointer import extend

MAX_EXPRESSION_DEPTH: Final = 150
"""How deeply expressions nest, `$literal` apart; evaluation recurses."""

KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "$literal": frozenset(),
    "$if": frozenset({"then", "else"}),
    "$coalesce": frozenset(),
    "$step": frozenset({"path"}),
    "$input": frozenset(),
    "$variable": frozenset({"default"}),
}
"""What makes an object an expression, by precedence, and the keys that go with each."""

_NULL: Final = Constant(b"null")


def compile_expression(value: Any, pointer: str, findings: Findings) -> Expression:
    """Compile an expression.

    Args:
        value: The expression as JSON.
        pointer: Where it lies in the flow, a JSON pointer; findings are placed beneath it.
        findings: What is wrong with it is added here; then the returned expression is not to be used.
    """
    return _Compiler(findings).compile(value, pointer, 1)


class _Compiler:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings

    def compile(self, value: Any, pointer: str, depth: int) -> Expression:
        if depth > MAX_EXPRESSION_DEPTH:
            hint = "put constant data in $literal"
            return self.refuse(pointer, f"Expressions nest deeper than {MAX_EXPRESSION_DEPTH} levels; {hint}.")
        if is_object(value):
            keyword = next((word for word in KEYWORDS if word in value), None)
            if keyword is not None:
                return self.compile_keyword(keyword, value, pointer, depth)
            return self.compile_object(value, pointer, depth)
        if is_array(value):
            members = [(b"", self.compile(member, extend(pointer, n), depth + 1)) for n, member in enumerate(value)]
            return _join(b"[", members, b"]")
        return self.compile_constant(value, pointer)

    def compile_object(self, value: dict[str, Any], pointer: str, depth: int) -> Expression:
        members: list[tuple[bytes, Expression]] = []
        for key in sorted(value):
            place = extend(pointer, key)
            if key.startswith("$"):
                close = difflib.get_close_matches(key, KEYWORDS, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"expressions are {', '.join(KEYWORDS)}."
                message = f"{key!r} is no expression and is passed on as data; {hint}"
                self.findings.warn("unknown_expression", place, message)
            members.append((canonical_json(key) + b":", self.compile(value[key], place, depth + 1)))
        return _join(b"{", members, b"}")

    def compile_keyword(self, keyword: str, value: dict[str, Any], pointer: str, depth: int) -> Expression:
        for key in value.keys() - KEYWORDS[keyword] - {keyword}:
            close = difflib.get_close_matches(key, KEYWORDS[keyword], 1)
            message = f"{key!r} beside {keyword!r} is ignored{f'; did you mean {close[0]!r}?' if close else '.'}"
            self.findings.warn("ignored_key", extend(pointer, key), message)
        argument, place = value[keyword], extend(pointer, keyword)

        def compile_member(key: str) -> Expression:
            return self.compile(value[key], extend(pointer, key), depth + 1) if key in value else _NULL

        match keyword:
            case "$literal":
                return self.compile_constant(argument, place)
            case "$if":
                if "then" not in value:
                    return self.refuse(pointer, 'A "$if" needs a "then".')
                return Conditional(compile_member("$if"), compile_member("then"), compile_member("else"))
            case "$coalesce":
                if not is_array(argument):
                    return self.refuse(place, '"$coalesce" takes a list of expressions.')
                options = (self.compile(option, extend(place, n), depth + 1) for n, option in enumerate(argument))
                return Coalesce(tuple(options))
            case "$step":
                if not isinstance(argument, str) or not argument:
                    return self.refuse(place, '"$step" takes the id of a step.')
                path = value.get("path")
                return StepReference(argument, () if path is None else self.parse(path, extend(pointer, "path")))
            case "$input":
                return InputReference(self.parse(argument, place))
            case _:
                match self.parse(argument, place):
                    case (str(name), *rest):
                        default = compile_member("default") if "default" in value else None
                        return VariableReference(name, tuple(rest), default)
                    case _:
                        return self.refuse(place, 'The path of a "$variable" begins with the name of a variable.')

    def compile_constant(self, value: Any, pointer: str) -> Expression:
        try:
            return Constant(canonical_json(value))
        except RpcError as error:
            return self.refuse(pointer, error.message)

    def parse(self, text: Any, pointer: str) -> Path:
        if not isinstance(text, str):
            self.findings.error("bad_path", pointer, 'A path is a string, such as "$.rows[0]" or "rows".')
            return ()
        try:
            return parse_path(text)
        except PathError as error:
            self.findings.error("bad_path", pointer, str(error))
            return ()

    def refuse(self, pointer: str, message: str) -> Expression:
        self.findings.error("bad_expression", pointer, message)
        return _NULL


def _join(opening: bytes, members: list[tuple[bytes, Expression]], closing: bytes) -> Expression:
    """Join the members of an object or array, `(prefix, value)` each; what is constant becomes text at once."""
    head: bytes = opening
    slots: list[tuple[Expression, bytes]] = []
    text = opening
    for index, (prefix, member) in enumerate(members):
        text += (b"," if index else b"") + prefix
        if isinstance(member, Constant):
            text += member.value
            continue
        if slots:
            slots[-1] = (slots[-1][0], text)
        else:
            head = text
        slots.append((member, b""))
        text = b""
    text += closing
    if not slots:
        return Constant(text)
    slots[-1] = (slots[-1][0], text)
    return Template(head, tuple(slots))
