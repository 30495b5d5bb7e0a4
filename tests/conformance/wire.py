"""`stepflow serve` in a process of its own, and a raw client on a socket: what the tests of this folder look through.

Stdlib only and nothing of this project, so that what is wrong on both of its sides does not cancel out.
"""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PATIENCE_S: Final = 60.0
"""No test waits longer for anything."""

ROOT: Final = Path(__file__).parents[2]

Json = dict[str, Any]


class Answered(Exception):
    """The runtime answered a call with an error."""

    def __init__(self, error: Json) -> None:
        super().__init__(error)
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class RawClient:
    """Lines to the runtime and from it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=PATIENCE_S)
        self._lines = self._socket.makefile("rb")
        self._last_id = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes as they stand."""
        self._socket.sendall(data)

    def end_sending(self) -> None:
        """Says that nothing more will come; what comes back can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def read_line(self) -> bytes:
        """The next line as it stands; nothing at the end of the connection."""
        try:
            return self._lines.readline()
        except ConnectionResetError:
            return b""

    def ask(self, line: str | bytes) -> Any:
        """Sends a line and reads one."""
        self.send((line.encode() if isinstance(line, str) else line) + b"\n")
        return json.loads(self.read_line())

    def ask_nothing(self, line: str) -> None:
        """Sends a line that must not be answered: what comes next is the answers to what is asked next."""
        self.send(line.encode() + b"\n")
        for _ in range(2):  # a handler that was started by the line has ended after the first
            assert self.call("rpc.discover")

    def call(self, method: str, params: Json | None = None) -> Any:
        """Calls and returns the result.

        Raises:
            Answered: The answer is an error.
        """
        self._last_id += 1
        answer = self.ask(json.dumps({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}))
        assert answer["id"] == self._last_id, answer
        if "error" in answer:
            raise Answered(answer["error"])
        return answer["result"]

    def refuse(self, method: str, params: Json | None = None) -> Answered:
        """Calls, and returns the error that must be the answer."""
        try:
            result = self.call(method, params)
        except Answered as error:
            return error
        raise AssertionError(f"{method} was not refused but answered {result}")

    def put_flow(self, flow: Json) -> str:
        """The id of a stored flow."""
        blob_id: str = self.call("blobs/put", {"data": flow, "blob_type": "flow"})["blob_id"]
        return blob_id

    def run(self, flow: Json, inputs: Sequence[Any], **params: Any) -> Json:
        """Runs a flow to its end; results by index."""
        status: Json = self.call(
            "runs/submit", {"flowId": self.put_flow(flow), "inputs": list(inputs), "wait": True, **params}
        )
        return status

    def run_one(self, component: str, input: Any) -> Any:
        """Executes a component once, in a run, and returns the item's result."""
        return self.run(make_flow(component), [input])["results"][0]["result"]


def make_flow(component: str, **step: Any) -> Json:
    """A flow of one step, which gets the input of the flow and gives its output."""
    return {
        "name": "one step",
        "steps": [{"id": "only", "component": component, "input": {"$input": "$"}, **step}],
        "output": {"$step": "only"},
    }


class ServedRuntime:
    """A runtime in a process of its own.

    Attributes:
        address: Where it listens.
        process: Its process.
    """

    def __init__(self, address: tuple[str, int], process: subprocess.Popen[str], log: list[str]) -> None:
        self.address = address
        self.process = process
        self._log = log

    def connect(self) -> RawClient:
        """A new connection."""
        return RawClient(self.address)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """What it wrote to stderr so far."""
        return "".join(self._log)


@contextmanager
def serve(folder: Path, config: Json, **environment: str) -> Generator[ServedRuntime]:
    """Runs `stepflow serve` with a configuration; stops it at the end, which must succeed unless it was killed.

    Args:
        folder: Where the configuration is written, and where the runtime works.
        config: As `stepflow-config.yml` has it; `storage` is in memory if nothing is said.
        environment: What is added to the environment.

    Raises:
        ConnectionError: It ended before it listened.
    """
    path = folder / "stepflow-config.json"
    path.write_text(json.dumps({"storage": {"type": "memory"}, "listen": {"rpc": "127.0.0.1:0"}, **config}))
    process = subprocess.Popen(
        [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--config", path],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    log: list[str] = []
    addresses: queue.Queue[tuple[str, int] | None] = queue.Queue()
    reader = threading.Thread(target=_read_log, args=(process, log, addresses))
    reader.start()
    try:
        address = addresses.get(timeout=PATIENCE_S)
        if address is None:
            raise ConnectionError(f"`stepflow serve` ended with {process.wait()} before it listened: {''.join(log)}")
        yield ServedRuntime(address, process, log)
        if process.returncode is None:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, "".join(log)
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def _read_log(process: subprocess.Popen[str], log: list[str], addresses: queue.Queue[tuple[str, int] | None]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if found := re.search(r"listening on (\S+):(\d+)", line):
            addresses.put((found[1], int(found[2])))
    addresses.put(None)
