"""Entries of the registry and deliveries of webhooks in the SQLite database: what `ports.Registry` and
`ports.Deliveries` promise, over the store's one reader and one writer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import apsw
import msgspec

from protocol.automation import DeliveryState
from stepflow_runtime.ports import Delivery, DeliveryFilter, Entry, Key, Kind
from stepflow_runtime.store.jobs import RowsJob
from stepflow_runtime.store.reader import Reader
from stepflow_runtime.store.sql import QUERIES
from stepflow_runtime.store.writer import Writer

_T = TypeVar("_T")


class SqliteRegistry:
    """Implements `ports.Registry`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def add(self, entries: Sequence[Entry]) -> bool:
        try:
            await self._writer.write(RowsJob([("add_entry", [_row(entry) for entry in entries])]))
        except apsw.ConstraintError:
            return False
        return True

    async def save(self, entries: Sequence[Entry], removed: Sequence[Key] = ()) -> None:
        rows = [("save_entry", [_row(entry) for entry in entries]), ("remove_entry", list(removed))]
        await self._writer.write(RowsJob(rows))

    async def entry(self, kind: Kind, id: str) -> Entry | None:
        return _only([_make_entry(row) for row in self._reader.rows("entry", kind, id)])

    async def entries(self, kind: Kind, before: str | None, limit: int) -> list[Entry]:
        return [_make_entry(row) for row in self._reader.rows("entries", kind, before, limit)]

    async def active(self, kind: Kind) -> list[Entry]:
        return [_make_entry(row) for row in self._reader.rows("active_entries", kind)]


class SqliteDeliveries:
    """Implements `ports.Deliveries`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def due(self, now_ms: int, busy: Collection[str], full: Collection[str], limit: int) -> list[Delivery]:
        return self._find("due_deliveries", now_ms, _encode(busy), _encode(full), limit)

    async def next_due_ms(self, busy: Collection[str]) -> int | None:
        due_ms: int | None = self._reader.rows("next_due", _encode(busy))[0][0]
        return due_ms

    async def count_pending(self) -> int:
        count: int = self._reader.rows("count_pending")[0][0]
        return count

    async def find(self, delivery_id: str) -> Delivery | None:
        return _only(self._find("delivery", delivery_id))

    async def select(self, where: DeliveryFilter, before: str | None, limit: int) -> list[Delivery]:
        wanted = {
            "webhook_id = ?": where.webhook_id,
            "run_id = ?": where.run_id,
            "state = ?": where.state,
            "delivery_no < (SELECT delivery_no FROM deliveries WHERE delivery_id = ?)": before,
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        narrowed = " AND ".join(given) or "TRUE"
        sql = f"{QUERIES['deliveries']} WHERE {narrowed} ORDER BY delivery_no DESC LIMIT ?"
        return [_make_delivery(row) for row in self._reader.select(sql, [*given.values(), limit])]

    async def note(self, deliveries: Sequence[Delivery]) -> None:
        rows = [(d.state, d.attempts, d.due_ms, d.last_at_ms, d.last_error, d.delivery_id) for d in deliveries]
        await self._writer.write(RowsJob([("note_delivery", rows)]))

    async def forget(self, webhook_id: str) -> None:
        await self._writer.write(RowsJob([("forget_deliveries", [(webhook_id,)])]))

    async def forget_delivered(self, before_ms: int) -> None:
        await self._writer.write(RowsJob([("forget_delivered", [(before_ms,)])]))

    def _find(self, query: str, *values: Any) -> list[Delivery]:
        return [_make_delivery(row) for row in self._reader.rows(query, *values)]


def _row(entry: Entry) -> tuple[Any, ...]:
    return (entry.kind, entry.id, entry.is_active, entry.body)


def _make_entry(row: Sequence[Any]) -> Entry:
    kind, id, is_active, body = row
    return Entry(Kind(kind), id, body, bool(is_active))


def _make_delivery(row: Sequence[Any]) -> Delivery:
    delivery = Delivery(**dict(zip(Delivery.__struct_fields__, row, strict=True)))
    delivery.state = DeliveryState(delivery.state)
    return delivery


def _encode(ids: Collection[str]) -> str:
    return msgspec.json.encode(list(ids)).decode()


def _only(found: Sequence[_T]) -> _T | None:
    return found[0] if found else None
