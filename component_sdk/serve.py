"""A component server on one connection: the wire's side of components (PROTOCOL §1, §2).

What is to be executed goes round the dispatcher, straight into the queue of `workers`, and is done by `executions`; the
rest is dispatched as usual. Knows nothing of how the connection came about: `server` is above.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio
from msgspec import UNSET, UnsetType

from component_sdk.backends import Backends
from component_sdk.component import Component
from component_sdk.executions import Executions
from component_sdk.failure import describe_unknown
from component_sdk.workers import Workers
from protocol import methods
from protocol.dispatch import Dispatcher
from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.link import Link
from protocol.messages import RequestId
from protocol.methods import PROTOCOL_VERSION, Side
from protocol.peer import RequestReceived
from protocol.streams import ByteStream
from protocol.types import (
    ComponentInfoResult,
    ComponentListResult,
    ComponentParams,
    ConnectParams,
    ConnectResult,
    Empty,
    InferSchemaParams,
    InferSchemaResult,
    InitializeParams,
    InitializeResult,
    Limits,
)

CAPABILITIES: Final = ["ping", "cancel", "batch", "resume"]


class Session:
    """The conversation with a runtime over one connection.

    Args:
        components: By path; may grow while it runs.
        backends: Where they run.
        stream: The connection.
        name: For messages.
        limits: What is accepted.
        check_first_line: Whether the peer's first line must be a JSON-RPC message: on sockets.
        token: What a runtime has to send with `initialize`; `None` asks for nothing.
    """

    def __init__(
        self,
        components: Mapping[str, Component],
        backends: Backends,
        stream: ByteStream,
        *,
        name: str,
        limits: Limits,
        check_first_line: bool = False,
        token: str | None = None,
    ) -> None:
        self._token = token
        self._components = components
        self._limits = limits
        self._is_initialized = False
        self.link = Link(
            stream,
            side=Side.SERVER,
            limits=limits,
            name=name,
            dispatcher=_DISPATCHER,
            context=self,
            direct={method.name: self._receive_execution for method in (methods.EXECUTE, methods.EXECUTE_BATCH)},
            on_chunk_end=self._wake_workers,
            on_cancel_request=self._cancel,
            check_first_line=check_first_line,
        )
        executions = Executions(self.find_component, backends, self.link)
        self._workers = Workers(executions.execute, executions.answer_cancelled, self.link.flush)

    async def run(self, *, hello: ConnectParams | None = None, on_end: Callable[[], None] | None = None) -> None:
        """Serve until the connection ends; then what is executed is cancelled.

        Args:
            hello: What to say to a runtime that we dialled.
            on_end: Called when the connection has ended, before what was executed has.

        Raises:
            RpcError: The runtime does not want us, and says why.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._workers.run)
            if hello is not None:
                nursery.start_soon(self._greet, hello)
            await self.link.run()
            if on_end is not None:
                on_end()
            nursery.cancel_scope.cancel()

    async def _greet(self, hello: ConnectParams) -> None:
        with suppress(LinkClosed):  # `run` ends by itself then
            result: ConnectResult = await self.link.call(methods.CONNECT, hello)
            self.link.peer_limits = result.limits

    # --- what the runtime asks, other than executions ---

    async def initialize(self, params: InitializeParams) -> InitializeResult:
        if params.runtime_protocol_version < PROTOCOL_VERSION:
            version = params.runtime_protocol_version
            message = f"The runtime speaks version {version} of the protocol, and this server {PROTOCOL_VERSION}."
            raise RpcError(ErrorCode.VERSION_MISMATCH, message)
        if self._token is not None:
            check_token(params.token, self._token)
        self.link.peer_limits = params.limits
        self.link.peer_capabilities = frozenset(params.capabilities)
        self._is_initialized = True
        return InitializeResult(
            PROTOCOL_VERSION,
            capabilities=CAPABILITIES,
            max_frame_bytes=self._limits.max_frame_bytes,
            max_in_flight=self._limits.max_in_flight,
        )

    def list_components(self) -> ComponentListResult:
        self._require_initialized()
        return ComponentListResult([component.info for component in self._components.values()])

    def find_component(self, path: str) -> Component:
        self._require_initialized()
        component = self._components.get(path)
        if component is None:
            raise describe_unknown(path, list(self._components))
        return component

    def infer_schema(self, path: str, input_schema: Any) -> Any:
        component = self.find_component(path)
        try:
            return component.infer_schema(input_schema)
        except Exception as error:
            message = f"infer= of {path} failed: {type(error).__name__}: {error}"
            raise RpcError(ErrorCode.COMPONENT_FAILED, message) from error

    def _require_initialized(self) -> None:
        if not self._is_initialized:
            raise RpcError(ErrorCode.INVALID_REQUEST, "This server is not initialized yet; send `initialize` first.")

    def _receive_execution(self, request: RequestReceived) -> None:
        self._workers.put(request)

    def _wake_workers(self) -> None:
        self._workers.wake()

    def _cancel(self, id: RequestId) -> None:
        self._workers.cancel(id)


def check_token(offered: str | UnsetType, token: str) -> None:
    """Refuses a runtime with another token, after the same time whatever it is.

    Raises:
        RpcError: `NOT_AUTHENTICATED`.
    """
    if not hmac.compare_digest(b"" if offered is UNSET else offered.encode(), token.encode()):
        message = "This server asks for a token, and this is not it; see `tokenFile` of its plugin."
        raise RpcError(ErrorCode.NOT_AUTHENTICATED, message)


async def _initialize(params: InitializeParams, session: Session) -> InitializeResult:
    return await session.initialize(params)


async def _note_initialized(params: Empty, session: Session) -> None:
    """Nothing follows from it: the runtime asks, we answer."""


async def _list(params: Empty, session: Session) -> ComponentListResult:
    return session.list_components()


async def _info(params: ComponentParams, session: Session) -> ComponentInfoResult:
    return ComponentInfoResult(session.find_component(params.component).info)


async def _infer(params: InferSchemaParams, session: Session) -> InferSchemaResult:
    return InferSchemaResult(session.infer_schema(params.component, params.input_schema))


_DISPATCHER: Final = Dispatcher(
    {
        methods.INITIALIZE.name: _initialize,
        methods.INITIALIZED.name: _note_initialized,
        methods.LIST_COMPONENTS.name: _list,
        methods.COMPONENT_INFO.name: _info,
        methods.INFER_SCHEMA.name: _infer,
    },
    side=Side.SERVER,
)
