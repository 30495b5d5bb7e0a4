"""What scenarios are made of: flows, inputs for them, and a client that asks again when its connection is lost.

A seed chooses flows, inputs and parameters.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec
import trio
from msgspec import Raw, Struct

from protocol import methods as m
from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.link import Link
from protocol.methods import Method
from protocol.runs import (
    GetRunParams,
    ResultOrder,
    RunStatus,
    SubmitParams,
)
from protocol.types import BlobType, PutBlobParams
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from tests.simulation.world import World

AGAIN: Final = {ErrorCode.INTERNAL_ERROR, ErrorCode.THROTTLED}
"""The disk is full, or there is too much to do: ask again."""


ENOUGH_PARKED: Final = 1000

# --- flows -----------------------------------------------------------------------------------------------------------


def _step(id: str, input: Any = None, component: str = "/s/work", **fields: Any) -> dict[str, Any]:
    return {"id": id, "component": component, "input": {"$input": "$"} if input is None else input, **fields}


def _flow(*steps: dict[str, Any], output: Any = None, **fields: Any) -> dict[str, Any]:
    return {"steps": list(steps), "output": {"$step": steps[-1]["id"]} if output is None else output, **fields}


def _ref(id: str) -> dict[str, Any]:
    return {"$step": id}


_RETRY: Final = {"action": "retry", "maxRetries": 4, "backoff": {"type": "constant", "minDelayMs": 20}}

ONE: Final = _flow(_step("a"))
CHAIN: Final = _flow(_step("a"), _step("b", _ref("a")), _step("c", _ref("b")))
DIAMOND: Final = _flow(
    _step("top"),
    _step("left", _ref("top")),
    _step("right", _ref("top")),
    output={"left": _ref("left"), "right": _ref("right")},
)
RETRIED: Final = _flow(_step("a", onError=_RETRY), _step("b", _ref("a"), onError=_RETRY))
DEFAULTED: Final = _flow(_step("a", onError={"action": "useDefault", "defaultValue": {"v": 0}}), _step("b", _ref("a")))
TIMED: Final = _flow(_step("a", timeoutMs=60, onError=_RETRY), _step("b", _ref("a")))
TOGETHER: Final = _flow(
    _step("a", component="/s/together", onError=_RETRY),
    _step("b", _ref("a"), "/s/together", timeoutMs=80, onError=_RETRY),
)
PARENT: Final = _flow(_step("p", component="/s/parent", onError=_RETRY))
IMPATIENT: Final = _flow(_step("p", component="/s/parent", timeoutMs=150, onError=_RETRY))
MAPPED: Final = _flow(
    _step("m", {"workflow": {"$literal": ONE}, "items": {"$input": "inputs"}}, "/builtin/map", onError=_RETRY)
)

PLAIN: Final = [ONE, CHAIN, DIAMOND, RETRIED, DEFAULTED, TIMED, TOGETHER]
NESTING: Final = [PARENT, PARENT, IMPATIENT, MAPPED]


class Order(Struct, frozen=True):
    """A flow and the inputs that it is to run over."""

    flow: dict[str, Any]
    inputs: list[dict[str, Any]]
    options: dict[str, Any]


def draw_order(chance: Random, world: World) -> Order:
    """Something to run; without sub-runs where few requests may wait: those of parents would leave none to children."""
    options: dict[str, Any] = {"max_concurrency": chance.choice([None, 1, 2, 3, 5, 8])}
    if chance.random() < 0.15:
        options["failure_policy"] = "failFast"
    if chance.random() < 0.1:
        options["run_timeout_ms"] = chance.choice([50, 500, 5000])
    if chance.random() < 0.4 and world.machines.max_parked >= ENOUGH_PARKED:
        return Order(chance.choice(NESTING), [_draw_parent(chance, 1) for _ in range(chance.randint(1, 3))], options)
    count = chance.choice([0, 1, 2, 3, 5, 8, 13, 21, 40])
    return Order(chance.choice(PLAIN), [draw_input(chance, n) for n in range(count)], options)


def draw_input(chance: Random, number: int) -> dict[str, Any]:
    value: dict[str, Any] = {"v": number, "ms": chance.choice([0, 0, 1, 5, 20, 100])}
    if chance.random() < 0.2:
        value["fail"] = chance.randint(1, 3)
    if chance.random() < 0.1:
        value["stubborn"] = True
    return value


def _draw_parent(chance: Random, depth: int) -> dict[str, Any]:
    times = chance.choice([1, 1, 2])
    count = chance.randint(0 if times == 1 else 1, 3)  # no two submissions of a step have the same content
    if depth < 3 and chance.random() < 0.3:
        flow, inputs = PARENT, [_draw_parent(chance, depth + 1) for _ in range(min(count, 2))]
    else:
        flow, inputs = chance.choice(PLAIN), [draw_input(chance, n) for n in range(count)]
    value = {"flow": flow, "inputs": inputs, "times": times}
    if chance.random() < 0.3:
        value["polls"] = True
    if chance.random() < 0.2:
        value["fail"] = 1
    if chance.random() < 0.1:
        value["stubborn"] = True
    if chance.random() < 0.3:
        value["max_concurrency"] = 1
    return value


# --- a client --------------------------------------------------------------------------------------------------------


class Client:
    """Asks the runtime, and asks again over a new connection when the one before is lost."""

    def __init__(self, world: World, nursery: trio.Nursery, name: str) -> None:
        self.world = world
        self.name = name
        self._nursery = nursery
        self._link: Link | None = None

    def another(self, nursery: trio.Nursery, number: int) -> Client:
        """One who knows what this one knows, on connections of its own."""
        return Client(self.world, nursery, f"{self.name}.{number}")

    async def link(self) -> Link:
        if self._link is None or self._link.closed:
            self._link = await self.world.open_link(self._nursery, self.name)
        return self._link

    async def close(self) -> None:
        if self._link is not None:
            await self._link.aclose()

    async def ask(self, method: Method, params: Struct) -> Any:
        """Asks until there is an answer; only what may be asked twice."""
        while True:
            link = await self.link()
            try:
                return await link.call(method, params)
            except LinkClosed:
                self.world.trace.note("ask again", f"{self.name} {method.name}")
            except RpcError as error:
                if error.code not in AGAIN:
                    raise
                self.world.trace.note("refused for now", f"{self.name} {method.name}: {error}")
                await trio.sleep(0.2)

    async def put_flow(self, flow: dict[str, Any]) -> str:
        raw = Raw(msgspec.json.encode(flow))
        blob_id: str = (await self.ask(m.PUT_BLOB, PutBlobParams(raw, BlobType.FLOW))).blob_id
        return blob_id

    async def submit(self, order: Order, **options: Any) -> RunStatus:
        """Submits, and checks what was promised."""
        inputs = [Raw(msgspec.json.encode(value)) for value in order.inputs]
        params = SubmitParams(await self.put_flow(order.flow), inputs, **order.options, **options)
        status: RunStatus = await self.ask(m.SUBMIT_RUN, params)
        self.world.promises.note_run(status.run_id, len(inputs))
        if params.idempotency_key is not None:
            self.world.promises.note_key(params.idempotency_key, status.run_id)
        if params.wait:
            self.world.promises.note_end(status)
        return status

    async def finish(self, run_id: str) -> RunStatus:
        """Waits for a run's end and reads its results in both orders."""
        params = GetRunParams(run_id, wait=True, include_results=True)
        status: RunStatus = await self.ask(m.GET_RUN, params)
        self.world.promises.note_end(status)
        if status.status not in TERMINAL_RUN_STATES:
            self.world.trace.violate(f"waiting for {run_id} ended while it is {status.status}")
        params = GetRunParams(run_id, include_results=True, result_order=ResultOrder.BY_COMPLETION)
        by_completion: RunStatus = await self.ask(m.GET_RUN, params)
        for entry in by_completion.results or ():
            self.world.promises.note_result(run_id, entry)
        return status
