"""What pages are made of besides their text: style, scripts, an icon. They come with the package."""

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


class _Asset(Struct, frozen=True):
    content: bytes
    media_type: str
    tag: str


class Assets:
    """`/static/{name}`, read once."""

    def __init__(self) -> None:
        folder = resources.files("stepflow_runtime.web.console") / "static"
        self._assets = {
            file.name: _Asset(content, _TYPES[file.name.rpartition(".")[2]], f'"{blake3(content).hexdigest(16)}"')
            for file in folder.iterdir()
            if file.name.rpartition(".")[2] in _TYPES and (content := file.read_bytes())
        }

    async def get(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise Refused(404, "There is no such file.")
        headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == asset.tag:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, headers=headers, media_type=asset.media_type)
