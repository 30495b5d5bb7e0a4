"""Byte streams under trio, all with one face: `ByteStream`.

`FdStream` is a pair of pipes (a child's, or our own stdio moved out of harm's way), `SocketStream` is TCP or a Unix
socket, `memory_stream_pair` joins two peers in a test. They know nothing of lines or messages; `link` is above.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from fcntl import F_DUPFD_CLOEXEC, fcntl
from typing import Final, Protocol

import trio

RECEIVE_BYTES: Final = 128 * 1024
_LOWEST_MOVED_FD: Final = 10

KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""When the system asks whether the other host is still there, where it can be told: 60 s of silence, then 4 times 15 s.
PostgreSQL and gRPC take minutes too; two hours, as it is by default, are too long for a waiter whose client is gone."""


class ByteStream(Protocol):
    """What a `Link` needs of a transport.

    `trio.BrokenResourceError` means that the other side is gone, `trio.ClosedResourceError` that we closed it.
    """

    async def receive_some(self) -> bytes:
        """The next bytes; empty at the end of the stream. Always a checkpoint."""
        ...

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Sends what the transport takes at once, and returns how many bytes that were, perhaps none."""
        ...

    async def wait_send_all(self, data: bytes | memoryview) -> None:
        """Sends all. Cancelled, it leaves a torn frame: only for callers that shield it, or end the connection then."""
        ...

    async def aclose(self) -> None:
        """Closes it. Whoever waits in it is woken."""
        ...


class FdStream:
    """A stream over two file descriptors, which it owns.

    Both are made non-blocking. That is a property of the open file, which others may share: `aclose` puts it back.

    Args:
        read_fd: To read from.
        write_fd: To write to; may be the same.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._is_drained = False
        """Whether the last read took all there was, so that it would be in vain to read before more has come."""
        self._was_blocking = [fd for fd in {read_fd, write_fd} if os.get_blocking(fd)]
        for fd in self._was_blocking:
            os.set_blocking(fd, False)

    async def receive_some(self) -> bytes:
        """The next bytes; see `ByteStream`."""
        if not self._is_drained:
            await trio.lowlevel.checkpoint()
        while True:
            if self._read_fd < 0:
                raise trio.ClosedResourceError
            if self._is_drained:
                await trio.lowlevel.wait_readable(self._read_fd)
            try:
                data = os.read(self._read_fd, RECEIVE_BYTES)
            except BlockingIOError:
                self._is_drained = True
                continue
            except OSError as error:
                raise trio.BrokenResourceError(f"The connection broke: {error.strerror}.") from error
            self._is_drained = 0 < len(data) < RECEIVE_BYTES
            return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Sends what fits; see `ByteStream`."""
        if self._write_fd < 0:
            raise trio.ClosedResourceError
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"The connection broke: {error.strerror}.") from error

    async def wait_send_all(self, data: bytes | memoryview) -> None:
        """Sends all; see `ByteStream`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        while rest:
            sent = self.send_nowait(rest)
            if not sent:
                await trio.lowlevel.wait_writable(self._write_fd)
            rest = rest[sent:]

    async def aclose(self) -> None:
        """Closes both descriptors."""
        self._close()
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        fds = {fd for fd in (self._read_fd, self._write_fd) if fd >= 0}
        self._read_fd = self._write_fd = -1
        for fd in fds:
            trio.lowlevel.notify_closing(fd)
            if fd in self._was_blocking:
                os.set_blocking(fd, True)
            self._close_fd(fd)

    def _close_fd(self, fd: int) -> None:
        os.close(fd)


class SocketStream(FdStream):
    """A stream over a connected TCP or Unix socket, which it owns. TCP is told not to hold small writes back.

    Args:
        sock: Connected.
    """

    def __init__(self, sock: socket.socket) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_lost_host(sock)
        sock.setblocking(False)
        self._sock = sock
        super().__init__(sock.fileno(), sock.fileno())

    def _close_fd(self, fd: int) -> None:
        self._sock.close()


def notice_lost_host(sock: socket.socket | trio.socket.SocketType) -> None:
    """Has the system break a TCP connection whose other host says nothing any more, also if nothing is sent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def adopt_socket_stream(stream: trio.SocketStream) -> SocketStream:
    """Takes over the socket of a trio stream, as a listener gives it; the trio stream is not to be used any more."""
    return SocketStream(socket.socket(fileno=stream.socket.detach()))


async def open_tcp_stream(host: str, port: int) -> SocketStream:
    """Dials a TCP port.

    Raises:
        OSError: If nobody answers.
    """
    return adopt_socket_stream(await trio.open_tcp_stream(host, port))


async def open_unix_stream(path: str) -> SocketStream:
    """Dials a Unix socket.

    Raises:
        OSError: If nobody answers.
    """
    return adopt_socket_stream(await trio.open_unix_socket(path))


def take_stdio() -> FdStream:
    """Moves the wire off stdin and stdout, so that no `print()` and no `input()` can break it.

    Afterwards fd 0 reads nothing and fd 1 is stderr, here and in children.

    Returns:
        The stream that stdin and stdout were.
    """
    sys.stdout.flush()
    read_fd = fcntl(0, F_DUPFD_CLOEXEC, _LOWEST_MOVED_FD)
    write_fd = fcntl(1, F_DUPFD_CLOEXEC, _LOWEST_MOVED_FD)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return FdStream(read_fd, write_fd)


class MemoryStream:
    """One end of `memory_stream_pair`."""

    def __init__(self, capacity_bytes: int) -> None:
        self.other: MemoryStream = self
        self._capacity_bytes = capacity_bytes
        self._received = bytearray()
        self._is_ended = False
        self._is_closed = False
        self._changed = trio.Event()

    async def receive_some(self) -> bytes:
        """The next bytes; see `ByteStream`."""
        await trio.lowlevel.checkpoint()
        await self._wait_until(lambda: bool(self._received) or self._is_ended or self._is_closed)
        if self._is_closed:
            raise trio.ClosedResourceError
        data = bytes(self._received)
        self._received.clear()
        self._note_change()
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Sends what fits; see `ByteStream`."""
        if self._is_closed:
            raise trio.ClosedResourceError
        if self.other._is_closed:
            raise trio.BrokenResourceError("The other side closed its end.")
        part = data[: self._capacity_bytes - len(self.other._received)]
        self.other._received += part
        if part:
            self.other._note_change()
        return len(part)

    async def wait_send_all(self, data: bytes | memoryview) -> None:
        """Sends all; see `ByteStream`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        while rest:
            rest = rest[self.send_nowait(rest) :]
            if rest:
                await self.other._wait_until(lambda: len(self.other._received) < self._capacity_bytes or self._is_over)

    async def aclose(self) -> None:
        """Closes this end; the other one reads what is there, and then the end."""
        self._is_closed = True
        self.other._is_ended = True
        self._note_change()
        self.other._note_change()
        await trio.lowlevel.checkpoint()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self.other._is_closed

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


def memory_stream_pair(capacity_bytes: int = 64 * 1024) -> tuple[MemoryStream, MemoryStream]:
    """Two streams in memory: what is sent on one is received on the other.

    Args:
        capacity_bytes: How much may be under way in each direction, as in a pipe.
    """
    left, right = MemoryStream(capacity_bytes), MemoryStream(capacity_bytes)
    left.other, right.other = right, left
    return left, right
