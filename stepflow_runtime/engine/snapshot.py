"""The facts of a run as bytes, so that a restart need not fold the whole journal. Pure.

All of them are in it but the open result chunks, which the store has anyway, and items that are parked, of which
nothing is kept in memory either. Fields are only ever added, with defaults: a snapshot may be of an older release.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from stepflow_runtime.engine.facts import Resumption, RunFacts
from stepflow_runtime.engine.items import ItemRecord, revive, summarize
from stepflow_runtime.model.events import RunForked, StepSummary
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import RunProgress

_Item = tuple[int, int, tuple[StepSummary, ...]]
"""Index, since which event it is at work, its steps."""


class Snapshot(Struct, kw_only=True):
    """`RunFacts` as stored; `cancelling` holds the reasons by index."""

    spec: RunSpec | None
    progress: RunProgress
    next_item: int
    skipped: set[int]
    recoveries: list[int]
    stopped: str | None
    cancelled_by_request: bool
    live: list[_Item]
    cancelling: dict[int, str | None]
    stops: dict[int, int] = {}
    spared: dict[int, int] = {}
    held: list[int] = []
    idle: dict[int, int] = {}
    queued: list[_Item] = []
    awake_through: int = 0
    has_suspended: bool = False
    resumptions: list[Resumption] = []
    forked: RunForked | None = None
    restarts: dict[str, str] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


def take_snapshot(facts: RunFacts) -> bytes:
    """The facts as they are now."""
    items = (*facts.live.values(), *facts.queued.values())
    return _encode(
        Snapshot(
            progress=facts.progress,
            spec=facts.spec,
            next_item=facts.next_item,
            skipped=facts.skipped,
            recoveries=facts.recoveries,
            stopped=facts.stopped,
            cancelled_by_request=facts.cancelled_by_request,
            live=[_save(item) for item in facts.live.values()],
            cancelling={item.index: item.cancel_reason for item in items if item.cancelling},
            stops={item.index: item.stops for item in facts.live.values() if item.stops},
            spared={item.index: item.spared for item in facts.live.values() if item.spared},
            held=[item.index for item in facts.live.values() if item.held],
            idle={item.index: item.idle for item in items if item.idle},
            queued=[_save(item) for item in facts.queued.values()],
            awake_through=facts.awake_through,
            has_suspended=facts.has_suspended,
            resumptions=list(facts.resumptions),
            forked=facts.forked,
            restarts=facts.restarts,
        )
    )


def restore_facts(seq: int, snapshot: bytes) -> RunFacts:
    """The facts as of `seq`; fold the journal's tail on top, then `RunFacts.restore_results`.

    Raises:
        DecodeError: The snapshot was damaged.
    """
    facts, saved = RunFacts(), _decode(snapshot)
    facts.seq = seq
    facts.spec = saved.spec
    facts.progress = saved.progress
    facts.next_item = saved.next_item
    facts.skipped = saved.skipped
    facts.recoveries = saved.recoveries
    facts.stopped = saved.stopped
    facts.cancelled_by_request = saved.cancelled_by_request
    facts.live = {index: revive(index, since, steps) for index, since, steps in saved.live}
    facts.queued = {index: revive(index, since, steps) for index, since, steps in saved.queued}
    facts.awake_through = saved.awake_through
    facts.has_suspended = saved.has_suspended
    facts.resumptions.extend(saved.resumptions)
    facts.forked = saved.forked
    facts.restarts = saved.restarts
    held = frozenset(saved.held)
    for item in (*facts.live.values(), *facts.queued.values()):
        item.cancelling, item.cancel_reason = item.index in saved.cancelling, saved.cancelling.get(item.index)
        item.idle = saved.idle.get(item.index, 0)
        item.stops = saved.stops.get(item.index, 0)
        item.spared = saved.spared.get(item.index, 0)
        item.held = item.index in held
    return facts


def _save(item: ItemRecord) -> _Item:
    return item.index, item.since, summarize(item)
