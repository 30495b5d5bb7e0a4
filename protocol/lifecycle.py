"""Life as data: a table of states and events, and the one function that reads it.

A table maps each state to the events that may happen in it, and each event to the state that follows; a terminal state
has an empty row. `CONNECTION` is the table of a connection; the runtime has its own for runs, items and steps, and
reads them with the same `advance`. Nothing here knows bytes, messages or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from protocol.errors import ProtocolError

State = TypeVar("State")
Event = TypeVar("Event")


class IllegalTransition(ProtocolError):
    """An event that cannot happen in this state; whoever caused it has a defect."""


def advance(table: Mapping[State, Mapping[Event, State]], state: State, event: Event) -> State:
    """The state that follows.

    Args:
        table: state → event → state.
        state: Where we are.
        event: What happens.

    Returns:
        The next state.

    Raises:
        IllegalTransition: If the row of `state` does not have `event`.
    """
    following = table[state].get(event)
    if following is None:
        raise IllegalTransition(
            f"{event} cannot happen in the state {state}; possible are: {', '.join(map(str, table[state])) or 'none'}"
        )
    return following


class ConnectionState(StrEnum):
    """Where a connection is."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"
    BROKEN = "broken"


class ConnectionEvent(StrEnum):
    """What can happen to a connection."""

    GREET = "greet"
    CLOSE = "close"
    BREAK = "break"


CONNECTION: Final[Mapping[ConnectionState, Mapping[ConnectionEvent, ConnectionState]]] = {
    ConnectionState.NEW: {
        ConnectionEvent.GREET: ConnectionState.OPEN,
        ConnectionEvent.CLOSE: ConnectionState.CLOSED,
        ConnectionEvent.BREAK: ConnectionState.BROKEN,
    },
    ConnectionState.OPEN: {
        ConnectionEvent.CLOSE: ConnectionState.CLOSED,
        ConnectionEvent.BREAK: ConnectionState.BROKEN,
    },
    ConnectionState.CLOSED: {},
    ConnectionState.BROKEN: {},
}
"""The first line that is a message greets; an end of the stream closes; a breach of the protocol breaks."""
