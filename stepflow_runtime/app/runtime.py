"""The composition root: the one place that knows all parts, and puts them together.

Store at the bottom; the executor over it; services over the executor; plugins that ask the services and are called by
the executor; the listener last. `opening` is above, and says in what order a runtime comes up.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from protocol.dispatch import Dispatcher
from protocol.handling import HandlingLimits
from protocol.heartbeat import Heartbeat
from protocol.link import Link
from protocol.log import Logger
from protocol.methods import Side
from protocol.streams import memory_stream_pair, take_stdio
from protocol.tls import make_server_context
from protocol.types import ComponentInfo, Limits
from stepflow_runtime import __version__
from stepflow_runtime.app.config import (
    AcceptConfig,
    BuiltinConfig,
    Config,
    DialConfig,
    McpAddressConfig,
    McpProcessConfig,
    MockConfig,
    PluginConfig,
    SqliteStorage,
    StdioConfig,
    TelemetryConfig,
)
from stepflow_runtime.app.mcp import make_mcp_address, make_mcp_process
from stepflow_runtime.app.processes import ServerProcesses
from stepflow_runtime.app.system import SystemClock, SystemIds
from stepflow_runtime.app.upkeep import Upkeep
from stepflow_runtime.app.webhooks import make_webhooks
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.builtins import BuiltinPlugin
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.connect.files import FileLoader
from stepflow_runtime.connect.introduction import Acceptor, Introduction
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.listener import Listener
from stepflow_runtime.connect.mock import MockPlugin
from stepflow_runtime.connect.origin import Origin
from stepflow_runtime.connect.plugin import Plugin
from stepflow_runtime.connect.router import ComponentRouter
from stepflow_runtime.connect.routes import Routes
from stepflow_runtime.connect.supervisor import ServerPlugin
from stepflow_runtime.connect.tcp import SocketOrigin
from stepflow_runtime.connect.tokens import TokenFile, read_token
from stepflow_runtime.engine.effects import deliver_effects
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.programs import Programs
from stepflow_runtime.engine.recovery import Stop, recover_runs
from stepflow_runtime.model.loader import load_document
from stepflow_runtime.model.outcome import Failure
from stepflow_runtime.ports import BlobStore, ByproductStore, Clock, Deliveries, Ids, Registry, Store
from stepflow_runtime.services.automation.jobs import JobService
from stepflow_runtime.services.automation.schedules import ScheduleService
from stepflow_runtime.services.blobs import BlobService
from stepflow_runtime.services.byproducts.additions import ByproductLimits
from stepflow_runtime.services.byproducts.service import ByproductService
from stepflow_runtime.services.callbacks import ServiceCallbacks
from stepflow_runtime.services.compat import CompatService
from stepflow_runtime.services.events.service import EventService
from stepflow_runtime.services.flows import FlowService
from stepflow_runtime.services.forking import ForkService
from stepflow_runtime.services.handlers import make_handlers
from stepflow_runtime.services.listing import ListingService
from stepflow_runtime.services.observing import ObservingService
from stepflow_runtime.services.runs import ANSWER_MARGIN, RunService
from stepflow_runtime.services.sleeping import SleepService
from stepflow_runtime.services.submission import SubmitLimits
from stepflow_runtime.services.suspensions import SuspensionService
from stepflow_runtime.services.visibility import Visibility
from stepflow_runtime.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from stepflow_runtime.app.metrics import Metrics
    from stepflow_runtime.app.tracing import Tracing

log = Logger(__name__)


class RunsAndBlobs(Store, BlobStore, Protocol):
    """All that is stored, as the stores offer it, and how the runtime before ended, and this one will."""

    after_clean_stop: bool
    stops_cleanly: bool

    @property
    def byproducts(self) -> ByproductStore: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def deliveries(self) -> Deliveries: ...


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
        self._secrets = self._processes.secrets
        self.has_failed = False

        self.tracing = None if config.telemetry is None else _make_tracing(config.telemetry, self._clock)
        self.programs = Programs(store)
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
        submit_limits = SubmitLimits(
            limits.max_concurrency,
            limits.max_items_per_submit,
            limits.max_run_depth,
            limits.max_descendants,
            limits.max_job_runs,
        )
        runs = RunService(
            self.executor,
            store,
            self.programs,
            self._connections,
            self._clock,
            ids,
            submit_limits,
            limits.max_frame_bytes,
            self._secrets,
            webhooks.service,
            is_traced=self.tracing is not None,
        )
        collector = store.collector if isinstance(store, SqliteStore) else None
        self.upkeep = Upkeep(config.retention, store, collector, runs, self._clock, lambda: self.programs.flow_ids)
        blobs = BlobService(store, self._connections)
        byproducts = ByproductService(
            self.executor,
            store,
            store.byproducts,
            blobs,
            self._connections,
            Visibility(self._connections),
            self._clock,
            ByproductLimits(
                limits.max_stream_chunk_bytes,
                limits.max_stream_write_chunks,
                limits.max_stream_bytes,
                limits.max_streams,
                limits.max_checkpoint_bytes,
                limits.max_checkpoints,
                limits.max_artifacts,
            ),
            limits.max_frame_bytes - ANSWER_MARGIN,
        )
        self._callbacks = ServiceCallbacks(runs, blobs)
        visibility = Visibility(self._connections)
        self.jobs = JobService(
            self.executor, store, store.registry, runs.creator, self._connections, self._clock, ids, submit_limits
        )
        self.schedules = ScheduleService(
            self.executor,
            store,
            store.registry,
            runs.creator,
            self._connections,
            self._clock,
            ids,
            limits.max_schedules,
        )
        acceptors: dict[str, Acceptor] = {}
        handlers = make_handlers(
            Introduction(acceptors, runtime_version=__version__, limits=wire_limits),
            runs,
            ListingService(self.executor, store, self.programs, visibility),
            EventService(self.executor, store, visibility),
            blobs,
            byproducts,
            FlowService(self.programs, self.executor),
            CompatService(runs, self.programs, limits.max_frame_bytes),
            self.jobs,
            webhooks.service,
            self.schedules,
            SuspensionService(self.executor, store, self._connections, runs.suspensions),
            SleepService(self.executor, store, self._connections, self._clock, runs.suspensions),
            ForkService(
                self.executor,
                store,
                self.programs,
                self._connections,
                self._clock,
                ids,
                runs.creator,
                runs.suspensions,
            ),
            ObservingService(self.executor, store, visibility, lambda: self.router.servers()),
        )
        self._links = RuntimeLinks(
            Dispatcher(handlers, Side.RUNTIME),
            wire_limits,
            HandlingLimits(limits.max_handled_requests, limits.max_parked_requests, limits.max_handled_bytes),
            limits.max_queued_bytes,
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
        )
        self.router = ComponentRouter(Routes(config.routes), plugins, self._answers)
        self.executor.caller = self.router
        self._answers.report_to(self.executor)
        if self.tracing is not None:
            self.executor.caller = self.tracing.stand_between(self.executor, self.router, self._answers)

    def _make_plugin(self, name: str, config: PluginConfig) -> Plugin:
        match config:
            case BuiltinConfig(load_file=folders):
                loader = FileLoader(folders, _read_yaml, max_bytes=self.config.limits.max_frame_bytes)
                return BuiltinPlugin(name, self._callbacks, self._answers, loader, self._clock)
            case MockConfig(components=components):
                return MockPlugin(name, components, self._answers)
            case StdioConfig():
                origin = self._processes.origins[name]
                return self._make_server_plugin(name, [origin] * config.processes, are_processes=True)
            case McpProcessConfig(process=process):
                tools = make_mcp_process(self._processes.origins[name], self._links.limits)
                return self._make_server_plugin(name, [tools] * process.processes, are_processes=True)
            case McpAddressConfig(url=url, token_file=token_file):
                return self._make_server_plugin(name, [make_mcp_address(url, token_file, self._links.limits)])
            case DialConfig(url=url, tls=tls, token_file=token_file):
                return self._make_server_plugin(name, [SocketOrigin(url, tls)], token_file)
            case AcceptConfig():
                return self._make_server_plugin(name, [])

    def _make_server_plugin(
        self,
        name: str,
        origins: Sequence[Origin],
        token_file: Path | None = None,
        *,
        are_processes: bool = False,
    ) -> ServerPlugin:
        limits = self.config.limits
        return ServerPlugin(
            name,
            origins,
            answers=self._answers,
            connections=self._connections,
            links=self._links,
            jitter=random.random,
            unavailable_timeout_ms=limits.unavailable_timeout_ms,
            initialize_timeout_ms=limits.initialize_timeout_ms,
            heartbeat=None if are_processes else Heartbeat(limits.ping_after_ms / 1000, limits.ping_timeout_ms / 1000),
            cancel_timeout_ms=limits.cancel_timeout_ms if are_processes else None,
            secrets=self._secrets,
            read_token=None if token_file is None else partial(read_token, token_file),
        )

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
            self.executor, self.router, self._webhooks.delivery, database, lambda: not self.executor.is_draining
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


def _read_yaml(text: bytes) -> object:
    return load_document(text).value
