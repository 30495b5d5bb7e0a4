"""Files that `load_file` may read: those beneath the configured folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import trio
from msgspec import Raw, Struct

from protocol.errors import ErrorCode, RpcError

Format = Literal["json", "yaml", "text"]

FORMATS: Final[dict[str, Format]] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
"""By suffix; any other file is text."""


class LoadFile(Struct):
    """The input of `load_file`."""

    path: str
    format: Format | None = None


class FileLoader:
    """Reads files as JSON values.

    Args:
        folders: Only files beneath these are read; a relative path is relative to the first that has it.
        read_yaml: Decodes YAML, with JSON's types only.
        max_bytes: Longer files are refused.
    """

    def __init__(self, folders: Sequence[Path], read_yaml: Callable[[bytes], Any], *, max_bytes: int) -> None:
        self._folders = [folder.resolve() for folder in folders]
        self._read_yaml = read_yaml
        self._max_bytes = max_bytes

    async def load(self, params: LoadFile) -> bytes:
        """Reads one file, in a thread.

        Returns:
            `{data, metadata: {resolved_path, size_bytes, format}}` as raw JSON; JSON files keep their digits.

        Raises:
            RpcError: The file is outside the folders, not there, too long, or not in its format.
        """
        return await trio.to_thread.run_sync(self._load, params)

    def _load(self, params: LoadFile) -> bytes:
        path = self._find(params.path)
        size = path.stat().st_size
        if size > self._max_bytes:
            raise RpcError(
                ErrorCode.LIMIT_EXCEEDED,
                f'"{params.path}" has {size} bytes; at most {self._max_bytes} are read.',
                limit="maxFrameBytes",
                value=self._max_bytes,
            )
        kind: Format = params.format or FORMATS.get(path.suffix.lower(), "text")
        metadata = {"resolved_path": str(path), "size_bytes": size, "format": kind}
        return msgspec.json.encode({"data": self._decode(path, kind), "metadata": metadata})

    def _find(self, path: str) -> Path:
        for folder in self._folders:
            resolved = (folder / path).resolve()
            if resolved.is_relative_to(folder) and resolved.is_file():
                return resolved
        where = ", ".join(map(str, self._folders)) or "none is configured"
        raise RpcError(
            ErrorCode.INVALID_INPUT, f'There is no file "{path}" beneath the folders that may be read ({where}).'
        )

    def _decode(self, path: Path, kind: Format) -> Any:
        content = path.read_bytes()
        try:
            match kind:
                case "json":
                    return Raw(msgspec.json.format(content, indent=-1))  # on one line, as frames need it
                case "yaml":
                    return self._read_yaml(content)
                case "text":
                    return content.decode()
        except Exception as error:
            raise RpcError(ErrorCode.INVALID_INPUT, f'"{path.name}" cannot be read as {kind}: {error}') from error
