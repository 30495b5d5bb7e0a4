"""Requests to handlers, by the catalogue: the one door to jsonrpcserver.

A request that comes here has a valid envelope, so jsonrpcserver gets it at the stage behind its own parser and
validator; and all methods take the same arguments, which it need not check. Its asynchronous API needs asyncio; its
synchronous one calls a method that only decodes the params and returns the call of the handler, which is awaited here.
It knows nothing of ids, connections and tasks: `handling` is above, `methods` below.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from protocol import openrpc
from protocol.errors import ErrorCode, RpcError
from protocol.log import Logger
from protocol.messages import encode_params
from protocol.methods import DISCOVER, METHODS, Method, Side
from protocol.types import Empty

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its schema with a deprecated importlib function
    from jsonrpcserver import JsonRpcError, Success
    from jsonrpcserver.dispatcher import call as call_method
    from jsonrpcserver.request import Request

Handler = Callable[[Any, Any], Awaitable[Any]]
"""`async def handler(params, context)`: params as the catalogue's Struct, the result as its result type."""

_Call = Callable[[], Awaitable[Any]]
_log: Final = Logger(__name__)


class Dispatcher:
    """The methods of one side. `rpc.discover` is there by itself.

    Args:
        handlers: Handlers by the name of their method.
        side: Who we are.
        errands: The names of those handlers that need no task: they say `in_task` before they await what is trio's.

    Raises:
        ValueError: If a name is not in the catalogue, or is not answered by this side.
    """

    def __init__(self, handlers: Mapping[str, Handler], side: Side, errands: Collection[str] = ()) -> None:
        async def discover(params: Empty, context: object) -> dict[str, Any]:
            return openrpc.describe(side)

        self._methods = {
            name: _make_entry(_find_method(name, side), handler)
            for name, handler in {DISCOVER.name: discover, **handlers}.items()
        }
        self._errands = frozenset(errands)

    def knows(self, method: str) -> bool:
        """Whether there is a handler for it."""
        return method in self._methods

    def needs_task(self, method: str) -> bool:
        """Whether its handler awaits more than a `Later`."""
        return method not in self._errands

    async def dispatch(self, method: str, params: bytes, context: Any) -> bytes:
        """Handles a request.

        Args:
            method: Its name.
            params: Raw JSON.
            context: Passed on to the handler.

        Returns:
            The result as raw JSON.

        Raises:
            RpcError: What is to be answered: what the handler raised, or that there is no such method, that the params
                do not fit, or that something failed here. The last says no more than that; the log has the rest.
        """
        call = self._find_call(method, params, context)
        try:
            handling = call()
            del call, params  # the handler may let go of them before it has ended
            return encode_params(await handling)
        except RpcError:
            raise
        except Exception:
            # The traceback as text: renderers of exceptions would show locals, and with them params.
            _log.error("handler_failed", method=method, traceback=traceback.format_exc())
            raise RpcError(
                ErrorCode.INTERNAL_ERROR, f"{method} failed inside this program; its log says why.", method=method
            ) from None

    async def notify(self, method: str, params: bytes, context: Any) -> None:
        """Handles a notification. Whatever is wrong with it goes to the log, as nobody is answered."""
        try:
            await self.dispatch(method, params, context)
        except RpcError as error:
            _log.warning("notification_failed", method=method, error=str(error))

    def _find_call(self, method: str, params: bytes, context: Any) -> _Call:
        entry = self._methods.get(method)
        if entry is None:
            raise RpcError(ErrorCode.METHOD_NOT_FOUND, f"There is no method {method} here.", method=method)
        # With an id always: of a notification jsonrpcserver would throw the call away.
        return _unwrap(call_method(Request(method, [params], 0), context, entry))


def _find_method(name: str, side: Side) -> Method:
    method = METHODS.get(name)
    if method is None:
        raise ValueError(
            f"There is no method {name} in the catalogue; add it to protocol.methods, or correct the name."
        )
    if method.answered_by not in (side, Side.BOTH):
        raise ValueError(f"{name} is answered by the {method.answered_by}, not by the {side}; remove its handler.")
    return method


def _make_entry(method: Method, handler: Handler) -> Callable[[Any, bytes], Any]:
    """What jsonrpcserver calls: decodes the params, and returns the call that is left to do."""
    decode = msgspec.json.Decoder(method.params).decode

    def enter(context: Any, params: bytes) -> Any:
        return Success(partial(handler, _decode_params(method, decode, params), context))

    return enter


def _decode_params(method: Method, decode: Callable[[bytes], Struct], params: bytes) -> Struct:
    try:
        return decode(params)
    except (msgspec.ValidationError, RecursionError) as error:
        what, _, path = str(error).partition(" - at `")
        path = path.removesuffix("`") or "$"
        if params.startswith(b"["):
            what = "Params are given by name, as an object, not by position"
        type_name = ErrorCode.INVALID_PARAMS.type_name
        message = f"Invalid params of {method.name} at {path}: {what[:1].lower()}{what[1:]}."
        raise JsonRpcError(
            ErrorCode.INVALID_PARAMS, message, {"type": type_name, "method": method.name, "path": path}
        ) from None


def _unwrap(result: Any) -> _Call:
    """What is to be done, out of jsonrpcserver's Either.

    Raises:
        RpcError: What is to be answered instead.
    """
    success = getattr(result, "_value", None)
    if success is not None:
        call: _Call = success.result
        return call
    error = result._error
    if error.code == ErrorCode.INVALID_PARAMS:
        raise RpcError(error.code, error.message, **error.data)
    # A defect in this module, and jsonrpcserver has logged it.
    raise RpcError(ErrorCode.INTERNAL_ERROR, "The request failed inside this program; its log says why.")
