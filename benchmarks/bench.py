"""A runtime as it runs in life, and what it uses: `stepflow serve` with SQLite and a component server, each a process.

Processor time and memory are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import Struct

from component_sdk import Client, open_client

SERVER: Final = Path(__file__).parent / "server.py"
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
START_S: Final = 20.0
STOP_S: Final = 60.0

CONFIG: Final = """
plugins:
  python: {{type: stepflow, transport: stdio, command: {python}, args: [{server}]}}
routes:
  "/python/{{*component}}": [{{plugin: python}}]
storage: {{type: sqlite, path: {folder}/state.db}}
listen: {{rpc: "{address}"}}
"""


class Usage(Struct, frozen=True):
    """What a process has used since it started."""

    cpu_s: float
    peak_mb: float


class Bench(Struct, frozen=True):
    """A runtime that is up, with a client."""

    client: Client
    runtime_pid: int

    def read_usage(self) -> tuple[Usage, Usage]:
        """What the runtime has used, and its component server."""
        (server_pid,) = _find_children(self.runtime_pid)
        return _read_usage(self.runtime_pid), _read_usage(server_pid)


@asynccontextmanager
async def open_bench(folder: Path | None = None) -> AsyncGenerator[Bench]:
    """Starts a runtime with a fresh database, and its component server.

    Args:
        folder: Where the database lies; default, a temporary folder. On a disk in memory a commit costs nothing.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="stepflow-bench-") as place, _start(Path(place)) as runtime:
        await _wait_until_up(runtime)
        async with open_client(runtime.address) as client:
            await client.submit_run(flow=one_step("double"), inputs=[{"n": 0}], wait=True)  # the server is up
            yield Bench(client, runtime.process.pid)


class _Runtime(Struct, frozen=True):
    process: subprocess.Popen[bytes]
    address: str
    log: Path


@contextmanager
def _start(folder: Path) -> Generator[_Runtime]:
    address, config, log = f"127.0.0.1:{_find_free_port()}", folder / "stepflow-config.yml", folder / "log"
    config.write_text(CONFIG.format(python=sys.executable, server=SERVER, folder=folder, address=address))
    stepflow = Path(sys.executable).parent / "stepflow"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [stepflow, "serve", "--config", config], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield _Runtime(process, address, log)
    finally:
        process.terminate()
        process.wait(STOP_S)


async def _wait_until_up(runtime: _Runtime) -> None:
    host, _, port = runtime.address.partition(":")
    with trio.move_on_after(START_S):
        while runtime.process.poll() is None:
            try:
                await (await trio.open_tcp_stream(host, int(port))).aclose()
                return
            except OSError:
                await trio.sleep(0.02)
    raise SystemExit(f"The runtime did not come up:\n{await trio.Path(runtime.log).read_text()}")


def one_step(component: str) -> dict[str, Any]:
    """A flow of one step, which passes its input to a component."""
    return steps_in_a_row(component, 1)


def steps_in_a_row(component: str, count: int) -> dict[str, Any]:
    """A flow of steps, each of which passes on what the one before gave."""
    steps = [
        {"id": f"s{n}", "component": f"/python/{component}", "input": {"$step": f"s{n - 1}"} if n else {"$input": "$"}}
        for n in range(count)
    ]
    return {"name": f"{count} x {component}", "steps": steps, "output": {"$step": f"s{count - 1}"}}


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _find_children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _read_usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Usage((int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(status["VmHWM"].split()[0]) / 1024)
