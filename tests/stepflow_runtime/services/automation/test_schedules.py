"""Schedules: each time fires once, in its zone, whether runs overlap, the clock jumps or the runtime dies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import trio
from msgspec import Raw

from protocol.automation import CreateScheduleParams, ListSchedulesParams, RunTemplate, Schedule, ScheduleParams
from protocol.errors import ErrorCode, RpcError
from protocol.runs import ListRunsParams, RunState, RunStatus
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.ports import StoreUnavailable
from stepflow_runtime.services.automation.cron import check_cron, next_after
from stepflow_runtime.services.status import parse_time
from stepflow_runtime.store.memory import open_memory
from tests.stepflow_runtime.engine.world import (
    EPOCH_MS,
    ONE,
    World,
    expect_code,
    flow,
    hold,
    memory_world,
    open_world,
    settle_down,
    step,
)

HOUR_MS = 3_600_000
HOUR_S = 3600
BEGINS_MS = EPOCH_MS - EPOCH_MS % HOUR_MS + HOUR_MS - 60_000
"""A minute before a full hour."""


def at(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next times, as UTC."""
    found, ms = list[str](), at(after, zone)
    for _ in range(count):
        following = next_after(cron, zone, ms)
        assert following is not None
        ms = following
        found.append(f"{datetime.fromtimestamp(ms / 1000, ZoneInfo('UTC')):%m-%d %H:%M}")
    return found


async def create(world: World, cron: str = "0 * * * *", **params: Any) -> Schedule:
    template = RunTemplate(flow_id=await world.put_flow(ONE), inputs=[Raw(b"1")])
    given = CreateScheduleParams(**{"cron": cron, "time_zone": "UTC", "run": template, **params})
    return await world.schedules.create(given, world.client)


async def listed(world: World) -> Schedule:
    (schedule,) = (await world.schedules.list_schedules(ListSchedulesParams(), world.client)).schedules
    return schedule


async def runs(world: World) -> list[RunStatus]:
    """Oldest first."""
    return (await world.listing.runs(ListRunsParams(), world.client)).runs[::-1]


def open_at_hour(behave: Any = None, **options: Any) -> Any:
    given = {} if behave is None else {"behave": behave}
    return memory_world(**given, epoch_ms=BEGINS_MS, **options)


# --- times ---


def test_times_follow_the_clock_of_their_zone() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-01-10T00:00", 2) == ["01-10 01:30", "01-11 01:30"]
    assert times("30 2 * * *", "Europe/Berlin", "2026-07-10T00:00", 1) == ["07-10 00:30"]


def test_a_time_in_the_hour_that_is_left_out_fires_right_after_it() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:30"]


def test_a_time_in_the_hour_that_comes_twice_fires_once() -> None:
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    between = at("2026-10-25T00:45")  # after the first 2:30, before the second
    assert next_after("30 2 * * *", "Europe/Berlin", between) == at("2026-10-26T01:30")
    second = at("2026-10-25T01:10")  # the clock shows 2:10 again
    assert next_after("30 2 * * *", "Europe/Berlin", second) == at("2026-10-26T01:30")


def test_what_repeats_by_the_hour_follows_the_clock_as_it_runs() -> None:
    expected = ["10-24 23:00", "10-25 00:00", "10-25 01:00", "10-25 02:00"]
    assert times("0 * * * *", "Europe/Berlin", "2026-10-25T00:30", 4) == expected


def test_a_date_that_never_comes_is_none() -> None:
    assert next_after("0 0 29 2 *", "UTC", at("2026-01-01T00:00")) == at("2028-02-29T00:00")


