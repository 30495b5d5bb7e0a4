"""A run needs memory for what is in flight, not for its length (FAULTS 21). In fresh processes: nothing else counts."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
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
def test_a_line_without_end_is_refused_at_the_limit_and_takes_no_more_memory_than_that(tmp_path: Path) -> None:
    config = {"plugins": {"builtin": {"type": "builtin"}}, "limits": {"maxFrameBytes": 1 << 20}}
    with serve(tmp_path, config) as runtime:
        before, sent = read_peak_kib(runtime.process.pid), 0
        with socket.create_connection(runtime.address) as hostile, suppress(ConnectionError):
            hostile.sendall(b'{"jsonrpc":"2.0","id":1,"method":"blobs/put","params":{"data":"')
            for _ in range(1024):  # a gigabyte, if it is let
                hostile.sendall(b"x" * (1 << 20))
                sent += 1
        assert sent < 64, "the connection is broken soon after the limit"
        assert read_peak_kib(runtime.process.pid) - before < 12 * 1024
        with runtime.connect() as client:
            assert client.call("ping") == {}, "and others are served"


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_four_times_the_items_take_no_more_memory(tmp_path: Path) -> None:
    few, many = measure(tmp_path / "few", FEW), measure(tmp_path / "many", MANY)
    assert many - few < MAX_GROWTH_KIB, f"{few} KiB for {FEW} items, {many} KiB for {MANY}"
