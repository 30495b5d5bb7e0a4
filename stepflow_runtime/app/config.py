"""The configuration of a runtime as data: plugins, routes, storage, addresses, retries, limits (FLOWS).

Pure: where a configuration comes from is the business of `config_file`, how it is written that of `config_reader`.
Every path in it is absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from protocol.tls import TlsFiles
from stepflow_runtime.connect.addresses import check_protection
from stepflow_runtime.connect.routes import Route
from stepflow_runtime.connect.stdio import ProcessLimits
from stepflow_runtime.engine.retry import RetryPolicy
from stepflow_runtime.model.outcome import Outcome

CONFIG_NAMES: Final = ("stepflow-config.yml", "stepflow-config.yaml", "stepflow-config.json")
"""What a configuration file is called, the first that is there."""

DEFAULT_RPC_ADDRESS: Final = "127.0.0.1:7837"

DEFAULT_HTTP_ADDRESS: Final = "127.0.0.1:7840"
"""Where `stepflow dev` has its console."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_Positive = Annotated[int, Meta(ge=1)]
_Count = Annotated[int, Meta(ge=0)]
_Ratio = Annotated[float, Meta(ge=0, le=1)]


class ConfigError(Exception):
    """A configuration that cannot be used; the message says where and what to do."""


class _Section(Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the file; its fields are written in camelCase there."""


# --- plugins ---------------------------------------------------------------------------------------------------------


class BuiltinConfig(_Section, frozen=True, kw_only=True):
    """`type: builtin`.

    Args:
        load_file: The folders beneath which the component `load_file` may read; none by default.
    """

    load_file: tuple[Path, ...] = ()


class StdioConfig(_Section, frozen=True, kw_only=True):
    """`type: stepflow` with a `command`: component servers that the runtime starts.

    Args:
        command: A program on the PATH, or a path.
        args: Its arguments, as they stand.
        env: What is added to its environment.
        processes: How many of it run.
        cwd: Its working folder; by default that of the configuration file.
        limits: What the system lets each process use; by default all that the runtime may.
    """

    command: str
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    processes: _Positive = 1
    cwd: Path
    limits: ProcessLimits = ProcessLimits()


class DialConfig(_Section, frozen=True, kw_only=True):
    """`type: stepflow` with a `url`: a component server that listens.

    Args:
        url: `tcp://host:port`, `tls://host:port` or `unix:/path`.
        tls: With `tls://`: whom we trust, and who we are.
        token_file: The file with the token that the server asks for, alone in its first line.
    """

    url: str
    tls: TlsFiles | None = None
    token_file: Path | None = None


class AcceptConfig(_Section, frozen=True, kw_only=True):
    """`type: stepflow` with `accept`: component servers that dial the runtime and introduce themselves so."""

    accept: str


class McpAddressConfig(_Section, frozen=True, kw_only=True):
    """`type: mcp` with a `url`: an MCP server over HTTP, whose tools are components.

    Args:
        url: Its endpoint, `https://…` or, on this machine, `http://…`.
        token_file: The file with the bearer token that it asks for, alone in its first line.
    """

    url: str
    token_file: Path | None = None

    def check(self) -> None:
        """Refuses what is no address for HTTP, and tokens that would go through a network unprotected.

        Raises:
            ValueError: The message says which.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is no address of an MCP server; write it like https://host/mcp.")
        if self.token_file is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ValueError("A token is sent to another machine only over https; change the url.")


class McpProcessConfig(_Section, frozen=True, kw_only=True):
    """`type: mcp` with a `command`: MCP servers that the runtime starts, whose tools are components.

    Args:
        process: As component servers are started.
    """

    process: StdioConfig


class MockConfig(_Section, frozen=True, kw_only=True):
    """`type: mock`.

    Args:
        components: By path, the outcome for each input, as `connect.mock.read_behaviors` gives it.
    """

    components: Mapping[str, Mapping[str, Outcome]]


PluginConfig = (
    BuiltinConfig | StdioConfig | DialConfig | AcceptConfig | McpProcessConfig | McpAddressConfig | MockConfig
)


# --- the rest --------------------------------------------------------------------------------------------------------


class SqliteStorage(_Section, frozen=True, kw_only=True):
    """`type: sqlite`: state in one file, which is made if it is not there."""

    path: Path

    def __str__(self) -> str:
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)


class MemoryStorage(_Section, frozen=True, kw_only=True):
    """`type: memory`: state that ends with the process."""

    def __str__(self) -> str:
        return "memory"


StorageConfig = SqliteStorage | MemoryStorage


