"""Work that tells how far it is, in a stream and artifacts, and a client that listens: all is told once, and stays.

The clock may be set back by an hour, and what is to be told comes so much later: who hears nothing grows patient.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio

from component_sdk import StepflowContext
from protocol import methods as m
from protocol.byproducts import ListArtifactsResult, ReadStreamParams, ReadStreamResult
from protocol.runs import RunParams
from protocol.types import GetBlobParams

if TYPE_CHECKING:
    from tests.simulation.workload import Client

NAMESPACE: Final = "log"


async def tell(context: StepflowContext, value: int) -> None:
    """Three chunks; the second has the number of the attempt that came so far first."""
    stream = context.stream(NAMESPACE)
    await stream.write([value, "begin"])
    kept = await context.checkpoint("first", lambda: context.attempt)
    await stream.write([value, "kept", kept])
    await context.put_artifact("value.json", {"v": value, "kept": kept})
    await stream.write([value, "end"])


async def listen(client: Client, run_id: str, chance: Random) -> None:
    """Reads a stream to its end while it is written, then once more from its beginning."""
    heard: list[Any] = []
    patience_s = 0.01
    while True:
        timeout_ms = chance.choice([0, 50, 1000])
        page = await _read(client, run_id, len(heard), chance.choice([1, 3, 100]), timeout_ms)
        heard += [chunk.data for chunk in page.chunks]
        if page.done:
            break
        patience_s = 0.01 if page.chunks else min(patience_s * 2, 60)
        if not page.chunks or chance.random() < 0.3:
            await trio.sleep(patience_s)
    again: list[Any] = []
    while len(again) < len(heard):
        again += [chunk.data for chunk in (await _read(client, run_id, len(again), 100, 0)).chunks]
    if again != heard:
        client.world.trace.violate(f"the stream of {run_id} was {heard}, and is {again}")
    _check(client, run_id, heard)
    await _check_artifacts(client, run_id, heard)


async def _read(client: Client, run_id: str, start: int, limit: int, timeout_ms: int) -> ReadStreamResult:
    params = ReadStreamParams(run_id, NAMESPACE, start, limit, timeout_ms)
    page: ReadStreamResult = await client.ask(m.READ_STREAM, params)
    indexes = [chunk.index for chunk in page.chunks]
    if indexes != list(range(start, page.next_index)) or page.next_index > page.tail_index:
        client.world.trace.violate(f"a page of the stream of {run_id} from {start} has the chunks {indexes}")
    return page


def _check(client: Client, run_id: str, heard: list[Any]) -> None:
    """Each item told the beginning of what it had to tell, in its order, whatever was executed again."""
    told: dict[int, list[str]] = defaultdict(list)
    for value, what, *_ in heard:
        told[value].append(what)
    for value, whats in told.items():
        if whats != ["begin", "kept", "end"][: len(whats)]:
            client.world.trace.violate(f"item {value} of {run_id} told {whats}")


async def _check_artifacts(client: Client, run_id: str, heard: list[Any]) -> None:
    """Each item that told all has put one artifact, with what it kept; no item has put two."""
    listed: ListArtifactsResult = await client.ask(m.LIST_ARTIFACTS, RunParams(run_id))
    put = [(await client.ask(m.GET_BLOB, GetBlobParams(a.blob_id))).data for a in listed.artifacts]
    values = [artifact["v"] for artifact in put]
    ended = {value for value, what, *_ in heard if what == "end"}
    if len(set(values)) != len(values) or not ended <= set(values):
        client.world.trace.violate(
            f"the items {sorted(values)} of {run_id} put artifacts, and {sorted(ended)} told all"
        )
    for value, what, *rest in heard:
        if what == "kept" and any(artifact["v"] == value and artifact["kept"] != rest[0] for artifact in put):
            client.world.trace.violate(f"item {value} of {run_id} told {rest[0]}, and put something else")
