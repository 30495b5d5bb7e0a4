"""What the runtime asks of the first line of a connection, if it asks for a token: `connect` with one that is valid."""

from __future__ import annotations

from protocol import first_line
from protocol.first_line import refuse
from protocol.methods import CONNECT
from protocol.streams import ByteStream
from protocol.types import ConnectParams
from stepflow_runtime.connect.tokens import Grant, TokenFile


async def admit(stream: ByteStream, tokens: TokenFile) -> tuple[Grant, ByteStream] | None:
    """Lets a peer in, or answers why not and closes the stream; see `first_line.admit`.

    Args:
        stream: Open.
        tokens: Those that are valid.

    Returns:
        What the peer's token is for, and the stream for the link; `None` if the peer is not let in.
    """

    def judge(params: ConnectParams | None) -> Grant:
        if params is None or params.token is None:
            raise refuse("This runtime asks for a token; send it with `connect`, before anything else.")
        grant = tokens.find(params.token)
        if grant is None:
            raise refuse("The token is not valid; ask whoever runs this runtime for a current one.")
        grant.check(params)
        return grant

    return await first_line.admit(stream, CONNECT, judge)
