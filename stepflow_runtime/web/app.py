"""What is served over HTTP, path by path."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Route

from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.guard import Refused, refuse
from stepflow_runtime.web.health import Health
from stepflow_runtime.web.rpc import RpcEndpoint


def make_app(gateway: Gateway, find_hindrance: Callable[[], str | None]) -> Starlette:
    """The application, unguarded; see `serving`.

    Args:
        gateway: Calls the runtime.
        find_hindrance: Why no work is taken now, or `None`.
    """
    health = Health(find_hindrance)
    return Starlette(
        routes=[
            Route("/healthz", health.live),
            Route("/readyz", health.ready),
            Route("/rpc", RpcEndpoint(gateway).answer, methods=["POST"]),
        ],
        exception_handlers={Refused: refuse},
    )
