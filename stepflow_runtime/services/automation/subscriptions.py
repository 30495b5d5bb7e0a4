"""Who is told about which events: turns what a run's commit records into deliveries (`ports.Announcer`).

It is asked at every commit. While nobody subscribed that costs a look at two attributes; else only events are looked at
that can be meant. Above lie `webhooks`, which fills it, and `delivering`, which is woken by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3
from msgspec import Struct

from protocol.types import CamelWire, Timestamp
from stepflow_runtime.model import events as ev
from stepflow_runtime.model.events import AnyEvent
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.ports import Delivery, Entry
from stepflow_runtime.services.events.public import translate
from stepflow_runtime.services.status import format_time

OF_ITEMS: Final = ("item.", "step.")
"""How the types of events begin of which a run may have millions."""

_ONLY_OF_ITEMS: Final = frozenset(
    {
        ev.WindowOpened,
        ev.ItemsStarted,
        ev.StepStarted,
        ev.StepSucceeded,
        ev.StepFailed,
        ev.StepRetrying,
        ev.ItemSucceeded,
        ev.ItemFailed,
        ev.ItemCancelled,
        ev.ItemsCancelled,
    }
)
"""Journal events that give public ones of such types alone."""


class WebhookRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered webhook as it is stored.

    `sealed` is its secret, unreadable here; `key` that under which the request that made it finds it again, if any.
    """

    webhook_id: str
    url: str
    events: tuple[str, ...]
    sealed: str
    flow_id: str | None = None
    flow_name: str | None = None
    labels: dict[str, str] = {}
    include_sub_runs: bool = False
    created_at_ms: int
    created_by: str | None = None
    key: str | None = None

    def means(self, spec: RunSpec) -> bool:
        """Whether it is told of this run. One that a component server registered is told of its plugin's runs."""
        return (
            (self.include_sub_runs or spec.parent is None)
            and self.created_by in (None, spec.created_by)
            and self.flow_id in (None, spec.flow_id)
            and self.flow_name in (None, spec.flow_name)
            and self.labels.items() <= spec.labels.items()
        )


def read_webhook_entry(entry: Entry) -> WebhookRecord:
    """A webhook that the registry kept."""
    return msgspec.json.decode(entry.body, type=WebhookRecord)


class NoticeData(CamelWire, kw_only=True):
    """What a delivery tells: an event as `runs/events` gives it, and whose it is."""

    run_id: str
    seq: int
    item_index: int | None = None
    step_id: str | None = None
    details: dict[str, Any] | None = None
    flow_id: str
    flow_name: str | None = None
    flow_label: str | None = None
    job_run_id: str | None = None
    parent_run_id: str | None = None
    labels: dict[str, str] | None = None


class Notice(CamelWire):
    """The body of a delivery."""

    type: str
    timestamp: Timestamp
    data: NoticeData


class Subscriptions:
    """Implements `ports.Announcer`.

    Args:
        wake: Called when deliveries have become durable.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._webhooks: dict[str, WebhookRecord] = {}
        self.wake = wake

    def add(self, webhook: WebhookRecord) -> None:
        self._webhooks[webhook.webhook_id] = webhook

    def remove(self, webhook_id: str) -> None:
        self._webhooks.pop(webhook_id, None)

    def find(self, webhook_id: str) -> WebhookRecord | None:
        return self._webhooks.get(webhook_id)

    def __len__(self) -> int:
        return len(self._webhooks)

    def announced(self) -> None:
        self.wake()

    def announce(self, spec: RunSpec, events: Sequence[AnyEvent], first_seq: int, at_ms: int) -> Sequence[Delivery]:
        if not self._webhooks and spec.webhook is None:
            return ()
        wanted = self._find_wanted(spec)
        if not wanted:
            return ()
        types = {type for _, types in wanted for type in types}
        about_items = any(type.startswith(OF_ITEMS) for type in types)
        deliveries: list[Delivery] = []
        for seq, event in enumerate(events, first_seq):
            if not about_items and type(event) in _ONLY_OF_ITEMS:
                continue
            for ordinal, (kind, item, step, details) in enumerate(translate(event)):
                if kind not in types:
                    continue
                body = _write(spec, kind, at_ms, seq, item, step, details)
                for webhook_id, meant in wanted:
                    if kind in meant:
                        id = _name_delivery(webhook_id, spec, seq, ordinal)
                        deliveries.append(
                            Delivery(
                                delivery_id=id,
                                webhook_id=webhook_id,
                                run_id=spec.run_id,
                                type=kind,
                                created_at_ms=at_ms,
                                body=body,
                                due_ms=at_ms,
                            )
                        )
        return deliveries

    def _find_wanted(self, spec: RunSpec) -> list[tuple[str, Iterable[str]]]:
        """The webhooks of a run, by id, and what each is told."""
        wanted: list[tuple[str, Iterable[str]]] = [
            (webhook.webhook_id, webhook.events) for webhook in self._webhooks.values() if webhook.means(spec)
        ]
        if spec.webhook is not None:
            wanted.append((spec.run_id, spec.webhook.events))
        return wanted


def _write(
    spec: RunSpec, type: str, at_ms: int, seq: int, item: int | None, step: str | None, details: dict[str, Any] | None
) -> bytes:
    data = NoticeData(
        run_id=spec.run_id,
        seq=seq,
        item_index=item,
        step_id=step,
        details=details,
        flow_id=spec.flow_id,
        flow_name=spec.flow_name,
        flow_label=spec.flow_label,
        job_run_id=spec.job_run_id,
        parent_run_id=None if spec.parent is None else spec.parent.run_id,
        labels=spec.labels or None,
    )
    return msgspec.json.encode(Notice(type, format_time(at_ms), data))


def _name_delivery(webhook_id: str, spec: RunSpec, seq: int, ordinal: int) -> str:
    """The same for the same event and webhook, whenever it is asked."""
    return "msg_" + blake3(f"{webhook_id}/{spec.run_id}/{seq}/{ordinal}".encode()).hexdigest(16)
