"""Where a connection to a component server comes from: a process to start, or an address to dial."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from protocol.streams import ByteStream


class Peer(Protocol):
    """Who can tell about the other end of a connection."""

    @property
    def pid(self) -> int | None:
        """Of its process, if that is ours."""
        ...

    async def ending(self) -> str:
        """How it ended, as the end of a sentence; called when its stream has ended. Waits briefly at most."""
        ...

    def last_words(self) -> str:
        """The tail of its stderr, or nothing."""
        ...


class Opened(Peer, Protocol):
    """A connection that was opened."""

    @property
    def stream(self) -> ByteStream: ...


class Origin(Protocol):
    """What can be opened again and again."""

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Opens a connection; leaving the context closes it.

        Raises:
            OSError: It cannot be opened now.
        """
        ...


class Distant:
    """A peer of which nothing but its socket is known.

    Args:
        name: Its address.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def pid(self) -> None:
        return None

    async def ending(self) -> str:
        return f"{self._name} closed the connection"

    def last_words(self) -> str:
        return ""