@pytest.mark.parametrize("cron", ["", "* * * *", "61 * * * *", "x * * * *", "0 0 31 2 *", "@daily"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="no cron expression"):
        check_cron(cron, "UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe/", "/etc/localtime", "Europe\0"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        check_cron("0 0 * * *", zone)


# --- firing ---


async def test_a_schedule_fires_at_its_times(autojump_clock: object) -> None:
    async with open_at_hour() as world:
        schedule = await create(world, name="hourly")
        assert (schedule.name, schedule.next_at) == ("hourly", "2026-09-21T15:00:00.000Z")
        await trio.sleep(59)
        assert not await runs(world)
        await trio.sleep(2 * HOUR_S)
        found = await runs(world)
        assert [run.created_at[11:16] for run in found] == ["15:00", "16:00"]
        assert {run.status for run in found} == {RunState.SUCCESS}
        assert {(run.labels or {})["scheduleId"] for run in found} == {schedule.schedule_id}
        after = await listed(world)
        assert (after.last_at, after.next_at) == ("2026-09-21T16:00:00.000Z", "2026-09-21T17:00:00.000Z")
        assert after.last_run_id == found[-1].run_id


async def test_a_run_that_has_not_ended_has_the_next_one_left_out(autojump_clock: object) -> None:
    async with open_at_hour(hold) as world:
        await create(world)
        await trio.sleep(2.5 * HOUR_S)
        assert len(await runs(world)) == 1
        assert (await listed(world)).skipped == 2
        world.caller.answer(*world.caller.held)
        await trio.sleep(HOUR_S)
        assert len(await runs(world)) == 2


async def test_times_queue_up_behind_a_run_that_has_not_ended(autojump_clock: object) -> None:
    async with open_at_hour(hold) as world:
        await create(world, overlap="queue", catch_up_ms=0)
        await trio.sleep(2.5 * HOUR_S)
        assert len(await runs(world)) == 1
        assert (await listed(world)).queued == 2
        for count in (2, 3):
            world.caller.answer(*world.caller.held)
            await settle_down()
            assert len(await runs(world)) == count
        assert (await listed(world)).queued is None


async def test_times_beyond_those_that_may_queue_up_are_left_out(autojump_clock: object) -> None:
    async with open_at_hour(hold) as world:
        await create(world, overlap="queue", catch_up_ms=0)
        await trio.sleep(9.5 * HOUR_S)
        schedule = await listed(world)
        assert (schedule.queued, schedule.skipped) == (5, 4)


async def test_the_next_run_cancels_the_one_before(autojump_clock: object) -> None:
    async with open_at_hour(hold) as world:
        await create(world, overlap="cancelPrevious")
        await trio.sleep(2.5 * HOUR_S)
        first, second, third = await runs(world)
        assert [first.status, second.status, third.status] == ["cancelled", "cancelled", "running"]
        assert first.cancel_reason == "scheduleOverlap"


async def test_a_paused_schedule_does_not_fire_and_makes_nothing_up_for_it(autojump_clock: object) -> None:
    async with open_at_hour() as world:
        schedule = await create(world, paused=True)
        assert (schedule.paused, schedule.next_at) == (True, None)
        meant = ScheduleParams(schedule.schedule_id)
        await trio.sleep(2 * HOUR_S)
        assert not await runs(world)
        await world.schedules.unpause(meant, world.client)
        await trio.sleep(HOUR_S)
        assert len(await runs(world)) == 1
        await world.schedules.pause(meant, world.client)
        await trio.sleep(5 * HOUR_S)
        assert len(await runs(world)) == 1


async def test_a_deleted_schedule_fires_no_more_and_its_run_goes_on(autojump_clock: object) -> None:
    async with open_at_hour(hold) as world:
        schedule = await create(world)
        await trio.sleep(120)
        await world.schedules.delete(ScheduleParams(schedule.schedule_id), world.client)
        assert not (await world.schedules.list_schedules(ListSchedulesParams(), world.client)).schedules
        await trio.sleep(5 * HOUR_S)
        assert [run.status for run in await runs(world)] == ["running"]


@pytest.mark.parametrize(
    ("catch_up_ms", "away_h", "made_up"), [(2 * HOUR_MS, 3, ["18:00"]), (None, 3, ["18:00"]), (0, 3, [])]
)
async def test_a_runtime_that_was_away_makes_up_for_the_times_in_its_window(
    autojump_clock: object, catch_up_ms: int | None, away_h: int, made_up: list[str]
) -> None:
    async with open_memory() as store:
        async with open_world(store, hold, epoch_ms=BEGINS_MS) as world:
            await create(world, catch_up_ms=catch_up_ms, overlap="cancelPrevious")
        later_ms = BEGINS_MS + away_h * HOUR_MS + 2 * 60_000 - round(trio.current_time() * 1000)
        async with open_world(store, hold, epoch_ms=later_ms, boot=2) as world:
            await settle_down()
            fired = [f"{run.created_at[11:13]}:00" for run in await runs(world)]
            assert fired == (["18:00"] if made_up else [])


async def test_all_times_in_the_window_are_made_up_for_in_a_queue(autojump_clock: object) -> None:
    async with open_at_hour() as world:
        await create(world, overlap="queue", catch_up_ms=3 * HOUR_MS)
        world.clock.jump(10 * HOUR_MS)
        await trio.sleep(40)
        schedule = await listed(world)
        assert len(await runs(world)) == 3
        assert (schedule.skipped, schedule.last_at) == (1, "2026-09-22T00:00:00.000Z")


@pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS, 3 * HOUR_MS, 60_000])
async def test_a_clock_that_jumps_fires_no_time_twice(autojump_clock: object, by_ms: int) -> None:
    async with open_at_hour() as world:
        await create(world, catch_up_ms=10 * HOUR_MS, overlap="queue")
        await trio.sleep(90)
        assert len(await runs(world)) == 1
        for back in (1, -1, 1):
            world.clock.jump(back * by_ms)
            await trio.sleep(40)
        await trio.sleep(3 * HOUR_S)
        keys = [record.spec.idempotency.key async for record in all_records(world) if record.spec.idempotency]
        assert len(keys) == len(set(keys)) == len(await runs(world))
        hours = sorted(int(key.rpartition("/")[2]) for key in keys)
        assert hours == [hours[0] + n * HOUR_MS for n in range(len(hours))], "no time is lost either"


