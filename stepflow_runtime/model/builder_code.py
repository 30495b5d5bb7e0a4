"""A flow as Python code that builds it: what `component_sdk.FlowBuilder` is told so that it gives the same flow.

The built flow has the same content, so the same id. What the builder has no words for (other spellings of a field, a
path that could be written shorter) goes in as the flow language writes it, so nothing is lost. Knows how expressions
are written, not how they are laid out on the page, which is `python_code`'s; it does not know the SDK, only its words.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from typing import Any, Final

from stepflow_runtime.model.canonical import canonical_json
from stepflow_runtime.model.expression_syntax import KEYWORDS
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.python_code import Argument, Call, Code, Node, layout, quote

_HEAD: Final = ("description", "version", "schemas", "metadata")
_HELPERS: Final = ("coalesce", "if_", "literal", "retry", "use_default")
_RESERVED: Final = frozenset({*keyword.kwlist, *dir(builtins), *_HELPERS, "FlowBuilder", "flow", "json"})

_PATH: Final = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]*)\])*")
_SEGMENT: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")

MAX_WRITTEN_DEPTH: Final = 50
"""What nests deeper is written as a text of JSON: Python's own parser bears some hundred brackets."""


def write_builder_code(flow: dict[str, Any], source: str) -> str:
    """Python code that builds a flow.

    Args:
        flow: A valid flow as JSON.
        source: Where it was read, for the docstring.

    Raises:
        ValueError: It has no steps or no output, not even empty ones, which the builder always writes.
    """
    for key, empty in (("steps", "[]"), ("output", "null")):
        if key not in flow or (key == "steps" and flow[key] is None):
            raise ValueError(f"A flow that is built has always {key!r}, and this one has none; write `{key}: {empty}`.")
    writer = _Writer(flow)
    body = "\n".join(writer.write_flow())
    imports = [f"from component_sdk.flow import {', '.join(sorted(writer.used))}"] if writer.used else []
    title = f"{flow['name']}: a flow" if isinstance(flow.get("name"), str) else "A flow"
    docstring = f"{title} in Python, from {source}; run it to see the flow as JSON.".translate(
        {ord("\\"): "/", ord('"'): "'", ord("\n"): " ", ord("\r"): " ", 0: " "}
    )
    head = [f'"""{docstring}"""', "", "import json", "", "from component_sdk import FlowBuilder", *imports, ""]
    tail = ["", 'if __name__ == "__main__":', "    print(json.dumps(flow.build(), indent=2, ensure_ascii=False))", ""]
    return "\n".join([*head, body, *tail])


