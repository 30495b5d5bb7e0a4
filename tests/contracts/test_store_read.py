"""What every store finds again."""

from __future__ import annotations

import pytest
from msgspec import Raw

from protocol.runs import RunState
from stepflow_runtime.model.ids import BlobId, RunId
from stepflow_runtime.model.spec import ParentLink
from stepflow_runtime.ports import InputSegment, ResultChunk, RunFilter, RunRecord
from tests.contracts.store_kit import AnyStore, addition, create, creation, end, name_run, specify, step


def run_ids(records: list[RunRecord]) -> list[RunId]:
    return [record.spec.run_id for record in records]


async def test_runs_are_listed_newest_first_in_pages(store: AnyStore) -> None:
    for number in (3, 1, 5, 2, 4):
        await create(store, number)
    first = await store.runs(RunFilter(), None, 2)
    second = await store.runs(RunFilter(), first[-1].spec.run_id, 2)
    third = await store.runs(RunFilter(), second[-1].spec.run_id, 2)
    assert run_ids(first + second + third) == [name_run(number) for number in (5, 4, 3, 2, 1)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (RunFilter(status=RunState.SUCCESS), [1]),
        (RunFilter(status=RunState.PENDING), [4, 3, 2]),
        (RunFilter(flow_id="blake3:" + "a" * 64), [2]),
        (RunFilter(flow_name="Daily"), [3]),
        (RunFilter(parent_run_id=name_run(1)), [4]),
        (RunFilter(root_run_id=name_run(1)), [4, 1]),
        (RunFilter(labels={"team": "x"}), [3, 2]),
        (RunFilter(labels={"team": "x", "env": "prod"}), [3]),
        (RunFilter(labels={"team": "x", "env": "none"}), []),
        (RunFilter(labels={}), [4, 3, 2, 1]),
        (RunFilter(created_after_ms=2000), [4, 3]),
        (RunFilter(created_before_ms=2000), [1]),
        (RunFilter(status=RunState.PENDING, labels={"team": "x"}, created_after_ms=2000), [3]),
    ],
)
async def test_runs_are_filtered(store: AnyStore, where: RunFilter, expected: list[int]) -> None:
    await end(store, await create(store, 1, created_at_ms=1000))
    await create(store, 2, created_at_ms=2000, flow_id=BlobId("blake3:" + "a" * 64), labels={"team": "x"})
    await create(store, 3, created_at_ms=3000, flow_name="Daily", labels={"env": "prod", "team": "x"})
    await create(store, 4, created_at_ms=4000, root=name_run(1), parent=ParentLink(name_run(1), 0, "a", "h"))
    assert run_ids(await store.runs(where, None, 100)) == [name_run(number) for number in expected]
    if expected:
        older = await store.runs(where, name_run(expected[0]), 100)
        assert run_ids(older) == [name_run(number) for number in expected[1:]]


async def test_unfinished_runs_are_found_oldest_first(store: AnyStore) -> None:
    for number in (3, 1, 2, 4):
        await create(store, number)
    await end(store, name_run(2), RunState.FAILED)
    await store.commit([addition(store, name_run(3), 1, [step(0, ends=False)], status=RunState.SUSPENDED)])
    assert await store.unfinished() == [name_run(1), name_run(3), name_run(4)]


async def test_children_are_found_by_parent_and_by_step_oldest_first(store: AnyStore) -> None:
    parent = await create(store, 1)
    for number, link in [
        (4, ParentLink(parent, 0, "a", "x")),
        (3, ParentLink(parent, 0, "a", "y")),
        (2, ParentLink(parent, 0, "b", "x")),
        (5, ParentLink(parent, 1, "a", "x")),
    ]:
        await create(store, number, root=parent, parent=link)
    assert run_ids(await store.children(parent)) == [name_run(number) for number in (2, 3, 4, 5)]
    assert run_ids(await store.children_of_step(parent, 0, "a")) == [name_run(3), name_run(4)]
    found = await store.child(parent, 0, "a", "y")
    assert found is not None
    assert found.spec.run_id == name_run(3)
    assert await store.child(parent, 0, "a", "z") is None
    assert await store.children(name_run(9)) == []


