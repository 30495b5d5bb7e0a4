"""What the engine and the services need of the world, as Protocols, and the records that cross them.

Pure: no adapter is known here. `store/` implements `Store` and `BlobStore`, `connect/` implements `ComponentCaller`,
`app/` gives clock and ids. The ports are written for several runtimes over one database: a lease is checked in every
write, effects from run to run are outbox messages, and all reads may wait.
"""

from __future__ import annotations

from stepflow_runtime.ports.byproducts import (
    ArtifactRecord,
    Byproducts,
    ByproductStore,
    Checkpoint,
    StreamState,
    StreamWrite,
)
from stepflow_runtime.ports.calling import Answered, ComponentCaller, ComponentCatalog, Execution, ExecutionSink
from stepflow_runtime.ports.delivering import (
    Announcer,
    Deliveries,
    Delivery,
    DeliveryFilter,
    Sealer,
    Sender,
    SendFailed,
)
from stepflow_runtime.ports.records import (
    SEGMENT_ITEMS,
    SHARDS,
    SLEEPS,
    CommitResult,
    Committed,
    Conflict,
    Fenced,
    InputSegment,
    ItemRef,
    JournalRow,
    Lease,
    Message,
    ResultChunk,
    RunFilter,
    RunProgress,
    RunRecord,
    RunWrite,
    TreeRow,
    WatchFor,
)
from stepflow_runtime.ports.registry import Entry, Key, Kind, Registry
from stepflow_runtime.ports.storage import BlobStore, Store, StoreCorrupt, StoreUnavailable
from stepflow_runtime.ports.world import Clock, Ids, SecretSource

__all__ = [
    "SEGMENT_ITEMS",
    "SHARDS",
    "SLEEPS",
    "Announcer",
    "Answered",
    "ArtifactRecord",
    "BlobStore",
    "ByproductStore",
    "Byproducts",
    "Checkpoint",
    "Clock",
    "CommitResult",
    "Committed",
    "ComponentCaller",
    "ComponentCatalog",
    "Conflict",
    "Deliveries",
    "Delivery",
    "DeliveryFilter",
    "Entry",
    "Execution",
    "ExecutionSink",
    "Fenced",
    "Ids",
    "InputSegment",
    "ItemRef",
    "JournalRow",
    "Key",
    "Kind",
    "Lease",
    "Message",
    "Registry",
    "ResultChunk",
    "RunFilter",
    "RunProgress",
    "RunRecord",
    "RunWrite",
    "Sealer",
    "SecretSource",
    "SendFailed",
    "Sender",
    "Store",
    "StoreCorrupt",
    "StoreUnavailable",
    "StreamState",
    "StreamWrite",
    "TreeRow",
    "WatchFor",
]
