"""A fork and the run that it goes on from, in every store: the one needs the other."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.model.spec import Fork, RunSpec
from stepflow_runtime.ports import Committed, Conflict, RunFilter
from tests.contracts.store_kit import AnyStore, addition, creation, name_run, specify


def fork_of(origin: RunId, number: int) -> RunSpec:
    return replace(specify(name_run(number)), fork=Fork(lineage=(origin,), origin_seq=2))


async def create_ended(store: AnyStore, spec: RunSpec) -> RunId:
    assert await store.commit([creation(store, spec)]) == [Committed(1)]
    last = addition(store, spec.run_id, 1, [], status=RunState.SUCCESS)
    assert await store.commit([last]) == [Committed(1)]
    return spec.run_id


async def test_a_run_is_not_deleted_while_a_fork_needs_it(store: AnyStore) -> None:
    origin = await create_ended(store, specify(name_run(1)))
    fork = await create_ended(store, fork_of(origin, 2))
    with pytest.raises(ValueError, match="is needed by its fork"):
        await store.delete([origin])
    assert await store.run(origin) is not None
    await store.delete([fork])
    await store.delete([origin])
    assert await store.run(origin) is None


async def test_a_run_and_its_fork_are_deleted_together(store: AnyStore) -> None:
    origin = await create_ended(store, specify(name_run(1)))
    fork = await create_ended(store, fork_of(origin, 2))
    await store.delete([origin, fork])
    assert await store.runs(RunFilter(), None, 10) == []


async def test_nothing_is_forked_from_a_run_that_is_gone(store: AnyStore) -> None:
    other = specify(name_run(3))
    results = await store.commit([creation(store, fork_of(name_run(1), 2)), creation(store, other)])
    assert isinstance(results[0], Conflict)
    assert "was deleted" in results[0].reason
    assert results[1] == Committed(1)
    assert await store.run(name_run(2)) is None


async def test_forks_are_found_by_the_run_that_they_come_from(store: AnyStore) -> None:
    origin = await create_ended(store, specify(name_run(1)))
    fork = await create_ended(store, fork_of(origin, 2))
    (found,) = await store.runs(RunFilter(forked_from=origin), None, 10)
    assert found.spec.run_id == fork
    assert found.spec.fork == Fork(lineage=(origin,), origin_seq=2)
