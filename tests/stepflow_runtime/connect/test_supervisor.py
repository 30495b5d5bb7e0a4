from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from protocol.errors import RpcError
from protocol.heartbeat import Heartbeat
from stepflow_runtime.connect.keeper import Backoff
from stepflow_runtime.model.outcome import Failure
from tests.stepflow_runtime.connect.connect_kit import (
    MemoryOrigin,
    OpenedInMemory,
    execution,
    open_world,
    wait_until_ready,
)


async def test_a_lost_connection_fails_what_is_in_flight_at_once_and_only_once() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = [execution() for _ in range(3)]
        parked = execution()
        world.call(*several, parked)
        world.router.park(parked)
        await origin.servers[0].take(4)
        await origin.servers[0].close()
        failures = await world.sink.wait_for(*several, parked)
        assert {failure.code for failure in failures} == {"UNREACHABLE"}
        assert "python was lost: the memory ended; last on its stderr: no" in failures[0].message
        assert failures[0].data == {"stderr": "oh\nno"}
        world.router.unpark(parked)


async def test_a_lost_server_is_opened_and_initialized_again() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        await origin.servers[0].close()
        server = await wait_until_ready(origin, 2)
        one = execution()
        world.call(one)
        await server.answer_all(1)
        await world.sink.wait_for(one)


async def test_it_tells_how_its_servers_are() -> None:
    origin = MemoryOrigin(maxInFlight=7)
    async with open_world(origin) as world:
        world.call(execution(), execution())
        await origin.servers[0].take(2)
        (server,) = world.router.servers()
        assert (server.plugin, server.name, server.state) == ("python", "python", "ready")
        assert (server.in_flight, server.max_in_flight, server.trouble) == (2, 7, None)
        assert server.stderr == "oh\nno"
        await origin.servers[0].close()
        await wait_until_ready(origin, 2)
        (server,) = world.router.servers()
        assert (server.state, server.in_flight) == ("ready", 0)
        assert "the memory ended" in (server.trouble or "")


async def test_a_server_that_cannot_be_opened_is_down() -> None:
    class Nowhere:
        def open(self) -> Any:
            raise OSError("nobody is there")

    async with open_world(Nowhere(), MemoryOrigin()) as world:
        await trio.testing.wait_all_tasks_blocked()
        down, up = world.router.servers()
        assert (down.name, down.state, down.trouble) == ("python[0]", "down", "nobody is there")
        assert up.name == "python[1]"


async def test_what_is_queued_when_a_server_is_lost_goes_to_the_next() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        first, second = execution(), execution()
        world.call(first, second)
        await origin.servers[0].take()
        await origin.servers[0].close()
        server = await wait_until_ready(origin, 2)
        await server.answer_all(1)
        failure, output = await world.sink.wait_for(first, second)
        assert failure.code == "UNREACHABLE"
        assert output == 1


async def test_an_execution_of_a_lost_server_is_no_longer_found() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution()
        world.call(one)
        (server,) = world.plugin._pool._servers
        assert server.connection.executions == {one.execution_id: one}
        await origin.servers[0].close()
        await world.sink.wait_for(one)
        assert server.connection.executions == {}


async def test_a_line_that_breaks_the_protocol_is_named_as_the_cause() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution()
        world.call(one)
        await origin.servers[0].take()
        await origin.servers[0]._stream.wait_send_all(b"x" * (33 * 1024 * 1024))
        (failure,) = await world.sink.wait_for(one)
        assert "longer than 33554432 bytes" in failure.message


async def test_another_protocol_version_is_refused() -> None:
    origin = MemoryOrigin()
    origin.initialize_result["server_protocol_version"] = 2
    async with open_world(unavailable_timeout_ms=200) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.plugin._make_keeper(origin, "python").run)
        one = execution()
        world.call(one)
        (failure,) = await world.sink.wait_for(one)
        assert "it speaks protocol version 2, the runtime 1" in failure.message
        nursery.cancel_scope.cancel()


