"""What the runtime answers to `connect`: who the peer is and, of a server, to which plugin it belongs (PROTOCOL §1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from protocol.errors import ErrorCode, RpcError
from protocol.methods import PROTOCOL_VERSION
from protocol.types import ConnectParams, ConnectResult, Limits
from stepflow_runtime.connect.connection import Connection

MAX_NAME_CHARACTERS: Final = 200
"""It is kept with each run that its bearer submits."""


class Acceptor(Protocol):
    """A plugin that takes servers which dial the runtime."""

    def accept(self, connection: Connection, max_in_flight: int | None = None) -> None: ...


class Introduction:
    """The handler of `connect`.

    Args:
        acceptors: Plugins by the name under which their servers introduce themselves (`accept` in the configuration).
        runtime_version: Told to the peer.
        limits: Told to the peer.
    """

    def __init__(self, acceptors: Mapping[str, Acceptor], *, runtime_version: str, limits: Limits) -> None:
        self._acceptors = acceptors
        self._answer = ConnectResult(PROTOCOL_VERSION, runtime_version, limits)

    async def connect(self, params: ConnectParams, connection: Connection) -> ConnectResult:
        """Notes the peer's name; hands a server over to its plugin, which initializes it after this answer.

        Raises:
            RpcError: `VERSION_MISMATCH`; `INVALID_PARAMS` if a server gives no name or one that nobody accepts, and for
                a name that is too long;
                `CONFLICT` if it is a server already; `NOT_AUTHENTICATED` if its token is for something else.
        """
        if params.protocol_version != PROTOCOL_VERSION:
            raise RpcError(
                ErrorCode.VERSION_MISMATCH,
                f"This runtime speaks protocol version {PROTOCOL_VERSION}, not {params.protocol_version}.",
                supported=[PROTOCOL_VERSION],
            )
        if len(params.name or "") > MAX_NAME_CHARACTERS:
            raise RpcError(
                ErrorCode.INVALID_PARAMS, f"A name has at most {MAX_NAME_CHARACTERS} characters.", path="$.name"
            )
        if connection.grant is not None:
            connection.grant.check(params)
        if params.role == "server":
            self._accept(params, connection)
        elif params.name:
            connection.client = params.name
        if params.name is not None:
            connection.name = f"{params.name} at {connection.name}"
        return self._answer

    def _accept(self, params: ConnectParams, connection: Connection) -> None:
        if connection.plugin is not None:
            raise RpcError(
                ErrorCode.CONFLICT, f'This connection is a server of the plugin "{connection.plugin}" already.'
            )
        acceptor = self._acceptors.get(params.name or "")
        if acceptor is None:
            known = ", ".join(f'"{name}"' for name in self._acceptors) or "none"
            raise RpcError(
                ErrorCode.INVALID_PARAMS,
                f'No plugin accepts servers under the name "{params.name or ""}"; names with `accept` in the '
                f"configuration: {known}.",
            )
        acceptor.accept(connection, params.max_in_flight)