async def all_records(world: World) -> Any:
    for run in await runs(world):
        yield await world.store.run(run.run_id)


@pytest.mark.parametrize("number", range(1, 12))
async def test_a_death_around_a_firing_loses_and_doubles_none(autojump_clock: object, number: int) -> None:
    class Died(Exception):
        pass

    async with open_memory() as store:

        def dying(when: str) -> Callable[[int], Any]:
            async def hook(count: int) -> None:
                if count == number:
                    raise Died(when)

            return hook

        for when in ("before", "after"):
            hooks: Any = (dying(when), None) if when == "before" else (None, dying(when))
            try:
                async with open_world(
                    store, epoch_ms=BEGINS_MS, boot=1 if when == "before" else 2, hooks=hooks
                ) as world:
                    if not (await world.schedules.list_schedules(ListSchedulesParams(), world.client)).schedules:
                        await create(world, catch_up_ms=10 * HOUR_MS, overlap="queue")
                    await trio.sleep(2.5 * HOUR_S)
            except* Died:
                pass
            await trio.sleep(5)
        epoch_ms = BEGINS_MS + 3 * HOUR_MS - round(trio.current_time() * 1000)
        async with open_world(store, epoch_ms=epoch_ms, boot=3) as world:
            await trio.sleep(90)
            schedule = await listed(world)
            assert schedule.last_at is not None
            first_ms = next_after("0 * * * *", "UTC", parse_time(schedule.created_at, "createdAt"))
            assert first_ms is not None
            hours = 1 + (parse_time(schedule.last_at, "lastAt") - first_ms) // HOUR_MS
            assert len(await runs(world)) == hours
            assert {run.status for run in await runs(world)} <= {RunState.SUCCESS}


async def test_while_the_disk_is_full_a_time_waits(autojump_clock: object) -> None:
    async with open_at_hour() as world:
        await create(world)

        async def refuse(number: int) -> None:
            if trio.current_time() < 300:
                raise StoreUnavailable("full")

        world.store.before = refuse
        await trio.sleep(200)
        assert not await runs(world)
        await trio.sleep(200)
        assert len(await runs(world)) == 1


async def test_a_time_that_cannot_fire_says_why(autojump_clock: object) -> None:
    needs = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    definition = flow(step("a"), schemas={"type": "object", "properties": {"variables": needs}})
    async with open_at_hour() as world:
        template = RunTemplate(flow_id=await world.put_flow(definition), inputs=[], variables={"key": Raw(b'"v"')})
        schedule = await create(world, run=template)
        world.schedules._scheduler.live[schedule.schedule_id].record.run.variables = None
        await trio.sleep(120)
        after = await listed(world)
        assert after.last_error is not None
        assert (after.last_at, after.last_run_id) == ("2026-09-21T15:00:00.000Z", None)


