"""Shapes of restarts and time travel (PROTOCOL §4)."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from protocol.types import CamelWire, Count, Milliseconds, Observability


class RestartParams(CamelWire):
    """Which items go again, all that did not succeed by default; `only: "failed"` leaves cancelled ones.

    A request that is repeated with its `request_id` gives the first one's run; also of `TimeTravelParams`.
    """

    run_id: str
    item_indexes: list[Count] | None = None
    only: Literal["failed"] | None = None
    observability: Observability | None = None
    request_id: str | None = None


class TimeTravelParams(CamelWire):
    """From which step on which items go again, all by default.

    `input` is what the step is executed with, instead of what its flow says; `resume_data` what its last suspension
    returns; `context` has outputs of steps that gave none, by step.
    """

    run_id: str
    step: str
    item_indexes: list[Count] | None = None
    input: Raw | UnsetType = UNSET
    resume_data: Raw | UnsetType = UNSET
    context: dict[str, Raw] | None = None
    wait: bool | None = None
    timeout_ms: Milliseconds | None = None
    observability: Observability | None = None
    request_id: str | None = None
