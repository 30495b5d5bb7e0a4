"""What every store tells of the runs of one tree together."""

from __future__ import annotations

import trio
import trio.testing

from stepflow_runtime.model.spec import ParentLink
from tests.contracts.store_kit import AnyStore, addition, create, name_run, step


async def test_rows_of_a_tree_come_in_the_order_of_their_commits(store: AnyStore) -> None:
    root = await create(store, 1)
    beside = await create(store, 2)
    child = await create(store, 3, root=root, parent=ParentLink(root))
    await store.commit([addition(store, root, 1, [step(0)], ended=1)])
    await store.commit([addition(store, beside, 1, [step(0)], ended=1)])
    write = addition(store, child, 1, [step(0)], ended=1)
    write.lease = store.lease(root)
    await store.commit([write])
    rows = await store.tree_journal(root, 0, 99)
    assert [(row.run_id, row.row.last_seq) for row in rows] == [(root, 1), (child, 1), (root, 2), (child, 2)]
    assert [row.row for row in rows if row.run_id == child] == await store.journal(child, 1, 99)
    positions = [row.position for row in rows]
    assert positions == sorted(set(positions))
    assert await store.tree_journal(root, positions[1], 1) == rows[2:3]
    assert await store.tree_journal(root, positions[-1], 9) == await store.tree_journal(name_run(9), 0, 9) == []


async def test_who_watches_a_tree_is_woken_by_a_commit_of_any_run_of_it(store: AnyStore) -> None:
    root = await create(store, 1)
    child = await create(store, 2, root=root, parent=ParentLink(root))
    end = (await store.tree_journal(root, 0, 99))[-1].position
    with trio.fail_after(10):
        await store.watch_tree(root, end - 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.watch_tree, root, end)
            await trio.testing.wait_all_tasks_blocked()
            write = addition(store, child, 1, [step(0)], ended=1)
            write.lease = store.lease(root)
            await store.commit([write])
    assert len(store.hub) == 0
