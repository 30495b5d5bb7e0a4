"""The first line of a connection that needs a token: `connect`, soon and short, or nothing (PROTOCOL §1).

It is read before there is a link, so that whoever has no token reaches no handler and costs a few KiB.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec
import trio
from msgspec import Raw, Struct

from protocol.errors import RpcError
from protocol.messages import NULL_ID, encode_error_answer, is_json_rpc
from protocol.methods import CONNECT
from protocol.streams import ByteStream
from protocol.types import ConnectParams
from stepflow_runtime.connect.tokens import Grant, TokenFile, refuse

HELLO_TIMEOUT_S: Final = 5.0
"""How long a peer may take until its `connect` is there; the handshake of TLS before it may take as long."""

HELLO_BYTES: Final = 4 * 1024
"""How long that line may be."""

FAREWELL_S: Final = 1.0
"""How long it may take to tell a peer that it is not let in."""


class _Hello(Struct):
    method: str
    params: ConnectParams


_decode = msgspec.json.Decoder(_Hello).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode


async def admit(stream: ByteStream, tokens: TokenFile) -> tuple[Grant, ByteStream] | None:
    """Reads the first line and lets the peer in, or answers why not and closes the stream.

    Args:
        stream: Open.
        tokens: Those that are valid.

    Returns:
        What the peer's token is for, and the stream for the link, which reads that line again; `None` if the peer is
        not let in.

    Cancellation: the stream stays open.
    """
    received = bytearray()
    try:
        with trio.fail_after(HELLO_TIMEOUT_S):
            line = await _read_line(stream, received)
        return _judge(line, tokens), _Resumed(stream, bytes(received))
    except trio.TooSlowError:
        await _turn_away(stream, refuse(f"`connect` did not come within {HELLO_TIMEOUT_S:g} s."), bytes(received))
    except RpcError as error:
        await _turn_away(stream, error, bytes(received))
    except trio.BrokenResourceError:
        await stream.aclose()
    return None


async def _read_line(stream: ByteStream, received: bytearray) -> bytes:
    while (end := received.find(b"\n", 0, HELLO_BYTES + 1)) < 0:
        if len(received) > HELLO_BYTES:
            raise refuse(f"The first line must be `connect` with a token, in at most {HELLO_BYTES} bytes.")
        chunk = await stream.receive_some()
        if not chunk:
            raise trio.BrokenResourceError
        received += chunk
    return bytes(received[:end])


def _judge(line: bytes, tokens: TokenFile) -> Grant:
    try:
        hello = _decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        hello = None
    if hello is None or hello.method != CONNECT.name or hello.params.token is None:
        raise refuse("This runtime asks for a token; send it with `connect`, before anything else.")
    grant = tokens.find(hello.params.token)
    if grant is None:
        raise refuse("The token is not valid; ask whoever runs this runtime for a current one.")
    grant.check(hello.params)
    return grant


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
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
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
