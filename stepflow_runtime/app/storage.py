"""Where a runtime keeps its state, as its configuration wants it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from stepflow_runtime.app.config import Config, MemoryStorage, SqliteStorage
from stepflow_runtime.ports import BlobStore, ByproductStore, Deliveries, Registry, Store


class RunsAndBlobs(Store, BlobStore, Protocol):
    """All that is stored, as the stores offer it, and how the runtime before ended, and this one will."""

    after_clean_stop: bool
    stops_cleanly: bool

    @property
    def byproducts(self) -> ByproductStore: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def deliveries(self) -> Deliveries: ...


def open_store(config: Config) -> AbstractAsyncContextManager[RunsAndBlobs]:
    """Opens what `storage` names.

    Raises:
        StoreUnavailable: Another runtime has it, or the disk refuses.
        StoreCorrupt: What is there is not a state that this version can use.
    """
    match config.storage:
        case SqliteStorage(path=path):
            from stepflow_runtime.store.sqlite import open_sqlite

            return open_sqlite(path)
        case MemoryStorage():
            from stepflow_runtime.store.memory import open_memory

            return open_memory()
