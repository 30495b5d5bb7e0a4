"""Where the configuration comes from: a file that is found, the environment, flags (FLOWS, "Configuration").

The file is named with `--config`, else by `STEPFLOW_CONFIG`, else it lies beside the flow, else in the current folder;
without one the defaults hold. `${VAR}` and `${VAR:-default}` are filled in, in any text of it; `$${` stands for `${`.
A flag goes over the environment, and that over the file:

    STEPFLOW_STORAGE_PATH    storage.path; `:memory:` keeps nothing
    STEPFLOW_LISTEN_RPC      listen.rpc

What the file says is read by `config_reader`.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from protocol.errors import RpcError
from stepflow_runtime.app.config import (
    CONFIG_NAMES,
    Config,
    ConfigError,
    MemoryStorage,
    SqliteStorage,
    default_config,
)
from stepflow_runtime.app.config_reader import read_config
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.loader import Document, load_document
from stepflow_runtime.model.pointer import extend

_REFERENCE: Final = re.compile(r"\$(\$)?\{([^}]*)\}")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def obtain_config(
    named: Path | None = None, *, flow: Path | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """Finds and reads the configuration.

    Args:
        named: The file of `--config`.
        flow: The flow that is to run; a file beside it is taken.
        environ: By default that of the process.

    Raises:
        ConfigError: It cannot be read or used.
    """
    environ = os.environ if environ is None else environ
    path = find_config(named, flow=flow, environ=environ)
    config = default_config(Path.cwd()) if path is None else load_config(path, environ)
    return apply_environment(config, environ)


def find_config(named: Path | None, *, flow: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that holds, or `None` if there is none. One that is named need not be there."""
    if named is not None:
        return named
    if environ.get("STEPFLOW_CONFIG"):
        return Path(environ["STEPFLOW_CONFIG"])
    folders = [*([flow.parent] if flow else []), Path()]
    return next((folder / name for folder in folders for name in CONFIG_NAMES if (folder / name).is_file()), None)


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Reads one file.

    Raises:
        ConfigError: It is not there, can be written by others, or cannot be used.
    """
    try:
        status = path.stat()
        content = path.read_bytes()
    except OSError as error:
        hint = "; name another one with --config" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}{hint}.") from None
    if may_be_written_by_others(status):
        raise ConfigError(
            f"The configuration {path} can be written by others, who could have it start any program; "
            f"run: chmod go-w {path}"
        )
    return parse_config(content, str(path), path.parent.resolve(), environ)


def parse_config(content: bytes, source: str, folder: Path, environ: Mapping[str, str]) -> Config:
    """Reads a configuration from the content of a file.

    Raises:
        ConfigError: It cannot be used.
    """
    try:
        document = load_document(content, source)
    except RpcError as error:
        raise ConfigError(error.message) from None
    return read_config(fill_in(document, environ), folder)


def may_be_written_by_others(status: os.stat_result) -> bool:
    """Whether anybody but the owner may write a file. A group that has only its owner in it, as many systems give to
    each user, is nobody else (as in Debian's OpenSSH, `user-group-modes`)."""
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_alone_in_group(status.st_uid, status.st_gid)


def _is_alone_in_group(uid: int, gid: int) -> bool:
    try:
        owner = pwd.getpwuid(uid)
        members = set(grp.getgrgid(gid).gr_mem) | {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}
    except KeyError:
        return False
    return members <= {owner.pw_name}


def fill_in(document: Document, environ: Mapping[str, str]) -> Document:
    """The document with its variables filled in.

    Raises:
        ConfigError: A variable is not set and has no default.
    """

    def fill(value: Any, place: str) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: resolve(match, place), value)
        if is_object(value):
            return {key: fill(member, extend(place, key)) for key, member in value.items()}
        if is_array(value):
            return [fill(member, extend(place, index)) for index, member in enumerate(value)]
        return value

    def resolve(match: re.Match[str], place: str) -> str:
        if match[1]:
            return match[0][1:]
        variable = _VARIABLE.fullmatch(match[2])
        if variable is None:
            raise ConfigError(f"{document.locate(place)}: {match[0]} cannot be read; write ${{NAME:-default}}.")
        name, default = variable[1], variable[2]
        given = environ.get(name) or default
        if given is None and (given := environ.get(name)) is None:
            raise ConfigError(
                f"{document.locate(place)}: The environment variable {name} is not set; "
                f"set it, or write ${{{name}:-default}}."
            )
        return given

    return msgspec.structs.replace(document, value=fill(document.value, ""))


def apply_environment(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration with what the environment says over it.

    Raises:
        ConfigError: A variable cannot be used.
    """
    return override(config, rpc=environ.get("STEPFLOW_LISTEN_RPC"), storage_path=environ.get("STEPFLOW_STORAGE_PATH"))


def override(
    config: Config, *, rpc: str | None = None, http: str | None = None, storage_path: str | None = None
) -> Config:
    """The configuration with what flags or the environment say over it; paths are relative to the current folder.

    Raises:
        ConfigError: The address cannot be used.
    """
    if rpc or http:
        listen = config.listen
        listen = msgspec.structs.replace(listen, rpc=rpc or listen.rpc, http=http or listen.http)
        try:
            listen.check()
        except ValueError as error:
            raise ConfigError(str(error)) from None
        config = msgspec.structs.replace(config, listen=listen)
    if storage_path:
        in_memory = storage_path == ":memory:"
        storage = MemoryStorage() if in_memory else SqliteStorage(path=Path(storage_path).resolve())
        config = msgspec.structs.replace(config, storage=storage)
    return config
