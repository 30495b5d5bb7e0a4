"""Where the items of a run are to be found: result chunks while they are still open. Pure.

The journal holds the results; a chunk holds, for `SEGMENT_ITEMS` consecutive items, the sequence numbers of the events
that ended them. An item that is parked is found in the same way, by the event that parked it: eight bytes are all that
is kept of it. A chunk is in memory from its first item that is parked or has ended to the end of its last.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from stepflow_runtime.ports import SEGMENT_ITEMS, SLEEPS, ItemRef, ResultChunk

ENDED: Final = 3
"""The bits of an entry that say how its item ended; none is set if it has not."""

_NO_REFS: Final = array("Q")


class ResultIndex:
    """The open result chunks of one run, and which of them the next commit must write."""

    __slots__ = ("_left", "_refs", "_touched")

    def __init__(self) -> None:
        self._refs: dict[int, array[int]] = {}
        self._left: dict[int, int] = {}
        self._touched: set[int] = set()

    def end(self, items: Iterable[int], first_seq: int, how: ItemRef) -> None:
        """Notes which events in a row ended items, one each. Of an item the first one counts."""
        chunk, refs = -1, _NO_REFS
        for seq, index in enumerate(items, first_seq):
            number, position = divmod(index, SEGMENT_ITEMS)
            if number != chunk or position >= len(refs):
                chunk, refs = number, self._open(number, position + 1)
                self._touched.add(chunk)
            if not refs[position] & ENDED:
                refs[position] = seq << 2 | how
                self._left[chunk] -= 1

    def end_all(self, first: int, last: int, seq: int, how: ItemRef) -> int:
        """Ends those of the items `first` to `last` inclusive that have not ended; returns how many that were."""
        ended = 0
        for chunk in range(first // SEGMENT_ITEMS, last // SEGMENT_ITEMS + 1):
            low = max(first - chunk * SEGMENT_ITEMS, 0)
            high = min(last - chunk * SEGMENT_ITEMS, SEGMENT_ITEMS - 1)
            refs = self._open(chunk, high + 1)
            if refs[low : high + 1].count(0) == high - low + 1:
                refs[low : high + 1] = array("Q", [seq << 2 | how]) * (high - low + 1)
                open_before = high - low + 1
            else:
                still_open = [position for position in range(low, high + 1) if not refs[position] & ENDED]
                for position in still_open:
                    refs[position] = seq << 2 | how
                open_before = len(still_open)
            if open_before:
                self._left[chunk] -= open_before
                self._touched.add(chunk)
                ended += open_before
        return ended

    def park(self, index: int, seq: int, sleeps: bool) -> None:
        """Notes which event parked an item, and whether it goes on by itself."""
        chunk, position = divmod(index, SEGMENT_ITEMS)
        self._open(chunk, position + 1)[position] = seq << 2 | (SLEEPS if sleeps else 0)
        self._touched.add(chunk)

    def wake(self, index: int) -> None:
        """The item is parked no more."""
        chunk, position = divmod(index, SEGMENT_ITEMS)
        self._open(chunk, position + 1)[position] = 0
        self._touched.add(chunk)

    def find_parked(self, index: int) -> int:
        """The entry of an item if it is parked, else 0."""
        ref = ref_of(self._refs.get(index // SEGMENT_ITEMS, ()), index)
        return 0 if ref & ENDED else ref

    def iterate_parked(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """The parked items from index `first` on, in order, with their entries."""
        for chunk in sorted(chunk for chunk in self._refs if chunk >= first // SEGMENT_ITEMS):
            for index, ref in enumerate(self._refs[chunk], chunk * SEGMENT_ITEMS):
                if ref and not ref & ENDED and index >= first:
                    yield index, ref

    def take_touched(self) -> list[ResultChunk]:
        """The chunks that changed since the last call, whole; those that are full are forgotten."""
        taken: list[ResultChunk] = []
        for chunk in sorted(self._touched):
            taken.append(ResultChunk(chunk, encode_refs(self._refs[chunk])))
            if self._left[chunk] == 0:
                del self._refs[chunk], self._left[chunk]
        self._touched.clear()
        return taken

    def restore(self, chunks: Iterable[ResultChunk]) -> None:
        """Takes back chunks that were read from the store."""
        for chunk in chunks:
            refs = decode_refs(chunk.refs)
            left = SEGMENT_ITEMS - sum(1 for ref in refs if ref & ENDED)
            if left:
                self._refs[chunk.chunk] = refs
                self._left[chunk.chunk] = left

    def _open(self, chunk: int, size: int) -> array[int]:
        """The entries of a chunk, at least `size` of them."""
        refs = self._refs.get(chunk)
        if refs is None:
            refs = self._refs[chunk] = array("Q")
            self._left[chunk] = SEGMENT_ITEMS
        if len(refs) < size:
            refs.frombytes(bytes(8 * (size - len(refs))))
        return refs


def decode_refs(data: bytes) -> array[int]:
    """The entries of a result chunk, see `ports.ResultChunk`; beyond their end there are only zeros."""
    refs: array[int] = array("Q")
    refs.frombytes(data)
    if sys.byteorder == "big":
        refs.byteswap()
    return refs


def ref_of(refs: Sequence[int], index: int) -> int:
    """The entry of an item in its chunk."""
    position = index % SEGMENT_ITEMS
    return refs[position] if position < len(refs) else 0


def seq_of(ref: int) -> int:
    """The sequence number in an entry."""
    return (ref & ~SLEEPS) >> 2


def encode_refs(refs: array[int]) -> bytes:
    """The inverse of `decode_refs`."""
    if sys.byteorder == "big":
        refs = refs[:]
        refs.byteswap()
    return refs.tobytes()
