"""The sending half of a link: what a peer has queued, onto a stream, in whole lines.

`flush` sends at once what the stream takes, and `send_soon` in the next pass of the loop. There is a task only while a
stream takes no more: it sends the rest, all in one piece. It knows no messages and no answers. `link` is above, `peer`
and `streams` are below.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import trio

from protocol.peer import Peer
from protocol.soon import call_soon
from protocol.streams import ByteStream

SEND_BYTES: Final = 1024 * 1024
"""The largest piece that is sent before it is taken off the queue's count."""


class Sender:
    """Sends what is queued, between `open` and `close`.

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
        self._unsent: bytes | memoryview = b""
        self._is_awaited = False
        self._nursery: trio.Nursery | None = None
        self._scope: trio.CancelScope | None = None
        self._deadline = inf
        self.progressed_at = 0.0

    def open(self, nursery: trio.Nursery) -> None:
        """Begins to send; what was queued before goes out soon.

        Args:
            nursery: For the task that sends what the stream did not take. If it is cancelled, `end_soon` bounds what
                that may take: cancelled in its midst, it would tear a frame.
        """
        self._nursery = nursery
        self.send_soon()

    def close(self) -> None:
        """Sends nothing any more."""
        self._nursery = None

    def flush(self) -> None:
        """Sends what is queued as far as the stream takes it at once; a task sends the rest."""
        if self._nursery is None or self._unsent or not self._peer.queued_bytes:
            return
        try:
            self._send_queued()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._on_fault(error)
        if self._unsent:
            self._nursery.start_soon(self._send_rest)

    def send_soon(self) -> None:
        """Something was queued: it is sent in the next pass of the loop, if nobody flushes before."""
        if self._peer.fault is not None:
            self._on_fault(self._peer.fault)
        elif not self._is_awaited and self._nursery is not None:
            self._is_awaited = True
            call_soon(self._flush_awaited)

    def call_when_room(self, on_room: Callable[[], None]) -> None:
        """Has something called once, soon, when less than `full_bytes` wait."""
        self._on_room = on_room
        self.send_soon()

    def end_soon(self, timeout_s: float) -> None:
        """Sends what is queued, and bounds the time that this may take."""
        self._deadline = trio.current_time() + timeout_s
        if self._scope is not None:
            self._scope.deadline = self._deadline
        self.flush()

    def _flush_awaited(self) -> None:
        self._is_awaited = False
        self.flush()
        self._tell_room()

    def _send_queued(self) -> None:
        data = self._peer.data_to_send()
        sent = self._stream.send_nowait(data)
        self._peer.data_sent(sent)
        self._unsent = memoryview(data)[sent:] if sent < len(data) else b""

    async def _send_rest(self) -> None:
        with trio.CancelScope(shield=True, deadline=self._deadline) as self._scope:
            try:
                while self._unsent:
                    part = self._unsent[:SEND_BYTES]
                    await self._stream.wait_send_all(part)
                    self._peer.data_sent(len(part))
                    if len(part) == SEND_BYTES:  # less may be in a buffer that nobody reads
                        self.progressed_at = trio.current_time()
                    self._unsent = self._unsent[len(part) :]
                    if not self._unsent:
                        self._send_queued()
                    self._tell_room()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._on_fault(error)
        self._scope = None

    def _tell_room(self) -> None:
        if self._on_room is not None and self._peer.queued_bytes < self._full_bytes:
            on_room, self._on_room = self._on_room, None
            on_room()
