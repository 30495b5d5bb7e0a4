"""Opens a runtime: the store, then the component servers, then all the rest.

Only who holds the lock on a database may sweep up what the runtime before left, and only then may servers start; they
come up while this process imports the composition root.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from stepflow_runtime.app.config import Config, SqliteStorage
from stepflow_runtime.app.processes import ServerProcesses
from stepflow_runtime.app.storage import open_store
from stepflow_runtime.connect import leftovers

if TYPE_CHECKING:
    from stepflow_runtime.app.runtime import Runtime


@asynccontextmanager
async def open_runtime(config: Config) -> AsyncGenerator[Runtime]:
    """A running runtime.

    Raises:
        StoreUnavailable: The state cannot be opened: another runtime has it, or the disk refuses.
        StoreCorrupt: What is there is not a state that this version can use.
        ValueError: The configuration cannot be carried out; the message says why.

    Cancellation: Component servers are stopped; what was in flight is taken up at the next start.
    """
    async with open_store(config) as store:
        if isinstance(config.storage, SqliteStorage):
            await leftovers.sweep(config.storage.path)
        processes = ServerProcesses(config)
        async with processes.head_start():
            from stepflow_runtime.app.runtime import Runtime

            runtime = Runtime(config, store, processes=processes)
            try:
                async with trio.open_nursery() as nursery:
                    await nursery.start(runtime.run)
                    yield runtime
                    nursery.cancel_scope.cancel()
            finally:
                store.stops_cleanly = not runtime.has_failed
                if runtime.tracing is not None:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(runtime.tracing.close)
