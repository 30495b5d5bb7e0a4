from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing
from msgspec import Raw

from protocol.methods import CANCEL_REQUEST
from protocol.types import CancelRequestParams, Limits
from stepflow_runtime.connect.durations import FAILED, MAX_COMPONENTS, OTHER, SUCCESS, Durations
from stepflow_runtime.model.outcome import Failure, NoAction
from stepflow_runtime.model.secret import SecretReference
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.connect.connect_kit import MemoryOrigin, execution, open_world, wait_until_ready


async def test_an_execution_is_sent_and_answered() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution(input='{"x": 1.50}')
        world.call(one)
        (params,) = await origin.servers[0].take()
        assert params["component"] == "/double"
        assert params["attempt"] == 1, "always written: published servers need it"
        assert params["observability"] == {
            "run_id": "root-1",
            "flow_id": "blake3:00",
            "step_id": "s",
            "item_index": one.item_index,
            "execution_id": one.execution_id,
        }


async def test_outputs_keep_their_digits() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution()
        world.call(one)
        (message,) = await origin.servers[0].take_messages()
        stream = origin.servers[0]._stream  # what json.dumps would not write
        await stream.wait_send_all(b'{"jsonrpc":"2.0","id":%d,"result":{"output":1.500}}\n' % message["id"])
        await world.sink.wait_for(one)
        assert world.sink.answers[one] == b"1.500"


async def test_answers_of_one_chunk_are_one_turn() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = [execution() for _ in range(10)]
        world.call(*several)
        await origin.servers[0].answer_all(10)
        await world.sink.wait_for(*several)
        assert world.sink.turns < 10


async def test_how_long_executions_took_is_told_of_all_that_were_sent_together(autojump_clock: object) -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = [execution() for _ in range(10)]
        world.call(*several[:6])
        await trio.sleep(2)
        world.call(*several[6:])
        await trio.sleep(3)
        *messages, failing = await origin.servers[0].take_messages(10)
        for message in messages:
            await origin.servers[0].send(id=message["id"], result={"output": 1})
        await origin.servers[0].send(id=failing["id"], error={"code": -32000, "message": "no"})
        await world.sink.wait_for(*several)
        (traffic,) = world.router.traffic()
        found = {key: (each.count, round(each.sum, 3)) for key, each in traffic.durations.found.items()}
        assert found == {
            ("/python/double", "success"): (9, 6 * 5.0 + 3 * 3.0),
            ("/python/double", "failed"): (1, 3.0),
        }


def test_components_beyond_the_first_hundred_are_told_of_together() -> None:
    durations = Durations()
    for number in range(MAX_COMPONENTS + 5):
        durations.note(f"/c/{number}", SUCCESS, 1.0)
    durations.note("/c/0", FAILED, 1.0)
    assert len(durations.found) == MAX_COMPONENTS + 2
    assert durations.found[OTHER, SUCCESS].count == 5


async def test_errors_become_the_codes_of_the_protocol() -> None:
    codes = {
        -32601: "COMPONENT_NOT_FOUND",
        -32602: "INVALID_INPUT",
        -32103: "INVALID_INPUT",
        -32102: "RESOURCE_UNAVAILABLE",
        -32800: "CANCELLED",
        -32020: "LIMIT_EXCEEDED",
        -32000: "COMPONENT_FAILED",
        -32003: "COMPONENT_FAILED",
        7: "COMPONENT_FAILED",
    }
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = [execution() for _ in codes]
        world.call(*several)
        messages = await origin.servers[0].take_messages(len(codes))
        for message, code in zip(messages, codes, strict=True):
            data = {"stack": "line 1"} if code == 7 else None
            await origin.servers[0].send(id=message["id"], error={"code": code, "message": "no", "data": data})
        failures = await world.sink.wait_for(*several)
        assert [failure.code for failure in failures] == list(codes.values())
        assert failures[-1].data == {"stack": "line 1"}
        assert failures[0] == Failure("COMPONENT_NOT_FOUND", "no")


async def test_an_answer_without_output_is_a_component_failure_that_says_so() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        several = empty, none, null, odd = [execution() for _ in range(4)]
        world.call(*several)
        results = [{}, {"no_action": {"reason": "nothing to do"}}, {"output": None}, {"no_action": 3}]
        for message, result in zip(await origin.servers[0].take_messages(4), results, strict=True):
            await origin.servers[0].send(id=message["id"], result=result)
        failure, *outputs, unreadable = await world.sink.wait_for(empty, none, null, odd)
        assert failure.code == unreadable.code == "COMPONENT_FAILED"
        assert 'has no "output"' in failure.message
        assert outputs == [NoAction("nothing to do"), None]


