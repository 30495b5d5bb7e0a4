"""Who is told about runs by webhook: a receiver that is slow and refuses, and in the end has heard all.

What is committed is delivered, at least once and always under the same id; what is delivered was committed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from protocol.runs import RunWebhookParams
from stepflow_runtime.app.sealing import KeyFileSealer
from stepflow_runtime.model.events import decode_events
from stepflow_runtime.ports import SendFailed
from stepflow_runtime.services.events.public import translate
from stepflow_runtime.store.memory import MemoryStore
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.workload import Client, Order

TOLD: Final = ["run.created", "item.completed", "run.completed"]

Told = tuple[str, int, str, int | None]
"""Run, sequence number, type and item of an event."""


class Receiver:
    """Implements `ports.Sender`, with the one who is sent to.

    Attributes:
        sealer: Of all lives of the runtime.
        ids: Under which each event arrived.
    """

    def __init__(self, chance: Random, trace: Trace) -> None:
        self.sealer = KeyFileSealer(None)
        self.ids: defaultdict[Told, set[str]] = defaultdict(set)
        self._chance = chance
        self._trace = trace

    def check_url(self, url: str) -> None:
        """All are sent to."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        await trio.sleep(self._chance.choice([0, 0.01, 0.5]))
        said = self._chance.random()
        if said < 0.2:
            raise SendFailed("refused", 503)
        notice: dict[str, Any] = msgspec.json.decode(body)
        data = notice["data"]
        self._trace.note("told", f"{data['runId']} {data['seq']} {notice['type']}")
        self.ids[data["runId"], data["seq"], notice["type"], data.get("itemIndex")].add(headers["webhook-id"])
        if said < 0.3:
            raise SendFailed("it was heard, and the answer was lost")

    def check(self, store: MemoryStore) -> None:
        """Everybody was told what is in the journals, and nothing else."""
        wanted: set[Told] = set()
        for run_id, run in store._runs.items():
            if run.record.spec.webhook is not None:
                events = [event for row in run.journal for event in decode_events(row.events)]
                wanted |= {
                    (run_id, seq, type, item)
                    for seq, event in enumerate(events, 1)
                    for type, item, *_ in translate(event)
                    if type in TOLD
                }
        if wanted != self.ids.keys():
            self._trace.violate(
                f"was not told: {sorted(wanted - self.ids.keys(), key=str)}; "
                f"was told and is not so: {sorted(self.ids.keys() - wanted, key=str)}"
            )
        for told, ids in self.ids.items():
            if len(ids) > 1:
                self._trace.violate(f"{told} was told under {len(ids)} ids")


async def be_told(client: Client, order: Order, key: str) -> None:
    """Submits with a webhook, and waits for the end."""
    hook = RunWebhookParams("https://receiver.test/", TOLD)
    status = await client.submit(order, idempotency_key=key, webhook=hook)
    await client.finish(status.run_id)
