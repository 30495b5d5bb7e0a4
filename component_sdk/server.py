"""A component server: a set of components, and the ways in which a runtime reaches it.

    server = ComponentServer()

    @server.component
    async def double(input: Item) -> Doubled: ...

    server.run()

On stdio the runtime has spawned it; `--tcp HOST:PORT` listens for runtimes; `--connect HOST:PORT` dials one, and again
when the connection is lost. What is said over a connection is the business of `serve`; who may dial in, of `listening`.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import trio

from component_sdk.address import dial, read_token
from component_sdk.component import Component, make_component
from component_sdk.errors import CannotConnectError, RegistrationError, SdkError
from component_sdk.failure import iterate_leaves
from protocol.errors import RpcError
from protocol.methods import PROTOCOL_VERSION
from protocol.types import ConnectParams, Limits

if TYPE_CHECKING:
    from component_sdk.backends import Backends
    from component_sdk.batch import Batch
    from component_sdk.serve import Session
    from protocol.streams import ByteStream

Function = TypeVar("Function", bound=Callable[..., Any])

STOP_S: Final = 1.0
"""How long a thread that computes may keep the process from ending; a thread cannot be stopped."""
GC_THRESHOLD: Final = 50_000
"""Objects made between two collections: those of the calls in flight are not garbage, and are looked at less often."""
FIRST_REDIAL_S: Final = 0.1
LAST_REDIAL_S: Final = 5.0


class ComponentServer:
    """A set of components that a runtime can execute.

    Args:
        max_in_flight: How many executions are wanted at once.
        max_threads: How many plain `def` components compute at once.
    """

    def __init__(self, *, max_in_flight: int = 1000, max_threads: int = 40) -> None:
        self._components: dict[str, Component] = {}
        self._limits = Limits(max_in_flight=max_in_flight)
        self._max_threads = max_threads

    @overload
    def component(self, function: Function, /) -> Function: ...
    @overload
    def component(
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_s: float | None = None,
        backend: str | None = None,
        batch: Batch | bool = False,
        resume: Any = None,
        infer: Callable[[Any], Any] | None = None,
    ) -> Callable[[Function], Function]: ...
    def component(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a function as a component; it is returned unchanged.

        Args:
            function: Takes one input and perhaps a context; its hints say the types. An `async def` runs under trio, a
                plain `def` in a thread.
            **options: `name` (default, the function's; may have slashes), `description` (default, the first line of the
                docstring), `timeout_s` (bounds one execution, or one batch), `backend` (`"asyncio"` for code that
                needs it), `batch` (`True`, or a `Batch`: it takes a list of inputs and returns a list of outputs, of
                which some may be exceptions), `resume` (the type, or JSON Schema, of what `ctx.suspend` returns where
                that names none), `infer` (given the JSON Schema of an input, tells the JSON Schema, or the type, of the
                output for it; default, the declared one).

        Raises:
            RegistrationError: It cannot be a component, or there is one of this name; nothing was changed.
        """
        if function is None:
            return partial(self._register, options=options)
        return self._register(function, options)

    def _register(self, function: Function, options: dict[str, Any]) -> Function:
        component = make_component(function, **options)
        path = component.info.component
        if path in self._components:
            raise RegistrationError(f"There is a component {path} already; give this one another name=.")
        self._components[path] = component
        return function

    @property
    def components(self) -> dict[str, Component]:
        """What is registered, by path."""
        return dict(self._components)

    def run(self, args: Sequence[str] | None = None) -> None:
        """Serve until told to stop: by the end of stdin, SIGTERM or SIGINT. The process ends with status 0.

        Args:
            args: The command line; default, the process's.
        """
        options = _parse_args(sys.argv[1:] if args is None else args)
        stop = _Stop()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 50)
        try:
            trio.run(self._run, options, stop)
        except* RpcError as refusals:
            raise SystemExit(f"The runtime refused: {next(iterate_leaves(refusals))}") from None
        except* SdkError as errors:
            raise SystemExit(str(next(iterate_leaves(errors)))) from None
        finally:
            stop.end()

    async def serve(self, stream: ByteStream, *, name: str = "the runtime", check_first_line: bool = False) -> None:
        """Serve one connection until it ends.

        Args:
            stream: The connection; it is closed at the end.
            name: For messages.
            check_first_line: Whether the peer's first line must be a JSON-RPC message: on sockets.

        Cancellation:
            Cancels what is executed, and ends the connection.
        """
        with closing(self._make_backends()) as backends:
            await self._make_session(stream, backends, name, check_first_line).run()

    def _make_backends(self) -> Backends:
        from component_sdk.backends import Backends

        return Backends(self._max_threads)

    def _make_session(
        self,
        stream: ByteStream,
        backends: Backends,
        name: str,
        check_first_line: bool = False,
        token: str | None = None,
    ) -> Session:
        from component_sdk.serve import Session

        return Session(
            self._components,
            backends,
            stream,
            name=name,
            limits=self._limits,
            check_first_line=check_first_line,
            token=token,
        )

    async def _run(self, options: argparse.Namespace, stop: _Stop) -> None:
        from protocol.streams import take_stdio

        with closing(self._make_backends()) as backends:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, stop, nursery.cancel_scope)
                if options.tcp:
                    await self._listen(options, backends)
                elif options.connect:
                    await self._dial(options, backends)
                else:
                    await self._make_session(take_stdio(), backends, "the runtime").run(on_end=stop.begin)
                nursery.cancel_scope.cancel()

    async def _listen(self, options: argparse.Namespace, backends: Backends) -> None:
        from component_sdk.listening import Listener
        from protocol.tls import TlsFiles

        token, cert = read_token(options.token_file), options.tls_cert
        tls = None if cert is None else TlsFiles(ca=options.tls_ca, cert=cert, key=options.tls_key)

        async def serve(stream: ByteStream) -> None:
            await self._make_session(stream, backends, "the runtime", True, token).run()

        async with trio.open_nursery() as nursery:
            address = await nursery.start(Listener(options.tcp, serve, token=token, tls=tls).run)
            print(f"listening on {address}", file=sys.stderr, flush=True)

    async def _dial(self, options: argparse.Namespace, backends: Backends) -> None:
        """Dial the runtime, and again, ever less often, when it is away."""
        delay_s = FIRST_REDIAL_S
        hello = ConnectParams(
            PROTOCOL_VERSION,
            token=read_token(options.token_file),
            name=options.name,
            role="server",
            max_in_flight=self._limits.max_in_flight,
        )
        while True:
            dialled_at = trio.current_time()
            try:
                stream = await dial(options.connect)
            except CannotConnectError as error:
                print(f"{error} Trying again in {delay_s:g} s.", file=sys.stderr, flush=True)
            else:
                await self._make_session(stream, backends, options.connect).run(hello=hello)
            if trio.current_time() - dialled_at > LAST_REDIAL_S:
                delay_s = FIRST_REDIAL_S
            await trio.sleep(delay_s)
            delay_s = min(delay_s * 2, LAST_REDIAL_S)


class _Stop:
    """Bounds the time between the wish to stop and the end of the process."""

    def __init__(self) -> None:
        self._timer = threading.Timer(STOP_S, os._exit, (0,))
        self._timer.daemon = True

    def begin(self) -> None:
        if self._timer.ident is None:
            self._timer.start()

    def end(self) -> None:
        self._timer.cancel()


async def _stop_on_signal(stop: _Stop, scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.begin()
            scope.cancel()


def _parse_args(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A Stepflow component server; without options, on stdin and stdout.")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--tcp", metavar="HOST:PORT", help="listen for runtimes there; port 0 takes a free one")
    way.add_argument("--connect", metavar="HOST:PORT", help="dial the runtime there, again whenever it is lost")
    parser.add_argument("--name", help="with --connect: the name under which the runtime's config accepts this server")
    parser.add_argument(
        "--token-file",
        help="the file with the token: to show with --connect, to ask for with --tcp; default, STEPFLOW_TOKEN_FILE",
    )
    parser.add_argument("--tls-cert", type=Path, help="with --tcp: speak TLS, with this certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, help="its private key; default, in the same file")
    parser.add_argument("--tls-ca", type=Path, help="let in only who has a certificate signed by one of these")
    return parser.parse_args(args)
