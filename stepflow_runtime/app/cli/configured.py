"""A runtime in this process, as a configuration wants it. Imported before component servers start: keep it light."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from stepflow_runtime.app.config import Config, ConfigError
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.app.system import dedicate_process

if TYPE_CHECKING:
    from stepflow_runtime.app.runtime import Runtime


@asynccontextmanager
async def open_configured(config: Config) -> AsyncGenerator[Runtime]:
    """As `open_runtime`, with a `ConfigError` for a configuration that cannot be carried out."""
    async with AsyncExitStack() as stack:
        try:
            runtime = await stack.enter_async_context(open_runtime(config))
            dedicate_process()
        except ValueError as error:
            place = f"{config.source}: " if config.source else ""
            raise ConfigError(f"{place}{error}") from None
        yield runtime
