"""A connection that is alive: the one trio shell around a `Peer`.

A reader that never waits for a handler or for the `sender`, which sends what is queued in one piece and never tears a
frame. Two ways to call: `call` awaits a result; `post` does not wait, and its answer is reported with all others of the
same chunk, so that nothing per call touches trio. It knows no method but `ping` and `$/cancelRequest`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from msgspec import Struct

from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.handling import Handlers, HandlingLimits, OnAnswered
from protocol.messages import RequestId, encode_params
from protocol.methods import CANCEL_REQUEST, PING, Method, Side
from protocol.peer import MAX_QUEUED_BYTES, Answer, ConnectionBroken, NotificationReceived, Peer, RequestReceived
from protocol.sender import Sender
from protocol.streams import ByteStream
from protocol.types import CancelRequestParams, Limits

if TYPE_CHECKING:
    from protocol.dispatch import Dispatcher  # a mere client needs no jsonrpcserver

FULL_SHARE: Final = 4
"""A peer that has a quarter unread of what may wait for it at most is sent nothing new (PROTOCOL §7)."""

DRAIN_TIMEOUT_S: Final = 2.0
"""How long a connection that ends goes on sending what is queued."""

LINGER_S: Final = 2.0
"""How long handlers may go on after the peer's last byte: `printf … | stepflow serve --stdio` gets its answers."""


class _Waiter:
    """Who awaits the answer of a `call`."""

    __slots__ = ("answer", "event")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.answer: Answer | None = None


