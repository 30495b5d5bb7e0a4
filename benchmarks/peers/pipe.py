"""The ceiling: two trio processes and a pipe, the messages of the protocol, and nothing else.

The child answers every call at once, a chunk of bytes at a time; nothing is routed, scheduled, kept or checked.
`python -m benchmarks.peers.pipe` is the child.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from benchmarks.peers.work import Work

NAME: Final = "bare pipe"
WORKS: Final = frozenset({Work.FAN_OUT, Work.ONE_RUN, Work.CHAIN})
ITEMS: Final = 50_000
WINDOW: Final = 1000
STEPS: Final = 10
ROUND_TRIPS: Final = 2000
MAX_READ_BYTES: Final = 65536


class Call(Struct):
    id: int
    params: dict[str, Any]
    method: str = "components/execute"
    jsonrpc: str = "2.0"


class Answer(Struct):
    id: int
    result: dict[str, Any]
    jsonrpc: str = "2.0"


class Pipe:
    """Calls over a pair of file descriptors, a burst at a time.

    Args:
        read: Where answers come from.
        write: Where calls go.
        child_pid: Who answers.
    """

    def __init__(self, read: trio.lowlevel.FdStream, write: trio.lowlevel.FdStream, child_pid: int) -> None:
        self.child_pid = child_pid
        self._read = read
        self._write = write
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Answer).decode

    async def call(self, values: list[int]) -> list[int]:
        """Send one call for each value in one write, and wait for all answers."""
        lines = [self._encode(Call(index, {"input": {"n": value}})) for index, value in enumerate(values)]
        answers = list(values)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write.send_all, b"\n".join(lines) + b"\n")
            missing, rest = len(values), b""
            while missing:
                *lines, rest = (rest + await self._read.receive_some(MAX_READ_BYTES)).split(b"\n")
                for line in lines:
                    answer = self._decode(line)
                    answers[answer.id] = answer.result["output"]["n"]
                missing -= len(lines)
        return answers


async def measure(work: Work) -> float:
    """What a pipe does of some work."""
    async with open_pipe() as pipe:
        await pipe.call(list(range(WINDOW)))
        match work:
            case Work.ONE_RUN:
                return await _measure_round_trips(pipe)
            case Work.CHAIN:
                return await _measure_rate(pipe, WINDOW, STEPS)
            case _:
                return await _measure_rate(pipe, ITEMS, 1)


async def _measure_round_trips(pipe: Pipe) -> float:
    times_ms: list[float] = []
    for n in range(ROUND_TRIPS):
        started_at = time.perf_counter()
        await pipe.call([n])
        times_ms.append((time.perf_counter() - started_at) * 1000)
    return statistics.median(times_ms)


async def _measure_rate(pipe: Pipe, items: int, steps: int) -> float:
    started_at = time.perf_counter()
    for first in range(0, items, WINDOW):
        values = list(range(first, first + WINDOW))
        for _ in range(steps):
            values = await pipe.call(values)
    return items * steps / (time.perf_counter() - started_at)


@asynccontextmanager
async def open_pipe() -> AsyncGenerator[Pipe]:
    """Starts the child."""
    child = await trio.lowlevel.open_process(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert isinstance(child.stdin, trio.lowlevel.FdStream)
    assert isinstance(child.stdout, trio.lowlevel.FdStream)
    async with child.stdin, child.stdout:
        yield Pipe(child.stdout, child.stdin, child.pid)
    await child.wait()


async def echo() -> None:
    """Answer calls until the end of stdin."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Call).decode
    async with trio.lowlevel.FdStream(0) as read, trio.lowlevel.FdStream(1) as write:
        rest = b""
        while chunk := await read.receive_some(MAX_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            calls = map(decode, lines)
            answers = [encode(Answer(call.id, {"output": call.params["input"]})) for call in calls]
            if answers:
                await write.send_all(b"\n".join(answers) + b"\n")


if __name__ == "__main__":
    trio.run(echo)
