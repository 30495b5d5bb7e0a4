"""S1d and S2 do not get slower unseen (`benchmarks.guard`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.guard import EXPECTED, find_slower

ROOT = Path(__file__).parent.parent.parent


def test_many_items_and_one_item_cost_what_they_did() -> None:
    unobserved = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.guard"],
        cwd=ROOT,
        env=unobserved,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_third_more_is_told_and_a_tenth_is_noise() -> None:
    expected = json.loads(EXPECTED.read_text())
    for name in expected:
        assert find_slower({**expected, name: expected[name] * 1.1}, expected) == []
        (told,) = find_slower({**expected, name: expected[name] * 1.3}, expected)
        assert told.startswith(f"{name} costs ")
