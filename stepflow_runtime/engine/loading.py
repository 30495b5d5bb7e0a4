"""What is read of the store so that items can go on: inputs by index, events by sequence number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.model.events import AnyEvent, RunSpec, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import JournalRow, Store

MAX_ROWS: Final = 256
"""Journal rows read at once, where events that are wanted lie side by side."""


async def read_inputs(store: Store, spec: RunSpec, indexes: Iterable[int]) -> dict[int, bytes]:
    """The inputs of items, raw JSON, by index."""
    run_id = spec.inputs_of
    inputs: dict[int, bytes] = {}
    values: list[bytes] = []
    first = 0
    for index in sorted(indexes):
        if not first <= index < first + len(values):
            segment = await store.inputs(run_id, index)
            assert segment is not None, f"run {run_id} has no input {index}"
            first, values = segment.first_index, split_segment(segment)
        inputs[index] = values[index - first]
    return inputs


async def read_events(store: Store, run_id: RunId, seqs: Iterable[int]) -> dict[int, AnyEvent]:
    """Events by sequence number."""
    return {seq: event async for seq, event in iterate_events(store, run_id, seqs)}


async def iterate_events(store: Store, run_id: RunId, seqs: Iterable[int]) -> AsyncIterator[tuple[int, AnyEvent]]:
    """Events with their sequence numbers, in ascending order."""
    rows: list[JournalRow] = []
    decoded: list[AnyEvent] = []
    wanted = 1
    for seq in sorted(set(seqs)):
        if not rows or seq > rows[0].last_seq:
            left = [row for row in rows if seq <= row.last_seq]
            if not left:
                is_near = bool(rows) and seq <= rows[-1].last_seq + len(decoded) + 2
                wanted = min(wanted * 2, MAX_ROWS) if is_near else 1
                left = await store.journal(run_id, seq, wanted)
            rows = left
            decoded = decode_events(rows[0].events)
        yield seq, decoded[seq - rows[0].first_seq]