class _Writer:
    """Writes one flow; notes which helpers of `component_sdk.flow` that takes."""

    def __init__(self, flow: dict[str, Any]) -> None:
        self.used: set[str] = set()
        self._flow = flow
        self._names: dict[str, str] = {}
        self._defined: set[str] = set()

    def write_flow(self) -> Iterator[str]:
        flow = dict(self._flow)
        steps, output = flow.pop("steps"), flow.pop("output")
        name = flow.pop("name") if flow.get("name") is not None else None
        given = {key: flow.pop(key) for key in _HEAD if flow.get(key) is not None}
        arguments: list[Argument] = [] if name is None else [(None, self.data(name))]
        arguments += [(key, self.data(value)) for key, value in given.items()]
        yield layout(Call("FlowBuilder", self.with_fields(arguments, flow)), "flow = ")
        text = canonical_json(self._flow).decode()
        for step in steps:
            yield ""
            call = self.write_step(step)
            is_needed = f'"$step":{canonical_json(step["id"]).decode()}' in text
            yield layout(call, f"{self.name(step['id'])} = " if is_needed else "")
            self._defined.add(step["id"])
        yield ""
        yield layout(Call("flow.output", [(None, self.expression(output))]))

    def write_step(self, step: dict[str, Any]) -> Node:
        rest = dict(step)
        arguments: list[Argument] = [(None, self.data(rest.pop("id"))), (None, self.data(rest.pop("component")))]
        if rest.get("input") is not None:
            arguments.append(("input", self.expression(rest.pop("input"))))
        if is_object(on_error := rest.get("onError")):
            del rest["onError"]
            arguments.append(("on_error", self.write_on_error(on_error)))
        if rest.get("mustExecute") is True:
            del rest["mustExecute"]
            arguments.append(("must_execute", Code("True")))
        timeout_ms = rest.get("timeoutMs")
        if isinstance(timeout_ms, int) and round(timeout_ms / 1000 * 1000) == timeout_ms:
            del rest["timeoutMs"]
            arguments.append(("timeout_s", Code(repr(timeout_ms / 1000).removesuffix(".0"))))
        if is_object(metadata := rest.get("metadata")):
            del rest["metadata"]
            arguments.append(("metadata", self.data(metadata)))
        return Call("flow.step", self.with_fields(arguments, rest))

    def write_on_error(self, on_error: dict[str, Any]) -> Node:
        match on_error:
            case {"action": "useDefault", **rest} if not rest:
                return self.helper("use_default", [])
            case {"action": "useDefault", "defaultValue": value, **rest} if value is not None and not rest:
                return self.helper("use_default", [(None, self.data(value))])
            case {"action": "retry", **rest} if rest.keys() <= {"maxRetries", "backoff"} and None not in rest.values():
                options = {"maxRetries": "max_retries", "backoff": "backoff"}
                return self.helper("retry", [(options[key], self.data(value)) for key, value in rest.items()])
            case _:
                return self.data(on_error)

    def with_fields(self, arguments: list[Argument], rest: dict[str, Any]) -> list[Argument]:
        return [*arguments, ("fields", self.data(rest))] if rest else arguments

    def name(self, step_id: str) -> str:
        """The Python name of a step."""
        if step_id not in self._names:
            base = re.sub(r"\W", "_", step_id, flags=re.ASCII)
            base = f"step_{base}" if not base.isidentifier() or base.startswith("__") else base
            name, number = f"{base}_" if base in _RESERVED else base, 2
            while name in self._names.values():
                name, number = f"{base}_{number}", number + 1
            self._names[step_id] = name
        return self._names[step_id]

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, value: Any) -> Node:
        """An expression in the builder's words, as far as it has some."""
        if _depth(value) > MAX_WRITTEN_DEPTH:
            return self.data(value)
        if is_array(value):
            return [self.expression(member) for member in value]
        if not is_object(value):
            return self.data(value)
        if any(word in value for word in KEYWORDS):
            return self.operation(value) or self.data(value)
        return {key: self.expression(member) for key, member in value.items()}

    def operation(self, value: dict[str, Any]) -> Node | None:
        match value:
            case {"$literal": data, **rest} if not rest:
                return self.helper("literal", [(None, self.data(data))])
            case {"$if": condition, "then": then, **rest} if not rest:
                return self.helper("if_", [(None, self.expression(condition)), (None, self.expression(then))])
            case {"$if": condition, "then": then, "else": other, **rest} if other is not None and not rest:
                return self.helper("if_", [(None, self.expression(part)) for part in (condition, then, other)])
            case {"$coalesce": [*options], **rest} if not rest:
                return self.helper("coalesce", [(None, self.expression(option)) for option in options])
            case {"$step": str(step_id), **rest} if step_id in self._defined and rest.keys() <= {"path"}:
                return self.reference(self.name(step_id), value, "path")
            case {"$input": _, **rest} if not rest:
                return self.reference("flow.input", value, "$input", root="$")
            case {"$variable": str(path), **rest} if rest.keys() <= {"default"}:
                return self.variable(path, value)
            case _:
                return None

    def reference(self, base: str, value: dict[str, Any], key: str, root: str | None = None) -> Node | None:
        """A reference into `base`, by indexing if that is how the builder would write its path."""
        if key not in value:
            return Code(base)
        path = value[key]
        if not isinstance(path, str):
            return None
        if path == root:
            return Code(base)
        indexes = _read_indexes(path)
        return Code(f"{base}.at({quote(path)})" if indexes is None else base + indexes)

    def variable(self, path: str, value: dict[str, Any]) -> Node | None:
        if not path or path.startswith("$") or value.get("default", path) is None:
            return None
        default: list[Argument] = [("default", self.expression(value["default"]))] if "default" in value else []
        return Call("flow.variable", [(None, self.data(path)), *default])

    def helper(self, name: str, arguments: list[Argument]) -> Node:
        self.used.add(name)
        return Call(name, arguments)

    def data(self, value: Any) -> Node:
        """JSON as it stands."""
        if _depth(value) > MAX_WRITTEN_DEPTH:
            return Code(f"json.loads({quote(canonical_json(value).decode())})")
        node: Node = value
        return node


def _read_indexes(path: str) -> str | None:
    """The indexing that gives a path; `None` if the builder would write it in another way."""
    if path and not path.startswith("$"):
        return f"[{quote(path)}]"
    segments = _SEGMENT.findall(path) if _PATH.fullmatch(path) else []
    if not segments or (len(segments) == 1 and segments[0][0]):
        return None
    return "".join(f"[{quote(field)}]" if field else f"[{index}]" for field, index in segments)


def _depth(value: Any) -> int:
    """How deeply arrays and objects nest."""
    depth, level = 0, [value]
    while level := [part for part in level if is_object(part) or is_array(part)]:
        depth += 1
        level = [member for part in level for member in (part.values() if is_object(part) else part)]
    return depth
