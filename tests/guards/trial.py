"""Removes one guard in a copy of the project, and runs its test there, which must fail.

The copy is what is imported, also by the processes that a test starts: `PYTHONPATH` goes before the installation. It
does not know which guards there are: `table` does.
"""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final
from xml.etree import ElementTree

from msgspec import Struct

from tests.guards.guard import Guard

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGES: Final = ("protocol", "component_sdk", "stepflow_runtime")
COPIED: Final = (*PACKAGES, "tests", "examples", "benchmarks", "docs", "pyproject.toml", "README.md")
LONGEST_S: Final = 120


class Ending(Enum):
    """How tests ended. `BROKEN` if one of them could not even be run, or did not end: that proves nothing."""

    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"


class Report(Struct, frozen=True):
    """What became of tests.

    Args:
        ending: Of all of them.
        seconds: How long they took.
        why: What failed first, or what could not be run.
    """

    ending: Ending
    seconds: float
    why: str = ""


def copy_project(target: Path) -> Path:
    """Copies what tests need. Its bytecode is compared by content, so that no change of a file goes unnoticed."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, target / name)
    for package in PACKAGES:
        compileall.compile_dir(target / package, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return target


def try_without(guard: Guard, copy: Path) -> Report:
    """Runs the test of a guard without it."""
    file = copy / guard.file
    whole = file.read_text()
    file.write_text(guard.remove_from(whole))
    try:
        return run_tests([guard.test], copy)
    finally:
        file.write_text(whole)


def run_tests(tests: Sequence[str], copy: Path) -> Report:
    """Runs tests, at least one, in a copy of the project."""
    results, started_at = copy.with_suffix(".xml"), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junit-xml={results}", *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        output = f"It did not end within {LONGEST_S} s: give it a bound, or choose another mutation."
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    seconds = time.monotonic() - started_at
    if process.returncode == 0:
        return Report(Ending.PASSED, seconds)
    failures, errors = _read_results(results)
    if process.returncode == 1 and failures and not errors:
        return Report(Ending.FAILED, seconds, failures[0])
    return Report(Ending.BROKEN, seconds, "\n".join(errors) or output)


def _read_results(results: Path) -> tuple[list[str], list[str]]:
    """What tests say that failed, and those that could not be run."""
    found: dict[str, list[str]] = {"failure": [], "error": []}
    if results.exists():
        for case in ElementTree.parse(results).getroot().iter("testcase"):
            for kind, said in found.items():
                said += [f"{case.get('name')}: {what.get('message')}" for what in case.iter(kind)]
        results.unlink()
    return found["failure"], found["error"]
