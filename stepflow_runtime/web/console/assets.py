"""What pages are made of besides their text: style, scripts, an icon. They come with the package.

Their path names their content, so a browser that has them asks for none of them again, not even whether it is current.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from blake3 import blake3
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from stepflow_runtime.web.refusal import Refused

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


FOREVER: Final = "public, max-age=31536000, immutable"


class _Asset(Struct, frozen=True):
    content: bytes
    media_type: str


class Assets:
    """`/static/{version}/{name}`, read once.

    Attributes:
        root: The path that all of them have in common; it changes with any of them.
    """

    def __init__(self) -> None:
        folder = resources.files("stepflow_runtime.web.console") / "static"
        files = sorted((file for file in folder.iterdir() if _find_type(file.name)), key=lambda file: file.name)
        self._assets = {file.name: _Asset(file.read_bytes(), _find_type(file.name)) for file in files}
        self._version = blake3(b"".join(asset.content for asset in self._assets.values())).hexdigest(8)
        self.root = f"/static/{self._version}/"

    async def get(self, request: Request) -> Response:
        """What is there now; for good only under its own version, as an old page may ask a new runtime."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise Refused(404, "There is no such file.")
        caching = FOREVER if request.path_params["version"] == self._version else "no-store"
        return Response(asset.content, headers={"Cache-Control": caching}, media_type=asset.media_type)


def _find_type(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2], "")
