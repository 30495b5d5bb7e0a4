"""A client's connection that dials again: a `Caller` that outlives its links.

A request whose answer was lost with the connection is sent again. That is safe because requests of a client may be
repeated: submissions carry an idempotency key, appends their place, what makes something or has it go on a request id,
and the rest only asks, or says what is to be.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio
from msgspec import Struct

from component_sdk.address import dial
from component_sdk.caller import LinkCaller
from component_sdk.errors import CannotConnectError
from protocol import methods
from protocol.errors import LinkClosed
from protocol.link import Link
from protocol.methods import PROTOCOL_VERSION, Method, Side
from protocol.streams import ByteStream, FdStream
from protocol.types import ConnectParams, ConnectResult, Limits

FIRST_REDIAL_S: Final = 0.05
LAST_REDIAL_S: Final = 2.0
MAX_LOSSES: Final = 20
"""How often one request is repeated: it may be what ends the connection."""

STOP_S: Final = 40.0
"""How long a runtime that was spawned may take to stop; it drains for 30 s."""

Dial = Callable[[], Awaitable[ByteStream]]


class Connection:
    """A way to the runtime that is dialled again when it is lost.

    Args:
        dial: Opens a stream, or raises `CannotConnectError`.
        nursery: Where the links live.
        name: The address, for messages.
        client: What we call ourselves, if anything.
        token: For `connect`.
        patience_s: How long a lost connection is dialled for.
    """

    def __init__(
        self,
        dial: Dial,
        nursery: trio.Nursery,
        *,
        name: str,
        client: str | None = None,
        token: str | None,
        patience_s: float,
    ) -> None:
        self._dial = dial
        self._nursery = nursery
        self._name = name
        self._client = client
        self._token = token
        self._patience_s = patience_s
        self._link: Link | None = None
        self._lock = trio.Lock()

    async def open(self) -> None:
        """Dial once, and say hello.

        Raises:
            CannotConnectError: Nobody answers.
            RpcError: The runtime does not want us, and says why.
        """
        link = Link(
            await self._dial(), side=Side.SERVER, limits=Limits(), name=self._name, peer_capabilities=("cancel",)
        )
        await self._nursery.start(link.run)
        try:
            result: ConnectResult = await link.call(
                methods.CONNECT, ConnectParams(PROTOCOL_VERSION, self._token, self._client, role="client")
            )
        except LinkClosed as error:
            raise CannotConnectError(
                f"No answer came from {self._name}: what is there is no Stepflow runtime, or it has stopped. One that "
                "was spawned says why on stderr."
            ) from error
        link.peer_limits = result.limits
        self._link = link

    async def aclose(self) -> None:
        """End the connection."""
        if self._link is not None:
            await self._link.aclose()

    async def call(self, method: Method, params: Struct) -> Any:
        """Send a request, again if its answer is lost; see `Caller`.

        Raises:
            CannotConnectError: The runtime has been away for longer than the patience, or each time it got this.
            RpcError: The runtime answered an error.
        """
        losses = 0
        while True:
            link = await self._find_link()
            try:
                return await LinkCaller(link).call(method, params)
            except LinkClosed as error:
                losses += 1
                if losses == MAX_LOSSES:
                    message = f"The connection with {self._name} was lost {losses} times during one {method.name}."
                    raise CannotConnectError(message) from error

    async def _find_link(self) -> Link:
        async with self._lock:
            deadline = trio.current_time() + self._patience_s
            delay_s = FIRST_REDIAL_S
            while self._link is None or self._link.closed:
                try:
                    await self.open()
                except CannotConnectError:
                    if trio.current_time() + delay_s > deadline:
                        raise
                    await trio.sleep(delay_s)
                    delay_s = min(delay_s * 2, LAST_REDIAL_S)
            return self._link


def dial_address(address: str) -> Dial:
    """How to reach a runtime that listens."""

    async def open_stream() -> ByteStream:
        return await dial(address)

    return open_stream


class Spawner:
    """How to reach a runtime by spawning it; each dial makes a new process.

    Args:
        config: The path of its config.
    """

    def __init__(self, config: str) -> None:
        self.command = [sys.executable, "-m", "stepflow_runtime.app.cli", "serve", "--stdio", "--config", config]
        self._processes: list[trio.Process] = []

    async def __call__(self) -> ByteStream:
        process = await trio.lowlevel.open_process(self.command, stdin=-1, stdout=-1)
        self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        return FdStream(_take_fd(process.stdout), _take_fd(process.stdin))

    async def aclose(self) -> None:
        """Wait for the processes, whose stdin is closed by now; kill those that do not end."""
        with trio.CancelScope(shield=True):
            for process in self._processes:
                with trio.move_on_after(STOP_S):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()


def _take_fd(stream: Any) -> int:
    """Take the file descriptor of a trio stream, and leave that without one."""
    import os

    fd = os.dup(stream.fileno())
    stream.close()
    return fd