class FailingOrigin:
    """Never opens, and notes when it was tried."""

    def __init__(self) -> None:
        self.tried: list[float] = []

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[OpenedInMemory]:
        self.tried.append(trio.current_time())
        raise OSError("nobody there")
        yield


async def test_pauses_between_attempts_grow_up_to_a_limit(autojump_clock: trio.testing.MockClock) -> None:
    origin = FailingOrigin()
    async with open_world(origin, backoff=Backoff(first_s=1, max_s=5)):
        await trio.sleep(21)
        pauses = [after - before for before, after in zip(origin.tried, origin.tried[1:], strict=False)]
        assert [round(pause) for pause in pauses] == [1, 2, 4, 5, 5]


async def test_a_server_that_does_not_come_is_logged_at_once_and_then_seldom(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with capture_logs() as logs:
        async with open_world(FailingOrigin(), backoff=Backoff(first_s=1, max_s=1)):
            await trio.sleep(9.5)
    assert [(entry["server"], entry["failures"]) for entry in logs] == [("python", n) for n in (1, 2, 4, 8)]
    assert {entry["reason"] for entry in logs} == {"nobody there"}


@pytest.mark.parametrize(
    ("failures", "jitter", "delay_s"), [(1, 1.0, 0.1), (1, 0.0, 0.05), (3, 1.0, 0.4), (99, 1.0, 10)]
)
def test_a_pause_is_between_half_and_all_of_its_exponential(failures: int, jitter: float, delay_s: float) -> None:
    assert Backoff().delay_s(failures, jitter) == pytest.approx(delay_s)


async def test_a_server_that_was_healthy_is_started_again_soon(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin()
    async with open_world(origin, backoff=Backoff(first_s=1, max_s=1000)) as world:
        for number in range(1, 5):
            server = await wait_until_ready(origin, number)
            await trio.sleep(100)
            closed = trio.current_time()
            await server.close()
        await wait_until_ready(origin, 5)
        assert trio.current_time() - closed < 2
        assert world.plugin._pool._servers


async def test_components_are_listed_under_the_paths_of_flows() -> None:
    async with open_world(MemoryOrigin()) as world:
        (info,) = await world.router.components()
        assert (info.component, info.description) == ("/python/double", "Twice as much.")


async def test_listing_without_a_server_is_refused_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(FailingOrigin()) as world:
        with pytest.raises(RpcError, match="nobody there"):
            await world.router.components("python")


async def test_listing_an_unknown_plugin_is_refused() -> None:
    async with open_world() as world:
        with pytest.raises(RpcError, match='No plugin is called "ruby"; known: python'):
            await world.router.components("ruby")


@pytest.mark.parametrize(
    ("declared", "is_sent"), [({}, False), ({"maxFrameBytes": 10**6}, True), ({"capabilities": []}, True)]
)
async def test_a_server_that_declares_nothing_is_spared_long_lines(declared: dict[str, Any], is_sent: bool) -> None:
    origin = MemoryOrigin(**declared)
    async with open_world(origin) as world:
        long = execution(input='"%s"' % ("x" * 600_000))
        world.call(long)
        if is_sent:
            await origin.servers[0].answer_all(1)
        await world.sink.wait_for(long)
        outcome = world.sink.answers[long]
        assert isinstance(outcome, Failure) is not is_sent
        if isinstance(outcome, Failure):
            assert outcome.code == "LIMIT_EXCEEDED"
            assert outcome.data["value"] == 512 * 1024


HEARTBEAT = Heartbeat(ping_after_s=10, ping_timeout_s=5)


async def test_a_silent_server_that_declared_ping_is_lost_in_time_and_opened_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    origin = MemoryOrigin(capabilities=["ping"])
    async with open_world(origin, heartbeat=HEARTBEAT) as world:
        one, began = execution(), trio.current_time()
        world.call(one)
        (failure,) = await world.sink.wait_for(one)
        assert trio.current_time() - began == pytest.approx(15)
        assert failure.code == "UNREACHABLE"
        assert "python was lost: it was silent for 10 s (limits.pingAfterMs)" in failure.message
        assert failure.data == {"limit": "pingTimeoutMs", "value": 5000, "stderr": "oh\nno"}
        assert [message["method"] for message in origin.servers[0].others] == ["initialized", "ping"]
        await wait_until_ready(origin, 2)


@pytest.mark.parametrize("declared", [{}, {"capabilities": ["cancel"]}])
async def test_a_server_that_did_not_declare_ping_may_be_silent(
    autojump_clock: trio.testing.MockClock, declared: dict[str, Any]
) -> None:
    origin = MemoryOrigin(**declared)
    async with open_world(origin, heartbeat=HEARTBEAT) as world:
        one = execution()
        world.call(one)
        await trio.sleep(1000)
        assert [message["method"] for message in origin.servers[0].others] == ["initialized"]
        await origin.servers[0].answer_all(1)
        assert await world.sink.wait_for(one) == [1]


async def test_a_server_that_goes_on_with_what_was_cancelled_is_opened_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    origin = MemoryOrigin(capabilities=["cancel"])
    async with open_world(origin, cancel_timeout_ms=10_000) as world:
        stubborn, other, late = execution(), execution(), execution()
        world.call(stubborn, other)
        await origin.servers[0].take()
        world.router.cancel(stubborn)
        await trio.sleep(21)
        world.call(late)
        await origin.servers[0].answer_all(1)
        assert await world.sink.wait_for(other) == [1], "what else was there had time to end"
        server = await wait_until_ready(origin, 2)
        await server.answer_all(1)
        assert await world.sink.wait_for(late) == [1], "nothing new was sent to the first"
        assert trio.current_time() < 22


async def test_what_does_not_end_beside_a_stubborn_component_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin()
    async with open_world(origin, cancel_timeout_ms=10_000) as world:
        stubborn, other = execution(), execution()
        world.call(stubborn, other)
        world.router.cancel(stubborn)
        (failure,) = await world.sink.wait_for(other)
        assert trio.current_time() <= 31
        assert failure.code == "UNREACHABLE"
        assert "a component went on for 10 s after it was cancelled (limits.cancelTimeoutMs)" in failure.message
        assert failure.data["limit"] == "cancelTimeoutMs"
        assert stubborn not in world.sink.answers


async def test_who_is_wanted_or_stops_in_time_is_left_alone(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin(capabilities=["cancel"])
    async with open_world(origin, cancel_timeout_ms=10_000) as world:
        wanted, in_grace = execution(), execution()
        world.call(wanted, in_grace)
        await origin.servers[0].take(2)
        world.router.interrupt(in_grace)
        for _ in range(20):
            cancelled = execution()
            world.call(cancelled)
            (message,) = await origin.servers[0].take_messages()
            world.router.cancel(cancelled)
            await trio.sleep(9)
            await origin.servers[0].send(id=message["id"], error={"code": -32800, "message": "cancelled"})
        assert len(origin.servers) == 1
        assert not world.sink.answers


async def test_a_batch_is_stubborn_when_nobody_wants_any_of_it(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin(capabilities=["cancel", "batch"], batch={"max_size": 2, "max_wait_ms": 50})
    async with open_world(origin, cancel_timeout_ms=10_000) as world:
        world.sink.live = 1000
        pair = [execution(run="r") for _ in range(2)]
        world.call(*pair)
        (message,) = await origin.servers[0].take_messages()
        assert message["method"] == "components/execute_batch"
        world.router.cancel(pair[0])
        await trio.sleep(100)
        assert len(origin.servers) == 1
        world.router.cancel(pair[1])
        await wait_until_ready(origin, 2)
