"""Requests to have a run go again that are repeated: what the first one did under its `requestId` is found again.

A fork has its request as an idempotency key, so the store lets there be one of them; that active steps of a run went
again is in the run's own journal. `forking` is above.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from protocol.errors import ErrorCode, RpcError
from protocol.forking import RestartParams, TimeTravelParams
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.facts import RunFacts
from stepflow_runtime.engine.recovery import load_facts
from stepflow_runtime.model.events import StepsRestarted
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import IdempotencyKey
from stepflow_runtime.ports import RunRecord, Store, StoreCorrupt
from stepflow_runtime.services.requests import hash_request

NOT_MEANT: Final = ("run_id", "request_id", "observability", "wait", "timeout_ms")
"""Fields in which a repeated request may differ from the first: what it does is the same."""


class ForkRequest(Struct, frozen=True):
    """A restart or a travel under an id.

    Args:
        run_id: The run that is to go again.
        principal: Whose id it is.
        id: As the request says.
        content: Hash of what must be the same when it is said again.
    """

    run_id: RunId
    principal: str
    id: str
    content: str

    @property
    def key(self) -> IdempotencyKey:
        """Of the fork that it makes."""
        return IdempotencyKey(self.principal, f"fork/{self.run_id}/{self.id}", self.content)

    @property
    def event(self) -> StepsRestarted:
        """What a run notes whose active steps it has go again."""
        return StepsRestarted(self.id, self.content)

    def was_made(self, facts: RunFacts) -> bool:
        """Whether the run had its active steps go again by this request.

        Raises:
            RpcError: `CONFLICT` if it was by another one with its id.
        """
        if self.id not in facts.restarts:
            return False
        self.check(facts.restarts[self.id])
        return True

    def check(self, content: str | None) -> None:
        """Refuses something else under an id that was used.

        Raises:
            RpcError: `CONFLICT`.
        """
        if content != self.content:
            message = f"the requestId {self.id!r} was used for another restart or travel of this run: use a new one"
            raise RpcError(ErrorCode.CONFLICT, message, runId=self.run_id)


def read_request(params: RestartParams | TimeTravelParams, principal: str) -> ForkRequest | None:
    """The request that may be repeated, if it has an id."""
    if params.request_id is None:
        return None
    indexes = None if params.item_indexes is None else sorted(set(params.item_indexes))
    content = hash_request(msgspec.structs.replace(params, item_indexes=indexes), NOT_MEANT)
    return ForkRequest(RunId(params.run_id), principal, params.request_id, content)


class ForkRequests:
    """Finds what requests did that are repeated."""

    def __init__(self, executor: Executor, store: Store) -> None:
        self._executor = executor
        self._store = store

    async def find(self, request: ForkRequest, record: RunRecord) -> RunRecord | None:
        """The run that the first such request gave: a fork, or the run itself; `None` if this is the first.

        Args:
            request: What is asked.
            record: The run that is to go again.

        Raises:
            RpcError: `CONFLICT` if the first one asked for something else.
        """
        fork = await self._store.run_by_idempotency_key(request.principal, request.key.key)
        if fork is not None:
            theirs = fork.spec.idempotency
            request.check(None if theirs is None else theirs.content)
            return fork
        run = self._executor.active(request.run_id)
        facts = await self._read_facts(request.run_id) if run is None else run.state.facts
        return record if request.was_made(facts) else None

    async def _read_facts(self, run_id: RunId) -> RunFacts:
        """Of a run that has ended. One that is damaged remembers nothing, and can be forked nevertheless."""
        try:
            return await load_facts(self._store, run_id)
        except StoreCorrupt:
            return RunFacts()
