"""The composition root: the one place that knows all parts, and puts them together.

Store at the bottom; the executor over it; services over the executor; plugins that ask the services and are called by
the executor; the listener last. `opening` is above, and says in what order a runtime comes up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from protocol.dispatch import Dispatcher
from protocol.handling import HandlingLimits
from protocol.link import Link
from protocol.log import Logger
from protocol.methods import Side
from protocol.streams import memory_stream_pair, take_stdio
from protocol.tls import make_server_context
from protocol.types import ComponentInfo, Limits
from stepflow_runtime import __version__
from stepflow_runtime.app.config import (
    AcceptConfig,
    Config,
    PluginConfig,
    SqliteStorage,
    TelemetryConfig,
)
from stepflow_runtime.app.plugins import PluginMaker
from stepflow_runtime.app.processes import ServerProcesses
from stepflow_runtime.app.services import make_services
from stepflow_runtime.app.storage import RunsAndBlobs
from stepflow_runtime.app.system import SystemClock, SystemIds
from stepflow_runtime.app.upkeep import Upkeep
from stepflow_runtime.app.webhooks import make_webhooks
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.connect.introduction import Acceptor, Introduction
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.listener import Listener
from stepflow_runtime.connect.plugin import Plugin
from stepflow_runtime.connect.router import ComponentRouter
from stepflow_runtime.connect.routes import Routes
from stepflow_runtime.connect.supervisor import ServerPlugin
from stepflow_runtime.connect.tokens import TokenFile
from stepflow_runtime.engine.effects import deliver_effects
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.recovery import Stop, recover_runs
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import Clock, Ids
from stepflow_runtime.services.callbacks import ServiceCallbacks
from stepflow_runtime.services.handlers import ERRANDS, make_handlers
from stepflow_runtime.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from stepflow_runtime.app.metrics import Metrics
    from stepflow_runtime.app.tracing import Tracing

log = Logger(__name__)


class Runtime:
    """All parts of a runtime, put together and not yet running; see `opening`.

    Attributes:
        has_failed: Whether it has ended by itself, which it never should.
    """

    def __init__(
        self,
        config: Config,
        store: RunsAndBlobs,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        processes: ServerProcesses | None = None,
    ) -> None:
        limits = config.limits
        self.config = config
        self.store = store
        self._clock, ids = clock or SystemClock(), ids or SystemIds()
        wire_limits = Limits(limits.max_frame_bytes, limits.max_in_flight, limits.max_batch, limits.max_run_depth)
        self._connections, self._answers = Connections(), AnswerQueue()
        self._processes = processes or ServerProcesses(config)
        self.has_failed = False

        self.tracing = None if config.telemetry is None else _make_tracing(config.telemetry, self._clock)
        self.programs = Programs(store, limits.max_schema_steps)
        webhooks = make_webhooks(config, store, store.registry, store.deliveries, self._connections, self._clock, ids)
        self._webhooks = webhooks
        self.executor = Executor(
            store,
            self._clock,
            ids,
            config.retry,
            open_run_timeout_s=limits.open_run_timeout_ms / 1000,
            announcer=webhooks.subscriptions if self.tracing is None else self.tracing.hear(webhooks.subscriptions),
        )
        acceptors: dict[str, Acceptor] = {}
        services = make_services(
            config,
            store,
            self.executor,
            self.programs,
            self._connections,
            self._clock,
            ids,
            webhooks.service,
            self._processes.secrets,
            lambda: self.router.servers(),
            lambda: self.router,
        )
        collector = store.collector if isinstance(store, SqliteStore) else None
        self.upkeep = Upkeep(
            config.retention, store, collector, services.runs, self._clock, lambda: self.programs.flow_ids
        )
        self.jobs, self.schedules = services.jobs, services.schedules
        handlers = make_handlers(Introduction(acceptors, runtime_version=__version__, limits=wire_limits), services)
        self._links = RuntimeLinks(
            Dispatcher(handlers, Side.RUNTIME, ERRANDS),
            wire_limits,
            HandlingLimits(limits.max_handled_requests, limits.max_parked_requests, limits.max_handled_bytes),
            limits.max_queued_bytes,
        )

        callbacks = ServiceCallbacks(services.runs, services.blobs)
        self._plugin_maker = PluginMaker(
            limits, self._processes, self._links, self._connections, self._answers, callbacks, self._clock
        )
        plugins = {name: self._make_plugin(name, plugin) for name, plugin in config.plugins.items()}
        self._plugins = plugins
        for name, plugin in config.plugins.items():
            made = plugins[name]
            if isinstance(plugin, AcceptConfig) and isinstance(made, ServerPlugin):
                acceptors[plugin.accept] = made
        listen = config.listen
        self._tokens = None if listen.token_file is None else TokenFile(listen.token_file)
        self._listener = Listener(
            listen.rpc,
            self._links,
            tokens=self._tokens,
            tls=None if listen.tls is None else make_server_context(listen.tls),
            max_connecting=limits.max_connecting,
        )
        self.router = ComponentRouter(Routes(config.routes), plugins, self._answers)
        self.executor.caller = self.router
        self._answers.report_to(self.executor)
        if self.tracing is not None:
            self.executor.caller = self.tracing.stand_between(self.executor, self.router, self._answers)

    def _make_plugin(self, name: str, config: PluginConfig) -> Plugin:
        return self._plugin_maker.make(name, config)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs plugins and executor, and takes up what a runtime before left unfinished, until cancelled."""
        try:
            await self._run(task_status)
        except Exception:
            self.has_failed = True
            raise

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.router.run)
            await self._webhooks.service.load()
            nursery.start_soon(self.executor.run)
            nursery.start_soon(self._webhooks.delivery.run)
            nursery.start_soon(deliver_effects, self.executor, self.store)
            last_stop = Stop(self.store.after_clean_stop, self.config.limits.max_unclean_stops)
            recovered = await recover_runs(self.executor, self.store, self.programs, self._clock, last_stop)
            if recovered:
                log.info("runs taken up again", runs=recovered)
            await nursery.start(self.jobs.run)
            nursery.start_soon(self.upkeep.run)
            await nursery.start(self.schedules.run)
            task_status.started()

    async def drain(self) -> None:
        """Prepares a stop: takes no new runs, begins nothing, and waits for what is in flight and for its commits.

        At most `limits.drainTimeoutMs`; what has not ended by then is taken up again at the next start.

        Cancellation: the drain is over; nothing new begins all the same.
        """
        timeout_ms = self.config.limits.drain_timeout_ms
        if self.router.load:
            log.info("draining: nothing new begins", in_flight=self.router.load, drainTimeoutMs=timeout_ms)
        self.executor.hold()
        with trio.move_on_after(timeout_ms / 1000) as waiting:
            await self.router.drain()
            await self.executor.wait_idle()
        if waiting.cancelled_caught:
            log.warning("not all that was in flight has ended in time", in_flight=self.router.load)

    def stop_at_once(self) -> None:
        """When this is cancelled, component servers are killed, and get no time to end."""
        self._processes.grace_s = 0.0

    async def restart_servers(self, plugin: str, reason: str) -> Failure | None:
        """Starts the processes of a plugin anew while the runs go on; see `ServerPlugin.replace`."""
        servers = self._plugins[plugin]
        assert isinstance(servers, ServerPlugin)
        return await servers.replace(reason)

    async def serve_tcp(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Accepts clients and component servers at `listen.rpc`; `started` gives the address as it is bound."""
        await self._listener.run(task_status=task_status)

    async def serve_http(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves browsers and scripts at `listen.http`, which must be set; `started` gives the address as it is bound.

        Raises:
            OSError: The address is in use, or not of this machine.
        """
        from stepflow_runtime.web.app import Surroundings  # HTTP takes longer to import than all else
        from stepflow_runtime.web.serving import WebServer

        listen = self.config.listen
        assert listen.http is not None
        server = WebServer(
            listen.http,
            self._links,
            Surroundings(
                self._clock,
                self._tokens,
                partial(self._webhooks.sealer.derive_key, "signed links"),
                lambda: "the runtime is stopping" if self.executor.is_draining else None,
                self._make_metrics().read,
            ),
            tls=listen.tls,
            hosts=listen.http_hosts,
        )
        await server.run(task_status=task_status)

    def _make_metrics(self) -> Metrics:
        from stepflow_runtime.app.metrics import Metrics  # who serves no HTTP is asked for none

        storage = self.config.storage
        database = storage.path if isinstance(storage, SqliteStorage) else None
        return Metrics(
            self.executor,
            self.router,
            self._links.requests,
            self._webhooks.delivery,
            database,
            lambda: not self.executor.is_draining,
        )

    async def serve_stdio(self) -> None:
        """Serves whoever started this process, over its stdin and stdout, until they close it."""
        await self._links.make(take_stdio(), Connection("stdio")).run()

    @asynccontextmanager
    async def connect_local(self) -> AsyncGenerator[Link]:
        """A client's link to this runtime, within the process."""
        ours, theirs = memory_stream_pair()
        client = Link(theirs, side=Side.SERVER, limits=self._links.limits, name="runtime")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._links.make(ours, Connection("local")).run)
            await nursery.start(client.run)
            yield client
            await client.aclose()

    async def components(self) -> list[ComponentInfo]:
        """What flows can call, with the paths by which they call it; waits for the servers to list theirs."""
        return await self.router.components()


def _make_tracing(config: TelemetryConfig, clock: Clock) -> Tracing:
    try:
        from stepflow_runtime.app.tracing import Tracing
    except ImportError:
        raise ValueError('"telemetry" needs the extra "otel": pip install "stepflow-runtime[otel]".') from None
    return Tracing(config, clock)
