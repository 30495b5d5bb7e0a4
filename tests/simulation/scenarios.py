"""What is asked of the runtime: clients that submit, append, wait, cancel, repeat themselves, and leave.

Each scenario is one client on connections of its own; a seed chooses scenarios. What they are made of is in `workload`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import msgspec
import trio
from msgspec import Raw

from protocol import methods as m
from protocol.errors import ErrorCode, RpcError
from protocol.runs import AppendParams, CancelRunParams, EventsParams, GetRunParams
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from tests.simulation import again, waiting
from tests.simulation.deadly import check_ends
from tests.simulation.jobs import follow_job
from tests.simulation.listening import listen
from tests.simulation.telling import be_told
from tests.simulation.timetable import follow_schedule
from tests.simulation.workload import CHAIN, ONE, PLAIN, Client, Order, draw_input, draw_order
from tests.simulation.world import World


async def _submit_and_wait(client: Client, chance: Random, key: str) -> None:
    order = draw_order(chance, client.world)
    status = await client.submit(order, idempotency_key=key, wait=True)
    await client.finish(status.run_id)


async def _submit_then_get(client: Client, chance: Random, key: str) -> None:
    order = draw_order(chance, client.world)
    status = await client.submit(order, idempotency_key=key)
    while status.status not in TERMINAL_RUN_STATES and chance.random() < 0.7:
        params = GetRunParams(status.run_id, wait=True, include_results=True, timeout_ms=chance.choice([0, 10, 300]))
        status = await client.ask(m.GET_RUN, params)
        client.world.promises.note_end(status)
    await client.finish(status.run_id)


async def _append(client: Client, chance: Random, key: str) -> None:
    order = draw_order(chance, client.world)
    rest = list(order.inputs)
    first = [rest.pop(0) for _ in range(min(len(rest), chance.randint(0, 3)))]
    status = await client.submit(Order(order.flow, first, order.options), idempotency_key=key, sealed=False)
    total = len(first)
    try:
        while rest or total == len(first):
            part = [rest.pop(0) for _ in range(min(len(rest), chance.randint(1, 8)))]
            raw = [Raw(msgspec.json.encode(value)) for value in part]
            params = AppendParams(status.run_id, total, raw, sealed=not rest)
            result = await client.ask(m.APPEND_RUN, params)
            if chance.random() < 0.3:
                result = await client.ask(m.APPEND_RUN, params)
            total += len(part)
            if result.total != total:
                client.world.trace.violate(f"{status.run_id} was appended to: {result.total} items, not {total}")
            client.world.promises.note_run(status.run_id, total)
            await trio.sleep(chance.random() * 0.05)
            if not rest:
                break
    except RpcError as error:
        if error.code != ErrorCode.CONFLICT:
            raise  # it was stopped before it was full: by its policy, or its time-out
    await client.finish(status.run_id)


async def _cancel(client: Client, chance: Random, key: str) -> None:
    order = draw_order(chance, client.world)
    status = await client.submit(order, idempotency_key=key)
    await trio.sleep(chance.choice([0, 0.01, 0.05, 0.2, 1]))
    total = len(order.inputs)
    items = None if chance.random() < 0.6 or not total else sorted({chance.randrange(total) for _ in range(3)})
    grace_ms = chance.choice([0, 10, 200, 5000])
    result = await client.ask(m.CANCEL_RUN, CancelRunParams(status.run_id, items, grace_ms=grace_ms))
    if items is None and result.run.status not in TERMINAL_RUN_STATES:
        client.world.trace.violate(f"cancelling {status.run_id} was answered while it is {result.run.status}")
    if items is None:
        client.world.promises.note_end(result.run)
    await client.finish(status.run_id)


async def _leave(client: Client, chance: Random, key: str) -> None:
    """Waits for a while, and then no more; or is cut off in the middle of it."""
    order = draw_order(chance, client.world)
    with trio.move_on_after(chance.choice([0.005, 0.02, 0.1])):
        await client.submit(order, idempotency_key=key, wait=True)
    if chance.random() < 0.5:
        await client.close()
    if chance.random() < 0.5:
        status = await client.submit(order, idempotency_key=key)
        await client.finish(status.run_id)


async def _repeat(client: Client, chance: Random, key: str) -> None:
    """Several say the same at once, under the same key."""
    order = draw_order(chance, client.world)

    async def say(number: int) -> None:
        async with trio.open_nursery() as nursery:
            other = client.another(nursery, number)
            status = await other.submit(order, idempotency_key=key, wait=number % 2 == 0)
            await other.finish(status.run_id)
            await other.close()

    async with trio.open_nursery() as nursery:
        for number in range(chance.randint(2, 4)):
            nursery.start_soon(say, number)


async def _follow(client: Client, chance: Random, key: str) -> None:
    """Reads a run's events to their end."""
    order = draw_order(chance, client.world)
    status = await client.submit(order, idempotency_key=key)
    cursor, last = None, 0
    while True:
        page = await client.ask(m.LIST_EVENTS, EventsParams(status.run_id, cursor=cursor, timeout_ms=1000))
        for event in page.events:
            if event.seq < last:
                client.world.trace.violate(f"event {event.seq} of {status.run_id} came after {last}")
            last = event.seq
        cursor = page.next_cursor
        if page.done:
            break
    await client.finish(status.run_id)


