"""What a run makes beside its results: streams, artifacts, checkpoints. Written with its commits, and deleted with it.

They are no events: nothing in a run follows from them, so a journal is folded without them. As they are part of a
`RunWrite`, they are written under the run's lease, in the order of its journal, and never after its end.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from protocol.byproducts import Encoding
from stepflow_runtime.model.ids import BlobId, RunId


class StreamWrite(Struct, frozen=True, array_like=True):
    """Chunks that one writer wrote at once.

    Args:
        namespace: Which stream of the run.
        first_index: Of the chunks, which follow each other.
        count: How many they are, at least one.
        encoding: Of all of them.
        writer: Which step of which item wrote them; `None` for a client.
        key: Under which they are found again; unique in the stream.
        data: The chunks as raw JSON, joined by newlines.
    """

    namespace: str
    first_index: int
    count: int
    encoding: Encoding
    writer: str | None
    key: str | None
    data: bytes


class StreamState(Struct, frozen=True, array_like=True):
    """How far a stream has got: `tail` chunks, of `size` bytes together. It is also closed when its run has ended."""

    namespace: str
    tail: int = 0
    size: int = 0
    closed: bool = False


class Checkpoint(Struct, frozen=True, array_like=True):
    """The value, raw JSON, that a step of an item keeps under a key."""

    item_index: int
    step_id: str
    key: str
    value: bytes


class ArtifactRecord(Struct, frozen=True, array_like=True):
    """A named blob of a run."""

    artifact_id: str
    item_index: int | None
    name: str
    type: str | None
    mime_type: str
    size: int
    blob_id: BlobId
    created_at_ms: int


class Byproducts(Struct):
    """What one commit brings: `streams` are all that changed, as they are after it."""

    writes: list[StreamWrite] = []
    streams: list[StreamState] = []
    checkpoints: list[Checkpoint] = []
    artifacts: list[ArtifactRecord] = []

    @property
    def weight(self) -> int:
        """How much there is to write, in events."""
        payload = sum(len(write.data) for write in self.writes) + sum(len(kept.value) for kept in self.checkpoints)
        return len(self.writes) + len(self.checkpoints) + len(self.artifacts) + payload // 100


class ByproductStore(Protocol):
    """Reads what runs made beside their results. Of a run that is not there, nothing is there."""

    async def streams(self, run_id: RunId) -> list[StreamState]:
        """All streams of a run, by namespace."""
        ...

    async def stream(self, run_id: RunId, namespace: str) -> StreamState | None:
        """One stream, an empty one if nothing was written yet; `None` if there is no such run."""
        ...

    async def watch_stream(self, run_id: RunId, namespace: str, tail: int) -> StreamState | None:
        """Returns once the stream has more than `tail` chunks, or is closed, or its run is gone.

        Returns at once when that is true already. Woken by the commit, never by a timer.
        """
        ...

    async def writes(self, run_id: RunId, namespace: str, index: int, max_writes: int) -> list[StreamWrite]:
        """Writes in order, beginning with the one that holds this chunk."""
        ...

    async def writes_of(self, run_id: RunId, namespace: str, writer: str) -> list[StreamWrite]:
        """The writes of one writer that have no key, in order."""
        ...

    async def has_write(self, run_id: RunId, namespace: str, key: str) -> bool:
        """Whether a write with this key is there."""
        ...

    async def checkpoint(self, run_id: RunId, item_index: int, step_id: str, key: str) -> bytes | None:
        """The value that was kept."""
        ...

    async def count_checkpoints(self, run_id: RunId, item_index: int, step_id: str) -> int:
        """How many keys of a step have a value."""
        ...

    async def artifacts(self, run_id: RunId) -> list[ArtifactRecord]:
        """All artifacts of a run, in the order in which they were put."""
        ...
