"""A runtime that is told to removes what is old, by itself and while it serves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio
from msgspec import Raw

from protocol.errors import ErrorCode, RpcError
from protocol.forking import RestartParams
from protocol.link import Link
from protocol.methods import CANCEL_RUN, GET_BLOB, LIST_RUNS, PUT_BLOB, RESTART_RUN, SUBMIT_RUN
from protocol.runs import CancelRunParams, ListRunsParams, SubmitParams
from protocol.types import GetBlobParams, PutBlobParams
from stepflow_runtime.app.config import Config, Retention, SqliteStorage, default_config
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.app.runtime import Runtime
from stepflow_runtime.app.system import SystemClock
from stepflow_runtime.model.ids import RunId

FLOW = b'{"steps":[{"id":"a","component":"/builtin/noop","input":{"$input":"$"}}],"output":{"$step":"a"}}'


def configure(folder: Path, retention: Retention) -> Config:
    return msgspec.structs.replace(
        default_config(folder), storage=SqliteStorage(path=folder / "state.db"), retention=retention
    )


async def test_what_is_old_goes_and_a_flow_that_is_ready_to_run_stays(tmp_path: Path) -> None:
    retention = Retention(ended_runs_ms=1, unused_blobs_ms=1, interval_ms=10**9)
    with trio.fail_after(30):
        async with open_runtime(configure(tmp_path, retention)) as runtime, runtime.connect_local() as client:
            flow_id = (await client.call(PUT_BLOB, PutBlobParams(Raw(FLOW)))).blob_id
            other = (await client.call(PUT_BLOB, PutBlobParams(Raw(b'"other"')))).blob_id
            ended = await client.call(SUBMIT_RUN, SubmitParams(flow_id, [Raw(b"1")], wait=True))
            opened = await client.call(SUBMIT_RUN, SubmitParams(flow_id, [Raw(b"1")], sealed=False))
            while await is_there(client, ended.run_id):
                await runtime.upkeep.tidy()
            assert await is_there(client, opened.run_id), "it has not ended"
            with pytest.raises(RpcError) as gone:
                await client.call(GET_BLOB, GetBlobParams(other))
            assert gone.value.code == ErrorCode.NOT_FOUND
            again = await client.call(SUBMIT_RUN, SubmitParams(flow_id, [Raw(b"2")], wait=True))
            assert again.items.success == 1


async def test_a_run_and_what_it_names_stay_while_a_fork_needs_them(tmp_path: Path) -> None:
    retention = Retention(ended_runs_ms=1, unused_blobs_ms=1, interval_ms=10**9)
    asking = FLOW.replace(b"noop", b"suspend")
    with trio.fail_after(30):
        async with open_runtime(configure(tmp_path, retention)) as runtime, runtime.connect_local() as client:
            flow_id = (await client.call(PUT_BLOB, PutBlobParams(Raw(asking)))).blob_id
            named = (await client.call(PUT_BLOB, PutBlobParams(Raw(b'"named"')))).blob_id
            inputs = [Raw(msgspec.json.encode({"payload": named}))]
            origin = await client.call(SUBMIT_RUN, SubmitParams(flow_id, inputs))
            await client.call(CANCEL_RUN, CancelRunParams(origin.run_id, grace_ms=0))
            fork = await client.call(RESTART_RUN, RestartParams(origin.run_id))
            while not await is_old(runtime, origin.run_id):
                await trio.lowlevel.checkpoint()
            await runtime.upkeep.tidy()
            assert await is_there(client, origin.run_id)
            assert (await client.call(GET_BLOB, GetBlobParams(named))).data == "named"
            await client.call(CANCEL_RUN, CancelRunParams(fork.run_id, grace_ms=0))
            while await is_there(client, origin.run_id):
                await runtime.upkeep.tidy()
            assert not await is_there(client, fork.run_id)


async def test_without_being_told_nothing_goes(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with open_runtime(configure(tmp_path, Retention())) as runtime, runtime.connect_local() as client:
            blob_id = (await client.call(PUT_BLOB, PutBlobParams(Raw(b"1")))).blob_id
            await runtime.upkeep.tidy()
            await runtime.upkeep.run()
            assert (await client.call(GET_BLOB, GetBlobParams(blob_id))).data == 1


def test_a_retention_is_read_from_the_configuration(tmp_path: Path) -> None:
    text = b"retention: {endedRunsMs: 2592000000, unusedBlobsMs: 86400000}"
    read = parse_config(text, "stepflow-config.yml", tmp_path, {}).retention
    assert read == Retention(ended_runs_ms=30 * 86_400_000, unused_blobs_ms=86_400_000)


async def is_old(runtime: Runtime, run_id: str) -> bool:
    record = await runtime.store.run(RunId(run_id))
    assert record is not None
    return SystemClock().wall_ms() > (record.progress.completed_at_ms or 0) + 1


async def is_there(client: Link, run_id: str) -> bool:
    listed = await client.call(LIST_RUNS, ListRunsParams())
    return run_id in {run.run_id for run in listed.runs}
