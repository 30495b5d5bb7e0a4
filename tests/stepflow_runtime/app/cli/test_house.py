"""Help, completion, the doctor, what components there are, and logs."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.log import Logger
from stepflow_runtime.app.cli.root import COMMANDS
from stepflow_runtime.app.logging import LogLevel, configure_logging
from tests.stepflow_runtime.app.cli.cli_kit import Stepflow

HEAVY = ("trio", "apsw", "rich", "msgspec", "yaml")


@pytest.mark.parametrize("typed", [["--version"], ["--help"]], ids=" ".join)
def test_version_and_help_import_nothing_heavy(typed: list[str]) -> None:
    program = (
        "import sys; from stepflow_runtime.app.cli import main\n"
        f"try: main({typed!r})\n"
        f"except SystemExit as end: print(end.code, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_completion_of_commands_imports_nothing_heavy() -> None:
    environ = {"_STEPFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "stepflow r", "COMP_CWORD": "1"}
    program = (
        f"import sys, os; os.environ.update({environ!r})\n"
        "from stepflow_runtime.app.cli import main\n"
        "try: main([])\n"
        f"except SystemExit: print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["plain,run", "plain,runs", "[]"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_has_a_script_for_each_shell(stepflow: Stepflow, shell: str) -> None:
    done = stepflow("completion", shell)
    assert done.code == 0
    assert f"_STEPFLOW_COMPLETE={shell}_complete" in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(stepflow: Stepflow, name: str) -> None:
    done = stepflow(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: stepflow {name} ")


def test_components_are_listed_by_the_paths_that_flows_use(stepflow: Stepflow, folder: Path) -> None:
    (folder / "stepflow-config.yml").write_text(
        "plugins: {b: {type: builtin}, m: {type: mock, components: {/x: {behaviors: []}}}}\nroutes: {/m: [{plugin: m}]}"
    )
    names = [info["component"] for info in stepflow("components", "list", "-o", "jsonl").lines]
    assert names == sorted(names)
    assert {"/builtin/eval", "/m/x"} <= set(names)
    assert stepflow("components", "info", "/m/x", "-o", "json").json["component"] == "/m/x"
    assert "any JSON" in stepflow("components", "info", "/m/x").out
    done = stepflow("components", "info", "/m/y")
    assert (done.code, "components list" in done.err) == (2, True)


def test_a_plugin_that_cannot_tell_hides_no_other(stepflow: Stepflow, folder: Path) -> None:
    (folder / "stepflow-config.yml").write_text(
        f"plugins: {{b: {{type: builtin}}, dead: {{type: stepflow, command: '{sys.executable}', args: [-c, '']}}}}\n"
        "routes: {/d: [{plugin: dead}]}\nlimits: {initializeTimeoutMs: 200}"
    )
    done = stepflow("components", "list")
    assert done.code == 0
    assert "/builtin/eval" in done.out
    assert 'warning: No server of the plugin "dead" is there' in done.err


def test_the_doctor_finds_nothing_where_all_is_well(stepflow: Stepflow, folder: Path) -> None:
    (folder / "stepflow-config.yml").write_text("plugins: {builtin: {type: builtin}}\nlisten: {rpc: '127.0.0.1:0'}")
    done = stepflow("doctor")
    assert done.code == 0
    assert done.out.endswith("All is well.\n")
    subjects = [check["subject"] for check in stepflow("doctor", "-o", "jsonl").lines]
    machine, config = ["stepflow", "Python", "packages", "SQLite"], ["configuration", "storage", "address"]
    assert subjects == [*machine, *config, "plugin builtin"]


def test_the_doctor_names_each_problem(stepflow: Stepflow, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (folder / "stepflow-config.yml").write_text(
            f"plugins: {{gone: {{type: stepflow, command: nonesuch}}}}\nroutes: {{/g: [{{plugin: gone}}]}}\n"
            f"listen: {{rpc: '{address}'}}\nstorage: {{path: .}}\nodd: 1\n"
        )
        done = stepflow("doctor", "-o", "json")
    assert done.code == 1
    problems = {check["subject"]: check["problem"] for check in done.json if "problem" in check}
    assert set(problems) == {"configuration", "storage", "address", "plugin gone"}
    assert "Address already in use" in problems["address"]
    assert 'The command "nonesuch" of a component server was not found' in problems["plugin gone"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"no database", "is damaged"), (b"", "is empty"), (b"SQLite format 3\0" * 99, "is damaged")],
)
def test_the_doctor_names_a_database_that_cannot_be_used_and_leaves_it_alone(
    stepflow: Stepflow, folder: Path, content: bytes, problem: str
) -> None:
    (folder / "state.db").write_bytes(content)
    (folder / "stepflow-config.yml").write_text(
        "plugins: {builtin: {type: builtin}}\nlisten: {rpc: '127.0.0.1:0'}\nstorage: {path: state.db}"
    )
    done = stepflow("doctor", "-o", "json")
    assert done.code == 1
    (found,) = [check for check in done.json if "problem" in check]
    assert (found["subject"], problem in found["problem"]) == ("storage", True), found
    assert (folder / "state.db").read_bytes() == content


def test_the_doctor_stops_at_a_configuration_that_cannot_be_read(stepflow: Stepflow, folder: Path) -> None:
    (folder / "stepflow-config.yml").write_text("plugins: [")
    done = stepflow("doctor")
    assert done.code == 1
    assert "problem  configuration: stepflow-config.yml:2:1: This is not YAML" in done.out


def test_logs_are_json_where_nobody_looks(stepflow: Stepflow, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogLevel.INFO, pretty=False)
    Logger("ours").debug("unseen")
    Logger("ours").info("seen", run="r")
    logging.getLogger("library").warning("from a %s", "library")
    first, second = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["run"]) == ("seen", "info", "r")
    assert (second["event"], second["level"]) == ("from a library", "warning")


def test_the_first_line_of_a_library_is_formatted_too(stepflow: Stepflow, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogLevel.INFO, pretty=False)
    logging.getLogger("library").debug("unseen")
    logging.getLogger("library").warning("first")
    logging.getLogger("library").warning("second")
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["first", "second"]
