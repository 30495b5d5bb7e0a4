"""What every store does with streams, checkpoints and artifacts: they come with a run's commits and go with the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from protocol.byproducts import Encoding
from protocol.runs import RunState
from stepflow_runtime.model.ids import RunId
from stepflow_runtime.ports import (
    ArtifactRecord,
    Byproducts,
    Checkpoint,
    CommitResult,
    Committed,
    Conflict,
    RunProgress,
    RunWrite,
    StreamState,
    StreamWrite,
)
from tests.contracts.store_kit import FLOW, AnyStore, addition, create, end, name_run, step

NOWHERE = name_run(99)


def chunks(first: int, count: int, *, writer: str | None = "0/a", key: str | None = None) -> StreamWrite:
    data = b"\n".join(b"%d" % index for index in range(first, first + count))
    return StreamWrite("log", first, count, Encoding.JSON, writer, key, data)


def state(tail: int, *, closed: bool = False) -> StreamState:
    return StreamState("log", tail, 2 * tail, closed)


async def add(store: AnyStore, run_id: RunId, *, at: int = 1, **fields: Any) -> CommitResult:
    """Commits byproducts without events."""
    write = RunWrite(
        run_id=run_id,
        lease=store.lease(run_id),
        expected_seq=at,
        events=[],
        at_ms=3000,
        completions_before=0,
        progress=RunProgress(total=10, seq=at),
        byproducts=Byproducts(**fields),
    )
    (result,) = await store.commit([write])
    return result


async def test_chunks_are_read_from_any_index_in_their_order(store: AnyStore) -> None:
    run_id = await create(store, 1)
    first, second = chunks(0, 3), chunks(3, 2, writer=None)
    assert await add(store, run_id, writes=[first], streams=[state(3)]) == Committed(1)
    await add(store, run_id, writes=[second], streams=[state(5)])
    read = store.byproducts.writes
    assert await read(run_id, "log", 0, 9) == [first, second]
    assert await read(run_id, "log", 2, 9) == [first, second]
    assert await read(run_id, "log", 3, 9) == [second]
    assert await read(run_id, "log", 0, 1) == [first]
    assert (
        await read(run_id, "log", 5, 9) == await read(run_id, "other", 0, 9) == await read(NOWHERE, "log", 0, 9) == []
    )
    assert await store.byproducts.stream(run_id, "log") == state(5)
    assert await store.byproducts.streams(run_id) == [state(5)]


async def test_byproducts_alone_leave_the_journal_as_it_is(store: AnyStore) -> None:
    run_id = await create(store, 1)
    rows, before = await store.journal(run_id, 1, 9), await store.run(run_id)
    await add(store, run_id, writes=[chunks(0, 1)], streams=[state(1)])
    assert await store.journal(run_id, 1, 9) == rows
    assert await store.run(run_id) == before
    (result,) = await store.commit([addition(store, run_id, 1, [step(0)], ended=1)])
    assert result == Committed(2)


async def test_byproducts_of_a_writer_that_is_behind_are_not_written(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await store.commit([addition(store, run_id, 1, [step(0)], ended=1)])
    assert isinstance(await add(store, run_id, writes=[chunks(0, 1)], streams=[state(1)]), Conflict)
    assert await store.byproducts.streams(run_id) == []


async def test_writes_are_found_by_writer_and_by_key(store: AnyStore) -> None:
    run_id = await create(store, 1)
    mine, keyed, other = chunks(0, 1), chunks(1, 1, key="k"), chunks(2, 1, writer="1/a")
    await add(store, run_id, writes=[mine, keyed, other], streams=[state(3)])
    assert await store.byproducts.writes_of(run_id, "log", "0/a") == [mine]
    assert await store.byproducts.has_write(run_id, "log", "k")
    assert not await store.byproducts.has_write(run_id, "log", "0/a")
    assert not await store.byproducts.has_write(run_id, "else", "k")


async def test_a_stream_is_closed_by_its_writers_or_by_the_end_of_its_run(store: AnyStore) -> None:
    run_id, other = await create(store, 1), await create(store, 2)
    await add(store, run_id, streams=[state(0, closed=True)])
    assert await store.byproducts.stream(run_id, "log") == state(0, closed=True)
    assert await store.byproducts.stream(other, "log") == state(0)
    await end(store, other)
    assert await store.byproducts.stream(other, "log") == state(0, closed=True)
    assert await store.byproducts.stream(NOWHERE, "log") is None


async def wait(store: AnyStore, run_id: RunId, tail: int, found: list[StreamState | None]) -> None:
    found.append(await store.byproducts.watch_stream(run_id, "log", tail))


@pytest.mark.parametrize(
    ("streams", "status", "expected"),
    [
        ([state(1)], RunState.RUNNING, [state(1)]),
        ([state(0, closed=True)], RunState.RUNNING, [state(0, closed=True)]),
        ([], RunState.SUCCESS, [state(0, closed=True)]),
        ([StreamState("other", 1, 2)], RunState.RUNNING, []),
        ([], RunState.RUNNING, []),
    ],
)
async def test_a_reader_is_woken_by_the_commit_that_brings_something_for_it(
    store: AnyStore, streams: Sequence[StreamState], status: RunState, expected: list[StreamState]
) -> None:
    run_id = await create(store, 1)
    found: list[StreamState | None] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, store, run_id, 0, found)
            await trio.testing.wait_all_tasks_blocked()
            write = addition(store, run_id, 1, [step(0)], ended=1, status=status)
            write.byproducts = Byproducts(streams=list(streams))
            await store.commit([write])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert found == expected
    assert len(store.hub) == 0


async def test_a_reader_is_woken_when_the_run_is_deleted(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await end(store, run_id)
    found: list[StreamState | None] = []
    await store.delete([run_id])
    await wait(store, run_id, 7, found)
    assert found == [None]


async def test_a_checkpoint_is_kept_for_its_step_and_item(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await add(store, run_id, checkpoints=[Checkpoint(0, "a", "k", b"1.50"), Checkpoint(0, "a", "l", b"null")])
    find, count = store.byproducts.checkpoint, store.byproducts.count_checkpoints
    assert await find(run_id, 0, "a", "k") == b"1.50"
    assert await find(run_id, 0, "a", "l") == b"null"
    assert (
        await find(run_id, 1, "a", "k") is await find(run_id, 0, "b", "k") is await find(NOWHERE, 0, "a", "k") is None
    )
    assert (await count(run_id, 0, "a"), await count(run_id, 1, "a")) == (2, 0)


async def test_artifacts_are_listed_in_their_order(store: AnyStore) -> None:
    run_id = await create(store, 1)
    plain = ArtifactRecord("z", None, "report", None, "text/plain", 3, FLOW, 5)
    typed = ArtifactRecord("a", 4, "picture", "thumbnail", "image/png", 9, FLOW, 6)
    await add(store, run_id, artifacts=[plain])
    await add(store, run_id, artifacts=[typed])
    assert await store.byproducts.artifacts(run_id) == [plain, typed]
    assert await store.byproducts.artifacts(NOWHERE) == []


async def test_byproducts_are_deleted_with_their_run(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await add(
        store,
        run_id,
        writes=[chunks(0, 1)],
        streams=[state(1)],
        checkpoints=[Checkpoint(0, "a", "k", b"1")],
        artifacts=[ArtifactRecord("z", None, "report", None, "text/plain", 3, FLOW, 5)],
    )
    await end(store, run_id)
    await store.delete([run_id])
    found = store.byproducts
    left = [*await found.writes(run_id, "log", 0, 9), *await found.streams(run_id), *await found.artifacts(run_id)]
    assert not left
    assert await found.checkpoint(run_id, 0, "a", "k") is None


async def test_byproducts_that_are_written_again_because_their_answer_was_lost_are_there_once(store: AnyStore) -> None:
    run_id = await create(store, 1)
    artifact = ArtifactRecord("z", None, "report", None, "text/plain", 3, FLOW, 5)
    for _ in range(2):
        result = await add(
            store,
            run_id,
            writes=[chunks(0, 1), chunks(1, 2, key="k")],
            streams=[state(3)],
            checkpoints=[Checkpoint(0, "a", "k", b"1")],
            artifacts=[artifact],
        )
        assert result == Committed(1)
    assert await store.byproducts.writes(run_id, "log", 0, 9) == [chunks(0, 1), chunks(1, 2, key="k")]
    assert await store.byproducts.artifacts(run_id) == [artifact]
    assert await store.byproducts.count_checkpoints(run_id, 0, "a") == 1


async def test_byproducts_of_many_runs_go_in_one_transaction_with_their_events(store: AnyStore) -> None:
    runs = [await create(store, number) for number in range(1, 21)]
    writes = [addition(store, run_id, 1, [step(0)], ended=1) for run_id in runs]
    for write in writes:
        write.byproducts = Byproducts(writes=[chunks(0, 1)], streams=[state(1)])
    before = getattr(store, "transactions", 0)
    assert await store.commit(writes) == [Committed(2)] * 20
    assert getattr(store, "transactions", 1) - before == 1
    for run_id in runs:
        assert await store.byproducts.stream(run_id, "log") == state(1)
