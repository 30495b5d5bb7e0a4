"""What every store does with writes."""

from __future__ import annotations

import pytest
import trio

from protocol.runs import RunState
from stepflow_runtime.model.events import RunCompleted, decode_events
from stepflow_runtime.model.spec import ParentLink
from stepflow_runtime.ports import (
    Committed,
    Conflict,
    Fenced,
    InputSegment,
    Lease,
    Message,
    ResultChunk,
    RunRecord,
)
from stepflow_runtime.store.leases import find_shard
from tests.contracts.store_kit import AnyStore, addition, create, creation, end, name_run, specify, step


async def test_a_run_is_read_as_it_was_written(store: AnyStore) -> None:
    spec = specify(name_run(1), labels={"team": "x"}, key="k", flow_name="Daily")
    write = creation(store, spec)
    assert await store.commit([write]) == [Committed(1)]
    record = await store.run(spec.run_id)
    assert record is not None
    assert record.spec == spec
    assert record.progress.seq == 1
    assert record.progress.status is RunState.PENDING
    assert record.progress.sealed is True
    assert record.progress.total == 10


async def test_every_field_of_the_progress_is_kept(store: AnyStore) -> None:
    run_id = await create(store, 1)
    write = addition(store, run_id, 1, [step(0)])
    progress = write.progress
    progress.sealed, progress.running, progress.success, progress.failed, progress.cancelled = False, 3, 1, 2, 3
    progress.started_through, progress.cancel_requested, progress.cancel_reason = 7, True, "why"
    progress.current_step, progress.started_at_ms, progress.updated_at_ms, progress.completed_at_ms = "a", 1, 2, 3
    await store.commit([write])
    record = await store.run(run_id)
    progress.seq = 2
    assert record is not None
    assert record.progress == progress
    assert type(record.progress.cancel_requested) is bool


async def test_a_store_keeps_what_it_was_given_though_the_caller_goes_on_with_it(store: AnyStore) -> None:
    spec = specify(name_run(1))
    write = creation(store, spec)
    await store.commit([write])
    assert write.progress.seq == 0, "what is the caller's is left as it is"
    write.progress.status = RunState.FAILED
    record = await store.run(spec.run_id)
    assert record is not None
    assert record.progress.status is RunState.PENDING