async def test_no_more_is_in_flight_than_the_slots_of_a_server() -> None:
    origin = MemoryOrigin(maxInFlight=2)
    async with open_world(origin) as world:
        server = origin.servers[0]
        several = [execution() for _ in range(5)]
        world.call(*several)
        assert len(await server.take_messages(2)) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes


async def test_slots_that_are_freed_are_filled() -> None:
    origin = MemoryOrigin(maxInFlight=2)
    async with open_world(origin) as world:
        several = [execution() for _ in range(7)]
        world.call(*several)
        await origin.servers[0].answer_all(7)
        await world.sink.wait_for(*several)


async def test_the_runtimes_own_limit_holds_too() -> None:
    origin = MemoryOrigin(maxInFlight=50)
    async with open_world(origin, limits=Limits(max_in_flight=1)) as world:
        world.call(execution(), execution())
        await origin.servers[0].take()
        await trio.testing.wait_all_tasks_blocked()
        assert not origin.servers[0].executes


async def test_a_parked_execution_holds_no_slot() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        server = origin.servers[0]
        parent, child, later = execution(), execution(), execution()
        world.call(parent, child, later)
        (parents,) = await server.take_messages()
        world.router.park(parent)
        world.router.park(parent)
        world.router.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert server.executes, "the only slot is free"
        await server.answer_all(1)
        await world.sink.wait_for(child)
        (laters,) = await server.take_messages()
        world.router.unpark(parent)
        world.router.unpark(parent)
        fourth = execution()
        world.call(fourth)
        await server.send(id=parents["id"], result={"output": 1})
        await world.sink.wait_for(parent)
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes, "the ended wait took its slot back over the limit: later has the only one"
        await server.send(id=laters["id"], result={"output": 1})
        await server.answer_all(1)
        await world.sink.wait_for(later, fourth)


async def test_an_execution_that_ends_while_it_is_parked_frees_its_slot_once() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        server = origin.servers[0]
        first, second, third = execution(), execution(), execution()
        world.call(first)
        world.router.park(first)
        await server.answer_all(1)
        await world.sink.wait_for(first)
        world.router.unpark(first)
        world.call(second, third)
        await server.take()
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes


async def test_root_runs_take_turns() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        server = origin.servers[0]
        big = [execution(root="big") for _ in range(5)]
        small = [execution(root="small") for _ in range(2)]
        world.call(*big, *small)
        order = [params["observability"]["run_id"] for params in await server.answer_all(7)]
        assert order == ["big", "small", "big", "small", "big", "big", "big"]
        await world.sink.wait_for(*big, *small)


async def test_items_under_way_go_before_items_that_begin() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        beginning = [execution(item=item, begins_item=True) for item in (0, 1, 2)]
        under_way = [execution(item=item, step="next") for item in (8, 9)]
        world.call(beginning[0], beginning[1], under_way[0], beginning[2], under_way[1])
        order = [params["observability"]["item_index"] for params in await origin.servers[0].answer_all(5)]
        assert order == [8, 9, 0, 1, 2]
        await world.sink.wait_for(*beginning, *under_way)


async def test_calls_spread_over_processes() -> None:
    first, second = MemoryOrigin(), MemoryOrigin()
    async with open_world(first, second) as world:
        world.call(*[execution() for _ in range(10)])
        await first.servers[0].take(5)
        await second.servers[0].take(5)


async def test_an_execution_that_goes_alone_waits_for_an_idle_process_and_keeps_others_away() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        server = origin.servers[0]
        before, alone, after = execution(), execution(alone=True), execution()
        world.call(before)
        world.call(alone, after)
        (message,) = await server.take_messages()
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes, "the process is not idle"
        await server.send(id=message["id"], result={"output": 1})
        (message,) = await server.take_messages()
        assert message["params"]["observability"]["execution_id"] == alone.execution_id
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes, "it is alone"
        await server.send(id=message["id"], result={"output": 1})
        await server.answer_all(1)
        await world.sink.wait_for(before, alone, after)


async def test_while_an_execution_that_goes_alone_is_parked_its_children_are_served() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        alone, child = execution(alone=True), execution()
        world.call(alone)
        await origin.servers[0].take()
        world.router.park(alone)
        world.call(child)
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(child)


async def test_a_child_goes_alone_on_the_process_where_its_parked_parent_went_alone() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        alone, child = execution(alone=True), execution(alone=True)
        world.call(alone)
        await origin.servers[0].take()
        world.router.park(alone)
        world.call(child)
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(child)


async def test_going_alone_ends_when_a_component_polls_for_what_needs_its_process(
    autojump_clock: trio.testing.MockClock,
) -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        alone, child = execution(alone=True), execution()
        world.call(alone, child)
        await origin.servers[0].take()
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(child)


