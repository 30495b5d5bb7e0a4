"""Who may come in over HTTP: the first thing that every request passes (FAULTS 35, 42).

A browser can be made to send requests to a runtime on its own machine. So the `Host` must be one of ours (DNS
rebinding), a request that changes something must come from our own pages or from no page at all (`Origin`,
`Sec-Fetch-Site`), and pages get a policy under which no script but ours runs. Where tokens are asked for, each request
shows one. What HTTP cannot carry within the limits is refused before it is read whole.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf
from typing import Final
from urllib.parse import urlencode

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepflow_runtime.connect.tokens import Grant, Role, TokenFile
from stepflow_runtime.web.refusal import Refused, explain
from stepflow_runtime.web.sessions import Sessions

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

OPEN_PATHS: Final = ("/healthz", "/readyz", "/login", "/static/")
"""What is told without a token: nothing of any run."""

CAPABILITY_PATHS: Final = ("/hooks/", "/signed/")
"""Where the path itself is the permission: whoever knows it may come from anywhere."""

BODY_TIMEOUT_S: Final = 60.0
"""How long a body may be on its way: some are read for who has shown no token."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, browsers say of our own forms that they come from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _answer(scope: Scope, error: Refused) -> Response:
    """Why it goes no further; a browser without a token is shown where to sign in."""
    if error.status == 401 and scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", ""):
        return RedirectResponse(f"/login?{urlencode({'next': scope['path']})}", 303)
    return explain(error)


class Guard:
    """Lets requests through to an application, with `scope["role"]` set, or answers why not.

    Args:
        app: What is guarded.
        hosts: Values of `Host` that are ours, lower case, with the port where one is written.
        scheme: `http` or `https`: how our pages are reached.
        tokens: Those that are asked for; `None` for none.
        sessions: Of browsers that have shown a token.
        max_body_bytes: Of a request.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        scheme: str,
        tokens: TokenFile | None,
        sessions: Sessions,
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"{scheme}://{host}" for host in hosts)
        self._tokens = tokens
        self._sessions = sessions
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            scope["role"] = self._admit(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, self._bound(receive), send_guarded)
        except Refused as error:
            await _answer(scope, error)(scope, receive, send_guarded)

    def _admit(self, method: str, path: str, headers: Headers) -> Role:
        if headers.get("host", "").lower() not in self._hosts:
            raise Refused(
                421, "This runtime is not known under that Host; use its own address, or add it to listen.httpHosts."
            )
        if path.startswith(CAPABILITY_PATHS):
            return "client"
        if method not in SAFE_METHODS:
            self._check_origin(headers)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body_bytes:
            raise Refused(413, f"The body is too large: maxFrameBytes is {self._max_body_bytes}.")
        grant = self._find_grant(headers)
        if grant is None and not path.startswith(OPEN_PATHS):
            raise Refused(401, "This runtime asks for a token: send `Authorization: Bearer …`, or sign in at /login.")
        role: Role = "read-only" if grant is None else grant.role
        if role == "read-only" and method not in SAFE_METHODS and path not in ("/rpc", "/login"):
            raise Refused(403, "This token only reads; use one of the role client to change something.")
        return role

    def _check_origin(self, headers: Headers) -> None:
        """A page of another site is refused; a program, which has no page, sends neither header."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if (origin is not None and origin.lower() not in self._origins) or site not in ("none", "same-origin"):
            raise Refused(403, "This request comes from a page of another site, which may change nothing here.")

    def _find_grant(self, headers: Headers) -> Grant | None:
        if self._tokens is None:
            return Grant()
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            grant = self._tokens.find(token.strip())
            return None if grant is None or grant.role == "server" else grant
        grant = self._sessions.find(headers.get("cookie", ""))
        return grant if grant is not None and self._tokens.stands(grant) else None

    def _bound(self, receive: Receive) -> Receive:
        received = 0
        deadline = trio.current_time() + BODY_TIMEOUT_S

        async def receive_bound() -> Message:
            nonlocal received, deadline
            with trio.move_on_at(deadline):
                message = await receive()
                received += len(message.get("body", b""))
                if received > self._max_body_bytes:
                    raise Refused(413, f"The body is too large: maxFrameBytes is {self._max_body_bytes}.")
                if not message.get("more_body", False):
                    deadline = inf
                return message
            raise Refused(408, f"The body did not come within {BODY_TIMEOUT_S:g} s.")

        return receive_bound
