"""Plugins whose components live in servers: connects them, initializes them, and starts them again.

One task for each process or address: open → `initialize` → `initialized` → `components/list` → ready, until the
connection ends; then what was in flight fails as `UNREACHABLE`, and after a growing pause it goes again (`keeper`).
Servers that dial the runtime are handed over by `listener` and go the same way, without the pause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import trio
from msgspec import UNSET

from protocol.errors import ErrorCode, ItemErrorCode, LinkClosed, RemoteProtocolError, RpcError
from protocol.heartbeat import Heartbeat
from protocol.link import Link
from protocol.methods import INFER_SCHEMA, INITIALIZE, INITIALIZED, LIST_COMPONENTS, PROTOCOL_VERSION
from protocol.observing import ServerInfo
from protocol.types import (
    ComponentInfo,
    ComponentListResult,
    Empty,
    InferSchemaParams,
    InferSchemaResult,
    InitializeParams,
    InitializeResult,
    Limits,
)
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.connect.durations import Durations
from stepflow_runtime.connect.keeper import Backoff, Keeper
from stepflow_runtime.connect.links import RuntimeLinks
from stepflow_runtime.connect.origin import Distant, Opened, Origin, Peer
from stepflow_runtime.connect.outcomes import scrub
from stepflow_runtime.connect.patience import wait_until_idle, wait_until_ignored
from stepflow_runtime.connect.plugin import Traffic
from stepflow_runtime.connect.pool import Pool
from stepflow_runtime.connect.roster import Presence, Roster
from stepflow_runtime.connect.server import Server
from stepflow_runtime.model.outcome import Displaced, Failure
from stepflow_runtime.ports import Execution, SecretSource

LEGACY_FRAME_BYTES: Final = 512 * 1024
"""What a server is taken to read that declares neither capabilities nor `maxFrameBytes`, as stepflow-py 0.7 does."""

CAPABILITIES: Final = ["ping", "cancel", "batch"]

GIVE_WAY_S: Final = 2.0
"""How long what a server executes may go on there when another one has taken its place."""

NO_DATA: Final[Mapping[str, Any]] = {}


class ServerPlugin:
    """A plugin of component servers.

    Args:
        name: The plugin's name.
        origins: One for each process or address that is to be kept connected; none if servers dial the runtime.
        answers: Where answers go.
        connections: Where servers are registered for their callbacks.
        links: Makes their links; its limits are told to them, and `max_in_flight` bounds the executions of each.
        jitter: Random numbers from 0 to 1.
        unavailable_timeout_ms: How long an execution waits while no server is connected.
        initialize_timeout_ms: How long a server may take to answer `initialize` and `components/list`.
        backoff: Pauses between restarts.
        heartbeat: How its servers are watched that declare `ping`; `None` if their end is noticed without that.
        cancel_timeout_ms: How long its servers may go on with what nobody wants any more before their connection is
            ended; `None` if that would not stop them.
        secrets: Gives its servers the values of secrets.
        read_token: Gives the token that its servers ask the runtime for; `None` if they ask for none.
    """

    def __init__(
        self,
        name: str,
        origins: Sequence[Origin],
        *,
        answers: AnswerQueue,
        connections: Connections,
        links: RuntimeLinks,
        jitter: Callable[[], float],
        unavailable_timeout_ms: int = 300_000,
        initialize_timeout_ms: int = 10_000,
        backoff: Backoff | None = None,
        heartbeat: Heartbeat | None = None,
        cancel_timeout_ms: int | None = None,
        secrets: SecretSource | None = None,
        read_token: Callable[[], str] | None = None,
    ) -> None:
        self._name = name
        self._answers = answers
        self._connections = connections
        self._links = links
        self._initialize_timeout_s = initialize_timeout_ms / 1000
        self._heartbeat = heartbeat
        self._cancel_timeout_ms = cancel_timeout_ms
        self._secrets = secrets
        self._read_token = read_token
        self._pool = Pool(name, answers, unavailable_timeout_ms=unavailable_timeout_ms)
        labels = [f"{name}[{index}]" for index in range(len(origins))] if len(origins) > 1 else [name] * len(origins)
        self._roster = Roster(name, labels)
        self._make_keeper = partial(
            Keeper, serve=self._converse, note=self._note_trouble, backoff=backoff or Backoff(), jitter=jitter
        )
        self._keepers = [self._make_keeper(origin, label) for label, origin in zip(labels, origins, strict=True)]
        self._durations = Durations()
        self._lost = 0
        self._listed: list[ComponentInfo] | None = None
        self._listing = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def name(self) -> str:
        return self._name

    def call(self, execution: Execution, path: str) -> None:
        self._pool.call(execution, path)

    def flush(self) -> None:
        self._pool.flush()

    def hold(self) -> None:
        self._pool.hold()

    @property
    def load(self) -> int:
        return self._pool.load

    def traffic(self) -> Traffic:
        return Traffic(self._name, self._pool.queued, self._pool.answered, self._lost, self._durations)

    def servers(self) -> Sequence[ServerInfo]:
        return self._roster.describe()

    async def components(self) -> Sequence[ComponentInfo]:
        with trio.move_on_after(self._initialize_timeout_s):
            await self._listing.wait()
        if self._listed is None:
            raise RpcError(
                ErrorCode.RESOURCE_UNAVAILABLE,
                f'No server of the plugin "{self._name}" is there: {self._pool.trouble.message}.',
                plugin=self._name,
            )
        return self._listed

    async def infer_schema(self, path: str, input_schema: Any) -> Any:
        """Asks one of the servers; what it listed is the answer where it does not infer."""
        listed = next((info.output_schema for info in await self.components() if info.component == path), UNSET)
        server = self._pool.some_server
        if server is None:
            return listed
        result: InferSchemaResult | None = None
        try:
            with trio.move_on_after(self._initialize_timeout_s):
                result = await server.link.call(INFER_SCHEMA, InferSchemaParams(path, input_schema))
        except LinkClosed:
            return listed
        except RpcError as error:
            if error.code == ErrorCode.METHOD_NOT_FOUND or not server.link.peer_capabilities:
                return listed
            raise
        if result is None:
            message = f"it did not answer within {self._initialize_timeout_s:g} s (initializeTimeoutMs)"
            raise RpcError(ErrorCode.RESOURCE_UNAVAILABLE, message)
        return result.output_schema

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._pool.run)
            for keeper in self._keepers:
                nursery.start_soon(keeper.run)
            task_status.started()
            await trio.sleep_forever()

    def accept(self, connection: Connection, max_in_flight: int | None = None) -> None:
        """Takes a connection whose peer introduced itself as a server of this plugin; initializes it soon.

        Args:
            connection: Its link is running.
            max_in_flight: What the peer declared in `connect`.
        """
        assert self._nursery is not None, "run() was not started"
        connection.role = "server"
        connection.plugin = self._name
        self._nursery.start_soon(self._serve_accepted, connection, max_in_flight)

    async def replace(self, reason: str) -> Failure | None:
        """Starts its servers anew: those that it opens, one after the other, each before the one before it ends.

        What that one executes may end within `GIVE_WAY_S`; then it goes again at the new one, as the next attempt, and
        uses up no retries.

        Args:
            reason: Why, for who reads the events of a run.

        Returns:
            Why a new one could not be started, if so: then what was there goes on.

        Cancellation: What was there goes on.
        """
        assert self._nursery is not None, "run() was not started"
        for index, old in enumerate(self._keepers):
            new = self._make_keeper(old.origin, old.name)
            self._nursery.start_soon(partial(new.run, on_trial=True))
            try:
                failure = await new.try_out()
            except trio.Cancelled:
                new.give_up()
                raise
            if failure is not None:
                return failure
            self._keepers[index] = new
            old.retire(reason)
        return None

    # --- one connection after the other ------------------------------------------------------------------------------

    def _note_trouble(self, name: str, failure: Failure) -> None:
        self._pool.trouble = failure
        self._roster.note(name, failure.message)

    async def _converse(self, opened: Opened, keeper: Keeper) -> Failure:
        connection = Connection(keeper.name, "server", self._name)
        link = self._links.make(opened.stream, connection)
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            failure = await self._serve(connection, opened, keeper=keeper)
            nursery.cancel_scope.cancel()
        return failure

    async def _serve_accepted(self, connection: Connection, max_in_flight: int | None) -> None:
        failure = await self._serve(connection, Distant(connection.name), max_in_flight)
        self._pool.trouble = failure
        await connection.link.aclose()

    # --- one connection ----------------------------------------------------------------------------------------------

    async def _serve(
        self, connection: Connection, peer: Peer, max_in_flight: int | None = None, keeper: Keeper | None = None
    ) -> Failure:
        """Initializes a server and lets the pool use it until its connection ends; returns why it ended."""
        with self._roster.enter(connection, peer) as presence:
            failure = await self._serve_present(connection, peer, presence, max_in_flight, keeper)
            return scrub(failure, self._secrets)

    async def _serve_present(
        self, connection: Connection, peer: Peer, presence: Presence, max_in_flight: int | None, keeper: Keeper | None
    ) -> Failure:
        try:
            server = await self._initialize(connection, max_in_flight)
        except LinkClosed:
            return await _explain_end(connection.link, peer)
        except trio.TooSlowError:
            within = f"within {self._initialize_timeout_s:g} s (initializeTimeoutMs)"
            return _failure(f'it did not answer "initialize" and "components/list" {within}', peer)
        except (RpcError, ValueError) as error:
            return _failure(f"it could not be initialized: {error}", peer)
        self._connections.add(connection)
        self._pool.add(server)
        presence.server = server
        if keeper is not None:
            keeper.note_ready()
        try:
            await self._attend(server, keeper)
        finally:
            self._pool.remove(server)
            self._connections.remove(connection)
        if keeper is not None and keeper.retired.is_set():
            server.end(Displaced(f"its component server was restarted: {keeper.reason}"))
            return _failure(f"another one took its place: {keeper.reason}")
            self._lost += 1
        failure = await _explain_end(connection.link, peer)
        server.end(
            Failure(failure.code, f"The component server {connection.name} was lost: {failure.message}", failure.data)
        )
        return failure

    async def _attend(self, server: Server, keeper: Keeper | None) -> None:
        """Waits until a connection has ended, or is to end because another server takes its place.

        Ends it if the server is silent, or will not stop, for too long.
        """
        link = server.link
        async with trio.open_nursery() as nursery:
            if keeper is not None:
                nursery.start_soon(self._give_way, server, keeper, nursery.cancel_scope)
            if self._heartbeat is not None and "ping" in link.peer_capabilities:
                nursery.start_soon(self._heartbeat.watch, link)
            if self._cancel_timeout_ms is not None:
                nursery.start_soon(self._end_stubborn, server, self._cancel_timeout_ms)
            await link.wait_closed()
            nursery.cancel_scope.cancel()

    async def _give_way(self, server: Server, keeper: Keeper, attendance: trio.CancelScope) -> None:
        await keeper.retired.wait()
        self._pool.remove(server)
        with trio.move_on_after(GIVE_WAY_S):
            await wait_until_idle(server.connection)
        attendance.cancel()

    async def _end_stubborn(self, server: Server, timeout_ms: int) -> None:
        """Ends the connection of a server that goes on with what nobody wants; the rest there may end before."""
        await wait_until_ignored(server.connection, timeout_ms / 1000)
        self._pool.remove(server)
        with trio.move_on_after(timeout_ms / 1000):
            await wait_until_idle(server.connection)
        message = f"a component went on for {timeout_ms / 1000:g} s after it was cancelled (limits.cancelTimeoutMs)"
        server.link.give_up(RemoteProtocolError(message, limit="cancelTimeoutMs", value=timeout_ms))

    async def _initialize(self, connection: Connection, max_in_flight: int | None) -> Server:
        link = connection.link
        token = UNSET if self._read_token is None else self._read_token()
        with trio.fail_after(self._initialize_timeout_s):
            result: InitializeResult = await link.call(
                INITIALIZE, InitializeParams(PROTOCOL_VERSION, self._links.limits, CAPABILITIES, token)
            )
            if result.server_protocol_version != PROTOCOL_VERSION:
                raise RpcError(
                    ErrorCode.VERSION_MISMATCH,
                    f"it speaks protocol version {result.server_protocol_version}, the runtime {PROTOCOL_VERSION}",
                )
            link.notify(INITIALIZED, Empty())
            listing: ComponentListResult = await link.call(LIST_COMPONENTS, Empty())
        link.peer_capabilities = frozenset(result.capabilities or ())
        is_legacy = result.capabilities is None
        link.peer_limits = Limits(
            result.max_frame_bytes or (LEGACY_FRAME_BYTES if is_legacy else Limits().max_frame_bytes)
        )
        self._listed = listing.components
        self._listing.set()
        limit = self._links.limits.max_in_flight
        listed = listing.components if "batch" in link.peer_capabilities else ()
        server = Server(
            connection,
            self._answers,
            durations=self._durations,
            slots=min(limit, result.max_in_flight or limit, max_in_flight or limit),
            batches={info.component: info.batch for info in listed if info.batch is not None},
            secrets=self._secrets,
        )
        connection.receive = partial(self._pool.receive, server)
        return server


async def _explain_end(link: Link, peer: Peer) -> Failure:
    """Why a connection ended: by a breach of the protocol, or as the peer tells it."""
    if isinstance(link.fault, RemoteProtocolError):
        return _failure(str(link.fault), peer, link.fault.data)
    return _failure(await peer.ending(), peer)


def _failure(how: str, peer: Peer | None = None, data: Mapping[str, Any] = NO_DATA) -> Failure:
    """Why a server is not, or no longer, there."""
    words = peer.last_words() if peer else ""
    if words:
        how, data = f"{how}; last on its stderr: {words.splitlines()[-1][:500]}", {**data, "stderr": words}
    return Failure(ItemErrorCode.UNREACHABLE, how, dict(data) or UNSET)
