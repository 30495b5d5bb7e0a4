"""A step that makes all that can be made beside results, and what must be there of it after any number of deaths."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from protocol.runs import RunParams, RunStatus
from protocol.types import BlobType
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.engine.world import World, flow, step, values
from tests.stepflow_runtime.services.byproducts.byproduct_kit import Peer

TELLING: Final = flow(step("tell"))
ITEMS: Final = 2


async def tell(world: World, execution: Execution, put: Callable[..., Awaitable[str]]) -> bytes:
    """Writes three chunks, keeps the number of the attempt that came so far first, and puts an artifact."""
    peer, run_id, item = Peer(world, execution), execution.run_id, execution.item_index
    await peer.write(run_id, [item, "begin"], namespace="log")
    kept = (await peer.checkpoint(run_id, "first", execution.attempt)).value
    assert isinstance(kept, Raw)
    await peer.write(run_id, [item, "kept", kept], namespace="log")
    await peer.put_artifact(run_id, "report", await put(b'"report"', BlobType.DATA))
    await peer.write(run_id, [item, "end", execution.attempt], namespace="log", write_key="end")
    return bytes(kept)


async def check_told(world: World, status: RunStatus) -> None:
    """Each chunk is there once, in its order, whatever was executed again; what was kept is what it was."""
    kept = values(status.results or [])
    chunks = [chunk async for chunk in read(world, status.run_id)]
    for item in range(ITEMS):
        told = [rest for place, *rest in chunks if place == item]
        assert told[:2] == [["begin"], ["kept", kept[item]]], told
        assert [name for name, *_ in told[2:]] == ["end"], told
    artifacts = await world.byproducts.artifacts.list_all(RunParams(status.run_id), world.client)
    assert sorted(artifact.item_index or 0 for artifact in artifacts.artifacts) == list(range(ITEMS))


async def read(world: World, run_id: str) -> AsyncIterator[list[Any]]:
    """All chunks, one at a time, as a reader of an ended run does."""
    client, index, done = Peer(world), 0, False
    while not done:
        page = await client.read(run_id, index, namespace="log", limit=1)
        for chunk in page.chunks:
            yield msgspec.json.decode(chunk.data)
        index, done = page.next_index, page.done
