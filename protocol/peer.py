"""One end of a connection, without the connection: bytes in, events out; calls in, bytes out.

The peer is symmetric and sans-IO. It knows ids, pending calls, batches and limits, and nothing of trio, sockets, time
or what a method means. Whoever holds it (`link`) gives it what was received, acts on the events, and sends
`data_to_send()`. Below it are `framing` and `messages`.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from protocol import messages
from protocol.batch import Batch
from protocol.errors import ErrorCode, LinkClosed, RemoteProtocolError, RpcError
from protocol.framing import LineSplitter
from protocol.lifecycle import CONNECTION, ConnectionEvent, ConnectionState, advance
from protocol.messages import NO_PARAMS, NULL_ID, Envelope, InvalidMessage, RequestId
from protocol.types import Limits

MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""What a peer that does not read may make us hold (PROTOCOL §7)."""

_UNKNOWN: Final = object()


class RequestReceived(Struct):
    """The peer wants an answer: `Peer.respond` or `Peer.respond_error`, once.

    Args:
        id: As it was on the wire.
        method: Its name.
        params: Raw JSON; `{}` if there were none.
        batch: The batch that it came in.
    """

    id: RequestId
    method: str
    params: bytes
    batch: Batch | None = None


class NotificationReceived(Struct):
    """The peer tells something, and must not be answered."""

    method: str
    params: bytes


class Answer(Struct):
    """A call of ours has ended.

    Args:
        token: What the call was made with.
        result: Raw JSON, if the call succeeded.
        error: The error, if it did not.
        lost: Whether the connection ended before the answer came; then there is neither.
    """

    token: Any
    result: bytes | None = None
    error: RpcError | None = None
    lost: bool = False


class ConnectionBroken(Struct):
    """The peer broke the protocol. Always the last event: what follows on the wire is not read."""

    error: RemoteProtocolError


Event = RequestReceived | NotificationReceived | Answer | ConnectionBroken


