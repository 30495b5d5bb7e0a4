"""After kill -9 of the runtime no server, and nothing that a server started, outlives the next start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from stepflow_runtime.connect.leftovers import MARK, mark, sweep
from tests.conformance.wire import PATIENCE_S, make_flow, serve
from tests.system.processes import await_that
from tests.system.servers import config

STUBBORN: Final = """
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from component_sdk import ComponentServer

FOLDER = Path(os.environ["FOLDER"])

if "INNER" not in os.environ:  # outlives its server, and the end of its stdin
    (FOLDER / "outer").write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.run([sys.executable, __file__], env={**os.environ, "INNER": "yes"})
    time.sleep(600)

server = ComponentServer()


@server.component
async def spawn(input: int) -> int:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    detached = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    (FOLDER / "detached").write_text(str(detached.pid))
    return detached.pid


server.run()
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # whoever adopts orphans here may not reap them


@pytest.fixture
def others(tmp_path: Path) -> Iterator[int]:
    """A process of the runtime of another database."""
    process = subprocess.Popen(["sleep", "600"], env={**os.environ, **mark(tmp_path / "other.db")})
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are found on Linux only")
@pytest.mark.parametrize("has_setpriv", [True, False])
def test_the_next_start_kills_what_a_killed_runtime_left(tmp_path: Path, others: int, has_setpriv: bool) -> None:
    parts: dict[str, Any] = config(tmp_path, STUBBORN, storage=True, env={"FOLDER": str(tmp_path)})
    environment = {} if has_setpriv else {"PATH": str(tmp_path)}
    pids: list[int] = []
    try:
        with serve(tmp_path, parts, **environment) as runtime:
            with runtime.connect() as client:
                status = client.run(make_flow("/python/spawn"), [1])
            assert status["status"] == "success"
            pids = [int((tmp_path / name).read_text()) for name in ("outer", "detached")]
            runtime.kill()
        outer, detached = pids
        assert is_alive(detached)
        if has_setpriv:
            await_that(lambda: not is_alive(outer))
        else:
            assert is_alive(outer)
        with serve(tmp_path, parts, **environment) as runtime:
            assert not is_alive(outer), "the first thing that a start does"
            assert not is_alive(detached)
            assert "left behind were killed" in runtime.log
            assert is_alive(others)
            runtime.process.terminate()
            assert runtime.process.wait(PATIENCE_S) == 0
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)


def test_only_what_carries_the_name_is_killed(tmp_path: Path, others: int) -> None:
    near = {MARK: str(tmp_path / "state.db2"), "OTHER": f"{MARK}={tmp_path / 'state.db'}"}
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, **near})
    try:
        assert trio.run(sweep, tmp_path / "state.db") == 0
        assert process.poll() is None
        assert is_alive(others)
        assert trio.run(sweep, tmp_path / "other.db") == 1
        assert not is_alive(others)
    finally:
        process.communicate(b"\n")
