"""Each example does what its README says: the one command there, typed in its folder, gives what is expected."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parent.parent
FLOWS: Final = ROOT / "examples" / "flows"
EXAMPLES: Final = sorted(folder.name for folder in FLOWS.iterdir() if (folder / "README.md").exists())
EXIT_CODES: Final = {"orders": 1}
"""Of the examples that do not end with 0: some rows of it fail, as they should."""

TIMEOUT_S: Final = 60.0


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_gives_what_is_expected(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(FLOWS / name, folder, ignore=shutil.ignore_patterns(".stepflow", "__pycache__"))
    done = run_here(find_command(folder / "README.md"), folder)
    assert done.returncode == EXIT_CODES.get(name, 0), done.stderr
    if (folder / "expected.txt").exists():
        assert done.stdout == (folder / "expected.txt").read_text()
    else:
        expected = list(read_results((folder / "expected.jsonl").read_text()))
        assert list(read_results(done.stdout)) == expected


def test_an_agent_whose_server_is_killed_repeats_no_turn(tmp_path: Path) -> None:
    """What it says is what it says when nobody kills it: as many answers of the model, as many calls of the tool."""
    folder = tmp_path / "agent"
    shutil.copytree(FLOWS / "agent", folder, ignore=shutil.ignore_patterns(".stepflow", "__pycache__"))
    done = run_here("python ask.py", folder)
    expected = (folder / "expected.txt").read_text()
    death = "  the server is dead\n"
    assert death in expected
    assert done.stdout == expected.replace(death, "")


def test_the_demo_prices_all_orders_and_tells_the_reasons(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns(".stepflow", "__pycache__"))
    done = run_here("python -m examples.flows.orders.demo 1000", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "922 orders priced" in done.stdout
    assert "78 orders refused" in done.stdout
    assert "Refused: there is no article samovar" in done.stdout


def test_the_orders_are_the_first_that_the_generator_makes(tmp_path: Path) -> None:
    done = run_here("python -m examples.flows.orders.generate 60", ROOT)
    assert done.stdout == (FLOWS / "orders" / "inputs.jsonl").read_text()


def find_command(readme: Path) -> str:
    """The one shell block of an example's README."""
    (command,) = re.findall(r"```sh\n(.*?)```", readme.read_text(), re.DOTALL)
    return str(command)


def run_here(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a shell command as somebody who has activated this Python's environment."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STEPFLOW_")}
    environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environ["PATH"]))
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def read_results(lines: str) -> Iterator[dict[str, Any]]:
    """Results without what differs each time: times and tracebacks."""
    for line in lines.splitlines():
        entry = json.loads(line)
        entry["result"].get("error", {}).pop("data", None)
        yield {"itemIndex": entry["itemIndex"], "result": entry["result"]}
