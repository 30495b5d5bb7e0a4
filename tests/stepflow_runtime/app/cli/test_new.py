"""`stepflow new`: what it makes passes all that its README names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import play
from tests.stepflow_runtime.app.cli.cli_kit import Stepflow

ROOT = Path(__file__).parents[4]


def test_what_it_makes_passes_what_its_readme_says(
    stepflow: Stepflow, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYPY_CACHE_DIR", str(ROOT / ".mypy_cache" / "new"))  # cold, it takes longer than all else
    done = stepflow("new", "shop")
    assert done.code == 0
    assert "shop/server.py" in done.out
    outcomes = play((folder / "shop" / "README.md").read_text().partition("While you work")[0], folder / "shop")
    (outcome,) = outcomes
    assert outcome.exit_code == 0, outcome.printed
    assert "3 passed" in outcome.printed
    assert "2 cases, all passed" in outcome.printed
    assert "Success: no issues found in 2 source files" in outcome.printed
    assert len(re.findall(r'"outcome":"success"', outcome.printed)) == 3


def test_what_it_makes_is_in_good_form(stepflow: Stepflow, folder: Path) -> None:
    stepflow("new", "shop")
    for words in (["check", "--select", "E,F,W,I,UP,B,SIM,RUF,PT,RET"], ["format", "--check"]):
        subprocess.run([Path(sys.executable).with_name("ruff"), *words, "--no-cache", "shop"], cwd=folder, check=True)


def test_a_folder_that_holds_something_is_left_alone(stepflow: Stepflow, folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "precious").write_text("mine")
    done = stepflow("new", "shop")
    assert done.code == 2
    assert "not empty" in done.err
    assert [path.name for path in (folder / "shop").iterdir()] == ["precious"]


def test_an_empty_folder_is_filled(stepflow: Stepflow, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "my-shop").mkdir()
    monkeypatch.chdir(folder / "my-shop")
    assert stepflow("new", ".").code == 0
    assert "/my-shop/clean" in (folder / "my-shop" / "flow.yaml").read_text()


@pytest.mark.parametrize("name", ["My Shop", "7th", "läden", "a/b c"])
def test_a_name_that_components_cannot_have_is_refused(stepflow: Stepflow, folder: Path, name: str) -> None:
    before = set(folder.iterdir())
    done = stepflow("new", name)
    assert done.code == 2
    assert "small letters" in done.err
    assert set(folder.iterdir()) == before
