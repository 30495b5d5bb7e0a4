"""How the runtime makes its links: one way for servers it starts or dials, for who dials it, and for itself."""

from __future__ import annotations

from protocol.dispatch import Dispatcher
from protocol.handling import HandlingLimits
from protocol.link import Link
from protocol.methods import Side
from protocol.peer import MAX_QUEUED_BYTES
from protocol.streams import ByteStream
from protocol.types import Limits
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.requests import RequestTally


class RuntimeLinks:
    """Makes links that answer the runtime's methods.

    Args:
        dispatcher: Answers requests.
        limits: What is accepted from peers, as it is told to them.
        handling: How many requests of one connection may be worked on at once.
        max_queued_bytes: What may wait to be sent on a connection before it is given up.

    Attributes:
        limits: As they are told to peers.
        requests: What was answered, in numbers.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits,
        handling: HandlingLimits | None = None,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._dispatcher = dispatcher
        self._handling = handling
        self._max_queued_bytes = max_queued_bytes
        self.limits = limits
        self.requests = RequestTally()

    def make(self, stream: ByteStream, connection: Connection, *, check_first_line: bool = False) -> Link:
        """The link of a new connection; it is not running yet."""
        connection.link = Link(
            stream,
            side=Side.RUNTIME,
            dispatcher=self._dispatcher,
            context=connection,
            limits=self.limits,
            name=connection.name,
            on_answers=lambda answers: connection.receive(answers),
            handling_limits=self._handling,
            on_answered=self.requests.note,
            max_queued_bytes=self._max_queued_bytes,
            check_first_line=check_first_line,
            break_on_torn=connection.role == "server",
        )
        return connection.link
