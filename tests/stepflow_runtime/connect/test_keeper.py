"""A component server that gives way to another one of the same origin."""

from __future__ import annotations

import trio
import trio.testing

from stepflow_runtime.connect.keeper import Backoff
from stepflow_runtime.connect.supervisor import GIVE_WAY_S
from stepflow_runtime.model.outcome import Displaced
from tests.stepflow_runtime.connect.connect_kit import MemoryOrigin, execution, open_world, wait_until_ready


async def test_the_next_server_is_ready_before_the_old_one_ends() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        first = origin.servers[0]
        early, late = execution(), execution()
        world.call(early)
        await first.take()
        assert await world.plugin.replace("server.py changed") is None
        assert len(origin.servers) == 2
        world.call(late)
        await origin.servers[1].answer_all(1)
        await world.sink.wait_for(late)
        assert early not in world.sink.answers


async def test_what_ends_soon_may_end_where_it_is(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution()
        world.call(one)
        (message,) = await origin.servers[0].take_messages()
        await world.plugin.replace("server.py changed")
        await trio.sleep(GIVE_WAY_S / 2)
        await origin.servers[0].send(id=message["id"], result={"output": 7})
        assert await world.sink.wait_for(one) == [7]


async def test_what_does_not_end_in_time_goes_again_and_has_not_failed(autojump_clock: trio.testing.MockClock) -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = [execution() for _ in range(2)]
        world.call(*several)
        await origin.servers[0].take(2)
        await world.plugin.replace("server.py changed")
        outcomes = await world.sink.wait_for(*several)
        assert outcomes == [Displaced("its component server was restarted: server.py changed")] * 2
        (server,) = world.router.servers()
        assert server.state == "ready"


async def test_the_old_server_goes_on_when_the_new_one_does_not_start() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        origin.initialize_result["server_protocol_version"] = 2
        failure = await world.plugin.replace("server.py changed")
        assert failure is not None
        assert "protocol version 2" in failure.message
        one = execution()
        world.call(one)
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(one)


async def test_a_server_that_could_not_start_is_replaced_without_its_pause() -> None:
    origin = MemoryOrigin(server_protocol_version=2)
    async with open_world(backoff=Backoff(first_s=3600, max_s=3600)) as world:
        plugin = world.plugin
        broken = plugin._make_keeper(origin, "python")
        plugin._keepers = [broken]
        assert plugin._nursery is not None
        plugin._nursery.start_soon(broken.run)
        assert await broken.try_out() is not None
        origin.initialize_result["server_protocol_version"] = 1
        one = execution()
        world.call(one)
        assert await plugin.replace("server.py changed") is None
        await (await wait_until_ready(origin, 2)).answer_all(1)
        await world.sink.wait_for(one)
        await trio.testing.wait_all_tasks_blocked()
        assert len(origin.servers) == 2  # the one that gave way is not started once more


async def test_each_of_several_processes_is_replaced() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, origin) as world:
        await wait_until_ready(origin, 2)
        await world.plugin.replace("server.py changed")
        assert len(origin.servers) == 4
        assert {server.name for server in world.router.servers()} == {"python[0]", "python[1]"}
