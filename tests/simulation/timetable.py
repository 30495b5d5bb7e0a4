"""A client with a schedule: whatever fails, each of its times has one run; none is missing unless a clock was set."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from msgspec import Raw

from protocol import methods as m
from protocol.automation import (
    CreateScheduleParams,
    ListSchedulesParams,
    ListSchedulesResult,
    RunTemplate,
    ScheduleParams,
)
from protocol.errors import ErrorCode, RpcError
from stepflow_runtime.services.automation.scheduling import SCHEDULE_LABEL
from tests.simulation.workload import PLAIN, Client, draw_input
from tests.simulation.world import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

MINUTE_MS: Final = 60_000
LIFE_S: Final = 130.0
"""How long a schedule is there."""

SLACK_MS: Final = 30_000
"""A time that came so shortly before the end may not have fired."""


async def follow_schedule(client: Client, chance: Random, key: str) -> None:
    """Has a run each minute for a while; then checks that it was created once, deletes it, and checks what ran."""
    inputs = [Raw(msgspec.json.encode(draw_input(chance, number))) for number in range(chance.choice([0, 1, 3]))]
    run = RunTemplate(flow_id=await client.put_flow(chance.choice(PLAIN)), inputs=inputs)
    params = CreateScheduleParams(cron="* * * * *", time_zone="UTC", run=run, name=key, overlap="queue")
    params.request_id = key
    await client.ask(m.CREATE_SCHEDULE, params)
    began_ms = round(trio.current_time() * 1000)
    await trio.sleep(LIFE_S)
    ended_ms = round(trio.current_time() * 1000)
    listed: ListSchedulesResult = await client.ask(m.LIST_SCHEDULES, ListSchedulesParams())
    made = [schedule.schedule_id for schedule in listed.schedules if schedule.name == key]
    if len(made) != 1:
        client.world.trace.violate(f"the schedule {key} was asked for once, and there are {made}")
    for schedule_id in made:
        await _delete(client, schedule_id)
        _check(client.world, schedule_id, began_ms + EPOCH_MS, ended_ms + EPOCH_MS - SLACK_MS)


async def _delete(client: Client, schedule_id: str) -> None:
    try:
        await client.ask(m.DELETE_SCHEDULE, ScheduleParams(schedule_id))
    except RpcError as error:
        if error.code != ErrorCode.NOT_FOUND:  # it was deleted, and the answer was lost
            raise


def _check(world: World, schedule_id: str, began_ms: int, ended_ms: int) -> None:
    state, trace = world.disk.state, world.trace
    runs = {id for id, run in state._runs.items() if run.record.spec.labels.get(SCHEDULE_LABEL) == schedule_id}
    prefix = f"schedule/{schedule_id}/"
    fired = {int(key.removeprefix(prefix)): id for (_, key), id in state._by_idempotency_key.items() if prefix in key}
    trace.counts["times fired"] += len(fired)
    if runs != set(fired.values()) or len(runs) != len(fired):
        trace.violate(f"schedule {schedule_id} has the runs {sorted(runs)}, its times gave {fired}")
    first_ms = began_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
    missing = set(range(first_ms, ended_ms, MINUTE_MS)) - fired.keys()
    if missing and not trace.counts["clock set"]:
        trace.violate(f"schedule {schedule_id} did not fire at {sorted(missing)}, only at {sorted(fired)}")
