"""`/login` and `/logout`: a browser shows its token once, and has a cookie for it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stepflow_runtime.connect.tokens import TokenFile
from stepflow_runtime.web.console.bodies import read_fields
from stepflow_runtime.web.console.rendering import Renderer
from stepflow_runtime.web.sessions import Sessions


class SigningIn:
    """Begins and ends sessions of browsers."""

    def __init__(self, renderer: Renderer, tokens: TokenFile | None, sessions: Sessions) -> None:
        self._renderer = renderer
        self._tokens = tokens
        self._sessions = sessions

    async def show(self, request: Request) -> Response:
        """`GET /login?next=`."""
        return self._show(request, _find_next(request.query_params.get("next", "")))

    async def enter(self, request: Request) -> Response:
        """`POST /login`: the form of that page."""
        fields = await read_fields(request)
        next = _find_next(fields.get("next", ""))
        grant = self._tokens.find(fields.get("token", "").strip()) if self._tokens is not None else None
        if self._tokens is not None and (grant is None or grant.role == "server"):
            return self._show(request, next, "This token is not known here, or not for people.", 403)
        response = RedirectResponse(next, 303)
        if grant is not None:
            self._sessions.begin(grant, response)
        return response

    async def leave(self, request: Request) -> Response:
        """`POST /logout`."""
        response = RedirectResponse("/login", 303)
        self._sessions.end(request.headers.get("cookie", ""), response)
        return response

    def _show(self, request: Request, next: str, problem: str = "", status: int = 200) -> Response:
        return self._renderer.page(request, "login.html", status, next=next, problem=problem)


def _find_next(path: str) -> str:
    """Only to a page of ours: `//evil.example` and `/\\evil.example` are of others."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
