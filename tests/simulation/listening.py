"""Work that tells how far it is, in a stream, and a client that listens: what is told is told once, and stays."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, Final

import trio

from component_sdk import StepflowContext
from protocol import methods as m
from protocol.byproducts import ReadStreamParams, ReadStreamResult

if TYPE_CHECKING:
    from tests.simulation.workload import Client

NAMESPACE: Final = "log"


async def tell(context: StepflowContext, value: int) -> None:
    """Three chunks; the second has the number of the attempt that came so far first."""
    stream = context.stream(NAMESPACE)
    await stream.write([value, "begin"])
    kept = await context.checkpoint("first", lambda: context.attempt)
    await stream.write([value, "kept", kept])
    await stream.write([value, "end"])


async def listen(client: Client, run_id: str, chance: Random) -> None:
    """Reads a stream to its end while it is written, then once more from its beginning."""
    heard: list[Any] = []
    while True:
        timeout_ms = chance.choice([0, 50, 1000])
        page = await _read(client, run_id, len(heard), chance.choice([1, 3, 100]), timeout_ms)
        heard += [chunk.data for chunk in page.chunks]
        if page.done:
            break
        if not page.chunks or chance.random() < 0.3:
            await trio.sleep(chance.choice([0.01, 0.1, 0.5]))
    again: list[Any] = []
    while len(again) < len(heard):
        again += [chunk.data for chunk in (await _read(client, run_id, len(again), 100, 0)).chunks]
    if again != heard:
        client.world.trace.violate(f"the stream of {run_id} was {heard}, and is {again}")
    _check(client, run_id, heard)


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