async def write_journal(store: AnyStore) -> RunId:
    """Rows 1, 2-3 (items 0 and 1 end), 4 (none), 5-7 (items 2 to 4)."""
    run_id = await create(store, 1)
    await store.commit([addition(store, run_id, 1, [step(0), step(1)], ended=2)])
    await store.commit([addition(store, run_id, 3, [step(2, ends=False)], before=2)])
    await store.commit([addition(store, run_id, 4, [step(2), step(3), step(4)], before=2, ended=3)])
    return run_id


@pytest.mark.parametrize(
    ("from_seq", "max_rows", "expected"),
    [(0, 9, [1, 2, 4, 5]), (1, 1, [1]), (2, 2, [2, 4]), (3, 1, [2]), (4, 9, [4, 5]), (7, 9, [5]), (8, 9, [])],
)
async def test_the_journal_begins_with_the_row_that_holds_the_event(
    store: AnyStore, from_seq: int, max_rows: int, expected: list[int]
) -> None:
    run_id = await write_journal(store)
    assert [row.first_seq for row in await store.journal(run_id, from_seq, max_rows)] == expected


@pytest.mark.parametrize(
    ("ordinal", "max_rows", "expected"),
    [(0, 9, [2, 4, 5]), (1, 1, [2]), (2, 9, [5]), (4, 9, [5]), (5, 9, [])],
)
async def test_the_journal_is_found_by_completion(
    store: AnyStore, ordinal: int, max_rows: int, expected: list[int]
) -> None:
    run_id = await write_journal(store)
    rows = await store.journal_at_completion(run_id, ordinal, max_rows)
    assert [row.first_seq for row in rows] == expected


async def test_journals_of_runs_are_apart(store: AnyStore) -> None:
    first = await write_journal(store)
    second = await create(store, 2)
    assert len(await store.journal(first, 1, 99)) == 4
    assert len(await store.journal(second, 1, 99)) == 1
    assert await store.journal(name_run(3), 1, 99) == []


async def test_an_input_is_found_in_its_segment(store: AnyStore) -> None:
    segments = [InputSegment(0, 1000, b"0\n1"), InputSegment(1000, 500, b"2")]
    spec = specify(name_run(1))
    await store.commit([creation(store, spec, segments=segments)])
    later = InputSegment(1500, 2, b"3\n4")
    await store.commit([addition(store, spec.run_id, 1, [step(0)], segments=[later])])
    for index, expected in [(0, segments[0]), (999, segments[0]), (1000, segments[1]), (1501, later), (1502, None)]:
        assert await store.inputs(spec.run_id, index) == expected


async def test_a_result_chunk_is_replaced_whole(store: AnyStore) -> None:
    run_id = await create(store, 1)
    await store.commit([addition(store, run_id, 1, [step(0)], chunks=[ResultChunk(0, b"a"), ResultChunk(2, b"c")])])
    await store.commit([addition(store, run_id, 2, [step(1)], chunks=[ResultChunk(0, b"aa"), ResultChunk(1, b"b")])])
    assert await store.chunks(run_id, 0, 1) == [ResultChunk(0, b"aa"), ResultChunk(1, b"b")]
    assert await store.chunks(run_id, 1, 9) == [ResultChunk(1, b"b"), ResultChunk(2, b"c")]
    assert await store.chunks(run_id, 3, 9) == []


async def test_the_last_snapshot_counts(store: AnyStore) -> None:
    run_id = await create(store, 1)
    assert await store.snapshot(run_id) is None
    await store.commit([addition(store, run_id, 1, [step(0)], snapshot=b"one")])
    await store.commit([addition(store, run_id, 2, [step(0), step(1)], snapshot=b"two")])
    await store.commit([addition(store, run_id, 4, [step(2)])])
    assert await store.snapshot(run_id) == (4, b"two")


async def test_payloads_keep_their_digits(store: AnyStore) -> None:
    spec = specify(name_run(1), variables={"v": Raw(b'{"x": 1.50, "x2":1e2}')})
    await store.commit([creation(store, spec)])
    record = await store.run(spec.run_id)
    assert record is not None
    assert bytes(record.spec.variables["v"]) == b'{"x": 1.50, "x2":1e2}'
    (row,) = await store.journal(spec.run_id, 1, 1)
    assert b'{"x": 1.50, "x2":1e2}' in row.events