class Link:
    """One connection, alive while `run` runs.

    Args:
        stream: The transport; the link closes it.
        side: Who we are.
        dispatcher: Handles requests and notifications. Without it, every method is unknown.
        context: Passed on to the handlers.
        limits: What we accept, as it is told to the peer.
        name: For messages, e.g. of the plugin or the address.
        on_answers: Gets the answers of posted calls, those of one received chunk together, in the order of the wire.
            Also those that a lost connection leaves without answer.
        direct: Methods that go round the dispatcher: called for each request at once, must not wait, and answer with
            `respond` or `respond_error` now or later. They are in no limit of this link.
        on_chunk_end: Called when all of a received chunk was reported, before what is queued is sent.
        on_cancel_request: Called with an id of which the peer no longer wants the answer, if no handler has it.
        handling_limits: How many requests may be in handlers at once.
        on_answered: Told of each request that handlers answered, or that was refused for them.
        max_queued_bytes: How much may wait to be sent before the connection is given up.
        check_first_line: Whether the peer's first line must be a JSON-RPC message: on sockets.
        break_on_torn: Whether a torn message breaks the connection while calls are pending: with component servers.
        drain_timeout_s: How long a connection that ends goes on sending.
        linger_s: How long a peer that says no more still gets answers to what it asked. Waits end at once.

    Attributes:
        peer_capabilities: What the peer said that it understands; `$/cancelRequest` is sent with `cancel`.
        fault: Why the connection broke; `None` while it is open and after a normal end.
        full_bytes: When so much waits to be sent, nothing new should be begun that sends more (PROTOCOL §7).
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        side: Side,
        limits: Limits,
        name: str,
        dispatcher: Dispatcher | None = None,
        context: Any = None,
        on_answers: Callable[[list[Answer]], None] | None = None,
        direct: Mapping[str, Callable[[RequestReceived], None]] | None = None,
        on_chunk_end: Callable[[], None] | None = None,
        on_cancel_request: Callable[[RequestId], None] | None = None,
        handling_limits: HandlingLimits | None = None,
        on_answered: OnAnswered | None = None,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        check_first_line: bool = False,
        break_on_torn: bool = False,
        peer_capabilities: Collection[str] = (),
        drain_timeout_s: float = DRAIN_TIMEOUT_S,
        linger_s: float = LINGER_S,
    ) -> None:
        self.side = side
        self.name = name
        self.context = context
        self.peer_capabilities = frozenset(peer_capabilities)
        self.fault: Exception | None = None
        self.full_bytes = max_queued_bytes // FULL_SHARE
        self._stream = stream
        self._peer = Peer(
            limits,
            check_first_line=check_first_line,
            max_queued_bytes=max_queued_bytes,
            break_on_torn=break_on_torn,
        )
        self._handlers = Handlers(
            dispatcher,
            context,
            self.respond,
            self.respond_error,
            self.flush,
            handling_limits or HandlingLimits(),
            on_answered,
        )
        self._on_answers = on_answers
        self._direct = direct or _NONE
        self._on_chunk_end = on_chunk_end
        self._on_cancel_request = on_cancel_request
        self._drain_timeout_s = drain_timeout_s
        self._linger_s = linger_s
        self._nursery: trio.Nursery | None = None
        self._ended = trio.Event()
        self._sender = Sender(stream, self._peer, self._break, self.full_bytes)
        self._send_soon = self._sender.send_soon
        self.call_when_room = self._sender.call_when_room
        self._is_ending = False
        self._heard_at = 0.0

    # --- what it is ---

    @property
    def closed(self) -> bool:
        """Whether nothing can be called on it any more."""
        return self._peer.is_over

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._peer.queued_bytes

    @property
    def dropped_answers(self) -> int:
        """How many answers came that nobody waited for."""
        return self._peer.dropped

    @property
    def unanswered(self) -> list[object]:
        """The tokens of posted calls that have no answer yet."""
        return [token for token in self._peer.unanswered() if not isinstance(token, _Waiter)]

    @property
    def handled_requests(self) -> int:
        """Requests of the peer that handlers work on, parked ones not counted."""
        return self._handlers.handled

    @property
    def parked_requests(self) -> int:
        """Requests of the peer whose handlers only wait."""
        return self._handlers.parked

    @property
    def alive_at(self) -> float:
        """When the peer last gave a sign of life, in trio's time: it sent something, or took much that had to wait."""
        return max(self._heard_at, self._sender.progressed_at)

    @property
    def peer_limits(self) -> Limits:
        """What the peer accepts; set it when the peer has said so."""
        return self._peer.peer_limits

    @peer_limits.setter
    def peer_limits(self, limits: Limits) -> None:
        self._peer.peer_limits = limits

    # --- its life ---

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reads and writes until either side ends the connection, in whatever way; `fault` says if it broke.

        At the end running handlers are cancelled, every `call` raises `LinkClosed`, posted calls are reported as lost,
        what is queued is sent for a little while, and the stream is closed.

        Cancellation:
            Ends the connection in the same way.
        """
        self._heard_at = trio.current_time()
        try:
            async with trio.open_nursery() as self._nursery:
                self._sender.open(self._nursery)
                task_status.started()
                try:
                    await self._read()
                    if not self.closed:
                        with trio.move_on_after(self._linger_s):
                            await self._handlers.finish()
                finally:
                    self._report_lost()
                    self._handlers.abandon()
                    self._end_soon()
        finally:
            self._sender.close()
            with trio.CancelScope(shield=True):
                await self._stream.aclose()
            self._ended.set()

    async def aclose(self) -> None:
        """Ends the connection, and waits until it has ended."""
        if self._nursery is None:
            self._report_lost()
            await self._stream.aclose()
            self._ended.set()
        else:
            self._end_soon()
        await self._ended.wait()

    def give_up(self, fault: Exception) -> None:
        """Ends the connection soon, because of the peer; `fault` says why."""
        self._break(fault)

    async def wait_closed(self) -> None:
        """Waits until the connection has ended and its stream is closed."""
        await self._ended.wait()

    def _end_soon(self) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._sender.end_soon(self._drain_timeout_s)
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()

    def _break(self, fault: Exception) -> None:
        if self.fault is None:
            self.fault = fault
        self._end_soon()

    def _report_lost(self) -> None:
        lost: list[Answer] = []
        for token in self._peer.close():
            answer = Answer(token, lost=True)
            if isinstance(token, _Waiter):
                token.answer = answer
                token.event.set()
            else:
                lost.append(answer)
        if lost and self._on_answers is not None:
            self._on_answers(lost)
            if self._on_chunk_end is not None:
                self._on_chunk_end()

    # --- calling ---

    async def call(self, method: Method, params: Struct) -> Any:
        """Calls the peer and waits for its answer.

        Args:
            method: From the catalogue.
            params: Its Struct of params.

        Returns:
            The result, decoded as the catalogue says.

        Raises:
            RpcError: What the peer answered; or `LIMIT_EXCEEDED` if the call would not fit into a frame.
            LinkClosed: If the connection ended before the answer.

        Cancellation:
            The peer is told that nobody waits any more, if it can understand that; a late answer is dropped.
        """
        waiter = _Waiter()
        request_id = self.post(method, params, waiter)
        try:
            await waiter.event.wait()
        except trio.Cancelled:
            self.cancel(request_id)
            raise
        answer, waiter.answer = waiter.answer, None  # they name each other, and would outlive the call
        assert answer is not None
        if answer.lost:
            raise self._closed_error()
        if answer.error is not None:
            raise answer.error
        try:
            return _result_decoder(method)(answer.result or b"null")
        except msgspec.ValidationError as error:
            message = f"The answer of {self.name} to {method.name} is not what the protocol says: {error}."
            raise RpcError(ErrorCode.INTERNAL_ERROR, message) from None

    def post(self, method: Method, params: Struct | bytes, token: object) -> RequestId:
        """Queues a call without waiting; its answer goes to `on_answers`.

        Args:
            method: From the catalogue.
            params: Its Struct of params, or raw JSON.
            token: Comes back as `Answer.token`, once.

        Returns:
            The id, for `cancel`.

        Raises:
            LinkClosed: If the connection has ended.
            RpcError: `LIMIT_EXCEEDED` if the call would not fit into a frame; nothing was queued.
        """
        raw = params if isinstance(params, bytes) else encode_params(params)
        try:
            request_id = self._peer.request(method.name, raw, token)
        except LinkClosed:
            raise self._closed_error() from None
        self._send_soon()
        return request_id

    def cancel(self, request_id: RequestId) -> None:
        """Tells the peer that the answer is no longer wanted, if it can understand that. It still answers."""
        if "cancel" in self.peer_capabilities:
            self.notify(CANCEL_REQUEST, b'{"id":%b}' % request_id)

    def notify(self, method: Method, params: Struct | bytes) -> None:
        """Queues a notification; on a link that has ended, does nothing."""
        self._peer.notify(method.name, params if isinstance(params, bytes) else encode_params(params))
        self._send_soon()

    def respond(self, request: RequestReceived, result: Struct | bytes) -> None:
        """Queues the answer of a request; on a link that has ended, does nothing."""
        self._peer.respond(request, result if isinstance(result, bytes) else encode_params(result))
        self._send_soon()

    def respond_error(self, request: RequestReceived, error: RpcError) -> None:
        """Queues an error as the answer of a request; on a link that has ended, does nothing."""
        self._peer.respond_error(request, error)
        self._send_soon()

    def flush(self) -> None:
        """Sends what is queued as far as the transport takes it at once, the rest soon. Ends a turn."""
        self._sender.flush()

    def _closed_error(self) -> LinkClosed:
        why = f": {self.fault}" if self.fault is not None else "."
        return LinkClosed(f"The connection with {self.name} has ended{why}")

    # --- reading ---

    async def _read(self) -> None:
        try:
            while data := await self._stream.receive_some():
                self._receive(data)
                if self.closed:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._break(error)

    def _receive(self, data: bytes) -> None:
        assert self._nursery is not None
        self._heard_at = trio.current_time()
        answers: list[Answer] = []
        for event in self._peer.receive_data(data):
            match event:
                case Answer(token=_Waiter() as waiter):
                    waiter.answer = event
                    waiter.event.set()
                case Answer():
                    answers.append(event)
                case RequestReceived():
                    direct = self._direct.get(event.method)
                    if direct is not None:
                        direct(event)
                    elif event.method == PING.name:
                        self._peer.respond(event, b"{}")
                    else:
                        self._handlers.start(self._nursery, event)
                case NotificationReceived():
                    if event.method == CANCEL_REQUEST.name:
                        self._receive_cancel(event)
                    else:
                        self._handlers.start_notification(self._nursery, event)
                case ConnectionBroken():
                    self._break(event.error)
        if answers and self._on_answers is not None:
            self._on_answers(answers)
        if self._on_chunk_end is not None:
            self._on_chunk_end()
        self.flush()

    def _receive_cancel(self, notification: NotificationReceived) -> None:
        try:
            request_id = RequestId(bytes(_decode_cancel(notification.params).id))
        except msgspec.ValidationError:
            return
        if not self._handlers.cancel(request_id) and self._on_cancel_request is not None:
            self._on_cancel_request(request_id)


_NONE: Final[Mapping[str, Callable[[RequestReceived], None]]] = {}
_decode_cancel: Final = msgspec.json.Decoder(CancelRequestParams).decode


@cache
def _result_decoder(method: Method) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(method.result).decode
