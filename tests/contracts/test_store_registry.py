"""What every store promises of what is kept beside runs: jobs, schedules, webhooks, and deliveries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocol.automation import DeliveryState
from stepflow_runtime.ports import Conflict, Delivery, DeliveryFilter, Entry, Kind, RunFilter
from tests.contracts.store_kit import AnyStore, addition, create, creation, end, name_run, open_kind, specify, step
from tests.contracts.store_kit import Kind as StoreKind


def entry(id: str, body: bytes = b"{}", kind: Kind = Kind.JOB, is_active: bool = False) -> Entry:
    return Entry(kind, id, body, is_active)


def delivery(number: int, **fields: Any) -> Delivery:
    given = {"webhook_id": "hook", "run_id": name_run(1), "type": "run.completed", "created_at_ms": 5, "body": b"{}"}
    return Delivery(delivery_id=f"d{number}", **{**given, **fields})


async def add(store: AnyStore, *deliveries: Delivery, run: int = 1) -> None:
    """A new run whose first commit brings deliveries."""
    (result,) = await store.commit([creation(store, specify(name_run(run)), deliveries=deliveries)])
    assert not isinstance(result, Conflict)


async def ids(store: AnyStore, **where: Any) -> list[str]:
    return [found.delivery_id for found in await store.deliveries.select(DeliveryFilter(**where), None, 100)]


# --- entries ---


async def test_entries_are_found_by_their_ids_newest_first(store: AnyStore) -> None:
    assert await store.registry.add([entry("a"), entry("b", b"[1]", is_active=True)])
    assert await store.registry.add([entry("c", kind=Kind.WEBHOOK)])
    assert await store.registry.entry(Kind.JOB, "b") == entry("b", b"[1]", is_active=True)
    assert await store.registry.entry(Kind.JOB, "c") is None
    assert [e.id for e in await store.registry.entries(Kind.JOB, None, 10)] == ["b", "a"]
    assert [e.id for e in await store.registry.entries(Kind.JOB, None, 1)] == ["b"]
    assert [e.id for e in await store.registry.entries(Kind.JOB, "b", 10)] == ["a"]
    assert [e.id for e in await store.registry.active(Kind.JOB)] == ["b"]


async def test_of_entries_that_are_added_together_none_is_when_one_exists(store: AnyStore) -> None:
    assert await store.registry.add([entry("b", b"1")])
    assert not await store.registry.add([entry("a"), entry("b", b"2")])
    assert [e.body for e in await store.registry.entries(Kind.JOB, None, 10)] == [b"1"]


async def test_entries_are_written_over_and_removed_together(store: AnyStore) -> None:
    await store.registry.add([entry("a", is_active=True), entry("b")])
    await store.registry.save([entry("a", b"2"), entry("c")], removed=[(Kind.JOB, "b"), (Kind.JOB, "never")])
    assert [(e.id, e.body) for e in await store.registry.entries(Kind.JOB, None, 10)] == [("c", b"{}"), ("a", b"2")]
    assert await store.registry.active(Kind.JOB) == []


# --- deliveries ---


async def test_deliveries_are_written_with_the_events_that_they_are_of(store: AnyStore) -> None:
    await add(store, delivery(1))
    (result,) = await store.commit([addition(store, name_run(1), 7, [step(0)], deliveries=[delivery(2)])])
    assert isinstance(result, Conflict)
    assert await ids(store) == ["d1"], "what is refused is announced to nobody"
    await store.commit([addition(store, name_run(1), 1, [step(0)], deliveries=[delivery(3, webhook_id="other")])])
    assert await ids(store) == ["d3", "d1"]
    assert await store.deliveries.find("d1") == delivery(1)


async def test_what_is_due_is_found_in_the_order_in_which_it_is(store: AnyStore) -> None:
    due = [(1, 50, "hook"), (2, 20, "hook"), (3, 99, "hook"), (4, 30, "other"), (5, 10, "hook")]
    await add(store, *[delivery(number, due_ms=at, webhook_id=hook) for number, at, hook in due])
    found = await store.deliveries.due(50, {"d5"}, {"other"}, 10)
    assert [d.delivery_id for d in found] == ["d2", "d1"]
    assert [d.delivery_id for d in await store.deliveries.due(50, set(), set(), 2)] == ["d5", "d2"]
    assert await store.deliveries.next_due_ms(set()) == 10
    assert await store.deliveries.next_due_ms({"d5", "d2"}) == 30


async def test_what_became_of_a_delivery_is_kept(store: AnyStore) -> None:
    await add(store, delivery(1), delivery(2), delivery(3))
    sent = delivery(1, state=DeliveryState.DELIVERED, attempts=1, last_at_ms=7)
    failed = delivery(2, attempts=3, due_ms=900, last_at_ms=8, last_error="it answered 500")
    await store.deliveries.note([sent, failed, delivery(9)])
    assert await store.deliveries.find("d1") == sent
    assert await store.deliveries.find("d2") == failed
    assert await store.deliveries.find("d9") is None
    assert [d.delivery_id for d in await store.deliveries.due(100, set(), set(), 10)] == ["d3"]
    assert await store.deliveries.count_pending() == 2


async def test_deliveries_are_listed_newest_first_and_narrowed(store: AnyStore) -> None:
    await add(store, delivery(1), delivery(2, webhook_id="other"))
    await add(store, *[delivery(number, run_id=name_run(2)) for number in (3, 4)], run=2)
    assert await ids(store) == ["d4", "d3", "d2", "d1"]
    assert await ids(store, webhook_id="hook") == ["d4", "d3", "d1"]
    assert await ids(store, run_id=name_run(1)) == ["d2", "d1"]
    assert await ids(store, state=DeliveryState.DEAD) == []
    found = await store.deliveries.select(DeliveryFilter(webhook_id="hook"), "d4", 1)
    assert [d.delivery_id for d in found] == ["d3"]


async def test_deliveries_are_forgotten_with_their_webhook_and_when_they_are_old(store: AnyStore) -> None:
    await add(store, *[delivery(number) for number in (1, 2, 3)], delivery(4, webhook_id="other"))
    done = {"state": DeliveryState.DELIVERED, "attempts": 1}
    await store.deliveries.note([delivery(1, last_at_ms=10, **done), delivery(2, last_at_ms=20, **done)])
    await store.deliveries.forget_delivered(20)
    assert await ids(store) == ["d4", "d3", "d2"]
    await store.deliveries.forget("hook")
    assert await ids(store) == ["d4"]


async def test_a_run_takes_the_deliveries_of_its_own_webhook_with_it(store: AnyStore) -> None:
    await add(store, delivery(1, webhook_id=name_run(1)), delivery(2))
    await end(store, name_run(1))
    await store.delete([name_run(1)])
    assert await ids(store) == ["d2"]


# --- runs of jobs ---


async def test_runs_are_found_by_their_job(store: AnyStore) -> None:
    await create(store, 1, job_run_id="job")
    await create(store, 2)
    await create(store, 3, job_run_id="job")
    found = await store.runs(RunFilter(job_run_id="job"), None, 10)
    assert [record.spec.run_id for record in found] == [name_run(3), name_run(1)]


async def test_all_of_it_is_there_after_reopening(kind: StoreKind, tmp_path: Path) -> None:
    if kind == "memory":
        return
    async with open_kind(kind, tmp_path / "again.db") as store:
        await store.registry.add([entry("a", is_active=True)])
        await add(store, delivery(1))
    async with open_kind(kind, tmp_path / "again.db") as store:
        assert await store.registry.active(Kind.JOB) == [entry("a", is_active=True)]
        assert await ids(store) == ["d1"]
