"""What is served over HTTP, path by path."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio
from msgspec import Struct
from starlette.applications import Starlette
from starlette.routing import Route

from protocol.errors import RpcError
from stepflow_runtime.connect.tokens import TokenFile
from stepflow_runtime.ports import Clock
from stepflow_runtime.web.artifacts import Artifacts
from stepflow_runtime.web.console.routes import Console
from stepflow_runtime.web.following import Following
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.health import Health
from stepflow_runtime.web.hooks import Hooks
from stepflow_runtime.web.leaving import Gone, dismiss
from stepflow_runtime.web.metrics import MetricsEndpoint, ReadMetrics
from stepflow_runtime.web.openapi import OpenApi
from stepflow_runtime.web.refusal import Refused
from stepflow_runtime.web.rpc import RpcEndpoint
from stepflow_runtime.web.sessions import Sessions
from stepflow_runtime.web.signing import Signer


class Surroundings(Struct, frozen=True):
    """What the runtime tells its HTTP side besides the methods.

    Args:
        clock: Its clock.
        tokens: Those that are asked for; `None` for none.
        find_key: The key that signed links are made with.
        find_hindrance: Why no work is taken now, or `None`.
        read_metrics: Tells what is measured now.
    """

    clock: Clock
    tokens: TokenFile | None
    find_key: Callable[[], bytes]
    find_hindrance: Callable[[], str | None]
    read_metrics: ReadMetrics


def make_app(gateway: Gateway, around: Surroundings, sessions: Sessions) -> Starlette:
    """The application, unguarded; see `serving`."""
    health = Health(around.find_hindrance)
    following = Following(gateway)
    artifacts = Artifacts(gateway, Signer(around.find_key), around.clock)
    console = Console(gateway, around.clock, around.tokens, sessions)
    routes = [
        *console.routes,
        Route("/healthz", health.live),
        Route("/readyz", health.ready),
        Route("/metrics", MetricsEndpoint(around.read_metrics).get),
        Route("/rpc", RpcEndpoint(gateway).answer, methods=["POST"]),
        Route("/runs/{run_id}/events", following.events),
        Route("/runs/{run_id}/streams/{namespace:path}", following.stream),
        Route("/runs/{run_id}/artifacts", artifacts.list_all),
        Route("/runs/{run_id}/artifacts/{name:path}", artifacts.get, methods=["GET"]),
        Route("/runs/{run_id}/artifacts/{name:path}", artifacts.put, methods=["PUT"]),
        Route("/runs/{run_id}/artifacts/{name:path}", artifacts.sign, methods=["POST"]),
        Route("/signed/{run_id}/{artifact_id}", artifacts.get_signed, methods=["GET"]),
        Route("/hooks/{token:path}", Hooks(gateway).resume, methods=["POST"]),
    ]
    routes.append(Route("/openapi.json", OpenApi(routes).get))

    @asynccontextmanager
    async def prepare(_: Starlette) -> AsyncGenerator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.prepare)
            yield
            nursery.cancel_scope.cancel()

    return Starlette(
        routes=routes,
        lifespan=prepare,
        exception_handlers={Refused: console.refuse, RpcError: console.refuse, Gone: dismiss},
    )
