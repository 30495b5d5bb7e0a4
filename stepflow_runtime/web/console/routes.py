"""The pages, by path."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.errors import RpcError
from stepflow_runtime.connect.tokens import TokenFile
from stepflow_runtime.ports import Clock
from stepflow_runtime.web.console.actions import Actions
from stepflow_runtime.web.console.assets import Assets
from stepflow_runtime.web.console.lists import Lists
from stepflow_runtime.web.console.rendering import Renderer
from stepflow_runtime.web.console.run_pages import RunPages
from stepflow_runtime.web.console.signing_in import SigningIn
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.refusal import Refused, refuse, status_of
from stepflow_runtime.web.sessions import Sessions


class Console:
    """All pages.

    Args:
        gateway: Calls the runtime.
        clock: Its clock.
        tokens: Those that are asked for.
        sessions: Of browsers that have shown one.

    Attributes:
        routes: To be served.
        prepare: Makes the first pages quick; pages are there without it.
    """

    def __init__(self, gateway: Gateway, clock: Clock, tokens: TokenFile | None, sessions: Sessions) -> None:
        assets = Assets()
        self._renderer = Renderer(clock, asks_tokens=tokens is not None, static=assets.root)
        self.prepare = self._renderer.prepare
        lists, runs = Lists(gateway, self._renderer), RunPages(gateway, self._renderer)
        actions, signing_in = Actions(gateway), SigningIn(self._renderer, tokens, sessions)
        self.routes = [
            Route("/", lists.runs),
            Route("/flows", lists.flows),
            Route("/flows/{flow_id}", lists.flow),
            Route("/servers", lists.servers),
            Route("/runs/{run_id}", runs.run),
            Route("/runs/{run_id}/steps", runs.steps),
            Route("/runs/{run_id}/states", runs.states),
            Route("/runs/{run_id}/items/{index:int}", runs.item),
            Route("/runs/{run_id}/cancel", actions.cancel, methods=["POST"]),
            Route("/runs/{run_id}/pause", actions.pause, methods=["POST"]),
            Route("/runs/{run_id}/unpause", actions.unpause, methods=["POST"]),
            Route("/runs/{run_id}/wake-up", actions.wake_up, methods=["POST"]),
            Route("/runs/{run_id}/resume", actions.resume, methods=["POST"]),
            Route("/runs/{run_id}/restart", actions.restart, methods=["POST"]),
            Route("/runs/{run_id}/time-travel", actions.travel, methods=["POST"]),
            Route("/runs/{run_id}/delete", actions.delete, methods=["POST"]),
            Route("/login", signing_in.show, methods=["GET"]),
            Route("/login", signing_in.enter, methods=["POST"]),
            Route("/logout", signing_in.leave, methods=["POST"]),
            Route("/static/{version}/{name}", assets.get),
        ]

    async def refuse(self, request: Request, error: Exception) -> Response:
        """What was refused, as a page for browsers and as JSON for the rest."""
        if "text/html" not in request.headers.get("accept", ""):
            return await refuse(request, error)
        assert isinstance(error, Refused | RpcError)
        message = error.message if isinstance(error, RpcError) else str(error)
        status = status_of(error)
        data: dict[str, Any] = error.data if isinstance(error, RpcError) else {}
        return self._renderer.page(
            request, "refused.html", status, message=message, is_missing=status == 404, data=data
        )
