"""A runtime as it runs in life, and what it uses: `stepflow serve` and its component servers, each a process.

SQLite commits with `synchronous=FULL`, as it does by default; nothing is configured that a user would not. Processor
time and memory are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import trio
from msgspec import Struct

from benchmarks.scenario import Cost
from component_sdk import Client, open_client

SERVER: Final = Path(__file__).parent / "server.py"
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
START_S: Final = 20.0
STOP_S: Final = 60.0

CONFIG: Final = """
plugins:
  python: {{type: stepflow, transport: stdio, command: {python}, args: [{server}], processes: {processes}}}
routes:
  "/python/{{*component}}": [{{plugin: python}}]
storage: {storage}
listen: {{rpc: "{address}"}}
limits: {{drainTimeoutMs: 500}}  # components that wait for ever need not be waited for
"""

Storage = Literal["sqlite", "memory"]


class Usage(Struct, frozen=True):
    """What a process has used since it started."""

    cpu_s: float
    memory_mb: float
    peak_mb: float


class Bench(Struct, frozen=True):
    """A runtime that is up, with a client."""

    client: Client
    address: str
    runtime_pid: int

    def read_usage(self) -> dict[str, Usage]:
        """What the runtime has used, its component servers together, and the client, which is this process."""
        servers = [_read_usage(pid) for pid in find_children(self.runtime_pid)]
        server = Usage(*(sum(getattr(usage, field) for usage in servers) for field in Usage.__struct_fields__))
        return {"runtime": _read_usage(self.runtime_pid), "server": server, "client": _read_usage(os.getpid())}


@asynccontextmanager
async def open_bench(
    folder: Path | None = None, *, storage: Storage = "sqlite", processes: int = 1
) -> AsyncGenerator[Bench]:
    """Starts a runtime with a fresh database, and its component servers, and waits until one item came through.

    Args:
        folder: Where the database lies; default, a temporary folder. On a disk in memory a commit costs nothing.
        storage: Where runs are kept.
        processes: Component servers.
    """
    with start_runtime(folder, storage=storage, processes=processes) as runtime:
        await runtime.wait_until_up()
        async with open_client(runtime.address) as client:
            with trio.fail_after(START_S):
                await client.submit_run(flow=one_step("double"), inputs=[{"n": 0}], wait=True)
            yield Bench(client, runtime.address, runtime.process.pid)


class StartedRuntime(Struct, frozen=True):
    """A runtime's process, perhaps not up yet."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    async def wait_until_up(self, poll_s: float = 0.005) -> None:
        """Wait until it listens.

        Args:
            poll_s: How often it is tried.

        Raises:
            SystemExit: It does not come up.
        """
        host, _, port = self.address.partition(":")
        with trio.move_on_after(START_S):
            while self.process.poll() is None:
                try:
                    await (await trio.open_tcp_stream(host, int(port))).aclose()
                    return
                except OSError:
                    await trio.sleep(poll_s)
        raise SystemExit(f"The runtime did not come up:\n{await trio.Path(self.log).read_text()}")


@contextmanager
def start_runtime(
    folder: Path | None = None, *, storage: Storage = "sqlite", processes: int = 1
) -> Generator[StartedRuntime]:
    """Starts `stepflow serve`, and stops it at the end; see `open_bench`."""
    _allow_many_sockets()
    with tempfile.TemporaryDirectory(dir=folder, prefix="stepflow-bench-") as place:
        address, config, log = f"127.0.0.1:{_find_free_port()}", Path(place, "stepflow-config.yml"), Path(place, "log")
        kept_in = "{type: memory}" if storage == "memory" else f"{{type: sqlite, path: {place}/state.db}}"
        config.write_text(
            CONFIG.format(python=sys.executable, server=SERVER, processes=processes, storage=kept_in, address=address)
        )
        stepflow = Path(sys.executable).parent / "stepflow"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [stepflow, "serve", "--config", config], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield StartedRuntime(process, address, log)
        finally:
            if process.poll() is not None:
                print(f"The runtime has ended by itself:\n{log.read_text()}", file=sys.stderr)
            process.terminate()
            process.wait(STOP_S)


class Meter:
    """Measures what the processes of a bench use from its making until it is read, and how long that took."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._before = bench.read_usage()
        self._started_at = time.perf_counter()
        self.seconds = 0.0

    def stop(self) -> None:
        """The work is done."""
        self.seconds = time.perf_counter() - self._started_at

    def read_costs(self, items: int) -> dict[str, Cost]:
        """What each process used for an item."""
        after = self._bench.read_usage()
        return {
            name: Cost((after[name].cpu_s - before.cpu_s) / items * 1e6, after[name].peak_mb)
            for name, before in self._before.items()
        }


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


def _allow_many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _read_usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    memory_mb, peak_mb = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / TICKS_PER_S, memory_mb, peak_mb)
