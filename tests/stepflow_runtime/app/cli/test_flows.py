from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stepflow_runtime.app.cli.cli_kit import FLOW, Stepflow


def test_a_valid_flow_is_said_to_be_valid(stepflow: Stepflow) -> None:
    done = stepflow("flows", "validate", "flow.yaml", "stuck.yaml")
    assert (done.code, done.out) == (0, "flow.yaml: valid, 1 step\nstuck.yaml: valid, 1 step\n")


def test_findings_have_their_place_in_the_file(stepflow: Stepflow, folder: Path) -> None:
    (folder / "bad.yaml").write_text(FLOW.replace("$step: double", "$step: duoble"))
    done = stepflow("flows", "validate", "bad.yaml")
    assert done.code == 2
    assert (
        "bad.yaml:7:17: error: There is no step 'duoble'; did you mean 'double'? [unknown_step]\n"
        "     7 | output: {$step: duoble}\n"
        "       |                 ^^^^^^\n"
    ) in done.out
    (first, *_) = stepflow("flows", "validate", "bad.yaml", "-o", "json").json
    assert (first["file"], first["code"], first["path"]) == ("bad.yaml", "unknown_step", "/output/$step")
    assert (first["line"], first["column"]) == (7, 17)


@pytest.mark.parametrize("command", [["flows", "validate"], ["run"], ["submit"], ["test"], ["flows", "id"]])
@pytest.mark.parametrize(
    ("old", "new", "message", "quoted"),
    [
        (
            "{$step: double}",
            "{$step: double",
            "is the bracket closed?",
            "     7 | output: {$step: double\n       |         ^",
        ),
        (
            "    input:",
            "  input:",
            "is the line indented like those before it?",
            "     6 |   input: {$input: n}\n       |",
        ),
        ("    input:", "    component: /x\n    input:", "occurs twice", "     6 |     component: /x\n       |     ^"),
        ("$step: double", "$step: duoble", "did you mean 'double'?", "output: {$step: duoble}"),
        ("component:", "onError: {action: rtry}\n    component:", "did you mean 'retry'?", "onError: {action: rtry}"),
        ("steps:", "schemas: {properties: {input: {type: objet}}}\nsteps:", "did you mean 'object'?", "{type: objet}"),
        ("$input: n", "$step: double", "take one of the references out", "input: {$step: double}"),
    ],
)
def test_what_is_wrong_is_quoted_and_says_what_to_do(
    stepflow: Stepflow, folder: Path, command: list[str], old: str, new: str, message: str, quoted: str
) -> None:
    (folder / "bad.yaml").write_text(FLOW.replace(old, new))
    done = stepflow(*command, "bad.yaml")
    assert done.code == 2
    assert re.search(r"bad\.yaml:\d+:\d+: ", done.out + done.err)
    assert message in done.out + done.err
    assert quoted in done.out + done.err
    assert "| " in done.out + done.err
    assert "^" in done.out + done.err


@pytest.mark.parametrize(
    ("old", "new", "message", "quoted"),
    [
        ("   input:", "   inputs:", "did you mean 'input'?", "     6 |     inputs: {$input: n}\n       |     ^^^^^^\n"),
        (
            "$input: n",
            "$inptu: n",
            "did you mean '$input'?",
            "     6 |     input: {$inptu: n}\n       |             ^^^^^^\n",
        ),
        ("{$step: double}", "{$step: double, pth: x}", "did you mean 'path'?", "output: {$step: double, pth: x}\n"),
    ],
)
def test_what_is_merely_odd_is_quoted_too(
    stepflow: Stepflow, folder: Path, old: str, new: str, message: str, quoted: str
) -> None:
    (folder / "odd.yaml").write_text(FLOW.replace(old, new))
    for command in (["flows", "validate"], ["run", "--input", '{"n": 1}']):
        done = stepflow(*command, "odd.yaml")
        assert message in done.out + done.err
        assert quoted in done.out + done.err


def test_components_are_checked_if_that_is_wanted(stepflow: Stepflow, folder: Path) -> None:
    (folder / "other.yaml").write_text(FLOW.replace("/mock/double", "/mock/triple"))
    (folder / "stepflow-config.yml").write_text(
        "plugins: {mock: {type: mock, components: {/double: {behaviors: []}}}}\nroutes: {/mock: [{plugin: mock}]}\n"
    )
    assert "unknown_component" not in stepflow("flows", "validate", "other.yaml").out
    done = stepflow("flows", "validate", "other.yaml", "--components")
    assert done.code == 0, "a component may turn up later"
    assert "No component '/mock/triple' is known" in done.out
    assert "unknown_component" not in stepflow("flows", "validate", "flow.yaml", "--components").out


