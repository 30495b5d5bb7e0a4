"""Whom every store wakes, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import RunProgress, WatchFor
from tests.contracts.store_kit import AnyStore, addition, create, end, name_run, step

Seen = list[RunProgress | None]


async def watching(
    store: AnyStore, run_id: RunId, after: int, until: WatchFor, then: Callable[[], Awaitable[object]]
) -> Seen:
    """What a watcher that waits when `then` begins has seen when it is over."""
    seen: Seen = []

    async def watch() -> None:
        seen.append(await store.watch(run_id, after, until))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            await then()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    return seen


async def nothing() -> None:
    pass


async def test_a_commit_wakes_who_waits_for_a_change(store: AnyStore) -> None:
    run_id = await create(store, 1)
    (progress,) = await watching(store, run_id, 1, WatchFor.CHANGE, lambda: end(store, run_id))
    assert progress is not None
    assert (progress.seq, progress.status) == (2, RunState.SUCCESS)


async def test_who_comes_late_returns_at_once(store: AnyStore) -> None:
    run_id = await create(store, 1)
    (progress,) = await watching(store, run_id, 0, WatchFor.CHANGE, nothing)
    assert progress is not None
    assert progress.seq == 1
    await end(store, run_id)
    (progress,) = await watching(store, run_id, 0, WatchFor.TERMINAL, nothing)
    assert progress is not None
    assert progress.status is RunState.SUCCESS


async def test_who_waits_for_the_end_sleeps_through_all_before(store: AnyStore) -> None:
    run_id = await create(store, 1)

    async def go_on() -> None:
        await store.commit([addition(store, run_id, 1, [step(0)], ended=1)])

    assert await watching(store, run_id, 0, WatchFor.TERMINAL, go_on) == []
    (progress,) = await watching(store, run_id, 0, WatchFor.TERMINAL, lambda: end(store, run_id, after=2))
    assert progress is not None
    assert (progress.seq, progress.status) == (3, RunState.SUCCESS)


async def test_a_commit_that_does_not_reach_the_number_wakes_nobody(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await watching(store, run_id, 2, WatchFor.CHANGE, lambda: end(store, run_id)) == []


async def test_other_runs_wake_nobody(store: AnyStore) -> None:
    first, second = await create(store, 1), await create(store, 2)
    assert await watching(store, first, 1, WatchFor.CHANGE, lambda: end(store, second)) == []


async def test_a_refused_write_wakes_nobody(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await watching(store, run_id, 1, WatchFor.CHANGE, lambda: end(store, run_id, after=5)) == []


async def test_deleting_a_run_wakes_who_waits_for_it(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await end(store, run_id)
    assert await watching(store, run_id, 2, WatchFor.CHANGE, lambda: store.delete([run_id])) == [None]


async def test_a_run_that_is_not_there_is_gone(store: AnyStore) -> None:
    assert await watching(store, name_run(1), 0, WatchFor.CHANGE, nothing) == [None]


@pytest.mark.parametrize("until", list(WatchFor))
async def test_all_watchers_of_a_run_are_woken_by_one_commit(store: AnyStore, until: WatchFor) -> None:
    run_id = await create(store, 1)
    seen: Seen = []

    async def watch() -> None:
        seen.append(await store.watch(run_id, 1, until))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(watch)
            await wait_all_tasks_blocked()
            await end(store, run_id)
    assert len(seen) == 50
    assert len(store.hub) == 0


async def test_a_watcher_that_is_cancelled_leaves_nothing_behind(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await watching(store, run_id, 1, WatchFor.CHANGE, nothing) == []
    assert len(store.hub) == 0
