"""Browsers that have shown a token: a cookie that no script can read and no other site can send stands for it."""

from __future__ import annotations

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response

from stepflow_runtime.connect.tokens import Grant

COOKIE: Final = "stepflow_session"

MAX_SESSIONS: Final = 1000
"""The oldest is forgotten first."""


class Sessions:
    """What the token of each browser was for. They end with the process.

    Args:
        secure: Whether the cookie is for TLS alone.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._grants: dict[str, Grant] = {}

    def begin(self, grant: Grant, response: Response) -> None:
        """Gives the browser its cookie with a response."""
        session = secrets.token_urlsafe(32)
        self._grants[session] = grant
        if len(self._grants) > MAX_SESSIONS:
            del self._grants[next(iter(self._grants))]
        response.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=self._secure, path="/")

    def end(self, cookies: str, response: Response) -> None:
        """Forgets a browser."""
        self._grants.pop(_read_cookie(cookies), None)
        response.delete_cookie(COOKIE, path="/")

    def find(self, cookies: str) -> Grant | None:
        """What the token was for that this browser has shown.

        Args:
            cookies: The header `Cookie`.
        """
        return self._grants.get(_read_cookie(cookies))


def _read_cookie(cookies: str) -> str:
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
