"""How the servers of a plugin are: those that are connected, and those that should be."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from protocol.observing import ServerInfo, ServerState
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.origin import Peer
from stepflow_runtime.connect.server import Server


class Presence:
    """A server with a connection.

    Attributes:
        server: Set when it is initialized.
    """

    def __init__(self, connection: Connection, peer: Peer) -> None:
        self.connection = connection
        self.peer = peer
        self.server: Server | None = None


class Roster:
    """Knows who is there.

    Args:
        plugin: The plugin's name.
        expected: The names of the servers that are kept connected.
    """

    def __init__(self, plugin: str, expected: Sequence[str]) -> None:
        self._plugin = plugin
        self._expected = expected
        self._present: list[Presence] = []
        self._troubles: dict[str, str] = {}

    @contextmanager
    def enter(self, connection: Connection, peer: Peer) -> Generator[Presence]:
        """A server is there for as long as the context."""
        presence = Presence(connection, peer)
        self._present.append(presence)
        try:
            yield presence
        finally:
            self._present.remove(presence)

    def note(self, name: str, trouble: str) -> None:
        """Why a connection of an expected server ended, or could not be made."""
        self._troubles[name] = trouble

    def describe(self) -> list[ServerInfo]:
        """All of them: the expected ones first."""
        here = {presence.connection.name for presence in self._present}
        down = [
            ServerInfo(plugin=self._plugin, name=name, state=ServerState.DOWN, trouble=self._troubles.get(name))
            for name in self._expected
            if name not in here
        ]
        return sorted([*down, *map(self._describe, self._present)], key=lambda server: server.name)

    def _describe(self, presence: Presence) -> ServerInfo:
        name, server = presence.connection.name, presence.server
        return ServerInfo(
            plugin=self._plugin,
            name=name,
            state=ServerState.CONNECTING if server is None else ServerState.READY,
            in_flight=len(presence.connection.executions),
            max_in_flight=None if server is None else server.slots,
            pid=presence.peer.pid,
            trouble=self._troubles.get(name),
            stderr=presence.peer.last_words() or None,
        )
