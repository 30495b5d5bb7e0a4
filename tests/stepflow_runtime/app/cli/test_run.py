from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stepflow_runtime.app.cli.cli_kit import INTERRUPTING_CONFIG, INTERRUPTING_SERVER, Program, Stepflow


def write_inputs(folder: Path, *values: object) -> str:
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return "in.jsonl"


def make_interrupting(folder: Path) -> None:
    """A flow whose component sends the runtime the signal that is its input."""
    (folder / "server.py").write_text(INTERRUPTING_SERVER)
    (folder / "stepflow-config.yml").write_text(INTERRUPTING_CONFIG)
    (folder / "interrupt.yaml").write_text(
        'steps: [{id: wait, component: /python/interrupt, input: {$input: "$"}}]\noutput: {$step: wait}\n'
    )


def test_a_single_items_result_is_printed_as_json(stepflow: Stepflow) -> None:
    done = stepflow("run", "flow.yaml", "--input", '{"n": 1}')
    assert (done.code, done.json) == (0, {"outcome": "success", "value": 2})
    assert done.err.startswith("success · 1 item · ")


def test_many_items_are_printed_by_index_a_line_each(stepflow: Stepflow, folder: Path) -> None:
    done = stepflow("run", "flow.yaml", "--inputs", write_inputs(folder, {"n": 2}, {"n": 1}))
    assert done.code == 0
    assert done.lines == [
        {"itemIndex": 0, "result": {"outcome": "success", "value": 4}},
        {"itemIndex": 1, "result": {"outcome": "success", "value": 2}},
    ]


def test_a_failed_item_fails_the_run_and_is_counted_by_its_code(stepflow: Stepflow, folder: Path) -> None:
    done = stepflow("run", "flow.yaml", "--inputs", write_inputs(folder, {"n": 1}, {"n": 7}, {}, {"n": 8}))
    assert done.code == 1
    assert "4 items · 1 ok, 3 failed" in done.err
    assert "2 × COMPONENT_FAILED  first at item 1: The mock component" in done.err
    assert "1 × EXPRESSION_FAILURE  first at item 2" in done.err


def test_numbers_keep_their_digits(stepflow: Stepflow, folder: Path) -> None:
    (folder / "echo.yaml").write_text('steps: []\noutput: {$input: "$"}\n')
    done = stepflow("run", "echo.yaml", "--input", '{"a": 1.10, "b": 12345678901234567890123}', "-q")
    assert done.out == '{"outcome":"success","value":{"a": 1.10, "b": 12345678901234567890123}}\n'
    assert done.err == ""


def test_the_formats_show_the_same_results(stepflow: Stepflow, folder: Path) -> None:
    inputs = write_inputs(folder, {"n": 1}, {"n": 7})
    whole = stepflow("run", "flow.yaml", "--inputs", inputs, "-o", "json").json
    assert whole["status"] == "failed"
    lines = stepflow("run", "flow.yaml", "--inputs", inputs, "-o", "jsonl").lines
    assert whole["results"] == lines
    table = stepflow("run", "flow.yaml", "--inputs", inputs, "-o", "table").out.splitlines()
    assert table[0].split() == ["ITEM", "OUTCOME", "RESULT"]
    assert table[1].split() == ["0", "success", "2"]
    assert table[2].startswith("1     failed   COMPONENT_FAILED: The mock")


def test_inputs_may_come_from_stdin_and_from_files(folder: Path, stepflow: Stepflow) -> None:
    with Program("run", "flow.yaml", "--inputs", "-", "-q") as program:
        assert [line["result"]["value"] for line in program.finish(b'{"n": 1}\n\n{"n": 2}').lines] == [2, 4]
    with Program("run", "flow.yaml", "--input", "-", "-q") as program:
        assert program.finish(b'{"n": 1}').json["value"] == 2
    (folder / "one.yaml").write_text("n: 2")
    assert stepflow("run", "flow.yaml", "--input", "@one.yaml").json["value"] == 4


