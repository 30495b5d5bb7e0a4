"""Tokens: who may dial the runtime, and as what (PROTOCOL §1).

A token file has a token a line, and after it, if it is not a client's, what it is for:

    2f8a…e1
    9c41…07  role=read-only
    77d0…5b  role=server name=gpu-workers

Several are valid at once, so that one can be replaced without a gap: add the new one, hand it out, remove the old one.
The file is read again when it has changed, and who came in with a token that is gone, or is for something else now, is
shut out again (`listener`). Only hashes are kept, and nothing here ever tells a token.
"""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path
from typing import Final, Literal

from blake3 import blake3
from msgspec import Struct

from protocol.first_line import refuse
from protocol.log import Logger
from protocol.types import ConnectParams
from stepflow_runtime.connect.secret_files import read_secret_file

log = Logger(__name__)

MIN_TOKEN_CHARACTERS: Final = 16
"""What is shorter can be guessed."""

Role = Literal["client", "server", "read-only"]

_BINDING: Final = re.compile(r"(role)=(client|server|read-only)|(name)=(\S+)")


class Grant(Struct, frozen=True):
    """What a token is for.

    Args:
        role: A `read-only` peer is a client that changes nothing.
        name: The name under which a server introduces itself; `None` for the others.
        token_hash: Of which token.
    """

    role: Role = "client"
    name: str | None = None
    token_hash: bytes = b""

    def check(self, params: ConnectParams) -> None:
        """Whether a peer with this token may introduce itself so.

        Raises:
            RpcError: `NOT_AUTHENTICATED`.
        """
        wanted = params.role or "client"
        if (wanted == "server") != (self.role == "server"):
            raise refuse(f'This token is not for the role "{wanted}"; use one that is.')
        if self.name is not None and params.name != self.name:
            raise refuse("This token is for a server of another name; use the one of this name.")


class TokenFile:
    """The tokens of a file.

    Args:
        path: The file. Nobody but its owner may read or write it.

    Raises:
        ValueError: It cannot be read or used; the message says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = _read_version(path)
        self._grants = _read_grants(path)

    def find(self, token: str) -> Grant | None:
        """What a token is for, or `None` if it is none. Takes as long for every token.

        A file that cannot be used any more lets nobody in.
        """
        self._refresh()
        offered = _hash(token)
        found: Grant | None = None
        for grant in self._grants:
            if hmac.compare_digest(grant.token_hash, offered):
                found = grant
        return found

    def stands(self, grant: Grant) -> bool:
        """Whether what was granted once is granted still. A file that cannot be used takes nothing back."""
        self._refresh()
        return grant in self._grants or not self._grants

    def _refresh(self) -> None:
        try:
            version = _read_version(self._path)
            if version != self._version:
                self._grants = _read_grants(self._path)
                self._version = version
        except ValueError as error:
            self._version, self._grants = None, ()
            log.error("token file cannot be used, nobody is let in", reason=str(error))


def _read_version(path: Path) -> tuple[int, ...] | None:
    """What changes when the file does."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read_grants(path: Path) -> tuple[Grant, ...]:
    grants = tuple(
        _read_line(line.split(), f"The token file {path}, line {number}")
        for number, line in enumerate(read_secret_file(path, "token file").splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not grants:
        raise ValueError(f"The token file {path} has no token; write one, for example of: openssl rand -hex 32")
    return grants


def _read_line(words: list[str], place: str) -> Grant:
    token, *bindings = words
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ValueError(f"{place}: a token has at least {MIN_TOKEN_CHARACTERS} characters; make it longer.")
    found: dict[str, str] = {}
    for binding in bindings:
        match = _BINDING.fullmatch(binding)
        if match is None:
            raise ValueError(
                f"{place}: after a token come only role=client, role=read-only, or role=server and name=NAME."
            )
        found[match[1] or match[3]] = match[2] or match[4]
    role, name = found.get("role", "client"), found.get("name")
    if (role == "server") != (name is not None):
        raise ValueError(f"{place}: role=server and name=NAME go together: a server's token is for one name.")
    match role:
        case "server" | "read-only" | "client":
            return Grant(role, name, _hash(token))
        case _:
            raise AssertionError(role)


def _hash(token: str) -> bytes:
    return blake3(token.encode("utf-8", "surrogatepass")).digest()
