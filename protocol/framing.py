"""Bytes into lines: one JSON value per line (PROTOCOL, first paragraph).

Pure. It does not know what a line means. Above it is `peer`; below, whatever gives it chunks of bytes.
"""

from __future__ import annotations

from protocol.errors import RemoteProtocolError


class LineSplitter:
    """Cuts a stream of bytes into frames, in memory bounded by the frame limit.

    The frames are the same however the stream is cut into chunks. `\\r\\n` ends a line like `\\n`, blank lines are
    ignored, and a line that has no end when the stream ends never was a frame.

    Args:
        max_frame_bytes: The longest line that is accepted, without its end.

    Attributes:
        fault: Set once a line is too long. Frames before it are still given out, nothing after it is.
    """

    __slots__ = ("_held", "_held_bytes", "_max_frame_bytes", "fault")

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.fault: RemoteProtocolError | None = None

    def split(self, data: bytes) -> list[bytes]:
        """Takes a chunk and returns the lines that it completes, without their ends.

        Afterwards the caller looks at `fault`.
        """
        if self.fault is not None:
            return []
        end = data.rfind(b"\n")
        if end < 0:
            self._hold(data)
            return []
        complete, rest = data[:end], data[end + 1 :]
        if self._held:
            self._held.append(complete)
            complete = b"".join(self._held)
            self._held.clear()
            self._held_bytes = 0
        lines = complete.split(b"\n") if b"\n" in complete else [complete]  # `split` searches more slowly than `in`
        lines = [line for line in lines if line and not line.isspace()]
        if b"\r" in complete:
            lines = [line.removesuffix(b"\r") for line in lines]
        if len(complete) > self._max_frame_bytes:
            lines = self._until_oversize(lines)
        if self.fault is None:
            self._hold(rest)
        return lines

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self._max_frame_bytes + 1:  # the one may be the `\r` of an end
                self._refuse()

    def _until_oversize(self, lines: list[bytes]) -> list[bytes]:
        for position, line in enumerate(lines):
            if len(line) > self._max_frame_bytes:
                self._refuse()
                return lines[:position]
        return lines

    def _refuse(self) -> None:
        self._held.clear()
        self.fault = RemoteProtocolError(
            f"A line is longer than {self._max_frame_bytes} bytes; send less at once, or raise maxFrameBytes.",
            limit="maxFrameBytes",
            value=self._max_frame_bytes,
        )