def test_a_bad_line_on_stdin_cancels_what_was_begun(folder: Path) -> None:
    with Program("run", "flow.yaml", "--inputs", "-") as program:
        done = program.finish(b'{"n": 1, "pad": "%b"}\n' % (b"x" * 1000) * 2500 + b"{n}\n")
    assert done.code == 2
    assert "stdin:2501: This line is not JSON" in done.err


def test_a_bad_line_in_a_file_is_named_before_anything_runs(stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"n": 1}\n\n{n: 2}\n')
    done = stepflow("run", "flow.yaml", "--inputs", "in.jsonl")
    assert done.code == 2
    assert "in.jsonl:3: This line is not JSON" in done.err
    assert not (folder / ".stepflow").exists()


def test_results_that_nobody_reads_are_no_error(folder: Path) -> None:
    write_inputs(folder, *[{"n": 1}] * 5000)
    with Program("run", "flow.yaml", "--inputs", "in.jsonl", "-q") as program:
        assert program.stop_reading().startswith(b'{"itemIndex":0,')
        assert (program.wait(), program.read_line()) == (141, "")


def test_no_inputs_are_a_success(stepflow: Stepflow, folder: Path) -> None:
    done = stepflow("run", "flow.yaml", "--inputs", write_inputs(folder))
    assert (done.code, done.out) == (0, "")
    assert "success · 0 items" in done.err


