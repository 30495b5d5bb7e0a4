"""What people give on the command line as JSON, in files, or on stdin; and their inputs, one JSON value a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

from protocol.errors import RpcError
from protocol.messages import UNREADABLE
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.model.loader import load_document

CHUNK_BYTES: Final = 1024 * 1024
"""How much of a file is read, and sent, in one piece."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_decode: Final = msgspec.json.Decoder().decode


def read_json(text: str, option: str) -> bytes:
    """One JSON value.

    Args:
        text: JSON; or `@FILE`, JSON or YAML; or `-` for stdin.
        option: The name of the option, for messages.

    Raises:
        CliError: It cannot be read.
    """
    if text.startswith("@"):
        return _read_json_file(Path(text[1:]), option)
    raw, source = (sys.stdin.buffer.read(), "stdin") if text == "-" else (text.encode(), option)
    try:
        _decode(raw)
    except UNREADABLE as error:
        hint = "" if text == "-" else ", @FILE, or - for stdin"
        raise CliError(f"{source} is not JSON: {error}. {option} takes JSON{hint}.") from None
    return raw.strip()


def read_object(text: str, option: str) -> dict[str, Raw]:
    """A JSON object, given as in `read_json`, its members untouched.

    Raises:
        CliError: It cannot be read, or is no object.
    """
    try:
        return msgspec.json.decode(read_json(text, option), type=dict[str, Raw])
    except (msgspec.ValidationError, UnicodeDecodeError):
        raise CliError(f'{option} takes a JSON object, such as {{"name": "value"}}.') from None


def _read_json_file(path: Path, option: str) -> bytes:
    content = read_file(path, option)
    if path.suffix.lower() in (".yaml", ".yml"):
        try:
            return msgspec.json.encode(load_document(content, str(path)).value)
        except RpcError as error:
            raise CliError(error.message) from None
    try:
        _decode(content)
    except UNREADABLE as error:
        raise CliError(f"{path} is not JSON: {error}.") from None
    return content.strip()


def read_file(path: Path, option: str) -> bytes:
    """All of a file.

    Raises:
        CliError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{option}: {path} cannot be read: {error.strerror}.") from None


def read_pairs(pairs: tuple[str, ...], option: str) -> Mapping[str, str]:
    """`KEY=VALUE`, several times.

    Raises:
        CliError: One has no `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise CliError(f"{option} takes KEY=VALUE, not {pair!r}.")
    return dict(pair.split("=", 1) for pair in pairs)


class JsonLines:
    """A JSONL file, or stdin; empty lines are skipped.

    Args:
        path: The file; `-` for stdin.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_stdin = str(path) == "-"
        self._name = "stdin" if self._is_stdin else str(path)

    def count(self) -> int | None:
        """How many values there are, all of which are checked; `None` for stdin, which can be read only once.

        Raises:
            CliError: A line is not JSON, or the file cannot be read.
        """
        return None if self._is_stdin else sum(map(len, self.chunks()))

    def chunks(self) -> Iterator[list[Raw]]:
        """The values, in chunks that fit well into a frame; of stdin, as soon as they come.

        Raises:
            CliError: A line is not JSON, or the file cannot be read.
        """
        number = 1
        with self._open() as stream:
            for lines in _read_lines(stream):
                yield [self._check(line, number + index) for index, line in enumerate(lines) if line.strip()]
                number += len(lines)

    def _open(self) -> FileIO:
        # Unbuffered: it gives what is there, and a thread that waits in it does not hold up the end of the process.
        try:
            return FileIO(0, closefd=False) if self._is_stdin else FileIO(self._path)
        except OSError as error:
            raise CliError(f"--inputs: {self._path} cannot be read: {error.strerror}.") from None

    def _check(self, line: bytes, number: int) -> Raw:
        value = line.strip().removeprefix(_BYTE_ORDER_MARK)
        try:
            _decode(value)
        except UNREADABLE as error:
            raise CliError(
                f"{self._name}:{number}: This line is not JSON: {error}; each line must be one JSON value."
            ) from None
        return Raw(value)


def _read_lines(stream: FileIO) -> Iterator[list[bytes]]:
    """The lines of a stream, those together that can be read without waiting."""
    rest = b""
    while block := stream.read(CHUNK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if lines:
            yield lines
    if rest:
        yield [rest]
