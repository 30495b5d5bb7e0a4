"""What runs make beside their results, all services of it put together: streams, checkpoints, artifacts."""

from __future__ import annotations

from stepflow_runtime.connect.connection import Connections
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.ports import ByproductStore, Clock, Store
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.additions import Additions, ByproductLimits
from stepflow_runtime.services.byproducts.artifacts import ArtifactService
from stepflow_runtime.services.byproducts.checkpoints import CheckpointService
from stepflow_runtime.services.byproducts.stream_writing import StreamWriter
from stepflow_runtime.services.byproducts.streams import StreamReader
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.services.waiting import Waiting


class ByproductService:
    """The services of one runtime.

    Args:
        executor: Has the runs that have not ended.
        store: Has all runs.
        byproducts: Has what they made.
        blobs: Has the content of artifacts.
        connections: Tells which execution a request belongs to.
        visibility: Tells what a peer may see.
        clock: Gives artifacts their time.
        limits: Of all of them.
        max_answer_bytes: Of one answer.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        byproducts: ByproductStore,
        blobs: BlobService,
        connections: Connections,
        visibility: Visibility,
        clock: Clock,
        limits: ByproductLimits,
        max_answer_bytes: int,
    ) -> None:
        additions = Additions(executor, store, byproducts, connections, visibility)
        lookup = RunLookup(executor, store)
        self.writer = StreamWriter(additions, byproducts, limits)
        self.reader = StreamReader(byproducts, lookup, connections, visibility, Waiting(executor), max_answer_bytes)
        self.checkpoints = CheckpointService(additions, byproducts, limits)
        self.artifacts = ArtifactService(additions, byproducts, blobs, lookup, visibility, clock, limits)