async def test_events_are_numbered_from_one_and_read_back(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await store.commit([addition(store, run_id, 1, [step(0), step(1)], ended=2)]) == [Committed(3)]
    rows = await store.journal(run_id, 1, 10)
    assert [(row.first_seq, row.last_seq, row.at_ms) for row in rows] == [(1, 1, 1000), (2, 3, 2001)]
    assert decode_events(rows[1].events) == [step(0), step(1)]


async def test_a_write_at_another_sequence_number_is_a_conflict(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await end(store, run_id) == Committed(2)
    (result,) = await store.commit([addition(store, run_id, 1, [step(1)])])
    assert isinstance(result, Conflict)
    assert result.existing == run_id
    assert "at 2, not at 1" in result.reason
    assert len(await store.journal(run_id, 1, 10)) == 2


async def test_a_write_to_no_run_is_a_conflict(store: AnyStore) -> None:
    (result,) = await store.commit([addition(store, name_run(1), 1, [step(1)])])
    assert isinstance(result, Conflict)
    assert "does not exist" in result.reason


async def test_a_run_id_is_used_once(store: AnyStore) -> None:
    run_id = await create(store, 1)
    (result,) = await store.commit([creation(store, specify(run_id, labels={"other": "run"}))])
    assert isinstance(result, Conflict)
    assert result.existing == run_id


async def test_a_write_whose_answer_was_lost_is_written_once_however_often_it_comes(store: AnyStore) -> None:
    made = creation(store, specify(name_run(1)))
    added = addition(store, name_run(1), 1, [step(0)], ended=1)
    for write, seq in ((made, 1), (added, 2)):
        for _ in range(3):
            assert await store.commit([write]) == [Committed(seq)]
    assert [row.last_seq for row in await store.journal(name_run(1), 1, 10)] == [1, 2]


async def test_a_write_that_only_looks_as_one_before_is_a_conflict(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await store.commit([addition(store, run_id, 1, [step(0)])]) == [Committed(2)]
    (result,) = await store.commit([addition(store, run_id, 1, [step(1)])])
    assert isinstance(result, Conflict)


async def test_a_bad_write_fails_alone(store: AnyStore) -> None:
    first, second = await create(store, 1), await create(store, 2)
    results = await store.commit(
        [
            addition(store, first, 1, [step(0)], ended=1),
            addition(store, second, 7, [step(0)]),
            creation(store, specify(name_run(3))),
            creation(store, specify(first, labels={"other": "run"})),
        ]
    )
    assert [type(result) for result in results] == [Committed, Conflict, Committed, Conflict]
    assert len(await store.journal(first, 1, 10)) == 2
    assert len(await store.journal(second, 1, 10)) == 1
    assert await store.run(name_run(3)) is not None


async def test_one_group_may_write_a_run_twice(store: AnyStore) -> None:
    spec = specify(name_run(1))
    results = await store.commit([creation(store, spec), addition(store, spec.run_id, 1, [step(0)])])
    assert results == [Committed(1), Committed(2)]


async def test_concurrent_commits_all_succeed(store: AnyStore) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(create, store, number)
    assert await store.unfinished() == [name_run(number) for number in range(200)]


async def test_a_lease_of_an_older_epoch_is_fenced(store: AnyStore) -> None:
    good = creation(store, specify(name_run(1)))
    stale = creation(store, specify(name_run(2)))
    stale.lease = Lease(stale.lease.shard, stale.lease.owner, stale.lease.epoch - 1)
    assert await store.commit([stale, good]) == [Fenced(), Committed(1)]
    assert await store.run(name_run(2)) is None


async def test_a_tree_has_the_shard_of_its_root(store: AnyStore) -> None:
    assert store.lease(name_run(1)) == store.lease(name_run(1))
    assert find_shard(name_run(1)) == store.lease(name_run(1)).shard == 143, "stored with runs: it never changes"


async def test_an_idempotency_key_gives_one_run(store: AnyStore) -> None:
    first = await create(store, 1, key="k")
    (result,) = await store.commit([creation(store, specify(name_run(2), key="k"))])
    assert isinstance(result, Conflict)
    assert result.existing == first
    assert await store.run(name_run(2)) is None
    record = await store.run_by_idempotency_key("alice", "k")
    assert record is not None
    assert record.spec.run_id == first
    assert await store.run_by_idempotency_key("bob", "k") is None


async def test_of_two_equal_idempotency_keys_in_a_group_the_first_wins(store: AnyStore) -> None:
    results = await store.commit([creation(store, specify(name_run(n), key="k")) for n in (1, 2)])
    assert results[0] == Committed(1)
    assert isinstance(results[1], Conflict)
    assert results[1].existing == name_run(1)


async def test_a_live_or_successful_sub_run_holds_its_key(store: AnyStore) -> None:
    parent = await create(store, 1)
    link = ParentLink(parent, 3, "a", "hash/0")
    first = await create(store, 2, parent=link, root=parent)
    for status in (None, RunState.SUCCESS):
        if status is not None:
            await end(store, first, status)
        (result,) = await store.commit([creation(store, specify(name_run(3), parent=link, root=parent))])
        assert isinstance(result, Conflict)
        assert result.existing == first


@pytest.mark.parametrize("status", [RunState.FAILED, RunState.CANCELLED])
async def test_a_sub_run_that_failed_may_be_followed_by_another(store: AnyStore, status: RunState) -> None:
    parent = await create(store, 1)
    link = ParentLink(parent, 3, "a", "hash/0")
    await end(store, await create(store, 2, parent=link, root=parent), status)
    second = await create(store, 3, parent=link, root=parent)
    found = await store.child(parent, 3, "a", "hash/0")
    assert found is not None
    assert found.spec.run_id == second


async def test_sub_runs_without_a_key_do_not_collide(store: AnyStore) -> None:
    parent = await create(store, 1)
    for number in (2, 3):
        await create(store, number, parent=ParentLink(parent, 3, "a"), root=parent)
    for number in (4, 5):
        await create(store, number, parent=ParentLink(parent), root=parent)
    assert len(await store.children(parent)) == 4


async def test_messages_are_kept_until_they_are_settled(store: AnyStore) -> None:
    run_id = await create(store, 1)
    messages = [Message(run_id, 2, "cancelChildren", b"{}"), Message(run_id, 3, "cancelUnclaimed", b'{"item":1}')]
    await store.commit([addition(store, run_id, 1, [step(0), step(1)], ended=2, outbox=messages)])
    assert await store.outbox() == messages
    await store.settle(messages[:1])
    assert await store.outbox() == messages[1:]
    await store.settle(messages)
    assert await store.outbox() == []


async def test_deleting_takes_all_that_is_the_runs_and_frees_its_keys(store: AnyStore) -> None:
    parent = await create(store, 1)
    link = ParentLink(parent, 0, "a", "hash/0")
    spec = specify(name_run(2), key="k", parent=link, root=parent, labels={"a": "b"})
    await store.commit([creation(store, spec, segments=[InputSegment(0, 1, b"1")])])
    run_id = spec.run_id
    last = addition(
        store,
        run_id,
        1,
        [step(0), RunCompleted(RunState.SUCCESS)],
        ended=1,
        status=RunState.SUCCESS,
        chunks=[ResultChunk(0, b"12345678")],
        snapshot=b"state",
        outbox=[Message(run_id, 2, "kind", b"")],
    )
    last.lease = store.lease(parent)
    assert await store.commit([last]) == [Committed(3)]
    await store.delete([run_id, name_run(99)])
    assert await store.run(run_id) is None
    assert await store.journal(run_id, 1, 10) == []
    assert await store.journal_at_completion(run_id, 0, 10) == []
    assert await store.chunks(run_id, 0, 9) == []
    assert await store.inputs(run_id, 0) is None
    assert await store.snapshot(run_id) is None
    assert await store.outbox() == []
    assert await store.children(parent) == []
    assert await store.run_by_idempotency_key("alice", "k") is None
    assert await store.commit([creation(store, spec)]) == [Committed(1)]
    assert await store.snapshot(run_id) is None


async def test_a_run_that_has_not_ended_is_not_deleted_nor_others_with_it(store: AnyStore) -> None:
    ended, running = await create(store, 1), await create(store, 2)
    await end(store, ended)
    with pytest.raises(ValueError, match="has not ended"):
        await store.delete([ended, running])
    assert isinstance(await store.run(ended), RunRecord)


async def test_a_cancelled_commit_happens_or_does_not(store: AnyStore) -> None:
    with trio.move_on_after(0):
        await store.commit([creation(store, specify(name_run(1)))])
    await create(store, 2)
    first = await store.run(name_run(1))
    assert first is None or first.progress.seq == 1
    assert await store.run(name_run(2)) is not None
