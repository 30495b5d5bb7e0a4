"""What runs made beside their results, in dictionaries; see `memory`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Protocol

from msgspec.structs import replace

from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import ArtifactRecord, Byproducts, RunRecord, StreamState, StreamWrite
from stepflow_runtime.store.watch import WatchHub, is_further


class _Runs(Protocol):
    """The store that it is a part of."""

    hub: WatchHub

    async def run(self, run_id: RunId) -> RunRecord | None: ...


class _OfRun:
    """The byproducts of one run."""

    __slots__ = ("artifacts", "checkpoints", "streams", "writes")

    def __init__(self) -> None:
        self.streams: dict[str, StreamState] = {}
        self.writes: dict[str, list[StreamWrite]] = {}
        self.checkpoints: dict[tuple[int, str], dict[str, bytes]] = {}
        self.artifacts: list[ArtifactRecord] = []


class MemoryByproducts:
    """Implements `ports.ByproductStore`."""

    def __init__(self, runs: _Runs) -> None:
        self._runs = runs
        self._by_run: dict[RunId, _OfRun] = {}

    def add(self, run_id: RunId, byproducts: Byproducts) -> None:
        """Takes in what a commit brought, and wakes who waits for it. What is there already is left as it is."""
        kept = self._by_run.setdefault(run_id, _OfRun())
        for write in byproducts.writes:
            writes = kept.writes.setdefault(write.namespace, [])
            if not writes or writes[-1].first_index < write.first_index:
                writes.append(write)
        for checkpoint in byproducts.checkpoints:
            place = (checkpoint.item_index, checkpoint.step_id)
            kept.checkpoints.setdefault(place, {}).setdefault(checkpoint.key, checkpoint.value)
        kept.artifacts.extend(artifact for artifact in byproducts.artifacts if artifact not in kept.artifacts)
        for stream in byproducts.streams:
            kept.streams[stream.namespace] = stream
            self._runs.hub.notify(run_id, stream)

    def forget(self, run_id: RunId) -> None:
        """The run was deleted."""
        self._by_run.pop(run_id, None)

    def _of(self, run_id: RunId) -> _OfRun:
        return self._by_run.get(run_id) or _OfRun()

    async def streams(self, run_id: RunId) -> list[StreamState]:
        return [stream for _, stream in sorted(self._of(run_id).streams.items())]

    async def stream(self, run_id: RunId, namespace: str) -> StreamState | None:
        record = await self._runs.run(run_id)
        if record is None:
            return None
        stream = self._of(run_id).streams.get(namespace) or StreamState(namespace)
        return replace(stream, closed=stream.closed or record.progress.status in TERMINAL_RUN_STATES)

    async def watch_stream(self, run_id: RunId, namespace: str, tail: int) -> StreamState | None:
        stream = await self.stream(run_id, namespace)
        if stream is not None and not is_further(stream, tail):
            await self._runs.hub.wait_stream(run_id, namespace, tail)
            stream = await self.stream(run_id, namespace)
        return stream

    async def writes(self, run_id: RunId, namespace: str, index: int, max_writes: int) -> list[StreamWrite]:
        writes = self._of(run_id).writes.get(namespace, [])
        first = bisect_left(writes, index, key=lambda write: write.first_index + write.count - 1)
        return writes[first : first + max_writes]

    async def writes_of(self, run_id: RunId, namespace: str, writer: str) -> list[StreamWrite]:
        writes = self._of(run_id).writes.get(namespace, [])
        return [write for write in writes if write.writer == writer and write.key is None]

    async def has_write(self, run_id: RunId, namespace: str, key: str) -> bool:
        return any(write.key == key for write in self._of(run_id).writes.get(namespace, []))

    async def checkpoint(self, run_id: RunId, item_index: int, step_id: str, key: str) -> bytes | None:
        return self._checkpoints(run_id, item_index, step_id).get(key)

    async def count_checkpoints(self, run_id: RunId, item_index: int, step_id: str) -> int:
        return len(self._checkpoints(run_id, item_index, step_id))

    def _checkpoints(self, run_id: RunId, item_index: int, step_id: str) -> Mapping[str, bytes]:
        return self._of(run_id).checkpoints.get((item_index, step_id), {})

    async def artifacts(self, run_id: RunId) -> list[ArtifactRecord]:
        return list(self._of(run_id).artifacts)