class Peer:
    """Our end of a JSON-RPC conversation.

    Args:
        limits: What we accept.
        peer_limits: What the other side accepts; the default until it says so.
        check_first_line: Whether the first line must be a JSON-RPC message (PROTOCOL §1: on a socket).
        max_queued_bytes: How much may wait to be sent before the connection is given up.
        break_on_torn: Whether a torn message breaks the connection while calls are pending: one of them would never be
            answered. So it is with component servers; what else is no JSON, a stray `print`, is refused and harmless.

    Attributes:
        state: Where the connection is.
        is_over: Whether that state is terminal.
        fault: Why it is broken.
        queued_bytes: What was queued and not yet reported by `data_sent`.
        dropped: How many answers came that nobody waits for, late or never asked for.
    """

    def __init__(
        self,
        limits: Limits,
        peer_limits: Limits | None = None,
        *,
        check_first_line: bool = False,
        max_queued_bytes: int = MAX_QUEUED_BYTES,
        break_on_torn: bool = False,
    ) -> None:
        self.limits = limits
        self.peer_limits = peer_limits or Limits()
        self.state = ConnectionState.NEW
        self.is_over = False
        self.fault: RemoteProtocolError | None = None
        self.queued_bytes = 0
        self.dropped = 0
        self._check_first_line = check_first_line
        self._max_queued_bytes = max_queued_bytes
        self._break_on_torn = break_on_torn
        self._splitter = LineSplitter(limits.max_frame_bytes)
        self._pending: dict[bytes, Any] = {}
        self._last_id = 0
        self._out: list[bytes] = []

    # --- receiving ---

    def receive_data(self, data: bytes) -> list[Event]:
        """Takes a chunk from the wire.

        Afterwards the caller acts on the events and sends `data_to_send()`, also if there were no events: bad messages
        are answered here.

        Args:
            data: Any piece of the stream, cut anywhere.

        Returns:
            What happened, in the order of the wire. If a `ConnectionBroken` is there, it is the last.
        """
        events: list[Event] = []
        if self.is_over:
            return events
        for line in self._splitter.split(data):
            if self.state is ConnectionState.NEW:
                if self._check_first_line and not (messages.is_batch(line) or messages.is_json_rpc(line)):
                    self._break(RemoteProtocolError("The first line is neither a JSON-RPC 2.0 message nor a batch."))
                    break
                self._move(ConnectionEvent.GREET)
            if messages.is_batch(line):
                self._receive_batch(line, events)
            else:
                self._receive_message(line, None, events)
            if self.is_over:
                break
        if self._splitter.fault is not None and self.fault is None:
            fault = self._splitter.fault
            self._refuse(NULL_ID, RpcError(ErrorCode.LIMIT_EXCEEDED, str(fault), **fault.data), None)
            self._break(fault)
        if self.fault is not None:
            events.append(ConnectionBroken(self.fault))
        return events

    def _receive_message(self, line: bytes, batch: Batch | None, events: list[Event]) -> None:
        try:
            envelope = messages.decode(line)
        except InvalidMessage as invalid:
            self._receive_invalid(line, invalid, batch, events)
            return
        if envelope.method is None:
            if envelope.result or envelope.error:
                self._receive_answer(envelope, events)
            else:
                error = RpcError(
                    ErrorCode.INVALID_REQUEST, "A message has a method, a result or an error; this has none."
                )
                self._refuse(RequestId(bytes(envelope.id) or NULL_ID), error, batch)
            return
        params = bytes(envelope.params)
        if not params or params == b"null":
            params = NO_PARAMS
        is_structured = params[0] in b"{["
        if not envelope.id:
            if is_structured:
                events.append(NotificationReceived(envelope.method, params))
            return
        id = RequestId(bytes(envelope.id))
        if not is_structured:
            self._refuse(id, RpcError(ErrorCode.INVALID_REQUEST, "Params are an object; give them names."), batch)
            return
        if batch is not None:
            batch.missing += 1
        events.append(RequestReceived(id, envelope.method, params, batch))

    def _receive_answer(self, envelope: Envelope, events: list[Event]) -> None:
        token = self._pending.pop(bytes(envelope.id), _UNKNOWN)
        if token is _UNKNOWN:
            token = self._find_respelled(bytes(envelope.id))
            if token is _UNKNOWN:
                self.dropped += 1
                return
        if envelope.error and bytes(envelope.error) != b"null":
            events.append(Answer(token, None, messages.decode_error(envelope.error)))
        else:
            events.append(Answer(token, bytes(envelope.result)))

    def _find_respelled(self, id: bytes) -> Any:
        """The call that is meant by `7.0` or `7e0`: peers whose only numbers are floats write such ids."""
        try:
            number = float(id)
        except ValueError:
            return _UNKNOWN
        return self._pending.pop(b"%d" % number, _UNKNOWN) if number.is_integer() else _UNKNOWN

    def _receive_invalid(self, line: bytes, error: InvalidMessage, batch: Batch | None, events: list[Event]) -> None:
        answered = error.id if error.is_answer else None
        if error.code == ErrorCode.PARSE_ERROR:
            answered = messages.find_answered_id(line)
        if answered is None:
            self._refuse(error.id, error, batch)
            is_torn = error.code == ErrorCode.PARSE_ERROR and line.startswith(b"{")
            if is_torn and self._break_on_torn and self._pending:
                self._break(RemoteProtocolError(f"A line of {len(line)} bytes is a torn message: {error.message}"))
            return
        token = self._pending.pop(answered, _UNKNOWN)
        if token is _UNKNOWN:
            self.dropped += 1
        else:
            events.append(Answer(token, None, RpcError(error.code, f"The answer is not valid: {error.message}")))

    def _receive_batch(self, line: bytes, events: list[Event]) -> None:
        try:
            elements = messages.decode_batch(line)
        except InvalidMessage as invalid:
            self._refuse(NULL_ID, invalid, None)
            return
        if not elements:
            self._refuse(NULL_ID, RpcError(ErrorCode.INVALID_REQUEST, "A batch is empty; leave it out."), None)
            return
        limit = self.limits.max_batch
        if len(elements) > limit:
            message = f"A batch has {len(elements)} elements, and {limit} are the most; send several."
            error = RpcError(ErrorCode.LIMIT_EXCEEDED, message, limit="maxBatch", value=limit)
            self._refuse(NULL_ID, error, None)
            return
        batch = Batch()
        batch.missing = 1  # holds the array back until all elements are read
        for element in elements:
            self._receive_message(element, batch, events)
        batch.missing -= 1
        self._answer_batch(batch)

    # --- sending ---

    def request(self, method: str, params: bytes, token: Any) -> RequestId:
        """Queues a call. Its `Answer` will carry `token`.

        Args:
            method: Its name.
            params: Raw JSON.
            token: Anything; it comes back once, in an `Answer` or from `close()`.

        Returns:
            The id, for `$/cancelRequest`.

        Raises:
            LinkClosed: If the connection has ended.
            RpcError: `LIMIT_EXCEEDED` if the peer would not read a line as long. Nothing was queued.
        """
        if self.is_over:
            raise LinkClosed("The connection has ended; nothing can be called on it.")
        self._last_id += 1
        id = RequestId(b"%d" % self._last_id)
        frame = messages.encode_request(method, params, id)
        if len(frame) > self.peer_limits.max_frame_bytes:
            raise self._too_long(f"The call of {method}", len(frame))
        self._pending[id] = token
        self._queue(frame)
        return id

    def notify(self, method: str, params: bytes) -> None:
        """Queues a notification; after the end of the connection, does nothing.

        Raises:
            RpcError: `LIMIT_EXCEEDED` as with `request`.
        """
        frame = messages.encode_notification(method, params)
        if len(frame) > self.peer_limits.max_frame_bytes:
            raise self._too_long(f"The notification {method}", len(frame))
        self._queue(frame)

    def respond(self, request: RequestReceived, result: bytes) -> None:
        """Answers. A result that the peer could not read becomes `LIMIT_EXCEEDED`.

        Args:
            request: Not answered before.
            result: Raw JSON.
        """
        self._answer(request.id, messages.encode_answer(request.id, result), request.batch)

    def respond_error(self, request: RequestReceived, error: RpcError) -> None:
        """Answers with an error."""
        self._answer(request.id, messages.encode_error_answer(request.id, error), request.batch)

    def data_to_send(self) -> bytes:
        """All that is queued, whole lines; it is no longer held here. `data_sent` follows."""
        if len(self._out) == 1:
            return self._out.pop()
        data = b"".join(self._out)
        self._out.clear()
        return data

    def data_sent(self, count: int) -> None:
        """`count` bytes have left."""
        self.queued_bytes -= count

    def unanswered(self) -> list[Any]:
        """The tokens of all calls that have no answer yet."""
        return list(self._pending.values())

    def close(self) -> list[Any]:
        """Ends the conversation.

        Returns:
            The tokens of all calls that have no answer; none when called again.
        """
        if not self.is_over:
            self._move(ConnectionEvent.CLOSE)
        tokens = self.unanswered()
        self._pending.clear()
        return tokens

    def _refuse(self, id: RequestId, error: RpcError, batch: Batch | None) -> None:
        if batch is not None:
            batch.missing += 1
        self._answer(id, messages.encode_error_answer(id, error), batch)

    def _answer(self, id: RequestId, answer: bytes, batch: Batch | None) -> None:
        if len(answer) >= self.peer_limits.max_frame_bytes:
            answer = messages.encode_error_answer(id, self._too_long("The answer", len(answer) + 1))
        if batch is None:
            self._queue(answer + b"\n")
        else:
            batch.add(id, answer)
            self._answer_batch(batch)

    def _answer_batch(self, batch: Batch) -> None:
        def refuse(id: RequestId, length: int) -> bytes:
            return messages.encode_error_answer(id, self._too_long("The answer of the batch", length))

        line = batch.assemble(self.peer_limits.max_frame_bytes, refuse)
        if line is not None:
            self._queue(line)

    def _too_long(self, what: str, length: int) -> RpcError:
        limit = self.peer_limits.max_frame_bytes
        message = (
            f"{what} would be a line of {length} bytes, and the peer reads {limit}; store large content as a blob."
        )
        return RpcError(ErrorCode.LIMIT_EXCEEDED, message, limit="maxFrameBytes", value=limit)

    def _queue(self, frame: bytes) -> None:
        if self.is_over:
            return
        self._out.append(frame)
        self.queued_bytes += len(frame)
        if self.queued_bytes > self._max_queued_bytes:
            limit = self._max_queued_bytes
            message = f"The peer does not read: more than {limit} bytes wait for it."
            self._break(RemoteProtocolError(message, limit="maxQueuedBytes", value=limit))
            self._out.clear()

    def _break(self, fault: RemoteProtocolError) -> None:
        self._move(ConnectionEvent.BREAK)
        self.fault = fault

    def _move(self, event: ConnectionEvent) -> None:
        self.state = advance(CONNECTION, self.state, event)
        self.is_over = not CONNECTION[self.state]