class Listen(_Section, frozen=True, kw_only=True):
    """The addresses of `stepflow serve`.

    Args:
        rpc: `host:port` of the wire protocol, or `unix:/path`; port 0 takes any that is free.
        http: `host:port` of the HTTP side; absent, nothing is served over HTTP.
        http_hosts: Names, with the port where one is written, under which the HTTP side is reached besides its address.
        token_file: The tokens of those who may connect, see `connect.tokens`; none asks for no token.
        tls: Our certificate and, with `ca`, who signs those of the peers. Other machines come in only with both.
    """

    rpc: str = DEFAULT_RPC_ADDRESS
    http: str | None = None
    http_hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    tls: TlsFiles | None = None

    def check(self) -> None:
        """Refuses addresses that are open to more than they should be.

        Raises:
            ValueError: The message says what is missing.
        """
        for address in (self.rpc, self.http):
            if address is not None:
                check_protection(address, has_tokens=self.token_file is not None, has_tls=self.tls is not None)


class RuntimeLimits(_Section, frozen=True, kw_only=True):
    """What the runtime bears (DESIGN, "Limits, by default"). Each is named in an error's `data` when it is hit.

    Args:
        max_frame_bytes: Of one line on the wire.
        max_batch: Requests in one JSON-RPC batch.
        max_items_per_submit: Inputs in one `runs/submit` or `runs/append`; a run may have more by appending.
        max_concurrency: Items of a run at once, unless its submission says otherwise.
        max_in_flight: Executions at once in one process of a component server.
        max_run_depth: How deeply runs nest; a root has depth 1.
        max_descendants: Sub-runs of one root, at all depths.
        max_job_runs: Runs of one job.
        max_schedules: Schedules at once.
        max_queued_times: Times of one schedule that may wait for the run before, with `overlap: queue`.
        max_stream_chunk_bytes: Of one chunk of a stream, as it is written.
        max_stream_write_chunks: Chunks in one write to a stream.
        max_stream_bytes: Of one stream.
        max_streams: Of one run.
        max_checkpoint_bytes: Of the value of one checkpoint.
        max_checkpoints: Of one step of one item.
        max_artifacts: Of one run.
        max_handled_requests: Requests of one connection that are worked on at once.
        max_parked_requests: Requests of one connection that only wait.
        max_handled_bytes: Of the params of both together.
        max_queued_bytes: What may wait to be sent on a connection before it is given up; above a quarter of it nothing
            new goes to a component server. At least twice `maxFrameBytes`.
        max_connecting: Connections that may be at the handshake of TLS, or at their first line, at once.
        max_schema_steps: Of one check against a schema, counted before it begins; 100,000,000 take a second or two.
        max_unclean_stops: How often the runtime may die under an item before the item fails.
        unavailable_timeout_ms: How long a step waits while no server of its plugin is there.
        initialize_timeout_ms: How long a server may take to answer `initialize`.
        cancel_timeout_ms: How long a component may go on after it was cancelled; then its process is stopped.
        stop_timeout_ms: How long a process that is to stop has after the end of its stdin, and again after SIGTERM.
        ping_after_ms: So long without a sign of life, and a server on a socket that declared `ping` is pinged.
        ping_timeout_ms: So long after a ping a server that gave no sign of life is lost.
        open_run_timeout_ms: After so long without an append an open run is sealed.
        drain_timeout_ms: How long a runtime that stops waits for what is in flight.
    """

    max_frame_bytes: Annotated[int, Meta(ge=1024)] = 32 * 1024 * 1024
    max_batch: _Positive = 1000
    max_items_per_submit: _Positive = 1_000_000
    max_concurrency: _Positive = 1000
    max_in_flight: _Positive = 1000
    max_run_depth: _Positive = 16
    max_descendants: _Count = 100_000
    max_job_runs: _Positive = 1000
    max_schedules: _Count = 1000
    max_queued_times: _Count = 100
    max_stream_chunk_bytes: _Positive = 1024 * 1024
    max_stream_write_chunks: _Positive = 1000
    max_stream_bytes: _Positive = 256 * 1024 * 1024
    max_streams: _Count = 100
    max_checkpoint_bytes: _Positive = 1024 * 1024
    max_checkpoints: _Count = 10_000
    max_artifacts: _Count = 1000
    max_handled_requests: _Positive = 2000
    max_parked_requests: _Positive = 10_000
    max_handled_bytes: _Positive = 64 * 1024 * 1024
    max_queued_bytes: _Positive = 64 * 1024 * 1024
    max_connecting: _Positive = 256
    max_schema_steps: _Positive = 100_000_000
    max_unclean_stops: _Positive = 5
    unavailable_timeout_ms: _Count = 300_000
    initialize_timeout_ms: _Positive = 10_000
    cancel_timeout_ms: _Positive = 30_000
    stop_timeout_ms: _Count = 2000
    ping_after_ms: _Positive = 15_000
    ping_timeout_ms: _Positive = 30_000
    open_run_timeout_ms: _Positive = 3_600_000
    drain_timeout_ms: _Count = 30_000

    def check(self) -> None:
        """Refuses a queue in which a frame may have no room.

        Raises:
            ValueError: The message says what to change.
        """
        if self.max_queued_bytes < 2 * self.max_frame_bytes:
            raise ValueError(
                f"maxQueuedBytes is {self.max_queued_bytes}, and must be at least twice maxFrameBytes, which is "
                f"{self.max_frame_bytes}; else a connection is given up for one large message."
            )


