"""The parts of a simulation, put together: one disk, one runtime after the other on it, and the machines around them.

The runtime is the real one, from its composition root; what is its own here is where connections come from, and its
clock and ids. When it dies, nothing of it is left but the disk: its connections are cut and its writes stop before its
tasks hear of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

import trio
from msgspec import Struct

from protocol.link import Link
from protocol.methods import PROTOCOL_VERSION, Side
from protocol.types import ConnectParams, Limits
from stepflow_runtime.app.config import (
    BUILTIN_ROUTE,
    AcceptConfig,
    BuiltinConfig,
    Config,
    DialConfig,
    MemoryStorage,
    PluginConfig,
    RuntimeLimits,
    WebhookConfig,
)
from stepflow_runtime.app.runtime import Runtime
from stepflow_runtime.connect.connection import Connection
from stepflow_runtime.connect.origin import Distant
from stepflow_runtime.connect.plugin import Plugin
from stepflow_runtime.connect.routes import Route
from stepflow_runtime.connect.supervisor import ServerPlugin
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.flow import Backoff, BackoffKind
from stepflow_runtime.model.ids import ExecutionId, RunId
from tests.invariants import Executions
from tests.simulation.components import ServerHost
from tests.simulation.disk import Disk, Mount
from tests.simulation.network import Network, SimStream, Weather, Wire
from tests.simulation.promises import Promises
from tests.simulation.telling import Receiver
from tests.simulation.trace import Trace

EPOCH_MS = 1_700_000_039_000
"""A second before a minute begins, so that schedules fire while there are faults."""


class SimClock:
    """The clocks of the runtime's machine: the monotonic one is the simulation's, the wall clock can be set."""

    def __init__(self) -> None:
        self.skew_ms = 0

    def wall_ms(self) -> int:
        return EPOCH_MS + self.skew_ms + int(trio.current_time() * 1000)

    def monotonic(self) -> float:
        return trio.current_time()


class SimIds:
    """Ids that count, over all lives of the runtime."""

    def __init__(self) -> None:
        self._made = 0

    def run_id(self) -> RunId:
        self._made += 1
        return RunId(f"run-{self._made:06d}")

    def execution_id(self) -> ExecutionId:
        self._made += 1
        return ExecutionId(f"execution-{self._made:06d}")


class Machines(Struct, frozen=True):
    """What a seed decides about the world before anything happens.

    Args:
        servers: How many component servers the runtime dials.
        dial_in: Whether they dial the runtime instead.
        slots: `maxInFlight` of each.
        weather: Of the network.
        transport_retries: The budget.
        max_handled, max_parked: Requests of one connection at once.
    """

    servers: int
    dial_in: bool
    slots: int
    weather: Weather
    transport_retries: int
    max_handled: int
    max_parked: int


class SimRuntime(Runtime):
    """The runtime, with a simulated network."""

    def __init__(self, config: Config, mount: Mount, world: World) -> None:
        self._world = world
        super().__init__(config, cast(Any, mount), clock=world.clock, ids=world.ids)
        for part in (self._webhooks.service, self._webhooks.delivery):
            part._sender, part._sealer = world.receiver, world.receiver.sealer

    def _make_plugin(self, name: str, config: PluginConfig) -> Plugin:
        if not isinstance(config, DialConfig):
            return super()._make_plugin(name, config)
        return ServerPlugin(
            name,
            [SimOrigin(self._world, host) for host in self._world.hosts],
            answers=self._answers,
            connections=self._connections,
            links=self._links,
            jitter=self._world.chance.random,
            unavailable_timeout_ms=self.config.limits.unavailable_timeout_ms,
            initialize_timeout_ms=self.config.limits.initialize_timeout_ms,
        )

    async def serve(self, stream: SimStream, name: str) -> None:
        """Somebody dialled."""
        await self._links.make(stream, Connection(name), check_first_line=True).run()

    def leftovers(self) -> list[str]:
        """What is still there of work that has ended (FAULTS, G7)."""
        executor = self.executor
        found: list[str] = []
        if executor._runs:
            found.append(f"active runs {list(executor._runs)}")
        if executor._touched or executor._committer._gathering:
            found.append("runs that were touched and not looked at")
        waiting = [entry for entry in executor.timers._heap if entry[2].action is not None]
        if waiting:
            found.append(f"{len(waiting)} timers")
        for plugin in self.router._plugins.values():
            if isinstance(plugin, ServerPlugin):
                pool = plugin._pool
                if list(pool._waiting()):
                    found.append(f"executions queued for {plugin.name}")
                for server in pool._servers:
                    if server.load or server.connection.executions or server.alone:
                        found.append(f"{server.connection} with a load of {server.load}")
                    if server.link.handled_requests or server.link.parked_requests or server.link._peer._pending:
                        found.append(f"{server.connection} with requests")
        return found


class SimOrigin:
    """Dials a simulated host."""

    def __init__(self, world: World, host: ServerHost) -> None:
        self._world = world
        self._host = host

    def open(self) -> Any:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Any]:
        await trio.sleep(self._world.chance.random() * 0.01)
        if not self._host.is_up:
            raise ConnectionRefusedError(f"{self._host.name} is down")
        wire = self._world.network.connect("runtime", self._host.name)
        self._world.nursery.start_soon(self._host.serve, wire.right)
        try:
            yield _Dialled(self._host.name, wire.left)
        finally:
            with trio.CancelScope(shield=True):
                await wire.left.aclose()


class _Dialled(Distant):
    def __init__(self, name: str, stream: SimStream) -> None:
        super().__init__(name)
        self.stream = stream


class World:
    """Everything of one simulation.

    Attributes:
        runtime: The one that lives now, once it has recovered.
    """

    def __init__(self, chance: Random, machines: Machines, nursery: trio.Nursery, trace: Trace) -> None:
        self.chance = chance
        self.nursery = nursery
        self.machines = machines
        self.trace = trace
        self.clock = SimClock()
        self.ids = SimIds()
        self.executions = Executions()
        self.network = Network(chance, self.trace, machines.weather)
        self.disk = Disk(chance, self.trace)
        self.receiver = Receiver(chance, trace)
        self.promises = Promises(self.disk, self.trace)
        self.hosts = [ServerHost(self, f"server{n}", machines.slots) for n in range(machines.servers)]
        self.runtime: SimRuntime | None = None
        self._is_up = trio.Event()
        self._life = trio.CancelScope()
        self._mount: Mount | None = None
        self._accepting: trio.Nursery | None = None
        plugin: PluginConfig = AcceptConfig(accept="sim") if machines.dial_in else DialConfig(url="tcp://sim:1")
        self._config = Config(
            folder=Path("/"),
            plugins={"builtin": BuiltinConfig(), "sim": plugin},
            routes=(BUILTIN_ROUTE, Route("/s/{*component}", "sim")),
            storage=MemoryStorage(),
            webhooks=WebhookConfig(retry_delays_ms=(100, *(1000,) * 30)),
            retry=RetryPolicy(machines.transport_retries, Backoff(BackoffKind.EXPONENTIAL, 20, 1000)),
            limits=RuntimeLimits(
                max_in_flight=machines.slots,
                max_handled_requests=machines.max_handled,
                max_parked_requests=machines.max_parked,
                open_run_timeout_ms=60_000,
                ping_after_ms=1_000_000,
            ),
        )

    # --- the runtime's lives ---

    async def run(self) -> None:
        """One runtime after the other, and servers that dial them if they do."""
        if self.machines.dial_in:
            for host in self.hosts:
                self.nursery.start_soon(self._keep_dialling, host)
        while True:
            with trio.CancelScope() as self._life:
                await self._live()
            await trio.sleep(self.chance.random() * 2)

    async def _live(self) -> None:
        self._mount = mount = self.disk.mount(self.kill_runtime)
        self.trace.note("boot")
        runtime = SimRuntime(self._config, mount, self)
        async with trio.open_nursery() as self._accepting:
            await self._accepting.start(runtime.run)
            if not mount.is_dead:  # else it died in the moment in which it had recovered
                self.runtime = runtime
                self._is_up.set()
            await trio.sleep_forever()

    def kill_runtime(self) -> None:
        """kill -9: what it has not committed is lost, and nothing that it does from now on is seen."""
        if self._mount is None or self._mount.is_dead:
            return
        self.trace.note("runtime dies")
        self._mount.is_dead = True
        if self._is_up.is_set():  # else it dies while it starts, and who waits for one waits for the next
            self._is_up = trio.Event()
        self.runtime = None
        for wire in self.network.wires:
            wire.cut()
            self.executions.forget(wire)
        self._life.cancel()

    async def restart_runtime(self) -> None:
        """kill -9, and the next one has recovered."""
        self.kill_runtime()
        while self.runtime is None:
            await self._is_up.wait()

    # --- connections to it ---

    async def dial(self, name: str) -> Wire:
        """A connection to the runtime, as soon as it is up."""
        await trio.sleep(self.chance.random() * 0.01)
        while (runtime := self.runtime) is None:
            await self._is_up.wait()
        assert self._accepting is not None
        wire = self.network.connect(name, "runtime")
        self._accepting.start_soon(runtime.serve, wire.right, name)
        return wire

    async def open_link(self, nursery: trio.Nursery, name: str) -> Link:
        """A client's link, over a connection of its own."""
        wire = await self.dial(name)
        link = Link(wire.left, side=Side.SERVER, limits=Limits(), name="runtime", peer_capabilities=("cancel",))
        await nursery.start(link.run)
        return link

    async def _keep_dialling(self, host: ServerHost) -> None:
        while True:
            if host.is_up:
                wire = await self.dial(host.name)
                await host.serve(wire.left, ConnectParams(PROTOCOL_VERSION, name="sim", role="server"))
            await trio.sleep(0.1 + self.chance.random())
