"""Artifacts: named blobs of a run, there once however often they are put."""

from __future__ import annotations

import base64

import msgspec
import pytest
import trio

from protocol.byproducts import GetArtifactParams
from protocol.errors import ErrorCode, RpcError
from protocol.runs import RunParams
from protocol.types import BlobType
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from tests.stepflow_runtime.engine.world import BOOM, ONE, World, flow, hold, memory_world, step
from tests.stepflow_runtime.services.byproducts.byproduct_kit import Peer

FLAKY = flow(step("a", onError={"action": "retry"}))


async def put_bytes(world: World, content: bytes) -> str:
    return await world.blobs.put_raw(b'"%b"' % base64.b64encode(content), BlobType.BINARY)


async def names(world: World, run_id: str) -> list[tuple[str, int | None]]:
    found = await world.byproducts.artifacts.list_all(RunParams(run_id), world.client)
    return [(artifact.name, artifact.item_index) for artifact in found.artifacts]


async def test_an_artifact_tells_what_it_is() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        blob_id = await put_bytes(world, b"\x00\x01\xff")
        put = await Peer(world).put_artifact(run_id, "scan.png", blob_id, type="scan")
        assert (put.size, put.blob_id, put.run_id, put.type, put.item_index) == (3, blob_id, run_id, "scan", None)
        assert put.created_at.endswith("Z")
        params = GetArtifactParams(run_id, put.artifact_id)
        assert await world.byproducts.artifacts.get(params, world.client) == put


async def test_artifacts_of_a_step_belong_to_its_item_and_stay_after_the_end() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1, 2])).run_id
        blob_id = await put_bytes(world, b"x")
        await Peer(world, world.caller.find(1)).put_artifact(run_id, "of the second", blob_id)
        await Peer(world).put_artifact(run_id, "of the first", blob_id, item_index=0)
        await Peer(world, world.caller.find(1)).put_artifact(run_id, "of the second too", blob_id)
        world.caller.answer(*list(world.caller.held))
        await world.finish(run_id)
        assert await names(world, run_id) == [("of the second", 1), ("of the first", 0), ("of the second too", 1)]


async def test_a_step_that_is_executed_again_puts_nothing_twice(autojump_clock: object) -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(FLAKY, [1])).run_id
        old, new = await put_bytes(world, b"old"), await put_bytes(world, b"new")
        first = await Peer(world, world.caller.find(0)).put_artifact(run_id, "report", old)
        world.caller.answer(world.caller.find(0), outcome=BOOM)
        await trio.sleep(1)
        again = Peer(world, world.caller.find(0, attempt=2))
        assert await again.put_artifact(run_id, "report", old) == first
        assert (await again.put_artifact(run_id, "report", new)).artifact_id != first.artifact_id
        assert await names(world, run_id) == [("report", 0), ("report", 0)]


async def test_what_cannot_be_put_is_refused_and_changes_nothing() -> None:
    limits = ByproductLimits(max_artifacts=1)
    async with memory_world(hold, byproduct_limits=limits) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        blob_id = await put_bytes(world, b"x")
        client = Peer(world)
        refusals = {
            ErrorCode.NOT_FOUND: client.put_artifact(run_id, "a", "blake3:" + "0" * 64),
            ErrorCode.INVALID_PARAMS: client.put_artifact(run_id, "a", blob_id, item_index=1),
        }
        for code, refused in refusals.items():
            with pytest.raises(RpcError) as raised:
                await refused
            assert raised.value.code == code
        await client.put_artifact(run_id, "a", blob_id)
        with pytest.raises(RpcError) as raised:
            await client.put_artifact(run_id, "b", blob_id)
        assert raised.value.data["limit"] == "maxArtifacts"
        world.caller.answer(world.caller.find(0))
        await world.finish(run_id)
        with pytest.raises(RpcError) as raised:
            await client.put_artifact(run_id, "c", blob_id)
        assert raised.value.code == ErrorCode.NOT_CURRENT
        assert await names(world, run_id) == [("a", None)]


async def test_an_artifact_that_is_not_there_is_not_found() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        with pytest.raises(RpcError) as refused:
            await world.byproducts.artifacts.get(GetArtifactParams(run_id, "none"), world.client)
        assert (refused.value.code, refused.value.data["kind"]) == (ErrorCode.NOT_FOUND, "artifact")


async def test_size_is_that_of_the_content_of_json_too() -> None:
    async with memory_world(hold) as world:
        run_id = (await world.submit(ONE, [1])).run_id
        blob_id = await world.blobs.put_raw(msgspec.json.encode({"a": 1}), BlobType.DATA)
        assert (await Peer(world).put_artifact(run_id, "data", blob_id)).size == len(b'{"a":1}')
