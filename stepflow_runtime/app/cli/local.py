"""A runtime that lives in this process as long as the command does, and what is asked of it over a link."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio
from msgspec import Raw

from protocol.errors import RpcError
from protocol.flows import FlowParams, ValidateFlowResult
from protocol.link import Link
from protocol.methods import VALIDATE_FLOW
from protocol.types import ComponentInfo
from stepflow_runtime.app.cli.boundary import warn
from stepflow_runtime.app.cli.configured import open_configured
from stepflow_runtime.app.cli.link import CAPABILITIES
from stepflow_runtime.app.config import Config, MemoryStorage

if TYPE_CHECKING:
    from stepflow_runtime.app.runtime import Runtime


@asynccontextmanager
async def open_local(config: Config) -> AsyncGenerator[tuple[Runtime, Link]]:
    """Opens a runtime in this process, and connects to it.

    Raises:
        ConfigError: The configuration cannot be carried out.
        StoreUnavailable: The state cannot be opened.
        StoreCorrupt: What is there is not a state that this version can use.
    """
    async with open_configured(config) as runtime, runtime.connect_local() as link:
        link.peer_capabilities = CAPABILITIES
        yield runtime, link


async def list_components(config: Config) -> list[ComponentInfo]:
    """What flows can call with a configuration, by path; a plugin that cannot tell is named on stderr.

    Starts the component servers, and keeps no state.
    """
    found: list[ComponentInfo] = []
    async with open_configured(msgspec.structs.replace(config, storage=MemoryStorage())) as runtime:

        async def ask(plugin: str) -> None:
            try:
                found.extend(await runtime.router.components(plugin))
            except RpcError as error:
                warn([error.message])

        async with trio.open_nursery() as nursery:
            for plugin in config.plugins:
                nursery.start_soon(ask, plugin)
    return sorted(found, key=lambda info: info.component)


async def infer_types(config: Config, flows: Sequence[bytes]) -> list[ValidateFlowResult]:
    """The findings and the types of flows, with the components of a configuration.

    Starts the component servers, and keeps no state.

    Args:
        flows: As JSON, without errors.
    """
    async with open_local(msgspec.structs.replace(config, storage=MemoryStorage())) as (_, link):
        return [await link.call(VALIDATE_FLOW, FlowParams(Raw(flow), types=True)) for flow in flows]