async def test_a_queued_execution_that_is_cancelled_is_never_sent() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        first, second, third = execution(), execution(), execution()
        world.call(first, second, third)
        world.router.cancel(second)
        sent = await origin.servers[0].answer_all(2)
        assert [params["observability"]["execution_id"] for params in sent] == [first.execution_id, third.execution_id]
        await world.sink.wait_for(first, third)
        assert second not in world.sink.answers


async def test_a_queued_execution_that_is_interrupted_is_answered_and_never_sent() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        first, second = execution(), execution()
        world.call(first, second)
        world.router.interrupt(second)
        await world.sink.wait_for(second)
        outcome = world.sink.answers[second]
        assert isinstance(outcome, Failure)
        assert outcome.code == "CANCELLED"
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(first)


async def test_the_answer_of_an_interrupted_execution_counts() -> None:
    origin = MemoryOrigin(capabilities=["cancel"])
    async with open_world(origin) as world:
        server, one = origin.servers[0], execution()
        world.call(one)
        (message,) = await server.take_messages()
        world.router.interrupt(one)
        world.router.flush()
        assert (await server.take_other("$/cancelRequest"))["params"] == {"id": message["id"]}
        await server.send(id=message["id"], result={"output": 7})
        await world.sink.wait_for(one)
        assert world.sink.answers[one] == b"7"


async def test_cancelling_what_is_in_flight_tells_the_server_and_holds_the_slot_until_it_answers() -> None:
    origin = MemoryOrigin(maxInFlight=1, capabilities=["cancel"])
    async with open_world(origin) as world:
        server = origin.servers[0]
        first, second = execution(), execution()
        world.call(first, second)
        (message,) = await server.take_messages()
        world.router.cancel(first)
        world.router.flush()
        assert (await server.take_other("$/cancelRequest"))["params"] == {"id": message["id"]}
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes
        await server.send(id=message["id"], error={"code": -32800, "message": "cancelled"})
        await server.answer_all(1)
        await world.sink.wait_for(second)
        assert first not in world.sink.answers


async def test_what_is_cancelled_while_it_waits_takes_its_slot_when_the_wait_is_over() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        server = origin.servers[0]
        deaf, child, later = execution(), execution(), execution()
        world.call(deaf)
        (message,) = await server.take_messages()
        world.router.park(deaf)
        world.router.cancel(deaf)
        world.call(child)
        await server.answer_all(1)
        await world.sink.wait_for(child)
        world.router.unpark(deaf)
        world.call(later)
        await trio.testing.wait_all_tasks_blocked()
        assert not server.executes
        await server.send(id=message["id"], result={"output": None})
        await server.answer_all(1)
        await world.sink.wait_for(later)
        assert deaf not in world.sink.answers


async def test_a_drain_waits_for_what_is_in_flight_and_not_for_what_nobody_wants() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        wanted, unwanted = execution(), execution()
        world.call(wanted, unwanted)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.router.drain)
                world.router.cancel(unwanted)
                world.router.flush()
                await trio.testing.wait_all_tasks_blocked()
                assert nursery.child_tasks
                await origin.servers[0].answer_all(1)
                await world.sink.wait_for(wanted)
                world.router.flush()


async def test_a_server_that_did_not_declare_it_is_sent_no_cancel_request() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        one = execution()
        world.call(one)
        await origin.servers[0].take()
        world.router.cancel(one)
        world.router.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert [message["method"] for message in origin.servers[0].others] == ["initialized"]


async def test_time_outs_count_from_dispatch() -> None:
    origin = MemoryOrigin(maxInFlight=1)
    async with open_world(origin) as world:
        first, second = execution(timeout_ms=5), execution(timeout_ms=5)
        world.call(first, second, execution())
        assert world.sink.dispatches == [first]
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(first)
        assert world.sink.dispatches == [first, second]


async def test_a_call_that_does_not_fit_a_frame_of_the_server_fails_and_takes_no_slot() -> None:
    origin = MemoryOrigin(maxInFlight=1, maxFrameBytes=1000)
    async with open_world(origin) as world:
        long, short = execution(input='"' + "x" * 1000 + '"'), execution()
        world.call(long, short)
        await origin.servers[0].answer_all(1)
        failure, _ = await world.sink.wait_for(long, short)
        assert failure.code == "LIMIT_EXCEEDED"
        assert failure.data["limit"] == "maxFrameBytes"


async def test_nothing_new_goes_to_a_server_that_does_not_read() -> None:
    origin = MemoryOrigin()
    async with open_world(origin) as world:
        server = world.plugin._pool._servers[0]
        server.link._peer.queued_bytes = 17 * 1024 * 1024
        one = execution()
        world.call(one)
        assert one.place is world.plugin._pool
        server.link._peer.queued_bytes = 0
        world.router.flush()
        await origin.servers[0].take()


