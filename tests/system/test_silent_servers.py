"""A component server on a socket that gets SIGSTOP: it is lost within a bound, and found again when it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance.wire import ROOT, RawClient, ServedRuntime, serve
from tests.system.servers import NESTING, config

LIMITS: Final = {"pingAfterMs": 300, "pingTimeoutMs": 300}
NO_RETRIES: Final = {"transportMaxRetries": 0}

Server = subprocess.Popen[str]


@contextmanager
def spawn(folder: Path, *args: str) -> Generator[Server]:
    process = subprocess.Popen(
        [sys.executable, folder / "server.py", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def dialled(folder: Path) -> Generator[tuple[ServedRuntime, Server]]:
    """A runtime that dials a server which listens."""
    (folder / "server.py").write_text(NESTING)
    with spawn(folder, "--tcp", "127.0.0.1:0") as server:
        assert server.stderr is not None
        found = re.search(r"listening on (\S+)", server.stderr.readline())
        assert found is not None
        parts = config(folder, NESTING, url=f"tcp://{found[1]}")
        with serve(folder, {**parts, "limits": LIMITS, "retry": NO_RETRIES}) as runtime:
            yield runtime, server


@contextmanager
def dialling(folder: Path) -> Generator[tuple[ServedRuntime, Server]]:
    """A runtime, and a server that dials it."""
    parts = config(folder, NESTING, accept="workers")
    with serve(folder, {**parts, "limits": LIMITS, "retry": NO_RETRIES}) as runtime:
        host, port = runtime.address
        with spawn(folder, "--connect", f"{host}:{port}", "--name", "workers") as server:
            yield runtime, server


@pytest.mark.parametrize("start", [dialled, dialling])
def test_a_stopped_server_is_lost_within_a_bound_and_is_back_when_it_goes_on(
    tmp_path: Path, start: Callable[[Path], Any]
) -> None:
    with start(tmp_path) as (runtime, server), runtime.connect() as client:
        assert nest(client)["outcome"] == "success"
        server.send_signal(signal.SIGSTOP)
        error = nest(client)["error"]  # bounded by the client's patience, and it has no time-out of its own
        assert error["code"] == "UNREACHABLE"
        assert "it was silent for 0.3 s (limits.pingAfterMs)" in error["message"]
        assert (error["data"]["limit"], error["data"]["value"]) == ("pingTimeoutMs", 300)
        server.send_signal(signal.SIGCONT)
        assert nest(client)["outcome"] == "success"


def nest(client: RawClient) -> Any:
    return client.run_one("/python/nest", {"levels": 1})
