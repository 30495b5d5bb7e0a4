"""A run needs memory for what is in flight, not for its length (FAULTS 21). In fresh processes: nothing else counts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from component_sdk import connect
from tests.conformance.wire import make_flow, serve

FEW: Final = 40_000
MANY: Final = 160_000
TEXT: Final = "x" * 200
MAX_GROWTH_KIB: Final = 12 * 1024
"""A quarter of what the further inputs alone would take."""


def read_peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no peak in /proc")


def measure(folder: Path, items: int) -> int:
    """The peak of a runtime that executed so many items, and told all of their results."""
    folder.mkdir()
    config = {"plugins": {"builtin": {"type": "builtin"}}, "storage": {"type": "sqlite", "path": "state.db"}}
    with serve(folder, config) as runtime, connect("{}:{}".format(*runtime.address)) as client:
        run = client.start(make_flow("/builtin/noop"), inputs=({"n": n, "text": TEXT} for n in range(items)))
        assert sum(1 for _ in run.results()) == items
        return read_peak_kib(runtime.process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_four_times_the_items_take_no_more_memory(tmp_path: Path) -> None:
    few, many = measure(tmp_path / "few", FEW), measure(tmp_path / "many", MANY)
    assert many - few < MAX_GROWTH_KIB, f"{few} KiB for {FEW} items, {many} KiB for {MANY}"