def test_more_inputs_than_a_chunk_holds_are_all_there(stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text(f'{{"n": 1, "pad": "{"x" * 1000}"}}\n' * 2500)
    done = stepflow("run", "flow.yaml", "--inputs", "in.jsonl")
    assert done.code == 0
    assert [line["itemIndex"] for line in done.lines] == list(range(2500))


def test_a_run_that_takes_no_more_inputs_is_not_an_error_of_its_own(stepflow: Stepflow, folder: Path) -> None:
    (folder / "in.jsonl").write_text(f'{{"n": 7, "pad": "{"x" * 1000}"}}\n' * 5000)
    done = stepflow("run", "flow.yaml", "--inputs", "in.jsonl", "--failure-policy", "failFast")
    assert done.code == 1
    assert done.err.startswith("failed · ")


@pytest.mark.parametrize("command", [["run"], ["submit"], ["schedules", "create", "@daily"]])
@pytest.mark.parametrize(
    ("overrides", "place", "quoted"),
    [
        ("steps:\n  duoble: {value: {}}\n", "2:3: error: The flow has no step 'duoble'; did you mean 'double'?",
         "     2 |   duoble: {value: {}}\n         |   ^^^^^^"),
        ("steps:\n  double:\n    value: {input: {$step: tow}}\n", "3:28: error: There is no step 'tow'",
         "     3 |     value: {input: {$step: tow}}\n         |                            ^^^"),
        ("steps:\n  double:\n    valeu: 5\n", "2:3: error: The override of step 'double' needs a ", "double:\n"),
        ("steps:\n  double: {$type: json_patch, value: [{op: remove, path: /no}]}\n", "2:39: error: Operation 0",
         "^" * 23),
        ("steps: {double: [}", "1:18: This is not YAML", "     1 | steps: {double: [}\n       |                  ^"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_overrides_is_quoted(
    stepflow: Stepflow, folder: Path, command: list[str], overrides: str, place: str, quoted: str
) -> None:
    (folder / "changes.yaml").write_text(overrides)
    done = stepflow(*command, "flow.yaml", "--overrides", "@changes.yaml")
    assert done.code == 2
    assert f"changes.yaml:{place}" in done.err
    assert quoted in done.err


def test_overrides_that_break_the_flow_elsewhere_are_told_there(stepflow: Stepflow, folder: Path) -> None:
    done = stepflow("run", "flow.yaml", "--overrides", '{"steps": {"double": {"value": {"id": "twice"}}}}')
    assert done.code == 2
    assert "--overrides cannot be used; correct it:\n  flow.yaml:7:17: error: There is no step 'double'" in done.err
    done = stepflow("run", "flow.yaml", "--overrides", '{"steps": {"double": {"value": {"component": 5}}}}')
    assert "  --overrides:1:46: error: " in done.err
    assert "^\n" in done.err


def test_overrides_and_variables_reach_the_run(stepflow: Stepflow, folder: Path) -> None:
    overrides = '{"steps": {"double": {"value": {"input": {"$input": null, "$variable": "v"}}}}}'
    done = stepflow("run", "flow.yaml", "--overrides", overrides, "--variables", '{"v": 2}')
    assert done.json["value"] == 4
    done = stepflow("run", "flow.yaml", "--overrides", '{"steps": {"duoble": {"value": {}}}}')
    assert done.code == 2
    assert "did you mean 'double'?" in done.err


def test_state_lies_where_the_flag_says(stepflow: Stepflow, folder: Path) -> None:
    stepflow("run", "flow.yaml", "--input", '{"n": 1}', "--storage-path", "elsewhere/x.db")
    assert (folder / "elsewhere" / "x.db").exists()
    assert not (folder / ".stepflow").exists()
    stepflow("run", "flow.yaml", "--input", '{"n": 1}', "--storage-path", ":memory:")
    assert not (folder / ".stepflow").exists()


def test_inputs_on_stdin_run_as_they_come(folder: Path) -> None:
    make_interrupting(folder)
    with Program("run", "interrupt.yaml", "--inputs", "-") as program:
        program.write(b'"SIGINT"\n')
        assert program.read_line().startswith("Cancelling the run"), "the component did that while stdin is open"
        assert program.wait() == 130


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_an_interrupted_run_is_cancelled(folder: Path, signal: str) -> None:
    make_interrupting(folder)
    with Program("run", "interrupt.yaml", "--input", f'"{signal}"') as program:
        done = program.finish()
    assert done.code == 130
    assert done.json == {"outcome": "cancelled", "reason": "interrupted"}
    assert "press Ctrl-C again" in done.err
    assert "Traceback" not in done.err


def test_what_is_wrong_is_one_sentence_and_exit_code_2(stepflow: Stepflow, folder: Path) -> None:
    (folder / "cycle.yaml").write_text(
        "steps:\n"
        "  - {id: a, component: /mock/double, input: {$step: b}}\n"
        "  - {id: b, component: /mock/double, input: {$step: a}}\n"
        "output: {$step: a}\n"
    )
    (folder / "twice.yaml").write_text("name: a\nname: b\n")
    for args, said in [
        (["run", "nowhere.yaml"], "FLOW: nowhere.yaml cannot be read: No such file or directory."),
        (["run", "cycle.yaml"], "cycle.yaml:2:"),
        (["run", "twice.yaml"], "twice.yaml:2:1: The key 'name' occurs twice"),
        (["run", "flow.yaml", "--input", "{n}"], "--input is not JSON"),
        (["run", "flow.yaml", "--input", "@nowhere.json"], "--input: nowhere.json cannot be read"),
        (["run", "flow.yaml", "--input", "1", "--inputs", "x"], "either --input"),
        (["run", "flow.yaml", "--inputs", "nowhere.jsonl"], "--inputs: nowhere.jsonl cannot be read"),
        (["run", "flow.yaml", "--variables", "[]"], "--variables takes a JSON object"),
        (["run", "flow.yaml", "--failure-policy", "never"], "--failure-policy is continue, failFast or a number"),
        (["run", "flow.yaml", "--label", "x"], "--label takes KEY=VALUE"),
        (["run", "flow.yaml", "--max-concurrency", "0"], "0 is not in the range x>=1"),
        (["run", "flow.yaml", "--config", "nowhere.yml"], "The configuration nowhere.yml cannot be read"),
        (["rnu"], "There is no command 'rnu'. Did you mean 'run'?"),
    ]:
        done = stepflow(*args)
        assert said in done.err, args
        assert (done.code, done.out) == (2, ""), args
        assert "Traceback" not in done.err


def test_verbose_shows_the_traceback(stepflow: Stepflow) -> None:
    done = stepflow("run", "flow.yaml", "--input", "{n}", "--verbose")
    assert "Traceback" in done.err
    assert "stepflow: --input is not JSON" in done.err
