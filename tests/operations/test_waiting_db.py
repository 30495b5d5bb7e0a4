"""A database in which runs wait is as sound as any other."""

from __future__ import annotations

from pathlib import Path

import trio

from protocol.runs import WaitFor
from stepflow_runtime.model.outcome import Answer, Suspension
from stepflow_runtime.ports import Execution
from stepflow_runtime.services.audit import Audit
from stepflow_runtime.store.sqlite import open_sqlite
from tests.stepflow_runtime.engine.world import EPOCH_MS, ONE, open_world


def wait(execution: Execution) -> Answer:
    if execution.item_index % 2:
        return Suspension(until_ms=EPOCH_MS + 3_600_000)
    return execution.resumes[0].data if execution.resumes else Suspension()


async def test_runs_that_wait_and_were_resumed_have_no_faults(autojump_clock: object, tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "runs.db", synchronous="OFF", inline_only=True) as store:
        async with open_world(store, wait) as world:
            run_id = (await world.submit(ONE, range(2500), max_concurrency=100)).run_id
            await trio.sleep(60)
            for item in (0, 2, 2000):
                await world.resume(run_id, 7, item_index=item)
            await trio.sleep(1)
            status = await world.get(run_id, wait=True, wait_for=WaitFor.SETTLED, timeout_ms=1)
            assert (status.items.suspended, status.items.success, status.items.running) == (1247, 3, 1250)
            assert len(status.suspensions or []) == 100
            assert [fault async for fault in Audit(store).find_faults()] == []
        async with open_world(store, wait, boot=2, epoch_ms=EPOCH_MS + 100_000) as world:
            assert (await world.get(run_id)).items.suspended == 1247
            await world.cancel(run_id)
            assert [fault async for fault in Audit(store).find_faults()] == []
