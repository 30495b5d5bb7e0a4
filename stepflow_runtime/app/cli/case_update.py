"""Writing what came into a flow's test cases as what is expected; all else in the file stays as it is, comments too.

The new outputs are written as JSON, which YAML is a superset of. What was written is read again before the file is
replaced.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import UNSET
from yaml.nodes import MappingNode, Node, SequenceNode

from protocol.errors import RpcError
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.cases import Suite
from stepflow_runtime.model.loader import load_document

_Edit = tuple[int, int, str]
"""What to put in place of the characters from one index to another."""


def update_cases(suite: Suite, results: Mapping[int, Any]) -> None:
    """Replaces the expected outputs of some cases in their file.

    Args:
        results: What came, by the index of the case.

    Raises:
        CliError: The file is written in a way that cannot be edited.
    """
    document = suite.flow.document
    outputs = {index: _make_output(suite.cases[index].expected, result) for index, result in results.items()}
    root = yaml.compose(document.text, Loader=yaml.SafeLoader)
    cases = _find(_find(root, "test"), "cases")
    text = document.text
    edits = [_make_edit(text, cases, index, output, document.source) for index, output in outputs.items()]
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    _check(text, document.source, outputs)
    _replace(suite.flow.path, text)


def _make_output(expected: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """As the author would have written it: their word for the value, and no details of errors."""
    if result["outcome"] == "success":
        word = "result" if expected is not UNSET and "result" in expected else "value"
        return {"outcome": "success", word: result.get("value")}
    given: dict[str, Any] = result.get("error") or {}
    error = {key: given[key] for key in ("code", "message") if key in given}
    return {"outcome": result["outcome"], **({"error": error} if error else {})}


def _make_edit(text: str, cases: Node | None, index: int, output: Any, source: str) -> _Edit:
    case = cases.value[index] if isinstance(cases, SequenceNode) else None
    if not isinstance(case, MappingNode):
        raise CliError(f"{source}: The test cases are written with aliases; write them out to have them updated.")
    written = msgspec.json.encode(output).decode()
    for key, value in case.value:
        if key.value == "output":
            if value.start_mark.index < key.end_mark.index:
                raise CliError(f"{source}:{key.start_mark.line + 1}: The output is an alias; write it out first.")
            return key.end_mark.index, _find_end(text, value), f": {written}"
    first, last = case.value[0][0], case.value[-1][1]
    end = _find_end(text, last)
    name = '"output"' if source.endswith(".json") else "output"
    if case.flow_style:
        return end, end, f", {name}: {written}"
    return end, end, f"\n{' ' * first.start_mark.column}{name}: {written}"


def _find(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _find_end(text: str, node: Node) -> int:
    """Where a node ends; a block's own mark lies beyond the comments that follow it."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last: Any = node.value[-1]
        member: Node = last[1] if isinstance(node, MappingNode) else last
        return _find_end(text, member)
    return len(text[: node.end_mark.index].rstrip())


def _check(text: str, source: str, outputs: Mapping[int, Any]) -> None:
    try:
        value = load_document(text, source).value
        written = {index: value["test"]["cases"][index]["output"] for index in outputs}
    except (RpcError, LookupError, TypeError):
        written = {}
    if written != outputs:
        raise CliError(f"{source} is written in a way that cannot be edited; the file was not changed.")


def _replace(path: Path, text: str) -> None:
    """Puts the new file in the old one's place at once."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(text.encode())
        temporary.chmod(path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CliError(f"{path} cannot be written: {error.strerror}.") from None
