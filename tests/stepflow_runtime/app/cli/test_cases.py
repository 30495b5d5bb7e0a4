from __future__ import annotations

from pathlib import Path

import pytest

from stepflow_runtime.app.cli.cases import matches
from tests.stepflow_runtime.app.cli.cli_kit import FLOW, Stepflow

CASES = """\
# what doubling means
test:
  cases:
    - name: one  # the first
      input: {n: 1}
      output: {outcome: success, result: 2}
    - name: two
      input: {n: 2}
      output:
        outcome: success
        value:
          - wrong
    # a comment between
    - {name: three, input: {n: 1}}
    - name: bad
      input: {n: 7}
      output: {outcome: failed, error: {code: COMPONENT_FAILED}}
"""


@pytest.fixture
def tested(folder: Path) -> Path:
    path = folder / "tested.yaml"
    path.write_text(FLOW + CASES)
    return path


def test_cases_pass_or_fail_by_their_outputs(stepflow: Stepflow, tested: Path) -> None:
    done = stepflow("test", "tested.yaml", "-o", "jsonl")
    assert done.code == 1
    assert [(verdict["case"], verdict["passed"]) for verdict in done.lines] == [
        ("one", True),
        ("two", False),
        ("three", True),
        ("bad", True),
    ]


def test_what_differs_is_shown(stepflow: Stepflow, tested: Path) -> None:
    plain = stepflow("test", "tested.yaml").out
    assert '  ✗ two\n      expected {"outcome":"success","value":["wrong"]}\n' in plain
    assert '      got      {"outcome":"success","value":4}\n' in plain
    assert plain.endswith("4 cases, 1 failed; --diff shows how, --update takes what came as what is expected\n")
    lines = stepflow("test", "tested.yaml", "--diff").out.splitlines()
    assert '      +  "value": 4' in lines


def test_update_changes_the_outputs_and_nothing_else(stepflow: Stepflow, tested: Path) -> None:
    done = stepflow("test", "tested.yaml", "--update")
    assert done.code == 0
    assert "updated tested.yaml: two, three" in done.err
    assert tested.read_text() == FLOW + CASES.replace(
        "output:\n        outcome: success\n        value:\n          - wrong",
        'output: {"outcome":"success","value":4}',
    ).replace("input: {n: 1}}", 'input: {n: 1}, output: {"outcome":"success","value":2}}')
    assert stepflow("test", "tested.yaml").code == 0


def test_update_adds_an_output_to_a_case_in_lines(stepflow: Stepflow, folder: Path) -> None:
    (folder / "new.yaml").write_text(FLOW + "test:\n  cases:\n    - name: new\n      input: {n: 7}\n\n# end\n")
    assert stepflow("test", "new.yaml").code == 1
    stepflow("test", "new.yaml", "--update")
    text = (folder / "new.yaml").read_text()
    assert '      input: {n: 7}\n      output: {"outcome":"failed","error":{"code":"COMPONENT_FAILED",' in text
    assert text.endswith("\n\n# end\n")
    assert stepflow("test", "new.yaml").code == 0


def test_update_leaves_what_it_cannot_edit(stepflow: Stepflow, folder: Path) -> None:
    text = FLOW + "test:\n  cases:\n    - {input: {n: 1}, output: &same {outcome: success, value: 3}}\n"
    text += "    - {input: {n: 1}, output: *same}\n"
    (folder / "alias.yaml").write_text(text)
    done = stepflow("test", "alias.yaml", "--update")
    assert done.code == 2
    assert "alias.yaml:11: The output is an alias; write it out first." in done.err
    assert (folder / "alias.yaml").read_text() == text


def test_a_flow_may_bring_its_own_configuration(stepflow: Stepflow, folder: Path) -> None:
    (folder / "own.yaml").write_text(
        FLOW
        + "test:\n"
        + "  config:\n"
        + "    plugins: {m: {type: mock, components: {/double: {behaviors: {'5': {outcome: success, result: 50}}}}}}\n"
        + "    routes: {/mock: [{plugin: m}]}\n"
        + "  cases: [{name: five, input: {n: 5}, output: {outcome: success, result: 50}}]\n"
    )
    assert stepflow("test", "own.yaml").code == 0
    (folder / "own.yaml").write_text((folder / "own.yaml").read_text().replace("type: mock", "type: mocc"))
    done = stepflow("test", "own.yaml")
    assert done.code == 2
    assert "own.yaml:10:25: There is no plugin type 'mocc'" in done.err


def test_a_folder_gives_all_flows_beneath_it_that_have_cases(stepflow: Stepflow, tested: Path, folder: Path) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    tested.rename(folder / "deep" / "er" / "tested.yml")
    done = stepflow("test", ".", "-o", "json")
    assert {verdict["file"] for verdict in done.json} == {"deep/er/tested.yml"}


def test_tests_keep_no_state(stepflow: Stepflow, tested: Path, folder: Path) -> None:
    stepflow("test", "tested.yaml")
    assert not (folder / ".stepflow").exists()


def test_what_cannot_be_tested_says_why(stepflow: Stepflow, folder: Path) -> None:
    assert "flow.yaml has no test cases" in stepflow("test", "flow.yaml").err
    assert "There are no flows with test cases in ." in stepflow("test", ".").err
    (folder / "bad.yaml").write_text(FLOW + "test: {cases: [{output: {outcome: success}}]}")
    assert "bad.yaml:8:16: A test case is a mapping" in stepflow("test", "bad.yaml").err
    (folder / "bad.yaml").write_text(FLOW + "test: {cases: [{input: 1, output: 2}]}")
    assert "bad.yaml:8:35: An expected output is written" in stepflow("test", "bad.yaml").err


def test_expectations_compare_json_and_only_what_is_written_of_an_error() -> None:
    one = {"outcome": "success", "value": {"a": 1, "b": [True]}}
    assert matches({"outcome": "success", "result": {"b": [True], "a": 1.0}}, one)
    assert not matches({"outcome": "success", "value": {"a": 1, "b": [1]}}, one)
    failed = {"outcome": "failed", "error": {"code": "TIMEOUT", "message": "slow"}}
    assert matches({"outcome": "failed"}, failed)
    assert matches({"outcome": "failed", "error": {"code": "TIMEOUT"}}, failed)
    assert not matches({"outcome": "failed", "error": {"code": "INTERNAL"}}, failed)
    assert not matches({"outcome": "success", "value": None}, failed)
