"""What an active run makes beside its results, between the request that adds it and the commit that brings it. Pure.

The runtime that owns a run is the only one that writes to it, so how far its streams have got is known here at once: an
index is given when a chunk is added, and the chunk is durable with the run's next commit. What is on its way is found
here, as the store does not have it yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from stepflow_runtime.ports import ArtifactRecord, Byproducts, Checkpoint, StreamState, StreamWrite

Place = tuple[int, str, str]
"""Item, step and key of a checkpoint."""


class _Share:
    """What one commit brings, and how it is found while it is on its way."""

    __slots__ = ("byproducts", "changed", "keys", "values")

    def __init__(self) -> None:
        self.byproducts = Byproducts()
        self.changed: set[str] = set()
        self.keys: set[tuple[str, str]] = set()
        self.values: dict[Place, bytes] = {}


class RunByproducts:
    """The byproducts of one run that are not durable yet, and its streams and artifacts as the store has them.

    Args:
        streams: All that the store has.
        artifacts: All that the store has, in their order.

    Attributes:
        artifacts: By id, with what is not durable yet.
        takes: How often `take` was called. What was added is found here until it has been called twice since.
    """

    __slots__ = ("_added", "_streams", "_taken", "artifacts", "takes")

    def __init__(self, streams: Iterable[StreamState], artifacts: Iterable[ArtifactRecord]) -> None:
        self._streams = {stream.namespace: stream for stream in streams}
        self.artifacts = {artifact.artifact_id: artifact for artifact in artifacts}
        self._added = _Share()
        self._taken = _Share()
        self.takes = 0

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def stream(self, namespace: str) -> StreamState | None:
        """A stream, with what is not durable yet; `None` if nothing was written."""
        return self._streams.get(namespace)

    def write(self, write: StreamWrite) -> None:
        """Adds chunks to the end of a stream."""
        before = self._streams.get(write.namespace) or StreamState(write.namespace)
        assert write.first_index == before.tail, "chunks go to the end of a stream"
        self._change(StreamState(write.namespace, before.tail + write.count, before.size + len(write.data)))
        self._added.byproducts.writes.append(write)
        if write.key is not None:
            self._added.keys.add((write.namespace, write.key))

    def close(self, namespace: str) -> None:
        """No more chunks come."""
        before = self._streams.get(namespace) or StreamState(namespace)
        self._change(StreamState(namespace, before.tail, before.size, True))

    def _change(self, stream: StreamState) -> None:
        self._streams[stream.namespace] = stream
        self._added.changed.add(stream.namespace)

    def put_artifact(self, artifact: ArtifactRecord) -> None:
        """Adds an artifact whose id is new."""
        self.artifacts[artifact.artifact_id] = artifact
        self._added.byproducts.artifacts.append(artifact)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Adds a checkpoint whose place is free."""
        self._added.byproducts.checkpoints.append(checkpoint)
        self._added.values[checkpoint.item_index, checkpoint.step_id, checkpoint.key] = checkpoint.value

    def has_write(self, namespace: str, key: str) -> bool:
        """Whether chunks with this key are on their way to the store."""
        return (namespace, key) in self._added.keys or (namespace, key) in self._taken.keys

    def checkpoint(self, place: Place) -> bytes | None:
        """A value that is on its way to the store."""
        return self._added.values.get(place) or self._taken.values.get(place)

    def take(self) -> Byproducts | None:
        """All that was added since the last call, if anything was; what that call gave is durable now."""
        self.takes += 1
        self._taken, self._added = self._added, _Share()
        byproducts, changed = self._taken.byproducts, self._taken.changed
        byproducts.streams = [self._streams[namespace] for namespace in sorted(changed)]
        has_any = changed or byproducts.checkpoints or byproducts.artifacts
        return byproducts if has_any else None
