"""What the tests of the command line share: files, what a command left behind, and `stepflow` as a program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from msgspec import Struct

CONFIG = """
plugins:
  builtin: {type: builtin}
  mock:
    type: mock
    components:
      /double:
        behaviors:
          - {input: 1, result: {outcome: success, value: 2}}
          - {input: 2, result: {outcome: success, value: 4}}
          - {input: 3, result: {outcome: success, value: 1.10}}
  nobody: {type: stepflow, accept: nobody}
routes:
  "/mock": [{plugin: mock}]
  "/nobody": [{plugin: nobody}]
"""

FLOW = """
name: Doubling
steps:
  - id: double
    component: /mock/double
    input: {$input: n}
output: {$step: double}
"""

INTERRUPTING_SERVER = """
import os, signal
import trio
from component_sdk import ComponentServer

server = ComponentServer()

@server.component
async def interrupt(input):
    os.kill(os.getppid(), getattr(signal, input))
    await trio.sleep_forever()

server.run()
"""

INTERRUPTING_CONFIG = f"""
plugins: {{python: {{type: stepflow, command: "{sys.executable}", args: [server.py]}}}}
routes: {{/python: [{{plugin: python}}]}}
"""

STUCK_FLOW = """
name: Stuck
steps: [{id: wait, component: /nobody/comes, input: {$input: "$"}}]
output: {$step: wait}
"""


class Done(Struct):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Stepflow = Callable[..., Done]


class Program:
    """`stepflow` as a program of its own, which is killed if a test takes too long.

    Args:
        args: What is typed.
    """

    def __init__(self, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stepflow_runtime.app.cli", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._watchdog = threading.Timer(30, self._process.kill)
        self._watchdog.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._watchdog.cancel()

    def read_line(self) -> str:
        """The next line of its stderr."""
        assert self._process.stderr is not None
        return self._process.stderr.readline().decode()

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self._process.send_signal(number)

    def write(self, data: bytes) -> None:
        """Sends to its stdin, and leaves that open."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def stop_reading(self) -> bytes:
        """Reads one line of its stdout, and no more, as `head -1` does."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._process.stdout.close()
        return line

    def read_all(self) -> bytes:
        """Its stdout, once it has ended."""
        return self._process.communicate()[0]

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._process.wait()

    def finish(self, stdin: bytes = b"") -> Done:
        """Waits for its end."""
        out, err = self._process.communicate(stdin)
        return Done(self._process.returncode, out.decode(), err.decode())
