"""What is read of the store so that items can go on: inputs by index, events by sequence number."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec
from msgspec import Raw

from stepflow_runtime.engine.inputs import split_segment
from stepflow_runtime.model.events import AnyEvent, decode_events
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import InputSegment, JournalRow, Store, StoreCorrupt

_inputs_decoder = msgspec.json.Decoder(list[Raw])

MAX_ROWS: Final = 256
"""Journal rows read at once, where events that are wanted lie side by side."""


def decode_row(run_id: RunId, row: JournalRow) -> list[AnyEvent]:
    """The events of a journal row.

    Raises:
        StoreCorrupt: They are not what was written.
    """
    try:
        events = decode_events(row.events)
    except msgspec.DecodeError as error:
        raise lose_events(run_id, row.first_seq, str(error)) from None
    if len(events) != row.last_seq - row.first_seq + 1:
        raise lose_events(run_id, row.first_seq, f"there are {len(events)}, up to {row.last_seq}")
    return events


def lose_events(run_id: RunId, seq: int, why: str) -> StoreCorrupt:
    """What is raised when events cannot be read."""
    return StoreCorrupt(f"the events of run {run_id} from {seq} on were damaged in the store ({why})")


async def read_segment(store: Store, spec: RunSpec, index: int) -> InputSegment:
    """The inputs among which is that of an item.

    Raises:
        StoreCorrupt: They are gone, or not what was written.
    """
    segment = await store.inputs(spec.inputs_of, index)
    try:
        if segment is None:
            raise ValueError("they are gone")
        values = split_segment(segment)
        if len(values) != segment.count:
            raise ValueError(f"there are {len(values)}, not {segment.count}")
        _inputs_decoder.decode(b"[%b]" % b",".join(values))
    except ValueError as error:  # of which that of msgspec is one
        message = f"the inputs of run {spec.inputs_of} around item {index} were damaged in the store ({error})"
        raise StoreCorrupt(message) from None
    return segment


async def read_inputs(store: Store, spec: RunSpec, indexes: Iterable[int]) -> dict[int, bytes]:
    """The inputs of items, raw JSON, by index.

    Raises:
        StoreCorrupt: They were damaged.
    """
    inputs: dict[int, bytes] = {}
    values: list[bytes] = []
    first = 0
    for index in sorted(indexes):
        if not first <= index < first + len(values):
            segment = await read_segment(store, spec, index)
            first, values = segment.first_index, split_segment(segment)
        inputs[index] = values[index - first]
    return inputs


async def read_events(store: Store, run_id: RunId, seqs: Iterable[int]) -> dict[int, AnyEvent]:
    """Events by sequence number."""
    return {seq: event async for seq, event in iterate_events(store, run_id, seqs)}


async def iterate_events(store: Store, run_id: RunId, seqs: Iterable[int]) -> AsyncIterator[tuple[int, AnyEvent]]:
    """Events with their sequence numbers, in ascending order.

    Raises:
        StoreCorrupt: They were damaged.
    """
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
            if not left or left[0].first_seq > seq:
                raise lose_events(run_id, seq, "they are gone")
            rows = left
            decoded = decode_row(run_id, rows[0])
        yield seq, decoded[seq - rows[0].first_seq]