def test_a_flow_has_one_id_however_it_is_written(stepflow: Stepflow, folder: Path) -> None:
    (folder / "flow.json").write_text(stepflow("flows", "show", "flow.yaml", "-o", "json").out)
    written, same = (stepflow("flows", "id", name).out for name in ("flow.yaml", "flow.json"))
    assert written == same
    assert written.startswith("blake3:")


def test_a_flow_is_shown_by_its_steps(stepflow: Stepflow) -> None:
    lines = stepflow("flows", "show", "flow.yaml").out.splitlines()
    assert lines[0].split() == ["name", "Doubling"]
    assert lines[-1].split() == ["double", "/mock/double", '{"$input":"n"}', "fail"]


def test_a_flow_is_drawn(stepflow: Stepflow) -> None:
    assert stepflow("flows", "graph", "flow.yaml").out.startswith("flowchart TD\n")
    assert stepflow("flows", "graph", "flow.yaml", "-o", "json").json == {
        "nodes": [{"id": "double", "component": "/mock/double"}],
        "edges": [{"source": "double", "target": "output"}],
    }


def test_a_flow_is_written_as_python_that_gives_the_same_flow(stepflow: Stepflow, folder: Path) -> None:
    (folder / "built.py").write_text(stepflow("flows", "builder", "flow.yaml").out)
    done = subprocess.run([sys.executable, "built.py"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (folder / "built.json").write_text(done.stdout)
    assert stepflow("flows", "id", "built.json").out == stepflow("flows", "id", "flow.yaml").out
    (folder / "bare.yaml").write_text("steps: []\n")
    refused = stepflow("flows", "builder", "bare.yaml")
    assert refused.code == 2
    assert "write `output: null`" in refused.err


TYPED_SERVER = """
from msgspec import Struct
from component_sdk import ComponentServer

server = ComponentServer()

class Order(Struct):
    quantity: int
    note: str = ""

class Total(Struct):
    cents: int
    note: str = ""

@server.component
def total(order: Order) -> Total:
    return Total(order.quantity)

def infer_wrapped(input_schema):
    return {"type": "object", "properties": {"wrapped": input_schema}, "required": ["wrapped"]}

@server.component(infer=infer_wrapped)
def wrap(input):
    return {"wrapped": input}

server.run()
"""
TYPED_FLOW = """
schemas: {type: object, properties: {input: {type: object, required: [n], properties: {n: {type: integer}}}}}
steps:
  - id: total
    component: /python/total
    input:
      quantity: {$input: n}
  - id: wrap
    component: /python/wrap
    input: {$step: total, path: cents}
  - {id: pause, component: /builtin/sleep, input: {duration_ms: 0, passthrough: {$step: wrap}}}
output: {$step: pause, path: wrapped}
"""


def test_types_are_inferred_through_the_components_and_misfits_have_their_lines(
    stepflow: Stepflow, folder: Path
) -> None:
    (folder / "server.py").write_text(TYPED_SERVER)
    (folder / "typed.yaml").write_text(TYPED_FLOW)
    bad = TYPED_FLOW.replace("quantity: {$input: n}", "quantity: {$input: n}\n      note: 5")
    (folder / "bad.yaml").write_text(bad.replace("path: cents", "path: dollars"))
    (folder / "stepflow-config.yml").write_text(
        "plugins:\n  builtin: {type: builtin}\n"
        f'  python: {{type: stepflow, command: "{sys.executable}", args: [server.py]}}\n'
        "routes: {/builtin: [{plugin: builtin}], /python: [{plugin: python}]}\n"
    )
    done = stepflow("flows", "validate", "typed.yaml", "bad.yaml", "--types")
    assert done.code == 2, done.err
    first, second = done.out.split("bad.yaml:8:", 1)
    assert [line.split() for line in first.splitlines()] == [
        ["typed.yaml:", "valid,", "3", "steps"],
        ["STEP", "GIVEN", "GIVES", "FIT"],
        ["total", "{quantity:", "integer}", "{cents:", "integer,", "note:", "string}", "yes"],
        ["wrap", "integer", "{wrapped:", "integer}", "unknown"],
        ["pause", "{duration_ms:", "0,", "passthrough:", "{wrapped:", "integer}}", "{wrapped:", "integer}", "yes"],
        ["output", "integer"],
        ["too", "little", "is", "declared", "to", "tell", "at", "1", "of", "4", "places"],
    ]
    assert "error: The input's note does not fit what '/python/total' takes: it is 5, and string is needed" in second
    assert re.search(r"bad.yaml:11:\d+: warning: The output of step 'total' declares no field 'dollars'", second)
    (typed,) = stepflow("flows", "validate", "typed.yaml", "--types", "-o", "json").json
    assert (typed["file"], typed["diagnostics"], typed["types"]["output"]) == ("typed.yaml", [], {"type": "integer"})
