"""The sending half of a link: what a peer has queued, onto a stream, in whole lines.

`flush` sends at once what the stream takes; a task, `run`, sends the rest and what nobody flushed, all in one piece.
It knows no messages and no answers. `link` is above, `peer` and `streams` are below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from protocol.peer import Peer
from protocol.streams import ByteStream

SEND_BYTES: Final = 1024 * 1024
"""The largest piece that is sent before it is taken off the queue's count."""


class Sender:
    """Sends what is queued.

    Args:
        stream: Where to.
        peer: Whose queue it is.
        on_fault: Called when the stream breaks, or the peer broke by what was queued last.
        full_bytes: When so much waits, nothing new should be begun that sends more.

    Attributes:
        progressed_at: When the stream last took a piece of `SEND_BYTES` that had to wait, in trio's time.
    """

    def __init__(self, stream: ByteStream, peer: Peer, on_fault: Callable[[Exception], None], full_bytes: int) -> None:
        self._stream = stream
        self._peer = peer
        self._on_fault = on_fault
        self._full_bytes = full_bytes
        self._on_room: Callable[[], None] | None = None
        self._unsent = memoryview(b"")
        self._wake = trio.Event()
        self._is_woken = False
        self._is_ending = False
        self._scope = trio.CancelScope(shield=True)
        self.progressed_at = 0.0

    def flush(self) -> None:
        """Sends what is queued as far as the stream takes it at once; the task sends the rest."""
        if self._unsent or not self._peer.queued_bytes:
            return
        data = self._peer.data_to_send()
        try:
            sent = self._stream.send_nowait(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._on_fault(error)
            return
        self._peer.data_sent(sent)
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._wake.set()

    def send_soon(self) -> None:
        """Something was queued: it will be sent at the latest when the task gets its turn."""
        if self._peer.fault is not None:
            self._on_fault(self._peer.fault)
        elif not self._is_woken:
            self._is_woken = True
            self._wake.set()

    def call_when_room(self, on_room: Callable[[], None]) -> None:
        """Has something called once, by the task, when less than `full_bytes` wait."""
        self._on_room = on_room
        self._wake.set()

    def end_soon(self, timeout_s: float) -> None:
        """Lets `run` end when all is sent, or when the time for that is over."""
        self._is_ending = True
        self._scope.deadline = trio.current_time() + timeout_s
        self._wake.set()

    async def run(self) -> None:
        """Sends until `end_soon`.

        Cancellation:
            Is ignored, as it would tear a frame; `end_soon` bounds the time. Who calls it closes the stream afterwards.
        """
        with self._scope:
            try:
                while not self._is_ending or self._unsent:
                    await self._wake.wait()
                    if not self._is_ending:
                        self._wake = trio.Event()
                    self._is_woken = False
                    self.flush()
                    self._tell_room()
                    await self._send_rest()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._on_fault(error)

    async def _send_rest(self) -> None:
        while self._unsent:
            part = self._unsent[:SEND_BYTES]
            await self._stream.wait_send_all(part)
            self._peer.data_sent(len(part))
            if len(part) == SEND_BYTES:  # less may be in a buffer that nobody reads
                self.progressed_at = trio.current_time()
            self._unsent = self._unsent[len(part) :]
            if not self._unsent:
                self.flush()
            self._tell_room()

    def _tell_room(self) -> None:
        if self._on_room is not None and self._peer.queued_bytes < self._full_bytes:
            on_room, self._on_room = self._on_room, None
            on_room()
