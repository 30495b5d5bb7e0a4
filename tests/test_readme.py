"""The README's quickstart, typed in by somebody who believes it, and its promise to be short."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from tests.test_examples import ROOT, run_here

README: Final = (ROOT / "README.md").read_text()
MAX_LINES: Final = 120


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    """A folder with every file that the README shows; the first line of each says its name."""
    for name, content in re.findall(r"```\w+\n# (\S+)\n(.*?)```", README, re.DOTALL):
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES


def test_the_first_command_prints_the_total(quickstart: Path) -> None:
    (command,) = re.findall(r"```sh\n(stepflow run .*?)```", README, re.DOTALL)
    done = run_here(command, quickstart)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"outcome": "success", "value": {"total": 42}}


def test_the_script_prints_a_line_for_each_item(quickstart: Path) -> None:
    done = run_here("python batch.py", quickstart)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1000
    assert "999 {'total': 13986}" in lines


def test_what_the_readme_links_to_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []
