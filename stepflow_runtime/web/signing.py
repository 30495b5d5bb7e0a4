"""Signed links: who has one may read one artifact until it expires, and nothing else. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from msgspec import Struct

DEFAULT_LIFE_MS: Final = 3_600_000
MAX_LIFE_MS: Final = 7 * 24 * 3_600_000


class SignedLink(Struct, rename="camel"):
    """A link, and until when it leads somewhere (Unix time, milliseconds)."""

    url: str
    expires_at_ms: int


class Signer:
    """Makes and checks signed links.

    Args:
        find_key: Gives the key; asked when it is first needed.
    """

    def __init__(self, find_key: Callable[[], bytes]) -> None:
        self._find_key = find_key

    def sign(self, run_id: str, artifact_id: str, expires_at_ms: int) -> str:
        """The path of a link to an artifact, with its query."""
        signature = self._compute(run_id, artifact_id, expires_at_ms)
        return f"/signed/{quote(run_id, '')}/{quote(artifact_id, '')}?expires={expires_at_ms}&signature={signature}"

    def matches(self, signature: str, run_id: str, artifact_id: str, expires_at_ms: int) -> bool:
        """Whether we signed exactly this. Takes as long for every signature."""
        return hmac.compare_digest(self._compute(run_id, artifact_id, expires_at_ms).encode(), signature.encode())

    def _compute(self, run_id: str, artifact_id: str, expires_at_ms: int) -> str:
        message = "\n".join((run_id, artifact_id, str(expires_at_ms)))
        return hmac.new(self._find_key(), message.encode(), hashlib.sha256).hexdigest()
