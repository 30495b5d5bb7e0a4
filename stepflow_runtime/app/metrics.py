"""All that is measured: the one catalogue, and where each number comes from.

Nothing is counted here. What is committed is counted where it is committed (`engine/tally`), what is sent where it is
sent; the rest is looked at when somebody asks. `web/metrics` writes what is found, docs/reference has the catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from protocol.automation import DeliveryState
from protocol.observing import ServerInfo, ServerState
from protocol.runs import RunState
from stepflow_runtime import __version__
from stepflow_runtime.app.process import ProcessUse, read_process_use
from stepflow_runtime.connect.plugin import Traffic
from stepflow_runtime.connect.requests import RequestTally
from stepflow_runtime.connect.router import ComponentRouter
from stepflow_runtime.engine.executor import Executor
from stepflow_runtime.engine.tally import Tally
from stepflow_runtime.model.events import RetryCause
from stepflow_runtime.model.metric import Histogram, Kind, Metric, Sample
from stepflow_runtime.model.status import TERMINAL_RUN_STATES
from stepflow_runtime.ports import RunProgress
from stepflow_runtime.services.automation.delivering import DeliveryService

TRIES: Final = {
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.PENDING: "failed",
    DeliveryState.DEAD: "given_up",
}
"""What became of a try to deliver, in the words of the metric."""


class Moment(Struct, frozen=True, kw_only=True):
    """What all metrics of one answer are read from.

    Args:
        is_ready: Whether work is taken.
        tally: What was committed.
        uncommitted: Runs that the next commit has.
        active: How each run stands that has not ended.
        servers, traffic: Of the component servers.
        requests: Of peers.
        tries, under_way, pending: Of webhook deliveries.
        database_bytes: Of the database's files, by what each is; empty if there is none.
        process: What the process uses.
    """

    is_ready: bool
    tally: Tally
    uncommitted: int
    active: list[RunProgress]
    servers: list[ServerInfo]
    traffic: list[Traffic]
    requests: RequestTally
    tries: Counter[DeliveryState]
    under_way: int
    pending: int
    database_bytes: dict[str, int]
    process: ProcessUse


class Measured(Struct, frozen=True):
    """A metric, and how it is read."""

    metric: Metric
    read: Callable[[Moment], Iterable[Sample]]


def _counter(
    name: str, help: str, read: Callable[[Moment], Iterable[Sample]], labels: tuple[str, ...] = ()
) -> Measured:
    return Measured(Metric(name, Kind.COUNTER, help, labels), read)


def _gauge(name: str, help: str, read: Callable[[Moment], Iterable[Sample]], labels: tuple[str, ...] = ()) -> Measured:
    return Measured(Metric(name, Kind.GAUGE, help, labels), read)


def _histogram(
    name: str, help: str, read: Callable[[Moment], Iterable[Sample]], labels: tuple[str, ...] = ()
) -> Measured:
    return Measured(Metric(name, Kind.HISTOGRAM, help, labels), read)


def one(value: float | Histogram) -> list[Sample]:
    """The only series of a metric without labels."""
    return [((), value)]


def _maybe(value: float | None) -> list[Sample]:
    return [] if value is None else one(value)


def _count_active_runs(now: Moment) -> Iterator[Sample]:
    states = Counter(run.status for run in now.active)
    return (((state.value,), states[state]) for state in RunState if state not in TERMINAL_RUN_STATES)


def _count_active_items(now: Moment) -> Iterator[Sample]:
    for state in ("pending", "running", "suspended", "sleeping"):
        yield (state,), sum(getattr(run, state) for run in now.active)


def _of_servers(value: Callable[[ServerInfo], float]) -> Callable[[Moment], Iterator[Sample]]:
    return lambda now: (((server.plugin, server.name), value(server)) for server in now.servers)


def _of_plugins(value: Callable[[Traffic], float]) -> Callable[[Moment], Iterator[Sample]]:
    return lambda now: (((traffic.plugin,), value(traffic)) for traffic in now.traffic)


def _read_step_durations(now: Moment) -> Iterator[Sample]:
    for traffic in now.traffic:
        for (component, outcome), histogram in traffic.durations.found.items():
            yield (traffic.plugin, component, outcome), histogram


_ENDS: Final = tuple(state for state in RunState if state in TERMINAL_RUN_STATES)
_STATUS: Final = ("status",)
_SERVER: Final = ("plugin", "server")
_PLUGIN: Final = ("plugin",)

CATALOGUE: Final = (
    _gauge("stepflow_build_info", "The version that runs.", lambda now: [((__version__,), 1)], ("version",)),
    _gauge("stepflow_ready", "Whether work is taken: 0 while the runtime stops.", lambda now: one(now.is_ready)),
    # --- runs ---
    _counter("stepflow_runs_created_total", "Runs that were submitted.", lambda now: one(now.tally.created)),
    _counter(
        "stepflow_runs_total",
        "Runs that ended, by how.",
        lambda now: (((state.value,), now.tally.ended[state]) for state in _ENDS),
        _STATUS,
    ),
    _histogram(
        "stepflow_run_duration_seconds", "From the submission of a run to its end.", lambda now: one(now.tally.runs)
    ),
    _gauge("stepflow_active_runs", "Runs that have not ended, by how they stand.", _count_active_runs, _STATUS),
    _counter(
        "stepflow_items_total",
        "Items that ended, by how; those that a fork took over ended elsewhere.",
        lambda now: (((state.value,), now.tally.items[state]) for state in _ENDS),
        _STATUS,
    ),
    _gauge("stepflow_active_items", "Items of these runs that have not ended.", _count_active_items, _STATUS),
    _counter(
        "stepflow_step_retries_total",
        "Attempts after a step's first, by why: the component or the transport failed, the runtime was started again, "
        "somebody asked.",
        lambda now: (((cause.value,), now.tally.retries[cause]) for cause in RetryCause),
        ("cause",),
    ),
    # --- what is stored ---
    _counter("stepflow_journal_events_total", "Events written to journals.", lambda now: one(now.tally.events)),
    _histogram(
        "stepflow_commit_duration_seconds",
        "Of commits; each has what many runs recorded.",
        lambda now: one(now.tally.commits),
    ),
    _counter(
        "stepflow_commit_failures_total",
        "Commits that the store refused, for want of room perhaps; they are tried again.",
        lambda now: one(now.tally.failed_commits),
    ),
    _gauge("stepflow_commit_queue_runs", "Runs that wait for the next commit.", lambda now: one(now.uncommitted)),
    _gauge(
        "stepflow_database_size_bytes",
        "Of the database's files: the database itself, and what is not yet written into it.",
        lambda now: (((file,), size) for file, size in now.database_bytes.items()),
        ("file",),
    ),
    # --- component servers ---
    _gauge(
        "stepflow_server_up",
        "Whether a component server takes executions.",
        _of_servers(lambda server: server.state is ServerState.READY),
        _SERVER,
    ),
    _gauge(
        "stepflow_server_in_flight",
        "Executions in flight at a component server.",
        _of_servers(lambda server: server.in_flight),
        _SERVER,
    ),
    _gauge(
        "stepflow_server_max_in_flight",
        "How many it takes at once.",
        _of_servers(lambda server: server.max_in_flight or 0),
        _SERVER,
    ),
    _gauge(
        "stepflow_server_queued",
        "Executions that wait for a server of the plugin, or for a slot there.",
        _of_plugins(lambda traffic: traffic.queued),
        _PLUGIN,
    ),
    _counter(
        "stepflow_server_responses_total",
        "Requests that servers of the plugin have answered; a batch is one.",
        _of_plugins(lambda traffic: traffic.answered),
        _PLUGIN,
    ),
    _counter(
        "stepflow_server_disconnects_total",
        "Connections to servers of the plugin that were lost.",
        _of_plugins(lambda traffic: traffic.lost),
        _PLUGIN,
    ),
    _histogram(
        "stepflow_step_duration_seconds",
        "From sending an execution to a component server to its answer, by component and by how it went; what a "
        "component waits for is in it. Components beyond the first hundred of a plugin are `other`.",
        _read_step_durations,
        ("plugin", "component", "outcome"),
    ),
    # --- requests ---
    _counter(
        "stepflow_requests_total",
        "Requests that were answered, on all ways, by method and by `ok` or the type of the error.",
        lambda now: now.requests.answers.items(),
        ("method", "code"),
    ),
    _histogram(
        "stepflow_request_duration_seconds",
        "How long requests were worked on; what they waited for, such as the end of a run, is left out.",
        lambda now: (((method,), histogram) for method, histogram in now.requests.durations.items()),
        ("method",),
    ),
    # --- webhooks ---
    _counter(
        "stepflow_webhook_tries_total",
        "Tries to deliver to a webhook; one that failed is made again, one that was given up is not.",
        lambda now: (((word,), now.tries[state]) for state, word in TRIES.items()),
        ("outcome",),
    ),
    _gauge("stepflow_webhook_pending", "Deliveries that have not arrived yet.", lambda now: one(now.pending)),
    _gauge("stepflow_webhook_in_flight", "Deliveries that are being sent.", lambda now: one(now.under_way)),
    # --- the process, under the names that all Prometheus clients give ---
    _counter(
        "process_cpu_seconds_total", "Time that the runtime has computed.", lambda now: one(now.process.cpu_seconds)
    ),
    _gauge(
        "process_start_time_seconds",
        "When it began, since the epoch.",
        lambda now: _maybe(now.process.start_time_seconds),
    ),
    _gauge("process_resident_memory_bytes", "Memory in use.", lambda now: _maybe(now.process.resident_memory_bytes)),
    _gauge(
        "process_virtual_memory_bytes", "Memory that is mapped.", lambda now: _maybe(now.process.virtual_memory_bytes)
    ),
    _gauge("process_open_fds", "Open descriptors.", lambda now: _maybe(now.process.open_fds)),
    _gauge("process_max_fds", "How many there may be.", lambda now: one(now.process.max_fds)),
)
"""All metrics, in the order in which they are told."""


class Metrics:
    """Reads all metrics.

    Args:
        executor, router, requests, delivery: Where numbers come from.
        database: Its file; `None` for one in memory.
        is_ready: Whether work is taken.
    """

    def __init__(
        self,
        executor: Executor,
        router: ComponentRouter,
        requests: RequestTally,
        delivery: DeliveryService,
        database: Path | None,
        is_ready: Callable[[], bool],
    ) -> None:
        self._executor = executor
        self._router = router
        self._requests = requests
        self._delivery = delivery
        self._database = database
        self._is_ready = is_ready

    async def read(self) -> list[tuple[Metric, list[Sample]]]:
        """What is measured now.

        Raises:
            StoreUnavailable: The store cannot say what is pending.
        """
        now = Moment(
            is_ready=self._is_ready(),
            tally=self._executor.tally,
            uncommitted=self._executor.uncommitted,
            active=[run.committed for run in self._executor.active_runs() if run.committed.seq],
            servers=self._router.servers(),
            traffic=self._router.traffic(),
            requests=self._requests,
            tries=self._delivery.tries,
            under_way=self._delivery.under_way,
            pending=await self._delivery.count_pending(),
            database_bytes=_measure_files(self._database),
            process=read_process_use(),
        )
        return [(measured.metric, list(measured.read(now))) for measured in CATALOGUE]


def _measure_files(database: Path | None) -> dict[str, int]:
    if database is None:
        return {}
    files = {"database": database, "wal": database.with_name(f"{database.name}-wal")}
    return {name: path.stat().st_size for name, path in files.items() if path.exists()}
