"""`stepflow doctor`: whether everything is there that a runtime needs, and what to do where it is not."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from msgspec import Struct
from rich.markup import escape

from protocol.errors import RpcError
from stepflow_runtime import __version__
from stepflow_runtime.app.cli.boundary import CliError, ExitCode, find_leaves, run_async
from stepflow_runtime.app.cli.configured import open_configured
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.cli.options import Format, common_options, config_option, output_option
from stepflow_runtime.app.cli.output import print_json, print_lines, stdout
from stepflow_runtime.app.config import Config, ConfigError, MemoryStorage, SqliteStorage
from stepflow_runtime.app.config_file import obtain_config
from stepflow_runtime.connect.addresses import parse_address
from stepflow_runtime.ports import StoreCorrupt, StoreUnavailable
from stepflow_runtime.store.connection import SQLITE_VERSION
from stepflow_runtime.store.maintenance import read_version

LOWEST_PYTHON: Final = (3, 11)
LOWEST_SQLITE: Final = (3, 51, 3)
"""Older ones have a bug that can corrupt a database when its write-ahead log is reset."""


class Check(Struct, frozen=True, omit_defaults=True):
    """What was looked at; `problem` says what is wrong and what to do."""

    subject: str
    found: str = ""
    problem: str | None = None


@click.command("doctor")
@config_option
@output_option()
@common_options()
def command(config_path: Path | None, output: Format) -> int:
    """Check Python, packages, SQLite, configuration, storage, address and component servers."""
    checks: list[Check] = []
    for check in _examine(config_path):
        checks.append(check)
        if output is Format.TABLE:
            _print_check(check)
    problems = sum(check.problem is not None for check in checks)
    match output:
        case Format.JSON:
            print_json(checks)
        case Format.JSONL:
            print_lines(map(msgspec.json.encode, checks))
        case Format.TABLE if problems:
            stdout().print(f"[red]{problems} {'problem' if problems == 1 else 'problems'}[/]", highlight=False)
        case Format.TABLE:
            stdout().print("[green]All is well.[/]")
    return ExitCode.FAILED if problems else ExitCode.SUCCESS


def _print_check(check: Check) -> None:
    mark = "[green]ok     [/]" if check.problem is None else "[red]problem[/]"
    text = ": ".join(filter(None, (check.subject, check.problem or check.found)))
    stdout().print(f"{mark}  {escape(text)}", highlight=False, soft_wrap=True)


def _examine(config_path: Path | None) -> Iterator[Check]:
    yield Check("stepflow", __version__)
    yield _check_python()
    yield _check_packages()
    yield _check_sqlite()
    try:
        config = obtain_config(config_path)
    except ConfigError as error:
        yield Check("configuration", problem=str(error))
        return
    yield Check("configuration", str(config.source) if config.source else "none found; the defaults hold")
    yield from (Check("configuration", problem=warning) for warning in config.warnings)
    yield _check_storage(config)
    yield _check_address(config)
    yield from run_async(_check_plugins, config)


def _check_python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < LOWEST_PYTHON:
        return Check("Python", problem=f"{version} is too old; use {'.'.join(map(str, LOWEST_PYTHON))} or later.")
    return Check("Python", f"{version} in {sys.prefix}")


def _check_packages() -> Check:
    found: list[str] = []
    for requirement in importlib.metadata.requires("stepflow-runtime") or ():
        name = re.split(r"[^\w.-]", requirement)[0]
        if "extra ==" in requirement:
            continue
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return Check("packages", problem=f"{name} is not installed; run: pip install stepflow-runtime")
    return Check("packages", ", ".join(found))


def _check_sqlite() -> Check:
    if tuple(map(int, SQLITE_VERSION.split("."))) < LOWEST_SQLITE:
        lowest = ".".join(map(str, LOWEST_SQLITE))
        return Check("SQLite", problem=f"{SQLITE_VERSION} may corrupt its file; run: pip install -U apsw (≥ {lowest})")
    return Check("SQLite", SQLITE_VERSION)


def _check_storage(config: Config) -> Check:
    if not isinstance(config.storage, SqliteStorage):
        return Check("storage", "memory; state ends with the process")
    path = config.storage.path
    place = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(place, os.W_OK) or (place.is_dir() and place == path):
        return Check("storage", problem=f"{place} cannot be written; change its owner or mode, or `storage.path`.")
    if place != path:
        return Check("storage", f"{config.storage} (it will be made)")
    try:
        return Check("storage", f"{config.storage}, schema version {read_version(path)}")
    except (StoreUnavailable, StoreCorrupt) as error:
        return Check("storage", problem=str(error))


def _check_address(config: Config) -> Check:
    address = config.listen.rpc
    parsed = parse_address(address)
    if isinstance(parsed, str):
        return Check("address", f"a runtime serves at {address}" if run_async(_is_runtime, address) else address)
    host, port = parsed
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if port and run_async(_is_runtime, address):
                return Check("address", f"a runtime serves at {address}")
            problem = f"{address}: {error.strerror}; stop what listens there, or choose another `listen.rpc`."
            return Check("address", problem=problem)
    return Check("address", f"{address} is free")


async def _is_runtime(address: str) -> bool:
    try:
        async with open_link(address):
            return True
    except Exception as error:
        if isinstance(next(find_leaves(error)), CliError):
            return False
        raise


async def _check_plugins(config: Config) -> list[Check]:
    """All at once, as each may keep us waiting."""
    checks: dict[str, Check] = {}

    async def check(name: str) -> None:
        checks[name] = await _check_plugin(config, name)

    async with trio.open_nursery() as nursery:
        for name in config.plugins:
            nursery.start_soon(check, name)
    return [checks[name] for name in config.plugins]


async def _check_plugin(config: Config, name: str) -> Check:
    """Starts a runtime with this plugin alone, and lets it list its components."""
    alone = msgspec.structs.replace(
        config,
        plugins={name: config.plugins[name]},
        routes=tuple(route for route in config.routes if route.plugin == name),
        storage=MemoryStorage(),
    )
    try:
        async with open_configured(alone) as runtime:
            count = len(await runtime.components())
        return Check(f"plugin {name}", f"{count} {'component' if count == 1 else 'components'}")
    except Exception as error:
        leaf = next(find_leaves(error))
        if isinstance(leaf, RpcError | ConfigError):
            return Check(f"plugin {name}", problem=leaf.message if isinstance(leaf, RpcError) else str(leaf))
        raise