async def test_an_unknown_route_is_answered_and_lists_the_known_ones() -> None:
    async with open_world(MemoryOrigin()) as world:
        one = execution("/nowhere/double")
        world.call(one)
        (failure,) = await world.sink.wait_for(one)
        assert failure.code == "COMPONENT_NOT_FOUND"
        assert "/python/{*component}" in failure.message
        assert not world.router.knows("/nowhere/double")
        assert world.router.knows("/python/double")


async def test_executions_wait_for_a_server_and_are_sent_when_it_comes() -> None:
    origin = MemoryOrigin()
    async with open_world() as world:
        one = execution()
        world.call(one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.plugin._make_keeper(origin, "python").run)
            server = await wait_until_ready(origin)
            await server.answer_all(1)
            await world.sink.wait_for(one)
            nursery.cancel_scope.cancel()


async def test_executions_that_wait_too_long_for_a_server_fail(autojump_clock: trio.testing.MockClock) -> None:
    async with open_world(unavailable_timeout_ms=5000) as world:
        early, gone = execution(), execution()
        world.call(early, gone)
        world.router.cancel(gone)
        await trio.sleep(3)
        late = execution(alone=True)
        world.call(late)
        (failure,) = await world.sink.wait_for(early)
        assert trio.current_time() < 5.5
        assert failure.code == "UNREACHABLE"
        assert failure.message.startswith('No server of the plugin "python" was there within 5 s: ')
        assert failure.data == {"limit": "unavailableTimeoutMs", "value": 5000}
        assert late not in world.sink.answers, "each waits for as long"
        await world.sink.wait_for(late)
        assert 7.5 < trio.current_time() < 8.5
        assert gone not in world.sink.answers


# --- a full queue ----------------------------------------------------------------------------------------------------


async def test_nothing_new_goes_to_a_server_that_has_much_unsent_until_it_has_read_on() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, max_queued_bytes=4000) as world:
        (server,) = world.plugin._pool._servers
        server.link.notify(CANCEL_REQUEST, CancelRequestParams(Raw(b'"%b"' % (b"x" * 2000))))
        one = execution()
        world.call(one)
        assert server.load == 0, "it is not even queued there"
        await origin.servers[0].answer_all(1)
        await world.sink.wait_for(one)


# --- secrets ---------------------------------------------------------------------------------------------------------


class OneSecret:
    """A `SecretSource` with the value `hush`, or none."""

    def __init__(self, value: bytes | None = b'"hush"') -> None:
        self.value = value

    def find(self, reference: SecretReference) -> bytes | None:
        return self.value

    def may_read(self, env_var: str) -> bool:
        return False

    def scrub(self, text: str) -> str:
        return text.replace(json.loads(self.value or b'""') or "hush", "-")

    def scrub_json(self, value: Any) -> Any:
        return json.loads(self.scrub(json.dumps(value)))


TOKEN = "$secret:key:1"


def with_secret() -> Execution:
    return execution(input=f'{{"key": "{TOKEN}", "n": 1.10}}', secrets={TOKEN: SecretReference("key")})


async def test_a_secret_is_put_in_on_the_wire_and_taken_out_of_the_error_that_quotes_it() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, secrets=OneSecret()) as world:
        one = with_secret()
        world.call(one)
        (message,) = await origin.servers[0].take_messages()
        assert message["params"]["input"] == {"key": "hush", "n": 1.1}
        assert b"hush" not in one.input
        error = {"code": -32000, "message": "bad key hush", "data": {"stack": ["hush"]}}
        await origin.servers[0].send(id=message["id"], error=error)
        (failure,) = await world.sink.wait_for(one)
        assert (failure.message, failure.data) == ("bad key -", {"stack": ["-"]})


async def test_why_a_server_was_lost_is_told_without_the_secret_that_it_quotes() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, secrets=OneSecret(b'"memory"')) as world:
        one = with_secret()
        world.call(one)
        await origin.servers[0].take()
        await origin.servers[0].close()
        (failure,) = await world.sink.wait_for(one)
        assert "the - ended" in failure.message
        await wait_until_ready(origin, 2)
        (server,) = world.router.servers()
        assert "the - ended" in (server.trouble or "")


async def test_a_secret_that_has_lost_its_value_fails_the_step_and_nothing_is_sent() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, secrets=OneSecret(None)) as world:
        one = with_secret()
        world.call(one)
        (failure,) = await world.sink.wait_for(one)
        assert failure.code == "RESOURCE_UNAVAILABLE"
        assert "'key' has no value" in failure.message
        assert not origin.servers[0].executes


async def test_a_token_in_the_data_of_another_run_stays_a_token() -> None:
    origin = MemoryOrigin()
    async with open_world(origin, secrets=OneSecret()) as world:
        world.call(execution(input=f'["{TOKEN}"]'))
        (params,) = await origin.servers[0].take()
        assert params["input"] == [TOKEN]
