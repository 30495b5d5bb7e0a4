"""The first line of a connection whose peer has yet to show a token: soon and short, or nothing (PROTOCOL §1).

It is read before there is a link, so that whoever has no token reaches no handler and costs a few KiB. Whoever listens
uses it, and says what that line must be: the runtime `connect`, a component server `initialize`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec
import trio
from msgspec import Raw, Struct

from protocol.errors import ErrorCode, RpcError
from protocol.messages import NULL_ID, UNREADABLE, encode_error_answer, is_json_rpc
from protocol.methods import Method
from protocol.streams import ByteStream

T = TypeVar("T")

TIMEOUT_S: Final = 5.0
"""How long a peer may take until the line is there; the handshake of TLS before it may take as long."""

MAX_BYTES: Final = 4 * 1024
"""How long it may be."""

MAX_CONNECTING: Final = 256
"""Connections that may be at the handshake of TLS or at their first line at once; what they can cost is bounded."""

FAREWELL_S: Final = 1.0
"""How long it may take to tell a peer that it is not let in."""


class _Call(Struct):
    method: str
    params: Raw = Raw(b"{}")


_decode = msgspec.json.Decoder(_Call).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def refuse(message: str) -> RpcError:
    """`-32002`: the peer is not let in, or not to this."""
    return RpcError(ErrorCode.NOT_AUTHENTICATED, message)


async def admit(stream: ByteStream, method: Method, judge: Callable[[Any | None], T]) -> tuple[T, ByteStream] | None:
    """Reads the first line and lets the peer in, or answers why not and closes the stream.

    Args:
        stream: Open.
        method: What the line must call.
        judge: Told its params, or `None` if the line is something else; raises an `RpcError` for who is not let in.

    Returns:
        What `judge` returned, and the stream for the link, which reads that line again; `None` if the peer is not let
        in.

    Cancellation: the stream stays open.
    """
    received = bytearray()
    try:
        with trio.fail_after(TIMEOUT_S):
            line = await _read_line(stream, method, received)
        return judge(_read_params(line, method)), _Resumed(stream, bytes(received))
    except trio.TooSlowError:
        await _turn_away(stream, refuse(f"`{method.name}` did not come within {TIMEOUT_S:g} s."), bytes(received))
    except RpcError as error:
        await _turn_away(stream, error, bytes(received))
    except trio.BrokenResourceError:
        await stream.aclose()
    except Exception:
        await stream.aclose()
        raise
    return None


async def _read_line(stream: ByteStream, method: Method, received: bytearray) -> bytes:
    while (end := received.find(b"\n", 0, MAX_BYTES + 1)) < 0:
        if len(received) > MAX_BYTES:
            raise refuse(f"The first line must be `{method.name}` with a token, in at most {MAX_BYTES} bytes.")
        chunk = await stream.receive_some()
        if not chunk:
            raise trio.BrokenResourceError
        received += chunk
    return bytes(received[:end])


def _read_params(line: bytes, method: Method) -> Any | None:
    with suppress(*UNREADABLE):
        call = _decode(line)
        if call.method == method.name:
            return msgspec.json.decode(call.params, type=method.params)
    return None


async def _turn_away(stream: ByteStream, error: RpcError, received: bytes) -> None:
    """Closes the stream, and says why to who may understand it: a browser gets no answer."""
    line, end, _ = received.partition(b"\n")
    with trio.CancelScope(shield=True):
        if not end or line.startswith(b"[") or is_json_rpc(line):
            with trio.move_on_after(FAREWELL_S), suppress(trio.BrokenResourceError):
                await stream.wait_send_all(encode_error_answer(_find_id(line), error) + b"\n")
        await stream.aclose()


def _find_id(line: bytes) -> bytes:
    try:
        id = bytes(_decode_fields(line).get("id", NULL_ID))
    except UNREADABLE:
        return NULL_ID
    return NULL_ID if id[:1] in (b"{", b"[", b"t", b"f") else id


class _Resumed:
    """A stream whose first bytes are read once more."""

    def __init__(self, stream: ByteStream, received: bytes) -> None:
        self._stream = stream
        self._received = received
        self.send_nowait = stream.send_nowait
        self.wait_send_all = stream.wait_send_all
        self.aclose = stream.aclose

    async def receive_some(self) -> bytes:
        if self._received:
            received, self._received = self._received, b""
            await trio.lowlevel.checkpoint()
            return received
        return await self._stream.receive_some()