# --- what peers ask ---


@pytest.mark.parametrize(
    ("params", "code", "path"),
    [
        ({"cron": "every day"}, ErrorCode.INVALID_PARAMS, "$.cron"),
        ({"time_zone": "Mars/Olympus"}, ErrorCode.INVALID_PARAMS, "$.timeZone"),
        ({"run": RunTemplate(flow_id="blake3:" + "0" * 64, inputs=[])}, ErrorCode.NOT_FOUND, None),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(params: dict[str, Any], code: ErrorCode, path: str | None) -> None:
    async with memory_world() as world:
        with pytest.raises(RpcError) as caught:
            await create(world, **params)
        assert expect_code(caught.value, code).data.get("path") == path
        assert not (await world.schedules.list_schedules(ListSchedulesParams(), world.client)).schedules


async def test_too_many_schedules_are_refused() -> None:
    async with memory_world() as world:
        for _ in range(5):
            await create(world)
        with pytest.raises(RpcError) as caught:
            await create(world)
        assert expect_code(caught.value, ErrorCode.LIMIT_EXCEEDED).data["limit"] == "maxSchedules"


async def test_a_schedule_that_is_asked_for_again_is_there_once() -> None:
    async with memory_world() as world:
        for number in range(4):
            await create(world, request_id=f"other {number}")
        made: list[Schedule] = []

        async def ask() -> None:
            made.append(await create(world, request_id="mine"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        await ask()  # though there may be no more of them now
        assert len({schedule.schedule_id for schedule in made}) == 1
        assert sorted(bool(schedule.deduplicated) for schedule in made) == [False, True, True, True]
        with pytest.raises(RpcError) as caught:
            await create(world, "1 * * * *", request_id="mine")
        assert expect_code(caught.value, ErrorCode.CONFLICT).data["scheduleId"] == made[0].schedule_id
        await world.schedules.delete(ScheduleParams(made[0].schedule_id), world.client)
        assert (await create(world, request_id="mine")).schedule_id != made[0].schedule_id


async def test_the_next_runtime_knows_which_schedules_were_asked_for() -> None:
    async with open_memory() as store:
        async with open_world(store) as world:
            before = await create(world, request_id="mine")
        async with open_world(store, boot=2) as world:
            assert (await create(world, request_id="mine")).schedule_id == before.schedule_id
            assert (await listed(world)).schedule_id == before.schedule_id


async def test_a_component_server_sees_only_schedules_of_its_plugin(autojump_clock: object) -> None:
    async with open_at_hour() as world:
        ours, theirs = Connection("a", "server", "a"), Connection("b", "server", "b")
        template = RunTemplate(flow_id=await world.put_flow(ONE), inputs=[Raw(b"1")])
        given = CreateScheduleParams(cron="0 * * * *", time_zone="UTC", run=template)
        schedule = await world.schedules.create(given, ours)
        assert not (await world.schedules.list_schedules(ListSchedulesParams(), theirs)).schedules
        for connection, schedule_id in ((theirs, schedule.schedule_id), (world.client, "none")):
            with pytest.raises(RpcError) as caught:
                await world.schedules.delete(ScheduleParams(schedule_id), connection)
            assert expect_code(caught.value, ErrorCode.NOT_FOUND).data["kind"] == "schedule"
        await trio.sleep(120)
        (run,) = await runs(world)
        assert run.created_by == "a"


def test_a_schedule_is_stored_as_it_was_given() -> None:
    template = RunTemplate(flow_id="f", inputs=[Raw(b"1.0")], variables={"n": Raw(b"12345678901234567890")})
    again = msgspec.json.decode(msgspec.json.encode(template), type=RunTemplate)
    assert [bytes(value) for value in again.inputs] == [b"1.0"]
    assert again.variables is not None
    assert bytes(again.variables["n"]) == b"12345678901234567890"
