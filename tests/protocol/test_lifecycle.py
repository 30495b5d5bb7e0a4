"""Tables of states."""

from __future__ import annotations

import pytest

from protocol.lifecycle import CONNECTION, ConnectionEvent, ConnectionState, IllegalTransition, advance


def test_a_connection_is_greeted_and_then_closed() -> None:
    state = advance(CONNECTION, ConnectionState.NEW, ConnectionEvent.GREET)
    assert advance(CONNECTION, state, ConnectionEvent.CLOSE) is ConnectionState.CLOSED


@pytest.mark.parametrize("event", list(ConnectionEvent))
def test_nothing_happens_after_the_end(event: ConnectionEvent) -> None:
    for state in (ConnectionState.CLOSED, ConnectionState.BROKEN):
        with pytest.raises(IllegalTransition, match=f"{event} cannot happen in the state {state}; possible are: none"):
            advance(CONNECTION, state, event)


def test_every_state_has_a_row_and_every_following_state_exists() -> None:
    assert set(CONNECTION) == set(ConnectionState)
    assert {state for row in CONNECTION.values() for state in row.values()} <= set(CONNECTION)


def test_any_table_is_read_with_the_same_function() -> None:
    lamp = {"off": {"press": "on"}, "on": {"press": "off", "burn": "dead"}, "dead": {}}
    assert advance(lamp, "off", "press") == "on"
    with pytest.raises(IllegalTransition, match="burn cannot happen in the state off; possible are: press"):
        advance(lamp, "off", "burn")
