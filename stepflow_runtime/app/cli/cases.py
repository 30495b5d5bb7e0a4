"""The test cases that a flow brings with it: reading them, and comparing what came with what was expected.

    test:
      config: {…}                 # a configuration, instead of the one that is found
      cases:
        - {name: …, input: …, output: {outcome: success, value: …}}

An expected value may be named `value` or `result`; of an expected error only what is written counts. A case without an
output expects success, whatever the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.flow_file import FlowFile, load_text, load_valid_flow
from stepflow_runtime.app.cli.json_diff import diff_json
from stepflow_runtime.app.config import Config
from stepflow_runtime.app.config_file import fill_in, obtain_config
from stepflow_runtime.app.config_reader import read_config
from stepflow_runtime.connect.mock import json_key
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.loader import Document

FLOW_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class Case(Struct, frozen=True, kw_only=True):
    """One case; `expected` is `UNSET` if the flow does not say."""

    name: str
    index: int
    input: Any
    expected: Any = UNSET


class Suite(Struct, frozen=True, kw_only=True):
    """The cases of one flow."""

    flow: FlowFile
    cases: tuple[Case, ...]
    config: Any = UNSET


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a case."""

    file: str
    case: str
    passed: bool
    expected: Any = UNSET
    actual: Any


def find_suites(paths: tuple[Path, ...]) -> list[Suite]:
    """The suites of flows: of files that are named, and of those beneath folders that are.

    Raises:
        CliError: A file that is named has no cases, or cannot be read.
    """
    found: list[Suite] = []
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix in FLOW_SUFFIXES)
            found += [load_suite(file) for file in files if _has_cases(file)]
        else:
            found.append(load_suite(path))
    if not found:
        raise CliError(f"There are no flows with test cases in {', '.join(map(str, paths))}; add a `test:` to one.")
    return found


def _has_cases(path: Path) -> bool:
    if b"cases" not in path.read_bytes():
        return False
    value = load_text(path).value
    test = value.get("test") if is_object(value) else None
    return is_object(test) and bool(test.get("cases"))


def load_suite(path: Path) -> Suite:
    """Reads a flow and its cases.

    Raises:
        CliError: The flow cannot run, or its cases cannot be read.
    """
    flow = load_valid_flow(path)
    test = flow.flow.test
    cases = test.get("cases") if is_object(test) else None
    if not is_object(test) or not is_array(cases) or not cases:
        raise CliError(f"{path} has no test cases; add `test: {{cases: [{{name, input, output}}]}}` to it.")
    if "servers" in test:
        place = flow.document.locate("/test/servers")
        raise CliError(f"{place}: `test.servers` is not supported; start the server as a plugin of `test.config`.")
    return Suite(
        flow=flow,
        cases=tuple(_read_case(flow, index, case) for index, case in enumerate(cases)),
        config=test.get("config", UNSET),
    )


def _read_case(flow: FlowFile, index: int, case: Any) -> Case:
    place = f"/test/cases/{index}"
    if not is_object(case) or "input" not in case:
        raise CliError(f"{flow.document.locate(place)}: A test case is a mapping with a name, an input and an output.")
    expected = case.get("output", UNSET)
    if expected is not UNSET and (not is_object(expected) or "outcome" not in expected):
        message = "An expected output is written {outcome: success, value: …} or {outcome: failed, error: {code: …}}."
        raise CliError(f"{flow.document.locate(place + '/output')}: {message}")
    name = str(case.get("name") or f"case {index + 1}")
    return Case(name=name, index=index, input=case["input"], expected=expected)


class _Part(Document, frozen=True):
    """A configuration within a flow; what is wrong in it is found in the flow's file."""

    def locate(self, pointer: str) -> str:
        return Document(None, self.source, self.text).locate(f"/test/config{pointer}")


def choose_config(suite: Suite, named: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a suite: one that is named, else its own, else the one that is found beside it.

    Raises:
        ConfigError: It cannot be read or used.
    """
    if named is not None or suite.config is UNSET:
        return obtain_config(named, flow=suite.flow.path, environ=environ)
    document = suite.flow.document
    part = _Part(suite.config, document.source, document.text)
    return read_config(fill_in(part, environ), suite.flow.path.parent.resolve())


def judge(suite: Suite, case: Case, actual: Any) -> Verdict:
    """Compares a result with what was expected.

    Args:
        actual: The item's `{outcome, value | error}`.
    """
    passed = matches(case.expected, actual)
    return Verdict(
        file=str(suite.flow.path), case=case.name, passed=passed, expected=_respell(case.expected), actual=actual
    )


def matches(expected: Any, actual: Mapping[str, Any]) -> bool:
    """Whether a result is what was expected; `1` and `1.0` are the same."""
    if expected is UNSET:
        return bool(actual["outcome"] == "success")
    if json_key(expected["outcome"]) != json_key(actual["outcome"]):
        return False
    if actual["outcome"] == "success":
        return json_key(_respell(expected).get("value")) == json_key(actual.get("value"))
    wanted: dict[str, Any] = expected.get("error") or {}
    got: dict[str, Any] = actual.get("error") or {}
    return all(key in got and json_key(got[key]) == json_key(value) for key, value in wanted.items())


def _respell(expected: Any) -> Any:
    if is_object(expected) and "result" in expected and "value" not in expected:
        return {("value" if key == "result" else key): member for key, member in expected.items()}
    return expected


def diff(verdict: Verdict) -> list[str]:
    """The lines in which a result differs from what was expected."""
    expected = None if verdict.expected is UNSET else verdict.expected
    return list(diff_json(expected, verdict.actual, "expected", "actual"))
