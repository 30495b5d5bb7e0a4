"""What people look at while runs go on, on the wire: the states of many items at once, and the component servers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from protocol.runs import ItemState
from protocol.types import CamelWire, Count, Observability

MAX_STATES: Final = 100_000

STATE_LETTERS: Final = {
    ItemState.PENDING: "p",
    ItemState.RUNNING: "r",
    ItemState.SUSPENDED: "u",
    ItemState.SUCCESS: "s",
    ItemState.FAILED: "f",
    ItemState.CANCELLED: "c",
}
"""One letter for each state of an item."""

STATES: Final = {letter: state for state, letter in STATE_LETTERS.items()}
"""The state that each letter stands for."""


class ItemStatesParams(CamelWire):
    """From `startIndex` on, 0 by default; 10,000 of them by default."""

    run_id: str
    start_index: Count | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_STATES)] | None = None
    observability: Observability | None = None


class ItemStatesResult(CamelWire, omit_defaults=False):
    """A letter for each item in order: `p`ending, `r`unning, s`u`spended, `s`uccess, `f`ailed, `c`ancelled."""

    states: str
    start_index: int
    total: int


class ServerState(StrEnum):
    """`connecting`: not yet initialized; `ready`: it takes executions; `down`: there is no connection."""

    CONNECTING = "connecting"
    READY = "ready"
    DOWN = "down"


class ServerInfo(CamelWire, kw_only=True):
    """One component server. `trouble` is why the last connection ended, `stderr` the tail of what it wrote there."""

    plugin: str
    name: str
    state: ServerState
    in_flight: int = 0
    max_in_flight: int | None = None
    pid: int | None = None
    trouble: str | None = None
    stderr: str | None = None


class ListServersResult(CamelWire):
    """By plugin, in the order of the configuration."""

    servers: list[ServerInfo]