class SecretConfig(_Section, frozen=True, kw_only=True):
    """Where the value of a secret variable is: in an environment variable of the runtime, or in a file."""

    env: str | None = None
    file: Path | None = None


class Retention(_Section, frozen=True, kw_only=True):
    """What a runtime that serves removes by itself; without this nothing.

    Args:
        ended_runs_ms: Root runs that ended so long ago, and all beneath them.
        unused_blobs_ms: Blobs that no run can reach and that were not put for so long.
        interval_ms: How long it waits before it looks again.
    """

    ended_runs_ms: _Positive | None = None
    unused_blobs_ms: _Positive | None = None
    interval_ms: _Positive = 3_600_000


class WebhookConfig(_Section, frozen=True, kw_only=True):
    """How webhooks are carried out.

    Args:
        schemes: Of the URLs that are sent to.
        allow: Networks that are not on the public internet and may be sent to all the same, such as `10.1.0.0/16`.
        timeout_ms: Of one delivery, from looking up its host to the status that comes back.
        retry_delays_ms: Between a try and the next, each up to a fifth longer; after the last the delivery is given up.
        max_concurrency: Deliveries under way at once.
        max_concurrency_per_webhook: Of one webhook, so that a slow receiver keeps nobody waiting.
        keep_delivered_ms: How long what was delivered is still listed.
        max_webhooks: Registered at once.
        key_file: The key that seals secrets in the database; by default a file beside it, made when it is needed.
    """

    schemes: tuple[Literal["https", "http"], ...] = ("https",)
    allow: tuple[str, ...] = ()
    timeout_ms: _Positive = 15_000
    retry_delays_ms: tuple[_Count, ...] = (
        5_000,
        300_000,
        1_800_000,
        7_200_000,
        18_000_000,
        36_000_000,
        50_400_000,
        72_000_000,
        86_400_000,
    )
    max_concurrency: _Positive = 16
    max_concurrency_per_webhook: _Positive = 4
    keep_delivered_ms: _Count = 7 * 24 * 3_600_000
    max_webhooks: _Count = 100
    key_file: Path | None = None


class TelemetryConfig(_Section, frozen=True, kw_only=True):
    """Spans for an OpenTelemetry collector; without this none are made. Needs the extra `otel`.

    Args:
        endpoint: Where OTLP/HTTP is accepted, with its path.
        headers: Sent along, such as a key that the collector asks for.
        service_name: What the runtime is called there.
        sample_ratio: The share of traces whose runs get spans, from 0 to 1.
        step_sample_ratio: The share of their items whose steps get spans, too; none by default.
        interval_ms: How often spans are sent.
    """

    endpoint: str = "http://127.0.0.1:4318/v1/traces"
    headers: dict[str, str] = {}
    service_name: str = "stepflow"
    sample_ratio: _Ratio = 1.0
    step_sample_ratio: _Ratio = 0.0
    interval_ms: _Positive = 5000


class Config(Struct, frozen=True, kw_only=True):
    """All that a runtime is told.

    Args:
        source: The file that it was read from; `None` for the defaults.
        folder: What its relative paths were relative to.
        plugins: By name.
        routes: In order; the first that matches wins. Each names one of the plugins.
        secrets: Where the values of secret variables are, by their names.
        webhooks: How they are carried out.
        retention: What is removed when it is old.
        telemetry: Where spans are sent; `None` if there are none.
        warnings: What is odd in the file, a sentence each, with its place.
    """

    source: Path | None = None
    folder: Path
    plugins: dict[str, PluginConfig]
    routes: tuple[Route, ...]
    storage: StorageConfig
    listen: Listen = Listen()
    retry: RetryPolicy = RetryPolicy()
    limits: RuntimeLimits = field(default_factory=RuntimeLimits)
    secrets: dict[str, SecretConfig] = {}
    webhooks: WebhookConfig = WebhookConfig()
    retention: Retention = Retention()
    telemetry: TelemetryConfig | None = None
    warnings: tuple[str, ...] = ()


def default_config(folder: Path) -> Config:
    """What holds without a file: the built-in components, and state in `.stepflow/state.db` beneath a folder."""
    return Config(
        folder=folder,
        plugins={"builtin": BuiltinConfig()},
        routes=(BUILTIN_ROUTE,),
        storage=SqliteStorage(path=default_state_path(folder)),
    )


def default_state_path(folder: Path) -> Path:
    """Where state lies if nothing else is said."""
    return folder / ".stepflow" / "state.db"


BUILTIN_ROUTE: Final = Route("/builtin/{*component}", "builtin")
