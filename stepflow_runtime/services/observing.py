"""What people look at while runs go on: the states of many items at once, and the component servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from protocol.errors import ErrorCode, RpcError
from protocol.observing import (
    STATE_LETTERS,
    ItemStatesParams,
    ItemStatesResult,
    ListServersResult,
    ServerInfo,
)
from protocol.runs import ItemState
from protocol.types import Empty
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.lineage import ENDED, read_chunk, read_lineage
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import SEGMENT_ITEMS, ItemRef, RunRecord, Store
from stepflow_runtime.services.listing import find_state
from stepflow_runtime.services.lookup import RunLookup
from stepflow_runtime.services.visibility import Visibility

DEFAULT_LIMIT: Final = 10_000

_ENDED: Final[Mapping[int, str]] = {
    ItemRef.SUCCESS: STATE_LETTERS[ItemState.SUCCESS],
    ItemRef.FAILED: STATE_LETTERS[ItemState.FAILED],
    ItemRef.CANCELLED: STATE_LETTERS[ItemState.CANCELLED],
}


class ObservingService:
    """Tells the states of items, and of servers.

    Args:
        executor, store: Hold the runs.
        visibility: Tells what a peer may see.
        find_servers: Tells how the component servers are.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        visibility: Visibility,
        find_servers: Callable[[], Sequence[ServerInfo]],
    ) -> None:
        self._executor = executor
        self._store = store
        self._lookup = RunLookup(executor, store)
        self._visibility = visibility
        self._find_servers = find_servers

    async def item_states(self, params: ItemStatesParams, connection: Connection) -> ItemStatesResult:
        """`runs/itemStates`: what `runs/items` says of each, without inputs and results.

        Raises:
            RpcError: `RUN_NOT_FOUND`.
        """
        found = await self._lookup.find(RunId(params.run_id))
        record = self._visibility.require(connection, found, params.run_id, params.observability)
        total = record.progress.total
        start = min(params.start_index or 0, total)
        end = min(start + (params.limit or DEFAULT_LIMIT), total)
        parts: list[str] = []
        for chunk in range(start // SEGMENT_ITEMS, -(-end // SEGMENT_ITEMS)):
            base = chunk * SEGMENT_ITEMS
            parts.append(await self._read_chunk(record, chunk, max(start, base), min(end, base + SEGMENT_ITEMS)))
            await trio.lowlevel.checkpoint()
        return ItemStatesResult("".join(parts), start, total)

    async def _read_chunk(self, record: RunRecord, chunk: int, first: int, end: int) -> str:
        places = await read_chunk(self._store, await read_lineage(self._store, record.spec), chunk, ENDED)
        run = self._executor.active(record.spec.run_id)
        facts = None if run is None else run.state.facts
        return "".join(
            _ENDED[places[index].ref & 3] if index in places else STATE_LETTERS[find_state(facts, index)]
            for index in range(first, end)
        )

    async def servers(self, params: Empty, connection: Connection) -> ListServersResult:
        """`servers/list`.

        Raises:
            RpcError: `NOT_AUTHENTICATED` for a component server: it need not know the others.
        """
        if connection.role == "server":
            raise RpcError(ErrorCode.NOT_AUTHENTICATED, "Component servers are told nothing of each other.")
        return ListServersResult(list(self._find_servers()))