async def _listen(client: Client, chance: Random, key: str) -> None:
    """Follows what the items of a run tell while they are at work."""
    inputs = [{**draw_input(chance, number), "tell": True} for number in range(chance.randint(1, 8))]
    order = Order(chance.choice(PLAIN), inputs, {"max_concurrency": chance.choice([None, 1, 3])})
    status = await client.submit(order, idempotency_key=key)
    await listen(client, status.run_id, chance)
    await client.finish(status.run_id)


async def _kill(client: Client, chance: Random, key: str) -> None:
    """One item takes the runtime down each time it is executed."""
    inputs: list[dict[str, Any]] = [{"v": number, "ms": 20} for number in range(chance.randint(1, 8))]
    deadly = chance.randrange(len(inputs))
    inputs[deadly]["deadly"] = True
    order = Order(chance.choice([ONE, CHAIN]), inputs, {"max_concurrency": chance.choice([None, 1, 3])})
    status = await client.submit(order, idempotency_key=key)
    check_ends(client.world, await client.finish(status.run_id), deadly)


async def _answer(client: Client, chance: Random, key: str) -> None:
    """Answers what the items of a run ask."""
    inputs = [waiting.draw_input(chance, number) for number in range(chance.randint(1, 6))]
    order = Order(chance.choice(waiting.FLOWS), inputs, {"max_concurrency": chance.choice([None, 1, 2])})
    status = await client.submit(order, idempotency_key=key)
    await waiting.answer(client, status.run_id, chance)
    await client.finish(status.run_id)


async def _go_again(client: Client, chance: Random, key: str) -> None:
    """Has a run go again, or parts of it."""
    order = draw_order(chance, client.world)
    status = await client.submit(order, idempotency_key=key)
    await again.go_again(client, status.run_id, [step["id"] for step in order.flow["steps"]], chance)


async def _be_told(client: Client, chance: Random, key: str) -> None:
    await be_told(client, draw_order(chance, client.world), key)


Scenario = Callable[[Client, Random, str], Awaitable[None]]
SCENARIOS: Final[list[Scenario]] = [
    _submit_and_wait,
    _submit_and_wait,
    _submit_then_get,
    _append,
    _cancel,
    _kill,
    _leave,
    _repeat,
    _follow,
    _answer,
    _listen,
    _go_again,
    _be_told,
    follow_job,
    follow_schedule,
]


async def play(world: World, scenario: Scenario, chance: Random, number: int) -> None:
    """One client, from its first connection to its last."""
    await trio.sleep(chance.random() * 0.5)
    name = f"{scenario.__name__.strip('_')}{number}"
    async with trio.open_nursery() as nursery:
        client = Client(world, nursery, f"client{number}")
        world.trace.note("scenario", name)
        await scenario(client, chance, name)
        await client.close()
    world.trace.note("scenario ends", name)
