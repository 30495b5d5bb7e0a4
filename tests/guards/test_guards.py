"""The table of guards is complete and fits the code, and a trial tells a test that fails from one that cannot run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guards.guard import Guard
from tests.guards.table import FAULTS, GUARDS
from tests.guards.trial import ROOT, Ending, run_tests
from tests.requirements import REQUIREMENTS
from tests.test_docs import find_tests


def find_tests_of(fault: int) -> Iterator[str]:
    for requirement in REQUIREMENTS:
        if fault in requirement.faults:
            yield from requirement.tests


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_a_guard(fault: int) -> None:
    assert any(guard.fault == fault for guard in GUARDS)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.fault}-{guard.name}")
def test_a_guard_is_where_the_table_says_and_has_a_test_of_its_fault(guard: Guard) -> None:
    removed = guard.remove_from((ROOT / guard.file).read_text())
    if guard.file.endswith(".py"):
        ast.parse(removed)
    test = guard.test.partition("[")[0]
    file, _, name = test.partition("::")
    assert name in find_tests(ROOT / file)
    assert test in find_tests_of(guard.fault), f"list it in tests/requirements.py under FAULTS {guard.fault}"


TRIED = """
import pytest

@pytest.fixture
def broken() -> None:
    raise RuntimeError

def test_that_passes() -> None:
    assert True

def test_that_fails() -> None:
    assert False

def test_that_cannot_be_set_up(broken: None) -> None:
    assert False
"""


@pytest.mark.parametrize(
    ("source", "test", "ending"),
    [
        (TRIED, "test_that_passes", Ending.PASSED),
        (TRIED, "test_that_fails", Ending.FAILED),
        (TRIED, "test_that_cannot_be_set_up", Ending.BROKEN),
        (TRIED, "test_that_is_not_there", Ending.BROKEN),
        (f"import not_there\n{TRIED}", "test_that_fails", Ending.BROKEN),
    ],
)
def test_only_a_test_that_ran_and_failed_has_failed(tmp_path: Path, source: str, test: str, ending: Ending) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "test_tried.py").write_text(source)
    assert run_tests([f"test_tried.py::{test}"], copy).ending is ending
