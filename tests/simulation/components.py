"""The component servers of a simulation: the real SDK, on a machine that can die.

What a component does is said by its input, so that a seed decides it. Every execution is noted in the world's record,
which no crash reaches.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import trio

from component_sdk import Batch, ComponentServer, StepflowContext
from protocol.errors import LinkClosed, RpcError
from protocol.types import ConnectParams
from tests.simulation.deadly import strike
from tests.simulation.listening import tell
from tests.simulation.waiting import ask

if TYPE_CHECKING:
    from tests.simulation.network import SimStream, Wire
    from tests.simulation.world import World


class ServerHost:
    """A machine with one component server process.

    Attributes:
        is_up: Whether it accepts connections.
    """

    def __init__(self, world: World, name: str, max_in_flight: int) -> None:
        self.world = world
        self.name = name
        self.is_up = True
        self.max_in_flight = max_in_flight
        self._lives: dict[Wire, trio.CancelScope] = {}
        self.server = ComponentServer(max_in_flight=max_in_flight)
        self.server.component(name="work")(self._work)
        self.server.component(name="parent")(self._parent)
        self.server.component(name="ask")(self._ask)
        self.server.component(name="together", batch=Batch(max_size=4, max_wait_s=0.02))(self._together)

    # --- its life ---

    async def serve(self, stream: SimStream, hello: ConnectParams | None = None) -> None:
        """Serves one connection until it ends, or the process dies."""
        from component_sdk.backends import Backends

        with trio.CancelScope() as scope:
            self._lives[stream.wire] = scope
            try:
                session = self.server._make_session(stream, Backends(), self.name)
                await session.run(hello=hello)
            except RpcError as error:
                self.world.trace.note("server refused", str(error))
            finally:
                self._lives.pop(stream.wire, None)

    def kill(self, down_s: float) -> None:
        """kill -9: all its connections are cut and its components are gone; it comes back later."""
        self.world.trace.note("server dies", self.name)
        self.is_up = False
        for wire, scope in list(self._lives.items()):
            wire.cut()
            self.world.executions.forget(wire)
            scope.cancel()
        self.world.nursery.start_soon(self._come_back, down_s)

    async def _come_back(self, down_s: float) -> None:
        await trio.sleep(down_s)
        self.is_up = True

    # --- its components ---

    @contextmanager
    def _executing(self, context: StepflowContext) -> Generator[None]:
        link = context.caller._link  # type: ignore[attr-defined]
        wire: Wire = link._stream.wire
        key = (context.run_id or "", context.item_index or 0, context.step_id or "", context.attempt)
        executions = self.world.executions
        self.world.trace.note("execute", f"{key} on {self.name}")
        executions.begin(key, wire)
        try:
            yield
        finally:
            executions.end(key)

    async def _work(self, input: Any, context: StepflowContext) -> Any:
        """Takes `ms`, fails the attempts up to `fail`, and says `v` + 1; `stubborn` work cannot be cancelled."""
        with self._executing(context), trio.CancelScope(shield=bool(input.get("stubborn"))):
            if input.get("deadly"):
                await strike(self.world)
            if input.get("tell"):
                await tell(context, input["v"])
            if input.get("ms"):
                await trio.sleep(input["ms"] / 1000)
            if context.attempt <= input.get("fail", 0):
                raise ValueError("as planned")
            return {"v": input["v"] + 1, "attempt": context.attempt, "ms": input.get("ms", 0)}

    async def _together(self, inputs: list[Any], contexts: list[StepflowContext]) -> list[Any]:
        """As `_work`, for several items at once."""
        with ExitStack() as executing:
            for context in contexts:
                executing.enter_context(self._executing(context))
            await trio.sleep(max(value.get("ms", 0) for value in inputs) / 1000)
            return [
                ValueError("as planned")
                if context.attempt <= value.get("fail", 0)
                else {"v": value["v"] + 1, "attempt": context.attempt, "ms": value.get("ms", 0)}
                for value, context in zip(inputs, contexts, strict=True)
            ]

    async def _ask(self, input: Any, context: StepflowContext) -> Any:
        """See `waiting`."""
        with self._executing(context):
            return await ask(input, context)

    async def _parent(self, input: Any, context: StepflowContext) -> Any:
        """Runs `flow` over `inputs`, `times` times, and says how many items ended well."""
        with self._executing(context), trio.CancelScope(shield=bool(input.get("stubborn"))):
            try:
                flow_id = await context.put_blob(input["flow"], "flow")
                succeeded = 0
                for number in range(input.get("times", 1)):
                    inputs = [{**item, "run": number} for item in input["inputs"]]
                    limit = input.get("max_concurrency")
                    if input.get("polls"):
                        status = await context.submit_run(flow_id=flow_id, inputs=inputs, max_concurrency=limit)
                        status = await context.get_run(status.run_id, wait=True, include_results=True)
                    else:
                        status = await context.submit_run(
                            flow_id=flow_id, inputs=inputs, wait=True, max_concurrency=limit
                        )
                    self.world.promises.note_end(status)
                    succeeded += status.items.success
                    if context.attempt <= input.get("fail", 0):
                        raise ValueError("as planned")
                return {"v": succeeded, "attempt": context.attempt, "ms": 0}
            except LinkClosed:
                return None  # nobody hears it
