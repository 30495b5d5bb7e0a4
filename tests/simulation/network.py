"""A network in memory: what is sent arrives late, in other pieces, twice where that is legal, or not to the end.

A `Wire` joins two `SimStream`s, each a `ByteStream`. Whoever sends is watched: what it sends must be whole lines of
JSON. Nothing here knows runtimes, servers or methods.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

import msgspec
import trio

from tests.simulation.trace import Trace

CAPACITY_BYTES: Final = 4096
"""Of one direction; small, so that senders meet full pipes."""


class Weather(msgspec.Struct, frozen=True):
    """How a network treats what is sent on it.

    Args:
        max_delay_s: Nothing takes longer, unless it is held.
        split: How often a chunk arrives in two pieces.
        refuse: How often a transport takes less than it could.
        duplicate: How often an answer arrives twice.
    """

    max_delay_s: float = 0.01
    split: float = 0.2
    refuse: float = 0.1
    duplicate: float = 0.0


class _Pipe:
    """One direction of a wire."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.name = name
        self.wire = wire
        self.chunks: deque[tuple[float, bytes]] = deque()
        self.held_bytes = 0
        self.last_at = 0.0
        self.line = b""
        self.writer_closed = False
        self.reader_closed = False
        self.changed = trio.Event()

    def note_change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def push(self, data: bytes) -> None:
        """Takes bytes on their way; each line that they complete is checked, and may be said twice."""
        network = self.wire.network
        pieces = data.split(b"\n")
        for number, piece in enumerate(pieces):
            self.line += piece
            if number == len(pieces) - 1:
                self._send_off(piece)
                return
            line, self.line = self.line, b""
            self._send_off(piece + b"\n")
            network.check_line(self.name, line)
            if b'"result":' in line[:60] and network.chance.random() < network.weather.duplicate:
                network.trace.note("duplicate", self.name)
                self._send_off(line + b"\n")

    def _send_off(self, data: bytes) -> None:
        if not data:
            return
        network = self.wire.network
        delay = network.chance.random() ** 3 * network.weather.max_delay_s
        self.last_at = max(self.last_at, trio.current_time() + delay, self.wire.held_until)
        if self.chunks and self.chunks[-1][0] == self.last_at:
            at, last = self.chunks.pop()
            self.chunks.append((at, last + data))
        else:
            self.chunks.append((self.last_at, data))
        self.held_bytes += len(data)
        self.note_change()


class Wire:
    """A connection between two processes.

    Attributes:
        held_until: Nothing arrives before this time.
        is_cut: Whether nothing more can be sent.
    """

    def __init__(self, network: Network, number: int, left: str, right: str) -> None:
        self.network = network
        self.name = f"{left}-{right}#{number}"
        self.held_until = 0.0
        self.is_cut = False
        there, back = _Pipe(f"{left}>{right}#{number}", self), _Pipe(f"{right}>{left}#{number}", self)
        self.left = SimStream(self, reads=back, writes=there)
        self.right = SimStream(self, reads=there, writes=back)
        self.pipes = there, back

    @property
    def is_over(self) -> bool:
        """Whether both ends are closed."""
        return all(pipe.writer_closed for pipe in self.pipes)

    def cut(self) -> None:
        """Tears the connection: of what is on its way only a part arrives, cut at any byte."""
        if self.is_cut:
            return
        self.is_cut = True
        self.network.trace.note("cut", self.name)
        for pipe in self.pipes:
            left = self.network.chance.randint(0, pipe.held_bytes)
            kept: deque[tuple[float, bytes]] = deque()
            for at, data in pipe.chunks:
                if left > 0:
                    kept.append((at, data[:left]))
                left -= len(data)
            pipe.chunks = kept
            pipe.held_bytes = sum(len(data) for _, data in kept)
            pipe.note_change()

    def hold(self, seconds: float) -> None:
        """Nothing arrives for a while; later all of it does."""
        self.held_until = max(self.held_until, trio.current_time() + seconds)
        for pipe in self.pipes:
            pipe.chunks = deque((max(at, self.held_until), data) for at, data in pipe.chunks)
            pipe.last_at = max(pipe.last_at, self.held_until)
            pipe.note_change()


class SimStream:
    """One end of a wire; see `protocol.streams.ByteStream`."""

    def __init__(self, wire: Wire, *, reads: _Pipe, writes: _Pipe) -> None:
        self.wire = wire
        self._reads = reads
        self._writes = writes

    @property
    def is_closed(self) -> bool:
        return self._writes.writer_closed

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        pipe, chance = self._reads, self.wire.network.chance
        while True:
            if pipe.reader_closed:
                raise trio.ClosedResourceError
            if pipe.chunks and pipe.chunks[0][0] <= trio.current_time():
                return self._take(pipe)
            if not pipe.chunks and self.wire.is_cut:
                if chance.random() < 0.5:
                    return b""
                raise trio.BrokenResourceError("The simulated connection was cut.")
            if not pipe.chunks and pipe.writer_closed:
                return b""
            changed = pipe.changed
            with trio.move_on_at(pipe.chunks[0][0] if pipe.chunks else float("inf")):
                await changed.wait()

    def _take(self, pipe: _Pipe) -> bytes:
        network = self.wire.network
        at, data = pipe.chunks.popleft()
        while pipe.chunks and pipe.chunks[0][0] <= trio.current_time():
            data += pipe.chunks.popleft()[1]
        if len(data) > 1 and network.chance.random() < network.weather.split:
            where = network.chance.randint(1, len(data) - 1)
            pipe.chunks.appendleft((at, data[where:]))
            data = data[:where]
        pipe.held_bytes -= len(data)
        pipe.note_change()
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        pipe, network = self._writes, self.wire.network
        if pipe.writer_closed:
            raise trio.ClosedResourceError
        if pipe.reader_closed or self.wire.is_cut:
            raise trio.BrokenResourceError("The simulated connection is gone.")
        room = min(CAPACITY_BYTES - pipe.held_bytes, len(data))
        if room > 0 and network.chance.random() < network.weather.refuse:
            room = network.chance.randint(0, room)
        if room <= 0:
            return 0
        pipe.push(bytes(data[:room]))
        return room

    async def wait_send_all(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        while rest:
            changed = self._writes.changed
            rest = rest[self.send_nowait(rest) :]
            if rest and self._writes.held_bytes >= CAPACITY_BYTES:
                await changed.wait()
            elif rest:
                await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._writes.writer_closed = True
        self._reads.reader_closed = True
        self._writes.note_change()
        self._reads.note_change()
        await trio.lowlevel.checkpoint()


class Network:
    """All wires of one simulation."""

    def __init__(self, chance: Random, trace: Trace, weather: Weather) -> None:
        self.chance = chance
        self.trace = trace
        self.weather = weather
        self._wires: list[Wire] = []
        self._made = 0

    @property
    def wires(self) -> list[Wire]:
        """Those that both sides have not yet left."""
        self._wires = [wire for wire in self._wires if not wire.is_over]
        return self._wires

    def connect(self, left: str, right: str) -> Wire:
        self._made += 1
        wire = Wire(self, self._made, left, right)
        self._wires.append(wire)
        return wire

    def check_line(self, name: str, line: bytes) -> None:
        """What a process sends is JSON, line for line, whatever happens to it."""
        try:
            msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            self.trace.violate(f"torn frame on {name}: {error}: {line[:200]!r}")
